//! Numbers as colours.

use crate::image::oklab::from_oklch;

/// 256 colours from 0 to 1, even in lightness to the eye.
pub(super) struct Ramp(Vec<[u8; 3]>);

impl Ramp {
    /// Dark violet over green to light yellow, for maps.
    pub(super) fn dark_to_light() -> Self {
        Self::new(|t| (0.25 + 0.67 * t, 0.11 + 0.06 * t, 305.0 - 200.0 * t))
    }

    /// White to dark blue, for tables on paper.
    pub(super) fn white_to_blue() -> Self {
        Self::new(|t| (1.0 - 0.66 * t, 0.16 * t.sqrt() * (1.0 - 0.25 * t), 250.0))
    }

    /// From lightness, chroma and hue at a place from 0 to 1.
    fn new(lch: impl Fn(f32) -> (f32, f32, f32)) -> Self {
        let color = |i: u8| {
            let (lightness, chroma, hue) = lch(f32::from(i) / 255.0);
            from_oklch(lightness, chroma, hue)
        };
        Self((0..=u8::MAX).map(color).collect())
    }

    /// The colour of a value; beyond 0 to 1 that of the nearer end.
    pub(super) fn color(&self, value: f32) -> [u8; 3] {
        // A cast to u8 keeps to 0 and 255.
        self.0[usize::from((value * 255.0).round() as u8)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lightness_goes_one_way() {
        let grey = |c: [u8; 3]| 299 * u32::from(c[0]) + 587 * u32::from(c[1]) + 114 * u32::from(c[2]);
        for (ramp, ends) in [(Ramp::dark_to_light(), [0.0, 1.0]), (Ramp::white_to_blue(), [1.0, 0.0])] {
            let [from, to] = ends;
            let lightness: Vec<u32> =
                (0..=16).map(|i| grey(ramp.color(from + (to - from) * i as f32 / 16.0))).collect();
            assert!(lightness.is_sorted_by(|a, b| a < b), "{lightness:?}");
        }
        assert_eq!(Ramp::white_to_blue().color(0.0), [255; 3]);
        assert_eq!(Ramp::dark_to_light().color(-1.0), Ramp::dark_to_light().color(0.0));
    }
}
