//! An operator with a folder of their own, who runs the real command.
#![allow(dead_code, reason = "every test file uses its own part of it")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A folder with small images, keys and metadata.
pub(crate) struct Operator {
    folder: tempfile::TempDir,
}

/// The command line of `evenkeel release build` for the folder's images.
pub(crate) const BUILD: &str =
    "release build --version 1.1.0 --root root.raw --uki uki.efi --notes Better. --out r.bundle";

/// The command line that signs the bundle.
pub(crate) const SIGN: &str = "release sign r.bundle --targets-key targets.key --metadata meta";

/// The command line that verifies the bundle.
pub(crate) const VERIFY: &str = "release verify r.bundle --root meta/root.json --metadata meta";

impl Operator {
    /// Images, no keys.
    pub(crate) fn new() -> Self {
        let operator = Self { folder: tempfile::tempdir().expect("a folder") };
        let pattern = |length: u32, factor: u32| -> Vec<u8> {
            (0..length).map(|at| (at.wrapping_mul(factor) >> 13).to_le_bytes()[0]).collect()
        };
        operator.write("root.raw", &pattern(600_001, 2_654_435_761));
        operator.write("uki.efi", &pattern(9_999, 40_503));
        operator
    }

    /// Keys, root metadata and a signed bundle.
    pub(crate) fn with_release() -> Self {
        let operator = Self::with_root();
        operator.does(BUILD);
        operator.does(SIGN);
        operator
    }

    /// Keys and root metadata, the online keys being those of seeds 3 and 4.
    pub(crate) fn with_root() -> Self {
        let operator = Self::new();
        operator.does("key new --role root --out root.key");
        operator.does("key new --role targets --out targets.key");
        operator.write_online_keys();
        operator.does(
            "key root --root-key root.key --targets-key targets.key --online-keys online.json --out meta/root.json",
        );
        operator
    }

    pub(crate) fn write_online_keys(&self) {
        let [snapshot, timestamp] =
            [3, 4].map(|seed| evenkeel_trust::SigningKey::from_seed(&[seed; 32]).public().clone());
        let keys = evenkeel_trust::OnlineKeys { snapshot, timestamp };
        self.write("online.json", keys.text().as_bytes());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).expect("written");
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("read")
    }

    /// Unpacks the bundle with tar, as anyone can.
    pub(crate) fn unpack(&self) {
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(self.path("r.bundle")).arg("-C").arg(self.folder.path());
        assert!(tar.status().expect("tar runs").success());
    }

    /// Every file of the metadata folder, by name, to see that nothing changed.
    pub(crate) fn metadata(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(self.path("meta"))
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .map(|path| (path.clone(), fs::read(path).expect("read")))
            .collect();
        files.sort();
        files
    }

    pub(crate) fn run(&self, line: &str) -> Output {
        Command::new(Path::new(env!("CARGO_BIN_EXE_evenkeel")))
            .args(line.split_whitespace())
            .current_dir(self.folder.path())
            .env_remove("EVENKEEL_SERVER")
            .env_remove("EVENKEEL_TOKEN_FILE")
            .output()
            .expect("evenkeel runs")
    }

    /// Runs a command that has to succeed, and says what it printed.
    pub(crate) fn does(&self, line: &str) -> String {
        let output = self.run(line);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "evenkeel {line}\n{out}{err}");
        out
    }

    /// Runs a command that has to fail with status 1 and one line, and says that line.
    pub(crate) fn fails(&self, line: &str) -> String {
        let output = self.run(line);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "evenkeel {line}\n{out}{err}");
        assert_eq!(err.lines().count(), 1, "evenkeel {line}\n{err}");
        err
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
