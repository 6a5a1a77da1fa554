//! Values of flags, from text.

use std::time::Duration;

use segtool::error::Size;
use segtool::summary::MAX_SIDE;

pub(super) fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("is not a whole number".into()),
    }
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
    let size = Size { height: positive(height)?, width: positive(width)? };
    match size.height.max(size.width) {
        ..=MAX_SIDE => Ok(size),
        side => Err(format!("{side} pixels are too many: a side has at most {MAX_SIDE}")),
    }
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err("must be a number above 0".into()),
    }
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("must be a number from 0 to 1".into()),
    }
}

/// `45s`, `90m`, `1h30m`.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be more than nothing".into()),
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
    match text.parse() {
        Ok(threshold) if (0.0..1.0).contains(&threshold) => Ok(threshold),
        _ => Err("must be a probability from 0 to below 1".into()),
    }
}
