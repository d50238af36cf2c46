//! One TLS session over a wire, driven without waiting and without buffers of its own.
//!
//! Owns: turning what comes into records and those into bytes, and the way back. Leaves to others: what TLS is (rustls),
//! waiting (`net::socket`, `handshake`). Invariants: a session at rest holds no buffer; what was reported as written is
//! in the kernel, so a connection may be forgotten after its last write; bytes of a session that ended without the
//! sender's `close_notify` never pass for all of a server's answer.

use std::{
    cell::RefCell,
    io,
    task::{Context, Poll},
};

use rustls::{
    CommonState, HandshakeKind,
    client::UnbufferedClientConnection,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus},
};

use crate::{
    net::{scratch::SCRATCH_BYTES, socket::Read, wire::Wire},
    tls::names,
};

/// Most plaintext in a record (RFC 8446 §5.1).
const RECORD_BYTES: usize = 16 * 1024;

/// What a record adds to its plaintext at most: header 5, explicit nonce 8 and tag 16 in TLS 1.2, header 5, type 1 and
/// tag 16 in TLS 1.3; rounded up.
const RECORD_OVERHEAD: usize = 32;

/// Least room for what comes: a whole record, so that each read brings its end nearer.
const LEAST_ROOM: usize = RECORD_BYTES + 2048 + 5;

/// Room for what comes and is not decrypted yet: a long handshake message (rustls takes up to 64 KiB, in which a
/// client's certificates must fit) and a record behind it.
const INPUT_BYTES: usize = SCRATCH_BYTES + LEAST_ROOM;

/// Most plaintext encrypted for one write: four records, what a fresh connection's window takes.
const BURST: usize = 4 * RECORD_BYTES;

/// Room for what is encrypted at once, with a new key said before it (RFC 8446 §4.6.3: 27 bytes).
const OUTPUT_BYTES: usize = BURST + 5 * RECORD_OVERHEAD;

/// The buffers of a thread for records; used only between two waits.
struct Records {
    input: Box<[u8]>,
    output: Box<[u8]>,
}

thread_local! {
    static RECORDS: RefCell<Records> = RefCell::new(Records {
        input: vec![0; INPUT_BYTES].into_boxed_slice(),
        output: vec![0; OUTPUT_BYTES].into_boxed_slice(),
    });
}

/// A client spoke HTTP where TLS is spoken: no record begins with a capital letter (RFC 8446 §5.1).
#[derive(Debug, thiserror::Error)]
#[error("plain HTTP where TLS is spoken")]
pub(crate) struct PlainHttp;

/// Which side of a session this is.
pub(crate) enum Side {
    /// Ours is the certificate: the other side is a client.
    Server(UnbufferedServerConnection),
    /// The other side is a server.
    Client(UnbufferedClientConnection),
}

impl Side {
    fn common(&self) -> &CommonState {
        match self {
            Self::Server(connection) => connection,
            Self::Client(connection) => connection,
        }
    }
}

/// How far the other side has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Theirs {
    /// Bytes may come.
    Open,
    /// It said that it has sent all, or its connection ended where that is as good.
    Ended,
}

/// How far this side has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ours {
    /// Bytes may go.
    Open,
    /// All has gone and `close_notify` is on its way; then the wire is shut as well.
    Ending,
    /// Nothing more will go, and the other side is not to think that it has all.
    Cut,
    /// The other side knows that it has all.
    Ended,
}

/// A session.
pub(crate) struct Session {
    side: Side,
    /// The beginning of a record.
    incoming: Vec<u8>,
    /// What was decrypted and not taken yet.
    plain: Vec<u8>,
    /// Records that the wire had no room for.
    outgoing: Vec<u8>,
    /// Bytes of plaintext that are in `outgoing` and were not reported as written.
    pledged: usize,
    theirs: Theirs,
    ours: Ours,
    /// What servers are told of the other side's certificate; empty where none was asked for.
    pub(crate) told: Box<[u8]>,
    /// The name that the client asked for (RFC 6066 §3), where somebody is told of it.
    pub(crate) asked_name: Option<Box<str>>,
}

