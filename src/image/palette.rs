//! Colours for classes that come without any: well separated, and the same for the same class always.

use super::oklab::{Lab, to_oklab};

/// Steps a channel of the grid that colours are taken from.
const STEPS: u16 = 13;
/// Lightness that a colour may have: neither black, which means "not labelled", nor the white of the paper.
const LIGHTNESS: std::ops::RangeInclusive<f32> = 0.35..=0.92;
/// The colours that all others keep away from.
const TAKEN: [[u8; 3]; 3] = [[0; 3], [128; 3], [255; 3]];
/// From here on, colours are taken again from the first: they could not be told apart any more.
const DISTINCT: usize = 512;

/// The first `count` colours of a fixed sequence, each as far from all before it as an RGB grid allows, in OKLab.
pub fn distinct_colors(count: usize) -> Vec<[u8; 3]> {
    let candidates: Vec<([u8; 3], Lab)> =
        grid().map(|color| (color, to_oklab(color))).filter(|(_, lab)| LIGHTNESS.contains(&lab[0])).collect();
    let mut nearest = vec![f32::INFINITY; candidates.len()];
    TAKEN.into_iter().for_each(|color| approach(&mut nearest, &candidates, to_oklab(color)));
    let mut chosen: Vec<[u8; 3]> = Vec::with_capacity(count.min(DISTINCT));
    while chosen.len() < count.min(DISTINCT) {
        let farther = |best: usize, i: usize| if nearest[i] > nearest[best] { i } else { best };
        let (color, lab) = candidates[(1..candidates.len()).fold(0, farther)];
        approach(&mut nearest, &candidates, lab);
        chosen.push(color);
    }
    chosen.into_iter().cycle().take(count).collect()
}

fn grid() -> impl Iterator<Item = [u8; 3]> {
    let level = |i: u16| (i * 255 / (STEPS - 1)) as u8;
    (0..STEPS * STEPS * STEPS).map(move |i| [level(i / (STEPS * STEPS)), level(i / STEPS % STEPS), level(i % STEPS)])
}

/// Takes `color` into the squared distance of every candidate to its nearest chosen colour.
fn approach(nearest: &mut [f32], candidates: &[([u8; 3], Lab)], color: Lab) {
    for (distance, (_, lab)) in nearest.iter_mut().zip(candidates) {
        *distance = distance.min(squared_distance(*lab, color));
    }
}

fn squared_distance(a: Lab, b: Lab) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_twenty_are_far_apart() {
        let labs: Vec<Lab> = TAKEN.into_iter().chain(distinct_colors(20)).map(to_oklab).collect();
        for (i, &a) in labs.iter().enumerate().skip(TAKEN.len()) {
            for &b in &labs[..i] {
                assert!(squared_distance(a, b).sqrt() > 0.14, "colour {} is too near to another", i - TAKEN.len());
            }
        }
    }

    #[test]
    fn a_colour_depends_only_on_its_place() {
        let many = distinct_colors(DISTINCT + 7);
        assert_eq!(distinct_colors(20), many[..20]);
        assert_eq!(many[DISTINCT..], many[..7]);
        let mut sorted = many[..DISTINCT].to_vec();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), DISTINCT);
        // Figures of different versions must compare.
        assert_eq!(many[..3], [[0, 0, 255], [255, 0, 255], [0, 233, 0]]);
    }
}
