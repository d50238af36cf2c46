//! The two slots: writing the inactive one, reading it back, and lending chunks from the running one.
//!
//! Owns: which bytes go where. Invariants: a slot is opened to write by way of [`InactiveSlot`] (I1), and
//! takes a [`VerifiedChunk`] and nothing else (I2).

use std::path::PathBuf;

use evenkeel_boot::InactiveSlot;
use evenkeel_release::{
    Head, ImageKind, LocalChunk, VerifiedChunk,
    verity::{BLOCK, Superblock, TreeBuilder},
};
use evenkeel_units::{ByteCount, Digest, Hasher, Slot};

use crate::{Error, Esp, Storage};

/// Bytes read at once when a whole image is read: large enough for any disk, small enough for any box.
const READ: usize = 256 * BLOCK;

/// Where the images of one slot are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotPaths {
    /// The root image.
    pub root: PathBuf,
    /// Its hash tree.
    pub verity: PathBuf,
}

/// All places on a box where a release can be.
#[derive(Debug, Clone)]
pub struct Places {
    /// Slot a.
    pub a: SlotPaths,
    /// Slot b.
    pub b: SlotPaths,
    /// Where kernel images are.
    pub esp: Esp,
}

impl Places {
    /// The paths of one slot.
    #[must_use]
    pub const fn of(&self, slot: Slot) -> &SlotPaths {
        match slot {
            Slot::A => &self.a,
            Slot::B => &self.b,
        }
    }
}

/// The inactive slot, open to be written with one release.
#[derive(Debug)]
pub struct SlotWriter {
    slot: InactiveSlot,
    root: Storage,
    verity: Storage,
    uki: Storage,
}

impl SlotWriter {
    /// Opens the places of a slot for the images of a release, all of which have to fit.
    ///
    /// # Errors
    /// When a place is missing or too small; nothing was written then.
    pub fn open(places: &Places, slot: InactiveSlot, head: &Head) -> Result<Self, Error> {
        let length = |kind| head.manifest().image(kind).length;
        let paths = places.of(slot.slot());
        let root = Storage::open_to_write(&paths.root)?;
        root.check_room(length(ImageKind::Root))?;
        let verity = Storage::open_to_write(&paths.verity)?;
        verity.check_room(length(ImageKind::Verity))?;
        let uki = places.esp.stage(length(ImageKind::Uki))?;
        Ok(Self { slot, root, verity, uki })
    }

    /// The slot that is written.
    #[must_use]
    pub const fn slot(&self) -> InactiveSlot {
        self.slot
    }

    const fn place(&self, kind: ImageKind) -> &Storage {
        match kind {
            ImageKind::Root => &self.root,
            ImageKind::Verity => &self.verity,
            ImageKind::Uki => &self.uki,
        }
    }

