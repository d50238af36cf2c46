//! A WebSocket of an HTTP/2 client at a server that speaks HTTP/1.1 (RFC 8441 §5).
//!
//! Owns: what HTTP/1.1 needs of an upgrade and HTTP/2 does without. Invariant: the client is told that its tunnel stands
//! only when the server switched.

use evenkeel_http1::{Onward, ResponseHead};

use crate::{
    date::DateText,
    http1::request::Request,
    route::{self, compress::Travel},
    worker::Worker,
};

/// Bytes of Sec-WebSocket-Key: 16 in base64 (RFC 6455 §4.1).
pub(crate) const KEY_BYTES: usize = 24;

/// A key; it need not be secret, only unlike others, so that no cache answers (RFC 6455 §10.3).
pub(crate) fn key(worker: &Worker) -> [u8; KEY_BYTES] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let id = worker.next_id();
    // FNV-1a over the request id, twice, for 128 bits.
    let hash = |seed: u64| {
        id.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    let bits = u128::from(hash(0xcbf2_9ce4_8422_2325)) << 64 | u128::from(hash(0x9e37_79b9_7f4a_7c15));
    let mut key = [b'='; KEY_BYTES];
    for (position, place) in key.iter_mut().take(22).enumerate() {
        // 128 bits in groups of six from the top; the last group has two.
        let shifted = if position == 21 { bits << 4 } else { bits >> (122 - 6 * position) };
        *place = DIGITS[(shifted & 0x3f) as usize];
    }
    key
}

/// Writes the head of the answer that tells the client that its tunnel stands.
pub(super) fn write_accepted(
    request: &Request,
    (head, bytes): (&ResponseHead, &[u8]),
    date: &DateText,
    out: &mut Vec<u8>,
) {
    let mut text = Vec::new();
    // There is no content, so no filter comes of it.
    route::answer::write_head(request, (head, bytes), Onward::Stay, (Travel::Frames, date), &mut text);
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        // Only the key of HTTP/1.1 is answered with it (RFC 8441 §5.1).
        if !line.get(..21).is_some_and(|name| name.eq_ignore_ascii_case(b"sec-websocket-accept:")) {
            out.extend_from_slice(line);
        }
    }
}
