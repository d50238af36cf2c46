//! A crowd: connections that have had one answer each and then stay, as browsers' do.
//!
//! Owns: holding them open from many addresses of the loopback, so that the ports of one do not run out, in processes of
//! their own, so that the descriptors of one do not; and telling in the end how many are still open. Leaves to `rounds`
//! what the proxy needs for them.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Socket, Type};

use crate::origin::SMALL;

/// Connections of one process: below the 20,000 descriptors that some machines end at.
const PER_PROCESS: u32 = 18_000;

/// Addresses that the connections come from. 100,000 connections make 400 for each, far below a default limit on
/// connections of one client.
const SOURCES: u32 = 250;

/// Longest that one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections that are held by processes of this program.
pub(crate) struct Crowd {
    holders: Vec<Holder>,
}

struct Holder {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    connections: u32,
}

impl Crowd {
    /// Opens the connections, one answer each, and returns when all are idle.
    ///
    /// # Errors
    /// When a single one of them is not answered.
    pub(crate) fn open(address: SocketAddr, connections: u32, core: usize) -> Result<Self> {
        let mut crowd = Self { holders: Vec::new() };
        let mut left = connections;
        while left > 0 {
            let share = left.min(PER_PROCESS);
            let mut holder = Holder::start(address, share, core)?;
            let said = holder.line()?;
            ensure!(said == format!("held {share}"), "{share} idle connections could not be opened: {said}");
            crowd.holders.push(holder);
            left -= share;
        }
        Ok(crowd)
    }

    /// Ends the crowd, and gives the number of connections that the proxy had kept open until now.
    ///
    /// # Errors
    /// When a holder does not tell.
    pub(crate) fn close(mut self) -> Result<u32> {
        let mut open = 0;
        for holder in &mut self.holders {
            drop(holder.input.take());
            let said = holder.line()?;
            let count = said.strip_prefix("open ").and_then(|count| count.parse::<u32>().ok());
            open += count.with_context(|| format!("a holder of connections said `{said}`"))?;
        }
        Ok(open)
    }
}

impl Holder {
    fn start(address: SocketAddr, connections: u32, core: usize) -> Result<Self> {
        let program = env::current_exe().context("cannot find this program")?;
        let mut child = Command::new("taskset")
            .args(["--cpu-list", &core.to_string()])
            .arg(program)
            .args(["crowd", &format!("--address={address}"), &format!("--connections={connections}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a holder of connections")?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("no output of a holder of connections")?);
        Ok(Self { child, input, output, connections })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .with_context(|| format!("the holder of {} ended", self.connections))?;
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.input.take());
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Opens connections, says so, and holds them until the standard input ends.
///
/// # Errors
/// When one of them is not answered.
pub(crate) fn hold(address: SocketAddr, connections: u32) -> Result<()> {
    let mut held = Vec::new();
    for number in 0..connections {
        let stream = visit(address, source(number));
        held.push(stream.with_context(|| format!("connection {number} of {connections}"))?);
    }
    println!("held {connections}");
    io::stdin().read_to_end(&mut Vec::new())?;
    println!("open {}", held.iter().filter(|stream| is_open(stream)).count());
    Ok(())
}

const fn source(number: u32) -> Ipv4Addr {
    let [.., last] = (number % SOURCES + 1).to_be_bytes();
    Ipv4Addr::new(127, 0, 1, last)
}

/// Connects from an address, asks once, and reads the whole answer.
fn visit(address: SocketAddr, source: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(IpAddr::V4(source), 0).into())?;
    socket.connect(&address.into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /1k HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    let mut answer = Vec::with_capacity(SMALL + 512);
    let mut piece = [0; 4 << 10];
    while !answer.ends_with(&[b'x'; SMALL]) {
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => answer.extend_from_slice(&piece[..length]),
        }
    }
    if answer.starts_with(b"HTTP/1.1 200 ") { Ok(stream) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Whether nothing has come since the answer, the end included.
fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).is_ok()
        && matches!(stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_connection_that_the_other_side_closed_is_not_open() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert!(is_open(&client));
        drop(server);
        client.set_nonblocking(false).unwrap();
        client.peek(&mut [0]).unwrap();
        assert!(!is_open(&client));
    }

    #[test]
    fn connections_come_from_many_addresses() {
        assert_eq!(source(0), Ipv4Addr::new(127, 0, 1, 1));
        assert_eq!(source(249), Ipv4Addr::new(127, 0, 1, 250));
        assert_eq!(source(250), source(0));
    }
}
