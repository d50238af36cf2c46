//! The story of a box, told and observed: balanced traffic, a good release that is kept, a bad one that is rolled back.
//!
//! Owns the plot and its cast. `scripts/demo` installs and builds what is needed and then runs this program; the
//! tests of every run do the same with `--once`.

mod box_host;
mod box_qemu;
mod box_under_story;
mod http;
mod interrupt;
mod operator;
mod plot;
mod ports;
mod process;
mod progress;
mod reports;
mod traffic;
mod web;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;

use crate::{
    box_host::HostBox,
    box_qemu::QemuBox,
    box_under_story::{Addresses, BoxUnderStory},
    interrupt::Interrupt,
    plot::{Plot, Sabotage},
    ports::Ports,
};

/// Tells the story of a box on this machine and observes each step of it.
#[derive(Debug, Parser)]
struct Options {
    /// The box is processes on this host instead of a virtual machine.
    #[arg(long)]
    host: bool,
    /// End after the story: exit status 0 only if each step was observed.
    #[arg(long)]
    once: bool,
    /// Take the power away in the middle of staging release 1.1.0.
    #[arg(long)]
    power_cut: bool,
    /// Make something go wrong, to see that the story then fails.
    #[arg(long, value_enum)]
    sabotage: Option<Sabotage>,
    /// Folder with the programs.
    #[arg(long, default_value = "target/release")]
    bin_dir: PathBuf,
    /// Folder with `image` and `qemu`.
    #[arg(long, default_value = "scripts")]
    scripts: PathBuf,
    /// Folder for all that the story writes; what is in it goes.
    #[arg(long, default_value = "target/story")]
    dir: PathBuf,
}

fn main() -> ExitCode {
    match Interrupt::listen().and_then(|interrupt| story(&Options::parse(), &interrupt)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
            eprintln!("{}", chain.join("\n\nThe story failed: "));
            ExitCode::FAILURE
        }
    }
}

fn story(options: &Options, interrupt: &Interrupt) -> Result<()> {
    let dir = options.dir.join(if options.host { "host" } else { "qemu" });
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("clear {}", dir.display()))?;
    }
    fs::create_dir_all(&dir)?;
    let dir = dir.canonicalize()?;
    let bin_dir = options.bin_dir.canonicalize().context("the programs are not built; run scripts/demo")?;
    let addresses = free_addresses(!options.once)?;
    let subject: Box<dyn BoxUnderStory> = if options.host {
        Box::new(HostBox::new(&bin_dir, &dir, addresses.clone())?)
    } else {
        Box::new(QemuBox::new(&bin_dir, &options.scripts.canonicalize()?, &dir, addresses.clone()))
    };
    let ended = Plot::new(&bin_dir, &dir, addresses.clone(), subject, interrupt.clone())
        .with_sabotage(options.sabotage)
        .with_power_cut(options.power_cut)
        .tell()?;
    println!("\nEvery step was observed.");
    if !options.once {
        println!(
            "\n  balanced site   http://{}/\n  metrics         http://{}/metrics\n  update server   http://{}/\n  \
             files           {}\n\nCtrl-C ends everything.",
            addresses.site,
            addresses.admin,
            addresses.update_server,
            dir.display()
        );
        interrupt.wait();
    }
    drop(ended);
    Ok(())
}

/// Addresses with free ports; the well-known ones where somebody wants to look around, else any, so that two stories
/// at once do not meet.
fn free_addresses(well_known: bool) -> Result<Addresses> {
    let mut ports = Ports::default();
    let mut address = |known| ports.address(if well_known { known } else { 0 });
    let (site, admin, update_server) = (address(8080)?, address(9900)?, address(9930)?);
    let web_ports = vec![ports.take(0)?, ports.take(0)?, ports.take(0)?];
    Ok(Addresses { site, admin, update_server, web_ports })
}
