//! The fields that frame a message, route it or belong to one hop.
//!
//! Owns: one pass over the field lines that httparse found. Invariants: every line ends with CR LF and nothing
//! stands between two lines, so what the other side reads as fields is what was read here; cuts are sorted,
//! do not touch each other and consist of whole lines.

use httparse::Header;

use crate::{
    Method, Peer, Span, Version,
    name::{Asked, Kind, kind},
    request::RequestIds,
    span::offset,
    value::{Coding, coding, decimal, is_request_id, list, number},
};

/// Most fields of a head.
///
/// Browsers send about 20 and proxies on the way add about 10; HAProxy's limit is 101, nginx has none but bytes.
pub const MAX_FIELDS: usize = 100;

/// Most separate stretches of lines that are cut from a head.
///
/// Connection, Keep-Alive, Proxy-Connection, TE, Upgrade, Expect, Max-Forwards and the seven fields in which proxies
/// speak of the client make 14 when none touch; two more for fields that Connection names. The array is moved with each
/// head, so its size is felt.
pub const MAX_CUTS: usize = 16;

/// Stretches of field lines that are not for the next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cuts {
    spans: [Span; MAX_CUTS],
    count: u8,
}

impl Cuts {
    const NONE: Self = Self { spans: [Span::EMPTY; MAX_CUTS], count: 0 };

    pub(crate) fn as_slice(&self) -> &[Span] {
        &self.spans[..usize::from(self.count)]
    }

    /// Adds a stretch after all others; `false` when there is no room.
    fn push(&mut self, span: Span) -> bool {
        let count = usize::from(self.count);
        if let Some(last) = self.spans[..count].last_mut()
            && last.end() == span.start()
        {
            *last = Span::new(last.start(), span.end());
            return true;
        }
        let Some(free) = self.spans.get_mut(count) else { return false };
        *free = span;
        self.count += 1;
        true
    }
}

/// What the fields say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, no state")]
pub(crate) struct Facts {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) content_length: Option<u64>,
    pub(crate) transfer_encoding: Option<Coding>,
    pub(crate) host: Option<Span>,
    pub(crate) expects_continue: bool,
    /// Both `Connection: upgrade` and `Upgrade: websocket`.
    pub(crate) upgrade: bool,
    /// An answer 426 names what it wants instead.
    pub(crate) upgrade_wanted: bool,
    /// Both `Connection: te` and `TE: trailers`.
    pub(crate) te_trailers: bool,
    /// Connection names a field beyond those that are always for one hop.
    pub(crate) names_fields: bool,
    pub(crate) max_forwards: Option<u64>,
    pub(crate) via: bool,
    pub(crate) date: bool,
    /// X-Request-Id stays, for it is well-formed and comes from somebody trusted.
    pub(crate) request_id: Option<Span>,
    /// X-Forwarded-Proto stays.
    pub(crate) forwarded_proto: bool,
    /// X-Forwarded-Host stays.
    pub(crate) forwarded_host: bool,
    /// All field lines.
    pub(crate) lines: Span,
    pub(crate) cuts: Cuts,
}

/// What is wrong with the fields, whoever sent them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldError {
    LineEnd,
    ContentLength,
    TransferEncoding,
    HostRepeated,
    ContentTypeRepeated,
    Expectation,
    MaxForwards,
    Disguise,
    Connection,
    TooMany,
}

/// Whose head it is, as far as that decides what stays in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    Client(Asking),
    Server { status: u16 },
}

/// What the request line and the listener say of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asking {
    pub(crate) peer: Peer,
    pub(crate) version: Version,
    pub(crate) method: Method,
    /// The target has an authority, which takes the place of Host (RFC 9112 §3.2.2).
    pub(crate) absolute: bool,
}

impl Sender {
    /// Whether Upgrade may mean something: a WebSocket is asked for by GET in HTTP/1.1 (RFC 6455 §4.1), and in
    /// HTTP/1.0 the field is to be ignored (RFC 9110 §7.8).
    fn may_upgrade(self) -> bool {
        match self {
            Self::Client(asking) => asking.version == Version::Http11 && asking.method == Method::Get,
            Self::Server { status } => status == 101,
        }
    }

    /// Whether an Upgrade stays all the same: an answer 426 says with it what it wants (RFC 9110 §7.8).
    fn wants_upgrade(self) -> bool {
        self == Self::Server { status: 426 }
    }
}

