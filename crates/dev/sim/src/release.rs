//! Releases as values: small, complete, and different from each other in a known share of their chunks.

use std::{collections::BTreeMap, io::Write as _};

use evenkeel_release::{
    ChunkIndex, ChunkVerifier, Contents, Head, HeadMeta, ImageKind, ImageMeta, Layout, Manifest, Member,
    VerifiedChunk, VerityMeta, custom, target_name,
    verity::{BLOCK, Salt, Superblock, TreeBuilder},
};
use evenkeel_trust::{TargetFile, TargetName};
use evenkeel_units::{ByteCount, Digest, Version};

/// The chunk size of these releases: the least there is, so that small images have many chunks.
pub const CHUNK: ByteCount = ByteCount(4096);

/// What a release is to be made of.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Its version.
    pub version: Version,
    /// Its hardware, such as `x86_64`.
    pub hardware: String,
    /// Its channel, such as `stable`.
    pub channel: String,
    /// Blocks of its root image, at least 2.
    pub blocks: u32,
    /// How many of those blocks are the same in every release of these tests.
    pub shared_blocks: u32,
}

impl Recipe {
    /// A release of `version` for `x86_64` on `stable`, of `blocks` blocks, a third of them shared.
    #[must_use]
    pub fn of(version: Version, blocks: u32) -> Self {
        Self {
            version,
            hardware: "x86_64".into(),
            channel: "stable".into(),
            blocks,
            shared_blocks: blocks / 3,
        }
    }
}

/// A release: its images, its bundle, and what signed metadata says of it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Root, verity and kernel image.
    pub images: [Vec<u8>; 3],
    /// The head of its bundle.
    pub head: Head,
    /// What signed metadata says of the head.
    pub head_meta: HeadMeta,
    /// The whole bundle.
    pub bundle: Vec<u8>,
}

impl Sample {
    /// Makes a release; the same recipe makes the same bytes.
    ///
    /// # Panics
    /// When the recipe is outside the limits of a release.
    #[must_use]
    pub fn make(recipe: &Recipe) -> Self {
        let (root, verity, tree) = root_and_tree(recipe);
        let kernel = format!("evenkeel.version={} evenkeel.root_hash={}\n", recipe.version, tree.root_hash);
        // A kernel of a few chunks, the last of which is not whole.
        let kernel = format!("{kernel:<9001}").into_bytes();
        let images = [root, verity, kernel];
        let manifest = manifest(recipe, &images, tree);
        let (index, body) = pack(&manifest, &images);
        let plain = Head::plain(&manifest, &index);
        let member = gzip(&plain);
        let head_meta = HeadMeta {
            length: ByteCount(member.len() as u64),
            sha256: Digest::of(&member),
            plain_length: ByteCount(plain.len() as u64),
            plain_sha256: Digest::of(&plain),
        };
        let head = Head::read_unsigned(&plain, head_meta.length).expect("a head of our own making");
        Self { images, head, head_meta, bundle: [member, body].concat() }
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.head.manifest().version()
    }

    /// The root hash of its hash tree.
    #[must_use]
    pub fn root_hash(&self) -> Digest {
        self.head.manifest().verity().root_hash
    }

    /// The bytes of one image.
    #[must_use]
    pub fn image(&self, kind: ImageKind) -> &[u8] {
        let [root, verity, uki] = &self.images;
        match kind {
            ImageKind::Root => root,
            ImageKind::Verity => verity,
            ImageKind::Uki => uki,
        }
    }

    /// One of its chunks by its number over all images, verified like any other.
    ///
    /// # Panics
    /// When it has no such chunk.
    #[must_use]
    pub fn chunk(&self, number: u32) -> VerifiedChunk {
        let spec = self.head.chunks().nth(number as usize).expect("a chunk of this release");
        let [from, length] = [spec.offset, spec.length].map(|count| usize::try_from(count.0).expect("small"));
        let bytes = self.image(spec.id.image)[from..from + length].to_vec();
        ChunkVerifier::check_local(&self.head, spec.id, bytes).expect("its own bytes")
    }

