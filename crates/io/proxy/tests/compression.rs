//! Content that is compressed as it passes, however it comes and however slowly it is taken.
//!
//! Which answers are compressed is shown by `guards`; here each is, and what counts is that all of it arrives, at once.
#![allow(clippy::unwrap_used, reason = "these are tests; what fails here names itself")]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Mutex, mpsc},
};

use support::{
    Peer, Plane,
    both::{BOTH, Over},
    field,
    http2::{self, run},
    noise, server,
};

const ROUTE: &str = "[[route]]\ncompress = { min_bytes = 1, types = [\"text/\"] }\n";

const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];

/// Most that the data plane reads at once.
const READ_AT_ONCE: usize = 64 * 1024;

/// How a server says where its content ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
    Close,
}

const FRAMINGS: [Framing; 3] = [Framing::Length, Framing::Chunked, Framing::Close];

/// What a server does next.
enum Act {
    Say(Vec<u8>),
    /// The answer is over.
    Next,
    /// So is the connection.
    Close,
}

/// A server that does what the test says, when it says so.
struct Stage {
    address: SocketAddr,
    acts: mpsc::Sender<Act>,
}

impl Stage {
    fn new() -> Self {
        let (acts, script) = mpsc::channel();
        let script = Mutex::new(script);
        let address = server(move |mut peer| {
            while peer.head().is_some() {
                loop {
                    let act = script.lock().unwrap().recv();
                    match act {
                        Ok(Act::Say(bytes)) => peer.stream.write_all(&bytes).unwrap(),
                        Ok(Act::Next) => break,
                        Ok(Act::Close) | Err(_) => return,
                    }
                }
            }
        });
        Self { address, acts }
    }

    fn act(&self, act: Act) {
        self.acts.send(act).unwrap();
    }

    fn say(&self, bytes: &[u8]) {
        self.act(Act::Say(bytes.to_vec()));
    }

    fn end(&self, framing: Framing) {
        self.act(match framing {
            Framing::Length | Framing::Chunked => Act::Next,
            Framing::Close => Act::Close,
        });
    }
}

fn head(framing: Framing, length: usize) -> Vec<u8> {
    let framed = match framing {
        Framing::Length => format!("Content-Length: {length}\r\n"),
        Framing::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        Framing::Close => "Connection: close\r\n".to_owned(),
    };
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{framed}\r\n").into_bytes()
}

/// The content as it goes over the wire, in chunks of at most so many bytes; beside each byte whether it is content.
fn framed(framing: Framing, content: &[u8], chunk: usize) -> Vec<(u8, bool)> {
    let mut wire = Vec::new();
    let mut put = |bytes: &[u8], is_content| wire.extend(bytes.iter().map(|&byte| (byte, is_content)));
    match framing {
        Framing::Length | Framing::Close => put(content, true),
        Framing::Chunked => {
            for part in content.chunks(chunk) {
                put(format!("{:x}\r\n", part.len()).as_bytes(), false);
                put(part, true);
                put(b"\r\n", false);
            }
            put(b"0\r\n\r\n", false);
        }
    }
    wire
}

fn bytes(wire: &[(u8, bool)]) -> Vec<u8> {
    wire.iter().map(|&(byte, _)| byte).collect()
}

fn content_in(wire: &[(u8, bool)]) -> usize {
    wire.iter().filter(|(_, is_content)| *is_content).count()
}

/// As much as can be decoded of what came so far.
fn decoded(coding: &str, coded: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let _ = match coding {
        "gzip" => flate2::read::GzDecoder::new(coded).read_to_end(&mut plain),
        "br" => brotli::Decompressor::new(coded, 4096).read_to_end(&mut plain),
        _ => zstd::stream::read::Decoder::new(coded).unwrap().read_to_end(&mut plain),
    };
    plain
}

/// The content of chunks as far as they are whole; whether the last has come, and what is behind it.
fn unchunked(mut bytes: &[u8]) -> (Vec<u8>, Option<&[u8]>) {
    let mut content = Vec::new();
    while let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") {
        let line = std::str::from_utf8(&bytes[..end]).unwrap_or("not a chunk");
        let size = usize::from_str_radix(line, 16).unwrap_or_else(|_| panic!("a chunk begins with {line:?}"));
        let Some(data) = bytes.get(end + 2..end + 2 + size) else { break };
        let Some(rest) = bytes.get(end + 4 + size..) else { break };
        content.extend_from_slice(data);
        bytes = rest;
        if size == 0 {
            return (content, Some(bytes));
        }
    }
    (content, None)
}

