//! Random changes of a sample, image and label alike.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::Sample;

/// One change, made with probability 1/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augmentation {
    /// Left and right exchanged.
    FlipHorizontal,
    /// Top and bottom exchanged.
    FlipVertical,
    /// Turned by 180 degrees.
    Rotate180,
}

impl Augmentation {
    /// Draws whether to change `sample`, and does it.
    pub fn apply(self, sample: &mut Sample, rng: &mut ChaCha8Rng) {
        if !rng.random_bool(0.5) {
            return;
        }
        let width = sample.labels.size.width;
        let pixels = sample.labels.classes.len();
        for plane in sample.planes.chunks_exact_mut(pixels) {
            self.change(plane, width);
        }
        self.change(&mut sample.labels.classes, width);
    }

    fn change<T>(self, plane: &mut [T], width: usize) {
        match self {
            Self::FlipHorizontal => plane.chunks_exact_mut(width).for_each(<[T]>::reverse),
            Self::FlipVertical => {
                let height = plane.len() / width;
                for y in 0..height / 2 {
                    let (upper, lower) = plane.split_at_mut((height - 1 - y) * width);
                    upper[y * width..(y + 1) * width].swap_with_slice(&mut lower[..width]);
                }
            }
            Self::Rotate180 => plane.reverse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_move_the_pixels_they_should() {
        let changed = |how: Augmentation| {
            let mut plane = [0, 1, 2, 3, 4, 5, 6, 7, 8];
            how.change(&mut plane, 3);
            plane
        };
        assert_eq!(changed(Augmentation::FlipHorizontal), [2, 1, 0, 5, 4, 3, 8, 7, 6]);
        assert_eq!(changed(Augmentation::FlipVertical), [6, 7, 8, 3, 4, 5, 0, 1, 2]);
        assert_eq!(changed(Augmentation::Rotate180), [8, 7, 6, 5, 4, 3, 2, 1, 0]);
    }
}
