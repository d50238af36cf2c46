//! What devices ask for: metadata, enrolment, check-ins with held requests, reports.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use evenkeel_protocol::{CheckIn, Claim, DeviceState, Enrol, Enrolled, Orders, Report, SignedRequest};
use evenkeel_units::DeviceId;
use http::{HeaderName, HeaderValue, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use tokio::sync::watch;

use super::{
    answer::{Answer, Refusal, empty, json, plain},
    app::{App, now, off_runtime},
    input,
};
use crate::{engine::Engine, limits, repository::MetadataName};

/// Answers with a metadata file (TUF 1.0.33 §6.2).
pub(super) async fn metadata(app: &Arc<App>, name: &str) -> Result<Answer, Refusal> {
    let missing = |name: &str| {
        let sentence = format!(
            "there is no metadata `{name}`; expected N.root.json, timestamp.json, N.snapshot.json, N.targets.json of a version that is published"
        );
        Refusal::new(StatusCode::NOT_FOUND, sentence)
    };
    let known: MetadataName =
        name.parse().map_err(|()| missing(&name.chars().take(80).collect::<String>()))?;
    let path =
        app.repository(move |repository| Ok::<_, Refusal>(repository.files().metadata_path(&known))).await?;
    let asked = known.to_string();
    let bytes = off_runtime(move || match std::fs::read(&path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(missing(&asked)),
        Err(error) => Err(Refusal::internal(&error)),
    })
    .await?;
    let mut answer = plain(StatusCode::OK, "application/json", bytes);
    // Only the timestamp ever changes under its name.
    let lasting = known.version().is_some();
    let caching = if lasting { "public, max-age=86400, immutable" } else { "no-cache" };
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    Ok(answer)
}

/// Enrols a device.
pub(super) async fn enrol(app: &Arc<App>, body: Incoming) -> Result<Answer, Refusal> {
    let body = input::read(body, limits::MESSAGE).await?;
    let request: Enrol = input::message(&body)?;
    let device = app.engine(move |engine| engine.enrol(request, now())).await?;
    Ok(json(StatusCode::OK, &Enrolled { device }))
}

/// Verifies the signature of a device's request.
fn authenticate(engine: &mut Engine, parts: &Parts, body: &[u8]) -> Result<DeviceId, Refusal> {
    let field = |name: &'static str| input::required(&parts.headers, &HeaderName::from_static(name));
    let request = SignedRequest {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        content_digest: field("content-digest")?,
        signature_input: field("signature-input")?,
        signature: field("signature")?,
    };
    let claim =
        Claim::read(request).map_err(|error| Refusal::new(StatusCode::UNAUTHORIZED, error.to_string()))?;
    Ok(engine.authenticate(&claim, body, now())?.device())
}

/// Takes in a check-in and answers with orders; held open while there is nothing new.
pub(super) async fn check_in(app: &Arc<App>, parts: &Parts, body: Incoming) -> Result<Answer, Refusal> {
    let body = input::read(body, limits::MESSAGE).await?;
    let (head, wait) = (parts.clone(), Duration::from_secs(input::preferred_wait(parts)).min(limits::HOLD));
    let (facts, orders) = app.engine(move |engine| take_in(engine, &head, &body)).await?;
    Ok(json(StatusCode::OK, &hold(app, &facts, orders, wait).await))
}

fn take_in(
    engine: &mut Engine,
    parts: &Parts,
    body: &Bytes,
) -> Result<(CheckIn, watch::Receiver<Orders>), Refusal> {
    let device = authenticate(engine, parts, body)?;
    let facts: CheckIn = input::message(body)?;
    engine.check_in(device, facts.clone(), now())?;
    Ok((facts, engine.follow_orders(device)))
}

/// Waits for orders that are news to the device, for as long as it and the server like.
async fn hold(
    app: &Arc<App>,
    facts: &CheckIn,
    mut orders: watch::Receiver<Orders>,
    wait: Duration,
) -> Orders {
    let place = app.held.try_acquire().ok().filter(|_| !wait.is_zero());
    let held = place.is_some();
    tokio::select! {
        // The sender lives as long as the server.
        _ = orders.wait_for(|orders| is_news(orders, facts)) => {}
        () = tokio::time::sleep(wait), if held => {}
        () = std::future::ready(()), if !held => {}
        () = app.closed() => {}
    }
    let orders = orders.borrow().clone();
    let retry_after = match (is_news(&orders, facts), held) {
        (true, _) if orders.assignment.is_some() => Duration::ZERO,
        // A device that cannot stop should not ask again in a loop.
        (true, _) => AFTER_WITHDRAWAL,
        (false, true) => Duration::ZERO,
        (false, false) => limits::COME_AGAIN,
    };
    Orders { retry_after_seconds: u32::try_from(retry_after.as_secs()).unwrap_or(u32::MAX), ..orders }
}

/// What a device waits that was told to drop its assignment.
const AFTER_WITHDRAWAL: Duration = Duration::from_secs(2);

/// Whether orders say something that the device does not know, and can still act upon.
fn is_news(orders: &Orders, facts: &CheckIn) -> bool {
    let Some(assignment) = &orders.assignment else {
        return facts.known.is_some() && can_drop(&facts.state);
    };
    facts.known != Some(assignment.rollout)
}

/// Whether a device in this state has an assignment that it has not restarted into.
const fn can_drop(state: &DeviceState) -> bool {
    match state {
        DeviceState::Verifying
        | DeviceState::Staging { .. }
        | DeviceState::Checking
        | DeviceState::BackingOff { .. } => true,
        DeviceState::Idle | DeviceState::Restarting | DeviceState::Trial | DeviceState::RollingBack => false,
    }
}

/// Takes in a report.
pub(super) async fn report(app: &Arc<App>, parts: &Parts, body: Incoming) -> Result<Answer, Refusal> {
    let body = input::read(body, limits::MESSAGE).await?;
    let parts = parts.clone();
    app.engine(move |engine| {
        let device = authenticate(engine, &parts, &body)?;
        let report: Report = input::message(&body)?;
        engine.report(device, report, now()).map_err(Refusal::from)
    })
    .await?;
    Ok(empty(StatusCode::NO_CONTENT))
}
