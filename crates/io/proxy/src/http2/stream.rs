//! One request of an HTTP/2 client: a stream (RFC 9113 §8.1).
//!
//! Owns: how a request is taken from a stream and an answer put on it. Leaves to others: who answers (`forward`).
//! Invariants: a request that is malformed reaches no server; a stream that cannot be answered whole is reset, so that a
//! cut answer never passes for a whole one.

use std::{
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use evenkeel_http1::{Framing, Method, Onward, Parsed, Received, ResponseHead, parse_request};
use evenkeel_http2::{Asked, Body, Room};
use h2::{Reason, RecvStream, server::SendResponse};
use http::HeaderMap;

use crate::{
    access_log::Event,
    client::Client,
    forward::{
        self, Ended, Exchange,
        flow::{Answering, Closed, Ending, Sink, StreamSink, StreamSource},
    },
    http1::{
        answer::{self, Own},
        exchange::in_time,
        request::{self, ClientFault, Request},
    },
    http2::{Shared, fields},
    net::{scratch, sweep::Watch},
    route::{
        self,
        compress::Travel,
        own::{Fixed, Stays},
    },
};

/// Takes a request in, and serves it in a task of its own; one that is refused needs none.
pub(crate) fn begin(
    shared: &Rc<Shared>,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let (parts, content) = request.into_parts();
    let body = if content.is_end_stream() { Body::None } else { Body::Follows };
    let client = shared.client();
    match take(client, &parts, body) {
        Ok(taken) => {
            let limit = client.listening.settings().limits.request_body_bytes.0;
            let up = match body {
                Body::None => None,
                Body::Follows => Some(StreamSource::new(content, limit)),
            };
            let served = serve(Rc::clone(shared), shared.begin(), taken, up, respond);
            // Boxed, for a task moves what it runs when that ends.
            tokio::task::spawn_local(Box::pin(served));
        }
        Err(Refused::Malformed) => {
            shared.line.reset_by_us();
            respond.send_reset(Reason::PROTOCOL_ERROR);
        }
        Err(Refused::Status(status, reason)) => {
            refuse_unread(client, &mut Down::new(shared, respond), status, &reason);
        }
    }
}

/// Serves one request.
async fn serve(
    shared: Rc<Shared>,
    watch: Rc<Watch>,
    Taken { request, asked }: Taken,
    up: Option<StreamSource>,
    respond: SendResponse<Bytes>,
) {
    let down = Down::new(&shared, respond);
    let mut exchange = Exchange { client: shared.client(), watch: &watch, request, up, down, asked };
    match forward::run(&mut exchange).await {
        // A stream on which nothing was said is reset by being forgotten.
        Ended::Served | Ended::Gone => {}
        Ended::Ruled(fixed) => answer_by_route(&mut exchange, &fixed),
        Ended::Refused(status, reason) => refuse(&mut exchange, status, &reason),
        Ended::Cut => exchange.down.reset(Reason::INTERNAL_ERROR),
    }
    drop(exchange);
    shared.end(watch);
}

/// Answers a request ourselves.
fn refuse<U>(exchange: &mut Exchange<'_, U, Down<'_>>, status: u16, reason: &str) {
    let client = exchange.client;
    let (status, reason) = in_time(client, &exchange.request, status, reason);
    let head_only = exchange.request.method == Method::Head;
    let own = Own { status, reason, head_only, request: Some(&exchange.request) };
    let id = exchange.down.send_own(&own);
    let total = client.worker.clock.now().since(exchange.request.started);
    client.listening.tally().took.record(total);
    client.log(&Event::refused(&id, Some(&exchange.request), status, reason, total));
}

/// Answers a request as its route does by itself.
fn answer_by_route<U>(exchange: &mut Exchange<'_, U, Down<'_>>, fixed: &Fixed) {
    let client = exchange.client;
    client.listening.tally().answered(fixed.status);
    let id = exchange.request.name(&client.worker);
    let text = route::own::whole(client, &exchange.request, fixed, (Stays::Yes, &id));
    exchange.down.send_whole(fixed.status, &text);
    let total = client.worker.clock.now().since(exchange.request.started);
    client.listening.tally().took.record(total);
    client.log(&Event::refused(&id, Some(&exchange.request), fixed.status, fixed.reason, total));
}

/// Answers a request whose head was refused.
fn refuse_unread(client: &Client, down: &mut Down<'_>, status: u16, reason: &str) {
    let id = down.send_own(&Own { status, reason, head_only: false, request: None });
    client.log(&Event::refused(&id, None, status, reason, Duration::ZERO));
}

/// A request out of a stream.
struct Taken {
    request: Request,
    asked: Asked,
}

/// Why there is none.
enum Refused {
    /// What came is no request.
    Malformed,
    /// It is answered with this status, for this reason.
    Status(u16, String),
}

/// Reads the head as the text that it would have been in HTTP/1.1, so that one set of rules holds for both.
fn take(client: &Client, parts: &http::request::Parts, body: Body) -> Result<Taken, Refused> {
    let mut text = scratch::take();
    let taken = take_text(client, parts, body, &mut text);
    scratch::give(text);
    taken
}

fn take_text(
    client: &Client,
    parts: &http::request::Parts,
    body: Body,
    text: &mut Vec<u8>,
) -> Result<Taken, Refused> {
    let is_connect = parts.method == http::Method::CONNECT;
    let key =
        if is_connect { forward::websocket::key(&client.worker) } else { [0; forward::websocket::KEY_BYTES] };
    let asked =
        fields::write_request_text(parts, body, &key, text).map_err(|error| match error.status() {
            Some(status) => Refused::Status(status, error.to_string()),
            None => Refused::Malformed,
        })?;
    let refused = |error: ClientFault| Refused::Status(error.status().unwrap_or(400), error.reason());
    // The text may be longer than what the client sent, for it spells out what HTTP/2 only implies.
    let head = match parse_request(text, client.head_limit(), client.peer())
        .map_err(|error| refused(ClientFault::Head(error)))?
    {
        Parsed::Head(head) => head,
        Parsed::Partial => return Err(Refused::Malformed),
    };
    let mut request = request::prepare(client, &head, text, Received::Http2).map_err(refused)?;
    if let Some(line) = &mut request.line {
        line.protocol = "HTTP/2.0";
    }
    Ok(Taken { request, asked })
}

/// The client's side of an answer.
pub(crate) struct Down<'a> {
    shared: &'a Shared,
    respond: SendResponse<Bytes>,
    stream: Option<StreamSink>,
    /// What the client's window has room for of the next piece.
    room: Room,
}

