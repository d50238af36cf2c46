//! `[listener.udp]`: sessions of a listener in mode `udp`.

use core::{num::NonZeroU32, time::Duration};

use super::{Mode, nonzero, ranges};
use crate::document::{Field, Section};

/// What a listener in mode `udp` keeps of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Udp {
    /// How long a session lasts in which no datagram comes from either side.
    pub idle: Duration,
    /// Sessions at once, over all workers.
    pub max_sessions: NonZeroU32,
}

pub(super) const UDP_KEYS: &[&str] = &["idle", "max_sessions"];

/// The sessions of a listener; the inner `None` when it speaks something else.
pub(super) fn udp(section: &Section<'_>, mode: Option<Mode>) -> Option<Option<Udp>> {
    let field = section.field("udp");
    if let (Some(field), Some(Mode::Http | Mode::Tcp)) = (&field, mode) {
        refuse(field);
        return None;
    }
    let table = section.section("udp", UDP_KEYS)?;
    let idle = table.duration("idle", ranges::UDP_IDLE);
    let max_sessions = nonzero(&table, "max_sessions", ranges::UDP_SESSIONS);
    let udp = Udp { idle: idle?, max_sessions: max_sessions? };
    Some((mode == Some(Mode::Udp)).then_some(udp))
}

fn refuse(field: &Field<'_>) {
    field.refuse("no such table in a listener of another mode", "remove it, or write mode = \"udp\"");
}
