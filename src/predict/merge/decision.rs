//! What is decided on of the pixels of an image.

use crate::base::label_map::IGNORE;

/// Classes of the pixels of an image, or of some rows of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// The class of each pixel by the rule of the scores.
    pub classes: Vec<u16>,
    /// Its probability, if asked for.
    pub highest: Option<Vec<f32>>,
    /// The probabilities of all classes, `[classes, height, width]`, if asked for.
    pub all: Option<Vec<f32>>,
}

/// What is wanted of a [`Decision`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The probability of the class that is picked.
    pub highest: bool,
    /// The probabilities of all classes.
    pub all: bool,
}

impl Decision {
    /// Pixels that are not decided on: without a class, of probability 0.
    pub(crate) fn blank(pixels: usize, classes: usize, wanted: Wanted) -> Self {
        Self {
            classes: vec![IGNORE; pixels],
            highest: wanted.highest.then(|| vec![0.0; pixels]),
            all: wanted.all.then(|| vec![0.0; classes * pixels]),
        }
    }

    /// Takes class and probabilities away from those pixels, from the one at `from` on, that have no data.
    pub(crate) fn leave_out(&mut self, from: usize, nodata: &[bool]) {
        let pixels = self.classes.len().max(1);
        put(&mut self.classes[from..], nodata, IGNORE);
        let planes = self.all.iter_mut().flat_map(|all| all.chunks_exact_mut(pixels));
        planes.chain(self.highest.as_deref_mut()).for_each(|plane| put(&mut plane[from..], nodata, 0.0));
    }
}

fn put<T: Copy>(values: &mut [T], nodata: &[bool], value: T) {
    values.iter_mut().zip(nodata).filter(|(_, nodata)| **nodata).for_each(|(old, _)| *old = value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_without_data_have_no_class_and_no_probability() {
        let mut found = Decision { classes: vec![0, 1, 1], highest: Some(vec![0.5; 3]), all: Some(vec![0.25; 6]) };
        found.leave_out(1, &[false, true]);
        let all = Some(vec![0.25, 0.25, 0.0, 0.25, 0.25, 0.0]);
        assert_eq!(found, Decision { classes: vec![0, 1, IGNORE], highest: Some(vec![0.5, 0.5, 0.0]), all });
        found.leave_out(0, &[true; 3]);
        assert_eq!(found, Decision::blank(3, 2, Wanted { highest: true, all: true }));
    }
}
