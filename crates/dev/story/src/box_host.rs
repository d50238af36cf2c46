//! The box as processes on this host: slots are files, a restart is a restart of processes.
//!
//! The agent and the data plane are the same binaries as in the image, on the same code paths; `evenkeel-hostbox`
//! takes the place of firmware, boot loader and init.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    box_under_story::{Addresses, BoxUnderStory, DataPlane, LOOPBACK, balancer_toml, write},
    operator::Images,
    process::{Process, run},
};

/// What the length of a root image is a multiple of: a block of dm-verity.
const BLOCK_BYTES: u64 = 4096;

/// A box as processes.
pub(crate) struct HostBox {
    bin_dir: PathBuf,
    dir: PathBuf,
    releases: PathBuf,
    console: PathBuf,
    addresses: Addresses,
    running: Option<Process>,
}

impl HostBox {
    /// A box that lives in `dir`, made of the programs in `bin_dir`.
    pub(crate) fn new(bin_dir: &Path, dir: &Path, addresses: Addresses) -> Result<Self> {
        let (home, releases) = (dir.join("box"), dir.join("releases"));
        fs::create_dir_all(&home)?;
        fs::create_dir_all(&releases)?;
        let console = dir.join("console.log");
        Ok(Self { bin_dir: bin_dir.to_owned(), dir: home, releases, console, addresses, running: None })
    }

    fn hostbox(&self) -> Command {
        Command::new(self.bin_dir.join("evenkeel-hostbox"))
    }
}

impl BoxUnderStory for HostBox {
    fn images(&mut self, version: &str, trusted_root: &Path, data_plane: DataPlane) -> Result<Images> {
        let proxy = match data_plane {
            DataPlane::Sound => "evenkeel-proxy",
            DataPlane::Answers500 => "evenkeel-faulty",
        };
        let out = self.releases.join(version);
        fs::create_dir_all(&out)?;
        let (tree, named) = (out.join("root.img"), out.join("version"));
        write(&named, version)?;
        pack(
            &tree,
            &[
                (self.bin_dir.join("evenkeel-agent"), "usr/bin/evenkeel-agent", 0o755),
                (self.bin_dir.join(proxy), "usr/bin/evenkeel-proxy", 0o755),
                (trusted_root.to_owned(), "usr/share/evenkeel/root.json", 0o644),
                (named, "usr/share/evenkeel/version", 0o644),
            ],
        )?;
        run(self
            .hostbox()
            .args(["seal", "--version", version, "--root-image"])
            .arg(&tree)
            .arg("--out")
            .arg(&out))?;
        Ok(Images { root: tree, verity: out.join("verity.img"), uki: out.join("uki.efi") })
    }

    fn install(&mut self, version: &str, images: &Images, token: &str) -> Result<()> {
        let Addresses { site, admin, update_server, web_ports } = &self.addresses;
        let mut command = self.hostbox();
        command.args(["init", "--version", version, "--dir"]).arg(&self.dir);
        command.arg("--root-image").arg(&images.root).arg("--verity-image").arg(&images.verity);
        command.arg("--uki").arg(&images.uki).args(["--server", &format!("http://{update_server}")]);
        command.args(["--site", &format!("http://{site}/"), "--admin", &format!("http://{admin}")]);
        run(&mut command)?;
        write(&self.dir.join("balancer.toml"), &balancer_toml(*admin, *site, LOOPBACK, web_ports))?;
        write(&self.dir.join("enrolment-token"), token)
    }

    fn switch_on(&mut self) -> Result<()> {
        let mut command = self.hostbox();
        command.arg("--dir").arg(&self.dir);
        self.running = Some(Process::start("the box", &mut command, &self.console)?);
        Ok(())
    }

    fn cut_power(&mut self) -> Result<()> {
        self.running.take().context("the box is off already")?.cut()?;
        Ok(())
    }

    fn still_on(&mut self) -> Result<()> {
        let console = self.console.clone();
        self.running.as_mut().context("the box is off")?.still_runs(&console)
    }

    fn console(&self) -> &Path {
        &self.console
    }
}

/// Packs files into a tar of which nothing depends on the day or the user.
fn pack(out: &Path, files: &[(PathBuf, &str, u32)]) -> Result<()> {
    let mut archive = tar::Builder::new(File::create(out)?);
    for (source, name, mode) in files {
        let bytes = fs::read(source).with_context(|| format!("read {}", source.display()))?;
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(*mode);
        header.set_cksum();
        archive.append_data(&mut header, name, bytes.as_slice())?;
    }
    let file = archive.into_inner()?;
    // A hash tree covers whole blocks; a tar may end in any number of zeros.
    file.set_len(file.metadata()?.len().next_multiple_of(BLOCK_BYTES))?;
    Ok(file.sync_all()?)
}
