//! The ledger of source ports: what this process has of them towards each server, and what is left.
//!
//! Owns: the counts, over all workers and through reloads, and the choice of a source for a new connection. Leaves to
//! others: arithmetic and the order of sources (`core/balance`), what the limit is (the kernel's settings, read when a
//! plan is made), and waiting (`obtain`). Invariants: a port is taken before its connection is begun and given back once,
//! by [`Port`]; each count has one writer, its worker; what the kernel refuses is believed for a moment.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fs, io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use evenkeel_balance::{Left, PortBook, Ports, roomiest};
use evenkeel_units::Instant;

use crate::{clock::Clock, shared::Count};

/// How long a source is left alone towards a server after the kernel had no port for it, unless one comes back here
/// before: as long as it takes pools to look again.
const BARRED: Duration = Duration::from_millis(200);

/// How long ports count as scarce after the kernel had none: it knows of those that other programs have, and they seldom
/// give many back at once. Long enough for what fails to be seen again, short enough to be over soon after them.
const SCARCE: Duration = Duration::from_secs(10);

/// How long TIME-WAIT lasts in Linux (`TCP_TIMEWAIT_LEN`).
const TIME_WAIT: Duration = Duration::from_secs(60);

/// How long where the kernel takes such ports again (`tcp_tw_reuse`).
const TIME_WAIT_REUSED: Duration = Duration::from_secs(1);

/// The kernel's settings of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PortSettings {
    /// Ports that connections may go from.
    pub(crate) count: u32,
    /// Ports in TIME-WAIT are taken again after a second.
    reuse: Reused,
}

/// For which servers ports in TIME-WAIT are taken again (`tcp_tw_reuse`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reused {
    Never,
    Loopback,
    Always,
}

/// Why the kernel's settings are not known.
#[derive(Debug, thiserror::Error)]
#[error("{path}: cannot be read as {expected}")]
pub(crate) struct SettingsError {
    path: &'static str,
    expected: &'static str,
    source: io::Error,
}

impl PortSettings {
    /// What Linux does when nobody has changed it: 32,768 to 60,999, and reuse on loopback.
    const DEFAULT: Self = Self { count: 28_232, reuse: Reused::Loopback };

    /// Reads them; what cannot be read is told in the log and taken as Linux has it by itself.
    pub(crate) fn read_or_default() -> Self {
        Self::read().unwrap_or_else(|error| {
            let source = &error.source;
            tracing::warn!("{error}: {source}; counting source ports by the defaults of Linux");
            Self::DEFAULT
        })
    }

    fn read() -> Result<Self, SettingsError> {
        let range = file(
            "/proc/sys/net/ipv4/ip_local_port_range",
            "two ports, the first not above the second",
            range,
        )?;
        let reserved =
            file("/proc/sys/net/ipv4/ip_local_reserved_ports", "a list of ports and ranges", reserved)?;
        let reuse = file("/proc/sys/net/ipv4/tcp_tw_reuse", "0, 1 or 2", |text| match text {
            "0" => Some(Reused::Never),
            "1" => Some(Reused::Always),
            "2" => Some(Reused::Loopback),
            _ => None,
        })?;
        // Without timestamps nothing tells an old segment from a new one.
        let stamps = file("/proc/sys/net/ipv4/tcp_timestamps", "a number", |text| text.parse::<u8>().ok())?;
        Ok(Self { count: count(range, &reserved), reuse: if stamps == 0 { Reused::Never } else { reuse } })
    }

    fn time_wait(self, server: IpAddr) -> Duration {
        match self.reuse {
            Reused::Always => TIME_WAIT_REUSED,
            Reused::Loopback if server.to_canonical().is_loopback() => TIME_WAIT_REUSED,
            Reused::Loopback | Reused::Never => TIME_WAIT,
        }
    }
}

fn file<T>(
    path: &'static str,
    expected: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, SettingsError> {
    let failed = |source| SettingsError { path, expected, source };
    let text = fs::read_to_string(path).map_err(failed)?;
    read(text.trim())
        .ok_or_else(|| failed(io::Error::new(io::ErrorKind::InvalidData, format!("`{}`", text.trim()))))
}

fn range(text: &str) -> Option<(u16, u16)> {
    let mut ports = text.split_whitespace().map(str::parse);
    match (ports.next()?, ports.next()?, ports.next()) {
        (Ok(first), Ok(last), None) if first <= last => Some((first, last)),
        _ => None,
    }
}

/// Ports and ranges with commas between them, such as `8080,9000-9010`.
fn reserved(text: &str) -> Option<Vec<(u16, u16)>> {
    let part = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
    };
    text.split(',').filter(|text| !text.is_empty()).map(part).collect()
}

