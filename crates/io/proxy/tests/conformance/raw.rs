//! A server that keeps every byte it gets, and a data plane in front of it that adds nothing.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use crate::support::{Client, Peer, Plane, config, eventually, server};

/// What the server does with the next requests.
#[derive(Clone)]
struct Script {
    answer: Vec<u8>,
    closes: bool,
}

/// What the server has seen.
#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Vec<u8>>>,
    /// What came on connections that ended within a request.
    cut: Mutex<Vec<Vec<u8>>>,
    connections: AtomicUsize,
}

/// A data plane before a server of this kind.
pub(crate) struct Wire {
    pub(crate) plane: Plane,
    seen: Arc<Seen>,
    script: Arc<Mutex<Script>>,
}

/// The answer unless a test wants another.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n\r\nok";

impl Wire {
    /// Nothing is told to the server but what the client said.
    pub(crate) fn plain() -> Self {
        Self::forwarding("fields = []")
    }

    /// With these lines in `[listener.forward]`.
    pub(crate) fn forwarding(lines: &str) -> Self {
        Self::with(lines, "")
    }

    /// With these lines in `[listener.forward]`, and these tables before all others.
    pub(crate) fn with(forward: &str, rest: &str) -> Self {
        let seen = Arc::new(Seen::default());
        let script = Arc::new(Mutex::new(Script { answer: OK.into(), closes: false }));
        let (known, play) = (Arc::clone(&seen), Arc::clone(&script));
        let address = server(move |peer| serve(peer.stream, &known, &play));
        let text = config("http", &[address], "", rest).replace(
            "pool = \"app\"\n[[pool]]",
            &format!("pool = \"app\"\n[listener.forward]\n{forward}\n[[pool]]"),
        );
        let wire = Self { plane: Plane::start(&text, 1), seen, script };
        // The health check's connections are none of ours.
        eventually("a health check", || (wire.seen.connections.load(SeqCst) > 0).then_some(()));
        wire
    }

    /// From now on the server answers so, and keeps its connection.
    pub(crate) fn answers(&self, answer: &str) {
        *self.script.lock().unwrap() = Script { answer: answer.into(), closes: false };
    }

    /// From now on the server answers so, and closes.
    pub(crate) fn answers_and_closes(&self, answer: &str) {
        *self.script.lock().unwrap() = Script { answer: answer.into(), closes: true };
    }

    /// The whole requests that came since the last look.
    pub(crate) fn requests(&self) -> Vec<String> {
        let requests = std::mem::take(&mut *self.seen.requests.lock().unwrap());
        requests.into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    }

    /// What came of requests that were cut off since the last look; waits for one.
    pub(crate) fn cut(&self) -> Vec<u8> {
        eventually("a request that is cut off", || self.seen.cut.lock().unwrap().pop())
    }

    /// Connections to the server so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(SeqCst)
    }

    pub(crate) fn client(&self) -> Client {
        self.plane.client()
    }

    /// Sends `request` on a connection of its own, and takes as many bytes as `expected` has; the connection with them.
    pub(crate) fn exchange(&self, request: &str, expected: usize) -> (Client, String) {
        let mut client = self.client();
        client.send(request.as_bytes());
        let bytes = client.0.take(expected);
        (client, String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Whether `client` can ask once more; `false` when its connection has ended.
pub(crate) fn stays(client: &mut Client) -> bool {
    let Peer { stream, held } = &mut client.0;
    assert!(held.is_empty(), "bytes behind the answer: {:?}", String::from_utf8_lossy(held));
    // The connection may end before or after this is written.
    let _ = stream.write_all(b"GET /again HTTP/1.1\r\nHost: a\r\n\r\n");
    client.0.head().is_some_and(|head| head.starts_with("HTTP/1.1 200 "))
}

fn serve(mut stream: TcpStream, seen: &Seen, script: &Mutex<Script>) {
    seen.connections.fetch_add(1, SeqCst);
    let mut held = Vec::new();
    loop {
        let mut piece = [0; 16 << 10];
        match stream.read(&mut piece) {
            Ok(length) if length > 0 => held.extend_from_slice(&piece[..length]),
            _ => break,
        }
        if is_whole(&held) {
            seen.requests.lock().unwrap().push(std::mem::take(&mut held));
            let script = script.lock().unwrap().clone();
            if stream.write_all(&script.answer).is_err() || script.closes {
                return;
            }
        }
    }
    if !held.is_empty() {
        seen.cut.lock().unwrap().push(held);
    }
}

/// Whether this is one request with all its content, as far as the requests of these tests need to be understood.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, content)) = text.split_once("\r\n\r\n") else { return false };
    let head = head.to_ascii_lowercase();
    if head.contains("\r\ntransfer-encoding: chunked") {
        return (content.starts_with("0\r\n") || content.contains("\r\n0\r\n"))
            && content.ends_with("\r\n\r\n");
    }
    let length = head.split("\r\ncontent-length:").nth(1).and_then(|rest| rest.lines().next());
    length.is_none_or(|length| content.len() >= length.trim().parse().unwrap())
}
