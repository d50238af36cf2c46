//! WebSockets between versions of HTTP (RFC 8441 §5).
//!
//! Owns: what HTTP/1.1 needs of an upgrade and HTTP/2 does without: the key and its answer. Invariant: the client is told
//! that its tunnel stands only when the server switched.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use evenkeel_http1::{Onward, ResponseHead};
use evenkeel_http2::Lines;

use crate::{
    date::DateText,
    http1::request::Request,
    route::{self, compress::Travel},
    worker::Worker,
};

/// Bytes of Sec-WebSocket-Key: 16 in base64 (RFC 6455 §4.1).
pub(crate) const KEY_BYTES: usize = 24;

/// What is hashed behind the key, so that only who knows WebSockets answers right (RFC 6455 §1.3).
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

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

/// The answer to the key in the text of a request (RFC 6455 §4.2.2); `None` when there is not exactly one key of the right
/// form.
pub(super) fn accept_of(request: &[u8]) -> Option<String> {
    let (_, lines) = Lines::of_head(request);
    let mut keys = lines.filter(|line| line.name.eq_ignore_ascii_case(b"sec-websocket-key"));
    let (Some(key), None) = (keys.next(), keys.next()) else { return None };
    let is_sound = key.value.len() == KEY_BYTES && STANDARD.decode(key.value).is_ok();
    is_sound.then(|| {
        // The hash proves nothing about secrets, and no other is in the protocol.
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.value, MAGIC].concat());
        STANDARD.encode(hash)
    })
}

/// Writes the head of the answer that tells the client that its tunnel stands, as far as it is the same in every version.
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
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        // Only the key of HTTP/1.1 is answered with the first (RFC 8441 §5.1), and a tunnel is framed by neither of the
        // others (RFC 9110 §9.3.6).
        if !is(b"sec-websocket-accept") && !is(b"content-length") && !is(b"transfer-encoding") {
            out.extend_from_slice(line);
        }
    }
}

/// Writes the head that a client of HTTP/1.1 is told out of that.
pub(super) fn write_switching(text: &[u8], accept: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    let (_, lines) = Lines::of_head(text);
    for line in lines {
        out.extend_from_slice(line.name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(line.value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ");
    out.extend_from_slice(accept.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_answered_as_in_the_example_of_rfc_6455_and_others_not_at_all() {
        let text = |keys: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{keys}\r\n");
        let good = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        assert_eq!(accept_of(text(good).as_bytes()).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for bad in ["", "Sec-WebSocket-Key: short\r\n", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ!!\r\n"] {
            assert_eq!(accept_of(text(bad).as_bytes()), None, "{bad}");
        }
        assert_eq!(accept_of(text(&good.repeat(2)).as_bytes()), None, "two keys");
    }
}
