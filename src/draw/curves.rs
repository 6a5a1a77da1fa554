//! Curves over the epochs, in panels below each other.

use image::RgbImage;

use super::axis::{epoch_ticks, short, ticks};
use super::text::mixed;
use super::{INK, PAPER, Text, fill, paste};

/// Sizes in pixels.
const WIDTH: u32 = 960;
const LEFT: u32 = 88;
const RIGHT: u32 = WIDTH - 24;
/// Of what stands above the curves of a panel.
const KEYS: u32 = 30;
const PLOT: u32 = 210;
/// Of the axis below the last panel.
const EPOCHS: u32 = 56;
const LINE: f64 = 2.0;
const POINT: f64 = 7.0;

/// As in the report.
const COLORS: [[u8; 3]; 2] = [[31, 107, 178], [214, 90, 30]];
const GRID: [u8; 3] = [228; 3];
const AXIS: [u8; 3] = [150; 3];

/// Curves over the same epochs.
pub(crate) struct CurvePanel {
    pub(crate) title: &'static str,
    /// The ends of the axis of values.
    pub(crate) range: (f64, f64),
    /// At which epochs there may be values.
    pub(crate) epochs: Vec<usize>,
    /// Where a phase begins after another, and its number.
    pub(crate) phases: Vec<(f64, usize)>,
    pub(crate) curves: Vec<Curve>,
}

/// A curve: its name and its value at every epoch, where it has one that is a number.
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    pub(crate) values: Vec<Option<f64>>,
}

/// The sides of what curves are drawn in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

impl CurvePanel {
    /// The last epoch.
    pub(crate) fn last(&self) -> usize {
        self.epochs.last().copied().unwrap_or(1)
    }

    /// Where an epoch lies; half an epoch of room at either end keeps points off the frame.
    pub(crate) fn x(&self, room: Room, epoch: f64) -> f64 {
        room.left + (room.right - room.left) * (epoch - 0.5) / self.last() as f64
    }

    /// Where a value lies.
    pub(crate) fn y(&self, room: Room, value: f64) -> f64 {
        let (low, high) = self.range;
        room.bottom - (room.bottom - room.top) * (value - low) / (high - low)
    }

    /// Where the points of a curve lie.
    pub(crate) fn points(&self, curve: &Curve, room: Room) -> Vec<(f64, f64)> {
        let values = self.epochs.iter().zip(&curve.values);
        values.filter_map(|(&epoch, &value)| Some((self.x(room, epoch as f64), self.y(room, value?)))).collect()
    }
}

/// Draws panels of the same epochs below each other.
pub(crate) fn draw_curves(panels: &[CurvePanel]) -> RgbImage {
    let below = (KEYS + PLOT) * panels.len() as u32;
    let mut canvas = RgbImage::from_pixel(WIDTH, below + EPOCHS, PAPER);
    let text = Text::new(17.0);
    for (i, panel) in panels.iter().enumerate() {
        draw_panel(&mut canvas, &text, panel, (KEYS + PLOT) * i as u32 + KEYS);
    }
    if let Some(panel) = panels.last() {
        draw_epochs(&mut canvas, &text, panel, below);
    }
    canvas
}

fn draw_panel(canvas: &mut RgbImage, text: &Text, panel: &CurvePanel, top: u32) {
    let bottom = top + PLOT;
    let [left, right, upper, lower] = [LEFT, RIGHT, top, bottom].map(f64::from);
    let room = Room { left, right, top: upper, bottom: lower };
    for tick in ticks(panel.range.0, panel.range.1, 6) {
        let y = panel.y(room, tick).round() as u32;
        let number = short(tick);
        fill(canvas, (LEFT, y), (RIGHT - LEFT, 1), GRID);
        fill(canvas, (LEFT - 5, y), (5, 1), AXIS);
        text.draw(canvas, (LEFT - 10 - text.width(&number), y - text.height() / 2), &number, INK);
    }
    for (begin, _) in &panel.phases {
        fill(canvas, (panel.x(room, *begin).round() as u32, top), (1, PLOT), AXIS);
    }
    fill(canvas, (LEFT, top), (1, PLOT), AXIS);
    fill(canvas, (LEFT, bottom), (RIGHT - LEFT, 1), AXIS);
    let title = text.upwards(panel.title, INK);
    paste(canvas, &title, (10, top + PLOT.saturating_sub(title.height()) / 2));
    let mut pen = RIGHT;
    for (curve, color) in panel.curves.iter().zip(COLORS).rev() {
        let points = panel.points(curve, room);
        if points.is_empty() {
            continue;
        }
        draw_line(canvas, &points, color);
        pen -= text.width(curve.name);
        text.draw(canvas, (pen, top - 26), curve.name, INK);
        pen -= 28;
        fill(canvas, (pen, top - 18), (20, 4), color);
        pen -= 24;
    }
}

