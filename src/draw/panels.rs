//! Class maps and probabilities as images of one pixel a pixel.

use image::RgbImage;

use super::ramp::Ramp;
use crate::base::label_map::IGNORE;

/// Where no class has a colour.
const BLACK: [u8; 3] = [0; 3];
/// Bits of the fraction in which opacities are counted.
const BITS: u32 = 15;

/// Whether a predicted pixel is right, wrong or not labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Label and prediction agree.
    Right,
    /// They do not.
    Wrong,
    /// There is no label.
    NotLabelled,
}

impl Judgement {
    /// Its colour: told apart by the colour-blind, and on a grey print.
    pub fn color(self) -> [u8; 3] {
        match self {
            Self::Right => [102, 194, 165],
            Self::Wrong => [213, 94, 0],
            Self::NotLabelled => [64, 64, 64],
        }
    }
}

/// Paints `labels` (row by row, `width` a row) with one colour a class; values beyond `colors` become black.
pub fn color_labels(labels: &[u16], width: usize, colors: &[[u8; 3]]) -> RgbImage {
    from_pixels(labels.iter().map(|&class: &u16| colors.get(usize::from(class)).copied().unwrap_or(BLACK)), width)
}

/// Lays the colours of `labels` over an image of the same size, with an opacity from 0 (image) to 1 (colours). Where
/// there is no label or no colour, the image stays.
pub fn overlay_labels(image: &RgbImage, labels: &[u16], colors: &[[u8; 3]], opacity: f32) -> RgbImage {
    let one = 1u32 << BITS;
    let opacity = (opacity.clamp(0.0, 1.0) * one as f32).round() as u32;
    let weighted: Vec<[u32; 3]> = colors.iter().map(|c| c.map(|v| u32::from(v) * opacity + one / 2)).collect();
    let mut out = image.clone();
    let samples: &mut [u8] = &mut out;
    for (pixel, &class) in samples.as_chunks_mut::<3>().0.iter_mut().zip(labels) {
        if let Some(color) = weighted.get(usize::from(class)) {
            *pixel = std::array::from_fn(|i| ((u32::from(pixel[i]) * (one - opacity) + color[i]) >> BITS) as u8);
        }
    }
    out
}

/// Paints where a prediction is right, wrong or not judged.
pub fn judge(labels: &[u16], predicted: &[u16], width: usize) -> RgbImage {
    let judgement = |(&label, &predicted): (&u16, &u16)| match label {
        IGNORE => Judgement::NotLabelled,
        label if label == predicted => Judgement::Right,
        _ => Judgement::Wrong,
    };
    from_pixels(labels.iter().zip(predicted).map(|pair| judgement(pair).color()), width)
}

/// Paints probabilities (0 to 1, row by row, `width` a row) from dark to light.
pub fn color_probabilities(values: &[f32], width: usize) -> RgbImage {
    let ramp = Ramp::dark_to_light();
    from_pixels(values.iter().map(|&v| ramp.color(v)), width)
}

fn from_pixels(pixels: impl ExactSizeIterator<Item = [u8; 3]>, width: usize) -> RgbImage {
    let height = pixels.len().checked_div(width).unwrap_or(0);
    let mut out = RgbImage::new(width as u32, height as u32);
    let samples: &mut [u8] = &mut out;
    for (pixel, color) in samples.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
        *pixel = color;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_get_their_colours() {
        let image = color_labels(&[0, 1, 7, IGNORE], 2, &[[1, 2, 3], [4, 5, 6]]);
        assert_eq!(image.dimensions(), (2, 2));
        assert_eq!(image.into_raw(), [1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn an_overlay_mixes_and_leaves_unlabelled_pixels() {
        let image = RgbImage::from_raw(2, 1, vec![100, 0, 255, 10, 20, 30]).unwrap();
        let mixed = |opacity| overlay_labels(&image, &[0, IGNORE], &[[200, 255, 0]], opacity).into_raw();
        assert_eq!(mixed(0.5), [150, 128, 128, 10, 20, 30]);
        assert_eq!(mixed(0.25), [125, 64, 191, 10, 20, 30]);
        assert_eq!(mixed(0.0), image.clone().into_raw());
        assert_eq!(mixed(1.0), [200, 255, 0, 10, 20, 30]);
    }

    #[test]
    fn pixels_are_judged() {
        let image = judge(&[0, 1, IGNORE, 1], &[0, 0, 0, IGNORE], 4);
        let expected = [Judgement::Right, Judgement::Wrong, Judgement::NotLabelled, Judgement::Wrong];
        assert_eq!(image.into_raw(), expected.map(Judgement::color).concat());
    }
}
