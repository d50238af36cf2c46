//! A request on its way: from a client's bytes to the bytes for a server.
//!
//! Owns: reading a head, and deciding whether it is taken. Invariant: what is written for the server is framed
//! by what `core/http1` found, and bytes behind the request's end stay with the client (I9).

use evenkeel_balance::{Key, Tried};
use evenkeel_config::balancer::{Deadlines, Http2, Protocol};
use evenkeel_http1::{
    ChunkError, Framing, Hop, Method, Onward, Parsed, Received, RequestError, RequestHead, RequestIds,
    Version, parse_request, write_edited_request, write_request,
};
use evenkeel_http2::PREFACE;
use evenkeel_route::TargetError;
use evenkeel_units::Instant;
use std::{cell::Cell, time::Duration};

use crate::{
    acme::challenges,
    client::Client,
    http1::{content::Content, forward::request_ids},
    net::{scratch, socket::Read},
    pool::{Lease, PoolState, Story, key::Asked, ports::Says, sticky::Bound},
    route::Ruled,
    trace::{Begun, Traced},
    worker::Worker,
};

/// Whether a request may be at two servers at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twice {
    /// Yes: it is safe (RFC 9110 §9.2.1) and has no content, and no conversation comes of it.
    Harmless,
    /// No.
    Never,
}

impl Twice {
    const fn of(head: &RequestHead) -> Self {
        match (head.method, head.framing, head.upgrade) {
            (Method::Get | Method::Head, Framing::None, false) => Self::Harmless,
            _ => Self::Never,
        }
    }
}

/// A request, rewritten for the server.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, no state")]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) keep_alive: bool,
    pub(crate) http10: bool,
    pub(crate) upgrade: bool,
    /// What of the content is still with the client.
    pub(crate) content: Content,
    /// Whether it may be at two servers at once.
    pub(crate) twice: Twice,
    /// Head and content so far, as the server gets them.
    pub(crate) bytes: Vec<u8>,
    pub(crate) started: Instant,
    /// What leads it to a server.
    pub(crate) key: Key,
    /// What becomes of the cookie that leads its client to a server, where the pool has such cookies.
    pub(crate) bound: Option<Box<Bound>>,
    /// Whether there are servers that it has not been to; only for routes that ask for another.
    pub(crate) others_left: bool,
    /// Why no server answered, once that is so.
    pub(crate) story: Option<Box<Story>>,
    /// Bytes that came from the client.
    pub(crate) received: u64,
    /// What its route makes of it; `None` when it goes on as it is.
    pub(crate) ruled: Option<Box<Ruled>>,
    /// Its name, where the listener gives one to each request or a template of its route asked for one.
    pub(crate) id: Option<Box<str>>,
    /// Its trace, when it is recorded.
    pub(crate) traced: Option<Box<Traced>>,
    /// Tries at servers, those included to which no connection came about.
    pub(crate) tries: Cell<u8>,
    /// What the access log or the trace will say of it, when there is one.
    pub(crate) line: Option<Box<Line>>,
}

impl Request {
    /// Its request id: the one that its server was told, or a new one.
    pub(crate) fn name(&self, worker: &Worker) -> String {
        self.id.as_deref().map_or_else(|| worker.next_id(), str::to_owned)
    }

    /// How long a server may take to begin its answer.
    pub(crate) fn server_head(&self, deadlines: &Deadlines) -> Duration {
        let own = self.ruled.as_ref().and_then(|ruled| ruled.route()?.deadlines.server_head);
        own.unwrap_or(deadlines.server_head)
    }

