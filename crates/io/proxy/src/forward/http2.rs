//! A server that speaks HTTP/2.
//!
//! Owns: sending it a request on a stream and reading its answer. Invariants: an answer is judged as the text that it would
//! be in HTTP/1.1 (I9); a request that the server says it did not work on may be sent again, whatever it asks for
//! (RFC 9113 §8.7).

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use evenkeel_balance::{Failure, Tried};
use evenkeel_http1::{Framing, Method, Parsed, ResponseHead, parse_response, write_response};
use evenkeel_http2::{Asked, Content as Says};
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture};

use crate::{
    forward::{
        Exchange, Failed, Progress, Served, both,
        coded::Coded,
        flow::{self, Answering, Closed, Ending, Source, StreamSink, StreamSource},
        hedge::Hedged,
        midway, websocket,
    },
    http1::{
        self,
        exchange::Broken,
        request::{ClientFault, Request},
    },
    http2::fields,
    net::sweep::{Phase, Watch},
    pool::{Lease, deadline, links::Linked},
    route::{self, compress::Travel},
};

/// Longest text of an answer's head: fields are spelled out, which HPACK does not count.
const MAX_HEAD_TEXT: usize = 64 * 1024;

/// A request that was sent, whose answer is awaited; dropped before that, its stream is reset.
pub(super) struct Told {
    pub(super) response: ResponseFuture,
    stream: SendStream<Bytes>,
}

