//! A message of HTTP/2 becomes one message of HTTP/1.1 that says the same, or none.

use evenkeel_http1::{ChunkScanner, Framing, Method, Parsed, Peer, Trailers, parse_request, parse_response};
use evenkeel_http2::{
    Asked, Body, Content, Lines, Pseudo, is_for_one_hop, write_answer, write_request, write_trailers,
};

use crate::{Seen, seen::Parts};

type Fields<'a> = [(&'a [u8], &'a [u8])];

const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

/// Longest head that is judged, in bytes.
const LIMIT: usize = 1 << 20;

/// Judges a message: a byte for which of its parts are there, the pseudo-header fields, then names and values.
///
/// # Panics
/// When the text says something else than the message, or could be read in another way.
pub fn http2_messages(input: &[u8]) -> Seen {
    let mut parts = Parts::of(input);
    let choice = parts.choice();
    let [method, scheme, authority, path, protocol] = std::array::from_fn(|_| parts.part());
    let rest = parts.rest();
    let fields: Vec<_> = rest.chunks(2).map(|pair| (pair[0], pair.get(1).copied().unwrap_or(b""))).collect();
    let there = |bit: u8, part| (choice & bit == 0).then_some(part);
    let pseudo = Pseudo {
        method,
        scheme: there(1, scheme),
        authority: there(2, authority),
        path: there(4, path),
        // The other way round, for most requests have none.
        protocol: (choice & 8 != 0).then_some(protocol),
    };
    let body = if choice & 16 == 0 { Body::None } else { Body::Follows };
    let asked = request(&pseudo, &fields, body);
    let status = method.iter().fold(0_u16, |sum, &b| sum.wrapping_mul(10).wrapping_add(u16::from(b & 15)));
    let content = [Content::Nothing, Content::Ended, Content::Follows][usize::from(choice >> 5) % 3];
    let answered = answer(status, &fields, content);
    let ended = trailers(&fields);
    Seen::when(asked || answered || ended)
}

fn list<'a>(fields: &'a Fields<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    fields.iter().copied()
}

fn request(pseudo: &Pseudo<'_>, fields: &Fields<'_>, body: Body) -> bool {
    let mut text = Vec::new();
    let Ok(asked) = write_request(pseudo, || list(fields), body, KEY, &mut text) else { return false };
    is_one_head(&text);
    let (start, lines) = Lines::of_head(&text);
    let method = if asked == Asked::WebSocket { b"GET" } else { pseudo.method };
    assert_eq!((start.first, Some(start.second)), (method, pseudo.path));
    says_the_same(lines, fields, asked);
    // The strict rules of HTTP/1.1 make the whole of it, or refuse.
    let Ok(parsed) = parse_request(&text, LIMIT, Peer::STRANGER) else { return false };
    let Parsed::Head(head) = parsed else { panic!("the head goes on: {text:?}") };
    assert_eq!(head.length, text.len());
    assert_eq!((head.method_name.of(&text), head.upgrade), (method, asked == Asked::WebSocket));
    let told = fields.iter().find(|(name, _)| *name == b"content-length");
    let length = told.map(|(_, value)| String::from_utf8_lossy(value).parse().expect("it was checked"));
    let framing = match (body, length) {
        _ if asked == Asked::WebSocket => Framing::None,
        (_, Some(length)) => Framing::Length(length),
        (Body::Follows, None) => Framing::Chunked,
        (Body::None, None) if matches!(method, b"POST" | b"PUT" | b"PATCH") => Framing::Length(0),
        (Body::None, None) => Framing::None,
    };
    assert_eq!(head.framing, framing, "{:?}", String::from_utf8_lossy(&text));
    // With its content it is one message for others too.
    match framing {
        Framing::Chunked => text.extend_from_slice(b"3\r\nabc\r\n0\r\n\r\n"),
        Framing::Length(length) if length < 100 => text.resize(text.len() + length as usize, b'a'),
        Framing::Length(_) | Framing::None | Framing::UntilClose => {}
    }
    crate::requests(&text).unwrap_or_else(|differ| panic!("{differ}"));
    true
}

