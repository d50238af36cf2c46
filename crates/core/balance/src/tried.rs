//! Which server, and which servers a request has been to already.

use evenkeel_config::balancer;

/// The place of a server in its pool; only means something to the pool that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerIndex(u16);

impl ServerIndex {
    pub(crate) fn new(position: usize) -> Self {
        Self(u16::try_from(position).expect("a configuration has at most 1,024 servers in a pool"))
    }

    /// The position in the configuration's list of the pool's servers.
    #[must_use]
    pub const fn position(self) -> usize {
        self.0 as usize
    }
}

/// The first try and the most further ones that a configuration allows.
const MOST: usize = 1 + balancer::Retry::MOST_ATTEMPTS as usize;

/// The servers that a request has been to without success; they are not picked again for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tried {
    servers: [u16; MOST],
    count: u8,
}

impl Tried {
    /// None yet: the request is new.
    pub const NONE: Self = Self { servers: [0; MOST], count: 0 };

    /// Adds a server. Those beyond the most tries that a configuration allows are not kept.
    pub fn add(&mut self, server: ServerIndex) {
        if let Some(place) = self.servers.get_mut(usize::from(self.count)) {
            *place = server.0;
            self.count += 1;
        }
    }

    /// How many servers the request has been to.
    #[must_use]
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// Whether the request has been to this server.
    #[must_use]
    pub fn contains(&self, server: ServerIndex) -> bool {
        self.servers[..usize::from(self.count)].contains(&server.0)
    }
}