/// Sends the head of a request, and `last` says that there is nothing else of it.
pub(super) async fn send(
    linked: &Linked,
    request: &Request,
    (scheme, asked): (&'static str, Asked),
    last: bool,
) -> Result<Told, Failed> {
    let mut requests = linked.requests();
    let head = match asked {
        Asked::Request => fields::request(&request.bytes, scheme),
        // The server's SETTINGS have come, else the connection would not be open.
        Asked::WebSocket if !requests.is_extended_connect_protocol_enabled() => {
            return Err(Failed::NoWebSockets);
        }
        Asked::WebSocket => fields::websocket(&request.bytes, scheme),
    };
    // What passed the rules of HTTP/1.1 and could still not be said in HTTP/2 is refused as malformed.
    let head = head.ok_or(Failed::Unsayable)?;
    let ready = std::future::poll_fn(|context| requests.poll_ready(context));
    let sent = match ready.await {
        Ok(()) => requests.send_request(head, last),
        Err(error) => Err(error),
    };
    let (response, stream) = sent.map_err(|_| {
        linked.spend();
        Failed::Unprocessed
    })?;
    Ok(Told { response, stream })
}

/// Sends the request and brings the answer back.
pub(super) async fn converse<U: Source, D: Answering>(
    exchange: &mut Exchange<'_, U, D>,
    (lease, linked): (&mut Lease, &mut Linked),
    (scheme, tried): (&'static str, &Tried),
) -> Result<Served, Failed> {
    let Exchange { client, watch, request, up, down, asked, .. } = exchange;
    watch.rest();
    let mut told = send(linked, request, (scheme, *asked), up.is_none()).await?;
    let mut first = None;
    if up.is_none()
        && let Some(after) = http1::hedge::after(request, lease)
    {
        let patience = request.server_head(&client.listening.settings().deadlines);
        watch.set(Phase::Busy, deadline(client.worker.clock.now(), patience));
        let hedged = Hedged { client, request, watch, tried, scheme };
        // Boxed, for few requests are hedged.
        first = Box::pin(hedged.begin((lease, linked, &mut told), down, after)).await?;
    }
    let progress = Progress::new((client, lease), watch, request, (*asked, up.is_some()));
    let Told { response, stream } = told;
    let reader = Reader { progress: &progress, request, asked: *asked };
    if progress.uploaded.get() {
        if first.is_none() {
            progress.expect_head();
        }
        return reader.answer((response, first), down, linked).await;
    }
    progress.begin_upload();
    let mut sink = StreamSink::new(stream);
    let upload = async {
        match up {
            Some(up) => {
                progress.pass_gate().await;
                flow::pump(up, &mut sink, || progress.patience_up()).await.map(drop)
            }
            None => Ok(()),
        }
    };
    both(upload, reader.answer((response, first), down, linked), &progress).await
}

/// The next head of an answer, if it has come.
pub(super) fn poll_head(
    response: &mut ResponseFuture,
    linked: &Linked,
    context: &mut Context<'_>,
) -> Poll<Result<Head, Failed>> {
    if let Poll::Ready(Some(Ok(interim))) = response.poll_informational(context) {
        return Poll::Ready(Ok(Head::Interim(interim)));
    }
    Pin::new(response).poll(context).map(|last| last.map(Head::Last).map_err(|error| failure(&error, linked)))
}

/// Waits for the next head of an answer.
pub(super) async fn next_head<D: Answering>(
    response: &mut ResponseFuture,
    down: &mut D,
    (linked, watch): (&Linked, &Watch),
) -> Result<Head, Failed> {
    std::future::poll_fn(|context| {
        if let Poll::Ready(head) = poll_head(response, linked, context) {
            return Poll::Ready(head);
        }
        if down.poll_gone(context).is_ready() {
            return Poll::Ready(Err(Failed::Broken(Broken::Client(ClientFault::Gone))));
        }
        watch.poll_expired(context).map(|_| Err(Failed::Broken(Broken::Server(Failure::AnswerTimeout))))
    })
    .await
}

/// Reads the answer.
struct Reader<'a> {
    progress: &'a Progress<'a>,
    request: &'a Request,
    asked: Asked,
}

/// What came of an answer's head.
pub(super) enum Head {
    Interim(http::Response<()>),
    Last(http::Response<RecvStream>),
}

impl Reader<'_> {
    async fn answer<D: Answering>(
        &self,
        (mut response, mut first): (ResponseFuture, Option<Head>),
        down: &mut D,
        linked: &Linked,
    ) -> Result<Served, Failed> {
        let client = self.progress.client;
        let last = loop {
            let head = match first.take() {
                Some(head) => head,
                None => next_head(&mut response, down, (linked, self.progress.answer)).await?,
            };
            match head {
                Head::Interim(interim) => {
                    let (parts, ()) = interim.into_parts();
                    let (head, text) = self.judge(&parts, Says::Nothing)?;
                    let mut out = Vec::new();
                    write_response(
                        &head,
                        &text,
                        evenkeel_http1::Onward::Stay,
                        &client.worker.date(),
                        &mut out,
                    );
                    let gone = |Closed| Failed::Broken(Broken::Client(ClientFault::Gone));
                    down.interim(head.status, &out).map_err(gone)?;
                }
                Head::Last(last) => break last,
            }
        };
        let (parts, stream) = last.into_parts();
        let says = match (self.request.method, stream.is_end_stream()) {
            (Method::Head, _) => Says::Nothing,
            (_, true) => Says::Ended,
            (_, false) => Says::Follows,
        };
        let (head, text) = self.judge(&parts, says)?;
        if let (Asked::WebSocket, 200..300) = (self.asked, head.status) {
            return self.tunnel(&head, &text, stream, down).await;
        }
        if self.request.asks_again(head.status) {
            return Err(Failed::Broken(Broken::Unwanted(head.status)));
        }
        let mut out = Vec::new();
        let travel = down.travel();
        let (onward, date) = (down.onward(&head), client.worker.date());
        let filter =
            route::answer::write_head(self.request, (&head, &text), onward, (travel, &date), &mut out);
        // Where chunks are made by the filter nobody else makes them.
        let made = filter.is_some() && travel == Travel::Chunks;
        let framing = if made { Framing::UntilClose } else { head.framing };
        let ending =
            if stream.is_end_stream() || head.framing == Framing::None { Ending::Last } else { Ending::More };
        down.begin(head.status, framing, &out, ending).map_err(|Closed| Failed::Broken(Broken::Unread))?;
        let at = client.worker.clock.now();
        self.progress.head_has_come();
        let mut sent = out.len() as u64;
        if ending == Ending::More {
            let mut source = StreamSource::new(stream, u64::MAX);
            let patience = || self.progress.patience_down();
            let moved = match filter {
                None => flow::pump(&mut source, down, patience).await,
                Some(filter) => {
                    Box::pin(flow::pump(&mut Coded::new(&mut source, filter), down, patience)).await
                }
            };
            sent += moved.map_err(|stopped| Failed::Broken(midway(stopped)))?;
        } else {
            let flushed = flow::flush(down, self.progress.patience_down().sink).await;
            flushed.map_err(|_| Failed::Broken(Broken::Unread))?;
        }
        Ok(Served { status: head.status, keep: false, sent, at })
    }

    /// Carries a WebSocket's bytes to the client.
    async fn tunnel<D: Answering>(
        &self,
        head: &ResponseHead,
        text: &[u8],
        stream: RecvStream,
        down: &mut D,
    ) -> Result<Served, Failed> {
        let worker = &self.progress.client.worker;
        let (mut out, date) = (Vec::new(), worker.date());
        websocket::write_accepted(self.request, (head, text), &date, &mut out);
        let status = down.open_tunnel(&out).map_err(|Closed| Failed::Broken(Broken::Unread))?;
        let at = worker.clock.now();
        self.progress.head_has_come();
        self.progress.tunnel_stands();
        let mut source = StreamSource::new(stream, u64::MAX);
        let patience = || self.progress.patience_down();
        let moved = flow::pump(&mut source, down, patience).await;
        let sent = moved.map_err(|stopped| Failed::Broken(midway(stopped)))?;
        Ok(Served { status, keep: false, sent: sent + out.len() as u64, at })
    }

    /// The head as text, by the rules of HTTP/1.1.
    fn judge(&self, parts: &http::response::Parts, says: Says) -> Result<(ResponseHead, Vec<u8>), Failed> {
        let bad = Failed::Broken(Broken::Server(Failure::BadAnswer));
        let mut text = Vec::new();
        fields::write_answer_text(parts, says, &mut text).map_err(|_| bad)?;
        match parse_response(&text, MAX_HEAD_TEXT, self.request.method) {
            Ok(Parsed::Head(head)) => Ok((head, text)),
            Ok(Parsed::Partial) | Err(_) => Err(bad),
        }
    }
}

/// What a failed stream means.
fn failure(error: &h2::Error, linked: &Linked) -> Failed {
    if error.is_go_away() && error.is_remote() {
        // Only streams that the server did not look at end so (RFC 9113 §6.8).
        linked.spend();
        return Failed::Unprocessed;
    }
    if error.is_reset() && error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM) {
        return Failed::Refused;
    }
    let failure = if error.is_library() { Failure::BadAnswer } else { Failure::Closed };
    Failed::Broken(Broken::Server(failure))
}
