//! Processes that the bench starts: pinned to a core, measured, and ended by pid.
//!
//! Owns: CPU and memory of a process tree as `/proc` shows them, and the guarantee that dropping a [`Started`] ends
//! all of the tree. Leaves to others: what is started.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sched::{CpuSet, sched_getaffinity},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{net::TcpStream, time};

/// How long a process may take to accept its first connection: ten times what any of them needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a process may take to end when asked to, before it is ended: without traffic all of them end at once.
const GRACE: Duration = Duration::from_secs(2);

/// The two cores of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    /// The proxy's alone.
    pub(crate) proxy: usize,
    /// Of the load generator and the server behind the proxies.
    pub(crate) rest: usize,
}

impl Cores {
    /// The first two cores that this process may run on.
    pub(crate) fn choose() -> Result<Self> {
        let set = sched_getaffinity(Pid::from_raw(0)).context("cannot ask for the cores of this process")?;
        let mut cores = (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false));
        match (cores.next(), cores.next()) {
            (Some(proxy), Some(rest)) => Ok(Self { proxy, rest }),
            _ => bail!("needs two cores: one for the proxy, one for the load; this process may use only one"),
        }
    }
}

/// CPU time of processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// All of it, to the nanosecond.
    pub(crate) total: Duration,
    /// What of it was spent in programs, in ticks of the kernel, which samples it.
    user_ticks: u64,
    /// What of it was spent in the kernel, likewise.
    system_ticks: u64,
}

impl Cpu {
    /// What has been used since an earlier reading: all of it, and the part that was spent in programs.
    #[allow(clippy::cast_precision_loss, reason = "ticks of a run are far below 2^52")]
    pub(crate) fn since(&self, before: &Self) -> (Duration, Duration) {
        let total = self.total.saturating_sub(before.total);
        let user = self.user_ticks.saturating_sub(before.user_ticks);
        let ticks = user + self.system_ticks.saturating_sub(before.system_ticks);
        (total, total.mul_f64(user as f64 / ticks.max(1) as f64))
    }
}

/// A process that was started, and whatever it starts.
pub(crate) struct Started {
    child: Child,
    name: String,
}

impl Started {
    /// Starts a command pinned to a core, its output going to a file.
    pub(crate) fn pinned(name: &str, core: usize, command: &[&str], log: &Path) -> Result<Self> {
        let core = core.to_string();
        Self::free(name, &[&["taskset", "--cpu-list", &core], command].concat(), log)
            .context("pinning to a core takes taskset (package util-linux)")
    }

    /// Starts a command that may run on every core, its output going to a file.
    pub(crate) fn free(name: &str, command: &[&str], log: &Path) -> Result<Self> {
        let log = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let [program, arguments @ ..] = command else { bail!("{name} has no command") };
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name: name.to_owned() })
    }

    /// Sends a signal to the process that was started.
    pub(crate) fn signal(&self, signal: Signal) {
        send(self.child.id(), signal);
    }

    /// Waits until the process accepts connections.
    pub(crate) async fn wait_until_it_listens(&mut self, address: SocketAddr, log: &Path) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).await.is_err() {
            let said = || fs::read_to_string(log).unwrap_or_default();
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended at once ({status}):\n{}", self.name, said());
            }
            ensure!(Instant::now() < deadline, "{} does not listen on {address}:\n{}", self.name, said());
            time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The processes that there are now: the one that was started, and all below it.
    pub(crate) fn pids(&self) -> Result<Vec<u32>> {
        Ok(tree(self.child.id(), &parents()?))
    }

    /// CPU time that the tree has used so far.
    pub(crate) fn cpu(&self) -> Result<Cpu> {
        let times = self.pids()?.into_iter().map(cpu_of).collect::<Result<Vec<_>>>()?;
        Ok(times.into_iter().fold(Cpu::default(), |sum, cpu| Cpu {
            total: sum.total + cpu.total,
            user_ticks: sum.user_ticks + cpu.user_ticks,
            system_ticks: sum.system_ticks + cpu.system_ticks,
        }))
    }

    /// The most memory that the tree has had at once, as the sum over its processes, in bytes.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        self.pids()?.into_iter().map(|pid| memory_of(pid, "VmHWM:")).sum()
    }

    /// The memory that the tree has now, in bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        self.pids()?.into_iter().map(|pid| memory_of(pid, "VmRSS:")).sum()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let tree = parents().map(|parents| tree(self.child.id(), &parents)).unwrap_or_default();
        send(self.child.id(), Signal::SIGTERM);
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        for pid in tree {
            send(pid, Signal::SIGKILL);
        }
        self.child.wait().ok();
    }
}

