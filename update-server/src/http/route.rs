//! From method and path to what answers.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, StatusCode, header, request::Parts};
use hyper::body::Incoming;

use super::{
    answer::{Answer, Refusal, plain},
    app::App,
    bundle, device, operator,
};
use crate::page;

/// Answers a request, whatever it is.
pub(super) async fn answer(app: &Arc<App>, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let (method, path) = (parts.method.clone(), parts.uri.path().to_string());
    match dispatch(app, parts, body).await {
        Ok(answer) => answer,
        Err(refusal) => {
            // Devices ask for the root after the newest at each refresh: that there is none is no news.
            if refusal.status == StatusCode::NOT_FOUND {
                tracing::debug!(%method, path, %refusal, "refused");
            } else {
                tracing::info!(%method, path, %refusal, "refused");
            }
            refusal.answer()
        }
    }
}

async fn dispatch(app: &Arc<App>, parts: Parts, body: Incoming) -> Result<Answer, Refusal> {
    let path = parts.uri.path().to_string();
    let segments: Vec<_> = path.strip_prefix('/').unwrap_or_default().split('/').collect();
    match segments.as_slice() {
        ["v1", rest @ ..] => devices(app, parts, body, rest).await,
        ["api", rest @ ..] => {
            check_operator(app, &parts.headers)?;
            operators(app, parts, body, rest).await
        }
        ["live"] => only(&parts, &[Method::GET]).map(|()| plain(StatusCode::OK, TEXT, "live\n")),
        ["ready"] => {
            only(&parts, &[Method::GET])?;
            operator::ready(app).await
        }
        _ => {
            only(&parts, &[Method::GET])
                .map_err(|refusal| if page::find(&segments).is_some() { refusal } else { unknown(&path) })?;
            operator::page(app, &segments).await?.ok_or_else(|| unknown(&path))
        }
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

async fn devices(app: &Arc<App>, parts: Parts, body: Incoming, rest: &[&str]) -> Result<Answer, Refusal> {
    match rest {
        ["metadata", name] => {
            only(&parts, &[Method::GET])?;
            device::metadata(app, name).await
        }
        ["targets", name] => {
            only(&parts, &[Method::GET])?;
            bundle::send(app, name, &parts).await
        }
        ["enrol"] => {
            only(&parts, &[Method::POST])?;
            device::enrol(app, body).await
        }
        ["check-in"] => {
            only(&parts, &[Method::POST])?;
            device::check_in(app, &parts, body).await
        }
        ["report"] => {
            only(&parts, &[Method::POST])?;
            device::report(app, &parts, body).await
        }
        _ => Err(unknown(parts.uri.path())),
    }
}

async fn operators(app: &Arc<App>, parts: Parts, body: Incoming, rest: &[&str]) -> Result<Answer, Refusal> {
    match rest {
        ["online-keys"] => {
            only(&parts, &[Method::GET])?;
            operator::online_keys(app).await
        }
        ["repository", "root"] => {
            only(&parts, &[Method::PUT])?;
            operator::put_root(app, body).await
        }
        ["repository", "targets"] => {
            only(&parts, &[Method::PUT])?;
            operator::put_targets(app, body).await
        }
        ["targets", name] => {
            only(&parts, &[Method::PUT])?;
            bundle::receive(app, name, &parts, body).await
        }
        ["releases"] => {
            only(&parts, &[Method::GET])?;
            operator::releases(app).await
        }
        ["enrolment-tokens"] => {
            only(&parts, &[Method::POST])?;
            operator::issue_token(app, body).await
        }
        ["devices"] => {
            only(&parts, &[Method::GET])?;
            operator::devices(app).await
        }
        ["devices", id] => {
            only(&parts, &[Method::GET])?;
            operator::device(app, id).await
        }
        ["rollouts"] if parts.method == Method::POST => operator::start_rollout(app, body).await,
        ["rollouts"] => {
            only(&parts, &[Method::GET, Method::POST])?;
            operator::rollouts(app).await
        }
        ["rollouts", id] => {
            only(&parts, &[Method::GET])?;
            operator::rollout(app, id).await
        }
        ["rollouts", id, "halt"] => {
            only(&parts, &[Method::POST])?;
            operator::halt(app, id, body).await
        }
        _ => Err(unknown(parts.uri.path())),
    }
}

fn unknown(path: &str) -> Refusal {
    let path: String = path.chars().take(200).collect();
    Refusal::new(
        StatusCode::NOT_FOUND,
        format!("there is nothing at `{path}`; docs/protocol.md lists what there is"),
    )
}

/// Refuses other methods (RFC 9110 §15.5.6); where there is GET there is HEAD.
fn only(parts: &Parts, methods: &[Method]) -> Result<(), Refusal> {
    let asked = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
    if methods.contains(asked) {
        return Ok(());
    }
    let allowed: Vec<_> = methods.iter().map(Method::as_str).collect();
    let sentence = format!(
        "{} is not possible at `{}`; expected {}",
        parts.method,
        parts.uri.path(),
        allowed.join(" or ")
    );
    Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, sentence).with(header::ALLOW, &allowed.join(", ")))
}

/// Refuses everybody who does not hold the operator's token (RFC 6750 §2.1).
fn check_operator(app: &App, fields: &HeaderMap) -> Result<(), Refusal> {
    let value = fields.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if value.and_then(|value| value.strip_prefix("Bearer ")).is_some_and(|token| app.operator.is(token)) {
        return Ok(());
    }
    let what = if value.is_some() { "is not the operator's" } else { "is missing" };
    let sentence = format!(
        "the token of `Authorization: Bearer` {what}; it is in DATA-DIR/operator-token (--token-file)"
    );
    Err(Refusal::new(StatusCode::UNAUTHORIZED, sentence).with(header::WWW_AUTHENTICATE, "Bearer"))
}
