//! Which configuration a file holds.

/// The configuration files of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `balancer.toml`, for the data plane.
    Balancer,
    /// `agent.toml`, for the update agent.
    Agent,
}

impl Kind {
    /// The kind that a file's name tells: `agent` in it means the agent's, `balancer` or `proxy` the data plane's.
    #[must_use]
    pub fn of_file_name(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path);
        match (name.contains("agent"), name.contains("balancer") || name.contains("proxy")) {
            (true, false) => Some(Self::Agent),
            (false, true) => Some(Self::Balancer),
            (true, true) | (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_told_by_the_last_part_of_the_path() {
        for (path, kind) in [
            ("balancer.toml", Some(Kind::Balancer)),
            ("/var/lib/evenkeel/agent/balancer.toml", Some(Kind::Balancer)),
            ("/etc/agent.toml", Some(Kind::Agent)),
            ("site.toml", None),
            ("agent-balancer.toml", None),
        ] {
            assert_eq!(Kind::of_file_name(path), kind, "{path}");
        }
    }
}
