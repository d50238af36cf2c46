//! Compressing answers as they pass.
//!
//! Owns: the encoders, and the chunks that their output travels in. Leaves to others: which answers are compressed and how
//! (`answer`, `core/route`). Invariants: what a server has sent before it pauses reaches the client before the pause; a
//! worker holds a bounded number of encoders, and answers beyond them go on as they are.

use std::{
    cell::Cell,
    io::{self, Write as _},
};

use evenkeel_config::balancer::route::Coding;

/// Most answers that a worker compresses at once.
///
/// An encoder holds 256 KiB (gzip) to 1 MiB (zstd at level 3): 128 of them take 128 MiB at worst.
const MAX_ENCODERS: usize = 128;

/// As fast as a page is read by a person and within a tenth of the best size: what nginx and Caddy take for such work.
const GZIP_LEVEL: u32 = 5;

/// Brotli between speed and size; 11 would take 50 times as long.
const BROTLI_QUALITY: u32 = 4;

/// A window of 256 KiB, for pages are seldom longer.
const BROTLI_WINDOW_BITS: u32 = 18;

/// The level that zstd itself begins with; its window of 2 MiB is within the 8 MiB that clients take (RFC 9659).
const ZSTD_LEVEL: i32 = 3;

thread_local! {
    static ENCODERS: Cell<usize> = const { Cell::new(0) };
}

/// An answer's content on its way through an encoder, out in chunks.
pub(crate) struct Filter {
    encoder: Encoder,
    travel: Travel,
    /// Whether the encoder may have something that has not come out.
    holds: bool,
    _place: Place,
}

/// What coded content travels in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Travel {
    /// Chunks of HTTP/1.1, which say where it ends.
    Chunks,
    /// Frames of HTTP/2, which are made elsewhere.
    Frames,
}

/// A place among the encoders of this worker.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let taken = ENCODERS.get();
        (taken < MAX_ENCODERS).then(|| {
            ENCODERS.set(taken + 1);
            Self
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        ENCODERS.set(ENCODERS.get() - 1);
    }
}

enum Encoder {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Finished,
}

/// Whether more is coming at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Most likely; what is held back makes the whole smaller.
    More,
    /// The server pauses: everything must leave.
    Pause,
    /// That was all.
    End,
}

impl Filter {
    /// An encoder; `None` when the worker has as many as it may.
    pub(crate) fn new(coding: Coding, travel: Travel) -> Option<Self> {
        let place = Place::take()?;
        let encoder = match coding {
            Coding::Gzip => {
                Encoder::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL)))
            }
            Coding::Brotli => {
                let buffer = 4096;
                let writer =
                    brotli::CompressorWriter::new(Vec::new(), buffer, BROTLI_QUALITY, BROTLI_WINDOW_BITS);
                Encoder::Brotli(Box::new(writer))
            }
            Coding::Zstd => Encoder::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).ok()?),
        };
        Some(Self { encoder, travel, holds: false, _place: place })
    }

    /// Whether something that was taken in may not have come out.
    pub(crate) const fn holds(&self) -> bool {
        self.holds
    }

    /// Takes in `plain` and appends what is ready of the coded content to `out`. A pause without anything held back costs
    /// nothing.
    ///
    /// # Errors
    /// When the encoder has no memory left.
    pub(crate) fn push(&mut self, plain: &[u8], after: After, out: &mut Vec<u8>) -> io::Result<()> {
        if plain.is_empty() && !self.holds && after != After::End {
            return Ok(());
        }
        self.holds = after == After::More;
        let coded = match &mut self.encoder {
            Encoder::Gzip(encoder) => {
                encoder.write_all(plain)?;
                if after == After::Pause {
                    encoder.flush()?;
                }
                std::mem::take(encoder.get_mut())
            }
            Encoder::Brotli(encoder) => {
                encoder.write_all(plain)?;
                if after == After::Pause {
                    encoder.flush()?;
                }
                std::mem::take(encoder.get_mut())
            }
            Encoder::Zstd(encoder) => {
                encoder.write_all(plain)?;
                if after == After::Pause {
                    encoder.flush()?;
                }
                std::mem::take(encoder.get_mut())
            }
            Encoder::Finished => Vec::new(),
        };
        self.travel.write(&coded, out);
        if after == After::End {
            let last = match std::mem::replace(&mut self.encoder, Encoder::Finished) {
                Encoder::Gzip(encoder) => encoder.finish()?,
                Encoder::Brotli(encoder) => encoder.into_inner(),
                Encoder::Zstd(encoder) => encoder.finish()?,
                Encoder::Finished => return Ok(()),
            };
            self.travel.write(&last, out);
            if self.travel == Travel::Chunks {
                out.extend_from_slice(b"0\r\n\r\n");
            }
        }
        Ok(())
    }
}

impl Travel {
    /// Appends data; an empty chunk would end the content.
    fn write(self, data: &[u8], out: &mut Vec<u8>) {
        match self {
            _ if data.is_empty() => {}
            Self::Frames => out.extend_from_slice(data),
            Self::Chunks => {
                out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                out.extend_from_slice(data);
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    /// The content of chunks.
    fn unchunked(mut bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut content = Vec::new();
        while let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
            if size == 0 {
                return (content, true);
            }
            content.extend_from_slice(&bytes[end + 2..end + 2 + size]);
            bytes = &bytes[end + 4 + size..];
        }
        (content, false)
    }

    /// As much as can be decoded of what came so far.
    fn decoded(coding: Coding, coded: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        let _ = match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(coded).read_to_end(&mut plain),
            Coding::Brotli => brotli::Decompressor::new(coded, 4096).read_to_end(&mut plain),
            Coding::Zstd => zstd::stream::read::Decoder::new(coded).unwrap().read_to_end(&mut plain),
        };
        plain
    }

    #[test]
    fn what_came_before_a_pause_can_be_read_before_it_ends() {
        for coding in [Coding::Gzip, Coding::Brotli, Coding::Zstd] {
            let mut filter = Filter::new(coding, Travel::Chunks).unwrap();
            let mut out = Vec::new();
            filter.push(b"first part, ", After::Pause, &mut out).unwrap();
            let (coded, ended) = unchunked(&out);
            assert_eq!((decoded(coding, &coded), ended), (b"first part, ".to_vec(), false), "{coding:?}");
            let before = out.len();
            filter.push(b"", After::Pause, &mut out).unwrap();
            assert!(out.len() == before && !filter.holds(), "{coding:?}: nothing was held back");
            filter.push(&[b'x'; 100_000], After::More, &mut out).unwrap();
            assert!(filter.holds());
            filter.push(b"last", After::End, &mut out).unwrap();
            let (coded, ended) = unchunked(&out);
            let plain = [&b"first part, "[..], &[b'x'; 100_000], b"last"].concat();
            assert!(ended && decoded(coding, &coded) == plain, "{coding:?}");
            assert!(out.len() < 2000, "{coding:?}: {} bytes", out.len());
        }
    }

    #[test]
    fn a_worker_holds_so_many_encoders_and_no_more() {
        let held: Vec<_> =
            (0..MAX_ENCODERS).map_while(|_| Filter::new(Coding::Gzip, Travel::Frames)).collect();
        assert_eq!(held.len(), MAX_ENCODERS);
        assert!(Filter::new(Coding::Gzip, Travel::Frames).is_none());
        drop(held);
        assert!(Filter::new(Coding::Gzip, Travel::Frames).is_some());
    }
}
