//! The life of a host box: one start after another, until somebody switches it off.

use std::{
    process::ExitStatus,
    time::{Duration, Instant},
};

use anyhow::bail;
use evenkeel_disk::RESTART_STATUS;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use crate::{
    firmware,
    layout::Layout,
    services::{RESTART_DELAY, Service},
};

/// Starts in a row that end before a service runs, after which the box counts as broken: three entries with
/// three tries each would be nine.
const FAILED_STARTS: u32 = 10;

/// A box as processes.
pub(crate) struct Host {
    layout: Layout,
    watchdog: Duration,
    powered: Instant,
}

/// How one start of the box ended.
enum End {
    /// Somebody switched it off.
    Off,
    /// It restarts.
    Restart,
}

/// The processes of one start.
struct Services {
    proxy: Service,
    agent: Service,
    gate: Option<Service>,
}

/// What happened to the processes of one start.
enum Happening {
    Off,
    Proxy(ExitStatus),
    Agent(ExitStatus),
    Gate(ExitStatus),
    Watchdog,
}

impl Host {
    pub(crate) fn new(layout: Layout, watchdog: Duration) -> Self {
        Self { layout, watchdog, powered: Instant::now() }
    }

    /// One line of what stands for the serial log.
    fn say(&self, text: &str) {
        let elapsed = self.powered.elapsed();
        println!("[{:5}.{:03}] {text}", elapsed.as_secs(), elapsed.subsec_millis());
    }

    /// Starts again and again, until SIGTERM or SIGINT.
    pub(crate) async fn live(&self) -> anyhow::Result<()> {
        let mut off = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        let mut failed = 0;
        loop {
            let entry = firmware::choose_entry(&self.layout)?;
            self.say(&format!("loader: starts {entry}"));
            let started = firmware::find_slot(&self.layout, entry)
                .and_then(|running| firmware::unpack(&self.layout, &running).map(|()| running));
            match started {
                Ok(running) => {
                    failed = 0;
                    self.say(&format!("init: release {} from slot {}", running.version, running.slot));
                    match self.serve(entry.tries.is_some(), &mut off).await? {
                        End::Off => break,
                        End::Restart => self.say("box: restarts"),
                    }
                }
                Err(error) if entry.tries.is_none() || failed >= FAILED_STARTS => {
                    bail!("{entry} does not start, and nothing else would: {error:#}");
                }
                Err(error) => {
                    failed += 1;
                    self.say(&format!("init: {entry} does not start: {error:#}; restarts"));
                }
            }
        }
        self.say("box: off");
        Ok(())
    }

    /// Runs the services of one start to its end.
    async fn serve(&self, on_trial: bool, off: &mut [Signal; 2]) -> anyhow::Result<End> {
        let mut services = Services {
            proxy: self.start_proxy()?,
            agent: self.start_agent()?,
            gate: Some(self.start_gate()?),
        };
        let mut armed = on_trial;
        let started = Instant::now();
        loop {
            let left = self.watchdog.saturating_sub(started.elapsed());
            match services.next(off, armed.then_some(left)).await? {
                Happening::Off => {
                    services.stop().await;
                    return Ok(End::Off);
                }
                Happening::Agent(status) if status.code() == Some(RESTART_STATUS.into()) => {
                    self.say("agent: asks for a restart");
                    services.stop().await;
                    return Ok(End::Restart);
                }
                Happening::Agent(status) => {
                    self.say(&format!("agent: ended with {status}; starts it again"));
                    sleep(RESTART_DELAY).await;
                    services.agent = self.start_agent()?;
                }
                Happening::Proxy(status) => {
                    self.say(&format!("proxy: ended with {status}; starts it again"));
                    sleep(RESTART_DELAY).await;
                    services.proxy = self.start_proxy()?;
                }
                Happening::Gate(status) if status.success() => {
                    self.say("gate: passed, the start is complete");
                    (services.gate, armed) = (None, false);
                }
                Happening::Gate(status) => {
                    self.say(&format!("gate: not passed ({status})"));
                    services.gate = None;
                }
                Happening::Watchdog => {
                    self.say("watchdog: no verdict in time, the box loses power");
                    services.kill().await;
                    return Ok(End::Restart);
                }
            }
        }
    }

    fn start_proxy(&self) -> anyhow::Result<Service> {
        let (config, socket) = (self.layout.balancer_config(), self.layout.proxy_socket());
        let args = ["--config".as_ref(), config.as_path(), "--control-socket".as_ref(), socket.as_path()];
        Service::start("evenkeel-proxy", &self.layout.root().join("usr/bin/evenkeel-proxy"), &args)
    }

    fn start_agent(&self) -> anyhow::Result<Service> {
        let config = self.layout.agent_config();
        let args = ["--config".as_ref(), config.as_path()];
        Service::start("evenkeel-agent", &self.layout.root().join("usr/bin/evenkeel-agent"), &args)
    }

    fn start_gate(&self) -> anyhow::Result<Service> {
        let config = self.layout.agent_config();
        let args = ["gate".as_ref(), "--config".as_ref(), config.as_path()];
        Service::start("evenkeel-gate", &self.layout.root().join("usr/bin/evenkeel-agent"), &args)
    }
}

impl Services {
    /// Waits for whatever happens first.
    async fn next(&mut self, off: &mut [Signal; 2], watchdog: Option<Duration>) -> anyhow::Result<Happening> {
        let [terminate, interrupt] = off;
        tokio::select! {
            _ = terminate.recv() => Ok(Happening::Off),
            _ = interrupt.recv() => Ok(Happening::Off),
            status = self.agent.ended() => status.map(Happening::Agent),
            status = self.proxy.ended() => status.map(Happening::Proxy),
            Some(status) = ended(&mut self.gate) => status.map(Happening::Gate),
            () = sleep(watchdog.unwrap_or_default()), if watchdog.is_some() => Ok(Happening::Watchdog),
        }
    }

    async fn stop(self) {
        if let Some(gate) = self.gate {
            gate.stop().await;
        }
        self.agent.stop().await;
        self.proxy.stop().await;
    }

    async fn kill(self) {
        if let Some(gate) = self.gate {
            gate.kill().await;
        }
        self.agent.kill().await;
        self.proxy.kill().await;
    }
}

async fn ended(service: &mut Option<Service>) -> Option<anyhow::Result<ExitStatus>> {
    match service {
        Some(service) => Some(service.ended().await),
        None => None,
    }
}
