//! `evenkeel device`: enrolment tokens, and the devices as the update server knows them.

use std::time::Duration;

use anyhow::{Result, bail};
use evenkeel_protocol::{DeviceDetail, DeviceList, DeviceSummary, IssueToken, IssuedToken, Report};
use evenkeel_units::{DeviceId, WallTime};

use crate::{
    clock,
    server::{Output, Server, run_async},
    table::table,
};

/// Devices: tokens to enrol them, and how they are
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, clap::Subcommand)]
enum Task {
    /// Make a token with which one device enrols itself
    Token {
        /// How long it can be used: a number with s, m, h or d
        #[arg(long, default_value = "24h", value_parser = duration)]
        valid: Duration,
        #[command(flatten)]
        output: Output,
    },
    /// List every device
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Show one device with its reports
    Show {
        /// Its identity or name
        device: String,
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
        Task::Token { valid, output } => run_async(token(&output.server.open()?, valid, output.json)),
        Task::List { output } => run_async(list(&output.server.open()?, output.json)),
        Task::Show { device, output } => run_async(show(&output.server.open()?, &device, output.json)),
    }
}

async fn token(server: &Server, valid: Duration, json: bool) -> Result<()> {
    let issued: IssuedToken =
        server.post("/api/enrolment-tokens", &IssueToken { valid_seconds: valid.as_secs() }).await?;
    if json {
        println!("{}", serde_json::to_string(&issued)?);
    } else {
        println!("{}", issued.token);
        eprintln!("Good for one device until {}. It is shown this once.", issued.expires);
    }
    Ok(())
}

async fn list(server: &Server, json: bool) -> Result<()> {
    let list: DeviceList = server.get("/api/devices").await?;
    if json {
        println!("{}", serde_json::to_string(&list)?);
        return Ok(());
    }
    if list.devices.is_empty() {
        println!("No device is enrolled. Get a token for one with `evenkeel device token`.");
        return Ok(());
    }
    let now = clock::now();
    let rows: Vec<_> = list.devices.iter().map(|device| row(device, now)).collect();
    print!("{}", table(["device", "name", "runs", "state", "seen", "last report"], &rows));
    Ok(())
}

fn row(device: &DeviceSummary, now: WallTime) -> [String; 6] {
    let missing = || "-".to_string();
    [
        device.id.to_string(),
        device.name.as_ref().map_or_else(missing, ToString::to_string),
        device.running.map_or_else(missing, |running| format!("{} ({})", running.version, running.slot)),
        device.state.as_ref().map_or_else(|| "not checked in yet".to_string(), ToString::to_string),
        device
            .last_seen
            .map_or_else(|| "never".to_string(), |seen| format!("{} s ago", now.since(seen).as_secs())),
        device.last_report.as_ref().map_or_else(missing, |last| said(&last.report)),
    ]
}

fn said(report: &Report) -> String {
    format!("{}: {}", report.release, report.step)
}

async fn show(server: &Server, device: &str, json: bool) -> Result<()> {
    let id = find(server, device).await?;
    let detail: DeviceDetail = server.get(&format!("/api/devices/{id}")).await?;
    if json {
        println!("{}", serde_json::to_string(&detail)?);
        return Ok(());
    }
    let device = &detail.device;
    let unknown = || "not known yet".to_string();
    let fact = |name: &str, value: String| println!("{name:12}  {value}");
    fact("device", device.id.to_string());
    fact("name", device.name.as_ref().map_or_else(|| "-".to_string(), ToString::to_string));
    fact("hardware", device.hardware.to_string());
    fact("channel", device.channel.as_ref().map_or_else(unknown, ToString::to_string));
    let running =
        |running: evenkeel_protocol::Running| format!("{} in slot {}", running.version, running.slot);
    fact("runs", device.running.map_or_else(unknown, running));
    fact("state", device.state.as_ref().map_or_else(unknown, ToString::to_string));
    fact("agent", detail.agent_version.map_or_else(unknown, |version| version.to_string()));
    fact("enrolled", device.enrolled.to_string());
    fact("seen", device.last_seen.map_or_else(|| "never".to_string(), |seen| seen.to_string()));
    if !detail.refused.is_empty() {
        let refused: Vec<_> = detail.refused.iter().map(ToString::to_string).collect();
        fact("will not try", refused.join(", "));
    }
    println!("\nReports, newest first:");
    for received in &detail.reports {
        println!("{}  {}", received.report.at, said(&received.report));
        received.report.step.evidence().iter().for_each(|finding| println!("{:20}  - {finding}", ""));
    }
    Ok(())
}

/// The device of that identity or name.
async fn find(server: &Server, wanted: &str) -> Result<DeviceId> {
    if let Ok(id) = wanted.parse() {
        return Ok(id);
    }
    let list: DeviceList = server.get("/api/devices").await?;
    let named = |device: &&DeviceSummary| device.name.as_ref().is_some_and(|name| name.as_str() == wanted);
    let found: Vec<_> = list.devices.iter().filter(named).map(|device| device.id).collect();
    match found.as_slice() {
        [id] => Ok(*id),
        [] => bail!("no device is named `{wanted}`; see `evenkeel device list`"),
        several => bail!(
            "{} devices are named `{wanted}`; give the identity, see `evenkeel device list`",
            several.len()
        ),
    }
}

/// Reads a duration such as `90s`, `15m`, `24h` or `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("`{text}` is not a duration; expected a number with s, m, h or d such as `24h`");
    let unit = text.chars().last().ok_or_else(refuse)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(refuse()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| refuse())?;
    count.checked_mul(seconds).map(Duration::from_secs).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "h", "24", "-1h", "1w", "99999999999999999999d", "1 h", "9999999999999999d", "5ü"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
