//! Where the largest value of every pixel is, on float32 slices.

use rayon::prelude::*;

/// Pixels that are compared in one go: their best values stay in the nearest cache.
const BLOCK: usize = 1024;

/// Index of the largest of `channels` planes for every pixel of images with `area` pixels, the first where several are
/// as large.
pub(super) fn largest_channel(x: &[f32], channels: usize, area: usize) -> Vec<i64> {
    let mut out = vec![0; x.len() / channels];
    let images = out.par_chunks_mut(area).zip(x.par_chunks(area * channels));
    let blocks =
        images.flat_map(|(out, x)| out.par_chunks_mut(BLOCK).enumerate().map(move |(i, out)| (out, &x[i * BLOCK..])));
    blocks.for_each(|(out, x)| {
        let count = out.len();
        // Indices as wide as the values, so that both are compared in one vector.
        let (mut best, mut place) = ([f32::NEG_INFINITY; BLOCK], [0u32; BLOCK]);
        for channel in 0..channels {
            let plane = &x[channel * area..][..count];
            for ((best, place), &value) in best.iter_mut().zip(&mut place).zip(plane) {
                let larger = value > *best;
                *best = if larger { value } else { *best };
                *place = if larger { channel as u32 } else { *place };
            }
        }
        out.iter_mut().zip(place).for_each(|(out, place)| *out = i64::from(place));
    });
    out
}
