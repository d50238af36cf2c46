//! OCSP responses, as far as who staples them must understand them (RFC 6960 §4.2).
//!
//! Owns: what a response says of one certificate, and until when. Leaves to others: its signature, which clients verify.
//! Invariant: only a response that is about the certificate beside it and still holds is shown; a client that must have
//! one is better served by none than by one that is no longer true.

use x509_parser::{
    asn1_rs::{Any, FromDer as _},
    time::ASN1Time,
};

/// What is shown beside a certificate, or why nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The certificate is good.
    Good,
    /// The certificate was revoked; that is shown too, for clients have a right to know.
    Revoked,
    /// The authority does not know the certificate.
    Unknown,
    /// The response no longer holds.
    Expired,
    /// The response is about another certificate.
    OtherCertificate,
}

impl State {
    /// As the status page names it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::OtherCertificate => "other_certificate",
        }
    }

    /// What is wrong with a response in this state, behind "the OCSP response", and the remedy.
    pub(crate) const fn problem(self) -> Option<&'static str> {
        match self {
            Self::Good => None,
            Self::Revoked => Some("says that the certificate was revoked; have another issued"),
            Self::Unknown => Some("says that its authority does not know the certificate; fetch it again"),
            Self::Expired => Some("no longer holds; fetch it again"),
            Self::OtherCertificate => Some("is about another certificate; fetch the one for this"),
        }
    }

    /// Whether a response in this state is shown to clients.
    pub(crate) const fn is_shown(self) -> bool {
        match self {
            Self::Good | Self::Revoked => true,
            Self::Unknown | Self::Expired | Self::OtherCertificate => false,
        }
    }
}

/// What a response says of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Staple {
    pub(crate) state: State,
    /// When it ends to hold, in seconds since 1970; `None` when it does not say.
    pub(crate) until: Option<i64>,
}

impl Staple {
    /// Whether it was shown and by `now`, in seconds since 1970, must not be any more.
    pub(crate) fn has_ended(self, now: i64) -> bool {
        self.state.is_shown() && self.until.is_some_and(|until| until < now)
    }
}

/// Identifiers of DER (X.690 §8.1.2) that occur in a response.
const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;
const INTEGER: u8 = 0x02;
const ENUMERATED: u8 = 0x0a;
const OBJECT: u8 = 0x06;
const TIME: u8 = 0x18;
const CONTEXT_0: u8 = 0xa0;

/// `id-pkix-ocsp-basic`, the only type of response in use (RFC 6960 §4.2.1).
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

/// Most certificates that one response may tell of; stapled ones tell of one.
const MAX_TOLD: usize = 64;

/// What the response says at `now`, in seconds since 1970, of the certificate with this serial number as DER has it; `None`
/// when it is no successful response.
pub(crate) fn read(response: &[u8], serial: &[u8], now: i64) -> Option<Staple> {
    let mut other = None;
    let mut singles = singles(response)?;
    for _ in 0..MAX_TOLD {
        if singles.is_empty() {
            break;
        }
        let (single, rest) = take(singles, SEQUENCE)?;
        singles = rest;
        let (of, staple) = told(single)?;
        if of == serial {
            let expired = staple.until.is_some_and(|until| until < now);
            let state = if expired { State::Expired } else { staple.state };
            return Some(Staple { state, ..staple });
        }
        other = Some(Staple { state: State::OtherCertificate, ..staple });
    }
    other
}

/// All that the response tells of single certificates.
fn singles(response: &[u8]) -> Option<&[u8]> {
    let (response, behind) = take(response, SEQUENCE)?;
    let (status, response) = take(response, ENUMERATED)?;
    if !behind.is_empty() || status != [0] {
        return None;
    }
    let (bytes, _) = take(take(response, CONTEXT_0)?.0, SEQUENCE)?;
    let (kind, bytes) = take(bytes, OBJECT)?;
    if kind != BASIC {
        return None;
    }
    let (basic, _) = take(take(bytes, OCTETS)?.0, SEQUENCE)?;
    let (data, _) = take(basic, SEQUENCE)?;
    let (_version, data) = take(data, CONTEXT_0).unwrap_or((&[], data));
    let (_responder, data) = any(data)?;
    let (_made, data) = take(data, TIME)?;
    take(data, SEQUENCE).map(|(singles, _)| singles)
}

