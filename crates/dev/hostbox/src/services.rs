//! The services of a running box: data plane, agent, and the gate that waits for the agent's verdict.
//!
//! Invariant: no process outlives the box. Each is started through `setpriv --pdeathsig`, so that killing the box,
//! which is how a power cut is made, ends them in the same moment.

use std::{
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Exit status by which the agent asks for a restart of the box (docs/protocol.md, "Box: files and sockets").
const RESTART: i32 = 75;

/// How long a service may take to leave after SIGTERM: the data plane's drain.
const LEAVE: Duration = Duration::from_secs(10);

/// Pause before a service that left by itself is started again, as systemd's `RestartSec=` would be set.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// How the agent's end is to be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Nothing happened that concerns the box.
    GoOn,
    /// The agent asks for a restart.
    Restart,
}

/// What runs.
pub(crate) struct Services {
    proxy: Service,
    agent: Service,
    gate: Option<Child>,
    gate_passed: bool,
}

impl Services {
    /// Starts the binaries in `root` with the files in `dir`.
    pub(crate) fn start(dir: &Path, root: &Path) -> Result<Self> {
        let program = |name: &str| root.join("usr/bin").join(name).display().to_string();
        let file = |name: &str| dir.join(name).display().to_string();
        let proxy = [
            program("evenkeel-proxy"),
            "--config".into(),
            file("balancer.toml"),
            "--control-socket".into(),
            file("run/proxy.sock"),
        ];
        let agent = [program("evenkeel-agent"), "--config".into(), file("agent.toml")];
        let gate = [program("evenkeel-agent"), "--config".into(), file("agent.toml"), "gate".into()];
        let (proxy, agent) = (Service::start(proxy.to_vec())?, Service::start(agent.to_vec())?);
        Ok(Self { proxy, agent, gate: Some(spawn(&gate)?), gate_passed: false })
    }

    /// Looks after everything once: starts again what left by itself.
    pub(crate) fn tend(&mut self) -> Result<Wish> {
        self.proxy.tend()?;
        if let Some(status) = self.gate.as_mut().map(Child::try_wait).transpose()?.flatten() {
            self.gate = None;
            self.gate_passed = status.success();
            println!("[services] gate: {}", if self.gate_passed { "boot complete" } else { "not passed" });
        }
        let left = self.agent.tend()?;
        Ok(if left.and_then(|status| status.code()) == Some(RESTART) { Wish::Restart } else { Wish::GoOn })
    }

    /// Whether `boot-complete.target` would be reached.
    pub(crate) fn boot_complete(&self) -> bool {
        self.gate_passed
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let mut children: Vec<&mut Child> =
            [self.agent.child.as_mut(), self.proxy.child.as_mut(), self.gate.as_mut()]
                .into_iter()
                .flatten()
                .collect();
        for child in &children {
            signal(child, Signal::SIGTERM);
        }
        let begin = Instant::now();
        while begin.elapsed() < LEAVE && children.iter_mut().any(|child| matches!(child.try_wait(), Ok(None)))
        {
            thread::sleep(Duration::from_millis(10));
        }
        for child in children {
            // Both fail only for a process that is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A program that is started again whenever it leaves.
struct Service {
    command: Vec<String>,
    child: Option<Child>,
    left: Instant,
}

impl Service {
    fn start(command: Vec<String>) -> Result<Self> {
        let child = spawn(&command)?;
        Ok(Self { command, child: Some(child), left: Instant::now() })
    }

    /// Notices that the program left, which it tells once, and starts it again after the pause.
    fn tend(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = self.child.as_mut() else {
            if self.left.elapsed() >= RESTART_PAUSE {
                self.child = Some(spawn(&self.command)?);
            }
            return Ok(None);
        };
        let status = child.try_wait()?;
        if let Some(status) = status {
            println!("[services] {} left with {status}", self.command[0]);
            self.child = None;
            self.left = Instant::now();
        }
        Ok(status)
    }
}

fn spawn(command: &[String]) -> Result<Child> {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .args(command)
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("start `{}` through setpriv (of Debian's util-linux)", command.join(" ")))
}

fn signal(child: &Child, signal: Signal) {
    if let Ok(id) = i32::try_from(child.id()) {
        // It may have left by itself in the meantime, which is what the signal is for.
        let _ = kill(Pid::from_raw(id), signal);
    }
}
