//! Who this box is: its key, and whether its server knows it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use ed25519_dalek::SigningKey;
use evenkeel_config::agent::Config;
use evenkeel_fetch::{DeviceClient, chain};
use evenkeel_protocol::{Enrol, PublicKey};

use crate::clock::{Backoff, random_bytes};

/// Longest wait between two attempts to enrol: an operator who has just written the token does not wait for long.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Longest token that is read.
const TOKEN_BYTES: usize = 4096;

/// Reads the device's key, or makes one: 32 random bytes that only the agent's user can read.
pub(crate) fn device_key(data: &Path) -> anyhow::Result<SigningKey> {
    let path = data.join("device-key");
    match fs::read(&path) {
        Ok(bytes) => {
            let Ok(seed) = <[u8; 32]>::try_from(bytes) else {
                bail!(
                    "{} is not a device key of 32 bytes; remove it, then enrol the box anew",
                    path.display()
                );
            };
            Ok(SigningKey::from_bytes(&seed))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let seed = random_bytes();
            write_durably(&path, &seed).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(SigningKey::from_bytes(&seed))
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// Makes the server know this box, however long it takes; returns at once when it does already.
pub(crate) async fn enrol(config: &Config, key: &SigningKey, client: &DeviceClient) {
    let marker = PathBuf::from(config.device.data_dir.as_str()).join("enrolled");
    // The key is in the mark, so that a box with a new key enrols anew.
    let mark = format!("{} {}\n", config.server.url, PublicKey::from(key));
    if fs::read_to_string(&marker).is_ok_and(|text| text == mark) {
        return;
    }
    let mut backoff = Backoff::up_to(LONGEST_WAIT);
    let mut last = String::new();
    loop {
        match try_enrol(config, key, client).await {
            Ok(device) => {
                tracing::info!(%device, "enrolled");
                if let Err(error) = write_durably(&marker, mark.as_bytes()) {
                    tracing::warn!(%error, path = %marker.display(), "cannot remember the enrolment");
                }
                return;
            }
            Err(error) => {
                let error = format!("{error:#}");
                if error != last {
                    tracing::warn!(%error, "not enrolled yet");
                }
                last = error;
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }
}

async fn try_enrol(config: &Config, key: &SigningKey, client: &DeviceClient) -> anyhow::Result<String> {
    let Some(file) = &config.server.enrolment_token_file else {
        bail!("no enrolment token; set server.enrolment_token_file in agent.toml");
    };
    let token = fs::read_to_string(file.as_str())
        .with_context(|| format!("cannot read {file}; write a token of `evenkeel device token` there"))?;
    if token.len() > TOKEN_BYTES {
        bail!("{file} is longer than {TOKEN_BYTES} bytes; write a token of `evenkeel device token` there");
    }
    let enrol = Enrol {
        token: token.trim().into(),
        public_key: PublicKey::from(key),
        hardware: config.device.hardware.as_str().parse()?,
        name: config.device.name.as_ref().map(|name| name.as_str().parse()).transpose()?,
    };
    let enrolled = client.enrol(&enrol).await.map_err(|error| anyhow::anyhow!(chain(&error)))?;
    Ok(enrolled.device.to_string())
}
