//! Curves over the epochs as SVG, in colours of the style sheet. The script shows values under the pointer.

use std::fmt::Write;

use crate::draw::curve_axis as axis;
use crate::draw::ticks;
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

/// A curve: its name and its value at an epoch.
type Curve = (&'static str, fn(&Row) -> Option<f64>);

/// All charts that there are values for.
pub(super) fn charts(rows: &[Row]) -> String {
    let loss: [Curve; 2] = [("training", |row| Some(row.train_loss)), ("validation", |row| row.validation_loss)];
    let scores: [Curve; 2] = [("mean IoU", Row::mean_iou), ("pixel accuracy", Row::pixel_accuracy)];
    let rate: [Curve; 1] = [("learning rate", |row| Some(row.learning_rate))];
    let values = |curves: &[Curve]| -> Vec<f64> {
        rows.iter().flat_map(|row| curves.iter().filter_map(|(_, value)| value(row))).collect()
    };
    let mut out = chart("Loss", &loss, rows, axis::range(values(&loss).into_iter()));
    if !values(&scores).is_empty() {
        out += &chart("Validation score", &scores, rows, (0.0, 1.0));
    }
    out + &chart("Learning rate", &rate, rows, axis::range(values(&rate).into_iter()))
}

/// Where epochs and values are drawn.
struct Scale {
    epochs: usize,
    low: f64,
    high: f64,
}

impl Scale {
    fn x(&self, epoch: usize) -> f64 {
        LEFT + (RIGHT - LEFT) * (epoch as f64 - 0.5) / self.epochs as f64
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * (value - self.low) / (self.high - self.low)
    }
}

fn chart(title: &str, curves: &[Curve], rows: &[Row], (low, high): (f64, f64)) -> String {
    let scale = Scale { epochs: rows.last().map_or(1, |row| row.epoch), low, high };
    let mut drawn = axes(&scale) + &phases(&scale, rows);
    let mut keys = String::new();
    for (i, (name, value)) in curves.iter().enumerate() {
        let points: Vec<(usize, f64)> =
            rows.iter().filter_map(|row| Some((row.epoch, value(row).filter(|v| v.is_finite())?))).collect();
        if points.is_empty() {
            continue;
        }
        drawn += &curve(&scale, i, &points);
        let values: Vec<String> =
            rows.iter().map(|row| value(row).filter(|v| v.is_finite()).map_or_else(String::new, axis::short)).collect();
        let _ = write!(
            keys,
            r#"<span class="key c{i}" data-values="{}">{name} <output></output></span>"#,
            values.join(",")
        );
    }
    format!(
        r#"<figure class="chart" data-epochs="{}" data-left="{}" data-right="{}">
<figcaption><b>{title}</b> <output class="epoch"></output> {keys}</figcaption>
<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title} over the epochs">
{drawn}<line class="guide" y1="{TOP}" y2="{BOTTOM}" x1="-9" x2="-9"></line></svg>
</figure>
"#,
        scale.epochs,
        LEFT / WIDTH,
        RIGHT / WIDTH,
    )
}

fn axes(scale: &Scale) -> String {
    let mut out = String::new();
    for tick in ticks(scale.low, scale.high, 5) {
        let y = scale.y(tick);
        let _ = write!(
            out,
            r#"<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1}" y2="{y:.1}"></line>
<text class="value" x="{}" y="{:.1}">{}</text>
"#,
            LEFT - 7.0,
            y + 4.0,
            axis::short(tick)
        );
    }
    for epoch in axis::epoch_ticks(scale.epochs, 8) {
        let _ = write!(out, r#"<text class="tick" x="{:.1}" y="{}">{epoch}</text>"#, scale.x(epoch), BOTTOM + 17.0);
    }
    let middle = (LEFT + RIGHT) / 2.0;
    let _ = write!(out, r#"<text class="tick" x="{middle}" y="{}">epoch</text>"#, BOTTOM + 32.0);
    out
}

/// Thin lines where a phase ends and the next begins.
fn phases(scale: &Scale, rows: &[Row]) -> String {
    let changes = rows.windows(2).filter(|pair| pair[0].phase != pair[1].phase);
    let line = |pair: &[Row]| {
        let x = (scale.x(pair[0].epoch) + scale.x(pair[1].epoch)) / 2.0;
        let phase = pair[1].phase;
        format!(
            r#"<line class="phase" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{BOTTOM}"><title>phase {phase}</title></line>
"#
        )
    };
    changes.map(line).collect()
}

fn curve(scale: &Scale, number: usize, points: &[(usize, f64)]) -> String {
    let place = |&(epoch, value): &(usize, f64)| (scale.x(epoch), scale.y(value));
    let line: Vec<String> = points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let mut out = format!(r#"<polyline class="curve c{number}" points="{}"></polyline>"#, line.join(" "));
    if points.len() <= MOST_POINTS {
        for (x, y) in points.iter().map(place) {
            let _ = write!(out, r#"<circle class="point c{number}" cx="{x:.1}" cy="{y:.1}" r="2.5"></circle>"#);
        }
    }
    out
}
