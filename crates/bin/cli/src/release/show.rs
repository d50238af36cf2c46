//! `evenkeel release show`: what a bundle says about itself, unsigned.

use std::path::PathBuf;

use anyhow::Result;
use evenkeel_release::{Head, ImageKind};

use super::bundle::Bundle;

/// Show what a bundle says about itself
///
/// Nothing is verified; `evenkeel release verify` does that.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The bundle
    bundle: PathBuf,
    /// Print its manifest.json as it is
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let bundle = Bundle::open(&arguments.bundle)?;
    if arguments.json {
        print!("{}", bundle.head().manifest().text());
    } else {
        print!("{}", describe(bundle.head()));
    }
    Ok(())
}

/// The release in lines.
pub(super) fn describe(head: &Head) -> String {
    let manifest = head.manifest();
    let labels = |labels: &[evenkeel_units::Label]| {
        labels.iter().map(evenkeel_units::Label::as_str).collect::<Vec<_>>().join(", ")
    };
    let mut text = format!(
        "release        {}\nhardware       {}\nchannels       {}\nminimum agent  {}\nstate schema   {}\nroot hash      {}\n",
        manifest.version(),
        labels(manifest.hardware()),
        labels(manifest.channels()),
        manifest.minimum_agent(),
        manifest.state_schema(),
        manifest.verity().root_hash,
    );
    for kind in ImageKind::ALL {
        let image = manifest.image(kind);
        let chunks = head.index().members(kind);
        let fetched: u64 = chunks.iter().map(|member| member.length.0).sum();
        let (count, name) = (chunks.len(), kind.file());
        let fetched = evenkeel_units::ByteCount(fetched);
        text += &format!(
            "{name:<14} {}, {count} chunks, {fetched} to fetch, SHA-256 {}\n",
            image.length, image.sha256
        );
    }
    if !manifest.notes().is_empty() {
        text += &format!(
            "notes          {}\n",
            manifest.notes().replace(|c: char| c.is_control() && c != '\n', " ")
        );
    }
    text
}
