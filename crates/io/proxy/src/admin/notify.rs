//! Messages to systemd (sd_notify(3)), when it started us and wants them.

use std::os::{
    linux::net::SocketAddrExt as _,
    unix::net::{SocketAddr, UnixDatagram},
};

/// What systemd is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Every listener is bound.
    Ready,
    /// A new configuration is being taken over.
    Reloading,
    /// Clients are let finish.
    Stopping,
}

impl State {
    fn message(self) -> String {
        match self {
            Self::Ready => "READY=1\n".to_owned(),
            Self::Reloading => {
                // systemd matches the reload to its order by this time (systemd.service(5), Type=notify-reload).
                let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
                let micros = now.map_or(0, |t| t.tv_sec() * 1_000_000 + t.tv_nsec() / 1_000);
                format!("RELOADING=1\nMONOTONIC_USEC={micros}\n")
            }
            Self::Stopping => "STOPPING=1\n".to_owned(),
        }
    }
}

/// Tells systemd; does nothing when nobody listens.
pub(crate) fn tell(state: State) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let address = match path.as_encoded_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name),
        Some(_) => SocketAddr::from_pathname(&path),
        None => return,
    };
    let sent = address
        .and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.message().as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!(%error, "systemd could not be told {state:?}");
    }
}
