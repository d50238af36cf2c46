//! What the machine is told, and what it asks for.

use alloc::{boxed::Box, string::String};

use evenkeel_boot::{Change, EntryName, InactiveSlot};
use evenkeel_protocol::{Assignment, Report};
use evenkeel_release::VerifiedChunk;
use evenkeel_units::{Instant, Version, WallTime};

use crate::{Baseline, Offer, Record, Release, gate::Verdict};

/// When an input arrives, and the chance that decides how long to wait: what a pure machine cannot know.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// By the monotonic clock.
    pub instant: Instant,
    /// By the calendar, for reports only.
    pub wall: WallTime,
    /// Random bits, for the jitter of waits.
    pub random: u64,
}

/// One thing that the machine is told.
#[derive(Debug)]
pub enum Input {
    /// The update server's present orders: an assignment, or none.
    Ordered(Option<Assignment>),
    /// Answers [`Effect::Verify`]: the metadata is authentic and lists the target.
    Offered(Offer),
    /// Answers [`Effect::Open`]: manifest and chunk index are authentic.
    Opened(Release),
    /// Answers [`Effect::Obtain`].
    Obtained(VerifiedChunk),
    /// Answers [`Effect::Measure`].
    Measured(Baseline),
    /// Answers [`Effect::RunGate`].
    Judged(Verdict),
    /// The effect in flight is done, and durable if it is one that has to be.
    Done,
    /// The effect in flight could not be done.
    Failed(Failure),
    /// An operator lets a refused release be tried again.
    Cleared(Version),
    /// The update server has the reports up to this number.
    Delivered(u64),
    /// The time of an [`Output::Wake`] may have come.
    Tick,
}

/// Why an effect could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whether trying again is of use.
    pub kind: FailureKind,
    /// The thing, the value and the remedy, in one sentence.
    pub reason: String,
}

/// Whether trying again is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Nobody answers, or the transfer broke off: tried again for as long as the orders stand.
    Passing,
    /// Bytes or metadata are not what they should be, or storage fails: tried again a few times, for a cache or a cable may be
    /// at fault, then the release is refused.
    Doubtful,
    /// The release cannot fit this box: refused at once.
    Unfit,
}

/// Something the shell must do. Each may be repeated: after a restart the machine asks again.
#[derive(Debug)]
pub enum Effect {
    /// Replace the record, durably.
    Save(Box<Record>),
    /// Bring the TUF metadata up to date and find the assigned target in it.
    Verify(Assignment),
    /// Fetch and verify the bundle's head, and check that its images fit the slot.
    Open {
        /// Where the images are to go.
        slot: InactiveSlot,
    },
    /// Get one chunk, from wherever it is nearest, and verify it.
    Obtain {
        /// Its number, counted from 0 over all images.
        chunk: u32,
    },
    /// Write a chunk to its place: durable only after the next [`Effect::Flush`].
    Write {
        /// Where its image goes.
        slot: InactiveSlot,
        /// The bytes.
        chunk: VerifiedChunk,
    },
    /// Make everything written so far durable.
    Flush {
        /// Where it was written.
        slot: InactiveSlot,
    },
    /// Read everything back from the storage itself, and check it against the manifest.
    ReadBack {
        /// Where it was written.
        slot: InactiveSlot,
    },
    /// Look at the data plane, for the comparison after the restart.
    Measure,
    /// Give the staged kernel image its name as a boot entry, durably: from then on the loader tries it.
    Install(EntryName),
    /// Change the boot entries, durably.
    Change(Change),
    /// Watch the release that runs until it has proved itself or not.
    RunGate(Option<Baseline>),
    /// Restart. Never reported done: what comes next is [`crate::Machine::recover`].
    Restart,
}

/// One thing that the machine asks for.
#[derive(Debug)]
pub enum Output {
    /// Do this, then answer with the input that belongs to it, or with [`Input::Failed`].
    Do(Effect),
    /// Tell the update server, until it has heard it.
    Report(Report),
    /// Give [`Input::Tick`] at this time, unless a later `Wake` replaces it.
    Wake(Instant),
}
