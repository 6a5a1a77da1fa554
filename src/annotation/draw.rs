//! Shapes as label maps.
//!
//! A pixel belongs to a polygon or an ellipse if its centre does. Centres on an edge belong to the shape to the left of it, or
//! below, as GDAL has it: shapes that share an edge share no pixel and leave none out.

use std::ops::Range;

use super::shape::{Geometry, Mask, Point, Shape};
use crate::base::{Result, Size};

/// Draws shapes over each other, a later one over an earlier one, and returns the classes of the pixels by rows. `class`
/// gives the number of a class by name, `background` is the number of pixels that no shape covers. What lies beyond the image
/// is cut off.
///
/// # Errors
///
/// Those of `class`.
pub fn draw(
    shapes: &[Shape],
    size: Size,
    background: u16,
    mut class: impl FnMut(&str) -> Result<u16>,
) -> Result<Vec<u16>> {
    let mut map = vec![background; size.width * size.height];
    for shape in shapes {
        let class = class(&shape.class)?;
        // Takes columns of a row.
        let fill = &mut |row: usize, columns: Range<usize>| map[row * size.width..][columns].fill(class);
        match &shape.geometry {
            Geometry::Polygon(rings) => fill_polygon(rings, size, fill),
            Geometry::Ellipse { center, radii } => fill_ellipse(*center, *radii, size, fill),
            Geometry::Line { points, width } => fill_line(points, *width, size, fill),
            Geometry::Mask(mask) => fill_mask(mask, size, fill),
        }
    }
    Ok(map)
}

/// Columns whose centres lie behind `from` and up to `to`, of that many.
fn columns(from: f64, to: f64, width: usize) -> Range<usize> {
    let first = |at: f64| (at + 0.5).floor().clamp(0.0, width as f64) as usize;
    first(from)..first(to).max(first(from))
}

/// Rows whose centres lie in `from..to`, of that many.
fn between(from: f64, to: f64, length: usize) -> Range<usize> {
    let first = |at: f64| (at - 0.5).ceil().clamp(0.0, length as f64) as usize;
    first(from)..first(to).max(first(from))
}

fn fill_polygon(rings: &[Vec<Point>], size: Size, fill: &mut dyn FnMut(usize, Range<usize>)) {
    let heights = || rings.iter().flatten().map(|point| point[1]);
    let (top, bottom) = (heights().fold(f64::INFINITY, f64::min), heights().fold(f64::NEG_INFINITY, f64::max));
    let rows = between(top, bottom, size.height);
    // Where edges cross the middle of each row.
    let mut crossings: Vec<Vec<f64>> = vec![Vec::new(); rows.len()];
    for ring in rings {
        for (start, end) in ring.iter().zip(ring.iter().cycle().skip(1)) {
            let ([x0, y0], [x1, y1]) = if start[1] <= end[1] { (*start, *end) } else { (*end, *start) };
            for row in between(y0, y1, size.height) {
                let crossing = x0 + (row as f64 + 0.5 - y0) * (x1 - x0) / (y1 - y0);
                let crossings = crossings.get_mut(row.wrapping_sub(rows.start));
                crossings.into_iter().for_each(|row| row.push(crossing));
            }
        }
    }
    for (row, crossings) in rows.zip(&mut crossings) {
        crossings.sort_by(f64::total_cmp);
        for inside in crossings.chunks_exact(2) {
            fill(row, columns(inside[0], inside[1], size.width));
        }
    }
}

fn fill_ellipse([x, y]: Point, [rx, ry]: [f64; 2], size: Size, fill: &mut dyn FnMut(usize, Range<usize>)) {
    for row in between(y - ry, y + ry, size.height) {
        let down = (row as f64 + 0.5 - y) / ry;
        let half = rx * (1.0 - down * down).max(0.0).sqrt();
        fill(row, columns(x - half, x + half, size.width));
    }
}

/// Pixels whose centres are no further from the line than half its width, and no less than half a pixel, so that a thin line
/// has no gaps.
fn fill_line(points: &[Point], width: f64, size: Size, fill: &mut dyn FnMut(usize, Range<usize>)) {
    let reach = (width / 2.0).max(0.5);
    let pieces = points.windows(2).map(|piece| (piece[0], piece[1]));
    let single = if points.len() == 1 { Some((points[0], points[0])) } else { None };
    for ([x0, y0], [x1, y1]) in pieces.chain(single) {
        for row in around(y0.min(y1) - reach, y0.max(y1) + reach, size.height) {
            for column in around(x0.min(x1) - reach, x0.max(x1) + reach, size.width) {
                let at = [column as f64 + 0.5, row as f64 + 0.5];
                if distance(at, [x0, y0], [x1, y1]) <= reach {
                    fill(row, column..column + 1);
                }
            }
        }
    }
}

