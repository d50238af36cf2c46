//! What operators ask for, and the pages.

use std::sync::Arc;

use evenkeel_protocol::{
    DeviceList, HaltRollout, IssueToken, IssuedToken, ReleaseList, RolloutId, RolloutList, StartRollout,
};
use evenkeel_units::DeviceId;
use http::{HeaderValue, StatusCode, header};
use hyper::body::Incoming;

use super::{
    answer::{Answer, Refusal, empty, json, plain},
    app::{App, now},
    input,
};
use crate::{engine::Engine, limits, page, secret};

/// The server's public keys as TUF key objects.
pub(super) async fn online_keys(app: &Arc<App>) -> Result<Answer, Refusal> {
    let text = app
        .repository(|repository| {
            let keys = repository.online_keys();
            let key = |key: &evenkeel_trust::SigningKey| key.public().to_value();
            let keys = [
                ("snapshot".to_string(), key(&keys.snapshot)),
                ("timestamp".to_string(), key(&keys.timestamp)),
            ];
            Ok::<_, Refusal>(evenkeel_trust::Value::Object(keys.into_iter().collect()).text())
        })
        .await?;
    Ok(plain(StatusCode::OK, "application/json", text))
}

/// Publishes root metadata.
pub(super) async fn put_root(app: &Arc<App>, body: Incoming) -> Result<Answer, Refusal> {
    let bytes = input::read(body, limits::METADATA).await?;
    app.repository(move |repository| repository.publish_root(&bytes, now())).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Publishes targets metadata.
pub(super) async fn put_targets(app: &Arc<App>, body: Incoming) -> Result<Answer, Refusal> {
    let bytes = input::read(body, limits::METADATA).await?;
    app.publish_targets(bytes.to_vec()).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// The published releases.
pub(super) async fn releases(app: &Arc<App>) -> Result<Answer, Refusal> {
    let releases = app.engine(|engine| Ok::<_, Refusal>(engine.releases().to_vec())).await?;
    Ok(json(StatusCode::OK, &ReleaseList { releases }))
}

/// Issues an enrolment token.
pub(super) async fn issue_token(app: &Arc<App>, body: Incoming) -> Result<Answer, Refusal> {
    let request: IssueToken = input::message(&input::read(body, limits::MESSAGE).await?)?;
    let token = secret::new_token()?;
    let valid = std::time::Duration::from_secs(request.valid_seconds);
    let issued = token.clone();
    let expires = app.engine(move |engine| engine.issue_token(&issued, valid, now())).await?;
    Ok(json(StatusCode::CREATED, &IssuedToken { token, expires }))
}

/// Every device.
pub(super) async fn devices(app: &Arc<App>) -> Result<Answer, Refusal> {
    let devices = app.engine(|engine| Ok::<_, Refusal>(engine.devices())).await?;
    Ok(json(StatusCode::OK, &DeviceList { devices }))
}

/// One device.
pub(super) async fn device(app: &Arc<App>, id: &str) -> Result<Answer, Refusal> {
    let id: DeviceId = parse(id)?;
    let found = move |error| match error {
        crate::engine::EngineError::DeviceUnknown(_) => Refusal::new(
            StatusCode::NOT_FOUND,
            format!("device {id} is not enrolled here; see `evenkeel device list`"),
        ),
        error => error.into(),
    };
    let device = app.engine(move |engine| engine.device(id).map_err(found)).await?;
    Ok(json(StatusCode::OK, &device))
}

/// Every rollout.
pub(super) async fn rollouts(app: &Arc<App>) -> Result<Answer, Refusal> {
    let rollouts = app.engine(|engine| Ok::<_, Refusal>(engine.rollouts())).await?;
    Ok(json(StatusCode::OK, &RolloutList { rollouts }))
}

/// One rollout.
pub(super) async fn rollout(app: &Arc<App>, id: &str) -> Result<Answer, Refusal> {
    let id: RolloutId = parse(id)?;
    let rollout = app.engine(move |engine| engine.rollout(id, now())).await?;
    Ok(json(StatusCode::OK, &rollout))
}

/// Starts a rollout.
pub(super) async fn start_rollout(app: &Arc<App>, body: Incoming) -> Result<Answer, Refusal> {
    let request: StartRollout = input::message(&input::read(body, limits::MESSAGE).await?)?;
    let start = move |engine: &mut Engine| {
        let id = engine.start_rollout(request, now())?;
        engine.rollout(id, now())
    };
    Ok(json(StatusCode::CREATED, &app.engine(start).await?))
}

/// Halts a rollout. An empty body gives no reason.
pub(super) async fn halt(app: &Arc<App>, id: &str, body: Incoming) -> Result<Answer, Refusal> {
    let id: RolloutId = parse(id)?;
    let body = input::read(body, limits::MESSAGE).await?;
    let request: HaltRollout = input::message(if body.is_empty() { b"{}" } else { &body })?;
    let halt = move |engine: &mut Engine| {
        engine.halt_rollout(id, request.reason, now())?;
        engine.rollout(id, now())
    };
    Ok(json(StatusCode::OK, &app.engine(halt).await?))
}

/// Whether the server can do its work: both of its locks are free and storage answers.
pub(super) async fn ready(app: &Arc<App>) -> Result<Answer, Refusal> {
    app.engine(|engine| engine.advance(now())).await?;
    let version = app.repository(|repository| Ok::<_, Refusal>(repository.root_version())).await?;
    let state =
        version.map_or_else(|| "ready, no root metadata yet\n".to_string(), |v| format!("ready, root {v}\n"));
    Ok(plain(StatusCode::OK, "text/plain; charset=utf-8", state))
}

/// A page for people, or nothing where there is none.
pub(super) async fn page(app: &Arc<App>, segments: &[&str]) -> Result<Option<Answer>, Refusal> {
    let Some(page) = page::find(segments) else { return Ok(None) };
    if page == page::Page::Style {
        let mut answer = plain(StatusCode::OK, "text/css; charset=utf-8", page::STYLE);
        answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
        return Ok(Some(answer));
    }
    let html = app.engine(move |engine| page::render(page, engine, now())).await?;
    let mut answer = plain(StatusCode::OK, "text/html; charset=utf-8", html);
    let policy =
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let fields = answer.headers_mut();
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(Some(answer))
}

/// Reads a name out of a path.
fn parse<T: std::str::FromStr<Err: std::error::Error>>(text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|error: T::Err| Refusal::new(StatusCode::NOT_FOUND, error.to_string()))
}
