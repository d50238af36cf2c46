//! Answers that a route gives by itself.
//!
//! Unlike those to requests that were refused, these let the connection stay: what is behind the request is known.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use evenkeel_http1::Method;

use super::errors;
use crate::{
    access_log,
    client::Client,
    http1::{
        answer::{linger, phrase},
        exchange::After,
        request::Request,
    },
    net::sweep::Phase,
    pool::deadline,
};

/// A body and its type, held once for all workers.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) content_type: Arc<str>,
    pub(crate) body: Arc<[u8]>,
}

/// An answer of a route's own.
#[derive(Debug, Clone)]
pub(crate) struct Fixed {
    pub(crate) status: u16,
    /// Whole lines, without Content-Length.
    pub(crate) lines: String,
    pub(crate) body: Body,
    /// Why, for the access log.
    pub(crate) reason: &'static str,
}

/// What an answer of a route's own contains.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// A page that is there.
    Page(Arc<[u8]>),
    /// Nothing.
    Empty,
    /// An error in the form that the client reads.
    Error(&'static str),
}

impl Fixed {
    const fn error(status: u16, lines: String, text: &'static str, reason: &'static str) -> Self {
        Self { status, lines, body: Body::Error(text), reason }
    }

    pub(crate) fn redirect(status: u16, location: &[u8]) -> Self {
        let location = String::from_utf8_lossy(location);
        Self {
            status,
            lines: format!("Location: {location}\r\n"),
            body: Body::Empty,
            reason: "the route sends elsewhere",
        }
    }

    pub(crate) fn page(status: u16, page: Option<&Page>) -> Self {
        let reason = "the route answers by itself";
        match page {
            Some(page) => Self {
                status,
                lines: format!("Content-Type: {}\r\n", page.content_type),
                body: Body::Page(Arc::clone(&page.body)),
                reason,
            },
            None => Self { status, lines: String::new(), body: Body::Empty, reason },
        }
    }

    pub(crate) fn maintenance(retry_after: Duration, page: Option<&Page>) -> Self {
        let mut lines =
            format!("Retry-After: {}\r\nCache-Control: no-store\r\n", retry_after.as_secs().max(1));
        let reason = "the route is in maintenance";
        match page {
            Some(page) => {
                let _ = write!(lines, "Content-Type: {}\r\n", page.content_type);
                Self { status: 503, lines, body: Body::Page(Arc::clone(&page.body)), reason }
            }
            None => Self::error(503, lines, "this is being worked on; please come back later", reason),
        }
    }

    /// Beyond a rate: when to come back, and the limit (draft-ietf-httpapi-ratelimit-headers-10 §§3, 4).
    pub(crate) fn too_many(retry_after_s: u64, burst: u32, requests: u32, per: Duration) -> Self {
        let window = per.as_secs().max(1);
        let lines = format!(
            "Retry-After: {retry_after_s}\r\nRateLimit-Policy: \"burst\";q={burst}, \"rate\";q={requests};w={window}\r\n\
             RateLimit: \"rate\";r=0;t={retry_after_s}\r\nCache-Control: no-store\r\n"
        );
        Self::error(429, lines, "too many requests; please slow down", "beyond the route's rate")
    }
}

impl Fixed {
    /// Who is it? (RFC 7617 §2)
    pub(crate) fn unauthorized(realm: &str) -> Self {
        let lines = format!(
            "WWW-Authenticate: Basic realm=\"{realm}\", charset=\"UTF-8\"\r\nCache-Control: no-store\r\n"
        );
        Self::error(401, lines, "a name and its password are needed", "no name with its password")
    }

    /// Too many passwords wait to be checked.
    pub(crate) fn busy() -> Self {
        let lines = "Retry-After: 1\r\nCache-Control: no-store\r\n".to_owned();
        Self::error(
            503,
            lines,
            "too many passwords wait to be checked",
            "too many passwords wait to be checked",
        )
    }
}

/// Whether the client's connection stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stays {
    Yes,
    No,
}

/// Sends the answer that the request's route gives by itself.
pub(crate) async fn send(client: &mut Client, request: &Request, fixed: &Fixed) -> After {
    let worker = std::rc::Rc::clone(&client.worker);
    let stays = if client.may_stay(request) { Stays::Yes } else { Stays::No };
    let id = request.name(&worker);
    let text = whole(client, request, fixed, (stays, &id));
    let tally = client.listening.tally();
    tally.answered(fixed.status);
    let idle = client.listening.settings().deadlines.client_write_idle;
    let mut rest = &text[..];
    let mut sent = true;
    while !rest.is_empty() {
        match client.socket.write(rest) {
            Ok(0) => {
                client.watch.set(Phase::Busy, deadline(worker.clock.now(), idle));
                if client.socket.writable(&client.watch).await.is_err() {
                    sent = false;
                    break;
                }
            }
            Ok(written) => rest = &rest[written..],
            Err(_) => {
                sent = false;
                break;
            }
        }
    }
    let now = worker.clock.now();
    let total = now.since(request.started);
    tally.took.record(total);
    if request.line.is_some() {
        client.log(&access_log::Event::refused(&id, Some(request), fixed.status, fixed.reason, total));
    }
    if stays == Stays::Yes && sent {
        return After::Next(now);
    }
    if sent {
        linger(client).await;
    }
    After::Close
}

/// The whole text of an answer.
pub(crate) fn whole(
    client: &Client,
    request: &Request,
    fixed: &Fixed,
    (stays, id): (Stays, &str),
) -> Vec<u8> {
    let settings = client.listening.settings();
    let error = match &fixed.body {
        Body::Error(text) => {
            let pages = errors::pages(&settings, Some(request));
            Some(errors::body(pages, errors::form(Some(request)), (fixed.status, text, id)))
        }
        Body::Page(_) | Body::Empty => None,
    };
    let body = match (&fixed.body, &error) {
        (_, Some((_, text))) => text.as_bytes(),
        (Body::Page(page), None) => page,
        (Body::Empty | Body::Error(_), None) => &[],
    };
    let mut text = format!("HTTP/1.1 {} {}\r\nDate: ", fixed.status, phrase(fixed.status)).into_bytes();
    text.extend_from_slice(&client.worker.date());
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(fixed.lines.as_bytes());
    if let Some((kind, _)) = &error {
        text.extend_from_slice(format!("Content-Type: {kind}\r\nX-Request-Id: {id}\r\n").as_bytes());
    }
    if let Some(ruled) = &request.ruled {
        text.extend_from_slice(ruled.response_lines());
    }
    // These have no content and no length (RFC 9110 §8.6).
    let has_content = !matches!(fixed.status, 204 | 304);
    if has_content {
        text.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    text.extend_from_slice(match (stays, request.http10) {
        (Stays::Yes, false) => b"\r\n",
        (Stays::Yes, true) => b"Connection: keep-alive\r\n\r\n",
        (Stays::No, _) => b"Connection: close\r\n\r\n",
    });
    if has_content && request.method != Method::Head {
        text.extend_from_slice(body);
    }
    text
}
