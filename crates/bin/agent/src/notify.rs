//! Telling systemd how the agent is (sd_notify(3)), where systemd asked for it.

use std::{
    env, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

/// Tells the supervisor `message`, such as `READY=1`; does nothing where there is none.
pub(crate) fn notify(message: &str) {
    if let Err(error) = try_notify(message) {
        tracing::warn!(%error, message, "cannot notify the supervisor");
    }
}

fn try_notify(message: &str) -> io::Result<()> {
    let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address).map(drop)
}

/// How often to say that the agent lives: half of what the supervisor allows; none where it does not ask.
pub(crate) fn watchdog_interval() -> Option<Duration> {
    let allowed: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (allowed > 0).then(|| Duration::from_micros(allowed) / 2)
}
