//! What stands at the beginning of a connection: a client's hello, and who another proxy says is behind it.

mod hello;
mod proxied;

pub use hello::tls_hello;
pub use proxied::proxy_protocol;

/// Longest input of which every beginning is looked at, in bytes; of longer ones those at which pieces end.
const EVERY_BEGINNING: usize = 600;

/// Judges a parser that looks at a stream from its first byte on, again and again, until it knows: what it knows of a
/// beginning it knows of all that goes on from there. `None` stands for not knowing yet.
fn knows_once<T: PartialEq + std::fmt::Debug>(input: &[u8], look: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
    let mut known = None;
    let mut beginnings: Vec<usize> = (0..=input.len().min(EVERY_BEGINNING)).collect();
    let mut end = 0;
    for piece in crate::pieces::of(input) {
        end += piece.len();
        beginnings.push(end);
    }
    beginnings.sort_unstable();
    for length in beginnings {
        let now = look(&input[..length]);
        assert!(known.is_none() || now == known, "at {length} bytes {now:?}, and before {known:?}");
        known = now;
    }
    known
}
