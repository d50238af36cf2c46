//! A line of the access log.
//!
//! Owns: what a line tells and how it is written, as JSON (RFC 8259) or as text. Leaves to others: where
//! lines go. Invariant: a line is one line of ASCII, whatever bytes a client sent.

use std::{
    fmt::{self, Write as _},
    net::SocketAddr,
    time::Duration,
};

use evenkeel_units::WallTime;

/// A moment of the calendar in microseconds, written as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The second.
    pub second: WallTime,
    /// Microseconds within it, 0 to 999,999.
    pub micros: u32,
}

impl Moment {
    /// The moment that lies `since_epoch` after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_unix(since_epoch: Duration) -> Self {
        let second = WallTime::from_unix_seconds(since_epoch.as_secs());
        Self { second, micros: since_epoch.subsec_micros() }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let second = self.second.to_string();
        write!(f, "{}.{:06}Z", second.trim_end_matches('Z'), self.micros)
    }
}

/// One exchange, or one connection in mode `tcp`: who asked for what, who answered, how it ended, how long
/// each phase took.
#[derive(Debug, Clone, Copy)]
pub struct AccessRecord<'a> {
    /// When it ended.
    pub at: Moment,
    /// The identity that the client was told.
    pub request_id: &'a str,
    /// The listener's name.
    pub listener: &'a str,
    /// Who asked.
    pub client: SocketAddr,
    /// The method; empty where there is none.
    pub method: &'a [u8],
    /// The request target as it was sent; empty where there is none.
    pub target: &'a [u8],
    /// The host that was asked for; empty where there is none.
    pub host: &'a [u8],
    /// What the client spoke, such as `HTTP/1.1` or `tcp`.
    pub protocol: &'a str,
    /// The version of TLS and the cipher suite with the client; `None` without TLS.
    pub tls: Option<(&'a str, &'a str)>,
    /// The client's Referer field; empty where there is none.
    pub referer: &'a [u8],
    /// The client's User-Agent field; empty where there is none.
    pub user_agent: &'a [u8],
    /// The identity of the trace that it belongs to (W3C Trace Context §3.2.2.3); empty where there is none.
    pub trace_id: &'a [u8],
    /// The status that the client got; `None` when it got none.
    pub status: Option<u16>,
    /// Bytes that came from the client.
    pub received_bytes: u64,
    /// Bytes that went to the client.
    pub sent_bytes: u64,
    /// The pool's name.
    pub pool: &'a str,
    /// The name of the route; `None` where the request met the conditions of none.
    pub route: Option<&'a str>,
    /// The name of the server that answered, or failed last; `None` when none was asked.
    pub server: Option<&'a str>,
    /// Servers that were asked.
    pub tries: u8,
    /// How it ended, in a word such as `done` or `server_refused`.
    pub end: &'a str,
    /// What kept servers from answering, in a word such as `refused` or `source_ports_exhausted`; `None` when one did.
    pub cause: Option<&'a str>,
    /// Why nobody else was asked after the last failure, in a word such as `attempts` or `budget`.
    pub retries_ended: Option<&'a str>,
    /// Time in the queue.
    pub queued: Duration,
    /// From asking for a server's connection to having it; zero for one that was kept.
    pub connected: Duration,
    /// From the request sent to the head of the answer; `None` when there was no answer.
    pub answered: Option<Duration>,
    /// From the first byte of the request to the last of the answer.
    pub total: Duration,
}

