//! The box of the story: a virtual machine, or processes on this host, behind one interface.
//!
//! Owns what differs between the two: how a release's images are made, how the box is installed, switched on and
//! cut off. Everything else of the story is the same for both.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::{Context, Result};

use crate::operator::Images;

/// What the data plane of a release does in this story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataPlane {
    /// Balances.
    Sound,
    /// Is up, says that it is ready, and answers 500 to every request.
    Answers500,
}

/// Where the parts of the story find each other.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    /// The balanced site, as visitors reach it.
    pub(crate) site: SocketAddr,
    /// The admin listener of the data plane.
    pub(crate) admin: SocketAddr,
    /// The update server.
    pub(crate) update_server: SocketAddr,
    /// The ports of the web servers.
    pub(crate) web_ports: Vec<u16>,
}

/// A box that can be installed, switched on and cut off.
pub(crate) trait BoxUnderStory {
    /// Makes the images of a release that trusts `trusted_root`.
    fn images(&mut self, version: &str, trusted_root: &Path, data_plane: DataPlane) -> Result<Images>;

    /// Installs the first release, with the configuration and the one-time token that the box begins with.
    fn install(&mut self, version: &str, images: &Images, token: &str) -> Result<()>;

    /// Switches the box on.
    fn switch_on(&mut self) -> Result<()>;

    /// Takes the power away, at once.
    fn cut_power(&mut self) -> Result<()>;

    /// Fails when the box is no longer on.
    fn still_on(&mut self) -> Result<()>;

    /// The file with the lines of its console.
    fn console(&self) -> &Path;
}

/// The configuration of the data plane: no more than an operator has to write.
pub(crate) fn balancer_toml(admin: SocketAddr, site: SocketAddr, servers: IpAddr, ports: &[u16]) -> String {
    let mut text = format!(
        "[admin]\nlisten = \"{admin}\"\n\n[[listener]]\nname = \"web\"\nbind = \"{site}\"\nmode = \"http\"\npool = \
         \"app\"\n\n[[pool]]\nname = \"app\"\npolicy = \"least-loaded\"\n"
    );
    for (name, port) in crate::web::NAMES.iter().zip(ports) {
        text.push_str(&format!("\n[[pool.server]]\nname = \"{name}\"\naddress = \"{servers}:{port}\"\n"));
    }
    text
}

/// Writes `text` to `path`, with the folders above it.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// This host, as its own processes reach it.
pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
