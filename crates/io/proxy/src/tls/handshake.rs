//! The handshake: from a connection to one that speaks TLS, under a deadline.
//!
//! Owns: waiting for the other side, and the reason why a handshake failed. Leaves to others: what is agreed on
//! (`front`, `back`). Invariant: every handshake ends in a session or in exactly one reason that is counted.

use std::{io, rc::Rc, task::Poll};

use rustls::{AlertDescription, CertificateError, Error};

use crate::{
    net::{
        socket::Socket,
        sweep::{Expired, Watch},
    },
    tls::{
        session::{PlainHttp, Progress, Session, Side},
        turnstile::Turnstile,
    },
};

/// Why a handshake came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unshaken {
    /// For counting.
    pub(crate) reason: Reason,
    /// In words.
    pub(crate) words: String,
}

/// Why a handshake came to nothing, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Not over in time.
    Timeout,
    /// The other side closed the connection or lost it.
    Closed,
    /// The client spoke HTTP without TLS.
    PlainHttp,
    /// What came was not TLS, or broke its rules.
    Malformed,
    /// No version, cipher, key exchange or signature that both sides speak.
    Incompatible,
    /// No protocol on top that both sides speak (RFC 7301 §3.2).
    Protocol,
    /// The name that was asked for has no certificate here.
    UnknownName,
    /// The other side's certificate is missing.
    NoCertificate,
    /// The other side's certificate has expired or is not valid yet.
    Expired,
    /// The other side's certificate is for another name.
    WrongName,
    /// Nobody who is trusted signed the other side's certificate.
    UnknownIssuer,
    /// The other side's certificate is no good for another cause.
    BadCertificate,
    /// The other side refused our certificate or what we offered.
    Refused,
    /// A fault of this side.
    Ours,
}

impl Reason {
    /// All reasons, in the order in which they are counted.
    pub(crate) const ALL: [Self; 14] = [
        Self::Timeout,
        Self::Closed,
        Self::PlainHttp,
        Self::Malformed,
        Self::Incompatible,
        Self::Protocol,
        Self::UnknownName,
        Self::NoCertificate,
        Self::Expired,
        Self::WrongName,
        Self::UnknownIssuer,
        Self::BadCertificate,
        Self::Refused,
        Self::Ours,
    ];

    /// The reason as metrics name it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::PlainHttp => "plain_http",
            Self::Malformed => "malformed",
            Self::Incompatible => "incompatible",
            Self::Protocol => "protocol",
            Self::UnknownName => "unknown_name",
            Self::NoCertificate => "no_certificate",
            Self::Expired => "expired",
            Self::WrongName => "wrong_name",
            Self::UnknownIssuer => "unknown_issuer",
            Self::BadCertificate => "bad_certificate",
            Self::Refused => "refused",
            Self::Ours => "internal",
        }
    }

    fn of(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(fault) => match fault {
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Expired,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::WrongName
                }
                CertificateError::UnknownIssuer => Self::UnknownIssuer,
                _ => Self::BadCertificate,
            },
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::PeerIncompatible(_) | Error::UnsupportedNameType => Self::Incompatible,
            Error::NoApplicationProtocol => Self::Protocol,
            Error::AlertReceived(AlertDescription::CloseNotify | AlertDescription::UserCanceled) => {
                Self::Closed
            }
            Error::AlertReceived(_) => Self::Refused,
            error if is_unknown_name(error) => Self::UnknownName,
            Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::InvalidMessage(_)
            | Error::PeerMisbehaved(_)
            | Error::DecryptError
            | Error::PeerSentOversizedRecord => Self::Malformed,
            _ => Self::Ours,
        }
    }
}

/// What rustls says when our resolver gives it no certificate.
const NO_CERTIFICATE: &str = "no server certificate chain resolved";

/// Whether a session ends because no certificate has the name that the client asked for.
pub(crate) fn is_unknown_name(error: &Error) -> bool {
    matches!(error, Error::General(words) if words == NO_CERTIFICATE)
}

impl Unshaken {
    fn of(error: &io::Error) -> Self {
        let inner = error.get_ref();
        if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<Error>()) {
            let reason = Reason::of(error);
            let words = match reason {
                Reason::UnknownName => "no certificate has the name that was asked for".to_owned(),
                _ => error.to_string(),
            };
            return Self { reason, words };
        }
        let reason = match inner {
            Some(inner) if inner.is::<PlainHttp>() => Reason::PlainHttp,
            Some(_) => Reason::Malformed,
            None => Reason::Closed,
        };
        let words = match reason {
            Reason::Closed => "the connection ended within the TLS handshake".to_owned(),
            _ => error.to_string(),
        };
        Self { reason, words }
    }
}

/// Makes a connection one that speaks TLS, before the deadline of `watch`; what costs much waits for its turn at the
/// turnstile, where there is one.
///
/// # Errors
/// The reason; the connection is of no more use then, but for an answer in plain text.
pub(crate) async fn shake(
    socket: &mut Socket,
    side: Side,
    watch: &Watch,
    turnstile: Option<&Rc<Turnstile>>,
) -> Result<(), Unshaken> {
    let mut session = Session::new(side);
    // A client waits for nobody before it begins.
    if turnstile.is_some() {
        wait(&mut session, socket, watch).await?;
    }
    loop {
        if let Some(turnstile) = turnstile {
            watch.guard(turnstile.pass()).await.map_err(|Expired| late())?;
        }
        match session.shake(socket.wire()) {
            Ok(Progress::Traffic) => break,
            Ok(Progress::Handshake) => {}
            Err(error) => return Err(Unshaken::of(&error)),
        }
        wait(&mut session, socket, watch).await?;
    }
    socket.encrypt(session);
    Ok(())
}

/// Waits until there is more from the other side.
async fn wait(session: &mut Session, socket: &Socket, watch: &Watch) -> Result<(), Unshaken> {
    let waited = std::future::poll_fn(|context| match session.poll_readable(socket.wire(), context) {
        Poll::Ready(()) => Poll::Ready(Ok(())),
        Poll::Pending => watch.poll_expired(context).map(Err),
    });
    waited.await.map_err(|Expired| late())
}

fn late() -> Unshaken {
    Unshaken { reason: Reason::Timeout, words: "the TLS handshake was not over in time".to_owned() }
}