    /// Writes a chunk to its place, unless the same bytes are there already: a disk reads faster than it
    /// writes, and flash wears by writing. Durable only after [`SlotWriter::flush`].
    ///
    /// # Errors
    /// When the system refuses.
    pub fn write(&self, chunk: &VerifiedChunk) -> Result<(), Error> {
        let place = self.place(chunk.image());
        let mut there = vec![0; chunk.bytes().len()];
        let same = place.read_at(&mut there, chunk.offset().0).is_ok() && there == chunk.bytes();
        if same { Ok(()) } else { place.write_at(chunk.bytes(), chunk.offset().0) }
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn flush(&self) -> Result<(), Error> {
        ImageKind::ALL.into_iter().try_for_each(|kind| self.place(kind).flush())
    }

    /// Reads every byte back from the storage and checks it: the digest of each image, and that the root
    /// image has the hash tree that the boot entry names.
    ///
    /// # Errors
    /// When something cannot be read or is not what the manifest says.
    pub fn read_back(&self, head: &Head) -> Result<(), Error> {
        self.flush()?;
        let manifest = head.manifest();
        for kind in ImageKind::ALL {
            self.place(kind).forget_cached();
        }
        for kind in [ImageKind::Verity, ImageKind::Uki] {
            let image = manifest.image(kind);
            let got = read_whole(self.place(kind), image.length, |_| Ok(()))?;
            expect(self.place(kind), "SHA-256", got, image.sha256)?;
        }
        let image = manifest.image(ImageKind::Root);
        let superblock = Superblock::new(image.length, manifest.verity().salt.clone());
        let unreadable = |reason: String| Error::ReadBack {
            path: self.root.path().into(),
            got: reason,
            expected: "a root image with a hash tree".into(),
        };
        let mut tree = TreeBuilder::new(superblock.map_err(|error| unreadable(error.to_string()))?);
        let got = read_whole(&self.root, image.length, |blocks| {
            let (blocks, _) = blocks.as_chunks::<BLOCK>();
            blocks
                .iter()
                .try_for_each(|block| tree.push(block, &mut |_, _| {}))
                .map_err(|error| unreadable(error.to_string()))
        })?;
        expect(&self.root, "SHA-256", got, image.sha256)?;
        let root_hash = tree.finish(&mut |_, _| {}).map_err(|error| unreadable(error.to_string()))?;
        expect(&self.root, "root hash", root_hash, manifest.verity().root_hash)
    }
}

fn expect(place: &Storage, what: &str, got: Digest, expected: Digest) -> Result<(), Error> {
    if got == expected {
        return Ok(());
    }
    let path = place.path().into();
    Err(Error::ReadBack { path, got: format!("{what} {got}"), expected: expected.to_string() })
}

/// The digest of the first `length` bytes of a place, which are also given to `each` as they are read.
fn read_whole(
    place: &Storage,
    length: ByteCount,
    mut each: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<Digest, Error> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; READ];
    let mut offset = 0;
    while offset < length.0 {
        let piece = usize::try_from(length.0 - offset).unwrap_or(READ).min(READ);
        place.read_at(&mut buffer[..piece], offset)?;
        hasher.update(&buffer[..piece]);
        each(&buffer[..piece])?;
        offset += piece as u64;
    }
    Ok(hasher.finish())
}

/// The running slot, open to lend what the next release has in common with it.
#[derive(Debug)]
pub struct SlotReader {
    root: Storage,
    verity: Storage,
}

impl SlotReader {
    /// Opens the places of a slot for reading.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn open(paths: &SlotPaths) -> Result<Self, Error> {
        Ok(Self { root: Storage::open_to_read(&paths.root)?, verity: Storage::open_to_read(&paths.verity)? })
    }

    /// The whole chunks of `chunk_size` that the root partition has, and their digests.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn chunks(&self, chunk_size: ByteCount) -> Result<Vec<LocalChunk>, Error> {
        let mut buffer = vec![0; usize::try_from(chunk_size.0).unwrap_or(READ)];
        let length = ByteCount(buffer.len() as u64);
        let mut chunks = Vec::new();
        let mut offset = ByteCount(0);
        while offset.0 + length.0 <= self.root.size().0 {
            self.root.read_at(&mut buffer, offset.0)?;
            let sha256 = Digest::of(&buffer);
            chunks.push(LocalChunk { sha256, image: ImageKind::Root, offset, length });
            offset.0 += length.0;
        }
        Ok(chunks)
    }

    /// The bytes of one chunk, to be verified like any others.
    ///
    /// # Errors
    /// When they cannot be read, or are a kernel image's: those are never lent.
    pub fn read(&self, chunk: &LocalChunk) -> Result<Vec<u8>, Error> {
        let place = match chunk.image {
            ImageKind::Root | ImageKind::Uki => &self.root,
            ImageKind::Verity => &self.verity,
        };
        let mut bytes = vec![0; usize::try_from(chunk.length.0).unwrap_or(0)];
        place.read_at(&mut bytes, chunk.offset.0)?;
        Ok(bytes)
    }
}
