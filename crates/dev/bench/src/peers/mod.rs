//! How each proxy is started, and what it is called.
//!
//! Owns: programs, versions and start-up. Leaves the configurations to a file for each proxy; they are made to be fair:
//! one worker each, connections to the server kept and reused, no access log, splicing wherever it is offered, no limit
//! below the load, the same certificate.

mod evenkeel;
mod haproxy;
mod nginx;

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    certificate::Certificate,
    process::{Cores, Started},
    scenario::Scenario,
};

/// A proxy that can be measured, as the file of its program or a name to be found on the search path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ours.
    Evenkeel(PathBuf),
    /// HAProxy.
    Haproxy(PathBuf),
    /// nginx.
    Nginx(PathBuf),
}

impl Kind {
    /// What it is called in tables.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Evenkeel(_) => "evenkeel",
            Self::Haproxy(_) => "haproxy",
            Self::Nginx(_) => "nginx",
        }
    }

    const fn program(&self) -> &PathBuf {
        match self {
            Self::Evenkeel(program) | Self::Haproxy(program) | Self::Nginx(program) => program,
        }
    }

    /// The version that the program tells of itself.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub(crate) fn version(&self) -> Result<String> {
        let argument = match self {
            Self::Evenkeel(_) => "--version",
            Self::Haproxy(_) | Self::Nginx(_) => "-v",
        };
        let said = self.say(argument)?;
        let version =
            said.split([' ', '/', '-', '\n']).find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        Ok(version.unwrap_or("unknown").to_owned())
    }

    /// What the program prints with one argument.
    fn say(&self, argument: &str) -> Result<String> {
        let program = self.program();
        let output = Command::new(program)
            .arg(argument)
            .output()
            .with_context(|| format!("cannot start {}: {} is no program", self.name(), program.display()))?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }
}

/// What every proxy of a run is set up for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup<'a> {
    /// The kind of traffic.
    pub(crate) scenario: Scenario,
    /// Client connections with traffic.
    pub(crate) connections: u32,
    /// The server behind the proxy; it listens on every address of the loopback.
    pub(crate) origin: SocketAddr,
    /// Where proxies run.
    pub(crate) cores: Cores,
    /// What TLS listeners show.
    pub(crate) certificate: &'a Certificate,
    /// Where configurations and logs go.
    pub(crate) folder: &'a Path,
}

impl Setup<'_> {
    /// Connections that a proxy must be able to hold on each side: twice the load, for those that are being replaced, and
    /// those without traffic.
    const fn room(&self) -> u32 {
        2 * self.connections + 64 + self.scenario.idle()
    }

    /// The addresses of the servers: one each, all of them the same process.
    fn servers(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        let port = self.origin.port();
        (0..self.scenario.servers()).map(move |number| {
            let [_, high, middle, low] = (number + 1).to_be_bytes();
            SocketAddr::from(([127, high, middle, low], port))
        })
    }
}

/// A proxy that is running.
pub(crate) struct Peer {
    /// Which one.
    pub(crate) kind: Kind,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its processes.
    pub(crate) process: Started,
}

impl Peer {
    /// Starts a proxy on the proxies' core and waits until it listens.
    pub(crate) async fn start(kind: Kind, setup: Setup<'_>) -> Result<Self> {
        let address = free_address()?;
        let file = setup.folder.join(format!("{}.conf", kind.name()));
        let log = setup.folder.join(format!("{}.log", kind.name()));
        let program = kind.program().display().to_string();
        let (text, command) = match &kind {
            Kind::Evenkeel(program) => (
                evenkeel::configuration(setup, address, free_address()?),
                evenkeel_command(program, setup, &file)?,
            ),
            Kind::Haproxy(_) => {
                let map = setup.folder.join("haproxy.map");
                fs::write(&map, haproxy::map(setup))
                    .with_context(|| format!("cannot write {}", map.display()))?;
                (haproxy::configuration(setup, address, &map), words(&[&program, "-db", "-f"], &file))
            }
            Kind::Nginx(_) => {
                let build = nginx::Build::of(&kind.say("-V")?);
                (nginx::configuration(setup, address, &build), words(&[&program, "-c"], &file))
            }
        };
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let mut process = Started::pinned(kind.name(), setup.cores.proxy, &command, &log)?;
        process.wait_until_it_listens(address, &log).await?;
        Ok(Self { kind, address, process })
    }
}

fn words(first: &[&str], file: &Path) -> Vec<String> {
    first.iter().map(|word| (*word).to_owned()).chain([file.display().to_string()]).collect()
}

/// An address of the loopback that nobody listens on.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port on the loopback")?;
    Ok(listener.local_addr()?)
}

fn evenkeel_command(program: &Path, setup: Setup<'_>, file: &Path) -> Result<Vec<String>> {
    ensure!(
        program.is_file(),
        "{} is not there; build it with `cargo build --release --package evenkeel-balancer`",
        program.display()
    );
    let socket = setup.folder.join("evenkeel.sock").display().to_string();
    let program = program.display().to_string();
    Ok(words(&[&program, "--workers", "1", "--control-socket", &socket, "--config"], file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_an_address_each_and_the_origins_port() {
        let certificate = Certificate::at(Path::new("/"));
        let setup = Setup {
            scenario: Scenario::Servers(1_000),
            connections: 1,
            origin: SocketAddr::from(([127, 0, 0, 1], 80)),
            cores: Cores { proxy: 0, rest: 1 },
            certificate: &certificate,
            folder: Path::new("/"),
        };
        let mut servers: Vec<_> = setup.servers().collect();
        assert_eq!(servers[0], SocketAddr::from(([127, 0, 0, 1], 80)));
        assert_eq!(servers[999], SocketAddr::from(([127, 0, 3, 232], 80)));
        servers.dedup();
        assert_eq!(servers.len(), 1_000);
    }
}
