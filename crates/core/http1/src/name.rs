//! Field names by what they mean to a proxy.
//!
//! Owns: telling the few names that matter from all others, and from names that a server could take for one of them.
//! Leaves to others: what a field's value says. Invariant: a name is one of ours in any case of its letters, and a
//! disguise of ours is never taken for an unknown field.

/// Fields by what they mean to a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Passed on as it is.
    EndToEnd,
    Connection,
    /// Keep-Alive and Proxy-Connection: for one hop, and of no use to us.
    Hop,
    Te,
    Upgrade,
    ContentLength,
    TransferEncoding,
    Date,
    Via,
    /// A name that reads like a framing field to a server that takes `_` for `-`, as CGI and its heirs do.
    Disguise,
    /// What only means something in a request.
    Asked(Asked),
}

/// Fields that only mean something in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Host,
    ContentType,
    Expect,
    MaxForwards,
    RequestId,
    ForwardedProto,
    ForwardedHost,
    /// Forwarded, X-Forwarded-For, X-Forwarded-Port and X-Real-IP: believed or cut, but never looked into.
    Forwarded,
}

/// How a name compares to one of ours.
#[derive(PartialEq, Eq)]
enum Likeness {
    Same,
    /// The same but for `_` in the place of `-`.
    Disguised,
    Other,
}

/// What the name means.
pub(crate) fn kind(name: &str) -> Kind {
    let name = name.as_bytes();
    let is = |ours: &str| likeness(name, ours) == Likeness::Same;
    match name.len() {
        2 if is("te") => Kind::Te,
        3 if is("via") => Kind::Via,
        4 if is("host") => Kind::Asked(Asked::Host),
        4 if is("date") => Kind::Date,
        6 if is("expect") => Kind::Asked(Asked::Expect),
        7 if is("upgrade") => Kind::Upgrade,
        9 if is("forwarded") || reads_like(name, "x-real-ip") => Kind::Asked(Asked::Forwarded),
        10 if is("connection") => Kind::Connection,
        10 if is("keep-alive") => Kind::Hop,
        12 if is("content-type") => Kind::Asked(Asked::ContentType),
        12 if is("max-forwards") => Kind::Asked(Asked::MaxForwards),
        12 if reads_like(name, "x-request-id") => Kind::Asked(Asked::RequestId),
        14 => framing(name, "content-length", Kind::ContentLength),
        15 if reads_like(name, "x-forwarded-for") => Kind::Asked(Asked::Forwarded),
        16 if is("proxy-connection") => Kind::Hop,
        16 if reads_like(name, "x-forwarded-host") => Kind::Asked(Asked::ForwardedHost),
        16 if reads_like(name, "x-forwarded-port") => Kind::Asked(Asked::Forwarded),
        17 if reads_like(name, "x-forwarded-proto") => Kind::Asked(Asked::ForwardedProto),
        17 => framing(name, "transfer-encoding", Kind::TransferEncoding),
        _ => Kind::EndToEnd,
    }
}

/// Whether a server may believe the field to be `ours`, under its own name or in disguise.
fn reads_like(name: &[u8], ours: &str) -> bool {
    likeness(name, ours) != Likeness::Other
}

fn framing(name: &[u8], ours: &str, kind: Kind) -> Kind {
    match likeness(name, ours) {
        Likeness::Same => kind,
        Likeness::Disguised => Kind::Disguise,
        Likeness::Other => Kind::EndToEnd,
    }
}

/// Compares a name to `ours`, which is as long, in lower case, and has no byte but letters and `-`.
fn likeness(name: &[u8], ours: &str) -> Likeness {
    let mut likeness = Likeness::Same;
    for (&byte, &ours) in name.iter().zip(ours.as_bytes()) {
        // Setting this bit makes letters small and leaves `-` alone; no other byte of a token becomes one of these.
        if byte | 0x20 != ours {
            if byte != b'_' || ours != b'-' {
                return Likeness::Other;
            }
            likeness = Likeness::Disguised;
        }
    }
    likeness
}
