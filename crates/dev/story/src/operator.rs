//! The operator: runs the `evenkeel` command as a person would, and reads what it prints.
//!
//! Owns the keys and the metadata of one story. Leaves every decision to the command: the story has no other way
//! to the update server than an operator has.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::run;

/// An operator with keys of their own and one update server.
pub(crate) struct Operator {
    command: PathBuf,
    dir: PathBuf,
    server: SocketAddr,
    token_file: PathBuf,
}

/// The files of one release before they are bundled.
#[derive(Debug)]
pub(crate) struct Images {
    /// The root file system.
    pub(crate) root: PathBuf,
    /// Its dm-verity hash tree.
    pub(crate) verity: PathBuf,
    /// The unified kernel image.
    pub(crate) uki: PathBuf,
}

impl Operator {
    /// An operator who works in `dir` with the programs of `bin_dir`.
    pub(crate) fn new(bin_dir: &Path, dir: PathBuf, server: SocketAddr, token_file: PathBuf) -> Result<Self> {
        fs::create_dir_all(dir.join("metadata"))?;
        Ok(Self { command: bin_dir.join("evenkeel"), dir, server, token_file })
    }

    /// Makes the offline keys and the root of trust; gives the path of the root metadata.
    pub(crate) fn make_root_of_trust(&self) -> Result<PathBuf> {
        for role in ["root", "targets"] {
            self.evenkeel(&["key", "new", "--role", role, "--out", &self.path(&format!("{role}.key"))])?;
        }
        let root = self.path("metadata/root.json");
        let server = format!("http://{}", self.server);
        self.evenkeel(&[
            "key",
            "root",
            "--root-key",
            &self.path("root.key"),
            "--targets-key",
            &self.path("targets.key"),
            "--server",
            &server,
            "--token-file",
            &self.token_file.display().to_string(),
            "--out",
            &root,
        ])?;
        Ok(PathBuf::from(root))
    }

    /// Bundles, signs, verifies and publishes a release; gives the size of the bundle in bytes.
    pub(crate) fn release(&self, version: &str, images: &Images, notes: &str) -> Result<u64> {
        let bundle = self.path(&format!("evenkeel-{version}.bundle"));
        let (root, verity, uki) = (
            images.root.display().to_string(),
            images.verity.display().to_string(),
            images.uki.display().to_string(),
        );
        let mut build = vec!["release", "build", "--version", version, "--root", &root, "--verity", &verity];
        build.extend(["--uki", &uki, "--hardware", "x86_64", "--channel", "stable", "--notes", notes]);
        build.extend(["--out", &bundle]);
        self.evenkeel(&build)?;
        let (targets_key, metadata) = (self.path("targets.key"), self.path("metadata"));
        self.evenkeel(&["release", "sign", &bundle, "--targets-key", &targets_key, "--metadata", &metadata])?;
        let root = self.path("metadata/root.json");
        self.evenkeel(&["release", "verify", &bundle, "--root", &root, "--metadata", &metadata])?;
        self.ask(&["release", "publish", &bundle, "--metadata", &metadata])?;
        Ok(fs::metadata(&bundle).with_context(|| bundle.clone())?.len())
    }

    /// A one-time token with which a box may enrol.
    pub(crate) fn enrolment_token(&self) -> Result<String> {
        Ok(self.ask(&["device", "token"])?.trim().to_owned())
    }

    /// Starts a rollout of `version` to every device that halts at the first failure; gives its id.
    pub(crate) fn start_rollout(&self, version: &str) -> Result<String> {
        let started = self.ask_json(&[
            "rollout",
            "start",
            version,
            "--wave",
            "all",
            "--failure-budget",
            "1",
            "--json",
        ])?;
        Ok(started["rollout"]["id"].as_u64().context("a started rollout has an id")?.to_string())
    }

    /// The rollout as the server shows it.
    pub(crate) fn rollout(&self, id: &str) -> Result<Value> {
        self.ask_json(&["rollout", "show", id, "--json"])
    }

    /// All devices as the server shows them.
    pub(crate) fn devices(&self) -> Result<Value> {
        self.ask_json(&["device", "list", "--json"])
    }

    /// One device with its reports.
    pub(crate) fn device(&self, id: &str) -> Result<Value> {
        self.ask_json(&["device", "show", id, "--json"])
    }

    fn ask_json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.ask(arguments)?;
        serde_json::from_str(&text)
            .with_context(|| format!("`evenkeel {}` printed {text}", arguments.join(" ")))
    }

    /// Runs a command that speaks to the update server.
    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let server = format!("http://{}", self.server);
        run(Command::new(&self.command)
            .args(arguments)
            .env("EVENKEEL_SERVER", server)
            .env("EVENKEEL_TOKEN_FILE", &self.token_file))
    }

    /// Runs a command that works on files alone.
    fn evenkeel(&self, arguments: &[&str]) -> Result<String> {
        run(Command::new(&self.command).args(arguments))
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
}
