//! The agent's life: the machine in the middle, and around it shell, conversation and control socket.

use std::{fs, path::Path, process::ExitCode};

use anyhow::Context as _;
use evenkeel_boot::Running;
use evenkeel_config::agent::Config;
use evenkeel_control::Server;
use evenkeel_disk::{Esp, read_boot_record, restart_code};
use evenkeel_fetch::{Client, DeviceClient};
use evenkeel_protocol::{CheckIn, Report, Step};
use evenkeel_units::{Instant, Version};
use evenkeel_update::{Device, Effect, Input, Machine, Output};
use serde_json::{Map, Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::{interval, sleep},
};

use crate::{
    clock, control,
    control::View,
    conversation::{self, Heard},
    identity, notify,
    shell::{Leave, Shell},
};

/// Lives until SIGTERM, SIGINT or a restart of the box.
pub(crate) async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let running = read_boot_record(Path::new(config.boot.record.as_str()))?;
    let entries = Esp::new(Path::new(config.boot.esp.as_str())).entries()?;
    let (leave, left) = mpsc::channel(1);
    let (shell, record) = Shell::open(config, running, leave)?;
    let machine = Machine::recover(device(config, &running), running, entries, record, clock::moment());
    tracing::info!(version = %running.version, slot = %running.slot, "the agent starts");
    let daemon = Daemon::start(config, machine, shell)?;
    notify::notify("READY=1");
    daemon.live(left).await
}

fn device(config: &Config, running: &Running) -> Device {
    Device {
        hardware: config.device.hardware.as_str().into(),
        channel: config.device.channel.as_str().into(),
        // Agent and release are built and signed as one.
        agent: running.version,
        tries: config.boot.tries.get(),
    }
}

/// The machine and its channels.
struct Daemon {
    machine: Machine,
    config: Config,
    effects: mpsc::Sender<Effect>,
    reports: mpsc::UnboundedSender<Report>,
    check_in: watch::Sender<CheckIn>,
    view: watch::Sender<View>,
    wake: Option<Instant>,
    /// What is given out before this is set was logged before the restart.
    logs_reports: bool,
    inputs: Inputs,
}

/// What the daemon waits for.
struct Inputs {
    answers: mpsc::Receiver<Input>,
    heard: mpsc::Receiver<Heard>,
    delivered: mpsc::UnboundedReceiver<u64>,
    cleared: mpsc::UnboundedReceiver<Version>,
}

impl Daemon {
    /// Starts shell, conversation and control socket as tasks.
    fn start(config: &Config, machine: Machine, shell: Shell) -> anyhow::Result<Self> {
        // One effect is in flight at a time, so neither side ever waits for room.
        let (effects, effect_queue) = mpsc::channel(4);
        let (answer, answers) = mpsc::channel(4);
        tokio::spawn(shell.serve(effect_queue, answer));

        let (view, seen) = watch::channel(view_of(&machine));
        let (clear, cleared) = mpsc::unbounded_channel();
        let socket = Path::new(config.control.socket.as_str());
        if let Some(folder) = socket.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        tokio::spawn(control::serve(Server::bind(socket)?, seen, clear));

        let key = identity::device_key(Path::new(config.device.data_dir.as_str()))?;
        let client = DeviceClient::new(Client::new(&config.server.url.to_string()), key.clone());
        let (check_in, current) = watch::channel(check_in_of(&machine, config)?);
        let (hear, heard) = mpsc::channel(1);
        let (reports, report_queue) = mpsc::unbounded_channel();
        let (deliver, delivered) = mpsc::unbounded_channel();
        let enrolling = config.clone();
        tokio::spawn(async move {
            identity::enrol(&enrolling, &key, &client).await;
            let wait = enrolling.server.check_in_wait;
            tokio::join!(
                conversation::report(client.clone(), report_queue, deliver),
                conversation::check_in(client.clone(), wait, current, hear),
            );
        });
        let inputs = Inputs { answers, heard, delivered, cleared };
        let config = config.clone();
        Ok(Self {
            machine,
            config,
            effects,
            reports,
            check_in,
            view,
            wake: None,
            logs_reports: false,
            inputs,
        })
    }

