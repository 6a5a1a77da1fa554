//! Numbers as .npy files store them.

use std::fmt::Display;

use half::f16;

/// A number as stored, `N` bytes long.
pub(super) trait Value<const N: usize>: Copy + Display {
    fn read(bytes: [u8; N]) -> Self;
    /// The low bits, and whether they are all there is to it. Without branches, so that loops become vectors.
    fn low_bits(self) -> (u16, bool);
    /// The label that it means.
    fn label(self) -> Option<u16>;
    /// As a sample of an image of floating point.
    fn sample(self) -> f32;
    /// As an exact number, up to 2^53.
    fn number(self) -> f64;
}

/// A function's result for the type of an array's numbers, but for unsigned ones of 8 and 16 bits.
macro_rules! by_type {
    ($function:ident, $array:ident, $axes:ident, $expected:literal) => {
        match $array.header.kind() {
            "u4" => $function::<u32, 4>($array, &$axes),
            "u8" => $function::<u64, 8>($array, &$axes),
            "i1" => $function::<i8, 1>($array, &$axes),
            "i2" => $function::<i16, 2>($array, &$axes),
            "i4" => $function::<i32, 4>($array, &$axes),
            "i8" => $function::<i64, 8>($array, &$axes),
            "f2" => $function::<half::f16, 2>($array, &$axes),
            "f4" => $function::<f32, 4>($array, &$axes),
            "f8" => $function::<f64, 8>($array, &$axes),
            _ => Err($array.other_type($expected)),
        }
    };
}
pub(super) use by_type;

macro_rules! integers {
    ($($type:ty, $unsigned:ty, $bytes:literal);*) => {$(
        impl Value<$bytes> for $type {
            fn read(bytes: [u8; $bytes]) -> Self {
                Self::from_le_bytes(bytes)
            }

            #[allow(clippy::unnecessary_cast, unused_comparisons)]
            fn low_bits(self) -> (u16, bool) {
                (self as u16, self >= 0 && self as $unsigned as u64 <= u64::from(u16::MAX))
            }

            #[allow(unused_comparisons)]
            fn label(self) -> Option<u16> {
                if self < 0 && self.wrapping_add(1) == 0 { Some(u16::MAX) } else { u16::try_from(self).ok() }
            }

            fn sample(self) -> f32 {
                self as f32
            }

            #[allow(clippy::cast_lossless)]
            fn number(self) -> f64 {
                self as f64
            }
        }
    )*};
}

integers!(u8, u8, 1; u16, u16, 2; u32, u32, 4; u64, u64, 8; i8, u8, 1; i16, u16, 2; i32, u32, 4; i64, u64, 8);

macro_rules! floats {
    ($($type:ty, $bytes:literal, $sample:expr);*) => {$(
        impl Value<$bytes> for $type {
            fn read(bytes: [u8; $bytes]) -> Self {
                Self::from_le_bytes(bytes)
            }

            fn low_bits(self) -> (u16, bool) {
                let value = f64::from(self);
                (value as u16, f64::from(value as u16) == value)
            }

            fn label(self) -> Option<u16> {
                let (bits, whole) = self.low_bits();
                if whole { Some(bits) } else { (f64::from(self) == -1.0).then_some(u16::MAX) }
            }

            fn sample(self) -> f32 {
                $sample(self)
            }

            fn number(self) -> f64 {
                f64::from(self)
            }
        }
    )*};
}

floats!(f16, 2, f32::from; f32, 4, std::convert::identity; f64, 8, |value| value as f32);

/// Appends the values as labels; whether all of them fit.
pub(super) fn convert<T: Value<N>, const N: usize>(words: &[[u8; N]], labels: &mut Vec<u16>) -> bool {
    let mut fit = true;
    labels.extend(words.iter().map(|&word| {
        let (label, fits) = T::read(word).low_bits();
        fit &= fits;
        label
    }));
    fit
}
