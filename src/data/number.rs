//! Numbers of data set files that stand for "no data" or "not labelled".

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number as image files store it, or NaN; `-9999`, `0.5` or `"nan"` in a data set file. NaN equals itself and is the
/// largest.
#[derive(Debug, Clone, Copy)]
pub struct StoredNumber(pub f64);

impl StoredNumber {
    /// Whether a pixel holds it.
    pub fn is(self, number: f64) -> bool {
        self.0 == number || (self.0.is_nan() && number.is_nan())
    }

    /// The same as an unsigned 16-bit label value, if it is one.
    pub fn as_value(self) -> Option<u16> {
        let whole = self.0.fract() == 0.0 && (0.0..=f64::from(u16::MAX)).contains(&self.0);
        whole.then_some(self.0 as u16)
    }

    /// One number for all NaN, and one for both zeros.
    fn key(self) -> f64 {
        if self.0.is_nan() { f64::NAN } else { self.0 + 0.0 }
    }
}

impl From<u16> for StoredNumber {
    fn from(value: u16) -> Self {
        Self(value.into())
    }
}

impl PartialEq for StoredNumber {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.0)
    }
}

impl Eq for StoredNumber {}

impl PartialOrd for StoredNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for StoredNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().total_cmp(&other.key())
    }
}

impl Hash for StoredNumber {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().to_bits().hash(state);
    }
}

impl fmt::Display for StoredNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_nan() { f.write_str("nan") } else { self.0.fmt(f) }
    }
}

impl std::str::FromStr for StoredNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse() {
            Ok(number) if !f64::is_infinite(number) => Ok(Self(number)),
            _ => Err(format!("'{text}' is neither a number nor nan")),
        }
    }
}

impl Serialize for StoredNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match self.0 {
            number if number.is_nan() => serializer.serialize_str("nan"),
            number if number.fract() == 0.0 && number.abs() < EXACT => serializer.serialize_i64(number as i64),
            number => serializer.serialize_f64(number),
        }
    }
}

impl<'de> Deserialize<'de> for StoredNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "must be a number or \"nan\"")]
        enum Written {
            Whole(i64),
            Number(f64),
            Text(String),
        }
        let number = match Written::deserialize(deserializer)? {
            Written::Whole(number) => number as f64,
            Written::Number(number) => number,
            Written::Text(text) => return text.parse().map_err(serde::de::Error::custom),
        };
        if number.is_infinite() {
            return Err(serde::de::Error::custom("must be a finite number or \"nan\""));
        }
        Ok(Self(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_nan_are_written_as_they_were_read() {
        let read: Vec<StoredNumber> = serde_json::from_str(r#"[0, -9999, "nan", 0.5, 255, "-1"]"#).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), r#"[0,-9999,"nan",0.5,255,-1]"#);
        assert_eq!(read.iter().map(|n| n.as_value()).collect::<Vec<_>>(), [Some(0), None, None, None, Some(255), None]);
        assert!(serde_json::from_str::<StoredNumber>(r#""none""#).is_err());
    }

    #[test]
    fn numbers_are_ordered_and_equal_as_written() {
        let numbers = [-1.0, -0.0, 9.0, -f64::NAN].map(StoredNumber);
        assert!(numbers.is_sorted() && !numbers.iter().rev().is_sorted());
        assert_eq!(numbers, [-1.0, 0.0, 9.0, f64::NAN].map(StoredNumber));
        assert_eq!([65535.0, 65536.0, f64::NAN].map(|n| StoredNumber(n).as_value()), [Some(65535), None, None]);
    }
}