    /// Its entry in targets metadata.
    #[must_use]
    pub fn target(&self) -> (TargetName, TargetFile) {
        let file = TargetFile {
            length: ByteCount(self.bundle.len() as u64),
            sha256: Digest::of(&self.bundle),
            custom: Some(custom(self.head.manifest(), self.head_meta)),
        };
        (target_name(self.version()), file)
    }
}

fn root_and_tree(recipe: &Recipe) -> (Vec<u8>, Vec<u8>, VerityMeta) {
    let root: Vec<u8> = (0..recipe.blocks).flat_map(|number| block(recipe, number)).collect();
    let salt = Salt::new(Digest::of(recipe.version.to_string().as_bytes()).as_bytes()).expect("32 bytes");
    let superblock = Superblock::new(ByteCount(root.len() as u64), salt.clone()).expect("whole blocks");
    let mut tree = vec![0; usize::try_from(superblock.tree_length().0).expect("small")];
    let mut builder = TreeBuilder::new(superblock);
    let mut give = |offset: ByteCount, block: &[u8; BLOCK]| {
        let at = usize::try_from(offset.0).expect("small");
        tree[at..at + BLOCK].copy_from_slice(block);
    };
    let (blocks, _) = root.as_chunks::<BLOCK>();
    for block in blocks {
        builder.push(block, &mut give).expect("as many as announced");
    }
    let root_hash = builder.finish(&mut give).expect("as many as announced");
    (root, tree, VerityMeta { root_hash, salt })
}

/// A block that does not compress to nothing: digests of its number, and of the version where it is not shared.
fn block(recipe: &Recipe, number: u32) -> Vec<u8> {
    let of = if number < recipe.shared_blocks { String::new() } else { recipe.version.to_string() };
    (0..BLOCK / 32)
        .flat_map(|part| *Digest::of(format!("{of} {number} {part}").as_bytes()).as_bytes())
        .collect()
}

fn manifest(recipe: &Recipe, images: &[Vec<u8>; 3], tree: VerityMeta) -> Manifest {
    let meta =
        |image: &Vec<u8>| ImageMeta { length: ByteCount(image.len() as u64), sha256: Digest::of(image) };
    let [root, verity, uki] = images;
    Manifest::new(Contents {
        version: recipe.version,
        hardware: vec![recipe.hardware.parse().expect("a label")],
        channels: vec![recipe.channel.parse().expect("a label")],
        minimum_agent: Version::new(1, 0, 0),
        state_schema: 1,
        notes: String::new(),
        images: [meta(root), meta(verity), meta(uki)],
        tree,
    })
    .expect("within the limits of a release")
}

fn pack(manifest: &Manifest, images: &[Vec<u8>; 3]) -> (ChunkIndex, Vec<u8>) {
    let layout = Layout::new(manifest, CHUNK);
    let mut members: BTreeMap<ImageKind, Vec<Member>> = BTreeMap::new();
    let mut body = Vec::new();
    for (id, offset, length) in layout.chunks() {
        let [root, verity, uki] = images;
        let image = match id.image {
            ImageKind::Root => root,
            ImageKind::Verity => verity,
            ImageKind::Uki => uki,
        };
        let [from, count] = [offset, length].map(|count| usize::try_from(count.0).expect("small"));
        let chunk = &image[from..from + count];
        let member = gzip(&layout.framing(id).around(chunk));
        let [offset, length] = [body.len(), member.len()].map(|count| ByteCount(count as u64));
        members.entry(id.image).or_default().push(Member { sha256: Digest::of(chunk), offset, length });
        body.extend(member);
    }
    let members = ImageKind::ALL.map(|kind| members.remove(&kind).unwrap_or_default());
    (ChunkIndex::new(manifest, CHUNK, members).expect("members that follow each other"), body)
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(plain).and_then(|()| writer.finish()).expect("memory takes all")
}
