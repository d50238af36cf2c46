//! Cutting a stream into pieces, differently for each stream and always alike for the same.

/// Longest piece, in bytes: short enough that heads, sizes and line ends are cut in many places.
const LONGEST: u64 = 23;

/// The stream in pieces of 1 to 23 bytes.
pub(crate) fn of(stream: &[u8]) -> Vec<&[u8]> {
    // FNV-1a over the stream is the seed, and a xorshift goes on from there.
    let mut state = stream.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let mut pieces = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let length = usize::try_from(state % LONGEST + 1).unwrap_or(1).min(rest.len());
        let (piece, after) = rest.split_at(length);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_stream_again() {
        let stream: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let pieces = of(&stream);
        assert!(pieces.len() > 10 && pieces.iter().all(|piece| !piece.is_empty()));
        assert_eq!(pieces.concat(), stream);
    }
}
