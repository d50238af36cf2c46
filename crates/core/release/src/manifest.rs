//! `manifest.json`: what a release is and which images it has.
//!
//! Owns: the fields and their ranges. A field that this version does not know is passed over, so that a newer
//! bundle can say more; `minimum_agent` is how it says that an older agent may not take it.

use alloc::{format, string::String, string::ToString, vec::Vec};

use evenkeel_units::{ByteCount, Digest, Label, Version};
use serde::{Deserialize, Serialize};

use crate::{
    ReleaseError, limits,
    verity::{BLOCK, Salt, tree_length},
};

/// The only format of bundles there is.
const FORMAT: u32 = 1;

/// One of the images of a release, in the order in which a bundle holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageKind {
    /// The root file system.
    Root,
    /// Its dm-verity hash tree, with superblock.
    Verity,
    /// The unified kernel image.
    Uki,
}

impl ImageKind {
    /// All images, in their order.
    pub const ALL: [Self; 3] = [Self::Root, Self::Verity, Self::Uki];

    /// The image's file in the bundle.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Root => "root.img",
            Self::Verity => "verity.img",
            Self::Uki => "uki.efi",
        }
    }
}

impl core::fmt::Display for ImageKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.file())
    }
}

/// An image as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageMeta {
    /// Its length, from 1 byte to [`limits::IMAGE`].
    pub length: ByteCount,
    /// The SHA-256 of all of it.
    pub sha256: Digest,
}

/// What opens the hash tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerityMeta {
    /// The hash of the tree's top block, which the boot entry names.
    pub root_hash: Digest,
    /// What every hash of the tree begins with.
    pub salt: Salt,
}

/// A release: its version, whom it is for, and its images. Only what is within every limit can be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    version: Version,
    hardware: Vec<Label>,
    channels: Vec<Label>,
    minimum_agent: Version,
    state_schema: u32,
    notes: String,
    root: ImageMeta,
    verity: ImageMeta,
    uki: ImageMeta,
    tree: VerityMeta,
}

/// What a new manifest is made of; all fields as those of [`Manifest`] of the same name.
#[derive(Debug, Clone)]
pub struct Contents {
    /// The release's version.
    pub version: Version,
    /// The hardware it runs on, 1 to 16 kinds.
    pub hardware: Vec<Label>,
    /// The channels it may be offered on, 1 to 16.
    pub channels: Vec<Label>,
    /// The oldest release whose agent can take it.
    pub minimum_agent: Version,
    /// The form of the device's kept state that it understands.
    pub state_schema: u32,
    /// What changed, for people; at most 16 KiB.
    pub notes: String,
    /// The root, verity and UKI images.
    pub images: [ImageMeta; 3],
    /// What opens the hash tree.
    pub tree: VerityMeta,
}

impl Manifest {
    /// A manifest of these contents; labels are sorted and each kept once.
    ///
    /// # Errors
    /// A number, length or text beyond its limit, or a hash tree that cannot belong to the root image.
    pub fn new(contents: Contents) -> Result<Self, ReleaseError> {
        let Contents { version, hardware, channels, minimum_agent, state_schema, notes, images, tree } =
            contents;
        let [root, verity, uki] = images;
        let sorted = |field: &'static str, mut labels: Vec<Label>| {
            labels.sort();
            labels.dedup();
            if (1..=limits::LABELS).contains(&labels.len()) {
                return Ok(labels);
            }
            Err(refuse(field, labels.len().to_string(), "1 to 16 labels"))
        };
        let (hardware, channels) = (sorted("hardware", hardware)?, sorted("channels", channels)?);
        if notes.len() > limits::NOTES {
            return Err(refuse("notes", format!("{} bytes", notes.len()), "at most 16 KiB of text"));
        }
        for (kind, image) in ImageKind::ALL.into_iter().zip(images) {
            if image.length.0 == 0 || image.length > limits::IMAGE {
                return Err(refuse(kind.file(), image.length.to_string(), "1 byte to 2 GiB"));
            }
        }
        let expected = tree_length(root.length)?;
        if verity.length != expected {
            return Err(ReleaseError::TreeLength { root: root.length, got: verity.length, expected });
        }
        Ok(Self { version, hardware, channels, minimum_agent, state_schema, notes, root, verity, uki, tree })
    }

    /// Reads `manifest.json`.
    ///
    /// # Errors
    /// Not a manifest of this format, or beyond a limit.
    pub fn parse(json: &[u8]) -> Result<Self, ReleaseError> {
        let refused = |reason: String| ReleaseError::Json { file: FILE, reason };
        if json.len() as u64 > limits::MANIFEST.0 {
            return Err(refused(format!("it is longer than {}", limits::MANIFEST)));
        }
        let file: file::Manifest =
            serde_json::from_slice(json).map_err(|error| refused(error.to_string()))?;
        if file.format != FORMAT {
            return Err(refuse("format", file.format.to_string(), "1; a newer evenkeel made it"));
        }
        file.into_manifest()
    }

    /// The text of `manifest.json`, the same for the same release.
    ///
    /// # Panics
    /// Never: every value of a manifest can be written as JSON.
    #[must_use]
    pub fn text(&self) -> String {
        let text = serde_json::to_string_pretty(&file::Manifest::of(self));
        text.expect("a manifest is strings and numbers") + "\n"
    }

    /// The release's version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The hardware it runs on.
    #[must_use]
    pub fn hardware(&self) -> &[Label] {
        &self.hardware
    }

    /// The channels it may be offered on.
    #[must_use]
    pub fn channels(&self) -> &[Label] {
        &self.channels
    }

    /// The oldest release whose agent can take it.
    #[must_use]
    pub const fn minimum_agent(&self) -> Version {
        self.minimum_agent
    }

    /// The form of the device's kept state that it understands.
    #[must_use]
    pub const fn state_schema(&self) -> u32 {
        self.state_schema
    }

    /// What changed, for people.
    #[must_use]
    pub fn notes(&self) -> &str {
        &self.notes
    }

    /// One of its images.
    #[must_use]
    pub const fn image(&self, kind: ImageKind) -> ImageMeta {
        match kind {
            ImageKind::Root => self.root,
            ImageKind::Verity => self.verity,
            ImageKind::Uki => self.uki,
        }
    }

    /// What opens the hash tree.
    #[must_use]
    pub const fn verity(&self) -> &VerityMeta {
        &self.tree
    }
}

