//! The judgement of the fuzz targets: what must hold of every parser, whatever bytes it is given.
//!
//! Owns: one function for each target, which an ordinary test holds over the committed corpus too. Leaves to others:
//! where the bytes come from. Each parser is held against other readings of the same bytes: HTTP/1.1 against hyper,
//! which reads heads with httparse as we do but frames content by itself, and milo, which has nothing in common with
//! either; routes, floods and qualities against code that is made for being read; what is written against what it was
//! read from; and everything that arrives in pieces against its whole.
//!
//! Invariant I9, as it is judged here: what we take, another parser refuses or frames in the same way; what we send, we
//! ourselves take in the same way; and nothing depends on the pieces in which bytes arrive.

mod course;
mod edits;
mod http2;
mod log;
mod milo;
mod ours;
mod pieces;
mod routing;
mod seen;
mod settings;
mod theirs;
mod updates;
mod wire;

use evenkeel_http1::{MAX_FIELDS, Method};

pub use course::{Course, Disagreement, End, Message};
pub use edits::request_edits;
pub use http2::{http2_floods, http2_messages};
pub use log::access_log;
pub use routing::{cookies, request_fields, routes, targets};
pub use seen::Seen;
pub use settings::config;
pub use updates::{boot_entries, device_messages, releases, trust_metadata};
pub use wire::{proxy_protocol, tls_hello};

/// How much of a stream was judged by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agreement {
    /// Messages that we took.
    pub taken: usize,
    /// Of these, messages that hyper framed alike.
    pub hyper: usize,
    /// Of these, messages that milo framed alike.
    pub milo: usize,
}

/// Judges a client's bytes: requests one after another.
///
/// # Errors
/// Two parsers frame the stream differently, or a split changes it.
pub fn requests(stream: &[u8]) -> Result<Agreement, Disagreement> {
    let whole = ours::requests(&[stream]);
    let split = ours::requests(&pieces::of(stream));
    course::same("requests in pieces", &whole, &split)?;
    let agreement = Agreement {
        taken: whole.course.messages.len(),
        hyper: whole.course.agrees("hyper", &theirs::requests(stream))?,
        milo: whole.course.agrees("milo", &milo::requests(stream))?,
    };
    // What we send begins no new story: we take it again, message by message.
    if outgrows(&whole.sent) {
        return Ok(agreement);
    }
    let again = ours::requests(&[&whole.sent]);
    course::sent_again(&whole, &again)?;
    again.course.agrees("hyper, of what we send", &theirs::requests(&whole.sent))?;
    again.course.agrees("milo, of what we send", &milo::requests(&whole.sent))?;
    Ok(agreement)
}

/// Whether a head that had nearly as many fields as may be has more than that with what we add; the next of us refuses it.
/// Content can look like one too, which is then not looked at further.
pub(crate) fn outgrows(sent: &[u8]) -> bool {
    let lines = sent.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
    let runs = lines.scan(0_usize, |run, line| {
        *run = if line.is_empty() { 0 } else { *run + 1 };
        Some(*run)
    });
    // The first line of a head is no field.
    runs.max().unwrap_or(0) > MAX_FIELDS + 1
}

/// Judges a server's bytes: the answer to one request of this method, interim answers included.
///
/// # Errors
/// Two parsers frame the stream differently, or a split changes it.
pub fn answer(stream: &[u8], method: Method) -> Result<Agreement, Disagreement> {
    let whole = ours::answer(&[stream], method);
    let split = ours::answer(&pieces::of(stream), method);
    course::same("an answer in pieces", &whole, &split)?;
    let agreement = Agreement {
        taken: whole.course.messages.len(),
        hyper: whole.course.agrees("hyper", &theirs::answer(stream, method))?,
        milo: whole.course.agrees("milo", &milo::answer(stream, method))?,
    };
    let again = ours::answer(&[&whole.sent], method);
    course::sent_again(&whole, &again)?;
    again.course.agrees("hyper, of what we send", &theirs::answer(&whole.sent, method))?;
    again.course.agrees("milo, of what we send", &milo::answer(&whole.sent, method))?;
    // A client of HTTP/1.0 gets the same data without chunks, up to the end of the connection.
    if let Some(data) = &whole.data {
        let plain = ours::answer(&[&whole.sent_plain], method);
        course::same_data(&plain, data)?;
    }
    Ok(agreement)
}
