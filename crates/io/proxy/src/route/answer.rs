//! What a route makes of a server's answer: its fields, and its coding.
//!
//! Invariant: an answer is compressed only where its content is whole, in no coding yet, of a listed type, and where neither
//! the server nor the client forbids it; whoever might get it otherwise is told by Vary.

use evenkeel_config::balancer::route::Compress;
use evenkeel_http1::{Framing, Onward, ResponseHead, write_edited_response, write_response};
use evenkeel_route::is_compressed;

use super::{
    Ruled,
    compress::{Filter, Travel},
};
use crate::{date::DateText, http1::request::Request, pool::sticky::Bound};
use evenkeel_http1::{Edits, Method};

/// Fields that no longer hold when the content is coded: its length, its ranges and digests of its bytes.
const OF_THE_BYTES: [&[u8]; 7] = [
    b"content-length",
    b"transfer-encoding",
    b"accept-ranges",
    b"content-md5",
    b"content-digest",
    b"digest",
    b"etag",
];

/// Writes an answer's head, which came at `date`, as its route has it; the filter that its content must pass, if any.
pub(crate) fn write_head(
    request: &Request,
    (head, bytes): (&ResponseHead, &[u8]),
    onward: Onward,
    (travel, date): (Travel, &DateText),
    out: &mut Vec<u8>,
) -> Option<Box<Filter>> {
    let ruled = request.ruled.as_deref();
    let cookie = request.bound.as_deref().map_or(&[][..], Bound::line);
    if ruled.is_none() && cookie.is_empty() {
        write_response(head, bytes, onward, date, out);
        return None;
    }
    let listed = ruled.and_then(Ruled::route).and_then(|route| route.compress.as_ref());
    let listed = listed.filter(|settings| may_be_coded(settings, request, (head, bytes), onward));
    let coding = listed.and(ruled.and_then(|ruled| ruled.coding));
    let filter = coding.and_then(|coding| Some((coding, Filter::new(coding, travel)?)));
    let mut names = Vec::new();
    let mut lines = Vec::new();
    let own = ruled.and_then(|ruled| ruled.response_edits(&mut names));
    if listed.is_none() && own.is_none() && cookie.is_empty() {
        write_response(head, bytes, onward, date, out);
        return None;
    }
    let own = own.unwrap_or_default();
    lines.extend_from_slice(own.add);
    if !cookie.is_empty() {
        lines.extend_from_slice(cookie);
        // A cache that gave it to others would send them all to one server.
        lines.extend_from_slice(if is_private(head, bytes) { b"" } else { b"Cache-Control: private\r\n" });
    }
    let mut remove = own.remove.to_vec();
    if onward == Onward::Http10 {
        remove.push(b"transfer-encoding");
    }
    if listed.is_some() && !varies(head, bytes) {
        lines.extend_from_slice(b"Vary: Accept-Encoding\r\n");
    }
    if let Some((coding, _)) = &filter {
        remove.extend(OF_THE_BYTES);
        lines.extend_from_slice(b"Content-Encoding: ");
        lines.extend_from_slice(coding.name().as_bytes());
        lines.extend_from_slice(match travel {
            Travel::Chunks => b"\r\nTransfer-Encoding: chunked\r\n",
            Travel::Frames => b"\r\n",
        });
        if let Some(tag) = first(head, bytes, b"etag") {
            weaken(tag, &mut lines);
        }
    }
    let edits = Edits { target: None, remove: &remove, add: &lines };
    write_edited_response(head, bytes, onward, date, &edits, out);
    filter.map(|(_, filter)| Box::new(filter))
}

fn may_be_coded(
    settings: &Compress,
    request: &Request,
    (head, bytes): (&ResponseHead, &[u8]),
    onward: Onward,
) -> bool {
    let long = match head.framing {
        Framing::None => false,
        Framing::Length(length) => length >= settings.min_bytes,
        Framing::Chunked | Framing::UntilClose => true,
    };
    let whole =
        head.status == 200 && request.method != Method::Head && !request.http10 && onward != Onward::Http10;
    if !long || !whole {
        return false;
    }
    let has = |name: &[u8]| first(head, bytes, name).is_some();
    let transforms = first(head, bytes, b"cache-control").is_none_or(|value| !lists(value, b"no-transform"));
    transforms
        && !has(b"content-encoding")
        && !has(b"content-range")
        && first(head, bytes, b"content-type").is_some_and(|value| is_compressed(settings, value))
}

/// The first value of a field.
fn first<'b>(head: &'b ResponseHead, bytes: &'b [u8], name: &[u8]) -> Option<&'b [u8]> {
    head.fields(bytes).find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Whether a comma-separated list has this member.
fn lists(value: &[u8], member: &[u8]) -> bool {
    value.split(|&b| b == b',').any(|text| text.trim_ascii().eq_ignore_ascii_case(member))
}

/// Whether no cache that others share keeps the answer (RFC 9111 §5.2.2).
fn is_private(head: &ResponseHead, bytes: &[u8]) -> bool {
    let mut fields = head.fields(bytes).filter(|(name, _)| name.eq_ignore_ascii_case(b"cache-control"));
    fields.any(|(_, value)| lists(value, b"private") || lists(value, b"no-store"))
}

/// Whether the answer says already that it depends on Accept-Encoding.
fn varies(head: &ResponseHead, bytes: &[u8]) -> bool {
    let is_vary = |(name, value): (&[u8], &[u8])| {
        name.eq_ignore_ascii_case(b"vary") && (lists(value, b"accept-encoding") || lists(value, b"*"))
    };
    head.fields(bytes).any(is_vary)
}

/// A tag for what means the same but has other bytes (RFC 9110 §8.8.1).
fn weaken(tag: &[u8], lines: &mut Vec<u8>) {
    lines.extend_from_slice(b"ETag: ");
    if !tag.starts_with(b"W/") {
        lines.extend_from_slice(b"W/");
    }
    lines.extend_from_slice(tag);
    lines.extend_from_slice(b"\r\n");
}
