//! Which coding an answer is compressed with (RFC 9110 §12.5.3), and which answers may be.

use evenkeel_config::balancer::route::{Coding, Compress};

/// Thousandths of a quality value.
const FULL: u16 = 1000;

/// The coding of `liked`, which lists the best first, that a client takes best; `None` when it takes none of them, or
/// would rather have the answer as it is.
///
/// `values` are those of its Accept-Encoding fields; without one nothing is compressed, although the specification
/// would permit anything: who does not ask may not be able to.
#[must_use]
pub fn negotiate<'v>(values: impl Iterator<Item = &'v [u8]>, liked: &[Coding]) -> Option<Coding> {
    let mut named = [None; 3];
    let (mut other, mut identity) = (None, None);
    for (name, quality) in values.flat_map(|value| value.split(|&b| b == b',')).filter_map(member) {
        match place(name) {
            Some(place) => named[place] = Some(quality),
            None if name == b"*" => other = Some(quality),
            None if name.eq_ignore_ascii_case(b"identity") => identity = Some(quality),
            None => {}
        }
    }
    let quality = |coding: Coding| named[coding as usize].or(other).unwrap_or(0);
    // The first of the best, which `max_by_key` would not give.
    let best =
        liked.iter().copied().reduce(|best, next| if quality(next) > quality(best) { next } else { best })?;
    (quality(best) > 0 && quality(best) >= identity.unwrap_or(0)).then_some(best)
}

const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

fn place(name: &[u8]) -> Option<usize> {
    let is = |coding: &Coding| name.eq_ignore_ascii_case(coding.name().as_bytes());
    if name.eq_ignore_ascii_case(b"x-gzip") {
        return Some(Coding::Gzip as usize);
    }
    CODINGS.iter().find(|coding| is(coding)).map(|&coding| coding as usize)
}

/// A coding and its quality; `None` when malformed.
fn member(text: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = text.split(|&b| b == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let quality = match parts.next() {
        None => FULL,
        Some([b'q' | b'Q', b'=', number @ ..]) => thousandths(number)?,
        Some(_) => return None,
    };
    Some((name, quality))
}

/// `0`, `0.5`, `1.000` and such (RFC 9110 §12.4.2), in thousandths.
pub(crate) fn thousandths(number: &[u8]) -> Option<u16> {
    let (whole, fraction) = match number {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let digit = |b: &u8| b.is_ascii_digit().then(|| u16::from(b - b'0'));
    let mut value = digit(whole).filter(|&whole| whole <= 1)? * FULL;
    for (b, unit) in fraction.iter().zip([100, 10, 1]) {
        value += digit(b)? * unit;
    }
    Some(value).filter(|&value| value <= FULL)
}

/// Whether answers of this Content-Type are compressed.
#[must_use]
pub fn is_compressed(settings: &Compress, content_type: &[u8]) -> bool {
    let media = content_type.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
    settings.types.iter().any(|wanted| {
        let wanted = wanted.as_bytes();
        let same = |media: &[u8]| media.eq_ignore_ascii_case(wanted);
        if wanted.ends_with(b"/") { media.get(..wanted.len()).is_some_and(same) } else { same(media) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Coding::{Brotli, Gzip, Zstd};

    #[test]
    fn the_coding_is_what_the_client_takes_best() {
        for (accept, coding) in [
            (&["gzip, deflate, br, zstd"][..], Some(Zstd)),
            (&["gzip, br"], Some(Brotli)),
            (&["gzip"], Some(Gzip)),
            (&["x-gzip"], Some(Gzip)),
            (&["GZip;q=1.0"], Some(Gzip)),
            (&["gzip;q=1, br;q=0.5"], Some(Gzip)),
            (&["gzip; q=0.8 , br;q=0.801"], Some(Brotli)),
            (&["gzip", "br"], Some(Brotli)),
            (&["*"], Some(Zstd)),
            (&["*;q=0.1, zstd;q=0"], Some(Brotli)),
            (&["gzip;q=0.5, identity"], None),
            (&["identity;q=0.5, gzip"], Some(Gzip)),
            (&["gzip;q=0"], None),
            (&["*;q=0"], None),
            (&["deflate"], None),
            (&[""], None),
            (&[], None),
            (&["gzip;q=2"], None),
            (&["gzip;q=0.1234"], None),
            (&["gzip;level=9"], None),
            (&["gzip;q=, br"], Some(Brotli)),
        ] {
            let values = accept.iter().map(|value| value.as_bytes());
            assert_eq!(negotiate(values, &[Zstd, Brotli, Gzip]), coding, "{accept:?}");
        }
        assert_eq!(negotiate([&b"gzip, br"[..]].into_iter(), &[Gzip, Brotli]), Some(Gzip));
    }
}
