//! The fields that frame a message or belong to one hop.
//!
//! Owns: one pass over the field lines that httparse found. Invariants: every line ends with CR LF and nothing
//! stands between two lines, so what the other side reads as fields is what was read here; cuts are sorted,
//! do not touch each other and consist of whole lines.

use httparse::Header;

use crate::Span;

/// Most fields of a head.
///
/// Browsers send about 20 and proxies on the way add about 10; HAProxy's limit is 101, nginx has none but bytes.
pub const MAX_FIELDS: usize = 100;

/// Most separate stretches of lines that are cut from a head.
///
/// Connection, Keep-Alive, Proxy-Connection, TE, Upgrade, X-Forwarded-Proto, Expect and Transfer-Encoding make
/// 8 when none touch; doubled for fields that Connection names.
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
    /// All field lines.
    pub(crate) lines: Span,
    pub(crate) cuts: Cuts,
}

/// A Transfer-Encoding field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Chunked,
    Other,
}

/// What is wrong with the fields, whoever sent them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldError {
    LineEnd,
    ContentLength,
    TransferEncoding,
    HostRepeated,
    Connection,
    TooMany,
}

/// Which lines are cut, one bit a field.
type Marks = u128;
const _: () = assert!(MAX_FIELDS <= 128);

/// Fields by what they mean to a proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    EndToEnd,
    Connection,
    Hop,
    Host,
    ContentLength,
    TransferEncoding,
    Expect,
    Upgrade,
    ForwardedProto,
}

fn kind(name: &str) -> Kind {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    match name.len() {
        2 if is("te") => Kind::Hop,
        4 if is("host") => Kind::Host,
        6 if is("expect") => Kind::Expect,
        7 if is("upgrade") => Kind::Upgrade,
        10 if is("connection") => Kind::Connection,
        10 if is("keep-alive") => Kind::Hop,
        14 if is("content-length") => Kind::ContentLength,
        16 if is("proxy-connection") => Kind::Hop,
        17 if is("transfer-encoding") => Kind::TransferEncoding,
        17 if is("x-forwarded-proto") => Kind::ForwardedProto,
        _ => Kind::EndToEnd,
    }
}

/// Who sent the head.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Client,
    Server,
}

/// Reads the fields of the head `bytes`, which ends with its empty line.
pub(crate) fn read(bytes: &[u8], headers: &[Header<'_>], from: From) -> Result<Facts, FieldError> {
    let mut reading = Reading::new(bytes, headers)?;
    for (index, header) in headers.iter().enumerate() {
        reading.line_ends_well(index)?;
        reading.take(index, header, from)?;
    }
    reading.finish()
}

struct Reading<'h, 'b> {
    bytes: &'b [u8],
    headers: &'h [Header<'b>],
    facts: Facts,
    cut: Marks,
    names_fields: bool,
    upgrade_option: bool,
    upgrade_line: Option<usize>,
}

impl<'h, 'b> Reading<'h, 'b> {
    fn new(bytes: &'b [u8], headers: &'h [Header<'b>]) -> Result<Self, FieldError> {
        let last = bytes.len().checked_sub(2).ok_or(FieldError::LineEnd)?;
        let first = headers.first().map_or(last, |h| Span::within(bytes, h.name.as_bytes()).start());
        let ends_well = |at: usize| at >= 2 && &bytes[at - 2..at] == b"\r\n";
        if !ends_well(first) || !ends_well(bytes.len()) {
            return Err(FieldError::LineEnd);
        }
        let facts = Facts {
            close: false,
            keep_alive: false,
            content_length: None,
            transfer_encoding: None,
            host: None,
            expects_continue: false,
            upgrade: false,
            lines: Span::new(first, last),
            cuts: Cuts::NONE,
        };
        Ok(Self {
            bytes,
            headers,
            facts,
            cut: 0,
            names_fields: false,
            upgrade_option: false,
            upgrade_line: None,
        })
    }

    /// The whole line of a field, with its end.
    fn line(&self, index: usize) -> Span {
        let start = |header: &Header<'_>| Span::within(self.bytes, header.name.as_bytes()).start();
        let end = self.headers.get(index + 1).map_or(self.facts.lines.end(), start);
        Span::new(start(&self.headers[index]), end)
    }

    fn line_ends_well(&self, index: usize) -> Result<(), FieldError> {
        if self.line(index).of(self.bytes).ends_with(b"\r\n") { Ok(()) } else { Err(FieldError::LineEnd) }
    }

    fn take(&mut self, index: usize, header: &Header<'_>, from: From) -> Result<(), FieldError> {
        let value = header.value;
        match kind(header.name) {
            Kind::EndToEnd => return Ok(()),
            Kind::Connection => {
                self.options(value);
                self.cut |= 1 << index;
            }
            Kind::Hop => self.cut |= 1 << index,
            Kind::ForwardedProto if from == From::Client => self.cut |= 1 << index,
            Kind::Expect if from == From::Client => {
                self.facts.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
            }
            Kind::Host if from == From::Client => {
                let place = Span::within(self.bytes, value);
                if self.facts.host.replace(place).is_some() {
                    return Err(FieldError::HostRepeated);
                }
            }
            Kind::ForwardedProto | Kind::Expect | Kind::Host => {}
            Kind::Upgrade => {
                self.cut |= 1 << index;
                let websocket = value.eq_ignore_ascii_case(b"websocket");
                // A repeated field could offer a second protocol beside the one that was looked at.
                self.upgrade_line = (websocket && self.upgrade_line.is_none()).then_some(index);
            }
            Kind::ContentLength => {
                let length = number(value).ok_or(FieldError::ContentLength)?;
                if self.facts.content_length.replace(length).is_some() {
                    return Err(FieldError::ContentLength);
                }
            }
            Kind::TransferEncoding => {
                let chunked = value.eq_ignore_ascii_case(b"chunked");
                let coding = if chunked { Coding::Chunked } else { Coding::Other };
                if self.facts.transfer_encoding.replace(coding).is_some() {
                    return Err(FieldError::TransferEncoding);
                }
            }
        }
        Ok(())
    }

    fn options(&mut self, value: &[u8]) {
        for option in list(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.facts.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.facts.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade_option = true;
            } else {
                self.names_fields = true;
            }
        }
    }

    fn finish(mut self) -> Result<Facts, FieldError> {
        if self.facts.transfer_encoding.is_some() && self.facts.content_length.is_some() {
            return Err(FieldError::TransferEncoding);
        }
        if self.names_fields {
            self.cut_named()?;
        }
        if self.upgrade_option
            && let Some(index) = self.upgrade_line
        {
            self.facts.upgrade = true;
            self.cut &= !(1 << index);
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
                match kind(header.name) {
                    Kind::Host | Kind::ContentLength | Kind::TransferEncoding => {
                        return Err(FieldError::Connection);
                    }
                    Kind::EndToEnd
                    | Kind::Connection
                    | Kind::Hop
                    | Kind::Expect
                    | Kind::Upgrade
                    | Kind::ForwardedProto => self.cut |= 1 << index,
                }
            }
        }
        Ok(())
    }
}

/// The members of a comma-separated list (RFC 9110 §5.6.1).
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// A plain decimal number of at most 18 digits: below 10^18, so that sums of it cannot overflow.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0, |sum: u64, b| b.is_ascii_digit().then(|| sum * 10 + u64::from(b - b'0')))
}
