//! Maximum pooling on float32 slices.

use rayon::prelude::*;

use super::buffer::zeros;

use crate::nn::ops::PoolSettings;

/// Sides of the result, as PyTorch counts them: with `ceil_mode` a last window may reach over the border, but must
/// begin before it.
pub(super) fn output(input: [usize; 2], settings: &PoolSettings) -> [usize; 2] {
    std::array::from_fn(|i| {
        let (stride, padding) = (settings.stride[i], settings.padding[i]);
        let room = (input[i] + 2 * padding).checked_sub(settings.dilation[i] * (settings.kernel[i] - 1) + 1);
        let Some(room) = room else { panic!("a pooling window of {:?} on an image of {input:?}", settings.kernel) };
        if settings.ceil_mode {
            let count = room.div_ceil(stride) + 1;
            if (count - 1) * stride >= input[i] + padding { count - 1 } else { count }
        } else {
            room / stride + 1
        }
    })
}

/// Maximum of every window, and where in its plane it was; of equal ones the first.
pub(super) fn maximum(x: &[f32], input: [usize; 2], settings: &PoolSettings) -> (Vec<f32>, Vec<i32>) {
    let [height, width] = output(input, settings);
    let (area, input_area) = (height * width, input[0] * input[1]);
    let planes = x.len() / input_area;
    let (mut values, mut places) = (zeros(planes * area), vec![0; planes * area]);
    let results = values.par_chunks_exact_mut(area).zip(places.par_chunks_exact_mut(area));
    results.zip(x.par_chunks_exact(input_area)).for_each(|((values, places), plane)| {
        for (i, (value, place)) in values.iter_mut().zip(places).enumerate() {
            (*value, *place) = window(plane, input, [i / width, i % width], settings);
        }
    });
    (values, places)
}

fn window(plane: &[f32], input: [usize; 2], at: [usize; 2], settings: &PoolSettings) -> (f32, i32) {
    // The taps of the window that lie inside the image, by axis.
    let inside = |i: usize| {
        let start = at[i] * settings.stride[i];
        let first = settings.padding[i].saturating_sub(start).div_ceil(settings.dilation[i]);
        let end = (input[i] + settings.padding[i]).saturating_sub(start).div_ceil(settings.dilation[i]);
        let position = move |tap: usize| start + tap * settings.dilation[i] - settings.padding[i];
        (first..settings.kernel[i].min(end)).map(position)
    };
    let mut best = (f32::NEG_INFINITY, None);
    for y in inside(0) {
        for x in inside(1) {
            let (place, value) = (y * input[1] + x, plane[y * input[1] + x]);
            if value > best.0 || value.is_nan() || best.1.is_none() {
                best = (value, Some(place));
            }
        }
    }
    (best.0, best.1.unwrap_or_default() as i32)
}

/// Gives every maximum's gradient to the pixel that it came from; planes of `input_area` pixels.
pub(super) fn gradient(gradient: &[f32], places: &[i32], area: usize, input_area: usize) -> Vec<f32> {
    let mut out = zeros(gradient.len() / area * input_area);
    let planes = out.par_chunks_exact_mut(input_area).zip(gradient.par_chunks_exact(area));
    planes.zip(places.par_chunks_exact(area)).for_each(|((out, gradient), places)| {
        gradient.iter().zip(places).for_each(|(value, &place)| out[place as usize] += value);
    });
    out
}