    async fn live(mut self, mut left: mpsc::Receiver<Leave>) -> anyhow::Result<ExitCode> {
        let (mut terminate, mut hang_up) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let watchdog = notify::watchdog_interval();
        let mut alive = interval(watchdog.unwrap_or(std::time::Duration::from_secs(3600)));
        loop {
            self.pass_on().await?;
            let sleep_for = self.wake.map(|at| at.since(clock::now()));
            let input = tokio::select! {
                Some(answer) = self.inputs.answers.recv() => answer,
                Some(Heard { assignment, taken }) = self.inputs.heard.recv() => {
                    self.machine.handle(Input::Ordered(assignment), clock::moment());
                    self.pass_on().await?;
                    // The conversation waits for this, and its end is its own affair.
                    let _ = taken.send(());
                    continue;
                }
                Some(number) = self.inputs.delivered.recv() => Input::Delivered(number),
                Some(version) = self.inputs.cleared.recv() => Input::Cleared(version),
                () = sleep(sleep_for.unwrap_or_default()), if sleep_for.is_some() => {
                    self.wake = None;
                    Input::Tick
                }
                _ = alive.tick() => {
                    if watchdog.is_some() {
                        notify::notify("WATCHDOG=1");
                    }
                    continue;
                }
                Some(Leave) = left.recv() => {
                    tracing::info!("leaves, for the box to restart");
                    return Ok(restart_code());
                }
                _ = terminate.recv() => break,
                _ = hang_up.recv() => break,
            };
            self.machine.handle(input, clock::moment());
        }
        notify::notify("STOPPING=1");
        tracing::info!("the agent ends");
        Ok(ExitCode::SUCCESS)
    }

    /// Passes on what the machine asks for, and shows how it is now.
    async fn pass_on(&mut self) -> anyhow::Result<()> {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Do(effect) => self.effects.send(effect).await.context("the shell has ended")?,
                Output::Report(report) => {
                    if self.logs_reports {
                        log(&report);
                    }
                    // Without a conversation there is nobody to tell; the machine keeps the report.
                    let _ = self.reports.send(report);
                }
                Output::Wake(at) => self.wake = Some(at),
            }
        }
        self.logs_reports = true;
        let check_in = check_in_of(&self.machine, &self.config)?;
        self.check_in.send_if_modified(|current| replace(current, check_in));
        let view = view_of(&self.machine);
        self.view.send_if_modified(|current| replace(current, view));
        Ok(())
    }
}

fn replace<T: PartialEq>(current: &mut T, new: T) -> bool {
    let changed = *current != new;
    *current = new;
    changed
}

/// One line for each step: what the serial log of a box tells.
fn log(report: &Report) {
    let Report { release, step, .. } = report;
    match step {
        Step::RolledBack { .. } | Step::Refused { .. } | Step::Failed { .. } => {
            tracing::warn!("release {release}: {step}");
        }
        Step::Assigned
        | Step::Verified
        | Step::Staging { .. }
        | Step::Staged
        | Step::Restarting
        | Step::TrialStarted { .. }
        | Step::Kept
        | Step::Withdrawn => tracing::info!("release {release}: {step}"),
    }
    for finding in step.evidence() {
        tracing::warn!("release {release}: evidence: {finding}");
    }
}

fn check_in_of(machine: &Machine, config: &Config) -> anyhow::Result<CheckIn> {
    let running = machine.running();
    Ok(CheckIn {
        running: evenkeel_protocol::Running {
            version: running.version,
            slot: running.slot,
            root_hash: Some(running.root_hash),
        },
        state: machine.state(),
        known: machine.known(),
        refused: machine.refused().iter().map(|refusal| refusal.version).collect(),
        channel: config.device.channel.as_str().parse()?,
        hardware: config.device.hardware.as_str().parse()?,
        agent_version: running.version,
    })
}

fn view_of(machine: &Machine) -> View {
    let running = machine.running();
    let refused: Map<String, Value> = machine
        .refused()
        .iter()
        .map(|refusal| (refusal.version.to_string(), refusal.reason.to_string().into()))
        .collect();
    let status = [
        ("version", json!(running.version)),
        ("slot", json!(running.slot)),
        ("root_hash", json!(running.root_hash)),
        ("state", json!(machine.state())),
        ("refused", refused.into()),
    ];
    View {
        standing: machine.standing(),
        status: status.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    }
}
