//! Hashes of single pixels.

use crate::image::{Image, Samples};

/// Side of a window.
pub(super) const SIDE: usize = 8;

/// The pixel hashes of the window whose first column and row are given.
pub(super) fn window_hashes(image: &Image, (x, y): (usize, usize)) -> [u32; SIDE * SIDE] {
    let mut pixel_hashes = [0; SIDE * SIDE];
    for (row, out) in pixel_hashes.chunks_exact_mut(SIDE).enumerate() {
        hash_pixels(image, (y + row) * image.size.width + x, out);
    }
    pixel_hashes
}

/// Hashes the samples of consecutive pixels, from the first one on.
#[inline(always)]
pub(super) fn hash_pixels(image: &Image, first: usize, out: &mut [u32]) {
    let samples = first * image.bands..(first + out.len()) * image.bands;
    match &image.samples {
        Samples::U8(v) => fold(&v[samples], image.bands, out, u32::from),
        Samples::U16(v) => fold(&v[samples], image.bands, out, u32::from),
        Samples::F32(v) => fold(&v[samples], image.bands, out, f32::to_bits),
    }
}

#[inline(always)]
fn fold<T: Copy>(samples: &[T], bands: usize, out: &mut [u32], bits: impl Fn(T) -> u32) {
    let fold = |pixel: &[T]| pixel.iter().fold(0u32, |hash, sample| hash.rotate_left(8) ^ bits(*sample));
    match bands {
        1 => out.iter_mut().zip(samples).for_each(|(out, sample)| *out = bits(*sample)),
        // With a constant number of bands, the loop is vectorised.
        3 => out.iter_mut().zip(samples.as_chunks::<3>().0).for_each(|(out, pixel)| *out = fold(pixel)),
        _ => out.iter_mut().zip(samples.chunks_exact(bands)).for_each(|(out, pixel)| *out = fold(pixel)),
    }
}
