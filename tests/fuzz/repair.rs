//! Checksums and lengths put right after the damage, so that it reaches the code behind them.

/// Leaves everything as it is.
pub(crate) fn nothing(_: &mut [u8]) {}

/// The checksums of a PNG's chunks; other files stay as they are.
pub(crate) fn png(bytes: &mut [u8]) {
    if !bytes.starts_with(b"\x89PNG") {
        return;
    }
    let mut start = 8;
    while let Some(length) = word(bytes, start, u32::from_be_bytes) {
        let end = start + 8 + length;
        let Some(chunk) = bytes.get(start + 4..end) else { break };
        let sum = crc32(chunk).to_be_bytes();
        let Some(place) = bytes.get_mut(end..end + 4) else { break };
        place.copy_from_slice(&sum);
        start = end + 4;
    }
}

/// The length of a .npy's header, or the checksums of a zip archive.
pub(crate) fn npy(bytes: &mut [u8]) {
    if bytes.starts_with(b"PK") {
        zip(bytes);
    } else if let (Some(end), Some(place)) = (bytes.iter().position(|byte| *byte == b'\n'), bytes.get_mut(8..10)) {
        place.copy_from_slice(&((end + 1).saturating_sub(10) as u16).to_le_bytes());
    }
}

/// The checksums of a zip archive's entries that are stored as they are.
pub(crate) fn zip(bytes: &mut [u8]) {
    let entries: Vec<usize> = (0..bytes.len()).filter(|start| bytes[*start..].starts_with(b"PK\x01\x02")).collect();
    for entry in entries {
        let (Some(length), Some(local)) =
            (word(bytes, entry + 20, u32::from_le_bytes), word(bytes, entry + 42, u32::from_le_bytes))
        else {
            continue;
        };
        let half = |place: usize| Some(usize::from(u16::from_le_bytes(*bytes.get(place..)?.first_chunk()?)));
        let (Some(name), Some(extra)) = (half(local + 26), half(local + 28)) else { continue };
        let start = local + 30 + name + extra;
        let Some(content) = bytes.get(start..start + length) else { continue };
        let sum = crc32(content).to_le_bytes();
        for place in [entry + 16, local + 14] {
            if let Some(place) = bytes.get_mut(place..place + 4) {
                place.copy_from_slice(&sum);
            }
        }
    }
}

/// The length of a safetensors file's header.
pub(crate) fn safetensors(bytes: &mut [u8]) {
    let (mut depth, mut quoted) = (0usize, false);
    let text = bytes.get(8..).unwrap_or_default();
    let end = text.iter().position(|byte| {
        match byte {
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    });
    if let Some(end) = end {
        let length = (end as u64 + 1).to_le_bytes();
        bytes[..8].copy_from_slice(&length);
    }
}

/// The checksum at the end of a forest.
pub(crate) fn forest(bytes: &mut [u8]) {
    if let Some(end) = bytes.len().checked_sub(4) {
        let sum = crc32c::crc32c(&bytes[..end]).to_le_bytes();
        bytes[end..].copy_from_slice(&sum);
    }
}

fn word(bytes: &[u8], place: usize, read: fn([u8; 4]) -> u32) -> Option<usize> {
    Some(read(*bytes.get(place..)?.first_chunk()?) as usize)
}

/// The checksum of PNG and zip.
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}
