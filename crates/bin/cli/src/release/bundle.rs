//! Reads a bundle from a file: its head, and its chunks, each verified before it is handed on.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use evenkeel_release::{ChunkSpec, ChunkVerifier, Head, HeadMeta, VerifiedChunk, limits};
use evenkeel_units::{ByteCount, Digest, Hasher};
use flate2::bufread::GzDecoder;

/// Bytes read from a file at once.
const BLOCK: usize = 256 << 10;

/// A bundle file whose head could be read.
pub(super) struct Bundle {
    path: PathBuf,
    file: BufReader<File>,
    head: Head,
    head_plain: Vec<u8>,
    head_meta: HeadMeta,
    length: ByteCount,
}

impl Bundle {
    /// Opens a bundle and reads its head; nothing is signed here.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let context = || format!("{} is no whole bundle (copy it or build it again)", path.display());
        let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
        let length = ByteCount(file.metadata().with_context(context)?.len());
        let mut file = BufReader::with_capacity(BLOCK, file);
        let plain = inflate_head(&mut file).with_context(context)?;
        let head_length = ByteCount(file.stream_position().with_context(context)?);
        let head = Head::read_unsigned(&plain, head_length).with_context(context)?;
        if head.bundle_length() != length {
            let (expected, got) = (head.bundle_length().0, length.0);
            bail!(
                "{} has {got} bytes, and its index lists {expected}; it was cut short or damaged: copy or build it again",
                path.display()
            );
        }
        let compressed = read_start(&mut file, head_length).with_context(context)?;
        let head_meta = HeadMeta {
            length: head_length,
            sha256: Digest::of(&compressed),
            plain_length: ByteCount(plain.len() as u64),
            plain_sha256: Digest::of(&plain),
        };
        Ok(Self { path: path.into(), file, head, head_plain: plain, head_meta, length })
    }

    pub(super) const fn head(&self) -> &Head {
        &self.head
    }

    /// The inflated head, as it stands in the file.
    pub(super) fn head_plain(&self) -> &[u8] {
        &self.head_plain
    }

    pub(super) const fn head_meta(&self) -> HeadMeta {
        self.head_meta
    }

    pub(super) const fn length(&self) -> ByteCount {
        self.length
    }

    /// The SHA-256 of the whole file.
    pub(super) fn digest(&mut self) -> Result<Digest> {
        let context = || format!("{} cannot be read", self.path.display());
        self.file.rewind().with_context(context)?;
        let mut hasher = Hasher::new();
        loop {
            let bytes = self.file.fill_buf().with_context(context)?;
            if bytes.is_empty() {
                return Ok(hasher.finish());
            }
            hasher.update(bytes);
            let taken = bytes.len();
            self.file.consume(taken);
        }
    }

    /// Hands every chunk on in order, verified.
    pub(super) fn each_chunk(&mut self, mut take: impl FnMut(VerifiedChunk) -> Result<()>) -> Result<()> {
        self.file.seek(SeekFrom::Start(self.head_meta.length.0))?;
        let mut member = Vec::new();
        for spec in self.head.chunks() {
            member.clear();
            let read = (&mut self.file).take(spec.member_length.0).read_to_end(&mut member);
            read.with_context(|| format!("{} cannot be read", self.path.display()))?;
            let chunk = verify_chunk(&self.head, &spec, &member);
            take(chunk.with_context(|| self.path.display().to_string())?)?;
        }
        Ok(())
    }
}

/// Inflates the first gzip member, at most as much as a head may have, and leaves `file` behind it.
fn inflate_head(file: &mut BufReader<File>) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(file).take(limits::HEAD_PLAIN.0 + 1).read_to_end(&mut plain)?;
    Ok(plain)
}

fn read_start(file: &mut BufReader<File>, length: ByteCount) -> Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(length.0).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Inflates one member, no further than its chunk goes, and proves the chunk.
fn verify_chunk(head: &Head, spec: &ChunkSpec, member: &[u8]) -> Result<VerifiedChunk> {
    let mut verifier = ChunkVerifier::new(head, spec.id).context("the index has no such chunk")?;
    let mut decoder = GzDecoder::new(member);
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = decoder.read(&mut piece).with_context(|| {
            format!(
                "chunk {} of {} is not whole gzip; it is damaged: fetch it again",
                spec.id.number, spec.id.image
            )
        })?;
        if read == 0 {
            return Ok(verifier.finish()?);
        }
        verifier.push(&piece[..read])?;
    }
}
