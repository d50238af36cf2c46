//! `evenkeel release build`: images into a bundle. The same inputs make the same bytes.

use std::{path::PathBuf, thread};

use anyhow::{Result, anyhow};
use evenkeel_release::{
    ChunkId, ChunkIndex, Contents, Framing, Head, ImageKind, Layout, Manifest, Member, limits,
};
use evenkeel_units::{ByteCount, Digest, Label, Version};
use flate2::{Compression, GzBuilder};

use super::images::{Image, root_and_tree};
use crate::files::Replacement;

/// Build a bundle from a root image and a kernel image
///
/// The hash tree is computed unless one is given. The root image is padded with zeros to whole blocks of 4 KiB.
/// The same inputs make the same bundle, byte for byte.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The release's version, such as 1.1.0
    #[arg(long)]
    version: Version,
    /// The root file system image
    #[arg(long, value_name = "IMAGE")]
    root: PathBuf,
    /// The unified kernel image
    #[arg(long, value_name = "FILE")]
    uki: PathBuf,
    /// The dm-verity hash tree of the root image, with superblock; checked
    #[arg(long, value_name = "IMAGE")]
    verity: Option<PathBuf>,
    /// Hardware it runs on; give it once for each kind
    #[arg(long, value_name = "NAME", default_value = "x86_64")]
    hardware: Vec<Label>,
    /// Channel it may be offered on; give it once for each channel
    #[arg(long, value_name = "NAME", default_value = "stable")]
    channel: Vec<Label>,
    /// The oldest release whose agent can take it
    #[arg(long, value_name = "VERSION", default_value = "0.0.0")]
    minimum_agent: Version,
    /// The form of the device's kept state that it understands
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    state_schema: u32,
    /// What changed, for people
    #[arg(long, value_name = "TEXT", default_value = "")]
    notes: String,
    /// The bundle to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let (root, tree, verity) = root_and_tree(&arguments.root, arguments.verity.as_deref())?;
    let images = [root, tree, Image::file(&arguments.uki)?];
    let [root, tree, uki] = &images;
    let manifest = Manifest::new(Contents {
        version: arguments.version,
        hardware: arguments.hardware.clone(),
        channels: arguments.channel.clone(),
        minimum_agent: arguments.minimum_agent,
        state_schema: arguments.state_schema,
        notes: arguments.notes.clone(),
        images: [root.meta()?, tree.meta()?, uki.meta()?],
        tree: verity,
    })?;
    let total = write_bundle(arguments, &manifest, &images)?;
    println!("{}: release {}, {total}", arguments.out.display(), manifest.version());
    println!("root hash {}", manifest.verity().root_hash);
    Ok(())
}

/// Writes the members aside, since the head in front of them says where each one is; then the whole.
fn write_bundle(arguments: &Arguments, manifest: &Manifest, images: &[Image; 3]) -> Result<ByteCount> {
    let aside = arguments.out.with_extension("members");
    let mut body = Body { file: Replacement::begin(&aside)?, length: ByteCount(0) };
    let layout = Layout::new(manifest, limits::CHUNK);
    let mut members = [const { Vec::new() }; 3];
    for ((kind, image), members) in ImageKind::ALL.into_iter().zip(images).zip(&mut members) {
        body.write_image(layout, kind, image, members)?;
    }
    let index = ChunkIndex::new(manifest, limits::CHUNK, members)?;
    let head = compress(&Head::plain(manifest, &index));
    let mut bundle = Replacement::begin(&arguments.out)?;
    bundle.write(&head)?;
    body.append_to(&mut bundle)?;
    bundle.keep()?;
    Ok(ByteCount(head.len() as u64 + index.total().0))
}

/// The members behind the head, on their way to a file.
struct Body {
    file: Replacement,
    length: ByteCount,
}

/// Chunks compressed at once: 32 of 256 KiB are 8 MiB of memory, and enough to keep every core at work.
const BATCH: usize = 32;

impl Body {
    fn write_image(
        &mut self,
        layout: Layout<'_>,
        image: ImageKind,
        source: &Image,
        members: &mut Vec<Member>,
    ) -> Result<()> {
        let mut batch: Vec<(Vec<u8>, Framing)> = Vec::with_capacity(BATCH);
        let mut number = 0;
        source.pieces(limits::CHUNK.0.try_into()?, |piece| {
            batch.push((piece.to_vec(), layout.framing(ChunkId { image, number })));
            number += 1;
            if batch.len() == BATCH {
                self.write_batch(&batch, members)?;
                batch.clear();
            }
            Ok(())
        })?;
        self.write_batch(&batch, members)
    }

    fn write_batch(&mut self, batch: &[(Vec<u8>, Framing)], members: &mut Vec<Member>) -> Result<()> {
        for (compressed, sha256) in compress_all(batch)? {
            let length = ByteCount(compressed.len() as u64);
            members.push(Member { sha256, offset: self.length, length });
            self.file.write(&compressed)?;
            self.length = ByteCount(self.length.0 + length.0);
        }
        Ok(())
    }

    fn append_to(&self, bundle: &mut Replacement) -> Result<()> {
        let written = Image::file(self.file.temporary())?;
        written.pieces(limits::CHUNK.0.try_into()?, |piece| bundle.write(piece))
    }
}

/// Compresses chunks on every core; the result is the same for any number of them.
fn compress_all(batch: &[(Vec<u8>, Framing)]) -> Result<Vec<(Vec<u8>, Digest)>> {
    let cores = thread::available_parallelism().map_or(1, Into::into);
    let share = batch.len().div_ceil(cores).max(1);
    let one = |(chunk, framing): &(Vec<u8>, Framing)| (compress(&framing.around(chunk)), Digest::of(chunk));
    thread::scope(|scope| {
        let parts: Vec<_> = batch
            .chunks(share)
            .map(|part| scope.spawn(move || part.iter().map(one).collect::<Vec<_>>()))
            .collect();
        let mut all = Vec::with_capacity(batch.len());
        for part in parts {
            all.extend(part.join().map_err(|_| anyhow!("compressing failed; please report it"))?);
        }
        Ok(all)
    })
}

/// One gzip member without name and time.
fn compress(plain: &[u8]) -> Vec<u8> {
    let mut member = Vec::new();
    let reader = GzBuilder::new().mtime(0).operating_system(255).read(plain, Compression::new(6));
    std::io::copy(&mut { reader }, &mut member).expect("memory to memory does not fail");
    member
}