/// How many ports of a range are not reserved.
fn count((first, last): (u16, u16), reserved: &[(u16, u16)]) -> u32 {
    let is_free = |port: &u16| !reserved.iter().any(|&(from, to)| (from..=to).contains(port));
    u32::try_from((first..=last).filter(is_free).count()).expect("there are 65,536 ports")
}

/// One source towards one server.
type Way = (Option<IpAddr>, SocketAddr);

/// What is known of every source towards every server; it lives on through reloads.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    known: Mutex<HashMap<Way, Weak<Towards>>>,
}

impl Ledger {
    /// The ports from `source`, or from where the system chooses, towards `server`, under these settings.
    pub(crate) fn towards(
        &self,
        (source, server): Way,
        settings: PortSettings,
        workers: usize,
    ) -> Arc<Towards> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(towards) = known.get(&(source, server)).and_then(Weak::upgrade) {
            towards.all.store(settings.count, Relaxed);
            return towards;
        }
        known.retain(|_, towards| towards.strong_count() > 0);
        let towards = Arc::new(Towards {
            source,
            all: AtomicU32::new(settings.count),
            time_wait: settings.time_wait(server.ip()),
            tallies: (0..workers).map(|_| PortTally::default()).collect(),
        });
        known.insert((source, server), Arc::downgrade(&towards));
        towards
    }
}

/// The ports of one source towards one server, for all threads.
#[derive(Debug)]
pub(crate) struct Towards {
    /// `None` where the system chooses.
    pub(crate) source: Option<IpAddr>,
    all: AtomicU32,
    time_wait: Duration,
    tallies: Box<[PortTally]>,
}

/// What one worker has of them.
#[derive(Debug, Default)]
struct PortTally {
    open: Count,
    waiting: Count,
    refused: Count,
}

impl PartialEq for Towards {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Towards {
    /// Ports of open connections.
    pub(crate) fn open(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.open.value()).sum()
    }

    /// Ports that wait in TIME-WAIT, as far as we closed.
    pub(crate) fn waiting(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.waiting.value()).sum()
    }

    /// How often a connection found none.
    pub(crate) fn refused(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.refused.value()).sum()
    }

    /// How many there are.
    pub(crate) fn all(&self) -> u32 {
        self.all.load(Relaxed)
    }

    fn ports(&self) -> Ports {
        Ports { taken: u32::try_from(self.open() + self.waiting()).unwrap_or(u32::MAX), all: self.all() }
    }
}

/// From where a server is connected to: at least one.
pub(crate) type Ways = Box<[Arc<Towards>]>;

/// One worker's accounts of them.
pub(super) type Accounts = Box<[Rc<Account>]>;

thread_local! {
    /// This worker's accounts. They outlive pools, for ports in TIME-WAIT outlive connections.
    static ACCOUNTS: RefCell<HashMap<*const Towards, Rc<Account>>> = RefCell::default();
}

/// One worker's part of the ports of one source towards one server.
#[derive(Debug)]
pub(crate) struct Account {
    towards: Arc<Towards>,
    worker: usize,
    clock: Clock,
    book: RefCell<PortBook>,
    /// The kernel had none: until when that is believed.
    barred: Cell<Option<Instant>>,
    /// The same: until when ports are called scarce for it.
    scarce: Cell<Option<Instant>>,
}

impl Account {
    /// This worker's account.
    pub(crate) fn of(towards: &Arc<Towards>, worker: usize, clock: Clock) -> Rc<Self> {
        ACCOUNTS.with_borrow_mut(|accounts| {
            let account = accounts.entry(Arc::as_ptr(towards)).or_insert_with(|| {
                Rc::new(Self {
                    towards: Arc::clone(towards),
                    worker,
                    clock,
                    book: RefCell::new(PortBook::new(towards.time_wait)),
                    barred: Cell::new(None),
                    scarce: Cell::new(None),
                })
            });
            Rc::clone(account)
        })
    }

    /// What is left, as far as this worker knows.
    pub(crate) fn ports(&self, now: Instant) -> Ports {
        self.book.borrow_mut().advance(now);
        self.publish();
        let ports = self.towards.ports();
        match self.barred.get() {
            Some(until) if now < until => Ports { taken: ports.all, ..ports },
            Some(_) | None => ports,
        }
    }

    /// The kernel says that there is none, whatever the count says.
    pub(crate) fn bar(&self, now: Instant) {
        self.barred.set(Some(now + BARRED));
        self.scarce.set(Some(now + SCARCE));
    }

    /// Whether the next port may soon be missed.
    fn is_scarce(&self) -> bool {
        self.towards.ports().are_scarce() || self.scarce.get().is_some_and(|until| self.clock.now() < until)
    }

