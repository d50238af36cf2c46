//! `evenkeel release publish`: roots, bundle and targets metadata go to the update server, in this order.
//!
//! A device sees the release only when the last of them is accepted; whatever breaks off before can be
//! repeated.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use evenkeel_release::target_name;
use evenkeel_trust::{Root, Verified, limits};

use super::{Metadata, bundle::Bundle, shown};
use crate::{
    clock, files,
    server::{Server, ServerArgs},
};

/// Publish a signed bundle on the update server
///
/// Uploads root metadata that the server does not have, the bundle, and targets metadata. No device takes it
/// before a rollout says so: `evenkeel rollout start`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The bundle
    bundle: PathBuf,
    #[command(flatten)]
    metadata: Metadata,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let mut bundle = Bundle::open(&arguments.bundle)?;
    let version = bundle.head().manifest().version();
    let root = arguments.metadata.root()?;
    let now = clock::now();
    root.check_unexpired(now)?;
    let targets =
        arguments.metadata.targets(&root)?.context("sign the bundle first: `evenkeel release sign`")?;
    targets.check_unexpired(now)?;
    let target =
        targets.target(&target_name(version)).context("sign the bundle first: `evenkeel release sign`")?;
    let digest = bundle.digest()?;
    if (digest, bundle.length()) != (target.sha256(), target.length()) {
        bail!(
            "{} is not the bundle that was signed as release {version}; sign this one under a new version",
            shown(&arguments.bundle)
        );
    }
    let server = arguments.server.open()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        publish_roots(&server, &arguments.metadata, &root).await?;
        println!("uploading {} ({})", target.name(), target.length());
        let path = format!("/api/targets/{}", target.name());
        server.put_file(&path, &arguments.bundle, target.length().0, target.sha256()).await?;
        server.put("/api/repository/targets", targets.bytes().to_vec()).await?;
        println!("release {version} is published, targets metadata version {}", targets.header.version);
        Ok(())
    })
}

/// Brings the server from the root it has, if any, to ours, one version after the other.
async fn publish_roots(server: &Server, metadata: &Metadata, root: &Verified<Root>) -> Result<()> {
    let last = root.header.version;
    let on_server = |version: u64| format!("/v1/metadata/{version}.root.json");
    let mut version = last;
    let mut missing = Vec::new();
    while version > 0 && server.fetch(&on_server(version)).await?.is_none() {
        missing.push(version);
        version -= 1;
    }
    for version in missing.into_iter().rev() {
        let path = metadata.folder.join(format!("{version}.root.json"));
        let bytes = match files::read_if_there(&path, limits::ROOT)? {
            _ if version == last => root.bytes().to_vec(),
            Some(bytes) => bytes,
            None => bail!(
                "{} is missing, and the server has no root {version}; restore it from a copy",
                shown(&path)
            ),
        };
        server.put("/api/repository/root", bytes).await?;
        println!("root metadata version {version} is published");
    }
    Ok(())
}
