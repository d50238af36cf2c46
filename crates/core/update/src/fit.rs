//! Whether a release fits this box (I5).

use alloc::{format, string::String, vec::Vec};

use evenkeel_release::Head;
use evenkeel_units::{ByteCount, Digest, Version};

use crate::{Failure, FailureKind};

/// What this box is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its kind of hardware, such as `x86_64`.
    pub hardware: String,
    /// The channel whose releases it takes, such as `stable`.
    pub channel: String,
    /// The version of its update agent.
    pub agent: Version,
    /// Starts that a trial is given.
    pub tries: u32,
}

/// What signed metadata says of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The release.
    pub version: Version,
    /// The channels that it is for.
    pub channels: Vec<String>,
    /// The kinds of hardware that it is for.
    pub hardware: Vec<String>,
}

/// What the verified head of a bundle says of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The release.
    pub version: Version,
    /// The oldest update agent that can install it.
    pub minimum_agent: Version,
    /// The root hash of its root image's verity tree.
    pub root_hash: Digest,
    /// The digest of the head itself.
    pub head: Digest,
    /// Chunks over all images.
    pub chunks: u32,
    /// Their bytes.
    pub bytes: ByteCount,
}

impl Release {
    /// What the machine needs to know of a verified head, whose gzip member has the digest `sha256`.
    #[must_use]
    pub fn of(head: &Head, sha256: Digest) -> Self {
        let manifest = head.manifest();
        let (chunks, bytes) =
            head.chunks().fold((0, 0), |(chunks, bytes), chunk| (chunks + 1, bytes + chunk.length.0));
        Self {
            version: manifest.version(),
            minimum_agent: manifest.minimum_agent(),
            root_hash: manifest.verity().root_hash,
            head: sha256,
            chunks,
            bytes: ByteCount(bytes),
        }
    }
}

impl Device {
    /// Whether this box may take what is offered, when it runs `running` and has kept `highest`.
    pub(crate) fn takes(
        &self,
        offer: &Offer,
        assigned: Version,
        running: Version,
        highest: Version,
    ) -> Result<(), Failure> {
        let version = offer.version;
        if version != assigned {
            return unfit(format!(
                "release {assigned} was assigned, but the signed target is release {version}; \
                 publish {assigned} under its own name"
            ));
        }
        if version <= running {
            return unfit(format!(
                "release {version} is not newer than {running}, which runs; assign a release above {running}"
            ));
        }
        if version < highest {
            return unfit(format!(
                "release {version} is older than {highest}, which this box has kept before; \
                 assign {highest} or a newer one"
            ));
        }
        among("hardware", &self.hardware, &offer.hardware, version)?;
        among("channel", &self.channel, &offer.channels, version)
    }

    /// Whether this box's agent can install the release, and whether it is the one that was offered.
    pub(crate) fn installs(&self, release: &Release, offered: Version) -> Result<(), Failure> {
        if release.version != offered {
            return unfit(format!(
                "the bundle of release {offered} holds release {}; build and publish it again",
                release.version
            ));
        }
        if self.agent < release.minimum_agent {
            return unfit(format!(
                "release {offered} needs update agent {} or newer, this box has {}; \
                 roll out a release in between first",
                release.minimum_agent, self.agent
            ));
        }
        Ok(())
    }
}

fn among(what: &str, ours: &str, allowed: &[String], version: Version) -> Result<(), Failure> {
    if allowed.iter().any(|one| one == ours) {
        return Ok(());
    }
    let allowed = allowed.join(", ");
    unfit(format!(
        "release {version} is for {what} {allowed}, this box has {what} {ours}; \
         assign a release that is built for {ours}"
    ))
}

fn unfit(reason: String) -> Result<(), Failure> {
    Err(Failure { kind: FailureKind::Unfit, reason })
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    const fn v(minor: u16) -> Version {
        Version::new(1, minor, 0)
    }

    fn device() -> Device {
        Device { hardware: "x86_64".into(), channel: "stable".into(), agent: v(1), tries: 3 }
    }

    fn offer(minor: u16) -> Offer {
        Offer {
            version: v(minor),
            channels: ["stable", "beta"].map(String::from).into(),
            hardware: ["x86_64".to_string()].into(),
        }
    }

    #[test]
    fn i5_only_a_newer_release_for_this_box_is_taken() {
        let elsewhere = Offer { hardware: ["aarch64".to_string()].into(), ..offer(2) };
        let other_channel = Offer { channels: ["beta".to_string()].into(), ..offer(2) };
        for (offer, assigned, running, highest, message) in [
            (offer(2), 2, 1, 1, None),
            (offer(3), 2, 1, 1, Some("1.2.0 was assigned, but the signed target is release 1.3.0")),
            (offer(1), 1, 1, 1, Some("1.1.0 is not newer than 1.1.0")),
            (offer(0), 0, 1, 1, Some("1.0.0 is not newer than 1.1.0")),
            (offer(2), 2, 1, 3, Some("1.2.0 is older than 1.3.0")),
            (elsewhere, 2, 1, 1, Some("for hardware aarch64, this box has hardware x86_64")),
            (other_channel, 2, 1, 1, Some("for channel beta, this box has channel stable")),
        ] {
            let result = device().takes(&offer, v(assigned), v(running), v(highest));
            match (result, message) {
                (Ok(()), None) => {}
                (Err(failure), Some(part)) => {
                    assert_eq!(failure.kind, FailureKind::Unfit);
                    assert!(failure.reason.contains(part), "{}", failure.reason);
                }
                (result, message) => panic!("{result:?}, expected {message:?}"),
            }
        }
    }

    #[test]
    fn a_release_for_a_newer_agent_or_of_another_version_is_refused() {
        let release = Release {
            version: v(2),
            minimum_agent: v(1),
            root_hash: Digest::of(b"root"),
            head: Digest::of(b"head"),
            chunks: 3,
            bytes: ByteCount(3),
        };
        assert_eq!(device().installs(&release, v(2)), Ok(()));
        let message = |release: &Release, offered| {
            device().installs(release, offered).err().map(|failure| failure.reason).unwrap_or_default()
        };
        assert!(message(&release, v(3)).contains("holds release 1.2.0"));
        let newer = Release { minimum_agent: v(2), ..release };
        assert!(message(&newer, v(2)).contains("needs update agent 1.2.0"));
    }
}