    fn take(self: &Rc<Self>) -> Port {
        self.book.borrow_mut().take();
        self.publish();
        Port(Box::new(Taken { account: Rc::clone(self), left: Cell::new(None), says: Cell::new(Says::More) }))
    }

    fn give(&self, left: Left) {
        self.book.borrow_mut().give(self.clock.now(), left);
        self.barred.set(None);
        self.publish();
    }

    fn publish(&self) {
        let (book, tally) = (self.book.borrow(), &self.towards.tallies[self.worker]);
        tally.open.set(book.open().into());
        tally.waiting.set(book.waiting().into());
    }

    /// Whether connections of `towards` are counted here.
    pub(crate) fn is_of(&self, towards: &Arc<Towards>) -> bool {
        Arc::ptr_eq(&self.towards, towards)
    }

    /// The address that connections go from.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        self.towards.source
    }
}

/// Lets ports come back in time, and forgets accounts of servers that are no more.
pub(crate) fn tick(now: Instant) {
    ACCOUNTS.with_borrow_mut(|accounts| {
        accounts.retain(|_, account| {
            let idle = account.ports(now).taken == 0;
            // The account itself and the ledger's weak link are all that is left then.
            !(idle && Rc::strong_count(account) == 1 && Arc::strong_count(&account.towards) == 1)
        });
    });
}

/// A port of the source that has most of them; `None`, and counted, when none has any.
pub(crate) fn take(accounts: &[Rc<Account>], now: Instant) -> Option<(Rc<Account>, Port)> {
    let Some(at) = roomiest(accounts.iter().map(|account| account.ports(now))) else {
        if let Some(account) = accounts.first() {
            account.towards.tallies[account.worker].refused.up();
        }
        return None;
    };
    let account = Rc::clone(&accounts[at]);
    let port = account.take();
    Some((account, port))
}

/// Whether one of these sources has a port left.
pub(crate) fn any_left(accounts: &[Rc<Account>], now: Instant) -> bool {
    accounts.iter().any(|account| account.ports(now).left() > 0)
}

/// A port that a connection has, until this is dropped.
#[derive(Debug)]
pub(crate) struct Port(Box<Taken>);

#[derive(Debug)]
struct Taken {
    account: Rc<Account>,
    left: Cell<Option<Left>>,
    says: Cell<Says>,
}

/// Whether either side of a connection has anything to say that the other may not have read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// As far as is known: an exchange is under way, or one has ended whose content the server may still read.
    More,
    /// For certain: the last request was a head alone, which the server has answered, and we have read all of the answer.
    Nothing,
}

impl Port {
    /// What is known of what is on its way.
    pub(crate) fn says(&self, says: Says) {
        self.0.says.set(says);
    }

    /// Whether the connection should end by a reset, which leaves its port free at once, instead of in TIME-WAIT: where that
    /// takes nothing from anybody and ports are scarce.
    pub(crate) fn should_be_reset(&self) -> bool {
        match (self.0.says.get(), self.0.left.get()) {
            (Says::Nothing, None) => self.0.account.is_scarce(),
            (Says::Nothing, Some(_)) | (Says::More, _) => false,
        }
    }

    /// How the connection leaves its port; what is said first holds.
    pub(crate) fn leaves(&self, left: impl FnOnce() -> Left) {
        if self.0.left.get().is_none() {
            self.0.left.set(Some(left()));
        }
    }

    /// The connection ends by a reset, whatever was said before.
    pub(crate) fn is_reset(&self) {
        self.0.left.set(Some(Left::Free));
    }

