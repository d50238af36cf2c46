//! What is known of this thread's descriptors: which have something to read, which have room, and who waits for that.
//!
//! Owns: one epoll instance for each worker, which tokio watches as a single descriptor. Leaves to others: what is read and
//! written (`wire`), and how long one waits (`sweep`). Invariants: a descriptor is registered at most once, when somebody
//! first has to wait for it, and leaves with its own closing, so neither costs a system call that is not needed; what is
//! known is never less than what epoll has reported.

use std::{
    cell::RefCell,
    io,
    os::fd::{AsFd, OwnedFd},
    task::{Context, Poll, Waker},
};

use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    io::Errno,
};
use tokio::io::{Interest, unix::AsyncFd};

/// Events taken at once: twice as many as a worker commonly finds at 256 busy connections; 6 KiB.
const EVENTS: usize = 512;

/// There may be something to read, or the end, or an error.
const READABLE: u8 = 1;
/// There may be room to write, or an error.
const WRITABLE: u8 = 2;
/// The other side has ended or failed: reading never waits again.
const ENDED: u8 = 4;
/// Registered with epoll.
const WATCHED: u8 = 8;
/// Could not be registered: the system has no memory for it.
const FAILED: u8 = 16;

/// What is assumed of a descriptor before anybody had to wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Something may have come already: a client that waited to be accepted, or a listener.
    Fresh,
    /// Most likely nothing has come yet; there is room to write.
    Quiet,
    /// Not connected yet.
    Connecting,
}

impl Known {
    const fn bits(self) -> u8 {
        match self {
            Self::Fresh => READABLE | WRITABLE,
            Self::Quiet => WRITABLE,
            Self::Connecting => 0,
        }
    }
}

/// What is known of one descriptor.
#[derive(Debug)]
struct Slot {
    /// Tells events of this descriptor from those of an earlier one in the same slot.
    generation: u32,
    bits: u8,
    /// The key to report when something can be read, instead of waking a reader; [`NO_KEY`] when nobody asked for that.
    key: u32,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// No key: there are never so many.
const NO_KEY: u32 = u32::MAX;

/// All slots of this thread.
#[derive(Debug)]
struct Slots {
    epoll: Option<OwnedFd>,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

thread_local! {
    static SLOTS: RefCell<Slots> =
        const { RefCell::new(Slots { epoll: None, slots: Vec::new(), free: Vec::new() }) };
}

/// A descriptor's place among the slots of the thread on which it was made; it must be given up there too.
#[derive(Debug)]
pub(crate) struct Place(u32, std::marker::PhantomData<*const ()>);

impl Place {
    /// A place for a descriptor.
    pub(crate) fn new(known: Known) -> Self {
        let index = SLOTS.with_borrow_mut(|all| match all.free.pop() {
            Some(index) => {
                all.slots[index as usize].bits = known.bits();
                index
            }
            None => {
                let bits = known.bits();
                all.slots.push(Slot { generation: 0, bits, key: NO_KEY, reader: None, writer: None });
                u32::try_from(all.slots.len() - 1).expect("a process has fewer than 2^32 descriptors")
            }
        });
        Self(index, std::marker::PhantomData)
    }

    fn bits(&self) -> u8 {
        SLOTS.with_borrow(|all| all.slots[self.0 as usize].bits)
    }

    fn clear(&self, bit: u8) {
        SLOTS.with_borrow_mut(|all| {
            let bits = &mut all.slots[self.0 as usize].bits;
            // An end or error that has been seen stays to be read: epoll reports it once. Writing is told of an error by the
            // call itself, and who has ended its side may still take what we send, in its own time.
            let stays = if bit == READABLE { ENDED | FAILED } else { FAILED };
            if *bits & stays == 0 {
                *bits &= !bit;
            }
        });
    }

    /// Whether there may be something to read; where not, reading would find nothing.
    ///
    /// # Errors
    /// When the descriptor could not be registered.
    pub(crate) fn may_read(&self) -> io::Result<bool> {
        may(self.bits(), READABLE)
    }

    /// Whether there may be room to write; where not, writing would find none.
    ///
    /// # Errors
    /// When the descriptor could not be registered.
    pub(crate) fn may_write(&self) -> io::Result<bool> {
        may(self.bits(), WRITABLE)
    }

    /// Whether nothing has come since all was read, as far as epoll has reported.
    pub(crate) fn is_silent(&self) -> bool {
        self.bits() & (READABLE | WATCHED) == WATCHED
    }

    #[cfg(test)]
    pub(crate) fn is_watched(&self) -> bool {
        self.bits() & WATCHED != 0
    }

    /// All that had come was read.
    pub(crate) fn read_all(&self) {
        self.clear(READABLE);
    }

    /// All room was used.
    pub(crate) fn filled(&self) {
        self.clear(WRITABLE);
    }

    /// Asks for `key` to be reported once when there may be something to read, so that no task need wait for it; whether
    /// that was granted, which it is not when there may be something already.
    pub(crate) fn call(&self, descriptor: impl AsFd, key: u32) -> bool {
        let waiting = SLOTS.with_borrow_mut(|all| {
            let Slots { epoll, slots, .. } = all;
            let slot = &mut slots[self.0 as usize];
            if slot.bits & (READABLE | WATCHED) == 0 {
                slot.watch(epoll.as_ref(), descriptor, self.0);
            }
            if slot.bits & READABLE != 0 {
                return None;
            }
            slot.key = key;
            Some((slot.reader.take(), slot.writer.take()))
        });
        waiting.is_some()
    }

