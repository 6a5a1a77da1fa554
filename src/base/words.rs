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

#[cfg(test)]
mod tests {
    use super::*;

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