fn send(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        kill(Pid::from_raw(pid), signal).ok();
    }
}

/// Every process with its parent.
fn parents() -> Result<Vec<(u32, u32)>> {
    let entries = fs::read_dir("/proc").context("cannot read /proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids
        .filter_map(|pid| Some((pid, parent(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?)))
        .collect())
}

/// The parent in a line of `/proc/PID/stat`; the name before it may hold anything (proc(5)).
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// A process and all below it.
fn tree(root: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut tree = vec![root];
    let mut next = 0;
    while next < tree.len() {
        let above = tree[next];
        tree.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| *pid));
        next += 1;
    }
    tree
}

/// The first field of each thread's `schedstat`: nanoseconds on a core (Linux, sched-stats). Fields 14 and 15 of its
/// `stat`: ticks in programs and in the kernel (proc(5)).
fn cpu_of(pid: u32) -> Result<Cpu> {
    let threads =
        fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} is gone"))?;
    let mut cpu = Cpu::default();
    for thread in threads {
        let thread = thread?.path();
        let (Ok(schedstat), Ok(stat)) =
            (fs::read_to_string(thread.join("schedstat")), fs::read_to_string(thread.join("stat")))
        else {
            continue; // A thread that has just ended.
        };
        let number = |field: Option<&str>| field.and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        cpu.total += Duration::from_nanos(number(schedstat.split(' ').next()));
        // The state behind the name is field 3.
        let mut fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').skip(14 - 3);
        cpu.user_ticks += number(fields.next());
        cpu.system_ticks += number(fields.next());
    }
    Ok(cpu)
}

/// A figure of `/proc/PID/status`, in bytes.
fn memory_of(pid: u32, figure: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone"))?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix(figure)?.trim().strip_suffix(" kB"));
    let kibibytes: u64 = kibibytes
        .and_then(|text| text.trim().parse().ok())
        .with_context(|| format!("no {figure} in /proc/{pid}/status"))?;
    Ok(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_holds_children_of_children_and_no_others() {
        let parents = [(2, 1), (3, 2), (4, 3), (5, 1), (6, 4)];
        assert_eq!(tree(2, &parents), [2, 3, 4, 6]);
    }

    #[test]
    fn the_parent_is_read_behind_a_name_with_spaces_and_parentheses() {
        assert_eq!(parent("12 (a) b (c) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12"), None);
    }

    #[test]
    fn work_done_shows_as_cpu_time_and_memory() {
        let pid = std::process::id();
        let before = cpu_of(pid).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while cpu_of(pid).unwrap() == before {
            assert!(Instant::now() < deadline, "no CPU time counted while busy");
            std::hint::black_box((0..100_000_u64).sum::<u64>());
        }
        assert!(memory_of(pid, "VmHWM:").unwrap() > 100 << 10);
        assert!(memory_of(pid, "VmHWM:").unwrap() >= memory_of(pid, "VmRSS:").unwrap());
    }

    #[test]
    fn time_is_split_as_the_ticks_are() {
        let cpu = |milliseconds, user_ticks, system_ticks| Cpu {
            total: Duration::from_millis(milliseconds),
            user_ticks,
            system_ticks,
        };
        let (total, user) = cpu(1_100, 35, 95).since(&cpu(100, 10, 20));
        assert_eq!((total, user), (Duration::from_secs(1), Duration::from_millis(250)));
        assert_eq!(cpu(5, 1, 1).since(&cpu(5, 1, 1)), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn what_is_started_is_ended_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let cores = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let core = (0..CpuSet::count()).find(|core| cores.is_set(*core).unwrap()).unwrap();
        let script = "trap '' TERM; sleep 600 & echo $!; wait";
        let deadline = Instant::now() + PATIENCE;
        let started = Started::pinned("bash", core, &["bash", "-c", script], &log).unwrap();
        let child = loop {
            if let Ok(pid) = fs::read_to_string(&log).unwrap().trim().parse::<u32>() {
                break pid;
            }
            assert!(Instant::now() < deadline, "the script does not start");
            thread::sleep(Duration::from_millis(5));
        };
        let root = started.child.id();
        assert_eq!(tree(root, &parents().unwrap()), [root, child]);

        drop(started);

        while fs::exists(format!("/proc/{child}/cmdline")).unwrap()
            && !fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default().is_empty()
        {
            assert!(Instant::now() < deadline + PATIENCE, "the child lives on");
            thread::sleep(Duration::from_millis(5));
        }
    }
}
