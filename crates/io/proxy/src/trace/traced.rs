//! A request whose trace is known, from its head to the end of its answer.
//!
//! Owns: continuing or beginning the trace, the span of each try, and telling of both. Invariants: what a server is told
//! is the span of the try that it gets; a trace that its sender does not record passes as it came.

use std::{
    cell::RefCell,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use evenkeel_config::balancer::Protocol;
use evenkeel_http1::{Edits, RequestHead, Scheme};
use evenkeel_trace::{
    Attempted, Decision, Flags, Given, Kind, MAX_TEXT, Moment, Parent, Peer, Received, Remote, Share, Span,
    SpanId, TraceId, attempt, traceparent,
};
use evenkeel_units::Instant;

use super::{Exporter, ids::Ids};
use crate::{
    access_log::{DONE, Event},
    client::Client,
    http1::{
        exchange::{CLIENT_LEFT, CLIENT_STOPPED, SERVER_BROKE_OFF},
        request::Request,
    },
    pool::{Lease, PoolState},
};

/// What a worker traces by.
pub(crate) struct Tracer {
    exporter: Arc<Exporter>,
    share: Share,
    ids: RefCell<Ids>,
}

/// What is written into a request's head, and what is kept of its trace.
pub(crate) struct Begun {
    /// The line for the server; `None` when the head goes on as it is.
    line: Option<String>,
    /// The fields whose lines are taken out.
    removes: &'static [&'static [u8]],
    traced: Option<Box<Traced>>,
}

/// The trace of a request that is recorded.
pub(crate) struct Traced {
    tracer: Rc<Tracer>,
    trace: TraceId,
    parent: Option<SpanId>,
    flags: Flags,
    state: String,
    own: SpanId,
    /// Where in the request's head the digits of the try's span stand.
    place: usize,
    attempt: RefCell<Option<Attempt>>,
}

/// A try at a server that has not ended.
struct Attempt {
    id: SpanId,
    began: Instant,
    pool: Box<str>,
    server: Box<str>,
    address: SocketAddr,
    scheme: &'static str,
    version: &'static str,
    resends: u8,
}

impl Tracer {
    /// By what an exporter's configuration says.
    pub(crate) fn new(exporter: &Arc<Exporter>) -> Self {
        let share = Share::new(exporter.settings.sample);
        Self { exporter: Arc::clone(exporter), share, ids: RefCell::default() }
    }

    /// Whether it tells this exporter.
    pub(crate) fn tells(&self, exporter: &Arc<Exporter>) -> bool {
        Arc::ptr_eq(&self.exporter, exporter)
    }

    /// Continues the trace of a request, or begins one.
    pub(crate) fn begin(self: &Rc<Self>, head: &RequestHead, bytes: &[u8]) -> Begun {
        let untouched = Begun { line: None, removes: &[], traced: None };
        let parent = parent(head, bytes);
        let mut ids = self.ids.borrow_mut();
        let (trace, flags, decision) = match &parent {
            Some(parent) => (Some(parent.trace), parent.flags, self.share.continued(parent)),
            None => {
                let trace = ids.trace();
                let decision = trace.map_or(Decision::Pass, |trace| self.share.begun(trace));
                let sampled = if decision == Decision::Record { Flags::SAMPLED } else { Flags::default() };
                (trace, sampled.with(Flags::RANDOM), decision)
            }
        };
        if decision == Decision::Pass && parent.is_some() {
            return untouched;
        }
        // The span of the first try, or of nobody: who is not recorded still has to have a name.
        let (Some(trace), Some(span), Some(own)) = (trace, ids.span(), ids.span()) else { return untouched };
        drop(ids);
        let line = format!("traceparent: {}\r\n", traceparent(trace, span, flags));
        // A state without a context of its own belongs to nothing (W3C Trace Context §4.2).
        let removes: &[&[u8]] =
            if parent.is_some() { &[b"traceparent"] } else { &[b"traceparent", b"tracestate"] };
        let traced = (decision == Decision::Record).then(|| {
            Box::new(Traced {
                tracer: Rc::clone(self),
                trace,
                parent: parent.map(|parent| parent.span),
                flags,
                state: if parent.is_some() { state(head, bytes) } else { String::new() },
                own,
                place: 0,
                attempt: RefCell::new(None),
            })
        });
        Begun { line: Some(line), removes, traced }
    }
}

/// The context of a request; two of them are none.
fn parent(head: &RequestHead, bytes: &[u8]) -> Option<Parent> {
    let is_it = |name: &[u8]| name.eq_ignore_ascii_case(b"traceparent");
    let mut values = head.fields(bytes).filter(|(name, _)| is_it(name)).map(|(_, value)| value);
    let parent = Parent::parse(values.next()?)?;
    values.next().is_none().then_some(parent)
}

/// What other systems say of the trace, in one line (§3.3), as far as a span takes it.
fn state(head: &RequestHead, bytes: &[u8]) -> String {
    let is_it = |name: &[u8]| name.eq_ignore_ascii_case(b"tracestate");
    let values: Vec<_> = head.fields(bytes).filter(|(name, _)| is_it(name)).map(|(_, value)| value).collect();
    let state = values.join(&b","[..]);
    if state.len() <= MAX_TEXT { String::from_utf8(state).unwrap_or_default() } else { String::new() }
}

