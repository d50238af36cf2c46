//! Our own configuration: what a newcomer would write, with limits above the load.

use std::{fmt::Write as _, net::SocketAddr};

use super::Setup;

/// The text of `balancer.toml`.
pub(super) fn configuration(setup: Setup<'_>, address: SocketAddr, admin: SocketAddr) -> String {
    let scenario = setup.scenario;
    let mode = if scenario.is_tcp() { "tcp" } else { "http" };
    let (room, clients) = (2 * setup.connections + 64, setup.room().max(20_000));
    let mut text = format!(
        r#"[admin]
listen = "{admin}"

[limits]
max_clients = {clients}

[deadlines]
keep_alive_idle = "1h"

[[listener]]
name = "bench"
bind = "{address}"
mode = "{mode}"
pool = "origin"
"#
    );
    if scenario.is_tls() {
        let (chain, key) = (setup.certificate.chain().display(), setup.certificate.key().display());
        write!(text, "\n[listener.tls]\ncertificate = \"{chain}\"\nkey = \"{key}\"\n")
            .expect("a String takes all");
    }
    for number in 0..scenario.routes() {
        write!(
            text,
            "\n[[route]]\nname = \"r{number}\"\nlistener = \"bench\"\npath_prefix = \"/r/{number}/\"\npool = \"origin\"\n"
        )
        .expect("a String takes all");
    }
    write!(
        text,
        r#"
[[pool]]
name = "origin"
policy = "round-robin"
limits = {{ connections_per_server = {room} }}
"#
    )
    .expect("a String takes all");
    for (number, server) in setup.servers().enumerate() {
        write!(text, "\n[[pool.server]]\nname = \"s{number}\"\naddress = \"{server}\"\n")
            .expect("a String takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use evenkeel_config::balancer::Config;

    use super::*;
    use crate::{certificate::Certificate, process::Cores, scenario::Scenario};

    #[test]
    fn our_own_configuration_is_accepted_in_every_scenario() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let certificate = Certificate::at(Path::new("/"));
        for scenario in Scenario::ALL {
            let setup = Setup {
                scenario,
                connections: 256,
                origin: address(1),
                cores: Cores { proxy: 0, rest: 1 },
                certificate: &certificate,
                folder: Path::new("/"),
            };
            if let Err(errors) = Config::parse("balancer.toml", &configuration(setup, address(2), address(3)))
            {
                panic!("{scenario}: {errors}");
            }
        }
    }
}
