//! Ranges, ticks and numbers of axes.

/// Round numbers from `low` to `high`, about `count` or a few more.
pub(crate) fn ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let raw = (high - low) / count.max(1) as f64;
    if !(raw.is_finite() && raw > 0.0) {
        return vec![low];
    }
    let decade = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * decade).find(|step| *step >= 0.7 * raw).unwrap_or(raw);
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last).map(|i| i as f64 * step).collect()
}

/// The ends of an axis from 0, or from the least value below it, to a little above the largest.
pub(crate) fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.filter(|v| v.is_finite()).fold((0.0f64, 0.0f64), |(l, h), v| (l.min(v), h.max(v)));
    if high > low { (1.05 * low, 1.05 * high) } else { (0.0, 1.0) }
}

/// Whole numbers from 1 to `last` in steps of which there are about `count`; the epochs on an axis.
pub(crate) fn epoch_ticks(last: usize, count: usize) -> Vec<usize> {
    let raw = last.div_ceil(count.max(1)).max(1);
    let decade = 10usize.pow(raw.ilog10());
    let step = [1, 2, 5, 10].into_iter().map(|m| m * decade).find(|step| *step >= raw).unwrap_or(raw);
    let rest = (1..=last / step).map(|i| i * step).filter(|tick| *tick > 1);
    // Beside 1, a tick would be written over its number.
    std::iter::once(1).chain(rest.filter(|tick| step == 1 || *tick > 1 + step / 3)).collect()
}

/// A number as short as an axis needs it.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if (1e-3..1e5).contains(&size) {
        let digits = (2 - size.log10().floor() as i32).max(0) as usize;
        let text = format!("{value:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
    } else {
        let text = format!("{value:.2e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        format!("{}e{exponent}", mantissa.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let tenths = |low, high| ticks(low, high, 5).iter().map(|t| format!("{t:.1}")).collect::<Vec<_>>();
        assert_eq!(ticks(0.0, 1.05, 5).len(), 6);
        assert_eq!(tenths(0.0, 1.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(tenths(-0.3, 0.2), ["-0.3", "-0.2", "-0.1", "0.0", "0.1", "0.2"]);
        assert_eq!(ticks(3.0, 3.0, 5), [3.0]);
        assert_eq!(ticks(0.0, f64::NAN, 5), [0.0]);
    }

    #[test]
    fn epochs_are_whole() {
        assert_eq!(epoch_ticks(1, 8), [1]);
        assert_eq!(epoch_ticks(4, 8), [1, 2, 3, 4]);
        assert_eq!(epoch_ticks(20, 8), [1, 5, 10, 15, 20]);
        assert_eq!(epoch_ticks(200, 8), [1, 50, 100, 150, 200]);
        assert_eq!(epoch_ticks(12, 8), [1, 2, 4, 6, 8, 10, 12]);
    }

    #[test]
    fn numbers_are_short() {
        for (value, expected) in
            [(0.0, "0"), (0.25, "0.25"), (1.0, "1"), (100.0, "100"), (1e-4, "1e-4"), (2.5e-5, "2.5e-5")]
        {
            assert_eq!(short(value), expected);
        }
        assert_eq!([short(0.012_345), short(123_456.0), short(-0.5)], ["0.0123", "1.23e5", "-0.5"]);
    }

    #[test]
    fn ranges_hold_what_is_a_number() {
        assert_eq!(range([f64::NAN, 2.0, f64::INFINITY].into_iter()), (0.0, 2.1));
        assert_eq!(range(std::iter::empty()), (0.0, 1.0));
    }
}
