//! Where the parts of a host box are: one folder that stands for its disk, and `run` for its memory.

use std::path::{Path, PathBuf};

use evenkeel_disk::{Esp, Places, SlotPaths};
use evenkeel_units::Slot;

/// The folder of one host box.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    directory: PathBuf,
}

impl Layout {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.into() }
    }

    fn join(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    fn slot(&self, slot: Slot) -> SlotPaths {
        SlotPaths {
            root: self.join(&format!("slots/{slot}/root.img")),
            verity: self.join(&format!("slots/{slot}/verity.img")),
        }
    }

    pub(crate) fn places(&self) -> Places {
        Places { a: self.slot(Slot::A), b: self.slot(Slot::B), esp: Esp::new(&self.efi()) }
    }

    pub(crate) fn efi(&self) -> PathBuf {
        self.join("efi")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.join("data")
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.join("run")
    }

    /// Where the root image is unpacked: what a box has mounted as `/`.
    pub(crate) fn root(&self) -> PathBuf {
        self.join("run/root")
    }

    pub(crate) fn boot_record(&self) -> PathBuf {
        self.join("run/boot.json")
    }

    pub(crate) fn agent_socket(&self) -> PathBuf {
        self.join("run/agent.sock")
    }

    pub(crate) fn proxy_socket(&self) -> PathBuf {
        self.join("run/proxy.sock")
    }

    pub(crate) fn agent_config(&self) -> PathBuf {
        self.join("agent.toml")
    }

    pub(crate) fn balancer_config(&self) -> PathBuf {
        self.join("balancer.toml")
    }

    pub(crate) fn enrolment_token(&self) -> PathBuf {
        self.join("enrolment-token")
    }
}