impl Begun {
    /// `edits` and what the trace needs besides; `names` and `lines` are room for both.
    pub(crate) fn edits<'a>(
        &'a self,
        edits: Option<Edits<'a>>,
        (names, lines): (&'a mut Vec<&'a [u8]>, &'a mut Vec<u8>),
    ) -> Option<Edits<'a>> {
        let Some(line) = &self.line else { return edits };
        let edits = edits.unwrap_or_default();
        names.extend_from_slice(edits.remove);
        names.extend_from_slice(self.removes);
        lines.extend_from_slice(edits.add);
        lines.extend_from_slice(line.as_bytes());
        Some(Edits { remove: names, add: lines, ..edits })
    }

    /// What is kept of the trace, once the head for the server is written.
    pub(crate) fn recorded(self, head: &[u8]) -> Option<Box<Traced>> {
        let (mut traced, line) = (self.traced?, self.line?);
        let at = head.windows(line.len()).rposition(|bytes| bytes == line.as_bytes())?;
        // `traceparent: `, the version and the trace's 32 digits with their dashes.
        traced.place = at + 13 + 3 + 33;
        Some(traced)
    }
}

impl Traced {
    /// A try at a server begins: from here on the request speaks of it.
    pub(crate) fn asks(
        &self,
        bytes: &mut [u8],
        now: Instant,
        (pool, lease): (&PoolState, &Lease),
        tries: u8,
    ) {
        let Some(id) = self.tracer.ids.borrow_mut().span() else { return };
        let Some(digits) = bytes.get_mut(self.place..self.place + 16) else { return };
        digits.copy_from_slice(&id.digits());
        let version = match pool.protocol {
            Protocol::Http1 => "1.1",
            Protocol::Http2 => "2",
        };
        *self.attempt.borrow_mut() = Some(Attempt {
            id,
            began: now,
            pool: pool.shared.name.as_str().into(),
            server: lease.name().into(),
            address: lease.address(),
            scheme: pool.scheme(),
            version,
            resends: tries.saturating_sub(1),
        });
    }

    /// The answer comes from another server, which was sent the same request.
    pub(crate) fn answered_by(&self, lease: &Lease) {
        if let Some(attempt) = &mut *self.attempt.borrow_mut() {
            attempt.server = lease.name().into();
            attempt.address = lease.address();
        }
    }

    /// The try has ended.
    pub(crate) fn asked(
        &self,
        client: &Client,
        request: &Request,
        (status, fault): (Option<u16>, Option<&'static str>),
    ) {
        let Some(open) = self.attempt.borrow_mut().take() else { return };
        let Some(received) = received(client, request) else { return };
        if !self.tracer.exporter.has_room(1) {
            return;
        }
        let peer = Peer {
            pool: &open.pool,
            server: &open.server,
            address: open.address,
            scheme: open.scheme,
            version: open.version,
        };
        let attempted = Attempted { status, fault, resends: open.resends };
        let told = attempt(&received, &peer, &attempted);
        let lasted = client.worker.clock.now().since(open.began);
        let whose = (open.id, Some(self.own), Remote::No, Kind::Client);
        self.tracer.exporter.tell(self.span(whose, told, lasted));
    }

    /// The request has ended.
    pub(crate) fn ended(&self, client: &Client, request: &Request, event: &Event<'_>) {
        let fault = fault(event);
        let status = event.status.filter(|_| event.end == DONE);
        // An answer of our own is none of the server's.
        let of_try = if event.end == DONE { None } else { Some(fault.unwrap_or("_OTHER")) };
        self.asked(client, request, (status, of_try));
        let Some(received) = received(client, request) else { return };
        if !self.tracer.exporter.has_room(1) {
            return;
        }
        let listener = client.listening.settings();
        let pool = request.ruled.as_ref().and_then(|ruled| ruled.pool.as_ref()).unwrap_or(&listener.pool);
        let given = Given {
            status: event.status,
            fault,
            pool: &pool.shared.name,
            server: event.server,
            route: request.route(),
            tries: request.tries.get(),
        };
        let told = evenkeel_trace::request(&received, &given);
        let remote = if self.parent.is_some() { Remote::Yes } else { Remote::No };
        let whose = (self.own, self.parent, remote, Kind::Server);
        self.tracer.exporter.tell(self.span(whose, told, event.total));
    }

    /// A span that ends now.
    fn span(
        &self,
        (id, parent, remote, kind): (SpanId, Option<SpanId>, Remote, Kind),
        (name, outcome, attributes): (String, evenkeel_trace::Outcome, Vec<evenkeel_trace::Attribute>),
        lasted: Duration,
    ) -> Span {
        let ended = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Span {
            trace: self.trace,
            id,
            parent,
            remote,
            flags: self.flags,
            state: self.state.clone(),
            name,
            kind,
            began: Moment(ended.saturating_sub(lasted)),
            ended: Moment(ended),
            outcome,
            attributes,
        }
    }
}

/// The request as its client sent it.
fn received<'a>(client: &'a Client, request: &'a Request) -> Option<Received<'a>> {
    let line = request.line.as_deref()?;
    Some(Received {
        method: &line.method,
        target: &line.target,
        host: &line.host,
        scheme: match client.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        },
        version: match line.protocol {
            "HTTP/1.0" => "1.0",
            "HTTP/1.1" => "1.1",
            _ => "2",
        },
        user_agent: &line.user_agent,
        client: client.from(),
        listener: client.listening.name(),
    })
}

/// Why an answer is not whole, in a word of few; answers of our own speak by their status.
fn fault(event: &Event<'_>) -> Option<&'static str> {
    match (event.status, event.end) {
        (_, DONE) | (Some(_), _) => None,
        (None, CLIENT_LEFT) => Some("client_left"),
        (None, CLIENT_STOPPED) => Some("client_stopped_reading"),
        (None, SERVER_BROKE_OFF) => Some("server_broke_off"),
        (None, _) => Some("_OTHER"),
    }
}
