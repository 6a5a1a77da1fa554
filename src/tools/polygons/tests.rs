use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::corners::{Vertex, doubled_area};
use super::regions::Region;
use super::simplify::simplified;
use super::trace::Tracer;

const BLANK: u16 = 255;

/// A map from digits; `.` is a pixel without a class.
fn map(rows: &[&str]) -> Vec<Vec<u16>> {
    let value = |digit: u8| if digit == b'.' { BLANK } else { u16::from(digit - b'0') };
    rows.iter().map(|row| row.bytes().map(value).collect()).collect()
}

fn random(seed: u64, (width, height): (usize, usize), classes: u16, smooth: usize) -> Vec<Vec<u16>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut map: Vec<Vec<u16>> =
        (0..height).map(|_| (0..width).map(|_| rng.random_range(0..classes)).collect()).collect();
    // Copies of neighbours make larger regions.
    for _ in 0..smooth * width * height {
        let (x, y) = (rng.random_range(0..width), rng.random_range(0..height));
        let (dx, dy) = [(1, 0), (0, 1), (width - 1, 0), (0, height - 1)][rng.random_range(0..4)];
        map[y][x] = map[(y + dy) % height][(x + dx) % width];
    }
    let last = classes - 1;
    map.iter_mut().flatten().filter(|value| **value == last).for_each(|value| *value = BLANK);
    map
}

/// The regions with their outlines, simplified or not.
fn regions(map: &[Vec<u16>], simplify: Option<f64>) -> Vec<(Region, Vec<Vec<Vertex>>)> {
    let mut tracer = Tracer::new(map[0].len(), Some(BLANK), false, simplify.is_some());
    let mut all = Vec::new();
    let mut each = |region: Region, obstacles: Option<&super::obstacles::Obstacles>| {
        let rings = region.rings.iter().map(|ring| simplified(ring.clone(), simplify, obstacles)).collect();
        all.push((region, rings));
    };
    for row in map {
        let probability: Vec<f32> = row.iter().map(|value| f32::from(*value) / 8.0).collect();
        tracer.push(row, Some(&probability), &mut each);
    }
    tracer.finish(&mut each);
    all
}

/// Whether the centre of a pixel is inside, by the even-odd rule.
fn contains(rings: &[Vec<Vertex>], x: usize, y: usize) -> bool {
    let edges = rings.iter().flat_map(|ring| ring.iter().zip(ring.iter().cycle().skip(1)));
    let crossed = edges
        .filter(|(a, b)| a.x == b.x && a.x as usize <= x && (a.y.min(b.y) as usize) <= y && y < a.y.max(b.y) as usize);
    crossed.count() % 2 == 1
}

/// Checks everything that holds of every map.
fn check(map: &[Vec<u16>]) {
    let all = regions(map, None);
    let mut covered = vec![vec![BLANK; map[0].len()]; map.len()];
    for (region, rings) in &all {
        let areas: Vec<i64> = rings.iter().map(|ring| doubled_area(ring.iter().copied())).collect();
        assert_eq!(areas.iter().sum::<i64>(), 2 * region.pixels as i64);
        assert!(areas[0] > 0 && areas[1..].iter().all(|area| *area < 0), "{areas:?}");
        assert!((region.probability - f64::from(region.value) / 8.0).abs() < 1e-6);
        for ring in rings {
            assert_eq!(ring.iter().collect::<BTreeSet<_>>().len(), ring.len(), "a ring meets itself");
            let turns = (0..ring.len()).all(|i| {
                let [a, b, c] = [0, 1, 2].map(|next| ring[(i + next) % ring.len()]);
                ((a.x == b.x) != (a.y == b.y)) && ((a.x == b.x) == (b.y == c.y))
            });
            assert!(turns, "not a corner at each vertex: {ring:?}");
        }
        for (y, row) in covered.iter_mut().enumerate() {
            for (x, pixel) in row.iter_mut().enumerate().filter(|(x, _)| contains(rings, *x, y)) {
                assert_eq!(*pixel, BLANK, "regions overlap at {x}, {y}");
                *pixel = region.value;
            }
        }
    }
    assert_eq!(covered, map);
}

#[test]
fn small_maps_are_traced_exactly() {
    check(&map(&["1"]));
    check(&map(&["111", "111"]));
    check(&map(&["111", "1.1", "111"]));
    check(&map(&["11111", "12221", "12321", "12221", "11111"]));
    check(&map(&["12", "21"]));
    check(&map(&["1.1", ".1.", "1.1"]));
    check(&map(&["1111", "1.11", "11.1", "1111"]));
    check(&map(&["11110", "10010", "10100", "11110"]));
    check(&map(&["0111", "1011", "1101", "1110"]));
    check(&map(&["...", "..."]));
    check(&map(&["1..1", "1..1", "1111"]));
}