impl AccessRecord<'_> {
    /// Writes the line as one JSON object, with a line end.
    pub fn write_json(&self, line: &mut String) {
        let mut object = Object::new(line);
        object.text("time", &self.at);
        object.bytes("request_id", self.request_id.as_bytes());
        object.bytes("listener", self.listener.as_bytes());
        object.text("client", &self.client);
        for (key, value) in [("method", self.method), ("target", self.target), ("host", self.host)] {
            if !value.is_empty() {
                object.bytes(key, value);
            }
        }
        object.bytes("protocol", self.protocol.as_bytes());
        if let Some((version, cipher)) = self.tls {
            object.bytes("tls_version", version.as_bytes());
            object.bytes("tls_cipher", cipher.as_bytes());
        }
        let fields =
            [("referer", self.referer), ("user_agent", self.user_agent), ("trace_id", self.trace_id)];
        for (key, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            object.bytes(key, value);
        }
        object.optional("status", self.status);
        object.number("received_bytes", self.received_bytes);
        object.number("sent_bytes", self.sent_bytes);
        if let Some(route) = self.route {
            object.bytes("route", route.as_bytes());
        }
        object.bytes("pool", self.pool.as_bytes());
        if let Some(server) = self.server {
            object.bytes("server", server.as_bytes());
        }
        object.number("tries", self.tries);
        object.bytes("end", self.end.as_bytes());
        for (key, value) in [("cause", self.cause), ("retries_ended", self.retries_ended)] {
            if let Some(value) = value {
                object.bytes(key, value.as_bytes());
            }
        }
        object.number("queued_us", self.queued.as_micros());
        object.number("connected_us", self.connected.as_micros());
        object.optional("answered_us", self.answered.map(|time| time.as_micros()));
        object.number("total_us", self.total.as_micros());
        line.push_str("}\n");
    }

    /// Writes the line in the form that Apache httpd and nginx call combined, with a line end.
    ///
    /// Differs from theirs: the bytes are those of the whole answer, head included, and the time is in UTC.
    pub fn write_combined(&self, line: &mut String) {
        let _ = write!(line, "{} - - [{}] \"", self.client.ip().to_canonical(), Common(self.at));
        if self.method.is_empty() {
            line.push('-');
        } else {
            push_escaped(line, self.method, Quoting::Quoted);
            line.push(' ');
            push_escaped(line, self.target, Quoting::Quoted);
            let _ = write!(line, " {}", self.protocol);
        }
        let _ = write!(line, "\" {} {}", self.status.unwrap_or(0), self.sent_bytes);
        for field in [self.referer, self.user_agent] {
            line.push_str(" \"");
            push_escaped(line, if field.is_empty() { b"-" } else { field }, Quoting::Quoted);
            line.push('"');
        }
        line.push('\n');
    }

    /// Writes the line for people: client, request and status first, then `key=value`, with a line end.
    pub fn write_text(&self, line: &mut String) {
        let _ = write!(line, "{} {} ", self.at, self.client);
        for (part, instead) in [(self.method, "-"), (self.target, "-")] {
            push_escaped(line, if part.is_empty() { instead.as_bytes() } else { part }, Quoting::Bare);
            line.push(' ');
        }
        match self.status {
            Some(status) => drop(write!(line, "{status}")),
            None => line.push('-'),
        }
        let _ = write!(line, " received={} sent={}", self.received_bytes, self.sent_bytes);
        let _ = write!(line, " listener={} route={}", self.listener, self.route.unwrap_or("-"));
        let _ = write!(line, " pool={}", self.pool);
        let _ = write!(line, " server={} tries={} end=\"", self.server.unwrap_or("-"), self.tries);
        push_escaped(line, self.end.as_bytes(), Quoting::Quoted);
        line.push('"');
        for (key, value) in [("cause", self.cause), ("retries_ended", self.retries_ended)] {
            if let Some(value) = value {
                let _ = write!(line, " {key}={value}");
            }
        }
        let _ =
            write!(line, " queued={}us connected={}us", self.queued.as_micros(), self.connected.as_micros());
        if let Some(answered) = self.answered {
            let _ = write!(line, " answered={}us", answered.as_micros());
        }
        let _ = writeln!(line, " total={}us id={}", self.total.as_micros(), self.request_id);
    }
}

/// A moment as logs of web servers write it, such as `22/Nov/2026:16:19:59 +0000`.
struct Common(Moment);

impl fmt::Display for Common {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        // RFC 3339: 2026-11-22T16:19:59Z.
        let text = self.0.second.to_string();
        let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        let month = part(5, 7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1)));
        let (day, year, time) = (part(8, 10), part(0, 4), part(11, 19));
        write!(f, "{day}/{}/{year}:{time} +0000", month.copied().unwrap_or("-"))
    }
}

/// A JSON object in the making; its end is the caller's to write.
struct Object<'a> {
    line: &'a mut String,
    before: char,
}

impl<'a> Object<'a> {
    fn new(line: &'a mut String) -> Self {
        Self { line, before: '{' }
    }

    fn key(&mut self, key: &str) {
        let _ = write!(self.line, "{}\"{key}\":", self.before);
        self.before = ',';
    }

    fn number(&mut self, key: &str, number: impl fmt::Display) {
        self.key(key);
        let _ = write!(self.line, "{number}");
    }

    fn optional(&mut self, key: &str, number: Option<impl fmt::Display>) {
        if let Some(number) = number {
            self.number(key, number);
        }
    }

    /// A text of our own making, which needs no escaping.
    fn text(&mut self, key: &str, text: &impl fmt::Display) {
        self.key(key);
        let _ = write!(self.line, "\"{text}\"");
    }

    fn bytes(&mut self, key: &str, bytes: &[u8]) {
        self.key(key);
        self.line.push('"');
        push_escaped(self.line, bytes, Quoting::Json);
        self.line.push('"');
    }
}

