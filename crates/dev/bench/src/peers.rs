//! How each proxy is set up and started.
//!
//! Owns: the configurations, made to be fair: one worker each, connections to the server kept and reused, no access log,
//! splicing wherever it is offered, no limit below the load. Leaves to others: measuring.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{
    process::{Cores, Started},
    scenario::Scenario,
};

/// Where Debian has nginx's module for connections that are passed through as bytes.
const NGINX_STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// A proxy that can be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Ours, as this file.
    Evenkeel(PathBuf),
    /// HAProxy from the search path.
    Haproxy,
    /// nginx from the search path.
    Nginx,
}

impl Kind {
    /// What it is called in tables.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Evenkeel(_) => "evenkeel",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }
}

/// What every proxy of a run is set up for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup<'a> {
    /// The kind of traffic.
    pub(crate) scenario: Scenario,
    /// Client connections.
    pub(crate) connections: u32,
    /// The server behind the proxy.
    pub(crate) origin: SocketAddr,
    /// Where proxies run.
    pub(crate) cores: Cores,
    /// Where configurations and logs go.
    pub(crate) folder: &'a Path,
}

impl Setup<'_> {
    /// Connections that a proxy must be able to hold on each side: twice the load, for those that are being replaced.
    const fn room(&self) -> u32 {
        2 * self.connections + 64
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
        let (text, command) = match &kind {
            Kind::Evenkeel(program) => {
                (evenkeel(setup, address, free_address()?), evenkeel_command(program, setup, &file)?)
            }
            Kind::Haproxy => (haproxy(setup, address), words(&["haproxy", "-db", "-f"], &file)),
            Kind::Nginx => (nginx(setup, address), words(&["nginx", "-c"], &file)),
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

fn evenkeel(setup: Setup<'_>, address: SocketAddr, admin: SocketAddr) -> String {
    let Setup { scenario, origin, .. } = setup;
    let mode = if scenario.is_tcp() { "tcp" } else { "http" };
    let room = setup.room();
    format!(
        r#"[admin]
listen = "{admin}"

[[listener]]
name = "bench"
bind = "{address}"
mode = "{mode}"
pool = "origin"

[[pool]]
name = "origin"
policy = "round-robin"
limits = {{ connections_per_server = {room} }}

[[pool.server]]
name = "origin"
address = "{origin}"
"#
    )
}

fn haproxy(setup: Setup<'_>, address: SocketAddr) -> String {
    let Setup { scenario, origin, .. } = setup;
    // From a quarter of its file descriptors on, HAProxy closes idle server connections: stay far below.
    let room = 8 * setup.room();
    // What costs it least: it does not splice answers over HTTP by itself, and small pieces are cheaper copied.
    let splice = if matches!(scenario, Scenario::Body1M) { "splice-response" } else { "splice-auto" };
    let mode = if scenario.is_tcp() { "mode tcp" } else { "mode http\n    http-reuse always" };
    format!(
        "global
    nbthread 1
    maxconn {room}

defaults
    {mode}
    option {splice}
    timeout connect 5s
    timeout client 60s
    timeout server 60s

listen bench
    bind {address}
    server origin {origin}
"
    )
}

fn nginx(setup: Setup<'_>, address: SocketAddr) -> String {
    let Setup { scenario, origin, folder, .. } = setup;
    // Here the limit counts both sides of a proxied connection.
    let room = 2 * setup.room();
    let folder = folder.display();
    let (module, body) = if scenario.is_tcp() {
        (format!("load_module {NGINX_STREAM_MODULE};\n"), nginx_stream(address, origin))
    } else {
        (String::new(), nginx_http(address, origin, &folder))
    };
    // As root, the worker would give up its rights and could not write to the folder.
    let user = if nix::unistd::geteuid().is_root() { "user root;\n" } else { "" };
    format!(
        "{module}{user}daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx-errors.log error;
events {{
    worker_connections {room};
}}
{body}"
    )
}

fn nginx_http(address: SocketAddr, origin: SocketAddr, folder: &impl std::fmt::Display) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {folder}/nginx-{kind};\n"))
        .collect();
    format!(
        r#"http {{
    access_log off;
    keepalive_requests 1000000000;
    proxy_max_temp_file_size 0;
{temporary}    upstream origin {{
        server {origin};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address} backlog=4096;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"#
    )
}

fn nginx_stream(address: SocketAddr, origin: SocketAddr) -> String {
    format!(
        "stream {{
    server {{
        listen {address} backlog=4096;
        proxy_pass {origin};
    }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_config::balancer::Config;

    #[test]
    fn our_own_configuration_is_accepted_in_every_scenario() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        for scenario in [Scenario::Keepalive, Scenario::NewConnection, Scenario::Body1M, Scenario::Tcp] {
            let cores = Cores { proxy: 0, rest: 1 };
            let setup =
                Setup { scenario, connections: 256, origin: address(1), cores, folder: Path::new("/") };
            if let Err(errors) = Config::parse("balancer.toml", &evenkeel(setup, address(2), address(3))) {
                panic!("{scenario:?}: {errors}");
            }
        }
    }
}
