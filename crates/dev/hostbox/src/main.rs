//! A box as processes on this host: slots are files, a restart is a restart of processes.
//!
//! Takes the place of firmware, boot loader, initrd and service manager, and only of these: the choice of the
//! entry is the one of `core/boot`, the slot is found and verified by `core/release` as in the initrd, and the
//! data plane and the agent are the binaries of the release itself. Leaves every decision to them.

mod firmware;
mod install;
mod kernel_image;
mod root;
mod services;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use evenkeel_units::Version;

/// A box as processes on this host.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the hash tree and the kernel image that belong to a root image (a tar).
    Seal {
        /// The version of the release.
        #[arg(long)]
        version: Version,
        /// The root image.
        #[arg(long)]
        root: PathBuf,
        /// Folder for `verity.img` and `uki.efi`.
        #[arg(long)]
        out: PathBuf,
    },
    /// Install the first release into slot a of a new box.
    Init {
        /// Folder of the box.
        #[arg(long)]
        dir: PathBuf,
        /// The version of the release.
        #[arg(long)]
        version: Version,
        /// The root image.
        #[arg(long)]
        root: PathBuf,
        /// Its hash tree.
        #[arg(long)]
        verity: PathBuf,
        /// The kernel image.
        #[arg(long)]
        uki: PathBuf,
    },
    /// Switch the box on; SIGTERM or SIGINT switches it off.
    Run {
        /// Folder of the box.
        #[arg(long)]
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Options::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("evenkeel-hostbox: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Seal { version, root, out } => install::seal(version, &root, &out),
        Command::Init { dir, version, root, verity, uki } => {
            install::init(&dir, version, &[root, verity, uki])
        }
        Command::Run { dir } => firmware::run(&dir.canonicalize()?),
    }
}