    /// Whether its route's time is over.
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        self.ruled.as_ref().and_then(|ruled| ruled.until).is_some_and(|until| now >= until)
    }

    /// Whether an answer with this status counts as none, and another server is there to be asked.
    pub(crate) fn asks_again(&self, status: u16) -> bool {
        self.others_left
            && self.is_whole()
            && self.ruled.as_ref().is_some_and(|ruled| ruled.retries(self.method, status))
    }

    /// The name of its route, when it has one.
    pub(crate) fn route(&self) -> Option<&str> {
        self.ruled.as_ref().and_then(|ruled| ruled.route()).map(|route| route.name.as_str())
    }

    /// It is about to be sent to a server.
    pub(crate) fn goes_to(&mut self, client: &Client, pool: &PoolState, lease: &Lease, tried: &Tried) {
        self.tries.set(self.tries.get().max(tried.count()).saturating_add(1));
        pool.stick(self.bound.as_mut(), lease.server);
        if let Some(traced) = &self.traced {
            let now = client.worker.clock.now();
            traced.asks(&mut self.bytes, now, (pool, lease), self.tries.get());
        }
    }

    /// The server that it was sent to gave no answer that counts: the status it gave, or what went wrong in a word.
    pub(crate) fn failed(&self, client: &Client, how: (Option<u16>, Option<&'static str>)) {
        if let Some(traced) = &self.traced {
            traced.asked(client, self, how);
        }
    }

    /// It was also sent to the server of `lease`, which has answered first.
    pub(crate) fn answered_by(&self, lease: &Lease) {
        if let Some(traced) = &self.traced {
            traced.answered_by(lease);
        }
    }

    /// What is on its way to or from its server, once all of the answer has been read. A server may answer before it has read
    /// the content.
    pub(crate) const fn says(&self) -> Says {
        match self.twice {
            Twice::Harmless => Says::Nothing,
            Twice::Never => Says::More,
        }
    }

    /// Whether all of it is in `bytes`, so that it can be sent again.
    pub(crate) const fn is_whole(&self) -> bool {
        self.content.is_done()
    }

    /// Whether its client may be sending although the connection ends with the answer: one that did not say that this was
    /// its last request, or whose content was not read to the end. Closing at once could reset the connection and take the
    /// answer away (RFC 9112 §9.6).
    pub(crate) const fn ends_early(&self, onward: Onward) -> bool {
        match onward {
            Onward::Close | Onward::Http10 => self.keep_alive || !self.is_whole(),
            Onward::Stay | Onward::StayHttp10 | Onward::Upgrade => false,
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        scratch::give(std::mem::take(&mut self.bytes));
    }
}

/// Why a client gets no request through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientFault {
    /// The head is refused.
    Head(RequestError),
    /// The target is one that routes cannot be sure of.
    Target(TargetError),
    /// The chunks are malformed.
    Chunk(ChunkError),
    /// The content is larger than allowed.
    TooLarge,
    /// It asks by the scheme of another connection than its own.
    Misdirected,
    /// It was here before.
    Loop,
    /// No fault, but nothing for a server either: OPTIONS that may go no further (RFC 9110 §7.6.2).
    LastHop,
    /// Nothing came for too long.
    Timeout,
    /// It has gone.
    Gone,
}

impl ClientFault {
    /// The status to answer with; `None` when nobody would read it.
    pub(crate) const fn status(self) -> Option<u16> {
        match self {
            Self::Head(error) => Some(error.status()),
            Self::Target(_) | Self::Chunk(_) => Some(400),
            Self::TooLarge => Some(413),
            Self::Misdirected => Some(421),
            Self::Loop => Some(508),
            Self::LastHop => Some(200),
            Self::Timeout => Some(408),
            Self::Gone => None,
        }
    }

    /// The reason in words.
    pub(crate) fn reason(self) -> String {
        match self {
            Self::Head(error) => error.to_string(),
            Self::Target(error) => error.to_string(),
            Self::Chunk(error) => error.to_string(),
            Self::TooLarge => "the content is larger than allowed".to_owned(),
            Self::Misdirected => "the scheme of the target is not that of the connection".to_owned(),
            Self::Loop => "the request went through here before".to_owned(),
            Self::LastHop => "the request may go no further".to_owned(),
            Self::Timeout => "the request did not come in time".to_owned(),
            Self::Gone => "the client has gone".to_owned(),
        }
    }
}

/// What a look at the client's bytes gave.
pub(crate) enum Taken {
    /// A request.
    Request(Request),
    /// Not all of a head yet.
    Partial,
    /// The client closed between requests.
    End,
    /// The client began with the preface of HTTP/2 (RFC 9113 §3.4), which is carried.
    Http2,
}

/// Reads from the client, unless it has sent something already, and takes a request when its head is complete.
pub(crate) fn take(client: &mut Client, read: bool) -> Result<Taken, ClientFault> {
    scratch::with(|scratch| {
        let input = &mut scratch.input;
        let mut have = client.carry.len();
        // The limit on heads is below the scratch's size, so what is carried always fits.
        input[..have].copy_from_slice(&client.carry);
        if read {
            match client.socket.read(&mut input[have..]) {
                Ok(Read::Bytes(length)) => have += length,
                Ok(Read::Wait) => {}
                Ok(Read::End) if have == 0 => return Ok(Taken::End),
                Ok(Read::End) | Err(_) => return Err(ClientFault::Gone),
            }
        }
        let bytes = &input[..have];
        if bytes.starts_with(b"PRI ")
            && let Some(taken) = preface(client, bytes)
        {
            return Ok(taken);
        }
        match parse_request(bytes, client.head_limit(), client.peer()) {
            Err(_) if is_other_protocol(bytes) => Ok(Taken::End),
            Err(error) => {
                client.keep_refused(bytes);
                Err(ClientFault::Head(error))
            }
            Ok(Parsed::Partial) => {
                // Only what is new is added: a slow head is copied into the carry once.
                let known = client.carry.len();
                client.carry.extend_from_slice(&bytes[known..]);
                Ok(Taken::Partial)
            }
            Ok(Parsed::Head(head)) if challenges::answered(client, &head, bytes) => Ok(Taken::End),
            Ok(Parsed::Head(head)) => {
                let begun = begin(client, &head, bytes);
                begun.inspect_err(|_| client.keep_refused(bytes)).map(Taken::Request)
            }
        }
    })
}

