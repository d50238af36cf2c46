//! System calls of a proxy while it serves, counted by strace.
//!
//! A traced process is several times slower, so that nothing else is measured meanwhile: the load runs once more for it.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long strace may take to attach and to end: it answers at once where it may trace at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// A strace that counts.
pub(crate) struct Trace<'a> {
    child: Child,
    counts: &'a Path,
}

impl<'a> Trace<'a> {
    /// Attaches to every thread of processes; the counts go to a file.
    ///
    /// # Errors
    /// When there is no strace, or it may not trace.
    pub(crate) fn attach(pids: &[u32], counts: &'a Path) -> Result<Self> {
        let said = counts.with_extension("said");
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-o"]).arg(counts);
        for pid in pids {
            command.args(["-p", &pid.to_string()]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&said)?)
            .spawn()
            .context("cannot start strace (package strace)")?;
        let mut trace = Self { child, counts };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(&said)?;
            let attached = |pid: &u32| text.contains(&format!("Process {pid} attached"));
            if pids.iter().all(attached) {
                return Ok(trace);
            }
            if trace.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("strace does not trace: {}", text.trim());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Detaches, and gives the number of calls.
    ///
    /// # Errors
    /// When strace left no counts.
    pub(crate) fn detach(mut self) -> Result<u64> {
        self.end();
        let text = fs::read_to_string(self.counts).context("strace left no counts")?;
        total(&text).with_context(|| format!("strace left no total:\n{text}"))
    }

    fn end(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            kill(Pid::from_raw(pid), Signal::SIGINT).ok();
        }
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Trace<'_> {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end();
        }
    }
}

/// The calls in the last line, whose columns are `% time`, `seconds`, `usecs/call`, `calls`, perhaps `errors`, `total`.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().rev().find(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_are_read_with_and_without_errors() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            \x2099.00    0.000090           1        60           sendto\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.000117           0       170        18 total\n";
        assert_eq!(total(text), Some(170));
        assert_eq!(total(&text.replace("18 total", "total")), Some(170));
        assert_eq!(total("nothing"), None);
    }
}