    /// Whether there may be something to read; if not, the task is woken when there is.
    pub(crate) fn poll_readable(&self, descriptor: impl AsFd, context: &mut Context<'_>) -> Poll<()> {
        self.poll(descriptor, context, READABLE)
    }

    /// Whether there may be room to write; if not, the task is woken when there is.
    pub(crate) fn poll_writable(&self, descriptor: impl AsFd, context: &mut Context<'_>) -> Poll<()> {
        self.poll(descriptor, context, WRITABLE)
    }

    fn poll(&self, descriptor: impl AsFd, context: &mut Context<'_>, bit: u8) -> Poll<()> {
        let ready = SLOTS.with_borrow_mut(|all| {
            let Slots { epoll, slots, .. } = all;
            let slot = &mut slots[self.0 as usize];
            if slot.bits & (bit | WATCHED) == 0 {
                slot.watch(epoll.as_ref(), descriptor, self.0);
            }
            if slot.bits & bit != 0 {
                return true;
            }
            let waiting = if bit == READABLE { &mut slot.reader } else { &mut slot.writer };
            if !waiting.as_ref().is_some_and(|known| known.will_wake(context.waker())) {
                *waiting = Some(context.waker().clone());
            }
            false
        });
        if !ready {
            return Poll::Pending;
        }
        // Whoever finds something every time lets the others have their turn now and then.
        tokio::task::coop::poll_proceed(context).map(|turn| turn.made_progress())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // When the thread ends, its slots may have gone before.
        let waiting = SLOTS.try_with(|all| {
            let all = &mut *all.borrow_mut();
            all.free.push(self.0);
            let slot = &mut all.slots[self.0 as usize];
            slot.generation = slot.generation.wrapping_add(1);
            slot.key = NO_KEY;
            (slot.reader.take(), slot.writer.take())
        });
        // Outside of the slots, for a waker may be the last that holds a task, and that may hold a place.
        drop(waiting);
    }
}

fn may(bits: u8, bit: u8) -> io::Result<bool> {
    if bits & FAILED == 0 { Ok(bits & bit != 0) } else { Err(io::ErrorKind::OutOfMemory.into()) }
}

impl Slot {
    /// Registers a descriptor; epoll reports at once what it finds.
    fn watch(&mut self, epoll: Option<&OwnedFd>, descriptor: impl AsFd, index: u32) {
        let events = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let data = EventData::new_u64(u64::from(self.generation) << 32 | u64::from(index));
        match epoll.map(|epoll| epoll::add(epoll, descriptor, data, events)) {
            Some(Ok(())) => self.bits |= WATCHED,
            Some(Err(_)) | None => self.bits |= FAILED | READABLE | WRITABLE,
        }
    }

    /// Takes in what epoll reports; the key of who is to be called, if any.
    fn happened(&mut self, events: EventFlags) -> Option<u32> {
        let failed = EventFlags::HUP | EventFlags::ERR;
        if events.intersects(EventFlags::IN | EventFlags::RDHUP | failed) {
            self.bits |= READABLE;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        if events.intersects(EventFlags::OUT | failed) {
            self.bits |= WRITABLE;
            if let Some(writer) = self.writer.take() {
                writer.wake();
            }
        }
        if events.intersects(EventFlags::RDHUP | failed) {
            self.bits |= ENDED;
        }
        let called = self.key != NO_KEY && self.bits & READABLE != 0;
        called.then(|| std::mem::replace(&mut self.key, NO_KEY))
    }
}

/// Takes in what epoll reports on this thread; there is one on each worker.
pub(crate) struct Reactor {
    epoll: AsyncFd<OwnedFd>,
    events: Vec<Event>,
    called: Vec<u32>,
}

impl Reactor {
    /// The reactor of this thread, in a tokio runtime.
    ///
    /// # Errors
    /// When the system grants no epoll instance.
    pub(crate) fn start() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        SLOTS.with_borrow_mut(|all| -> io::Result<()> {
            all.epoll = Some(epoll.try_clone()?);
            Ok(())
        })?;
        #[expect(
            deprecated,
            reason = "what its successor asks its caller to uphold, an owned descriptor upholds"
        )]
        let epoll = AsyncFd::with_interest(epoll, Interest::READABLE)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS), called: Vec::new() })
    }

    /// Waits until something has happened, wakes who waited for it, and hands the keys of those to be called to `call`.
    ///
    /// # Errors
    /// When nothing can be known any more.
    pub(crate) async fn turn(&mut self, call: impl FnMut(u32)) -> io::Result<()> {
        let mut guard = self.epoll.readable().await?;
        self.events.clear();
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut self.events),
            Some(&Timespec::default()),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let more = self.events.len() == self.events.capacity();
        if !more {
            guard.clear_ready();
        }
        SLOTS.with_borrow_mut(|all| {
            for event in &self.events {
                let (data, flags) = (event.data.u64(), event.flags);
                let (generation, index) = ((data >> 32) as u32, data as u32);
                let slot = all.slots.get_mut(index as usize);
                if let Some(slot) = slot.filter(|slot| slot.generation == generation) {
                    self.called.extend(slot.happened(flags));
                }
            }
        });
        self.called.drain(..).for_each(call);
        if more {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}