/// The file's name in the bundle.
pub(crate) const FILE: &str = "manifest.json";

fn refuse(field: &'static str, got: String, expected: &'static str) -> ReleaseError {
    ReleaseError::Field { file: FILE, field: field.into(), got, expected }
}

/// The text's own shape.
mod file {
    use super::{
        BLOCK, ByteCount, Contents, Digest, FORMAT, ImageKind, ImageMeta, Label, ReleaseError, Salt, String,
        ToString, Vec, VerityMeta, Version, refuse,
    };
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Manifest {
        pub(super) format: u32,
        version: Version,
        hardware: Vec<Label>,
        channels: Vec<Label>,
        minimum_agent: Version,
        state_schema: u32,
        notes: String,
        images: Images,
    }

    #[derive(Serialize, Deserialize)]
    struct Images {
        root: Image,
        verity: Verity,
        uki: Image,
    }

    #[derive(Serialize, Deserialize)]
    struct Image {
        file: String,
        length: ByteCount,
        sha256: Digest,
    }

    #[derive(Serialize, Deserialize)]
    struct Verity {
        #[serde(flatten)]
        image: Image,
        root_hash: Digest,
        salt: Salt,
        block_size: u64,
    }

    impl Image {
        fn of(manifest: &super::Manifest, kind: ImageKind) -> Self {
            let ImageMeta { length, sha256 } = manifest.image(kind);
            Self { file: kind.file().into(), length, sha256 }
        }

        fn into_meta(self, kind: ImageKind) -> Result<ImageMeta, ReleaseError> {
            if self.file == kind.file() {
                return Ok(ImageMeta { length: self.length, sha256: self.sha256 });
            }
            Err(refuse("file", self.file, "root.img, verity.img and uki.efi for the images of these names"))
        }
    }

    impl Manifest {
        pub(super) fn of(manifest: &super::Manifest) -> Self {
            let VerityMeta { root_hash, salt } = manifest.tree.clone();
            let image = Image::of(manifest, ImageKind::Verity);
            let images = Images {
                root: Image::of(manifest, ImageKind::Root),
                verity: Verity { image, root_hash, salt, block_size: BLOCK as u64 },
                uki: Image::of(manifest, ImageKind::Uki),
            };
            Self {
                format: FORMAT,
                version: manifest.version,
                hardware: manifest.hardware.clone(),
                channels: manifest.channels.clone(),
                minimum_agent: manifest.minimum_agent,
                state_schema: manifest.state_schema,
                notes: manifest.notes.clone(),
                images,
            }
        }

        pub(super) fn into_manifest(self) -> Result<super::Manifest, ReleaseError> {
            let Images { root, verity, uki } = self.images;
            let Verity { image, root_hash, salt, block_size } = verity;
            if block_size != BLOCK as u64 {
                return Err(refuse("block_size", block_size.to_string(), "4096"));
            }
            super::Manifest::new(Contents {
                version: self.version,
                hardware: self.hardware,
                channels: self.channels,
                minimum_agent: self.minimum_agent,
                state_schema: self.state_schema,
                notes: self.notes,
                images: [
                    root.into_meta(ImageKind::Root)?,
                    image.into_meta(ImageKind::Verity)?,
                    uki.into_meta(ImageKind::Uki)?,
                ],
                tree: VerityMeta { root_hash, salt },
            })
        }
    }
}