/// The lines of a request are its own fields and no others.
fn says_the_same(lines: Lines<'_>, fields: &Fields<'_>, asked: Asked) {
    let ours: &[&[u8]] = &[b"host", b"te", b"cookie", b"content-length", b"sec-websocket-key"];
    let is_ours = |name: &[u8]| ours.contains(&name);
    let told: Vec<_> = lines.map(|line| (line.name, line.value)).collect();
    let others = |all: &[(&[u8], &[u8])]| {
        let others = all.iter().filter(|(name, _)| !is_ours(name));
        others.map(|&(name, value)| (name.to_vec(), value.to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(others(&told), others(fields));
    let crumbs: Vec<_> =
        fields.iter().filter(|(name, _)| *name == b"cookie").map(|(_, value)| *value).collect();
    let cookies: Vec<_> =
        told.iter().filter(|(name, _)| *name == b"cookie").map(|(_, value)| *value).collect();
    match crumbs.len() {
        0 => assert!(cookies.is_empty()),
        _ => assert_eq!(cookies, [crumbs.join(&b"; "[..]).trim_ascii()]),
    }
    let count = |name: &[u8]| told.iter().filter(|(known, _)| *known == name).count();
    let takes_trailers = asked == Asked::Request && fields.iter().any(|(name, _)| *name == b"te");
    assert_eq!((count(b"host"), count(b"te")), (1, usize::from(takes_trailers)));
    if asked == Asked::WebSocket {
        assert_eq!(count(b"sec-websocket-key"), 1);
    }
}

/// Every line ends as lines do, and the only empty one is the last.
fn is_one_head(text: &[u8]) {
    let ends = text.windows(4).position(|four| four == b"\r\n\r\n");
    assert_eq!(ends, Some(text.len() - 4), "{:?}", String::from_utf8_lossy(text));
    let count = |wanted: u8| text.iter().filter(|&&byte| byte == wanted).count();
    let pairs = text.windows(2).filter(|two| two == b"\r\n").count();
    assert_eq!((count(b'\r'), count(b'\n'), count(0)), (pairs, pairs, 0));
}

fn answer(status: u16, fields: &Fields<'_>, content: Content) -> bool {
    let mut text = Vec::new();
    if write_answer(status, list(fields), content, &mut text).is_err() {
        return false;
    }
    is_one_head(&text);
    let method = if content == Content::Nothing { Method::Head } else { Method::Get };
    let Ok(parsed) = parse_response(&text, LIMIT, method) else { return false };
    let Parsed::Head(head) = parsed else { panic!("the head goes on: {text:?}") };
    assert_eq!((head.length, head.status), (text.len(), status));
    let has_length = fields.iter().any(|(name, _)| *name == b"content-length");
    let empty = matches!(status, 100..200 | 204 | 205 | 304) || content == Content::Nothing;
    match head.framing {
        Framing::None => assert!(empty, "no content with {status}"),
        Framing::Length(length) => assert!(has_length || length == 0),
        Framing::Chunked => assert!(content == Content::Follows && !has_length && !empty),
        Framing::UntilClose => panic!("its end cannot be told from a lost connection"),
    }
    for line in Lines::of_head(&text).1 {
        assert!(!is_for_one_hop(line.name));
    }
    true
}

fn trailers(fields: &Fields<'_>) -> bool {
    let mut text = Vec::new();
    if write_trailers(list(fields), &mut text).is_err() {
        return false;
    }
    let mut scanner = ChunkScanner::new(Trailers::OfAnswer);
    match scanner.scan(&text) {
        Ok(scan) => assert!(scan.done && scan.taken == text.len(), "{scan:?} of {}", text.len()),
        // A section may be longer than HTTP/1.1 takes.
        Err(_) => return false,
    }
    for line in Lines::of_section(scanner.trailers()) {
        assert!(fields.contains(&(line.name, line.value)), "{line:?} is not among {fields:?}");
    }
    true
}
