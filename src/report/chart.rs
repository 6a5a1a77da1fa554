//! Curves over the epochs as SVG, in colours of the style sheet. The script shows values under the pointer.

use std::fmt::Write;

use crate::draw::axis::{epoch_ticks, range, short, ticks};
use crate::draw::{Curve, CurvePanel, Room};
use crate::run::Row;

/// Sizes in units of the drawing.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = WIDTH - 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = HEIGHT - 34.0;
/// With more epochs, points would run into each other.
const MOST_POINTS: usize = 40;

const ROOM: Room = Room { left: LEFT, right: RIGHT, top: TOP, bottom: BOTTOM };

/// What is shown of a log: losses, scores if there are any, and the learning rate.
pub(crate) fn curve_panels(rows: &[Row]) -> Vec<CurvePanel> {
    let curve = |name, value: fn(&Row) -> Option<f64>| Curve {
        name,
        values: rows.iter().map(|row| value(row).filter(|v| v.is_finite())).collect(),
    };
    let changes = rows.windows(2).filter(|pair| pair[0].phase != pair[1].phase);
    let phases: Vec<(f64, usize)> =
        changes.map(|pair| ((pair[0].epoch + pair[1].epoch) as f64 / 2.0, pair[1].phase)).collect();
    let panel = |title, curves: Vec<Curve>| {
        let range = range(curves.iter().flat_map(|curve| curve.values.iter().copied().flatten()));
        CurvePanel { title, range, epochs: rows.iter().map(|row| row.epoch).collect(), phases: phases.clone(), curves }
    };
    let loss = [curve("training", |row| Some(row.train_loss)), curve("validation", |row| row.validation_loss)];
    let mut panels = vec![panel("Loss", loss.into())];
    let scores = [curve("mean IoU", Row::mean_iou), curve("pixel accuracy", Row::pixel_accuracy)];
    if rows.iter().any(|row| row.mean_iou().or(row.pixel_accuracy()).is_some()) {
        panels.push(CurvePanel { range: (0.0, 1.0), ..panel("Validation score", scores.into()) });
    }
    panels.push(panel("Learning rate", vec![curve("learning rate", |row| Some(row.learning_rate))]));
    panels
}

/// All charts that there are values for.
pub(super) fn charts(rows: &[Row]) -> String {
    curve_panels(rows).iter().map(chart).collect()
}

fn chart(panel: &CurvePanel) -> String {
    let mut drawn = axes(panel) + &phases(panel);
    let mut keys = String::new();
    for (i, Curve { name, values }) in panel.curves.iter().enumerate() {
        let points = panel.points(&panel.curves[i], ROOM);
        if points.is_empty() {
            continue;
        }
        drawn += &curve(i, &points);
        let values: Vec<String> = values.iter().map(|value| value.map_or_else(String::new, short)).collect();
        let _ = write!(
            keys,
            r#"<span class="key c{i}" data-values="{}">{name} <output></output></span>"#,
            values.join(",")
        );
    }
    let title = panel.title;
    format!(
        r#"<figure class="chart" data-epochs="{}" data-left="{}" data-right="{}">
<figcaption><b>{title}</b> <output class="epoch"></output> {keys}</figcaption>
<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title} over the epochs">
{drawn}<line class="guide" y1="{TOP}" y2="{BOTTOM}" x1="-9" x2="-9"></line></svg>
</figure>
"#,
        panel.last(),
        LEFT / WIDTH,
        RIGHT / WIDTH,
    )
}

fn axes(panel: &CurvePanel) -> String {
    let mut out = String::new();
    for tick in ticks(panel.range.0, panel.range.1, 5) {
        let y = panel.y(ROOM, tick);
        let _ = write!(
            out,
            r#"<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1}" y2="{y:.1}"></line>
<text class="value" x="{}" y="{:.1}">{}</text>
"#,
            LEFT - 7.0,
            y + 4.0,
            short(tick)
        );
    }
    for epoch in epoch_ticks(panel.last(), 8) {
        let x = panel.x(ROOM, epoch as f64);
        let _ = write!(out, r#"<text class="tick" x="{x:.1}" y="{}">{epoch}</text>"#, BOTTOM + 17.0);
    }
    let middle = (LEFT + RIGHT) / 2.0;
    let _ = write!(out, r#"<text class="tick" x="{middle}" y="{}">epoch</text>"#, BOTTOM + 32.0);
    out
}

/// Thin lines where a phase ends and the next begins.
fn phases(panel: &CurvePanel) -> String {
    let mut out = String::new();
    for (begin, phase) in &panel.phases {
        let x = panel.x(ROOM, *begin);
        let _ = writeln!(
            out,
            r#"<line class="phase" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{BOTTOM}"><title>phase {phase}</title></line>"#
        );
    }
    out
}

fn curve(number: usize, points: &[(f64, f64)]) -> String {
    let line: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let mut out = format!(r#"<polyline class="curve c{number}" points="{}"></polyline>"#, line.join(" "));
    if points.len() <= MOST_POINTS {
        for (x, y) in points {
            let _ = write!(out, r#"<circle class="point c{number}" cx="{x:.1}" cy="{y:.1}" r="2.5"></circle>"#);
        }
    }
    out
}