/// Whole numbers below the last panel.
fn draw_epochs(canvas: &mut RgbImage, text: &Text, panel: &CurvePanel, top: u32) {
    let room = Room { left: f64::from(LEFT), right: f64::from(RIGHT), top: 0.0, bottom: 0.0 };
    for epoch in epoch_ticks(panel.last(), 12) {
        let (x, number) = (panel.x(room, epoch as f64).round() as u32, epoch.to_string());
        fill(canvas, (x, top), (1, 5), AXIS);
        text.draw(canvas, (x - text.width(&number) / 2, top + 8), &number, INK);
    }
    text.draw(canvas, ((LEFT + RIGHT - text.width("epoch")) / 2, top + 30), "epoch", INK);
}

/// Draws a line through points, or one point, with smooth edges.
fn draw_line(canvas: &mut RgbImage, points: &[(f64, f64)], color: [u8; 3]) {
    let (width, pairs) = match points {
        [point] => (POINT, vec![[*point; 2]]),
        _ => (LINE, points.windows(2).map(|pair| [pair[0], pair[1]]).collect()),
    };
    let columns = canvas.width() as usize;
    // How much of each pixel the line covers; where two pieces meet, they cover the same.
    let mut coverage = vec![0.0f32; columns * canvas.height() as usize];
    for [from, to] in pairs {
        let reach = |a: f64, b: f64, end: u32| {
            let [first, last] = [a.min(b) - width, a.max(b) + width].map(|side| side.max(0.0) as u32);
            first..last.min(end)
        };
        for y in reach(from.1, to.1, canvas.height()) {
            for x in reach(from.0, to.0, canvas.width()) {
                let from_middle = distance((f64::from(x) + 0.5, f64::from(y) + 0.5), from, to);
                let covered = (width / 2.0 + 0.5 - from_middle).clamp(0.0, 1.0) as f32;
                let pixel = &mut coverage[y as usize * columns + x as usize];
                *pixel = pixel.max(covered);
            }
        }
    }
    for (pixel, &covered) in canvas.pixels_mut().zip(&coverage).filter(|(_, covered)| **covered > 0.0) {
        pixel.0 = std::array::from_fn(|i| mixed(pixel.0[i], color[i], covered));
    }
}

/// How far a point lies from the line between two others.
fn distance(point: (f64, f64), from: (f64, f64), to: (f64, f64)) -> f64 {
    let along = (to.0 - from.0, to.1 - from.1);
    let off = (point.0 - from.0, point.1 - from.1);
    let length = along.0 * along.0 + along.1 * along.1;
    let part = if length == 0.0 { 0.0 } else { ((off.0 * along.0 + off.1 * along.1) / length).clamp(0.0, 1.0) };
    (off.0 - part * along.0).hypot(off.1 - part * along.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(values: Vec<Option<f64>>) -> CurvePanel {
        let curves = vec![Curve { name: "training", values }];
        CurvePanel { title: "loss", range: (0.0, 1.0), epochs: vec![1, 2, 3], phases: vec![(2.5, 2)], curves }
    }

    #[test]
    fn a_curve_goes_through_its_values() {
        let canvas = draw_curves(&[panel(vec![Some(0.5), None, Some(0.5)])]);
        let middle = KEYS + PLOT / 2;
        let of = |epoch: u32| LEFT + (RIGHT - LEFT) * (2 * epoch - 1) / 6;
        for x in [of(1), of(2), of(3)] {
            assert!((middle - 1..=middle).any(|y| canvas.get_pixel(x, y).0 == COLORS[0]), "at {x}");
        }
        assert!((0..PLOT).all(|y| canvas.get_pixel(of(1) - 9, KEYS + y).0 != COLORS[0]));
        assert_eq!(canvas.get_pixel((of(2) + of(3)) / 2, KEYS + 9).0, AXIS);
    }

    #[test]
    fn a_single_value_is_a_point() {
        let canvas = draw_curves(&[panel(vec![None, Some(0.25), None])]);
        let y = KEYS + 3 * PLOT / 4;
        assert_eq!(canvas.get_pixel((LEFT + RIGHT) / 2, y).0, COLORS[0]);
        assert_eq!(draw_curves(&[panel(vec![None; 3])]).get_pixel((LEFT + RIGHT) / 2, y).0, PAPER.0);
    }
}
