//! CRC-32C (RFC 3720 appendix B.4), the checksum of version 2 headers.
//!
//! Sixteen entries of four bits each: a header is short and comes once a connection, so that a larger table would cost
//! more cache than it saves time.

/// The polynomial 0x1EDC6F41 with its bits reversed.
const POLYNOMIAL: u32 = 0x82F6_3B78;

const TABLE: [u32; 16] = {
    let mut table = [0; 16];
    let mut at = 0;
    while at < 16 {
        let mut value = at as u32;
        let mut bit = 0;
        while bit < 4 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[at] = value;
        at += 1;
    }
    table
};

/// The checksum of everything that `pieces` hold, one after the other.
pub(crate) fn of(pieces: &[&[u8]]) -> u32 {
    let step = |sum: u32, nibble: u32| sum >> 4 ^ TABLE[((sum ^ nibble) & 15) as usize];
    let bytes = pieces.iter().copied().flatten();
    !bytes.fold(u32::MAX, |sum, &byte| step(step(sum, u32::from(byte)), u32::from(byte >> 4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksums_are_those_of_the_standard() {
        for (bytes, sum) in [
            (&[0_u8; 32], 0x8A91_36AA_u32),
            (&[0xFF; 32], 0x62A8_AB43),
            (&core::array::from_fn(|at| at as u8), 0x46DD_794E),
        ] {
            assert_eq!(of(&[bytes]), sum);
            assert_eq!(of(&[&bytes[..7], &bytes[7..]]), sum);
        }
        assert_eq!(of(&[b"123456789"]), 0xE306_9283);
    }
}
