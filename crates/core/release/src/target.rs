//! A release as a TUF target: what its signed `custom` object says, and what a device makes of it.

use alloc::{format, string::ToString, vec::Vec};

use evenkeel_trust::{Object, TargetName, Value, VerifiedTarget};
use evenkeel_units::{ByteCount, Digest, Label, Version};
use serde::Deserialize;

use crate::{Head, Manifest, ReleaseError, limits};

/// The head of a bundle, before and after inflating.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct HeadMeta {
    /// The length of the head's gzip member, the first bytes of the bundle.
    pub length: ByteCount,
    /// The SHA-256 of that gzip member.
    pub sha256: Digest,
    /// How many bytes it inflates to.
    pub plain_length: ByteCount,
    /// The SHA-256 of those.
    pub plain_sha256: Digest,
}

/// The target name of a release: `evenkeel-VERSION.bundle`.
///
/// # Panics
/// Never: digits and dots are harmless in a name.
#[must_use]
pub fn target_name(version: Version) -> TargetName {
    format!("evenkeel-{version}.bundle").parse().expect("a version is harmless in a name")
}

/// The `custom` object of a release's target.
#[must_use]
pub fn custom(manifest: &Manifest, head: HeadMeta) -> Value {
    let text = |text: &dyn ToString| Value::Text(text.to_string());
    let labels = |labels: &[Label]| Value::List(labels.iter().map(|label| text(label)).collect());
    let count = |count: ByteCount| Value::Integer(i64::try_from(count.0).unwrap_or(i64::MAX));
    let head = Object::from([
        ("length".into(), count(head.length)),
        ("sha256".into(), text(&head.sha256)),
        ("plain_length".into(), count(head.plain_length)),
        ("plain_sha256".into(), text(&head.plain_sha256)),
    ]);
    let release = Object::from([
        ("version".into(), text(&manifest.version())),
        ("channels".into(), labels(manifest.channels())),
        ("hardware".into(), labels(manifest.hardware())),
        ("head".into(), head.into()),
    ]);
    Object::from([("evenkeel".to_string(), release.into())]).into()
}

/// A release that verified targets metadata offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseTarget {
    target: VerifiedTarget,
    version: Version,
    channels: Vec<Label>,
    hardware: Vec<Label>,
    head: HeadMeta,
}

impl ReleaseTarget {
    /// Reads the `custom` object of a verified target.
    ///
    /// # Errors
    /// It is no release, or one under the name of another.
    pub fn of(target: VerifiedTarget) -> Result<Self, ReleaseError> {
        let refused = |reason| ReleaseError::NotARelease { name: target.name().to_string(), reason };
        let custom = target.custom().ok_or_else(|| refused("it has no `custom` object".into()))?;
        let File { evenkeel: file } =
            serde_json::from_str(&custom.text()).map_err(|error| refused(error.to_string()))?;
        if *target.name() != target_name(file.version) {
            return Err(refused(format!("its `custom` object says version {}", file.version)));
        }
        let HeadMeta { length, plain_length, .. } = file.head;
        if length > limits::member(limits::HEAD_PLAIN)
            || plain_length > limits::HEAD_PLAIN
            || length > target.length()
        {
            return Err(refused(format!(
                "its head is {length} long, {plain_length} inflated, which is too long"
            )));
        }
        let Release { version, channels, hardware, head } = file;
        Ok(Self { target, version, channels, hardware, head })
    }

    /// The target that it is.
    #[must_use]
    pub const fn target(&self) -> &VerifiedTarget {
        &self.target
    }

    /// Its version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The channels that it may be offered on.
    #[must_use]
    pub fn channels(&self) -> &[Label] {
        &self.channels
    }

    /// The hardware that it runs on.
    #[must_use]
    pub fn hardware(&self) -> &[Label] {
        &self.hardware
    }

    /// The head: fetch `length` bytes from the start of the bundle, inflate at most `plain_length`.
    #[must_use]
    pub const fn head_meta(&self) -> HeadMeta {
        self.head
    }

    /// Whether a device of this hardware, on this channel, may take it (I5).
    ///
    /// # Errors
    /// It is for other hardware or for other channels.
    pub fn check_for(&self, hardware: &str, channel: &str) -> Result<(), ReleaseError> {
        let among = |labels: &[Label], own: &str| labels.iter().any(|label| label.as_str() == own);
        let listed = |labels: &[Label]| labels.iter().map(Label::as_str).collect::<Vec<_>>().join(", ");
        let version = self.version;
        if !among(&self.hardware, hardware) {
            let (own, listed) = (hardware.into(), listed(&self.hardware));
            return Err(ReleaseError::Hardware { version, own, listed });
        }
        if !among(&self.channels, channel) {
            let (own, listed) = (channel.into(), listed(&self.channels));
            return Err(ReleaseError::Channel { version, own, listed });
        }
        Ok(())
    }

    /// Whether `compressed` is the head's gzip member, exactly as signed; to be asked before inflating it.
    ///
    /// # Errors
    /// It is not.
    pub fn check_head(&self, compressed: &[u8]) -> Result<(), ReleaseError> {
        check_bytes(compressed, self.head.length, self.head.sha256)
    }

    /// Reads the inflated head, exactly as signed, and finds that it says what the target says.
    ///
    /// # Errors
    /// Other bytes, not a head, or the head of another release.
    pub fn head(&self, plain: &[u8]) -> Result<Head, ReleaseError> {
        check_bytes(plain, self.head.plain_length, self.head.plain_sha256)?;
        let head = Head::read_unsigned(plain, self.head.length)?;
        let (manifest, version) = (head.manifest(), self.version);
        let differs = |what: &'static str| Err(ReleaseError::Contradiction { version, what });
        if manifest.version() != version {
            return differs("version");
        }
        if manifest.hardware() != self.hardware {
            return differs("hardware");
        }
        if manifest.channels() != self.channels {
            return differs("channels");
        }
        if head.bundle_length() != self.target.length() {
            return differs("length");
        }
        Ok(head)
    }
}

fn check_bytes(bytes: &[u8], expected: ByteCount, sha256: Digest) -> Result<(), ReleaseError> {
    let got = ByteCount(bytes.len() as u64);
    if got != expected {
        return Err(ReleaseError::HeadLength { got, expected });
    }
    let got = Digest::of(bytes);
    if got == sha256 { Ok(()) } else { Err(ReleaseError::HeadDigest { got, expected: sha256 }) }
}

#[derive(Deserialize)]
struct File {
    evenkeel: Release,
}

#[derive(Deserialize)]
struct Release {
    version: Version,
    channels: Vec<Label>,
    hardware: Vec<Label>,
    head: HeadMeta,
}
