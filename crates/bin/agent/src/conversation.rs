//! The conversation with the update server: check-ins that may be held, and reports until they are heard.

use std::time::Duration;

use evenkeel_fetch::{DeviceClient, Error, chain};
use evenkeel_protocol::{Assignment, CheckIn, Report};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::{Backoff, occasion};

/// Longest wait after a failed check-in: a box is back within a minute after its server is.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Orders, and the sign that the machine has taken them in.
pub(crate) struct Heard {
    pub(crate) assignment: Option<Assignment>,
    pub(crate) taken: oneshot::Sender<()>,
}

/// Says how the box is, and hears its orders, for ever.
pub(crate) async fn check_in(
    client: DeviceClient,
    wait: Duration,
    mut current: watch::Receiver<CheckIn>,
    heard: mpsc::Sender<Heard>,
) {
    let mut backoff = Backoff::up_to(LONGEST_WAIT);
    let mut last = String::new();
    loop {
        let check_in = current.borrow_and_update().clone();
        let answer = tokio::select! {
            answer = client.check_in(&check_in, wait, occasion()) => answer,
            () = changed(&mut current, &check_in) => continue,
        };
        match answer {
            Ok(orders) => {
                backoff.reset();
                if !last.is_empty() {
                    tracing::info!("the update server answers again");
                    last.clear();
                }
                let (taken, wait_taken) = oneshot::channel();
                if heard.send(Heard { assignment: orders.assignment, taken }).await.is_err() {
                    return;
                }
                // Only then is `known` what the server should see next.
                let _ = wait_taken.await;
                tokio::time::sleep(Duration::from_secs(orders.retry_after_seconds.into())).await;
            }
            Err(error) => {
                let error = chain(&error);
                if error != last {
                    tracing::warn!(%error, "check-in failed");
                }
                last = error;
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }
}

/// Waits until the server should hear something else than `said`: progress alone is left to the reports.
async fn changed(current: &mut watch::Receiver<CheckIn>, said: &CheckIn) {
    let news = |now: &CheckIn| now.known != said.known || now.refused != said.refused;
    if current.wait_for(news).await.is_err() {
        // The daemon is ending, and this task with it.
        std::future::pending::<()>().await;
    }
}

/// Delivers reports in their order, each for as long as it takes; tells `delivered` their numbers.
pub(crate) async fn report(
    client: DeviceClient,
    mut reports: mpsc::UnboundedReceiver<Report>,
    delivered: mpsc::UnboundedSender<u64>,
) {
    let mut backoff = Backoff::up_to(LONGEST_WAIT);
    while let Some(report) = reports.recv().await {
        while let Err(error) = client.report(&report, occasion()).await {
            if is_final(&error) {
                tracing::warn!(error = %chain(&error), sequence = report.sequence, "a report was refused");
                break;
            }
            tracing::debug!(error = %chain(&error), sequence = report.sequence, "a report is put off");
            tokio::time::sleep(backoff.next()).await;
        }
        backoff.reset();
        if delivered.send(report.sequence).is_err() {
            return;
        }
    }
}

/// Whether the server has read the report and will never take it.
const fn is_final(error: &Error) -> bool {
    matches!(error, Error::Status { status: 400 | 413 | 422, .. })
}