impl<'a> Down<'a> {
    const fn new(shared: &'a Shared, respond: SendResponse<Bytes>) -> Self {
        Self { shared, respond, stream: None, room: Room::Ample }
    }
}

impl Down<'_> {
    fn stream(&mut self) -> Result<&mut StreamSink, Closed> {
        self.stream.as_mut().ok_or(Closed)
    }

    /// Sends an answer of our own; its request id.
    fn send_own(&mut self, own: &Own<'_>) -> String {
        let client = self.shared.client();
        let id = own.request.map_or_else(|| client.worker.next_id(), |request| request.name(&client.worker));
        let tally = client.listening.tally();
        tally.answered(own.status);
        tally.refused(own.status);
        let text = answer::text(own, &id, &client.worker.date(), &client.listening.settings());
        self.send_whole(own.status, text.as_bytes());
        id
    }

    /// Sends an answer that is written out like one of HTTP/1.1.
    fn send_whole(&mut self, status: u16, text: &[u8]) {
        let end = text.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(text.len());
        let (head, body) = (&text[..end], text.get(end + 4..).unwrap_or_default());
        let ending = if body.is_empty() { Ending::Last } else { Ending::More };
        let begun = self.begin(status, Framing::Length(body.len() as u64), head, ending);
        if begun.is_ok() && ending == Ending::More {
            // A client that has gone needs no answer.
            let _ = self.push(Bytes::copy_from_slice(body), Ending::Last);
        }
    }

    fn reset(&mut self, reason: Reason) {
        match &mut self.stream {
            Some(stream) => stream.reset(reason),
            None => self.respond.send_reset(reason),
        }
    }
}

impl Sink for Down<'_> {
    fn poll_room(&mut self, context: &mut Context<'_>, want: usize) -> Poll<Result<usize, Closed>> {
        let room = ready!(self.stream()?.poll_room(context, want))?;
        self.room = if room < want { Room::Narrow } else { Room::Ample };
        Poll::Ready(Ok(room))
    }

    fn release_room(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.release_room();
        }
    }

    fn push(&mut self, bytes: Bytes, ending: Ending) -> Result<(), Closed> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let room = std::mem::replace(&mut self.room, Room::Ample);
        self.shared.line.tell_guard(|guard| guard.sent(length, room));
        self.stream()?.push(bytes, ending)
    }

    fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Closed> {
        self.stream()?.finish(trailers)
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        Poll::Ready(Ok(()))
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.stream {
            Some(stream) => stream.poll_gone(context),
            None => self.respond.poll_reset(context).map(drop),
        }
    }
}

impl Answering for Down<'_> {
    fn interim(&mut self, status: u16, text: &[u8]) -> Result<(), Closed> {
        let response = fields::answer(status, text).ok_or(Closed)?;
        self.respond.send_informational(response).map_err(|_| Closed)
    }

    fn travel(&self) -> Travel {
        Travel::Frames
    }

    fn onward(&self, _: &ResponseHead) -> Onward {
        Onward::Stay
    }

    fn begin(&mut self, status: u16, _: Framing, text: &[u8], ending: Ending) -> Result<(), Closed> {
        let response = fields::answer(status, text).ok_or(Closed)?;
        let stream = self.respond.send_response(response, ending == Ending::Last).map_err(|_| Closed)?;
        self.stream = Some(StreamSink::new(stream));
        self.shared.line.tell_guard(evenkeel_http2::Guard::answered);
        Ok(())
    }

    fn open_tunnel(&mut self, text: &[u8]) -> Result<u16, Closed> {
        self.begin(200, Framing::UntilClose, text, Ending::More).map(|()| 200)
    }

    fn has_begun(&self) -> bool {
        self.stream.is_some()
    }
}