/// What working off records came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The handshake needs more from the other side.
    Handshake,
    /// Bytes may go and come.
    Traffic,
}

/// What rustls asked for.
enum Step {
    /// To be asked again.
    Again,
    /// More bytes.
    Blocked(Progress),
}

/// Where decrypted bytes go: to who reads, and what does not fit into the session.
struct Plain<'a> {
    buffer: &'a mut [u8],
    filled: usize,
    rest: &'a mut Vec<u8>,
}

impl Plain<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(self.buffer.len() - self.filled);
        self.buffer[self.filled..self.filled + fits].copy_from_slice(&bytes[..fits]);
        self.filled += fits;
        self.rest.extend_from_slice(&bytes[fits..]);
    }
}

impl Session {
    /// A session of which nothing has been said.
    pub(crate) fn new(side: Side) -> Self {
        Self {
            side,
            incoming: Vec::new(),
            plain: Vec::new(),
            outgoing: Vec::new(),
            pledged: 0,
            theirs: Theirs::Open,
            ours: Ours::Open,
            told: Box::default(),
            asked_name: None,
        }
    }

    /// What both sides agreed on, and the other side's certificates.
    pub(crate) fn common(&self) -> &CommonState {
        self.side.common()
    }

    /// Whether an earlier session was taken up again.
    pub(crate) fn is_resumed(&self) -> bool {
        self.common().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Whether bytes may be had without asking the wire.
    fn has_news(&self) -> bool {
        !self.plain.is_empty() || self.theirs == Theirs::Ended
    }

    /// Reads what is there.
    pub(crate) fn read(&mut self, wire: &Wire, buffer: &mut [u8]) -> io::Result<Read> {
        if !self.plain.is_empty() {
            return Ok(Read::Bytes(self.take_plain(buffer)));
        }
        if self.theirs == Theirs::Ended {
            return Ok(Read::End);
        }
        RECORDS.with_borrow_mut(|records| {
            let filled = self.receive(wire, &mut records.input, buffer)?;
            Ok(match (filled, self.theirs) {
                (0, Theirs::Ended) => Read::End,
                (0, Theirs::Open) => Read::Wait,
                (filled, Theirs::Ended | Theirs::Open) => Read::Bytes(filled),
            })
        })
    }

    fn take_plain(&mut self, buffer: &mut [u8]) -> usize {
        let length = self.plain.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.plain[..length]);
        self.plain.drain(..length);
        if self.plain.is_empty() {
            self.plain = Vec::new();
        }
        length
    }

    /// Receives once and decrypts what is whole; how many bytes went to `buffer`.
    fn receive(&mut self, wire: &Wire, input: &mut [u8], buffer: &mut [u8]) -> io::Result<usize> {
        let have = self.incoming.len();
        input[..have].copy_from_slice(&self.incoming);
        let room = buffer.len().clamp(LEAST_ROOM, SCRATCH_BYTES).min(input.len() - have);
        let came = match wire.read(&mut input[have..have + room])? {
            Read::Bytes(came) => came,
            Read::Wait => return Ok(0),
            Read::End => return self.wire_ended().map(|()| 0),
        };
        if self.common().is_handshaking() && input[0].is_ascii_uppercase() {
            return Err(io::Error::other(PlainHttp));
        }
        let mut rest = std::mem::take(&mut self.plain);
        let mut plain = Plain { buffer, filled: 0, rest: &mut rest };
        let worked = self.work(&mut input[..have + came], &mut plain);
        let filled = plain.filled;
        self.plain = rest;
        let used = match worked {
            Ok((used, _)) => used,
            Err(error) => return Err(self.fault(wire, error)),
        };
        self.incoming = input[used..have + came].to_vec();
        if self.incoming.len() > input.len() - LEAST_ROOM {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a handshake message without end"));
        }
        Ok(filled)
    }

