//! Simplified outlines, after Douglas and Peucker, that neighbours share.
//!
//! Rings are cut into lines at their nodes, and a line is simplified in the same way whichever of its two regions it is a part
//! of. A piece of a line may become straight only if no vertex of another piece lies between the two, so that the piece can be
//! pulled straight without passing one. All vertices that are left are such vertices; so pieces that do not cross do not cross
//! afterwards (de Berg, van Kreveld and Schirra 1998, "Topologically correct subdivision simplification").

use std::collections::HashMap;

use super::corners::{Corner, Vertex};
use super::obstacles::Obstacles;

/// The vertices of a ring, simplified by at most `tolerance` pixels where there is one.
pub(super) fn simplified(mut ring: Vec<Corner>, tolerance: Option<f64>, obstacles: Option<&Obstacles>) -> Vec<Vertex> {
    let Some((tolerance, obstacles)) = tolerance.zip(obstacles) else {
        return ring.into_iter().map(|corner| corner.at).collect();
    };
    // A ring without nodes begins where its neighbour, which has it as one, too, begins.
    let first = ring.iter().position(|corner| corner.node);
    let first = first.or_else(|| (0..ring.len()).min_by_key(|&i| ring[i].at)).unwrap_or(0);
    ring.rotate_left(first);
    ring.extend_from_within(..1);
    let mut simple = Vec::new();
    let mut start = 0;
    for end in 1..ring.len() {
        if ring[end].node || end + 1 == ring.len() {
            let line: Vec<Vertex> = ring[start..=end].iter().map(|corner| corner.at).collect();
            simple.extend(simplified_line(line, tolerance, obstacles));
            simple.pop();
            start = end;
        }
    }
    simple
}

/// A line between nodes simplified, the same from both ends.
fn simplified_line(mut points: Vec<Vertex>, tolerance: f64, obstacles: &Obstacles) -> Vec<Vertex> {
    let last = points.len() - 1;
    if last < 2 {
        return points;
    }
    let is_ring = points[0] == points[last];
    let is_turned = if is_ring { points[1] > points[last - 1] } else { points[0] > points[last] };
    if is_turned {
        points.reverse();
    }
    let mut kept = vec![false; points.len()];
    (kept[0], kept[last]) = (true, true);
    let line = Line { points: &points, places: places(&points), tolerance, obstacles };
    if is_ring {
        let distance = |&i: &usize| squared_length(points[0], points[i]);
        let middle = (1..last).max_by_key(|i| (distance(i), points[*i])).unwrap_or(1);
        kept[middle] = true;
        line.reduce([0, middle], &mut kept);
        line.reduce([middle, last], &mut kept);
    } else {
        line.reduce([0, last], &mut kept);
    }
    let mut simple: Vec<Vertex> =
        points.iter().zip(kept).filter(|(_, is_kept)| *is_kept).map(|(point, _)| *point).collect();
    if is_turned {
        simple.reverse();
    }
    simple
}

fn places(points: &[Vertex]) -> HashMap<Vertex, usize> {
    points.iter().enumerate().map(|(place, point)| (*point, place)).collect()
}

/// A line that is simplified.
struct Line<'a> {
    points: &'a [Vertex],
    /// Where in the line its vertices are.
    places: HashMap<Vertex, usize>,
    tolerance: f64,
    obstacles: &'a Obstacles,
}

/// How a piece of a line lies to the straight line between its ends.
struct Deviation {
    /// The point that is farthest away.
    at: usize,
    distance: f64,
    /// Whether there are points on both sides.
    is_two_sided: bool,
}

