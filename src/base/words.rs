//! Numbers as people write them.

/// A number of bytes as people write it: `250 MiB`, `1.5 GiB`.
pub fn bytes_in_words(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    match mebibytes {
        0.0 => "0 MiB".into(),
        ..1.0 => "less than 1 MiB".into(),
        ..1024.0 => format!("{mebibytes:.0} MiB"),
        _ => format!("{:.1} GiB", mebibytes / 1024.0),
    }
}

/// Mebibytes with one decimal: `1.5 MiB`, for what grows while people look on.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// A count with commas between the thousands: `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// A count with a noun whose plural ends in s: `1 image`, `1,200 images`.
pub fn counted(number: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(number as u64), if number == 1 { "" } else { "s" })
}

/// A part of a whole as per cent: `0 %`, `<0.1 %`, `12.5 %`.
pub fn per_cent(part: u64, whole: u64) -> String {
    match 100.0 * part as f64 / whole.max(1) as f64 {
        0.0 => "0 %".into(),
        small if small < 0.05 => "<0.1 %".into(),
        share => format!("{share:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_shares_are_told_as_people_write_them() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([per_cent(0, 0), per_cent(1, 3000), per_cent(1, 2)], ["0 %", "<0.1 %", "50.0 %"]);
        assert_eq!([0, 1, 1200].map(|n| counted(n, "image")), ["0 images", "1 image", "1,200 images"]);
        assert_eq!(mebibytes(3 << 19), "1.5 MiB");
    }

    #[test]
    fn bytes_are_told_in_a_unit_that_shows_them() {
        let found =
            [0, 1, (1 << 20) - 1, 1 << 20, 38 << 20, 1023 << 20, 1 << 30, 3 << 29, u64::MAX].map(bytes_in_words);
        let expected =
            ["0 MiB", "less than 1 MiB", "less than 1 MiB", "1 MiB", "38 MiB", "1023 MiB", "1.0 GiB", "1.5 GiB"];
        assert_eq!(found[..8], expected);
        assert!(found[8].ends_with(" GiB"));
    }
}
