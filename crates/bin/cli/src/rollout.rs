//! `evenkeel rollout`: bring a release to devices in waves, watch it, and stop it.

use std::time::Duration;

use anyhow::Result;
use evenkeel_protocol::{
    DeviceCount, HaltRollout, RolloutDetail, RolloutId, RolloutList, RolloutState, Sentence, StartRollout,
    Wave,
};
use evenkeel_units::Version;

use crate::{
    device::duration,
    server::{Output, Server, run_async},
    table::table,
};

/// Rollouts: bring a release to devices in waves
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, clap::Subcommand)]
enum Task {
    /// Start to bring a published release to devices
    Start {
        /// The release, such as 1.1.0
        version: Version,
        /// A wave, once for each in their order: a number of devices (1), a fraction of the fleet (100‰, 10%),
        /// `all`, or device identities with commas between them
        #[arg(long = "wave", value_name = "WAVE", required = true)]
        waves: Vec<Wave>,
        /// How many devices may fail, at most. So many may be on their way at once, less those that failed
        #[arg(long, value_name = "N")]
        failure_budget: u32,
        /// A started device that says nothing for so long has failed: 60s to 24h
        #[arg(long, value_name = "TIME", value_parser = duration)]
        silence: Option<Duration>,
        #[command(flatten)]
        output: Output,
    },
    /// Show a rollout, and for every device where it stands and why
    Show {
        /// Its number
        rollout: RolloutId,
        #[command(flatten)]
        output: Output,
    },
    /// List every rollout
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Stop a rollout for everyone: no further device starts, and those that have not restarted yet stop
    Halt {
        /// Its number
        rollout: RolloutId,
        /// Why, for those who look at it later
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        #[command(flatten)]
        output: Output,
    },
}

/// Runs the subcommand.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    match arguments.task {
        Task::Start { version, waves, failure_budget, silence, output } => {
            let silence_seconds = silence.map(|silence| silence.as_secs());
            let request = StartRollout { release: version, waves, failure_budget, silence_seconds };
            run_async(start(&output.server.open()?, request, output.json))
        }
        Task::Show { rollout, output } => run_async(show(&output.server.open()?, rollout, output.json)),
        Task::List { output } => run_async(list(&output.server.open()?, output.json)),
        Task::Halt { rollout, reason, output } => {
            let reason = reason.as_deref().map(Sentence::new);
            run_async(halt(&output.server.open()?, rollout, HaltRollout { reason }, output.json))
        }
    }
}

async fn start(server: &Server, request: StartRollout, json: bool) -> Result<()> {
    print(&server.post("/api/rollouts", &request).await?, json)
}

async fn show(server: &Server, id: RolloutId, json: bool) -> Result<()> {
    print(&server.get(&format!("/api/rollouts/{id}")).await?, json)
}

async fn halt(server: &Server, id: RolloutId, request: HaltRollout, json: bool) -> Result<()> {
    print(&server.post(&format!("/api/rollouts/{id}/halt"), &request).await?, json)
}

async fn list(server: &Server, json: bool) -> Result<()> {
    let list: RolloutList = server.get("/api/rollouts").await?;
    if json {
        println!("{}", serde_json::to_string(&list)?);
        return Ok(());
    }
    if list.rollouts.is_empty() {
        println!("There is no rollout. Start one with `evenkeel rollout start VERSION`.");
        return Ok(());
    }
    let rows = list.rollouts.iter().map(|rollout| {
        [
            rollout.id.to_string(),
            rollout.release.to_string(),
            rollout.started.to_string(),
            counts(&rollout.count),
            rollout.state.to_string(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    print!("{}", table(["rollout", "release", "started", "devices", "state"], &rows));
    Ok(())
}

fn print(detail: &RolloutDetail, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(detail)?);
    } else {
        print!("{}", text(detail));
    }
    Ok(())
}

fn text(detail: &RolloutDetail) -> String {
    let rollout = &detail.rollout;
    let mut text = format!("Rollout {} of release {}: {}\n", rollout.id, rollout.release, rollout.state);
    if let RolloutState::Halted { at, .. } = &rollout.state {
        text += &format!("halted at {at}\n");
    }
    let spent = rollout.count.failed;
    text +=
        &format!("started at {}, {} of {} failures spent\n", rollout.started, spent, rollout.failure_budget);
    for (index, wave) in detail.waves.iter().enumerate() {
        text += &format!("\nWave {} ({}): {}\n", index + 1, wave.wave, counts(&wave.count));
        let rows: Vec<_> = wave
            .devices
            .iter()
            .map(|device| {
                let name = device.name.as_ref().map_or_else(|| device.id.to_string(), ToString::to_string);
                [name, device.standing.to_string(), device.reason.to_string()]
            })
            .collect();
        if !rows.is_empty() {
            text += &table(["device", "standing", "reason"], &rows);
        }
    }
    text
}

fn counts(count: &DeviceCount) -> String {
    let pieces = [
        (count.succeeded, "succeeded"),
        (count.in_flight, "updating"),
        (count.failed, "failed"),
        (count.waiting, "waiting"),
        (count.left_out, "left out"),
    ];
    let pieces: Vec<_> =
        pieces.iter().filter(|(n, _)| *n > 0).map(|(n, text)| format!("{n} {text}")).collect();
    if pieces.is_empty() { "no devices".to_string() } else { pieces.join(", ") }
}

#[cfg(test)]
mod tests {
    use evenkeel_protocol::{RolloutDevice, RolloutSummary, Standing, WaveStanding};
    use evenkeel_units::{DeviceId, WallTime};

    use super::*;

    #[test]
    fn a_rollout_is_shown_with_the_reason_for_every_device() {
        let count = DeviceCount { waiting: 1, succeeded: 1, ..DeviceCount::default() };
        let device = |n: u8, name: &str, standing, reason: &str| RolloutDevice {
            id: DeviceId::of_public_key(&[n; 32]),
            name: name.parse().ok(),
            standing,
            reason: reason.into(),
        };
        let at = WallTime::from_unix_seconds(0);
        let detail = RolloutDetail {
            rollout: RolloutSummary {
                id: RolloutId(3),
                release: Version::new(1, 1, 0),
                started: at,
                state: RolloutState::Halted { at, reason: "by hand".into() },
                failure_budget: 2,
                count,
            },
            waves: vec![WaveStanding {
                wave: Wave::ALL,
                count,
                devices: vec![
                    device(1, "box-1", Standing::Succeeded, "runs 1.1.0"),
                    device(2, "", Standing::Waiting, "is not started: the rollout was halted"),
                ],
            }],
        };
        let expected = "\
Rollout 3 of release 1.1.0: halted: by hand
halted at 1970-01-01T00:00:00Z
started at 1970-01-01T00:00:00Z, 0 of 2 failures spent

Wave 1 (all): 1 succeeded, 1 waiting
DEVICE                            STANDING   REASON
box-1                             succeeded  runs 1.1.0
";
        let shown = text(&detail);
        assert!(shown.starts_with(expected), "{shown}");
        assert!(shown.ends_with("  waiting    is not started: the rollout was halted\n"), "{shown}");
    }
}
