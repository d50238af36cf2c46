//! Routes, as a worker applies them to requests.
//!
//! Owns: one table for each listener and what its routes need at run time. Leaves to others: which route a request takes
//! (`core/route`), sending requests and answers. Invariants: a listener without routes looks at nothing here; what goes to
//! a server is what its route was chosen by.

pub(crate) mod admit;
pub(crate) mod answer;
pub(crate) mod compress;
pub(crate) mod errors;
mod fields;
mod guard;
mod mirror;
pub(crate) mod own;
pub(crate) mod plan;

use std::{borrow::Cow, rc::Rc, sync::Arc};

use evenkeel_config::balancer::{
    Listener, ListenerIndex,
    route::{Action, Coding, EscapedSlash, FieldEdits, Piece, RetryMethods, Route, Template, Variable},
};
use evenkeel_http1::{Edits, Method, RequestHead};
use evenkeel_route::{
    Credentials, Limiter, Request as Asked, Table, Target, TargetError, Values, negotiate, render, rewrite,
    share,
};
use evenkeel_units::Instant;

use crate::{client::Client, http1::request::Request, pool::PoolState, worker::Worker};
use errors::ErrorPages;
use fields::HeadFields;
use guard::{Guard, Login, Remembered};
use mirror::Mirror;
use own::{Fixed, Page};

/// The routes of one listener, on one worker.
pub(crate) struct Routes {
    table: Table,
    rules: Rc<[Rc<Rule>]>,
    slash: EscapedSlash,
}

/// A route with what it needs at run time.
pub(crate) struct Rule {
    pub(crate) route: Route,
    pools: Box<[Rc<PoolState>]>,
    /// What a fixed answer shows.
    page: Option<Page>,
    /// What a maintenance shows.
    closed: Option<Page>,
    limiter: Option<Arc<Limiter>>,
    guard: Option<Arc<Guard>>,
    known: Remembered,
    mirror: Option<Mirror>,
    errors: Option<Arc<ErrorPages>>,
    /// Whether one of its templates names the request.
    names_request: bool,
}

/// What its route makes of a request.
pub(crate) struct Ruled {
    rule: Option<Rc<Rule>>,
    /// Whom it is for, when that is not the listener's pool.
    pub(crate) pool: Option<Rc<PoolState>>,
    /// What is answered before anything else is asked: beyond the rate, or in maintenance.
    gate: Option<Fixed>,
    /// What the client showed of itself, for a route with a guard.
    credentials: Option<Credentials>,
    /// What is answered without asking a server.
    own: Option<Fixed>,
    /// The coding in which the client takes answers best, for a route that compresses.
    coding: Option<Coding>,
    /// The target in the place of the client's.
    target: Option<Vec<u8>>,
    /// Lines for the server.
    request_lines: Vec<u8>,
    /// Lines for the client.
    response_lines: Vec<u8>,
    /// When an answer must have begun.
    pub(crate) until: Option<Instant>,
    /// The name that its templates gave the request, when it had none.
    id: Option<Box<str>>,
}

impl Ruled {
    /// The route, when there is one.
    pub(crate) fn route(&self) -> Option<&Route> {
        self.rule.as_ref().map(|rule| &rule.route)
    }

    /// The name that the route's templates gave the request; the request has it from then on.
    pub(crate) fn take_id(&mut self) -> Option<Box<str>> {
        self.id.take()
    }

    /// What is answered without asking a server, if anything, once the client has shown who it is.
    pub(crate) async fn settle(&mut self, now: Instant) -> Option<Fixed> {
        if let Some(gate) = self.gate.take() {
            return Some(gate);
        }
        if let Some(rule) = &self.rule
            && let Some(guard) = &rule.guard
        {
            let login = match &self.credentials {
                Some(credentials) => guard.login(&rule.known, credentials, now).await,
                None => Login::Refused,
            };
            match login {
                Login::Granted => {}
                Login::Refused => return Some(Fixed::unauthorized(&guard.realm)),
                Login::Busy => return Some(Fixed::busy()),
            }
        }
        self.own.take()
    }

