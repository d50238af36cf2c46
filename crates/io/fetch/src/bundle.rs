//! Fetching a bundle by parts: its head first, then chunks in any order, each verified before it is given out.
//!
//! Owns: ranges, the open transfer, and bounded inflation. Memory: one chunk's member and its plain bytes.

use std::io::Read as _;

use evenkeel_release::{ChunkSpec, ChunkVerifier, Head, ReleaseError, ReleaseTarget, VerifiedChunk};
use flate2::bufread::GzDecoder;

use crate::{Body, Client, Error};

/// Bytes inflated at once: what a bomb can cost before the verifier refuses it.
const INFLATE: usize = 64 * 1024;

/// A bundle on the update server, as a file that is read by ranges.
#[derive(Debug)]
pub struct BundleFile {
    client: Client,
    path: String,
    /// The transfer that is open, and the offset that it is at.
    open: Option<(u64, Body)>,
}

/// A bundle whose head is verified.
#[derive(Debug)]
pub struct Bundle {
    file: BundleFile,
    head: Head,
}

impl Bundle {
    /// Fetches and verifies the head of the release that `target` names.
    ///
    /// # Errors
    /// When it does not come, or is not the one that is signed.
    pub async fn open(client: Client, target: &ReleaseTarget) -> Result<Self, Error> {
        let path = format!("/v1/targets/{}", target.target().request_path());
        let mut file = BundleFile { client, path, open: None };
        let meta = target.head_meta();
        let member = file.read(0, meta.length.0, meta.length.0).await?;
        let refuse = |error: ReleaseError| file.refuse(&error);
        target.check_head(&member).map_err(refuse)?;
        let mut plain = Vec::new();
        let limit = meta.plain_length.0 + 1;
        GzDecoder::new(&member[..])
            .take(limit)
            .read_to_end(&mut plain)
            .map_err(|error| Error::Bundle { url: file.url(), reason: format!("its head: {error}") })?;
        let head = target.head(&plain).map_err(refuse)?;
        Ok(Self { file, head })
    }

    /// Its head.
    #[must_use]
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Fetches one chunk. The transfer is opened up to `run_end`, an offset in the bundle, so that the chunks after
    /// this one come without another request.
    ///
    /// # Errors
    /// When it does not come, or its bytes are not the listed ones. The next call starts a new transfer.
    pub async fn chunk(&mut self, chunk: &ChunkSpec, run_end: u64) -> Result<VerifiedChunk, Error> {
        let member = self.file.read(chunk.member_offset.0, chunk.member_length.0, run_end).await?;
        inflate(&self.head, chunk, &member).map_err(|reason| {
            self.file.open = None;
            Error::Bundle { url: self.file.url(), reason }
        })
    }
}

impl BundleFile {
    fn url(&self) -> String {
        self.client.url(&self.path)
    }

    fn refuse(&self, error: &ReleaseError) -> Error {
        Error::Bundle { url: self.url(), reason: error.to_string() }
    }

    /// Reads `length` bytes from `offset`, from the open transfer if that is where it is.
    async fn read(&mut self, offset: u64, length: u64, run_end: u64) -> Result<bytes::Bytes, Error> {
        let open = self.open.take().filter(|(at, _)| *at == offset);
        let mut body = match open {
            Some((_, body)) => body,
            None => self.client.range(&self.path, offset, run_end.max(offset + length)).await?,
        };
        let bytes = body.read_exact(usize::try_from(length).unwrap_or(usize::MAX)).await?;
        if offset + length < run_end {
            self.open = Some((offset + length, body));
        }
        Ok(bytes)
    }
}

/// Inflates a chunk's member into its verifier, which refuses the first byte too many.
fn inflate(head: &Head, chunk: &ChunkSpec, member: &[u8]) -> Result<VerifiedChunk, String> {
    let text = |error: ReleaseError| error.to_string();
    let mut verifier =
        ChunkVerifier::new(head, chunk.id).ok_or_else(|| text(ReleaseError::NoChunk { id: chunk.id }))?;
    let mut decoder = GzDecoder::new(member);
    let mut buffer = vec![0; INFLATE];
    loop {
        let broken =
            |error| format!("chunk {} of {}: {error}; fetch it again", chunk.id.number, chunk.id.image);
        match decoder.read(&mut buffer).map_err(broken)? {
            0 => return verifier.finish().map_err(text),
            length => verifier.push(&buffer[..length]).map_err(text)?,
        }
    }
}
