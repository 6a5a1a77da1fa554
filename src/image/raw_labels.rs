//! Labels as their file stores them.

use super::orientation::Orientation;
use super::samples::{AlphaBand, Samples};
use super::tiff::Numbers;
use crate::base::Size;

/// The number that a `-1` in a label image of a signed type is read as, where all others fit into 16 bits.
pub const MINUS_ONE: u16 = u16::MAX;

/// A label image as stored.
#[derive(Debug, Clone, PartialEq)]
pub enum RawLabels {
    /// Grey values or palette indices, row by row; -1 is [`MINUS_ONE`].
    Values(Size, Vec<u16>),
    /// The same where there are other numbers than 0 to 65,535 and -1, or pixels without data.
    Numbers(NumberLabels),
    /// Colours, row by row; to be looked up in a colour map. Alpha is dropped.
    Colors(Size, Vec<[u8; 3]>),
}

impl RawLabels {
    /// Width and height.
    pub fn size(&self) -> Size {
        match self {
            Self::Values(size, _) | Self::Colors(size, _) => *size,
            Self::Numbers(labels) => labels.size,
        }
    }

    /// Stored numbers as the smallest kind of labels that holds them, with the file's nodata value and with the pixels that
    /// its mask excludes.
    pub(super) fn from_numbers(size: Size, numbers: Numbers, nodata: Option<f64>, masked: Option<Vec<bool>>) -> Self {
        let masked = masked.filter(|masked| masked.contains(&true));
        let plain = |named: bool| masked.is_none() && !named;
        let mut values: Vec<f64> = match numbers {
            Numbers::Bytes(v) if plain(holds(&v, nodata)) => {
                return Self::Values(size, v.into_iter().map(u16::from).collect());
            }
            Numbers::Words(v) if plain(holds(&v, nodata)) => return Self::Values(size, v),
            Numbers::Wide(v) if plain(holds(&v, nodata)) => match as_words(v) {
                Ok(words) => return Self::Values(size, words),
                Err(values) => values,
            },
            Numbers::Bytes(v) => v.into_iter().map(f64::from).collect(),
            Numbers::Words(v) => v.into_iter().map(f64::from).collect(),
            Numbers::Wide(v) => v,
        };
        for (value, _) in values.iter_mut().zip(masked.into_iter().flatten()).filter(|(_, masked)| *masked) {
            *value = NumberLabels::MASKED;
        }
        Self::Numbers(NumberLabels { size, values, nodata })
    }
}

/// Labels that need not be whole or positive.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberLabels {
    /// Width and height.
    pub size: Size,
    /// The numbers row by row, NaN among them; [`NumberLabels::MASKED`] where the file's mask says that there is no data.
    pub values: Vec<f64>,
    /// The file's nodata value: "not labelled", unless the data set says what it means.
    pub nodata: Option<f64>,
}

impl NumberLabels {
    /// Stands for a pixel that the file's mask excludes.
    pub const MASKED: f64 = f64::NEG_INFINITY;

    /// Whether the file says that a number means "no data".
    pub fn is_nodata(&self, number: f64) -> bool {
        number == Self::MASKED
            || self.nodata.is_some_and(|nodata| nodata == number || (nodata.is_nan() && number.is_nan()))
    }
}

/// A label image and its alpha, where there is one.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelImage {
    /// The labels.
    pub raw: RawLabels,
    /// The opacity of the pixels: a channel, that of palette entries, or none at a grey value or colour that a PNG declares
    /// transparent.
    pub alpha: Option<AlphaBand>,
}

impl LabelImage {
    pub(super) fn new(raw: RawLabels, alpha: Option<Samples>) -> Self {
        Self { raw, alpha: alpha.map(|samples| AlphaBand { samples, associated: false, position: 1 }) }
    }

    /// The same turned upright, and whether the file declares that it lies otherwise.
    pub(super) fn upright(self, orientation: Option<Orientation>) -> (Self, bool) {
        let Some(orientation) = orientation else { return (self, false) };
        let stored = self.raw.size();
        let size = orientation.size(stored);
        let raw = match self.raw {
            RawLabels::Values(_, v) => RawLabels::Values(size, orientation.apply_to(stored, &v)),
            RawLabels::Colors(_, v) => RawLabels::Colors(size, orientation.apply_to(stored, &v)),
            RawLabels::Numbers(labels) => {
                let values = orientation.apply_to(stored, &labels.values);
                RawLabels::Numbers(NumberLabels { size, values, nodata: labels.nodata })
            }
        };
        let turned =
            |alpha: AlphaBand| AlphaBand { samples: orientation.apply_to_samples(stored, &alpha.samples), ..alpha };
        (Self { raw, alpha: self.alpha.map(turned) }, true)
    }
}

fn holds<T: Copy + Into<f64>>(numbers: &[T], wanted: Option<f64>) -> bool {
    wanted.is_some_and(|wanted| numbers.iter().any(|&number| number.into() == wanted))
}

/// Integers from 0 to 65,535, and -1, as words; the numbers themselves if there are others, or if -1 would be
/// taken for a number that occurs.
fn as_words(numbers: Vec<f64>) -> Result<Vec<u16>, Vec<f64>> {
    let fits = |&v: &f64| v == -1.0 || (v.fract() == 0.0 && (0.0..=65535.0).contains(&v));
    let both = numbers.contains(&-1.0) && numbers.contains(&f64::from(MINUS_ONE));
    if both || !numbers.iter().all(fits) {
        return Err(numbers);
    }
    Ok(numbers.into_iter().map(|v| if v < 0.0 { MINUS_ONE } else { v as u16 }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 3, height: 1 };

    #[test]
    fn numbers_are_kept_where_one_of_them_is_nodata() {
        let read = |numbers: &Numbers, nodata| RawLabels::from_numbers(SIZE, numbers.clone(), nodata, None);
        let bytes = Numbers::Bytes(vec![0, 1, 255]);
        assert_eq!(read(&bytes, Some(9.0)), RawLabels::Values(SIZE, vec![0, 1, 255]));
        let numbers =
            |values: &[f64], nodata| RawLabels::Numbers(NumberLabels { size: SIZE, values: values.to_vec(), nodata });
        assert_eq!(read(&bytes, Some(255.0)), numbers(&[0.0, 1.0, 255.0], Some(255.0)));
        let signed = Numbers::Wide(vec![-1.0, 0.0, 5.0]);
        assert_eq!(read(&signed, None), RawLabels::Values(SIZE, vec![MINUS_ONE, 0, 5]));
        assert_eq!(read(&signed, Some(-1.0)), numbers(&[-1.0, 0.0, 5.0], Some(-1.0)));
        let large = Numbers::Wide(vec![0.0, 1.0, 65535.0]);
        assert_eq!(read(&large, Some(65535.0)), numbers(&[0.0, 1.0, 65535.0], Some(65535.0)));
        assert_eq!(read(&large, Some(-1.0)), RawLabels::Values(SIZE, vec![0, 1, 65535]));
        assert_eq!(read(&Numbers::Wide(vec![-1.0, 65535.0, 5.0]), None), numbers(&[-1.0, 65535.0, 5.0], None));
        let masked = RawLabels::from_numbers(SIZE, bytes, None, Some(vec![false, true, false]));
        assert_eq!(masked, numbers(&[0.0, NumberLabels::MASKED, 255.0], None));
    }
}
