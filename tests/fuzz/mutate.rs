//! Damage: what a bad disk, a cut-off download, another program or an attacker does to a file.

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// No input grows longer.
const LONGEST: usize = 1 << 17;

/// Numbers at which counts and sizes go wrong.
const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x10000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];

/// The same in texts.
const TEXTS: [&str; 16] = [
    "0",
    "-1",
    "1",
    "255",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "99999999999999999999",
    "1e999",
    "-0.0",
    "1e-320",
    "nan",
    "null",
];

/// A seed with some damage.
pub(crate) fn mutated(rng: &mut ChaCha8Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds.choose(rng).cloned().unwrap_or_default();
    loop {
        damage(rng, &mut bytes, seeds);
        if rng.random_bool(0.5) {
            break;
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

fn damage(rng: &mut ChaCha8Rng, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    match rng.random_range(0..12) {
        0 | 1 => flip_bit(rng, bytes),
        2..=4 => set_number(rng, bytes),
        5 | 6 => set_text_number(rng, bytes),
        7 => {
            let length = rng.random_range(0..=bytes.len());
            bytes.truncate(length);
        }
        8 => {
            let part = part(rng, bytes.len());
            bytes.drain(part);
        }
        9 => {
            let copy = bytes[part(rng, bytes.len())].to_vec();
            let place = rng.random_range(0..=bytes.len());
            bytes.splice(place..place, copy);
        }
        10 => {
            // The beginning of one seed, the end of another.
            let other = seeds.choose(rng).map_or(&[][..], Vec::as_slice);
            let place = rng.random_range(0..=bytes.len());
            bytes.truncate(place);
            bytes.extend(&other[place.min(other.len())..]);
        }
        _ => move_line(rng, bytes),
    }
}

/// A place in the file; half of them near the beginning, where headers are.
fn place(rng: &mut ChaCha8Rng, length: usize) -> Option<usize> {
    let end = if rng.random_bool(0.5) { length.min(96) } else { length };
    (end > 0).then(|| rng.random_range(0..end))
}

/// A part of the file, mostly a short one.
fn part(rng: &mut ChaCha8Rng, length: usize) -> std::ops::Range<usize> {
    let Some(start) = place(rng, length) else { return 0..0 };
    let most = if rng.random_bool(0.8) { 16 } else { length };
    start..(start + rng.random_range(0..=most)).min(length)
}

fn flip_bit(rng: &mut ChaCha8Rng, bytes: &mut [u8]) {
    if let Some(place) = place(rng, bytes.len()) {
        bytes[place] ^= 1 << rng.random_range(0..8);
    }
}

fn set_number(rng: &mut ChaCha8Rng, bytes: &mut [u8]) {
    let Some(place) = place(rng, bytes.len()) else { return };
    let number = match rng.random_range(0..3) {
        0 => rng.random_range(0..=u64::MAX) >> rng.random_range(0..64),
        _ => NUMBERS.choose(rng).copied().unwrap_or_default(),
    };
    let width = (1 << rng.random_range(0..4)).min(bytes.len() - place);
    let stored = if rng.random_bool(0.5) { number.to_le_bytes() } else { number.to_be_bytes() };
    let part = if stored[0] == number as u8 { &stored[..width] } else { &stored[8 - width..] };
    bytes[place..place + width].copy_from_slice(part);
}

/// Replaces a number that is written in digits.
fn set_text_number(rng: &mut ChaCha8Rng, bytes: &mut Vec<u8>) {
    let Some(near) = place(rng, bytes.len()) else { return };
    let Some(start) = bytes[near..].iter().position(u8::is_ascii_digit).map(|ahead| near + ahead) else { return };
    let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = TEXTS.choose(rng).copied().unwrap_or_default();
    bytes.splice(start..start + digits, number.bytes());
}

/// Copies a line to the place of another one.
fn move_line(rng: &mut ChaCha8Rng, bytes: &mut Vec<u8>) {
    let lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (Some(from), Some(to)) = (place(rng, lines.len()), place(rng, lines.len())) else { return };
    let mut moved = lines.clone();
    if rng.random_bool(0.5) {
        moved.insert(to, lines[from].clone());
    } else {
        moved[to].clone_from(&lines[from]);
    }
    *bytes = moved.concat();
}