/// Whether the first line has three words of letters, of which none is a target or a version: whoever sent it would not read
/// an answer of HTTP/1.1 (RFC 9113 §3.4 calls it an invalid preface).
fn is_other_protocol(bytes: &[u8]) -> bool {
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let mut words = line.trim_ascii().split(|&byte| byte == b' ');
    let are_letters = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_alphabetic);
    words.by_ref().take(3).filter(|word| are_letters(word)).count() == 3 && words.next().is_none()
}

/// Looks for the preface of HTTP/2 where the client may begin with it.
fn preface(client: &mut Client, bytes: &[u8]) -> Option<Taken> {
    let known = client.carry.len();
    let taken = if bytes.starts_with(PREFACE) {
        Taken::Http2
    } else if PREFACE.starts_with(bytes) {
        Taken::Partial
    } else {
        return None;
    };
    (client.listening.settings().http2 == Http2::Offered).then(|| {
        client.carry.extend_from_slice(&bytes[known..]);
        taken
    })
}

fn begin(client: &mut Client, head: &RequestHead, bytes: &[u8]) -> Result<Request, ClientFault> {
    let mut request = prepare(client, head, bytes, Received::Http1)?;
    let rest = &bytes[head.length..];
    let ruled = request.ruled.as_ref().and_then(|ruled| ruled.pool.as_ref());
    let protocol = ruled.map_or_else(|| client.listening.settings().pool.protocol, |pool| pool.protocol);
    if protocol == Protocol::Http2 {
        // Its content leaves in other frames than it came in.
        client.carry = rest.to_vec();
        return Ok(request);
    }
    let taken = request.content.take_into(rest, &mut request.bytes).map_err(ClientFault::Chunk)?;
    let limit = client.listening.settings().limits.request_body_bytes.0;
    if matches!(request.content, Content::Chunked(_)) && request.content.announced() > limit {
        return Err(ClientFault::TooLarge);
    }
    request.upgrade = head.upgrade && request.content.is_done();
    request.received = (head.length + taken) as u64;
    client.carry = rest[taken..].to_vec();
    Ok(request)
}

/// A request whose head came, in whatever version: rewritten for the server, with its content still to come.
pub(crate) fn prepare(
    client: &Client,
    head: &RequestHead,
    bytes: &[u8],
    received: Received,
) -> Result<Request, ClientFault> {
    let settings = client.listening.settings();
    if matches!(head.framing, Framing::Length(length) if length > settings.limits.request_body_bytes.0) {
        return Err(ClientFault::TooLarge);
    }
    let forward = &settings.forward;
    may_pass(client, head, bytes)?;
    let id = match (request_ids(forward), head.request_id) {
        (RequestIds::Passed, _) => None,
        (RequestIds::Made, Some(id)) => Some(String::from_utf8_lossy(id.of(bytes)).into()),
        (RequestIds::Made, None) => Some(client.worker.next_id().into_boxed_str()),
    };
    let hop = Hop {
        client: client.address.as_bytes(),
        scheme: client.scheme,
        received,
        host: settings.pool.host.as_bytes(),
        fields: forward.fields,
        via: client.worker.via().as_bytes(),
        request_id: id.as_deref().unwrap_or_default().as_bytes(),
    };
    let mut out = scratch::take();
    let started = client.worker.clock.now();
    let mut ruled = match &settings.routes {
        None => None,
        Some(routes) => {
            let when = (started, id.as_deref());
            routes.apply(client, head, bytes, when).map_err(ClientFault::Target)?
        }
    };
    let named = ruled.as_mut().and_then(|ruled| ruled.take_id());
    let pool = ruled.as_ref().and_then(|ruled| ruled.pool.as_ref()).unwrap_or(&settings.pool);
    let seen = Seen { head, bytes };
    let (key, bound) = pool.bind(pool.key(client.ip(), &seen), &seen, client.route_scheme());
    let begun = settings.tracer.as_ref().map(|tracer| tracer.begin(head, bytes));
    write_head(client, &seen, &hop, (ruled.as_deref(), bound.as_deref(), begun.as_ref()), &mut out);
    let traced = begun.and_then(|begun| begun.recorded(&out));
    Ok(Request {
        method: head.method,
        keep_alive: head.keep_alive,
        http10: head.version == Version::Http10,
        upgrade: head.upgrade,
        content: Content::of(head.framing, head.trailers),
        twice: Twice::of(head),
        bytes: out,
        started,
        key,
        bound,
        received: head.length as u64,
        ruled,
        others_left: false,
        story: None,
        id: id.or(named),
        line: (settings.access_log.is_some() || traced.is_some()).then(|| Box::new(Line::of(head, bytes))),
        traced,
        tries: Cell::new(0),
    })
}

