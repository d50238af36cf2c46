//! A client that speaks HTTP/1.1, whose request goes to a server that speaks HTTP/2.
//!
//! Owns: the client's side of the exchange: where the content of its request comes from, and how the answer is framed
//! for it. Invariant: as in `http1::exchange`, bytes behind the request's end stay with the client (I9).

use std::{
    cell::Cell,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use evenkeel_http1::{Framing, Onward, ResponseHead};
use evenkeel_http2::Asked;
use http::HeaderMap;

use crate::{
    client::Client,
    forward::{
        self, Ended, Exchange,
        flow::{Answering, Closed, Ending, Sink},
        socket::{Frames, SocketSink, SocketSource},
        websocket,
    },
    http1::{
        answer,
        content::Content,
        exchange::{self, After},
        request::Request,
    },
    pool::PoolState,
    route::compress::Travel,
};

/// What a client is told whose WebSocket has no key, or a bad one.
const BAD_KEY: &str = "Sec-WebSocket-Key is missing, repeated or malformed";

/// Serves one request.
pub(crate) async fn run(client: &mut Client, mut request: Request, pool: &Rc<PoolState>) -> After {
    let early = std::mem::take(&mut client.carry);
    let watch = Rc::clone(&client.watch);
    let limit = client.listening.settings().limits.request_body_bytes.0;
    let received = Cell::new(0);
    let (keep_alive, http10) = (request.keep_alive, request.http10);
    let content = std::mem::replace(&mut request.content, Content::Done);
    let asked = if request.upgrade && content.is_done() { Asked::WebSocket } else { Asked::Request };
    let (content, accept) = match asked {
        Asked::Request => (content, None),
        Asked::WebSocket => match websocket::accept_of(&request.bytes) {
            Some(accept) => (Content::UntilClose, Some(accept)),
            None => return exchange::own(client, &request, 400, BAD_KEY).await,
        },
    };
    let has_content = !content.is_done();
    let mut up = SocketSource::new(&client.socket, content, limit, &received).after(early);
    let down = Down {
        client,
        sink: SocketSink::new(&client.socket, Frames::Plain, Vec::new()),
        keep_alive,
        http10,
        // What is known before the answer of how the connection goes on.
        onward: None,
        accept,
    };
    let mut exchange =
        Exchange { client, watch: &watch, request, up: has_content.then_some(&mut up), down, asked };
    let ended = forward::over_http2(&mut exchange, pool).await;
    exchange.request.received += received.get();
    let Exchange { request, down, .. } = exchange;
    let onward = down.onward;
    let refused = asked == Asked::WebSocket && onward != Some(Onward::Upgrade);
    // Of a WebSocket that did not come about nothing was read.
    let all_read = up.is_finished() || refused;
    let surplus = up.into_surplus();
    client.carry = surplus;
    match ended {
        Ended::Served if all_read && matches!(onward, Some(Onward::Stay | Onward::StayHttp10)) => {
            After::Next(client.worker.clock.now())
        }
        Ended::Served => {
            if !all_read || onward.is_some_and(|onward| request.ends_early(onward)) {
                Box::pin(answer::linger(client)).await;
            }
            After::Close
        }
        Ended::Refused(status, reason) => exchange::own(client, &request, status, &reason).await,
        Ended::Cut => {
            client.socket.reset_on_close();
            After::Close
        }
        // What its route answers by itself was said before.
        Ended::Gone | Ended::Ruled(_) => After::Close,
    }
}

/// The client's side of an answer.
struct Down<'a> {
    client: &'a Client,
    sink: SocketSink<'a>,
    keep_alive: bool,
    http10: bool,
    onward: Option<Onward>,
    /// The answer to the key of a WebSocket.
    accept: Option<String>,
}

impl Down<'_> {
    fn onward_after(&self, framing: Framing) -> Onward {
        if self.http10 && framing == Framing::Chunked {
            return Onward::Http10;
        }
        match self.keep_alive && !self.client.listening.is_draining() {
            true if self.http10 => Onward::StayHttp10,
            true => Onward::Stay,
            false => Onward::Close,
        }
    }
}

impl Sink for Down<'_> {
    fn poll_room(&mut self, context: &mut Context<'_>, want: usize) -> Poll<Result<usize, Closed>> {
        self.sink.poll_room(context, want)
    }

    fn release_room(&mut self) {}

    fn push(&mut self, bytes: Bytes, ending: Ending) -> Result<(), Closed> {
        self.sink.push(bytes, ending)
    }

    fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), Closed> {
        self.sink.finish(trailers)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.sink.poll_flush(context)
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.sink.poll_gone(context)
    }
}

impl Answering for Down<'_> {
    fn onward(&self, head: &ResponseHead) -> Onward {
        self.onward_after(head.framing)
    }

    fn travel(&self) -> Travel {
        Travel::Chunks
    }

    fn interim(&mut self, _: u16, text: &[u8]) -> Result<(), Closed> {
        // A client of HTTP/1.0 knows no interim answers (RFC 9110 §15.2).
        if self.http10 { Ok(()) } else { self.sink.write(text) }
    }

    fn begin(&mut self, _: u16, framing: Framing, text: &[u8], _: Ending) -> Result<(), Closed> {
        let onward = self.onward_after(framing);
        self.onward = Some(onward);
        let chunked = framing == Framing::Chunked && onward != Onward::Http10;
        self.sink.set_frames(if chunked { Frames::Chunks } else { Frames::Plain });
        self.sink.write(text)
    }

    fn open_tunnel(&mut self, text: &[u8]) -> Result<u16, Closed> {
        self.onward = Some(Onward::Upgrade);
        self.sink.set_frames(Frames::Tunnel);
        let mut out = Vec::new();
        websocket::write_switching(text, self.accept.as_deref().unwrap_or_default(), &mut out);
        self.sink.write(&out).map(|()| 101)
    }

    fn has_begun(&self) -> bool {
        self.onward.is_some()
    }
}
