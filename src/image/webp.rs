//! WebP files.

/// Whether the image data of a WebP are of its lossy kind.
pub(super) fn is_lossy_webp(bytes: &[u8]) -> bool {
    let mut chunks = bytes.get(12..).unwrap_or_default();
    while let Some((head, rest)) = chunks.split_first_chunk::<8>() {
        let [name @ .., a, b, c, d] = *head;
        match &name {
            b"VP8 " => return true,
            b"VP8L" => return false,
            _ => {}
        }
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        chunks = rest.get(length + length % 2..).unwrap_or_default();
    }
    false
}