/// A client that reads an answer as it comes.
enum Client {
    Http1(Peer),
    Http2(tokio::runtime::Runtime, http2::Client, Option<h2::RecvStream>),
}

/// What a client has of an answer.
struct Had {
    coding: &'static str,
    coded: Vec<u8>,
    over: bool,
}

impl Client {
    fn new(plane: &Plane, over: Over) -> Self {
        match over {
            Over::Http1 => Self::Http1(Peer::new(TcpStream::connect(plane.address()).unwrap())),
            Over::Http2 => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let client = runtime.block_on(http2::Client::connect(plane.address()));
                Self::Http2(runtime, client, None)
            }
        }
    }

    fn ask(&mut self, coding: &'static str) {
        match self {
            Self::Http1(peer) => {
                let text = format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n");
                peer.stream.write_all(text.as_bytes()).unwrap();
            }
            Self::Http2(..) => {}
        }
    }

    /// Asks, lets the server say the head, and waits for it.
    fn begin(&mut self, coding: &'static str, say: impl FnOnce()) -> Had {
        self.ask(coding);
        match self {
            Self::Http1(peer) => {
                say();
                let head = peer.head().expect("a head");
                assert_eq!(field(&head, "content-encoding"), Some(coding));
            }
            Self::Http2(runtime, client, stream) => {
                let request = http::Request::get("http://a/").header("accept-encoding", coding);
                let answer = runtime.block_on(async {
                    let asked = client.begin(request.body(()).unwrap(), true).await;
                    say();
                    tokio::time::timeout(support::PATIENCE, asked.0).await.expect("a head").unwrap()
                });
                assert_eq!(answer.headers()["content-encoding"], coding);
                *stream = Some(answer.into_body());
            }
        }
        Had { coding, coded: Vec::new(), over: false }
    }

    /// Reads once more.
    fn more(&mut self, had: &mut Had) {
        match self {
            Self::Http1(peer) => {
                let (content, rest) = unchunked(&peer.held);
                if content.len() == had.coded.len() && rest.is_none() {
                    return assert!(peer.more(), "nothing more of the answer in time, or the end within it");
                }
                had.coded = content;
                if let Some(rest) = rest {
                    had.over = true;
                    peer.held = rest.to_vec();
                }
            }
            Self::Http2(runtime, _, stream) => {
                let stream = stream.as_mut().expect("an answer");
                let data = runtime.block_on(async {
                    tokio::time::timeout(support::PATIENCE, stream.data()).await.expect("more of the answer")
                });
                match data {
                    None => had.over = true,
                    Some(data) => {
                        let data = data.unwrap();
                        stream.flow_control().release_capacity(data.len()).unwrap();
                        had.coded.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    /// Reads until so much of `content` has come, and checks that it is that.
    fn read_until(&mut self, had: &mut Had, content: &[u8]) {
        loop {
            let plain = decoded(had.coding, &had.coded);
            assert!(content.starts_with(&plain), "something else came after {} bytes", plain.len());
            if plain.len() == content.len() {
                return;
            }
            assert!(!had.over, "the answer ended after {} bytes of {}", plain.len(), content.len());
            self.more(had);
        }
    }

    /// Reads to the end, which must be that of `content`.
    fn finish(&mut self, mut had: Had, content: &[u8]) {
        while !had.over {
            self.more(&mut had);
        }
        self.read_until(&mut had, content);
    }
}

fn page(length: usize) -> Vec<u8> {
    (0..).flat_map(|line: u32| format!("<p>line {line} of a page</p>").into_bytes()).take(length).collect()
}

/// Long content used to be spliced past the encoder, when little enough of it came with the head.
#[test]
fn what_comes_after_the_head_is_compressed_whatever_its_length() {
    let stage = Stage::new();
    let plane = Plane::http(&[stage.address], "", ROUTE);
    for over in BOTH {
        for framing in FRAMINGS {
            for (coding, length) in CODINGS.into_iter().zip([300_000, 40_000, 100_000]) {
                let content = page(length);
                let mut client = Client::new(&plane, over);
                for _ in 0..2 {
                    let had = client.begin(coding, || stage.say(&head(framing, length)));
                    stage.say(&bytes(&framed(framing, &content, 10_000)));
                    stage.end(framing);
                    client.finish(had, &content);
                    if framing == Framing::Close {
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn an_answer_that_is_cut_anywhere_arrives_as_far_as_it_came_and_then_whole() {
    let stage = Stage::new();
    let plane = Plane::http(&[stage.address], "", ROUTE);
    let content = page(120);
    for over in BOTH {
        for framing in FRAMINGS {
            let mut client = Client::new(&plane, over);
            let wire = framed(framing, &content, 50);
            for cut in 0..=wire.len() {
                let coding = CODINGS[cut % 3];
                let (first, second) = wire.split_at(cut);
                let begun = [head(framing, content.len()), bytes(first)].concat();
                let mut had = client.begin(coding, || stage.say(&begun));
                client.read_until(&mut had, &content[..content_in(first)]);
                stage.say(&bytes(second));
                stage.end(framing);
                client.finish(had, &content);
                if framing == Framing::Close && over == Over::Http1 {
                    client = Client::new(&plane, over);
                }
            }
            // Each byte by itself, none before the one in front of it has been read.
            let mut had = client.begin("gzip", || stage.say(&head(framing, content.len())));
            for (at, byte) in wire.iter().enumerate() {
                stage.say(&[byte.0]);
                client.read_until(&mut had, &content[..content_in(&wire[..=at])]);
            }
            stage.end(framing);
            client.finish(had, &content);
        }
    }
}

/// A read that fills the buffer does not tell whether the server pauses; the one after it does.
#[test]
fn pieces_that_fill_a_read_to_the_last_byte_are_not_held_back() {
    const ROUNDS: usize = 12;
    let stage = Stage::new();
    let plane = Plane::http(&[stage.address], "", ROUTE);
    for over in BOTH {
        for coding in CODINGS {
            let content = page(ROUNDS * READ_AT_ONCE);
            let mut client = Client::new(&plane, over);
            let mut had = client.begin(coding, || stage.say(&head(Framing::Length, content.len())));
            for (at, piece) in content.chunks(READ_AT_ONCE).enumerate() {
                stage.say(piece);
                client.read_until(&mut had, &content[..(at + 1) * READ_AT_ONCE]);
            }
            stage.end(Framing::Length);
            client.finish(had, &content);
        }
    }
}

/// What the encoder makes of noise is longer than the noise, and a client with hardly any room takes it in its own time.
#[test]
fn a_client_without_room_gets_all_that_the_encoder_made() {
    let stage = Stage::new();
    let plane = Plane::http(&[stage.address], "", ROUTE);
    let content = noise(400_000);
    for framing in FRAMINGS {
        for coding in CODINGS {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_recv_buffer_size(2048).unwrap();
            socket.connect(&plane.address().into()).unwrap();
            let mut client = Client::Http1(Peer::new(socket.into()));
            let had = client.begin(coding, || stage.say(&head(framing, content.len())));
            stage.say(&bytes(&framed(framing, &content, 70_000)));
            stage.end(framing);
            let Client::Http1(peer) = &mut client else { unreachable!("it speaks HTTP/1.1") };
            while unchunked(&peer.held).1.is_none() {
                assert!(peer.more(), "nothing more of the answer in time, or the end within it");
            }
            client.finish(had, &content);
        }
    }
    run(async {
        for (framing, coding) in FRAMINGS.into_iter().zip(CODINGS) {
            let stream = tokio::net::TcpStream::connect(plane.address()).await.unwrap();
            let mut builder = h2::client::Builder::new();
            let (requests, connection) =
                builder.initial_window_size(777).handshake::<_, bytes::Bytes>(stream).await.unwrap();
            let ended = tokio::spawn(connection);
            let mut client = http2::Client { requests, ended };
            stage.say(&head(framing, 20_000));
            stage.say(&bytes(&framed(framing, &content[..20_000], 7000)));
            stage.end(framing);
            let mut request = http2::request("GET", "/");
            request.headers_mut().insert("accept-encoding", coding.parse().unwrap());
            let answer = client.ask(request).await.unwrap();
            assert!(decoded(coding, &answer.body) == content[..20_000], "{framing:?} {coding}");
        }
    });
}