    /// Whether the connection goes one of these ways.
    pub(crate) fn is_of(&self, ways: &[Arc<Towards>]) -> bool {
        ways.iter().any(|towards| self.0.account.is_of(towards))
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // A connection that did not come about leaves nothing behind.
        self.0.account.give(self.0.left.get().unwrap_or(Left::Free));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_settings_are_read_as_it_writes_them() {
        assert_eq!(range("32768\t60999"), Some((32768, 60999)));
        for bad in ["", "1", "2 1", "1 2 3", "a b", "1 70000"] {
            assert_eq!(range(bad), None, "{bad}");
        }
        assert_eq!(reserved(""), Some(Vec::new()));
        assert_eq!(reserved("8080,9000-9010"), Some(vec![(8080, 8080), (9000, 9010)]));
        assert_eq!(reserved("8080,x"), None);
        assert_eq!(count((32768, 60999), &[]), 28_232);
        assert_eq!(count((10, 19), &[(5, 10), (12, 13), (15, 15)]), 6);
        assert_eq!(count((0, u16::MAX), &[]), 65_536);
    }

    #[test]
    fn settings_that_cannot_be_read_name_the_file_and_what_it_says() {
        let error = file("/proc/sys/net/ipv4/tcp_tw_reuse", "7", |_| None::<u8>).unwrap_err();
        assert!(
            error.to_string().starts_with("/proc/sys/net/ipv4/tcp_tw_reuse: cannot be read as 7"),
            "{error}"
        );
        assert!(file("/nowhere", "anything", |_| Some(())).is_err());
    }

    #[test]
    fn ports_in_time_wait_are_back_soon_only_where_the_kernel_takes_them_again() {
        let settings = |reuse| PortSettings { count: 1, reuse };
        let (near, far) = ([127, 0, 0, 1].into(), [10, 0, 0, 1].into());
        assert_eq!(settings(Reused::Never).time_wait(near), TIME_WAIT);
        assert_eq!(settings(Reused::Loopback).time_wait(near), TIME_WAIT_REUSED);
        assert_eq!(settings(Reused::Loopback).time_wait(far), TIME_WAIT);
        assert_eq!(settings(Reused::Always).time_wait(far), TIME_WAIT_REUSED);
    }

    fn account(towards: &Arc<Towards>) -> Rc<Account> {
        Account::of(towards, 0, Clock::start())
    }

    #[test]
    fn ports_are_counted_over_pools_and_reloads_until_their_connections_end() {
        let ledger = Ledger::default();
        let settings = PortSettings { count: 2, reuse: Reused::Never };
        let way = (None, "10.0.0.1:80".parse().unwrap());
        let towards = ledger.towards(way, settings, 1);
        let accounts = [account(&towards)];
        let now = Instant::START;
        let (_, first) = take(&accounts, now).unwrap();
        let again = ledger.towards(way, PortSettings { count: 3, ..settings }, 1);
        assert!(Arc::ptr_eq(&towards, &again), "one server, one ledger");
        let others = [account(&again)];
        let (_, second) = take(&others, now).unwrap();
        let (_, third) = take(&accounts, now).unwrap();
        assert!(take(&others, now).is_none() && !any_left(&accounts, now));
        assert_eq!((again.open(), again.refused(), again.all()), (3, 1, 3));
        drop(first);
        assert!(any_left(&accounts, now), "free at once");
        second.leaves(|| Left::Waiting);
        second.leaves(|| Left::Free);
        drop(second);
        assert_eq!((again.open(), again.waiting()), (1, 1), "what was said first holds");
        drop(third);
        let later = Clock::start().now() + TIME_WAIT * 2;
        tick(later);
        assert_eq!((again.open(), again.waiting()), (0, 0));
    }

    #[test]
    fn a_connection_is_reset_only_where_half_of_the_ports_are_taken_and_nothing_is_on_its_way() {
        let ledger = Ledger::default();
        let settings = PortSettings { count: 5, reuse: Reused::Never };
        let accounts = [account(&ledger.towards((None, "10.0.0.2:80".parse().unwrap()), settings, 1))];
        let ports: Vec<_> = (0..3).map(|_| take(&accounts, Instant::START).unwrap().1).collect();
        let resets = || ports.iter().filter(|port| port.should_be_reset()).count();
        assert_eq!(resets(), 0, "requests are under way");
        ports[0].says(Says::Nothing);
        assert_eq!(resets(), 1);
        ports[0].says(Says::More);
        assert_eq!(resets(), 0, "another request has begun");
        ports[0].says(Says::Nothing);
        ports[0].leaves(|| Left::Waiting);
        assert_eq!(resets(), 0, "its end has been said");
        let [_, second, third] = <[Port; 3]>::try_from(ports).unwrap();
        second.says(Says::Nothing);
        assert!(second.should_be_reset(), "one in TIME-WAIT and two open of five");
        assert!(!third.should_be_reset());
    }

    #[test]
    fn what_the_kernel_refuses_is_believed_until_a_port_comes_back_or_a_moment_has_passed() {
        let ledger = Ledger::default();
        let settings = PortSettings { count: 9, reuse: Reused::Never };
        let way = |n: u8| (Some([10, 0, 0, n].into()), "10.0.0.1:80".parse().unwrap());
        let accounts: Vec<_> = (1..=2).map(|n| account(&ledger.towards(way(n), settings, 1))).collect();
        let now = Instant::START;
        let (first, port) = take(&accounts, now).unwrap();
        port.says(Says::Nothing);
        assert!(!port.should_be_reset(), "one of nine is taken");
        first.bar(now);
        assert!(port.should_be_reset(), "the kernel knows better");
        let (second, _other) = take(&accounts, now).unwrap();
        assert_ne!(first.source(), second.source(), "the next source is tried");
        second.bar(now);
        assert!(take(&accounts, now).is_none());
        assert!(any_left(&accounts, now + BARRED));
        drop(port);
        assert!(any_left(&accounts, now), "one came back");
    }
}