/// Where escaped bytes stand.
#[derive(Clone, Copy)]
enum Quoting {
    /// In a JSON string: other bytes as `\u00XX`, which reads back as the character of that number.
    Json,
    /// Between quotes of a web server's log: other bytes, quotes and backslashes as `\xXX`.
    Quoted,
    /// As a word of a line: other bytes, and blanks, as `%XX` (RFC 3986 §2.1).
    Bare,
}

fn push_escaped(line: &mut String, bytes: &[u8], quoting: Quoting) {
    for &byte in bytes {
        match (quoting, byte) {
            (Quoting::Json, b'"' | b'\\') => {
                line.push('\\');
                line.push(char::from(byte));
            }
            (Quoting::Quoted, b'"' | b'\\') => drop(write!(line, "\\x{byte:02X}")),
            (Quoting::Json | Quoting::Quoted, b' ')
            | (Quoting::Json | Quoting::Quoted | Quoting::Bare, b'!'..=b'~') => {
                line.push(char::from(byte));
            }
            (Quoting::Quoted, _) => drop(write!(line, "\\x{byte:02X}")),
            (Quoting::Json, _) => drop(write!(line, "\\u{byte:04x}")),
            (Quoting::Bare, _) => drop(write!(line, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> AccessRecord<'static> {
        AccessRecord {
            at: Moment::from_unix(Duration::new(1_795_364_399, 5_000)),
            request_id: "7f3a",
            listener: "web",
            client: ([192, 0, 2, 7], 40_000).into(),
            method: b"GET",
            target: b"/exam?q=\"\\\xff\n",
            host: b"exam.example",
            protocol: "HTTP/1.1",
            tls: Some(("TLSv1.3", "TLS13_AES_128_GCM_SHA256")),
            referer: b"",
            user_agent: b"Mozilla/5.0 \"x\"",
            trace_id: b"4bf92f3577b34da6a3ce929d0e0e4736",
            status: Some(200),
            received_bytes: 120,
            sent_bytes: 2048,
            route: Some("exams"),
            pool: "app",
            server: Some("app1"),
            tries: 1,
            cause: None,
            retries_ended: None,
            end: "done",
            queued: Duration::ZERO,
            connected: Duration::from_micros(180),
            answered: Some(Duration::from_micros(2500)),
            total: Duration::from_micros(3000),
        }
    }

    #[test]
    fn a_line_is_one_json_object_whatever_the_client_sent() {
        let mut line = String::new();
        record().write_json(&mut line);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.is_ascii());
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["time"], "2026-11-22T16:19:59.000005Z");
        assert_eq!(object["target"], "/exam?q=\"\\\u{ff}\n");
        assert_eq!(object["status"], 200);
        assert_eq!(object["answered_us"], 2500);
        assert_eq!(object["server"], "app1");
        assert_eq!(object["tls_version"], "TLSv1.3");
        assert_eq!(object["user_agent"], "Mozilla/5.0 \"x\"");
        assert!(object.get("referer").is_none());
    }

    #[test]
    fn a_combined_line_is_read_by_what_reads_those_of_web_servers_and_cannot_be_forged() {
        let mut line = String::new();
        let forged = b"/a\" 200 1\n203.0.113.9 - - [x] \"GET /b";
        AccessRecord { target: forged, ..record() }.write_combined(&mut line);
        assert_eq!(
            line,
            "192.0.2.7 - - [22/Nov/2026:16:19:59 +0000] \"GET /a\\x22 200 1\\x0A203.0.113.9 - - [x] \\x22GET /b \
             HTTP/1.1\" 200 2048 \"-\" \"Mozilla/5.0 \\x22x\\x22\"\n"
        );
    }

    #[test]
    fn what_there_was_not_is_not_told() {
        let mut line = String::new();
        let tcp: &[u8] = b"";
        let record =
            AccessRecord { method: tcp, target: tcp, host: tcp, status: None, server: None, ..record() };
        record.write_json(&mut line);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        for key in ["method", "target", "host", "status", "server"] {
            assert!(object.get(key).is_none(), "{key}");
        }
    }

    #[test]
    fn a_line_for_people_cannot_be_forged_by_a_client() {
        let mut line = String::new();
        AccessRecord { target: b"/a 200\n\x1b[2J", ..record() }.write_text(&mut line);
        assert_eq!(
            line,
            "2026-11-22T16:19:59.000005Z 192.0.2.7:40000 GET /a%20200%0A%1B[2J 200 received=120 sent=2048 listener=web \
             route=exams pool=app server=app1 tries=1 end=\"done\" queued=0us connected=180us answered=2500us total=3000us id=7f3a\n"
        );
    }
}
