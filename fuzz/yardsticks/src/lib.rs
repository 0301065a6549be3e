//! Yardsticks: the formats that Gristmill reads, as their specifications have them. Short and slow,
//! and no kin of the code that they are held against.

pub mod json;
pub mod sse;

/// Whether `part` is a slice of `whole`: nothing was read from elsewhere.
pub fn lies_in(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    part.is_empty() || (whole.start <= part.start && part.end <= whole.end)
}

/// Cuts `bytes` into chunks of sizes that `seed` decides, most of them small.
pub fn chunks(bytes: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut state = u32::from(seed) | 0x100;
    let mut rest = bytes;
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        // A linear congruential generator; its low bits are its worst.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = match state >> 29 {
            0..=3 => 1,
            4 => 2,
            5 => 3,
            6 => 7,
            _ => 1 + (state >> 8 & 0x3ff) as usize,
        };
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_add_up() {
        for seed in 0..=u8::MAX {
            let bytes: Vec<u8> = (0..2000_u32).map(|n| n as u8).collect();
            assert_eq!(chunks(&bytes, seed).concat(), bytes);
        }
    }

    #[test]
    fn a_slice_lies_in_what_it_was_cut_from() {
        let whole = [1, 2, 3];
        assert!(lies_in(&whole[1..], &whole));
        assert!(!lies_in(&[1, 2], &whole[1..]));
    }
}
