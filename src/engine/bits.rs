//! Sets of indices: a bit for each, in words of 64.

/// The indices in a word.
pub const BITS: usize = u64::BITS as usize;

/// Which word an index is in, and its bit.
pub fn place(index: usize) -> (usize, u64) {
    (index.wrapping_div(BITS), 1u64.wrapping_shl(index as u32))
}

/// The indices whose bits are set in the word number `at`.
pub fn ones(at: usize, mut word: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word.wrapping_sub(1);
        Some(at.wrapping_mul(BITS).wrapping_add(bit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_found_where_it_was_put() {
        for index in [0, 1, 63, 64, 65, 65_535usize] {
            let (at, bit) = place(index);
            assert_eq!(ones(at, bit).collect::<Vec<_>>(), [index]);
        }
        assert_eq!(ones(1, 0b1010).collect::<Vec<_>>(), [65, 67]);
        assert_eq!(ones(0, 0).count(), 0);
    }
}
