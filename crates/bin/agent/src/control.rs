//! The agent's control socket: what the command and the health gate's unit ask.

use evenkeel_control::{AgentRequest, Answer, Server};
use evenkeel_units::Version;
use evenkeel_update::Standing;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};

/// What the daemon lets others see of its machine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct View {
    /// How the trial of the running release stands.
    pub(crate) standing: Standing,
    /// The answer to a request for the status.
    pub(crate) status: Map<String, Value>,
}

/// Answers requests for ever.
pub(crate) async fn serve(
    server: Server,
    view: watch::Receiver<View>,
    clear: mpsc::UnboundedSender<Version>,
) {
    server.serve(move |request| answer(request, view.clone(), clear.clone())).await;
}

async fn answer(
    request: AgentRequest,
    mut view: watch::Receiver<View>,
    clear: mpsc::UnboundedSender<Version>,
) -> Answer {
    match request {
        AgentRequest::Status {} => Answer::Done(view.borrow().status.clone()),
        AgentRequest::Gate {} => {
            let judged = view.wait_for(|view| view.standing != Standing::OnTrial).await;
            match judged.map(|view| view.standing.clone()) {
                Ok(Standing::Kept) => Answer::done(),
                Ok(Standing::Failed { reason }) => Answer::refused(format!("rolled back: {reason}")),
                Ok(Standing::OnTrial) | Err(_) => Answer::refused("the agent ended before the verdict"),
            }
        }
        AgentRequest::Clear { version } => match version.parse() {
            Ok(version) if clear.send(version).is_ok() => Answer::done(),
            Ok(_) => Answer::refused("the agent is ending; ask again when it runs"),
            Err(error) => Answer::refused(error),
        },
    }
}
