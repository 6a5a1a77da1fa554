//! Iterates over the set bytes of a mask.

/// Number of bytes examined at a time.
const WORD: usize = size_of::<u64>();

/// Calls `take` with the index of the first byte that is 1, and of every `step`-th such byte after it. All other bytes
/// must be 0.
#[inline(always)]
pub(super) fn each_marked(marks: &[u8], step: usize, mut take: impl FnMut(usize)) {
    let mut passed_over = 0;
    let (words, rest) = marks.as_chunks::<WORD>();
    let mut last = [0; WORD];
    last[..rest.len()].copy_from_slice(rest);
    for (i, word) in words.iter().chain([&last]).enumerate() {
        let mut left = u64::from_le_bytes(*word);
        // The highest byte of this product is the sum of all bytes.
        let count = (left.wrapping_mul(0x0101_0101_0101_0101) >> 56) as usize;
        if count <= passed_over {
            passed_over -= count;
            continue;
        }
        while left != 0 {
            if passed_over == 0 {
                take(i * WORD + left.trailing_zeros() as usize / 8);
                passed_over = step;
            }
            passed_over -= 1;
            left &= left - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_found_in_words_and_after_them() {
        let marks: Vec<u8> = (0..21u8).map(|i| u8::from([0, 7, 8, 15, 17, 20].contains(&i))).collect();
        for (step, expected) in [(1, vec![0, 7, 8, 15, 17, 20]), (2, vec![0, 8, 17]), (4, vec![0, 17])] {
            let mut found = Vec::new();
            each_marked(&marks, step, |i| found.push(i));
            assert_eq!(found, expected);
        }
    }
}
