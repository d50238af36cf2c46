//! `evenkeel release`: from images to a published release, and looking at one.
//!
//! Owns: the command line of the steps; each step has a file of its own. Leaves to others: what a bundle is
//! (`core/release`) and what signatures mean (`core/trust`).

mod build;
mod bundle;
mod images;
mod publish;
mod show;
mod sign;
mod verify;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use evenkeel_trust::{RoleName, Root, Targets, Verified, limits};

use crate::files;

/// Build, sign, verify and publish releases
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Build(Box<build::Arguments>),
    Sign(sign::Arguments),
    Verify(verify::Arguments),
    Show(show::Arguments),
    Publish(publish::Arguments),
}

/// # Errors
/// When a file is not what it should be, cannot be read or written, or the server refuses.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    match arguments.task {
        Task::Build(arguments) => build::run(&arguments),
        Task::Sign(arguments) => sign::run(&arguments),
        Task::Verify(arguments) => verify::run(&arguments),
        Task::Show(arguments) => show::run(&arguments),
        Task::Publish(arguments) => publish::run(&arguments),
    }
}

/// The operator's folder of metadata: `root.json`, `VERSION.root.json`, `targets.json`.
#[derive(Debug, Clone, Args)]
struct Metadata {
    /// The folder with root.json and targets.json
    #[arg(long = "metadata", value_name = "DIR")]
    folder: PathBuf,
}

impl Metadata {
    fn path(&self, role: RoleName) -> PathBuf {
        self.folder.join(role.file())
    }

    fn root(&self) -> Result<Verified<Root>> {
        let path = self.path(RoleName::Root);
        let bytes = files::read(&path, limits::ROOT)
            .with_context(|| format!("make it with `evenkeel key root --out {}`", path.display()))?;
        Verified::anchor(&bytes).with_context(|| path.display().to_string())
    }

    /// The signed targets metadata; nothing where there is none yet.
    fn targets(&self, root: &Verified<Root>) -> Result<Option<Verified<Targets>>> {
        let path = self.path(RoleName::Targets);
        let bytes = files::read_if_there(&path, limits::TARGETS)?;
        bytes.map(|bytes| root.verify(&bytes).with_context(|| path.display().to_string())).transpose()
    }
}

/// A path's text, for messages.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
