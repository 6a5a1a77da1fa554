//! Numbers that tell pixels apart.

use crate::image::{Image, Samples};

/// Side of a window.
pub(super) const SIDE: usize = 8;

/// The numbers of the pixels of a window that begins at a column and row.
pub(super) fn window_words(image: &Image, (x, y): (usize, usize)) -> [u32; SIDE * SIDE] {
    let mut words = [0; SIDE * SIDE];
    for (row, out) in words.chunks_exact_mut(SIDE).enumerate() {
        write_words(image, (y + row) * image.size.width + x, out);
    }
    words
}

/// A number for each pixel, from the first one on, that is the same for the same samples.
#[inline(always)]
pub(super) fn write_words(image: &Image, first: usize, out: &mut [u32]) {
    let samples = first * image.bands..(first + out.len()) * image.bands;
    match &image.samples {
        Samples::U8(v) => fold(&v[samples], image.bands, out, u32::from),
        Samples::U16(v) => fold(&v[samples], image.bands, out, u32::from),
        Samples::F32(v) => fold(&v[samples], image.bands, out, f32::to_bits),
    }
}

#[inline(always)]
fn fold<T: Copy>(samples: &[T], bands: usize, out: &mut [u32], bits: impl Fn(T) -> u32) {
    let fold = |pixel: &[T]| pixel.iter().fold(0u32, |word, sample| word.rotate_left(8) ^ bits(*sample));
    match bands {
        1 => out.iter_mut().zip(samples).for_each(|(out, sample)| *out = bits(*sample)),
        // Of a known length, several pixels are taken at once.
        3 => out.iter_mut().zip(samples.as_chunks::<3>().0).for_each(|(out, pixel)| *out = fold(pixel)),
        _ => out.iter_mut().zip(samples.chunks_exact(bands)).for_each(|(out, pixel)| *out = fold(pixel)),
    }
}