#[test]
fn random_maps_are_covered_once() {
    for seed in 0..60 {
        let size = (1 + seed as usize % 23, 1 + seed as usize * 7 % 19);
        check(&random(seed, size, 2 + (seed % 4) as u16, seed as usize % 3));
    }
    check(&random(99, (150, 120), 4, 4));
}

#[test]
fn a_hole_that_touches_the_outline_in_a_point_is_a_ring_by_itself() {
    let all = regions(&map(&["0111", "1011", "1111"]), None);
    let (_, rings) = all.iter().find(|(region, _)| region.value == 1).unwrap();
    assert_eq!(rings.iter().map(Vec::len).collect::<Vec<_>>(), [6, 4]);
}

#[test]
fn only_what_is_not_finished_is_held() {
    let mut tracer = Tracer::new(64, Some(BLANK), false, false);
    let mut found = 0;
    for y in 0..4000u16 {
        let row: Vec<u16> = (0..64).map(|x| (x / 4 + y / 4) % 2).collect();
        tracer.push(&row, None, &mut |_, _| found += 1);
    }
    let (corners, regions) = tracer.capacity();
    assert!(corners < 500 && regions < 100, "{corners} corners, {regions} regions");
    tracer.finish(&mut |_, _| found += 1);
    assert_eq!(found, 16 * 1000);
}

/// Whether two edges have a point in common, besides ends of both.
fn cross([a, b]: [Vertex; 2], [c, d]: [Vertex; 2]) -> bool {
    let turn = |p: Vertex, q: Vertex, r: Vertex| {
        let [px, py, qx, qy, rx, ry] = [p.x, p.y, q.x, q.y, r.x, r.y].map(i64::from);
        ((qx - px) * (ry - py) - (qy - py) * (rx - px)).signum()
    };
    let within = |p: Vertex, q: Vertex, r: Vertex| {
        turn(p, q, r) == 0
            && (p.x.min(q.x)..=p.x.max(q.x)).contains(&r.x)
            && (p.y.min(q.y)..=p.y.max(q.y)).contains(&r.y)
            && r != p
            && r != q
    };
    let proper = turn(a, b, c) * turn(a, b, d) < 0 && turn(c, d, a) * turn(c, d, b) < 0;
    proper || within(a, b, c) || within(a, b, d) || within(c, d, a) || within(c, d, b)
}

#[test]
fn simplified_outlines_are_shared_and_do_not_cross() {
    for (seed, tolerance) in (0..24).flat_map(|seed| [0.5, 0.8, 1.5, 4.0, 1e3].map(|tolerance| (seed, tolerance))) {
        let map = random(seed, (30, 26), 2 + (seed % 4) as u16, (seed % 5) as usize);
        let (exact, simple) = (regions(&map, None), regions(&map, Some(tolerance)));
        assert_eq!(exact.len(), simple.len());
        let mut edges: BTreeMap<[Vertex; 2], usize> = BTreeMap::new();
        let mut vertices = [0, 0];
        for ((region, rings), (_, before)) in simple.iter().zip(&exact) {
            assert_eq!(rings.len(), before.len());
            let areas: Vec<i64> = rings.iter().map(|ring| doubled_area(ring.iter().copied())).collect();
            assert!(areas[0] > 0 && areas[1..].iter().all(|area| *area < 0), "{:?} {areas:?}", region.value);
            vertices[0] += before.iter().map(Vec::len).sum::<usize>();
            vertices[1] += rings.iter().map(Vec::len).sum::<usize>();
            for ring in rings {
                for (a, b) in ring.iter().zip(ring.iter().cycle().skip(1)) {
                    *edges.entry([*a.min(b), *a.max(b)]).or_default() += 1;
                }
            }
        }
        let all: Vec<_> = edges.keys().copied().collect();
        for (i, one) in all.iter().enumerate() {
            assert!(edges[one] <= 2, "{one:?} is an edge of three regions");
            let crossing = all[i + 1..].iter().find(|other| cross(*one, **other));
            assert_eq!(crossing, None, "{one:?} with seed {seed}, tolerance {tolerance}");
        }
        // What does not cross anything and lies between the same nodes is shared, or has one region alone.
        let inner = edges.values().filter(|count| **count == 2).count();
        assert!(inner > 0 || map.iter().flatten().collect::<BTreeSet<_>>().len() < 3);
    }
}

#[test]
fn stairs_become_straight_lines() {
    let side = 40;
    let map: Vec<Vec<u16>> = (0..side).map(|y| (0..side).map(|x| u16::from(x > y)).collect()).collect();
    let count = |simplify| regions(&map, simplify).iter().map(|(_, rings)| rings[0].len()).sum::<usize>();
    assert!(count(None) > 150, "{}", count(None));
    assert!(count(Some(0.8)) < 12, "{}", count(Some(0.8)));
}
