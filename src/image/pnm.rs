//! PNM files may declare any number as white; the decoder scales samples from there to 255 or 65,535, as is right for
//! images. Labels are wanted as they are stored.

use super::raw_labels::RawLabels;

/// The labels as stored.
pub(super) fn unscaled(bytes: &[u8], labels: RawLabels) -> RawLabels {
    let Some(white) = white(bytes) else { return labels };
    let full = if white < 256 { 255 } else { 65535 };
    let stored = |sample: u32| (sample * white + full / 2) / full;
    match labels {
        RawLabels::Values(size, values) if white != full => {
            RawLabels::Values(size, values.into_iter().map(|value| stored(value.into()) as u16).collect())
        }
        RawLabels::Colors(size, colors) if white != full => {
            RawLabels::Colors(size, colors.into_iter().map(|color| color.map(|s| stored(s.into()) as u8)).collect())
        }
        labels => labels,
    }
}

/// The number that means white; none in bitmaps.
fn white(bytes: &[u8]) -> Option<u32> {
    let lines = bytes.split(|&byte| byte == b'\n').map(|line| line.split(|&byte| byte == b'#').next().unwrap_or(line));
    let mut words = lines.flat_map(|line| line.split(u8::is_ascii_whitespace)).filter(|word| !word.is_empty());
    let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse().ok();
    match words.next()? {
        b"P2" | b"P3" | b"P5" | b"P6" => number(words.nth(2)?),
        b"P7" => {
            words.find(|word| *word == b"MAXVAL")?;
            number(words.next()?)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Size;

    #[test]
    fn labels_are_scaled_back_to_what_is_stored() {
        let size = Size { width: 3, height: 1 };
        let commented = format!("P5\n#{}\n3 1\n15\n", "-".repeat(5000));
        for (head, scaled, stored) in [
            (&b"P5\n# made by hand\n3 1 # size\n15\n"[..], [0, 119, 255], [0, 7, 15]),
            (commented.as_bytes(), [0, 119, 255], [0, 7, 15]),
            (b"P5 3 1 255\n", [0, 7, 15], [0, 7, 15]),
            (b"P2\n3 1\n4095\n", [0, 16, 65535], [0, 1, 4095]),
            (b"P7\nWIDTH 3\nHEIGHT 1\nDEPTH 1\nMAXVAL 3\nENDHDR\n", [0, 85, 255], [0, 1, 3]),
            (b"P4\n3 1\n", [0, 255, 255], [0, 255, 255]),
        ] {
            let labels = unscaled(head, RawLabels::Values(size, scaled.to_vec()));
            assert_eq!(labels, RawLabels::Values(size, stored.to_vec()));
        }
        for white in 1..=255u32 {
            let head = format!("P5 3 1 {white}\n");
            let stored: Vec<u16> = (0..=white as u16).collect();
            let scaled = stored.iter().map(|&s| ((u32::from(s) * 255 + white / 2) / white) as u16).collect();
            assert_eq!(unscaled(head.as_bytes(), RawLabels::Values(size, scaled)), RawLabels::Values(size, stored));
        }
    }
}
