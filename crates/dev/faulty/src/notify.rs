//! Telling systemd that the service is ready (sd_notify(3)).

use std::{
    env,
    os::{
        linux::net::SocketAddrExt,
        unix::{ffi::OsStrExt, net},
    },
};

use anyhow::{Context, Result};

/// Sends `READY=1` to the socket that systemd names; does nothing where it names none.
pub(crate) fn ready() -> Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => net::SocketAddr::from_abstract_name(name),
        None => net::SocketAddr::from_pathname(&path),
    };
    let address = address.with_context(|| format!("NOTIFY_SOCKET is {}, no address", path.display()))?;
    let socket = net::UnixDatagram::unbound().context("cannot make a datagram socket")?;
    socket.send_to_addr(b"READY=1", &address).context("systemd's notification socket does not answer")?;
    Ok(())
}
