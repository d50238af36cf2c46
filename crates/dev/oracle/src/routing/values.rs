//! Fields of requests that are looked into: who asks, what he takes, and of which trace it is a part.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use evenkeel_config::balancer::route::Coding;
use evenkeel_route::{Credentials, Form, negotiate};
use evenkeel_trace::{Parent, TRACEPARENT_BYTES, traceparent};

use crate::{Seen, seen::Parts};

/// Judges values of Authorization, traceparent, Accept-Encoding and Accept: the first part is each of them, all parts are
/// those of a field that is there more than once.
///
/// # Panics
/// When credentials read back otherwise, or what is chosen is not what is liked best.
pub fn request_fields(input: &[u8]) -> Seen {
    let parts = Parts::of(input).rest();
    let named = credentials(parts[0]) | is_traced(parts[0]);
    let coded = [
        &[Coding::Zstd, Coding::Brotli, Coding::Gzip][..],
        &[Coding::Gzip, Coding::Zstd],
        &[Coding::Brotli],
        &[],
    ]
    .map(|liked| coding(&parts, liked));
    let form = Form::wanted(parts.iter().copied());
    assert_eq!(form, liked_form(&parts), "{:?}", String::from_utf8_lossy(&parts.join(&b", "[..])));
    Seen::when(named || form != Form::Text || coded.iter().any(Option::is_some))
}

fn credentials(value: &[u8]) -> bool {
    let Some(credentials) = Credentials::read(value) else { return false };
    let (user, password) = (credentials.user(), credentials.password());
    assert!(!user.contains(&b':') && !credentials.as_bytes().iter().any(u8::is_ascii_control));
    assert_eq!([user, b":", password].concat(), credentials.as_bytes());
    let again = format!("Basic {}", STANDARD.encode(credentials.as_bytes()));
    let again = Credentials::read(again.as_bytes());
    assert!(again.is_some_and(|again| again == credentials), "{value:?} reads back otherwise");
    let shown = format!("{credentials:?}");
    assert_eq!(shown, "Credentials(…)", "a log would tell a password");
    true
}

fn is_traced(value: &[u8]) -> bool {
    let Some(parent) = Parent::parse(value) else { return false };
    let again = traceparent(parent.trace, parent.span, parent.flags);
    assert_eq!(Parent::parse(again.as_bytes()), Some(parent), "{again}");
    // Version and flags are ours; what lies between is what came.
    assert_eq!(&again.as_bytes()[2..53], &value[2..53], "{again}");
    assert_eq!(again.len(), TRACEPARENT_BYTES);
    true
}

/// A member of a list, its quality in thousandths by the grammar of RFC 9110 §12.4.2; `None` when that is malformed.
fn quality(text: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|b| b.is_ascii_digit());
    let sum = format!("{whole}{fraction:0<3}").parse::<u16>().ok()?;
    (matches!(whole, "0" | "1") && digits && sum <= 1000).then_some(sum)
}

fn members<'v>(parts: &[&'v [u8]]) -> Vec<Vec<&'v [u8]>> {
    let members = parts.iter().flat_map(|value| value.split(|&b| b == b','));
    members.map(|member| member.split(|&b| b == b';').map(<[u8]>::trim_ascii).collect()).collect()
}

fn coding(parts: &[&[u8]], liked: &[Coding]) -> Option<Coding> {
    let chosen = negotiate(parts.iter().copied(), liked);
    let mut known = Vec::new();
    for member in members(parts) {
        let told = match member[..] {
            [name] if !name.is_empty() => Some((name, 1000)),
            [name, [b'q' | b'Q', b'=', number @ ..], ..] if !name.is_empty() => {
                quality(number).map(|quality| (name, quality))
            }
            _ => None,
        };
        known.extend(told.map(|(name, quality)| (name.to_ascii_lowercase(), quality)));
    }
    let last = |names: &[&str]| {
        let mut of_it = known.iter().rev().filter(|(name, _)| names.iter().any(|one| one.as_bytes() == name));
        of_it.next().map(|(_, quality)| *quality)
    };
    let names =
        |coding: Coding| if coding == Coding::Gzip { vec!["gzip", "x-gzip"] } else { vec![coding.name()] };
    let worth = |coding| last(&names(coding)).or_else(|| last(&["*"])).unwrap_or(0);
    let best = liked.iter().map(|&coding| worth(coding)).max().unwrap_or(0);
    let takes = best > 0 && best >= last(&["identity"]).unwrap_or(0);
    let expected = liked.iter().copied().find(|&coding| worth(coding) == best).filter(|_| takes);
    assert_eq!(chosen, expected, "{:?}", String::from_utf8_lossy(&parts.join(&b", "[..])));
    chosen
}

fn liked_form(parts: &[&[u8]]) -> Form {
    let mut best = (Form::Text, 0);
    for member in members(parts) {
        let form = match member[0].to_ascii_lowercase().as_slice() {
            b"text/html" | b"application/xhtml+xml" => Form::Html,
            b"application/json" | b"application/problem+json" => Form::Json,
            b"text/plain" => Form::Text,
            _ => continue,
        };
        let told = member[1..].iter().find(|part| matches!(part, [b'q' | b'Q', b'=', ..]));
        let worth = told.map_or(1000, |part| quality(&part[2..]).unwrap_or(0));
        if worth > best.1 {
            best = (form, worth);
        }
    }
    best.0
}
