//! Copies of a route's requests for another pool: `mirror`.
//!
//! Invariant: the pool is one that copies can be sent to.

use alloc::{borrow::ToOwned as _, string::String};
use core::{num::NonZeroU32, time::Duration};

use evenkeel_units::PerMille;

use crate::{
    balancer::{Pool, Protocol},
    document::Field,
    range::{Count, Span, mins, ms, secs},
};

/// Which requests are also sent to another pool, whose answers are thrown away.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mirror {
    /// The pool that gets the copies.
    pub pool: super::PoolIndex,
    /// How many of the requests.
    pub share: PerMille,
    /// How many copies may be under way at once on each worker; further ones are left out.
    pub in_flight: NonZeroU32,
    /// How long a copy may take, from its start to the last byte of its answer.
    pub deadline: Duration,
}

/// A mirror whose pool is not resolved yet.
pub(super) struct MirrorDraft {
    pub(super) pool: String,
    share: PerMille,
    in_flight: NonZeroU32,
    deadline: Duration,
}

impl MirrorDraft {
    pub(super) fn resolve(&self, pool: super::PoolIndex) -> Mirror {
        Mirror { pool, share: self.share, in_flight: self.in_flight, deadline: self.deadline }
    }
}

/// Whether copies can be sent to a pool; notes why not.
pub(super) fn takes_copies(field: &Field<'_>, pool: &Pool) -> Option<()> {
    if pool.protocol == Protocol::Http2 {
        field.refuse("a pool with protocol = \"http1\"", "copies are sent in HTTP/1.1: name another pool");
        return None;
    }
    if pool.proxy_protocol.is_some() {
        let remedy = "its connections begin with the client that they are from, and a copy is from none: name another pool";
        field.refuse("a pool without `proxy_protocol`", remedy);
        return None;
    }
    Some(())
}

/// All of them: less is for pools that cannot take that.
const SHARE: Count = Count::new(1, 1000, 1000);

/// 64 copies of at most 64 KiB hold 4 MiB, and a pool that hangs costs no more than that.
const IN_FLIGHT: Count = Count::new(1, 64, 10_000);

/// As long as an honest answer takes.
const DEADLINE: Span = Span::new(ms(10), secs(30), mins(10));

/// `mirror = { pool = "shadow", per_mille = 10 }`, and the field that names its pool.
pub(super) fn mirror<'a>(field: &Field<'a>) -> Option<(MirrorDraft, Field<'a>)> {
    let table = field.as_section(&["pool", "per_mille", "in_flight", "deadline"])?;
    let pool = table.required("pool", "pool = \"shadow\"");
    let share =
        table.count("per_mille", SHARE).and_then(|share| PerMille::new(u16::try_from(share).ok()?).ok());
    let in_flight =
        table.count("in_flight", IN_FLIGHT).and_then(|count| NonZeroU32::new(u32::try_from(count).ok()?));
    let deadline = table.duration("deadline", DEADLINE);
    let pool = pool?;
    let name =
        pool.text("the name of a pool", "write the `name` of a [[pool]]", |text| Some(text.to_owned()))?;
    Some((MirrorDraft { pool: name, share: share?, in_flight: in_flight?, deadline: deadline? }, pool))
}