/// Which lines are cut, one bit a field.
type Marks = u128;
const _: () = assert!(MAX_FIELDS <= 128);

/// Reads the fields of the head `bytes`, which ends with its empty line.
pub(crate) fn read(bytes: &[u8], headers: &[Header<'_>], sender: Sender) -> Result<Facts, FieldError> {
    let mut reading = Reading::new(bytes, headers, sender)?;
    for (index, header) in headers.iter().enumerate() {
        if !ends_line(bytes, reading.start(header)) {
            return Err(FieldError::LineEnd);
        }
        reading.take(index, header)?;
    }
    reading.finish()
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts, no state")]
struct Reading<'h, 'b> {
    bytes: &'b [u8],
    headers: &'h [Header<'b>],
    sender: Sender,
    facts: Facts,
    cut: Marks,
    upgrade_option: bool,
    te_option: bool,
    /// Lines of Upgrade.
    upgrades: Marks,
    websocket: bool,
    content_type: bool,
}

impl<'h, 'b> Reading<'h, 'b> {
    fn new(bytes: &'b [u8], headers: &'h [Header<'b>], sender: Sender) -> Result<Self, FieldError> {
        let last = bytes.len().checked_sub(2).ok_or(FieldError::LineEnd)?;
        if !ends_line(bytes, last) || !ends_line(bytes, bytes.len()) {
            return Err(FieldError::LineEnd);
        }
        let first = headers.first().map_or(last, |header| offset(bytes, header.name.as_bytes()));
        let facts = Facts {
            close: false,
            keep_alive: false,
            content_length: None,
            transfer_encoding: None,
            host: None,
            expects_continue: false,
            upgrade: false,
            upgrade_wanted: false,
            te_trailers: false,
            names_fields: false,
            max_forwards: None,
            via: false,
            date: false,
            request_id: None,
            forwarded_proto: false,
            forwarded_host: false,
            lines: Span::new(first, last),
            cuts: Cuts::NONE,
        };
        Ok(Self {
            bytes,
            headers,
            sender,
            facts,
            cut: 0,
            upgrade_option: false,
            te_option: false,
            upgrades: 0,
            websocket: false,
            content_type: false,
        })
    }

    fn start(&self, header: &Header<'_>) -> usize {
        offset(self.bytes, header.name.as_bytes())
    }

    /// The whole line of a field, with its end.
    fn line(&self, index: usize) -> Span {
        let end = self.headers.get(index + 1).map_or(self.facts.lines.end(), |next| self.start(next));
        Span::new(self.start(&self.headers[index]), end)
    }

    fn cut(&mut self, index: usize) {
        self.cut |= 1 << index;
    }

    fn take(&mut self, index: usize, header: &Header<'b>) -> Result<(), FieldError> {
        let value = header.value;
        match kind(header.name) {
            Kind::EndToEnd => {}
            Kind::Connection => {
                self.options(value);
                self.cut(index);
            }
            Kind::Hop => self.cut(index),
            Kind::Te => {
                self.facts.te_trailers |= list(value).any(|member| member.eq_ignore_ascii_case(b"trailers"));
                self.cut(index);
            }
            Kind::Upgrade => {
                // A repeated field could offer a second protocol beside the one that was looked at.
                self.websocket = self.upgrades == 0 && value.eq_ignore_ascii_case(b"websocket");
                self.upgrades |= 1 << index;
                self.cut(index);
            }
            Kind::ContentLength => {
                let length = number(value).ok_or(FieldError::ContentLength)?;
                once(&mut self.facts.content_length, length, FieldError::ContentLength)?;
                self.cut_if_bare(index);
            }
            Kind::TransferEncoding => {
                once(&mut self.facts.transfer_encoding, coding(value), FieldError::TransferEncoding)?;
                self.cut_if_bare(index);
            }
            Kind::Date => self.facts.date = true,
            Kind::Via => self.facts.via = true,
            Kind::Disguise => return Err(FieldError::Disguise),
            Kind::Asked(asked) => {
                if let Sender::Client(asking) = self.sender {
                    self.asked(index, value, asked, asking)?;
                }
            }
        }
        Ok(())
    }

    /// Neither length nor coding may be sent with the first of these answers (RFC 9112 §6.1, RFC 9110 §8.6); 205 gets a length
    /// of 0.
    fn cut_if_bare(&mut self, index: usize) {
        if matches!(self.sender, Sender::Server { status: 100..200 | 204 | 205 }) {
            self.cut(index);
        }
    }

    fn asked(&mut self, index: usize, value: &[u8], asked: Asked, asking: Asking) -> Result<(), FieldError> {
        let place = Span::within(self.bytes, value);
        match asked {
            Asked::Host => {
                once(&mut self.facts.host, place, FieldError::HostRepeated)?;
                if asking.absolute {
                    self.cut(index);
                }
            }
            Asked::ContentType if self.content_type => return Err(FieldError::ContentTypeRepeated),
            Asked::ContentType => self.content_type = true,
            // The expectation of HTTP/1.0 is to be ignored (RFC 9110 §10.1.1), so the server must not see it.
            Asked::Expect if asking.version == Version::Http10 => self.cut(index),
            Asked::Expect if value.eq_ignore_ascii_case(b"100-continue") => {
                self.facts.expects_continue = true;
            }
            Asked::Expect => return Err(FieldError::Expectation),
            Asked::MaxForwards if asking.method == Method::Options => {
                let hops = decimal(value).ok_or(FieldError::MaxForwards)?;
                once(&mut self.facts.max_forwards, hops, FieldError::MaxForwards)?;
                self.cut(index);
            }
            Asked::RequestId if asking.peer.request_ids == RequestIds::Passed => {}
            Asked::RequestId
                if asking.peer.is_trusted() && self.facts.request_id.is_none() && is_request_id(value) =>
            {
                self.facts.request_id = Some(place);
            }
            Asked::RequestId => self.cut(index),
            Asked::ForwardedProto | Asked::ForwardedHost | Asked::Forwarded if !asking.peer.is_trusted() => {
                self.cut(index);
            }
            Asked::ForwardedProto => self.facts.forwarded_proto = true,
            Asked::ForwardedHost => self.facts.forwarded_host = true,
            // Max-Forwards may be ignored with other methods (RFC 9110 §7.6.2).
            Asked::MaxForwards | Asked::Forwarded => {}
        }
        Ok(())
    }

    fn options(&mut self, value: &[u8]) {
        for option in list(value) {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            self.facts.close |= is("close");
            self.facts.keep_alive |= is("keep-alive");
            self.upgrade_option |= is("upgrade");
            self.te_option |= is("te");
            self.facts.names_fields |= !is("close") && !is("keep-alive") && !is("upgrade") && !is("te");
        }
    }

    fn finish(mut self) -> Result<Facts, FieldError> {
        if self.facts.transfer_encoding.is_some() && self.facts.content_length.is_some() {
            return Err(FieldError::TransferEncoding);
        }
        if self.facts.names_fields {
            self.cut_named()?;
        }
        self.facts.te_trailers &= self.te_option;
        self.facts.upgrade = self.upgrade_option && self.websocket && self.sender.may_upgrade();
        self.facts.upgrade_wanted = self.upgrades != 0 && self.sender.wants_upgrade();
        if self.facts.upgrade || self.facts.upgrade_wanted {
            self.cut &= !self.upgrades;
        }
        while self.cut != 0 {
            let index = self.cut.trailing_zeros() as usize;
            self.cut &= self.cut - 1;
            if !self.facts.cuts.push(self.line(index)) {
                return Err(FieldError::TooMany);
            }
        }
        Ok(self.facts)
    }

    /// Cuts the fields that Connection names (RFC 9110 §7.6.1).
    fn cut_named(&mut self) -> Result<(), FieldError> {
        let headers = self.headers;
        for connection in headers.iter().filter(|h| kind(h.name) == Kind::Connection) {
            for (index, header) in headers.iter().enumerate() {
                let named = |option: &[u8]| option.eq_ignore_ascii_case(header.name.as_bytes());
                if !list(connection.value).any(named) {
                    continue;
                }
                let kind = kind(header.name);
                if matches!(kind, Kind::Asked(Asked::Host) | Kind::ContentLength | Kind::TransferEncoding) {
                    return Err(FieldError::Connection);
                }
                self.cut(index);
            }
        }
        Ok(())
    }
}

/// Whether a line ends before `at`, as it must where a field begins: httparse takes a bare LF too.
fn ends_line(bytes: &[u8], at: usize) -> bool {
    at >= 2 && bytes[at - 2..at] == *b"\r\n"
}

/// Keeps `value`, which may come once only.
fn once<T>(place: &mut Option<T>, value: T, error: FieldError) -> Result<(), FieldError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(error),
    }
}