    /// Sends a copy of the request where the route mirrors, if it is due.
    pub(crate) fn mirror(&self, worker: &Rc<Worker>, request: &Request) {
        if let Some(mirror) = self.rule.as_ref().and_then(|rule| rule.mirror.as_ref()) {
            mirror.copy(worker, request);
        }
    }

    /// What the route's errors look like, when it says so.
    pub(crate) fn error_pages(&self) -> Option<&ErrorPages> {
        self.rule.as_ref()?.errors.as_deref()
    }

    /// What is changed of the request's head; `None` when nothing is.
    pub(crate) fn request_edits<'n, 'e: 'n>(&'e self, names: &'n mut Vec<&'e [u8]>) -> Option<Edits<'n>> {
        let edits = self.route().map(|route| &route.request_edits);
        if self.target.is_none() && edits.is_none_or(FieldEdits::is_empty) {
            return None;
        }
        Some(Edits { target: self.target.as_deref(), ..field_edits(edits, &self.request_lines, names) })
    }

    /// What is changed of the answer's head; `None` when nothing is.
    pub(crate) fn response_edits<'n, 'e: 'n>(&'e self, names: &'n mut Vec<&'e [u8]>) -> Option<Edits<'n>> {
        let edits = &self.route()?.response_edits;
        if edits.is_empty() { None } else { Some(field_edits(Some(edits), &self.response_lines, names)) }
    }

    /// Whether an answer with this status to a request with this method counts as none.
    pub(crate) fn retries(&self, method: Method, status: u16) -> bool {
        let Some(retry) = self.route().and_then(|route| route.retry.as_ref()) else { return false };
        let repeatable = match retry.methods {
            RetryMethods::Idempotent => method.is_idempotent(),
            RetryMethods::Any => true,
        };
        repeatable && retry.statuses.binary_search(&status).is_ok()
    }

    /// Lines that every answer gets, ours too.
    pub(crate) fn response_lines(&self) -> &[u8] {
        &self.response_lines
    }
}

fn field_edits<'n, 'e: 'n>(
    edits: Option<&'e FieldEdits>,
    add: &'e [u8],
    names: &'n mut Vec<&'e [u8]>,
) -> Edits<'n> {
    names.extend(edits.into_iter().flat_map(|edits| &edits.remove).map(String::as_bytes));
    Edits { target: None, remove: names, add }
}

impl Routes {
    /// Finds the route of the request that came now, and what it makes of it; `None` when the request goes on as it is.
    /// `id` is its name, when it has one already.
    pub(crate) fn apply(
        &self,
        client: &Client,
        head: &RequestHead,
        bytes: &[u8],
        (now, id): (Instant, Option<&str>),
    ) -> Result<Option<Box<Ruled>>, TargetError> {
        let target = Target::read(head.asked_target(bytes), self.slash)?;
        let host = head.host.map(|host| host.of(bytes)).unwrap_or_default();
        let fields = HeadFields { head, bytes };
        let method = head.method_name.of(bytes);
        let source = client.ip();
        let asked = Asked { method, host, target: &target, source, fields: &fields };
        let rule = self.table.choose(&asked).map(|index| Rc::clone(&self.rules[index.position()]));
        let mut ruled = Ruled {
            rule: None,
            pool: None,
            gate: None,
            credentials: None,
            own: None,
            coding: None,
            target: target.changed(),
            request_lines: Vec::new(),
            response_lines: Vec::new(),
            until: None,
            id: None,
        };
        let Some(rule) = rule else {
            return Ok(ruled.target.is_some().then(|| Box::new(ruled)));
        };
        let request_id = match id {
            Some(known) => Cow::Borrowed(known),
            None if rule.names_request => Cow::Owned(client.worker.next_id()),
            None => Cow::Borrowed(""),
        };
        let values = Values {
            route: &rule.route,
            client: &client.address,
            authority: host,
            scheme: client.route_scheme(),
            method,
            target: &target,
            request_id: &request_id,
            tls_version: tls_version(client),
        };
        lines(&rule.route.request_edits, &values, &mut ruled.request_lines);
        lines(&rule.route.response_edits, &values, &mut ruled.response_lines);
        ruled.gate = rule.gate(client, &fields, now);
        ruled.own = rule.own(&values);
        if rule.guard.is_some() {
            ruled.credentials = fields.first("authorization").and_then(Credentials::read);
        }
        if let Some(compress) = &rule.route.compress {
            ruled.coding = negotiate(fields.values("accept-encoding"), &compress.codings);
        }
        if ruled.gate.is_none() && ruled.own.is_none() {
            if let Some(to) = &rule.route.rewrite {
                ruled.target = Some(rewrite(to, &values, self.slash)?);
            }
            ruled.pool = rule.pool(source);
        }
        ruled.until = rule.route.deadlines.total.map(|total| now + total);
        if let Cow::Owned(made) = request_id {
            ruled.id = Some(made.into_boxed_str());
        }
        ruled.rule = Some(rule);
        Ok(Some(Box::new(ruled)))
    }
}

