//! Our own reading, driven as the data plane drives it: a head when it is whole, then content as it comes.

use evenkeel_config::balancer::{ForwardField, ForwardFields};
use evenkeel_http1::{
    ChunkScanner, Framing, Hop, Method, Onward, Parsed, Peer, Piece, Received, ResponseHead, Scheme,
    Trailers, parse_request, parse_response, write_request, write_response,
};

use crate::course::{Course, End, Message, Ours, is_nothing, path_of};

/// Longest head, in bytes: the default of the data plane.
const LIMIT: usize = 16 * 1024;

const DATE: &[u8] = b"Tue, 24 Nov 2026 20:00:00 GMT";

const HOP: Hop<'_> = Hop {
    client: b"192.0.2.1",
    scheme: Scheme::Http,
    received: Received::Http1,
    host: b"10.0.0.7:80",
    fields: ForwardFields::NONE
        .with(ForwardField::XForwardedFor)
        .with(ForwardField::XForwardedProto)
        .with(ForwardField::XForwardedHost)
        .with(ForwardField::Forwarded)
        .with(ForwardField::Via),
    via: b"oracle",
    request_id: b"",
};

/// Content on its way.
struct Content {
    framing: Framing,
    left: u64,
    chunks: ChunkScanner,
    data: Vec<u8>,
    passed: Vec<u8>,
}

/// Content that cannot be framed.
struct Malformed;

impl Content {
    fn new(framing: Framing, trailers: Trailers) -> Self {
        let left = if let Framing::Length(length) = framing { length } else { 0 };
        Self { framing, left, chunks: ChunkScanner::new(trailers), data: Vec::new(), passed: Vec::new() }
    }

    fn is_done(&self) -> bool {
        match self.framing {
            Framing::None => true,
            Framing::Length(_) => self.left == 0,
            Framing::Chunked => self.chunks.is_done(),
            Framing::UntilClose => false,
        }
    }

    /// Takes what belongs to it; how much that is.
    fn take(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        match self.framing {
            Framing::None => Ok(0),
            Framing::UntilClose => Ok(self.plain(input.len(), input)),
            Framing::Length(_) => {
                let length = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
                self.left -= length as u64;
                Ok(self.plain(length, input))
            }
            Framing::Chunked => self.take_chunks(input),
        }
    }

    fn plain(&mut self, length: usize, input: &[u8]) -> usize {
        self.data.extend_from_slice(&input[..length]);
        self.passed.extend_from_slice(&input[..length]);
        length
    }

    fn take_chunks(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        let mut taken = 0;
        while taken < input.len() && !self.chunks.is_done() {
            let piece = self.chunks.next(&input[taken..]).map_err(|_| Malformed)?;
            let bytes = &input[taken..taken + piece.length()];
            taken += bytes.len();
            match piece {
                Piece::Framing(_) => self.passed.extend_from_slice(bytes),
                Piece::Data(_) => {
                    self.data.extend_from_slice(bytes);
                    self.passed.extend_from_slice(bytes);
                }
                Piece::Trailer(_) if self.chunks.is_done() => {
                    self.passed.extend_from_slice(self.chunks.trailers());
                    self.passed.extend_from_slice(b"\r\n");
                }
                Piece::Extension(_) | Piece::Trailer(_) => {}
            }
        }
        Ok(taken)
    }
}

/// A request whose head is whole.
struct Asked {
    start: String,
    head: Vec<u8>,
    content: Content,
    last: bool,
}