/// Of which serial number what is told.
fn told(single: &[u8]) -> Option<(&[u8], Staple)> {
    let (of, single) = take(single, SEQUENCE)?;
    let (_algorithm, of) = take(of, SEQUENCE)?;
    let (_name, of) = take(of, OCTETS)?;
    let (_key, of) = take(of, OCTETS)?;
    let (serial, _) = take(of, INTEGER)?;
    let state = match single.first()? & 0x1f {
        0 => State::Good,
        1 => State::Revoked,
        _ => State::Unknown,
    };
    let (_status, single) = any(single)?;
    let (_since, single) = take(single, TIME)?;
    let until = match take(single, CONTEXT_0) {
        Some((until, _)) => Some(ASN1Time::from_der(until).ok()?.1.timestamp()),
        None => None,
    };
    Some((serial, Staple { state, until }))
}

/// The value of the first element, which must begin with `identifier`, and what is behind it.
fn take(bytes: &[u8], identifier: u8) -> Option<(&[u8], &[u8])> {
    if *bytes.first()? == identifier { any(bytes) } else { None }
}

fn any(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (behind, element) = Any::from_der(bytes).ok()?;
    Some((element.data, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An element of DER.
    fn element(identifier: u8, parts: &[&[u8]]) -> Vec<u8> {
        let value = parts.concat();
        let length = match value.len() {
            short @ ..128 => vec![u8::try_from(short).unwrap()],
            long => vec![0x82, u8::try_from(long >> 8).unwrap(), u8::try_from(long & 0xff).unwrap()],
        };
        [vec![identifier], length, value].concat()
    }

    /// A response that tells this of a certificate with serial number 7.
    fn response(status: u8, said: &[u8], until: Option<&[u8]>) -> Vec<u8> {
        let of = element(
            SEQUENCE,
            &[
                &element(SEQUENCE, &[]),
                &element(OCTETS, &[&[1; 20]]),
                &element(OCTETS, &[&[2; 20]]),
                &element(INTEGER, &[&[7]]),
            ],
        );
        let since = element(TIME, &[b"20260101000000Z"]);
        let until = until.map(|until| element(CONTEXT_0, &[&element(TIME, &[until])])).unwrap_or_default();
        let single = element(SEQUENCE, &[&of, said, &since, &until]);
        let data = element(
            SEQUENCE,
            &[&element(0xa2, &[&element(OCTETS, &[&[3; 20]])]), &since, &element(SEQUENCE, &[&single])],
        );
        let basic = element(SEQUENCE, &[&data, &element(SEQUENCE, &[]), &element(0x03, &[&[0; 65]])]);
        let bytes = element(SEQUENCE, &[&element(OBJECT, &[BASIC]), &element(OCTETS, &[&basic])]);
        element(SEQUENCE, &[&element(ENUMERATED, &[&[status]]), &element(CONTEXT_0, &[&bytes])])
    }

    const GOOD: &[u8] = &[0x80, 0];

    #[test]
    fn a_response_says_of_its_certificate_whether_it_is_good_and_until_when() {
        // 2 January 2026 0:00.
        let until = 1_767_312_000;
        let revoked = element(0xa1, &[&element(TIME, &[b"20260101000000Z"])]);
        for (said, serial, now, state) in [
            (GOOD, &[7][..], until, State::Good),
            (GOOD, &[7], until + 1, State::Expired),
            (GOOD, &[8], until, State::OtherCertificate),
            (&revoked, &[7], until, State::Revoked),
            (&[0x82, 0], &[7], until, State::Unknown),
        ] {
            let bytes = response(0, said, Some(b"20260102000000Z"));
            assert_eq!(read(&bytes, serial, now), Some(Staple { state, until: Some(until) }));
        }
        assert_eq!(
            read(&response(0, GOOD, None), &[7], until),
            Some(Staple { state: State::Good, until: None })
        );
    }

    #[test]
    fn what_is_no_successful_response_says_nothing_and_no_cut_or_flipped_byte_panics() {
        assert_eq!(read(&response(6, GOOD, None), &[7], 0), None, "unauthorized");
        let bytes = response(0, GOOD, Some(b"20260102000000Z"));
        for at in 0..bytes.len() {
            assert_eq!(read(&bytes[..at], &[7], 0), None, "cut at {at}");
            for flip in [1, 0x80, 0xff] {
                let mut other = bytes.clone();
                other[at] ^= flip;
                let _ = read(&other, &[7], 0);
            }
        }
        assert_eq!(read(&[&bytes[..], b"x"].concat(), &[7], 0), None, "something behind it");
    }
}
