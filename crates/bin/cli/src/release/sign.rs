//! `evenkeel release sign`: a bundle becomes a target that devices trust.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use evenkeel_release::{custom, target_name};
use evenkeel_trust::{Draft, Header, RoleName, TargetFile, Targets, limits};

use super::{Metadata, bundle::Bundle};
use crate::{clock, files, key};

/// Sign a bundle, so that devices trust it
///
/// Reads every chunk of the bundle first: what is damaged is not signed. Then adds it to targets.json in the
/// metadata folder under the next version, beside all earlier releases. Signing the same bundle again renews
/// the time until which the metadata may be used.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The bundle
    bundle: PathBuf,
    /// A key of the targets role; give it once for each key
    #[arg(long, value_name = "FILE", required = true)]
    targets_key: Vec<PathBuf>,
    #[command(flatten)]
    metadata: Metadata,
    /// Days until the targets metadata expires
    #[arg(long, value_name = "DAYS", default_value_t = limits::TARGETS_LIFETIME.as_secs() / 86_400)]
    days: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let root = arguments.metadata.root()?;
    let keys = arguments.targets_key.iter().map(|path| {
        let key = key::read_signing_key(path, RoleName::Targets)?;
        key::check_may_sign(&root, &key)?;
        Ok(key)
    });
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let mut bundle = Bundle::open(&arguments.bundle)?;
    bundle.each_chunk(|_| Ok(()))?;
    let file = TargetFile {
        length: bundle.length(),
        sha256: bundle.digest()?,
        custom: Some(custom(bundle.head().manifest(), bundle.head_meta())),
    };
    let version = bundle.head().manifest().version();
    let name = target_name(version);
    let earlier =
        arguments.metadata.targets(&root).context("sign it completely, or restore it from a copy")?;
    let (mut targets, before) =
        earlier.map_or((BTreeMap::new(), 0), |earlier| (earlier.targets.clone(), earlier.header.version));
    if targets.get(&name).is_some_and(|listed| listed.sha256 != file.sha256) {
        bail!("release {version} is signed already, with other bytes; build this one under a new version");
    }
    targets.insert(name, file);
    let expires = clock::now() + Duration::from_secs(arguments.days.saturating_mul(86_400));
    let header = Header { version: before + 1, expires };
    let mut draft = Draft::new(&Targets { header, targets, delegations: None })?;
    keys.iter().for_each(|key| draft.sign(key));
    let path = arguments.metadata.path(RoleName::Targets);
    files::replace(&path, &draft.to_bytes())?;
    println!(
        "{}: targets metadata version {}, release {version} added, expires {expires}",
        path.display(),
        header.version
    );
    key::report(&path, root.verify::<Targets>(&draft.to_bytes()).map(drop))
}
