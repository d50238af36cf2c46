//! Free ports on this host for the parts of one story.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpListener},
};

use anyhow::Result;

use crate::box_under_story::LOOPBACK;

/// Hands out each port once: the one asked for where it is free, else any; 0 asks for any.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    given: BTreeSet<u16>,
}

impl Ports {
    /// A port that nothing listens on now.
    pub(crate) fn take(&mut self, preferred: u16) -> Result<u16> {
        loop {
            let wanted = if self.given.contains(&preferred) { 0 } else { preferred };
            let listener =
                TcpListener::bind((LOOPBACK, wanted)).or_else(|_| TcpListener::bind((LOOPBACK, 0)))?;
            let port = listener.local_addr()?.port();
            if self.given.insert(port) {
                return Ok(port);
            }
        }
    }

    /// An address on this host with a free port.
    pub(crate) fn address(&mut self, preferred: u16) -> Result<SocketAddr> {
        Ok(SocketAddr::new(LOOPBACK, self.take(preferred)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_not_given_and_none_is_given_twice() {
        let taken = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let busy = taken.local_addr().unwrap().port();
        let mut ports = Ports::default();
        let first = ports.take(busy).unwrap();
        assert_ne!(first, busy);
        assert_ne!(ports.take(first).unwrap(), first);
    }
}
