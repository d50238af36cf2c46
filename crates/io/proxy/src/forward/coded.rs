//! Content that is compressed on its way.
//!
//! Invariant: what came before a source pauses is given before the pause.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;

use crate::{
    forward::flow::{Fault, Next, Source},
    route::compress::{After, Filter},
};

/// Content taken in at once: a frame of HTTP/2.
const PIECE_BYTES: usize = 16 * 1024;

/// A source behind an encoder.
pub(crate) struct Coded<'s, S> {
    source: &'s mut S,
    filter: Box<Filter>,
    /// What is coded and not taken yet.
    ready: Bytes,
    /// The end of the source, once it has come.
    end: Option<Option<HeaderMap>>,
}

impl<'s, S: Source> Coded<'s, S> {
    pub(crate) fn new(source: &'s mut S, filter: Box<Filter>) -> Self {
        Self { source, filter, ready: Bytes::new(), end: None }
    }

    fn push(&mut self, plain: &[u8], after: After) -> Result<(), Fault> {
        let mut coded = Vec::new();
        // An encoder only fails without memory, and then the answer cannot go on.
        self.filter.push(plain, after, &mut coded).map_err(|_| Fault::Closed)?;
        self.ready = coded.into();
        Ok(())
    }
}

impl<S: Source> Source for Coded<'_, S> {
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<Next, Fault>> {
        if self.ready.is_empty() && self.end.is_none() {
            match self.source.poll_ready(context) {
                Poll::Ready(Ok(Next::Content(length))) => return Poll::Ready(Ok(Next::Content(length))),
                Poll::Ready(Ok(Next::End(trailers))) => {
                    self.push(&[], After::End)?;
                    self.end = Some(trailers);
                }
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                Poll::Pending if self.filter.holds() => self.push(&[], After::Pause)?,
                Poll::Pending => {}
            }
        }
        match (self.ready.len(), &mut self.end) {
            (0, None) => Poll::Pending,
            (0, Some(trailers)) => Poll::Ready(Ok(Next::End(trailers.take()))),
            (length, _) => Poll::Ready(Ok(Next::Content(length))),
        }
    }

    fn take(&mut self, room: usize) -> Result<Option<Bytes>, Fault> {
        if self.ready.is_empty() && self.end.is_none() {
            let Some(plain) = self.source.take(PIECE_BYTES)? else { return Ok(None) };
            self.push(&plain, After::More)?;
        }
        let given = self.ready.split_to(room.min(self.ready.len()));
        Ok((!given.is_empty()).then_some(given))
    }

    fn is_untouched(&self) -> bool {
        self.source.is_untouched()
    }

    fn is_over(&self) -> bool {
        self.ready.is_empty() && self.end.as_ref().is_some_and(Option::is_none)
    }
}
