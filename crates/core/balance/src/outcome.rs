//! How a request to a server ended, and who is to blame.
//!
//! Invariant: only [`Outcome::Failed`] counts against a server.

/// How a request, or a connection in TCP mode, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The server answered, be it that the answer was no.
    Served,
    /// The server failed.
    Failed(Failure),
    /// The client left or broke the rules; nothing is known of the server.
    ClientGone,
    /// Another server answered first; this one was slow, which is no failure.
    Overtaken,
    /// We failed; nothing is known of the server.
    Local(LocalCause),
}

impl Outcome {
    /// What a complete answer with this status says of the server (RFC 9110 §15.6).
    ///
    /// 500, 502, 503 and 504 are failures. 501, 505 and the rest speak of the request.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            500 | 502 | 503 | 504 => Self::Failed(Failure::Status),
            _ => Self::Served,
        }
    }
}

/// How a server failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// It refused the connection: its process is gone (ECONNREFUSED).
    Refused,
    /// No way to it (EHOSTUNREACH, ENETUNREACH).
    Unreachable,
    /// The connection did not come about in time.
    ConnectTimeout,
    /// No TLS session came about: its certificate does not verify, or it speaks nothing that we do.
    Handshake,
    /// It closed or reset the connection before its answer was complete.
    Closed,
    /// Its answer did not come, or not go on, in time.
    AnswerTimeout,
    /// Its answer was not HTTP.
    BadAnswer,
    /// It answered 500, 502, 503 or 504.
    Status,
}

impl Failure {
    /// Every failure, in the order of an exchange.
    pub const ALL: [Self; 8] = [
        Self::Refused,
        Self::Unreachable,
        Self::ConnectTimeout,
        Self::Handshake,
        Self::Closed,
        Self::AnswerTimeout,
        Self::BadAnswer,
        Self::Status,
    ];

    /// A word for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect_timeout",
            Self::Handshake => "tls_handshake",
            Self::Closed => "closed",
            Self::AnswerTimeout => "answer_timeout",
            Self::BadAnswer => "bad_answer",
            Self::Status => "status",
        }
    }
}

/// How we failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LocalCause {
    /// No source port is left towards the server (EADDRNOTAVAIL).
    SourcePorts,
    /// No descriptor is left (EMFILE, ENFILE).
    Descriptors,
    /// No memory is left (ENOMEM, ENOBUFS).
    Memory,
    /// We are stopping.
    Stopping,
}

impl LocalCause {
    /// Every cause.
    pub const ALL: [Self; 4] = [Self::SourcePorts, Self::Descriptors, Self::Memory, Self::Stopping];

    /// A word for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SourcePorts => "source_ports_exhausted",
            Self::Descriptors => "descriptors",
            Self::Memory => "memory",
            Self::Stopping => "stopping",
        }
    }
}
