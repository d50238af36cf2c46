//! Whether a proxy gives the right answer at all, before it is measured.
//!
//! The generators look at statuses and lengths only; here the whole content is compared once, fetched by curl in the
//! scenario's own protocol. A proxy that answers wrongly is not measured.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{peers::Peer, scenario::Scenario};

/// Fetches the scenario's answer through a proxy and compares it.
///
/// # Errors
/// When it is not what the server behind the proxy sends.
pub(crate) fn answer(scenario: Scenario, peer: &Peer) -> Result<()> {
    let path = if scenario == Scenario::Websocket { "/1k" } else { scenario.path() };
    let length = if scenario == Scenario::Websocket { 1 << 10 } else { scenario.content_bytes() };
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--insecure", "--max-time", "10"]);
    command.args(["--write-out", "%{stderr}%{http_version}"]);
    command.arg(match (scenario.is_h2(), scenario.is_tls()) {
        (true, true) => "--http2",
        (true, false) => "--http2-prior-knowledge",
        (false, _) => "--http1.1",
    });
    let output = command
        .arg(format!("{}://{}{path}", scenario.scheme(), peer.address))
        .output()
        .context("cannot start curl (package curl)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let name = peer.kind.name();
    ensure!(output.status.success(), "{name} does not answer in {scenario}: {said}");
    let version = if scenario.is_h2() { "2" } else { "1.1" };
    ensure!(said == version, "{name} answers {scenario} in HTTP {said} instead of {version}");
    let right = output.stdout.len() as u64 == length && output.stdout.iter().all(|byte| *byte == b'x');
    ensure!(right, "{name} answers {scenario} with {} bytes that are not the server's", output.stdout.len());
    Ok(())
}