/// Pixels whose centres lie from one end to the other, both ends included.
fn around(from: f64, to: f64, length: usize) -> Range<usize> {
    let first = (from - 0.5).ceil().clamp(0.0, length as f64) as usize;
    let end = ((to - 0.5).floor() + 1.0).clamp(0.0, length as f64) as usize;
    first..end.max(first)
}

fn distance([x, y]: Point, [x0, y0]: Point, [x1, y1]: Point) -> f64 {
    let (dx, dy) = (x1 - x0, y1 - y0);
    let length = dx * dx + dy * dy;
    let along = if length > 0.0 { (((x - x0) * dx + (y - y0) * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
    (x - x0 - along * dx).hypot(y - y0 - along * dy)
}

fn fill_mask(mask: &Mask, size: Size, fill: &mut dyn FnMut(usize, Range<usize>)) {
    let width = mask.size.width;
    for run in &mask.runs {
        let mut at = run.start;
        while at < run.end {
            let (row, column) = (at / width, at % width);
            if mask.top + row >= size.height {
                return;
            }
            let end = run.end.min((row + 1) * width);
            let columns = mask.left + column..mask.left + column + end - at;
            fill(mask.top + row, columns.start.min(size.width)..columns.end.min(size.width));
            at = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 6, height: 4 };

    /// The drawn pixels, rows as text.
    fn drawn(shapes: &[(&str, Geometry)]) -> Vec<String> {
        let shape = |(class, geometry): &(&str, Geometry)| Shape { class: (*class).into(), geometry: geometry.clone() };
        let shapes: Vec<Shape> = shapes.iter().map(shape).collect();
        let map = draw(&shapes, SIZE, u16::from(b'.'), |class| Ok(u16::from(class.as_bytes()[0]))).unwrap();
        let text = |row: &[u16]| row.iter().map(|class| char::from(*class as u8)).collect();
        map.chunks(SIZE.width).map(text).collect()
    }

    #[test]
    fn pixels_belong_to_a_polygon_with_their_centres() {
        let triangle = Geometry::Polygon(vec![vec![[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]]);
        assert_eq!(drawn(&[("a", triangle)]), ["aaaa..", "aaa...", "aa....", "a....."]);
        let square = Geometry::rectangle([0.6, 0.4], [2.4, 2.6]);
        assert_eq!(drawn(&[("a", square)]), [".a....", ".a....", ".a....", "......"]);
    }

    #[test]
    fn neighbours_share_an_edge_and_no_pixel() {
        let (left, right) = (
            vec![[0.0, 0.0], [4.5, 0.0], [1.5, 4.0], [0.0, 4.0]],
            vec![[4.5, 0.0], [6.0, 0.0], [6.0, 4.0], [1.5, 4.0]],
        );
        let [left, right] = [left, right].map(|ring| Geometry::Polygon(vec![ring]));
        let all = drawn(&[("a", left.clone()), ("b", right.clone())]);
        assert_eq!(all, drawn(&[("b", right), ("a", left)]));
        assert!(all.iter().all(|row| !row.contains('.')), "{all:?}");
    }

    #[test]
    fn rings_in_rings_are_holes_and_later_shapes_lie_above() {
        let rings = [([0.0, 0.0], [5.0, 4.0]), ([1.0, 1.0], [3.0, 3.0])];
        let ring = |(a, b): &(Point, Point)| vec![*a, [b[0], a[1]], *b, [a[0], b[1]]];
        let with_hole = Geometry::Polygon(rings.iter().map(ring).collect());
        let above = Geometry::rectangle([2.0, 2.0], [9.0, 9.0]);
        assert_eq!(drawn(&[("a", with_hole.clone()), ("b", above.clone())]), ["aaaaa.", "a..aa.", "a.bbbb", "aabbbb"]);
        assert_eq!(drawn(&[("b", above), ("a", with_hole)]), ["aaaaa.", "a..aa.", "a.baab", "aaaaab"]);
    }

    #[test]
    fn ellipses_lines_and_masks_are_cut_off_at_the_border() {
        let circle = Geometry::Ellipse { center: [2.0, 2.0], radii: [2.0, 2.0] };
        assert_eq!(drawn(&[("o", circle)]), [".oo...", "oooo..", "oooo..", ".oo..."]);
        let line = Geometry::Line { points: vec![[-3.0, 1.5], [3.0, 1.5], [3.0, 9.0]], width: 1.0 };
        assert_eq!(drawn(&[("l", line)]), ["......", "llll..", "..ll..", "..ll.."]);
        let point = Geometry::Line { points: vec![[1.5, 1.5]], width: 2.0 };
        assert_eq!(drawn(&[("p", point)]), [".p....", "ppp...", ".p....", "......"]);
        let bits = [true, true, true, false, true, true];
        let mask = Mask::from_bits(4, 2, Size { width: 3, height: 2 }, bits);
        assert_eq!(mask.runs, [0..3, 4..6]);
        assert_eq!(drawn(&[("m", Geometry::Mask(mask))]), ["......", "......", "....mm", ".....m"]);
    }
}