impl Line<'_> {
    /// Says which points of a piece are kept, besides its ends.
    fn reduce(&self, whole: [usize; 2], kept: &mut [bool]) {
        let mut pieces = vec![whole];
        while let Some([start, end]) = pieces.pop() {
            if end - start < 2 {
                continue;
            }
            let deviation = self.deviation([start, end]);
            // Two lines may have the same ends and nothing between them but a region. Each keeps a point on its own side,
            // unless it has some on both; then the other cannot become straight.
            let may_vanish = [start, end] != whole || deviation.is_two_sided;
            if may_vanish && deviation.distance <= self.tolerance && self.is_free([start, end], &deviation) {
                continue;
            }
            kept[deviation.at] = true;
            pieces.extend([[start, deviation.at], [deviation.at, end]]);
        }
    }

    fn deviation(&self, [start, end]: [usize; 2]) -> Deviation {
        let (from, to) = (self.points[start], self.points[end]);
        let mut found = Deviation { at: start + 1, distance: -1.0, is_two_sided: false };
        let (mut left, mut right) = (false, false);
        for (i, point) in self.points.iter().enumerate().take(end).skip(start + 1) {
            let distance = distance(*point, from, to);
            // Of several, the one in the middle: teeth of a comb would else be split off one by one.
            let is_nearer = || i.abs_diff(end - (i - start)) < found.at.abs_diff(end - (found.at - start));
            if distance > found.distance || distance == found.distance && is_nearer() {
                (found.at, found.distance) = (i, distance);
            }
            let side = turn(from, to, *point);
            (left, right) = (left || side < 0, right || side > 0);
        }
        found.is_two_sided = left && right;
        found
    }

    /// Whether no vertex but those of the piece lies between it and the straight line, or on that.
    fn is_free(&self, [start, end]: [usize; 2], deviation: &Deviation) -> bool {
        let piece = &self.points[start..=end];
        let (from, to) = (self.points[start], self.points[end]);
        let is_own = |point: &Vertex| {
            [from, to].contains(point) || self.places.get(point).is_some_and(|place| (start..=end).contains(place))
        };
        let is_monotone = piece.windows(2).all(|edge| dot([from, to], [edge[0], edge[1]]) >= 0);
        let range = |of: fn(&Vertex) -> u32| {
            let all = || piece.iter().map(of);
            [all().min().unwrap_or(0), all().max().unwrap_or(0)]
        };
        let ([top, bottom], columns) = (range(|point| point.y), range(|point| point.x));
        (top..=bottom).all(|y| {
            let columns = near([from, to], y, deviation.distance, columns);
            self.obstacles.between(y, columns).filter(|point| !is_own(point)).all(|point| {
                // All that lies between the two is no farther away than the piece is. What turns back may wind around a
                // vertex in ways that a winding number does not show.
                distance(point, from, to) > deviation.distance
                    || is_monotone && !is_on([from, to], point) && winding(piece, point) == 0
            })
        })
    }
}

/// The columns of a row, of those given, that may be as near as that to a straight line.
fn near([from, to]: [Vertex; 2], y: u32, distance: f64, [left, right]: [u32; 2]) -> [u32; 2] {
    let (dx, dy) = (f64::from(to.x) - f64::from(from.x), f64::from(to.y) - f64::from(from.y));
    if dy == 0.0 {
        return [left, right];
    }
    let middle = f64::from(from.x) + (f64::from(y) - f64::from(from.y)) * dx / dy;
    let half = (distance * dx.hypot(dy) / dy.abs()).abs() + 1.0;
    [left.max((middle - half).max(0.0) as u32), right.min((middle + half).max(0.0) as u32)]
}

fn difference(from: Vertex, to: Vertex) -> [i64; 2] {
    [i64::from(to.x) - i64::from(from.x), i64::from(to.y) - i64::from(from.y)]
}

fn squared_length(from: Vertex, to: Vertex) -> i64 {
    let [x, y] = difference(from, to);
    x * x + y * y
}

/// On which side of a straight line a point lies; 0 on it.
fn turn(from: Vertex, to: Vertex, point: Vertex) -> i64 {
    let ([ax, ay], [bx, by]) = (difference(from, to), difference(from, point));
    ax * by - ay * bx
}

fn dot([from, to]: [Vertex; 2], [start, end]: [Vertex; 2]) -> i64 {
    let ([ax, ay], [bx, by]) = (difference(from, to), difference(start, end));
    ax * bx + ay * by
}

fn is_on([from, to]: [Vertex; 2], point: Vertex) -> bool {
    turn(from, to, point) == 0 && dot([point, from], [point, to]) <= 0
}

/// Distance of a point from the straight line between two others.
fn distance(point: Vertex, from: Vertex, to: Vertex) -> f64 {
    let length = squared_length(from, to);
    let along = dot([from, to], [from, point]);
    if along <= 0 || length == 0 {
        (squared_length(from, point) as f64).sqrt()
    } else if along >= length {
        (squared_length(to, point) as f64).sqrt()
    } else {
        turn(from, to, point).unsigned_abs() as f64 / (length as f64).sqrt()
    }
}

/// How often a piece of a line and the straight line back go around a point that is on neither.
fn winding(piece: &[Vertex], point: Vertex) -> i32 {
    let edges =
        piece.windows(2).map(|edge| (edge[0], edge[1])).chain(piece.last().copied().zip(piece.first().copied()));
    edges
        .map(|(from, to)| match (from.y <= point.y, to.y <= point.y) {
            (true, false) if turn(from, to, point) > 0 => 1,
            (false, true) if turn(from, to, point) < 0 => -1,
            _ => 0,
        })
        .sum()
}