/// Writes the head for the server, as its route has it, without what is only between the client and us, and with what is
/// told of the client's certificate.
fn write_head(
    client: &Client,
    seen: &Seen<'_>,
    hop: &Hop<'_>,
    (ruled, bound, begun): (Option<&Ruled>, Option<&Bound>, Option<&Begun>),
    out: &mut Vec<u8>,
) {
    let Seen { head, bytes } = *seen;
    let session = client.socket.session();
    let told = session.as_ref().map_or(&[][..], |session| &session.told);
    let mut own = Vec::new();
    let edits = ruled.and_then(|ruled| ruled.request_edits(&mut own));
    let (mut hidden, mut cookies) = (Vec::new(), Vec::new());
    let edits = match bound {
        Some(bound) => bound.edits(edits, seen, (&mut hidden, &mut cookies)),
        None => edits,
    };
    let (mut names, mut lines) = (Vec::new(), Vec::new());
    let fields = client.listening.settings().certificate_fields;
    let edits = fields.edits(edits, told, (&mut names, &mut lines));
    let (mut names, mut lines) = (Vec::new(), Vec::new());
    let edits = match begun {
        None => edits,
        Some(begun) => begun.edits(edits, (&mut names, &mut lines)),
    };
    match edits {
        None => write_request(head, bytes, hop, out),
        Some(edits) => write_edited_request(head, bytes, hop, &edits, out),
    }
}

/// A head with the bytes that it was read from.
struct Seen<'a> {
    head: &'a RequestHead,
    bytes: &'a [u8],
}

impl Asked for Seen<'_> {
    fn target(&self) -> &[u8] {
        self.head.asked_target(self.bytes)
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.head.fields(self.bytes)
    }
}

/// Whether the request may go on to a server at all.
fn may_pass(client: &Client, head: &RequestHead, bytes: &[u8]) -> Result<(), ClientFault> {
    if head.scheme.is_some_and(|scheme| scheme != client.scheme) {
        return Err(ClientFault::Misdirected);
    }
    if head.went_through(bytes, client.worker.via().as_bytes()) {
        return Err(ClientFault::Loop);
    }
    if head.max_forwards == Some(0) {
        return Err(ClientFault::LastHop);
    }
    Ok(())
}

/// Longest target kept for the access log.
const MAX_LOGGED_TARGET: usize = 512;

/// What a request asked for, for the access log.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) host: Vec<u8>,
    pub(crate) protocol: &'static str,
    pub(crate) referer: Vec<u8>,
    pub(crate) user_agent: Vec<u8>,
    pub(crate) trace_id: Vec<u8>,
}

/// Longest value of a field kept for the access log.
const MAX_LOGGED_FIELD: usize = 512;

impl Line {
    fn of(head: &RequestHead, bytes: &[u8]) -> Self {
        let target = head.asked_target(bytes);
        Self {
            method: head.method_name.of(bytes).to_vec(),
            target: target[..target.len().min(MAX_LOGGED_TARGET)].to_vec(),
            host: head.host.map(|host| host.of(bytes).to_vec()).unwrap_or_default(),
            protocol: match head.version {
                Version::Http10 => "HTTP/1.0",
                Version::Http11 => "HTTP/1.1",
            },
            referer: logged_field(&bytes[..head.length], b"referer"),
            user_agent: logged_field(&bytes[..head.length], b"user-agent"),
            trace_id: trace_id(&logged_field(&bytes[..head.length], b"traceparent")),
        }
    }
}

/// The value of a field of a head that was found to be well-formed, as far as it is logged; empty when it is not there.
fn logged_field(head: &[u8], name: &[u8]) -> Vec<u8> {
    let value = head.split(|&byte| byte == b'\n').skip(1).find_map(|line| {
        let (key, value) = line.split_at_checked(name.len())?;
        key.eq_ignore_ascii_case(name).then(|| value.strip_prefix(b":")).flatten()
    });
    let value = value.unwrap_or_default().trim_ascii();
    value[..value.len().min(MAX_LOGGED_FIELD)].to_vec()
}

/// The trace's identity in a traceparent field, 32 hexadecimal digits behind the version (W3C Trace Context §3.2).
fn trace_id(field: &[u8]) -> Vec<u8> {
    let id = field.split(|&byte| byte == b'-').nth(1).unwrap_or_default();
    let fits = id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit);
    if fits { id.to_vec() } else { Vec::new() }
}
