//! A request of HTTP/1.1 on its way through a route that changes it.
//!
//! What changes is what was asked for: the framing, the method and every other line stay, and the server is told of the
//! client once.

use evenkeel_config::balancer::{ForwardField, ForwardFields, route::EscapedSlash};
use evenkeel_http1::{
    Edits, Framing, Hop, Parsed, Peer, Received, RequestHead, RequestIds, Scheme, Trust, parse_request,
    write_edited_request, write_request,
};
use evenkeel_route::Target;

use crate::{Seen, seen::Parts};

/// Longest head, in bytes: the default of the data plane, and room for what is put in.
const LIMIT: usize = 16 * 1024;

const CLIENT: &[u8] = b"192.0.2.1";

const HOP: Hop<'_> = Hop {
    client: CLIENT,
    scheme: Scheme::Https,
    received: Received::Http1,
    host: b"10.0.0.7:80",
    fields: ForwardFields::NONE
        .with(ForwardField::XForwardedFor)
        .with(ForwardField::XForwardedProto)
        .with(ForwardField::XRequestId),
    via: b"",
    request_id: b"7f3a",
};

/// Fields that a configuration gives no route to change, for they frame a message or are for one hop.
const FRAMING: [&[u8]; 11] = [
    b"connection",
    b"content-length",
    b"expect",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"http2-settings",
    b"via",
];

/// Judges a head, the target in the place of its own, names that are taken out, and lines that are put in.
///
/// # Panics
/// When something else of the request changes, or what is sent is not what we would take.
pub fn request_edits(input: &[u8]) -> Seen {
    let mut parts = Parts::of(input);
    let choice = parts.choice();
    let [bytes, target] = std::array::from_fn(|_| parts.part());
    let removed: Vec<_> = parts.part().split(|&b| b == b',').filter(|name| is_free(name)).collect();
    let added: Vec<_> = parts.rest().into_iter().filter_map(line).collect();
    let trust = if choice & 1 == 0 { Trust::Stranger } else { Trust::Trusted };
    let request_ids = if choice & 2 == 0 { RequestIds::Passed } else { RequestIds::Made };
    let peer = Peer { trust, request_ids };
    let Ok(Parsed::Head(head)) = parse_request(bytes, LIMIT, peer) else { return Seen::Refused };
    unedited(&head, bytes);
    let target = Target::read(target, EscapedSlash::Keep)
        .map(|target| target.whole())
        .ok()
        .filter(|target| is_asked_for(target));
    let add: Vec<u8> =
        added.iter().flat_map(|(name, value)| [name, &b": "[..], value, b"\r\n"].concat()).collect();
    let edits = Edits { target: target.as_deref(), remove: &removed, add: &add };
    let mut text = Vec::new();
    write_edited_request(&head, bytes, &HOP, &edits, &mut text);
    is_as_edited(&head, bytes, &edits, &added, &text);
    if trust == Trust::Stranger {
        let told = lines(&text).filter(|(name, _)| name == b"x-forwarded-for").count();
        let own = added.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"x-forwarded-for")).count();
        let ours =
            usize::from(!edits.remove.iter().any(|name| name.eq_ignore_ascii_case(b"x-forwarded-for")));
        assert_eq!(told, own + ours, "a stranger says for whom he asks");
    }
    Seen::Taken
}

/// Whether a client could ask for this target itself; a rewrite gives another only where its template has it.
fn is_asked_for(target: &[u8]) -> bool {
    let text = [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    let peer = Peer { trust: Trust::Stranger, request_ids: RequestIds::Passed };
    matches!(parse_request(&text, LIMIT, peer), Ok(Parsed::Head(head)) if head.target.of(&text) == target)
}

/// A name that a route may change; without the host, which every request must have.
fn is_free(name: &[u8]) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let is_kept =
        name.eq_ignore_ascii_case(b"host") || FRAMING.iter().any(|one| one.eq_ignore_ascii_case(name));
    !name.is_empty() && name.iter().all(|&b| token(b)) && !is_kept
}

/// A name and a value that may be put in.
fn line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().position(|&b| b == b':')?;
    let (name, value) = (&text[..colon], text[colon + 1..].trim_ascii());
    (is_free(name) && !value.iter().any(u8::is_ascii_control)).then_some((name, value))
}

/// Names in small letters and values of a head's lines.
fn lines(head: &[u8]) -> impl Iterator<Item = (Vec<u8>, &[u8])> {
    head.split(|&b| b == b'\n').skip(1).filter_map(|line| {
        let colon = line.iter().position(|&b| b == b':')?;
        Some((line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii()))
    })
}

/// Edits that change nothing give what is sent without any.
fn unedited(head: &RequestHead, bytes: &[u8]) {
    let (mut plain, mut edited) = (Vec::new(), Vec::new());
    write_request(head, bytes, &HOP, &mut plain);
    write_edited_request(head, bytes, &HOP, &Edits::default(), &mut edited);
    assert_eq!(String::from_utf8_lossy(&plain), String::from_utf8_lossy(&edited));
}

fn is_as_edited(head: &RequestHead, bytes: &[u8], edits: &Edits<'_>, added: &[(&[u8], &[u8])], text: &[u8]) {
    let shown = String::from_utf8_lossy(text);
    for name in edits.remove {
        let name = name.to_ascii_lowercase();
        let left = lines(text).filter(|(known, _)| *known == name).count();
        let own = added.iter().filter(|(known, _)| known.eq_ignore_ascii_case(&name)).count();
        // What an OPTIONS request may still hop is counted in any case.
        let counted = usize::from(name == b"max-forwards" && head.max_forwards.is_some());
        assert_eq!(left, own + counted, "{} is taken out: {shown}", String::from_utf8_lossy(&name));
    }
    for (name, value) in added {
        let name = name.to_ascii_lowercase();
        assert!(lines(text).any(|line| line == (name.clone(), *value)), "{value:?} is put in: {shown}");
    }
    let again =
        parse_request(text, 2 * LIMIT, Peer { trust: Trust::Trusted, request_ids: RequestIds::Passed });
    let Ok(Parsed::Head(again)) = again else {
        // What is put in may be what no request may have, such as a name that others take for one of framing; and what we add
        // may be more than a head has room for.
        assert!(!added.is_empty() || crate::outgrows(text), "{again:?}: {shown}");
        return;
    };
    assert_eq!(again.length, text.len(), "{shown}");
    assert_eq!(again.method_name.of(text), head.method_name.of(bytes));
    assert_eq!(is_framed(again.framing), is_framed(head.framing), "{shown}");
    assert_eq!((again.upgrade, again.expects_continue), (head.upgrade, head.expects_continue), "{shown}");
    match (edits.target, head.host) {
        (Some(target), _) => assert_eq!(again.target.of(text), target),
        (None, _) => assert_eq!((again.path(text), again.query(text)), (head.path(bytes), head.query(bytes))),
    }
    let host = head.host.map_or(HOP.host, |host| host.of(bytes));
    assert_eq!(again.host.map(|host| host.of(text)), Some(host), "{shown}");
}

/// The framing, where no content and content of no length are the same.
fn is_framed(framing: Framing) -> Framing {
    if framing == Framing::Length(0) { Framing::None } else { framing }
}