impl Rule {
    /// What is answered before anything else is asked, if anything.
    fn gate(&self, client: &Client, fields: &HeadFields<'_>, now: Instant) -> Option<Fixed> {
        if let (Some(limiter), Some(limit)) = (&self.limiter, &self.route.rate_limit)
            && let Some(refusal) = admit::by_rate(limiter, limit, client.ip(), fields, now)
        {
            return Some(refusal);
        }
        if let Some(maintenance) = &self.route.maintenance
            && !maintenance.exempt.iter().any(|network| network.contains(client.ip()))
        {
            return Some(Fixed::maintenance(maintenance.retry_after, self.closed.as_ref()));
        }
        None
    }

    /// What the route answers by itself, if that is what it is for.
    fn own(&self, values: &Values<'_>) -> Option<Fixed> {
        match &self.route.action {
            Action::ListenerPool | Action::Pools(_) => None,
            Action::Redirect(redirect) => {
                let mut location = Vec::new();
                render(&redirect.to, values, &mut location);
                Some(Fixed::redirect(redirect.status, &location))
            }
            Action::Respond(respond) => Some(Fixed::page(respond.status, self.page.as_ref())),
        }
    }

    /// The pool that a client gets; `None` for the listener's.
    fn pool(&self, source: std::net::IpAddr) -> Option<Rc<PoolState>> {
        let Action::Pools(shares) = &self.route.action else { return None };
        let chosen = share(&self.route, shares, source)?;
        let place = shares.iter().position(|share| share.pool == chosen)?;
        self.pools.get(place).map(Rc::clone)
    }
}

/// Appends the lines that edits put in.
fn lines(edits: &FieldEdits, values: &Values<'_>, out: &mut Vec<u8>) {
    for (name, template) in &edits.add {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        render(template, values, out);
        out.extend_from_slice(b"\r\n");
    }
}

/// The version of TLS that the client speaks; empty without it.
fn tls_version(client: &Client) -> &'static str {
    let version = client.socket.session().and_then(|session| session.common().protocol_version());
    match version {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        Some(_) | None => "",
    }
}

/// Whether a template of the route names the request.
fn names_request(route: &Route) -> bool {
    let names = |template: &Template| {
        template.pieces().iter().any(|piece| matches!(piece, Piece::Variable(Variable::RequestId)))
    };
    let edits = route.request_edits.add.iter().chain(&route.response_edits.add);
    let redirect = if let Action::Redirect(redirect) = &route.action { Some(&redirect.to) } else { None };
    edits.map(|(_, template)| template).chain(&route.rewrite).chain(redirect).any(names)
}

/// Whether a listener has routes at all.
pub(crate) fn concern(routes: &[Route], index: ListenerIndex, listener: &Listener) -> bool {
    listener.mode == evenkeel_config::balancer::Mode::Http
        && routes.iter().any(|route| route.listeners.is_empty() || route.listeners.contains(&index))
}