    /// The wire has ended: for a server's bytes that is a cut, for many clients it is their only way to leave.
    fn wire_ended(&mut self) -> io::Result<()> {
        match &self.side {
            Side::Server(connection) if !connection.is_handshaking() && self.incoming.is_empty() => {
                self.theirs = Theirs::Ended;
                Ok(())
            }
            Side::Server(_) | Side::Client(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Tells the other side what is wrong with it, as far as there is room.
    fn fault(&mut self, wire: &Wire, error: rustls::Error) -> io::Error {
        self.say();
        let _ = self.flush(wire);
        self.ours = Ours::Cut;
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    /// Works off what came; how many bytes of it, and what is next.
    fn work(&mut self, input: &mut [u8], plain: &mut Plain<'_>) -> Result<(usize, Progress), rustls::Error> {
        let mut used = 0;
        loop {
            let input = &mut input[used..];
            let (discard, step) = match &mut self.side {
                Side::Server(connection) => {
                    let status = connection.process_tls_records(input);
                    step(status, plain, &mut self.outgoing, &mut self.theirs)
                }
                Side::Client(connection) => {
                    let status = connection.process_tls_records(input);
                    step(status, plain, &mut self.outgoing, &mut self.theirs)
                }
            };
            used += discard;
            if let Step::Blocked(progress) = step? {
                return Ok((used, progress));
            }
        }
    }

    /// Takes from rustls what it has to say of itself, such as an alert, without a look at what came: it gives that out
    /// before anything else.
    fn say(&mut self) {
        let mut rest = std::mem::take(&mut self.plain);
        let mut plain = Plain { buffer: &mut [], filled: 0, rest: &mut rest };
        while self.common().wants_write() {
            let _ = match &mut self.side {
                Side::Server(connection) => {
                    let status = connection.process_tls_records(&mut []);
                    step(status, &mut plain, &mut self.outgoing, &mut self.theirs)
                }
                Side::Client(connection) => {
                    let status = connection.process_tls_records(&mut []);
                    step(status, &mut plain, &mut self.outgoing, &mut self.theirs)
                }
            };
        }
        self.plain = rest;
    }

    /// Brings rustls to where it encrypts. It holds places in what it has seen of a message that is not whole, so it must
    /// see those bytes again whenever it looks for more.
    fn settle(&mut self) -> io::Result<Progress> {
        let (mut incoming, mut rest) = (std::mem::take(&mut self.incoming), std::mem::take(&mut self.plain));
        let mut plain = Plain { buffer: &mut [], filled: 0, rest: &mut rest };
        let worked = self.work(&mut incoming, &mut plain);
        self.plain = rest;
        let (used, progress) = worked.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        incoming.drain(..used);
        self.incoming = incoming;
        Ok(progress)
    }

    /// Goes on with the handshake as far as what has come allows.
    ///
    /// # Errors
    /// When the wire or the other side fails; a [`rustls::Error`] is inside where TLS was at fault.
    pub(crate) fn shake(&mut self, wire: &Wire) -> io::Result<Progress> {
        // A client speaks first.
        if matches!(&self.side, Side::Client(_)) && self.common().is_handshaking() && self.incoming.is_empty()
        {
            self.settle()?;
        }
        if self.common().is_handshaking() {
            self.flush(wire)?;
            // What a handshake left that failed is not this client's.
            drop(names::take_asked());
            RECORDS.with_borrow_mut(|records| self.receive(wire, &mut records.input, &mut []))?;
            if let Some(asked) = names::take_asked() {
                self.asked_name = Some(asked);
            }
        }
        if self.common().is_handshaking() {
            self.flush(wire)?;
            return Ok(Progress::Handshake);
        }
        Ok(Progress::Traffic)
    }

    /// Writes what there is room for, maybe nothing.
    pub(crate) fn write(&mut self, wire: &Wire, bytes: &[u8]) -> io::Result<usize> {
        if self.ours != Ours::Open {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.pledged > 0 {
            return Ok(if self.flush(wire)? {
                std::mem::take(&mut self.pledged).min(bytes.len())
            } else {
                0
            });
        }
        // Long control messages, which are rare, go by themselves.
        if self.outgoing.len() > RECORD_BYTES && !self.flush(wire)? {
            return Ok(0);
        }
        RECORDS.with_borrow_mut(|records| self.send(wire, &mut records.output, bytes))
    }

    /// Encrypts a part of `bytes` behind what waits already, and writes both at once.
    fn send(&mut self, wire: &Wire, output: &mut [u8], bytes: &[u8]) -> io::Result<usize> {
        if self.common().wants_write() {
            self.settle()?;
        }
        let before = self.outgoing.len();
        output[..before].copy_from_slice(&self.outgoing);
        let most = if before == 0 { BURST } else { BURST - 2 * RECORD_BYTES };
        let bytes = &bytes[..bytes.len().min(most)];
        let length = before + self.encrypt(bytes, &mut output[before..])?;
        // A new key that rustls began within the encryption stands behind `before`.
        let written = wire.write(&output[..length])?;
        if written == length {
            self.outgoing = Vec::new();
            return Ok(bytes.len());
        }
        let records = bytes.len().div_ceil(RECORD_BYTES).max(1);
        let overhead = (length - before).saturating_sub(bytes.len()).div_ceil(records);
        let gone = written.saturating_sub(before) / (RECORD_BYTES + overhead) * RECORD_BYTES;
        self.outgoing = output[written..length].to_vec();
        self.pledged = bytes.len() - gone;
        Ok(gone)
    }

    fn encrypt(&mut self, bytes: &[u8], output: &mut [u8]) -> io::Result<usize> {
        let incoming = &mut self.incoming[..];
        match &mut self.side {
            Side::Server(connection) => encrypt(connection.process_tls_records(incoming), bytes, output),
            Side::Client(connection) => encrypt(connection.process_tls_records(incoming), bytes, output),
        }
    }

    /// Writes the records that wait; whether all have gone.
    fn flush(&mut self, wire: &Wire) -> io::Result<bool> {
        if !self.outgoing.is_empty() {
            let written = wire.write(&self.outgoing)?;
            if written < self.outgoing.len() {
                self.outgoing.drain(..written);
                return Ok(false);
            }
            self.outgoing = Vec::new();
        }
        if self.ours == Ours::Ending {
            wire.shut_write();
            self.ours = Ours::Ended;
        }
        Ok(true)
    }

    /// Whether there may be something to read; what waits to be written goes first.
    pub(crate) fn poll_readable(&mut self, wire: &Wire, context: &mut Context<'_>) -> Poll<()> {
        if self.has_news() {
            return Poll::Ready(());
        }
        let _ = self.poll_flush(wire, context);
        wire.poll_readable(context)
    }

    /// Writes the records that wait, or wakes the task when there is room.
    pub(crate) fn poll_flush(&mut self, wire: &Wire, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // A write that failed has closed the wire, which who reads or writes next is told.
            match self.flush(wire) {
                Ok(true) => return Poll::Ready(Ok(())),
                Err(error) => {
                    self.outgoing = Vec::new();
                    self.ours = Ours::Cut;
                    return Poll::Ready(Err(error));
                }
                Ok(false) if wire.poll_writable(context).is_pending() => return Poll::Pending,
                Ok(false) => {}
            }
        }
    }

    /// Whether nothing has come but what TLS itself has to say, such as tickets.
    pub(crate) fn is_silent(&mut self, wire: &Wire) -> bool {
        // What waits to be written is written by who waits to read.
        if self.has_news() || !matches!(self.flush(wire), Ok(true)) {
            return false;
        }
        wire.is_silent() || matches!(self.read(wire, &mut [0]), Ok(Read::Wait))
    }

    /// Says that nothing more will be sent (RFC 8446 §6.1).
    pub(crate) fn shut_write(&mut self, wire: &Wire) {
        if self.ours != Ours::Open {
            return;
        }
        self.ours = Ours::Ending;
        // Where the other side has broken the rules there is nothing left to say.
        let _ = self.settle();
        let mut notify = [0; RECORD_OVERHEAD + 2];
        let incoming = &mut self.incoming[..];
        let length = match &mut self.side {
            Side::Server(connection) => close_notify(connection.process_tls_records(incoming), &mut notify),
            Side::Client(connection) => close_notify(connection.process_tls_records(incoming), &mut notify),
        };
        self.outgoing.extend_from_slice(&notify[..length]);
        // A wire that fails has told the other side enough.
        let _ = self.flush(wire);
    }

    /// From now on the connection's end is a cut.
    pub(crate) fn cut(&mut self) {
        self.ours = Ours::Cut;
    }

    /// The connection ends: says that all was sent, unless it was not.
    pub(crate) fn end(&mut self, wire: &Wire) {
        if self.ours == Ours::Open && self.pledged == 0 && !self.common().is_handshaking() {
            self.shut_write(wire);
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("theirs", &self.theirs)
            .field("ours", &self.ours)
            .finish_non_exhaustive()
    }
}

/// Does what rustls asks for; how many bytes it used.
fn step<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plain: &mut Plain<'_>,
    outgoing: &mut Vec<u8>,
    theirs: &mut Theirs,
) -> (usize, Result<Step, rustls::Error>) {
    let mut discard = status.discard;
    let step = match status.state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                None => break Ok(Step::Again),
                Some(Err(error)) => break Err(error),
                Some(Ok(record)) => {
                    discard += record.discard;
                    plain.put(record.payload);
                }
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            if let Err(EncodeError::InsufficientSize(needs)) = data.encode(&mut []) {
                let before = outgoing.len();
                outgoing.resize(before + needs.required_size, 0);
                let encoded = data.encode(&mut outgoing[before..]);
                debug_assert!(encoded.is_ok(), "the room was as asked for");
            }
            Ok(Step::Again)
        }
        // It is in `outgoing`, which leaves before anything that is encrypted later.
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::PeerClosed) => {
            *theirs = Theirs::Ended;
            Ok(Step::Again)
        }
        Ok(ConnectionState::Closed | ConnectionState::WriteTraffic(_)) => {
            Ok(Step::Blocked(Progress::Traffic))
        }
        // Early data is never granted, and rustls has no other states today.
        Ok(ConnectionState::BlockedHandshake | _) => Ok(Step::Blocked(Progress::Handshake)),
    };
    (discard, step)
}

/// Encrypts `bytes` into `output`, which has room for it. What came and is whole was worked off before, so that nothing is
/// discarded here.
fn encrypt<D>(status: UnbufferedStatus<'_, '_, D>, bytes: &[u8], output: &mut [u8]) -> io::Result<usize> {
    let exhausted = || io::Error::new(io::ErrorKind::BrokenPipe, "the session's key has been used up");
    match status.state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
        ConnectionState::WriteTraffic(mut traffic) => match traffic.encrypt(bytes, output) {
            Ok(length) => Ok(length),
            Err(EncryptError::InsufficientSize(_)) => Err(io::ErrorKind::InvalidInput.into()),
            Err(EncryptError::EncryptExhausted) => Err(exhausted()),
        },
        _ => Err(exhausted()),
    }
}

/// Encrypts the word that nothing more will come; how long it is.
fn close_notify<D>(status: UnbufferedStatus<'_, '_, D>, output: &mut [u8]) -> usize {
    match status.state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic.queue_close_notify(output).unwrap_or(0),
        Ok(_) | Err(_) => 0,
    }
}
