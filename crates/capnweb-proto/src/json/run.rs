//! Looking for the few bytes that mean something in a text.

/// How many bytes from the start stand for themselves in a JSON text: no quote, no backslash, no control character.
///
/// Most texts are short, so the first bytes are looked at eight at a time in a register; long ones (base64) in blocks
/// that the compiler turns into wide comparisons.
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    const SHORT: usize = 32;
    const BLOCK: usize = 64;
    let mut at = 0;
    while at < SHORT {
        let Some(word) = bytes.get(at..at + 8).and_then(|word| word.try_into().ok()) else {
            return at + tail(&bytes[at..]);
        };
        let special = special(u64::from_le_bytes(word));
        if special != 0 {
            return at + (special.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(block) = bytes.get(at..at + BLOCK) {
        // Without a branch a byte, so that it is done many bytes at a time.
        if block.iter().fold(false, |found, byte| found | is_special(*byte)) {
            break;
        }
        at += BLOCK;
    }
    at + tail(&bytes[at..])
}

fn tail(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|byte| is_special(*byte))
        .unwrap_or(bytes.len())
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The high bit of every special byte. Above the first one bits may be wrong: a borrow goes upwards.
fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let below = |word: u64, bound: u64| word.wrapping_sub(ONES * bound) & !word;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    (below(word, 0x20) | below(quote, 1) | below(backslash, 1)) & HIGH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_special_byte_ends_the_run(
            mut bytes in prop::collection::vec(any::<u8>().prop_filter("plain", |byte| !is_special(*byte)), 0..300),
            special in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![0..0x20_u8, Just(b'"'), Just(b'\\')]), 0..3),
        ) {
            for (at, byte) in special {
                bytes.insert(at.index(bytes.len() + 1), byte);
            }
            prop_assert_eq!(plain_run(&bytes), tail(&bytes));
        }
    }
}
