//! `evenkeel-agent gate`: waits for the verdict of the agent that runs, and exits by it.

use std::{path::Path, process::ExitCode, time::Duration};

use evenkeel_config::agent::Config;
use evenkeel_control::{AgentRequest, Answer, call};

/// Time beyond the gate's own deadline for the agent to start, to look a last time and to answer.
const GRACE: Duration = Duration::from_secs(60);

/// Wait before a daemon that does not answer yet is asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// Asks until the agent answers, for it may still be starting.
pub(crate) async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let socket = Path::new(config.control.socket.as_str());
    let deadline = tokio::time::Instant::now() + config.gate.deadline + GRACE;
    loop {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        match call(socket, &AgentRequest::Gate {}, left).await {
            Ok(Answer::Done(_)) => return Ok(ExitCode::SUCCESS),
            Ok(Answer::Refused { errors }) => {
                eprintln!("evenkeel-agent gate: {}", errors.join("; "));
                return Ok(ExitCode::FAILURE);
            }
            Err(error) if left.is_zero() => {
                eprintln!("evenkeel-agent gate: no verdict: {error}; see the agent's log");
                return Ok(ExitCode::FAILURE);
            }
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}
