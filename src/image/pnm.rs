//! PNM files may declare any number as white.

use super::raster::Samples;

/// The samples from 0 to 255 or 65,535, as other programs show them. The decoder leaves them from 0 to the declared
/// white.
pub(super) fn scaled(bytes: &[u8], samples: Samples) -> Samples {
    let Some(white) = white(bytes) else { return samples };
    let scale = |sample: u32, full: u32| (sample * full + white / 2).checked_div(white).map_or(full, |s| s.min(full));
    match samples {
        Samples::U8(v) if white != 255 => Samples::U8(v.into_iter().map(|s| scale(s.into(), 255) as u8).collect()),
        Samples::U16(v) if white != 65535 => {
            Samples::U16(v.into_iter().map(|s| scale(s.into(), 65535) as u16).collect())
        }
        samples => samples,
    }
}

/// The number that means white; none in bitmaps.
fn white(bytes: &[u8]) -> Option<u32> {
    let head = &bytes[..bytes.len().min(4096)];
    let lines = head.split(|&byte| byte == b'\n').map(|line| line.split(|&byte| byte == b'#').next().unwrap_or(line));
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

    #[test]
    fn samples_are_scaled_from_the_declared_white() {
        for (head, samples, wanted) in [
            (&b"P5\n# made by hand\n3 1 # size\n15\n"[..], Samples::U8(vec![0, 7, 15]), Samples::U8(vec![0, 119, 255])),
            (b"P5 3 1 255\n", Samples::U8(vec![0, 7, 15]), Samples::U8(vec![0, 7, 15])),
            (b"P6\n1 1\n4095\n", Samples::U16(vec![0, 1, 4095]), Samples::U16(vec![0, 16, 65535])),
            (
                b"P7\nWIDTH 3\nHEIGHT 1\nDEPTH 1\nMAXVAL 3\nENDHDR\n",
                Samples::U8(vec![0, 1, 3]),
                Samples::U8(vec![0, 85, 255]),
            ),
            (b"P4\n3 1\n", Samples::U8(vec![0, 255]), Samples::U8(vec![0, 255])),
        ] {
            assert_eq!(scaled(head, samples), wanted);
        }
    }
}
