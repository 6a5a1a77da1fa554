//! Values of flags, from text.

use std::num::IntErrorKind;
use std::ops::RangeBounds;
use std::str::FromStr;
use std::time::Duration;

use segtool::base::Size;
use segtool::nn::cost::MAX_SIDE;
use segtool::predict::Shard;

/// Most of anything that is counted: products of two such numbers are numbers still.
const MOST: usize = 1_000_000_000;
/// More threads than this, or than this many a core, only take memory from each other.
const MOST_THREADS: usize = 256;
const THREADS_A_CORE: usize = 8;
/// Longest time, in seconds: ten years.
const LONGEST: u64 = 10 * 365 * 24 * 3600;

pub(super) fn positive(text: &str) -> Result<usize, String> {
    count(text, MOST)
}

/// From 1 to `most`.
fn count(text: &str, most: usize) -> Result<usize, String> {
    match text.parse::<usize>().map_err(|fault| *fault.kind()) {
        Ok(0) => Err("must be at least 1".into()),
        Ok(number) if number <= most => Ok(number),
        Ok(_) | Err(IntErrorKind::PosOverflow) => Err(format!("must be at most {most}")),
        Err(_) => Err("is not a whole number".into()),
    }
}

/// A number of threads that makes sense on this machine.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    let most = most_threads();
    count(text, most).map_err(|fault| match text.parse::<usize>() {
        Ok(number) if number > most => format!("{fault} threads on this machine"),
        _ => fault,
    })
}

/// Most threads that make sense on this machine.
pub(crate) fn most_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    MOST_THREADS.max(THREADS_A_CORE * cores)
}

/// From 1 to the longest side of an image.
pub(super) fn side(text: &str) -> Result<usize, String> {
    count(text, MAX_SIDE).map_err(|fault| if fault.contains("at most") { format!("{fault} pixels") } else { fault })
}

/// Side of sliding windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tile {
    /// In pixels.
    Side(usize),
    /// As large as fits in memory.
    Auto,
}

/// A side, or `auto`.
pub(super) fn tile(text: &str) -> Result<Tile, String> {
    if text == "auto" {
        return Ok(Tile::Auto);
    }
    let fault = |fault: String| if fault.contains("whole number") { format!("{fault}, or auto") } else { fault };
    side(text).map(Tile::Side).map_err(fault)
}

/// `8GiB`, `500MiB`, `1.5G` or a number of bytes.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => Some(0),
        "k" | "kb" | "kib" => Some(1),
        "m" | "mb" | "mib" => Some(2),
        "g" | "gb" | "gib" => Some(3),
        "t" | "tb" | "tib" => Some(4),
        _ => None,
    };
    match (digits.trim().parse::<f64>(), power) {
        (Ok(number), Some(power)) if number * 1024f64.powi(power) >= 1.0 => Ok((number * 1024f64.powi(power)) as u64),
        _ => Err("is not a size such as 8GiB or 500MiB".into()),
    }
}

/// The same, or 0.
pub(super) fn bytes_or_none(text: &str) -> Result<u64, String> {
    if text.trim() == "0" { Ok(0) } else { bytes(text) }
}

/// `473` or, height first, `360x480`.
pub(super) fn size(text: &str) -> Result<Size, String> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    Ok(Size { height: side(height)?, width: side(width)? })
}

/// `3/8`, `auto` or `auto/8`.
pub(super) fn shard(text: &str) -> Result<Shard, String> {
    Shard::parse(text, |name| std::env::var(name).ok()).map_err(|fault| fault.to_string().replace('`', ""))
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err("must be a number above 0".into()),
    }
}

/// A number in a range, which `what` says in words.
pub(super) fn within<T: FromStr + PartialOrd>(text: &str, range: impl RangeBounds<T>, what: &str) -> Result<T, String> {
    text.parse::<T>().ok().filter(|number| range.contains(number)).ok_or_else(|| format!("must be {what}"))
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    within(text, 0.0..=1.0, "a number from 0 to 1")
}

/// `45s`, `90m`, `1h30m`.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be more than nothing".into()),
        Ok(span) if span.as_secs() > LONGEST => Err("must be at most ten years".into()),
        Ok(span) => Ok(span),
        Err(_) => Err("is not a time such as 45s, 90m or 1h30m".into()),
    }
}

/// How often; never, if there is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interval(pub(crate) Option<Duration>);

/// A time, or `0` or `none` for never.
pub(super) fn interval(text: &str) -> Result<Interval, String> {
    match text {
        "0" | "none" => Ok(Interval(None)),
        text if humantime::parse_duration(text) == Ok(Duration::ZERO) => Ok(Interval(None)),
        text => span(text).map(|span| Interval(Some(span))).map_err(|fault| format!("{fault}, or none")),
    }
}

/// From 0 to below 1.
pub(super) fn threshold(text: &str) -> Result<f64, String> {
    within(text, 0.0..1.0, "a probability from 0 to below 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_reason_are_refused_in_words() {
        let most = most_threads();
        assert_eq!(threads(&most.to_string()), Ok(most));
        for text in [(most + 1).to_string(), "4294967296".into(), u64::MAX.to_string()] {
            assert_eq!(threads(&text).unwrap_err(), format!("must be at most {most} threads on this machine"));
        }
        for text in ["1000000001", "18446744073709551615", "99999999999999999999999"] {
            assert_eq!(positive(text).unwrap_err(), "must be at most 1000000000", "{text}");
            assert!(side(text).unwrap_err().ends_with("pixels") && size(&format!("1x{text}")).is_err(), "{text}");
        }
        for text in ["", "-1", "1.5", "x", "1e3"] {
            assert_eq!(positive(text).unwrap_err(), "is not a whole number", "{text}");
            assert_eq!(threads(text).unwrap_err(), "is not a whole number", "{text}");
        }
        assert_eq!(positive("0").unwrap_err(), "must be at least 1");
        assert_eq!((positive("1000000000"), side("1048576")), (Ok(1_000_000_000), Ok(1 << 20)));
        assert_eq!(span("99999999999years").unwrap_err().split(' ').next(), Some("must"));
        assert!(span("11years").is_err() && span("9years").is_ok());
    }
}
