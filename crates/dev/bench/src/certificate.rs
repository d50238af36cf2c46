//! The certificate that every TLS listener of a run shows: ECDSA on P-256, made for the run and signed by itself.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// Files of a certificate and its key, in PEM.
#[derive(Debug)]
pub(crate) struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    both: PathBuf,
}

impl Certificate {
    /// Where the files of a folder are, or would be.
    pub(crate) fn at(folder: &Path) -> Self {
        Self {
            chain: folder.join("site.pem"),
            key: folder.join("site.key"),
            both: folder.join("site-and-key.pem"),
        }
    }

    /// Makes one by the `openssl` command.
    ///
    /// # Errors
    /// When there is no `openssl`, or it fails.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let made = Self::at(folder);
        let output = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "30",
            ])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .arg("-keyout")
            .arg(&made.key)
            .arg("-out")
            .arg(&made.chain)
            .output()
            .context("cannot start openssl (package openssl)")?;
        ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
        fs::write(&made.both, [fs::read(&made.chain)?, fs::read(&made.key)?].concat())?;
        Ok(made)
    }

    /// The certificate.
    pub(crate) fn chain(&self) -> &Path {
        &self.chain
    }

    /// Its key.
    pub(crate) fn key(&self) -> &Path {
        &self.key
    }

    /// Both in one file, as HAProxy wants them.
    pub(crate) fn both(&self) -> &Path {
        &self.both
    }
}