/// Reads requests that arrive in `pieces`.
pub(crate) fn requests(pieces: &[&[u8]]) -> Ours {
    let mut ours =
        Ours { course: Course::new(End::Clean), sent: Vec::new(), sent_plain: Vec::new(), data: None };
    let (mut held, mut under_way): (Vec<u8>, Option<Asked>) = (Vec::new(), None);
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let mut asked = match under_way.take() {
                Some(asked) => asked,
                None => match parse_request(&held, LIMIT, Peer::STRANGER) {
                    Ok(Parsed::Partial) => break,
                    Ok(Parsed::Head(head)) => {
                        let mut written = Vec::new();
                        write_request(&head, &held, &HOP, &mut written);
                        let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                        let start = format!(
                            "{} {}",
                            part(head.method_name.of(&held)),
                            path_of(&part(asked_for(&held, head.method_name.end())))
                        );
                        let content = Content::new(head.framing, head.trailers);
                        held.drain(..head.length);
                        Asked { start, head: written, content, last: !head.keep_alive || head.upgrade }
                    }
                    Err(_) => return refused(ours),
                },
            };
            match asked.content.take(&held) {
                Ok(taken) => drop(held.drain(..taken)),
                Err(Malformed) => return refused(ours),
            }
            if !asked.content.is_done() {
                under_way = Some(asked);
                break;
            }
            ours.sent.extend_from_slice(&asked.head);
            ours.sent.extend_from_slice(&asked.content.passed);
            ours.course.messages.push(Message { start: asked.start, content: asked.content.data });
            if asked.last {
                ours.course.end = End::Over;
                return ours;
            }
        }
    }
    if under_way.is_some() || !is_nothing(&held) {
        ours.course.end = End::Within;
    }
    ours
}

/// The target as the client wrote it, which stands behind its method.
fn asked_for(head: &[u8], method_end: usize) -> &[u8] {
    head[method_end + 1..].split(|&byte| byte == b' ').next().unwrap_or_default()
}

fn refused(mut ours: Ours) -> Ours {
    ours.course.end = End::Refused;
    ours
}

/// Reads the answer to a request of `method` that arrives in `pieces`, up to the end of the connection.
pub(crate) fn answer(pieces: &[&[u8]], method: Method) -> Ours {
    let mut ours =
        Ours { course: Course::new(End::Within), sent: Vec::new(), sent_plain: Vec::new(), data: None };
    let mut held = Vec::new();
    let mut under_way: Option<(ResponseHead, Vec<u8>, Content)> = None;
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let (head, bytes, mut content) = match under_way.take() {
                Some(known) => known,
                None => match parse_response(&held, LIMIT, method) {
                    Ok(Parsed::Partial) => break,
                    Ok(Parsed::Head(head)) if head.status == 101 => {
                        ours.course.end = End::Over;
                        return ours;
                    }
                    Ok(Parsed::Head(head)) => {
                        let bytes: Vec<u8> = held.drain(..head.length).collect();
                        if head.is_interim() {
                            write_response(&head, &bytes, Onward::Stay, DATE, &mut ours.sent);
                            continue;
                        }
                        let content = Content::new(head.framing, head.trailers);
                        (head, bytes, content)
                    }
                    Err(_) => return refused(ours),
                },
            };
            match content.take(&held) {
                Ok(taken) => drop(held.drain(..taken)),
                Err(Malformed) => return refused(ours),
            }
            if content.is_done() {
                finish(&mut ours, &head, &bytes, content);
                return ours;
            }
            under_way = Some((head, bytes, content));
            break;
        }
    }
    if let Some((head, bytes, content)) = under_way
        && head.framing == Framing::UntilClose
    {
        finish(&mut ours, &head, &bytes, content);
    }
    ours
}

fn finish(ours: &mut Ours, head: &ResponseHead, bytes: &[u8], content: Content) {
    // Its own connection has done its part, whatever stands behind the answer.
    ours.course.end = End::Over;
    ours.course.messages.push(Message { start: head.status.to_string(), content: content.data.clone() });
    write_response(head, bytes, Onward::Stay, DATE, &mut ours.sent);
    ours.sent.extend_from_slice(&content.passed);
    if head.has_coding && head.framing == Framing::Chunked {
        write_response(head, bytes, Onward::Http10, DATE, &mut ours.sent_plain);
        ours.sent_plain.extend_from_slice(&content.data);
        ours.data = Some(content.data);
    }
}
