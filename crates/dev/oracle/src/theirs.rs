//! hyper's reading of the same bytes, over a connection that lies in memory.

use std::{
    cell::{Cell, RefCell},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use evenkeel_http1::Method;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, body::Incoming, header::HeaderValue, rt, service::service_fn};

use crate::course::{Course, End, Message};

/// How often a future is asked before it counts as stuck; each byte takes few turns.
const PATIENCE: usize = 100_000;

/// A connection whose other side sends everything and then ends.
struct Script {
    input: Vec<u8>,
    at: usize,
    /// An answer comes only behind a request: hyper takes an earlier one for nobody's.
    speaks: bool,
}

impl rt::Read for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.speaks {
            return Poll::Pending;
        }
        let length = (self.input.len() - self.at).min(buffer.remaining());
        buffer.put_slice(&self.input[self.at..self.at + length]);
        self.at += length;
        Poll::Ready(Ok(()))
    }
}

impl rt::Write for Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.speaks = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Asks a future again and again: nothing in memory ever makes it wait for somebody else.
fn run<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    (0..PATIENCE).find_map(|_| match future.as_mut().poll(&mut context) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    })
}

/// hyper as a server.
pub(crate) fn requests(stream: &[u8]) -> Course {
    let seen: Rc<RefCell<Vec<Message>>> = Rc::default();
    let script = Script { input: stream.to_vec(), at: 0, speaks: true };
    let known = Rc::clone(&seen);
    let service = service_fn(move |request: Request<Incoming>| {
        let known = Rc::clone(&known);
        async move {
            let start = format!("{} {}", request.method(), target(&request));
            let content = request.into_body().collect().await?.to_bytes().to_vec();
            known.borrow_mut().push(Message { start, content });
            Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.half_close(true).header_read_timeout(None);
    let end = match run(server.serve_connection(script, service)) {
        Some(Ok(())) => End::Clean,
        Some(Err(error)) if error.is_incomplete_message() => End::Within,
        Some(Err(_)) | None => End::Refused,
    };
    let messages = std::mem::take(&mut *seen.borrow_mut());
    // It ends a connection of its own accord, and does not say whether bytes were left then.
    let end = if end == End::Clean { End::Over } else { end };
    Course { messages, end }
}

/// Path and query of the target.
fn target(request: &Request<Incoming>) -> String {
    request.uri().path_and_query().map_or_else(String::new, ToString::to_string)
}

/// hyper as a client that asked with `method`.
pub(crate) fn answer(stream: &[u8], method: Method) -> Course {
    let script = Script { input: stream.to_vec(), at: 0, speaks: false };
    let name = if method == Method::Head { hyper::Method::HEAD } else { hyper::Method::GET };
    let status_came = Cell::new(0);
    let conversation = async {
        let (mut sender, connection) =
            hyper::client::conn::http1::Builder::new().handshake::<_, Empty<Bytes>>(script).await?;
        let asked = async {
            let mut request = Request::new(Empty::new());
            *request.method_mut() = name;
            request.headers_mut().insert(hyper::header::HOST, HeaderValue::from_static("a"));
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            status_came.set(status);
            let content = response.into_body().collect().await?.to_bytes().to_vec();
            Ok::<_, hyper::Error>((status, content))
        };
        let (mut asked, mut connection) = (pin!(asked), pin!(connection));
        std::future::poll_fn(move |context| {
            if let Poll::Ready(done) = asked.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            // Its own end shows in what was asked.
            let _ = connection.as_mut().poll(context);
            asked.as_mut().poll(context)
        })
        .await
    };
    match run(conversation) {
        // hyper takes content in 205, where we and milo take none.
        Some(Ok((205, content))) if !content.is_empty() => Course::new(End::Refused),
        Some(Err(_)) | None if status_came.get() == 205 => Course::new(End::Refused),
        Some(Ok((status, content))) => {
            Course { messages: vec![Message { start: status.to_string(), content }], end: End::Over }
        }
        Some(Err(error)) if error.is_incomplete_message() => Course::new(End::Within),
        Some(Err(_)) | None => Course::new(End::Refused),
    }
}
