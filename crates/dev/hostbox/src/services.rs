//! What systemd does on a real box: services started, restarted when they end, and stopped.

use std::{path::Path, process::ExitStatus, time::Duration};

use anyhow::Context as _;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// Time that a service gets to end before it is killed: as long as a box's own services need to drain.
const STOP: Duration = Duration::from_secs(5);

/// Wait before a service that ended is started again, so that one that cannot start does not use up a core.
pub(crate) const RESTART_DELAY: Duration = Duration::from_millis(500);

/// A process that this box started.
pub(crate) struct Service {
    name: &'static str,
    child: Child,
}

impl Service {
    /// Starts a program; its output is the box's.
    ///
    /// It is started through util-linux's `setpriv`, so that it ends with the box even when the box is killed: that
    /// is how power is cut.
    pub(crate) fn start(name: &'static str, program: &Path, args: &[&Path]) -> anyhow::Result<Self> {
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(args)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { name, child })
    }

    /// Waits for its end. May be given up and asked again.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        self.child.wait().await.with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Asks it to end, and kills it when it does not.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        if timeout(STOP, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Ends it at once, as a loss of power does.
    pub(crate) async fn kill(mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill().await;
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id {
            let _ = kill(Pid::from_raw(id), signal);
        }
    }
}
