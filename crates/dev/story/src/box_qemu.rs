//! The box as a virtual machine: real firmware, real boot loader, real kernel, real partitions.
//!
//! `scripts/image` makes the images and `scripts/qemu` runs them; both are what a person would call.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    box_under_story::{Addresses, BoxUnderStory, DataPlane, balancer_toml, write},
    operator::Images,
    process::{Process, run},
};

/// This host as the guest sees it, in QEMU's user network.
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 2));

/// Where the site listens inside the guest.
const SITE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);

/// Where the data plane's admin listener is inside the guest; open to the user network, so that the host sees it.
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9900);

/// A box as a virtual machine.
pub(crate) struct QemuBox {
    bin_dir: PathBuf,
    scripts: PathBuf,
    dir: PathBuf,
    console: PathBuf,
    addresses: Addresses,
    running: Option<Process>,
}

impl QemuBox {
    /// A box that lives in `dir`, made of the programs in `bin_dir` by the scripts in `scripts`.
    pub(crate) fn new(bin_dir: &Path, scripts: &Path, dir: &Path, addresses: Addresses) -> Self {
        Self {
            bin_dir: bin_dir.to_owned(),
            scripts: scripts.to_owned(),
            dir: dir.to_owned(),
            console: dir.join("serial.log"),
            addresses,
            running: None,
        }
    }

    fn image(&self, version: &str, out: &Path, trusted_root: &Path) -> Command {
        let mut command = Command::new(self.scripts.join("image"));
        command.args(["--version", version, "--out"]).arg(out).arg("--trusted-root").arg(trusted_root);
        command.arg("--bin-dir").arg(&self.bin_dir);
        command
    }

    /// The agent's configuration as the image brings it.
    fn released_agent_toml(&self) -> Result<String> {
        let path = self.scripts.join("../image/root/usr/share/evenkeel/agent.toml");
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    fn credentials(&self) -> PathBuf {
        self.dir.join("credentials")
    }
}

impl BoxUnderStory for QemuBox {
    fn images(&mut self, version: &str, trusted_root: &Path, data_plane: DataPlane) -> Result<Images> {
        let out = self.dir.join("releases").join(version);
        fs::create_dir_all(&out)?;
        let mut command = self.image(version, &out, trusted_root);
        match data_plane {
            DataPlane::Sound => {}
            DataPlane::Answers500 => {
                command.arg("--proxy").arg(self.bin_dir.join("evenkeel-faulty"));
            }
        }
        if self.running.is_none() {
            command.arg("--disk");
        }
        run(&mut command)?;
        Ok(Images { root: out.join("root.img"), verity: out.join("verity.img"), uki: out.join("uki.efi") })
    }

    fn install(&mut self, _version: &str, images: &Images, token: &str) -> Result<()> {
        let made = images.root.with_file_name("disk.raw");
        let disk = self.dir.join("disk.raw");
        fs::rename(&made, &disk).with_context(|| made.display().to_string())?;
        let credentials = self.credentials();
        let server = SocketAddr::new(HOST, self.addresses.update_server.port());
        write(&credentials.join("agent.toml"), &agent_toml(&self.released_agent_toml()?, server)?)?;
        write(
            &credentials.join("balancer.toml"),
            &balancer_toml(ADMIN, SITE, HOST, &self.addresses.web_ports),
        )?;
        write(&credentials.join("enrolment-token"), token)
    }

    fn switch_on(&mut self) -> Result<()> {
        let mut command = Command::new(self.scripts.join("qemu"));
        command.arg("--disk").arg(self.dir.join("disk.raw")).arg("--serial").arg(&self.console);
        command.arg("--site-port").arg(self.addresses.site.port().to_string());
        command.arg("--admin-port").arg(self.addresses.admin.port().to_string());
        for name in ["balancer.toml", "agent.toml", "enrolment-token"] {
            let file = self.credentials().join(name);
            command.arg("--credential").arg(format!("evenkeel.{name}={}", file.display()));
        }
        self.running = Some(Process::start("the box", &mut command, &self.dir.join("qemu.log"))?);
        Ok(())
    }

    fn cut_power(&mut self) -> Result<()> {
        self.running.take().context("the box is off already")?.cut()?;
        Ok(())
    }

    fn still_on(&mut self) -> Result<()> {
        let log = self.dir.join("qemu.log");
        self.running.as_mut().context("the box is off")?.still_runs(&log)
    }

    fn console(&self) -> &Path {
        &self.console
    }
}

/// The released configuration of the agent with what an operator changes: the update server, and the box's name.
fn agent_toml(released: &str, server: SocketAddr) -> Result<String> {
    let old = released.lines().find(|line| line.starts_with("url = ")).context("agent.toml has no `url`")?;
    let text = released.replace(old, &format!("url = \"http://{server}\""));
    Ok(text.replace("[device]\n", "[device]\nname = \"box1\"\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_released_configuration_gets_the_server_of_the_story() {
        let released = "[device]\nchannel = \"stable\"\n[server]\nurl = \"http://10.0.2.2:9930\"\n";
        let text = agent_toml(released, "10.0.2.2:40000".parse().unwrap()).unwrap();
        let expected =
            "[device]\nname = \"box1\"\nchannel = \"stable\"\n[server]\nurl = \"http://10.0.2.2:40000\"\n";
        assert_eq!(text, expected);
    }
}
