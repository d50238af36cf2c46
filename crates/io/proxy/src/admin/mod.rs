//! The admin listener: metrics, status and probes of life, for machines and people of the operator.
//!
//! Owns: four pages over hyper. Leaves to others: what they say (`metrics`, `status`). Invariant: nothing here
//! changes anything, and nothing here runs on a worker's thread.

pub(crate) mod control;
mod families;
mod metrics;
pub(crate) mod notify;
pub(crate) mod orders;
mod status;

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use evenkeel_telemetry::Form;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Bytes, header, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};

use crate::admin::control::Running;

/// Most connections at once: some scrapers, some browsers, some probes.
const MAX_CONNECTIONS: usize = 64;

/// Longest that a client may take to send a request's head.
const HEAD: Duration = Duration::from_secs(10);

/// Pause after a failed accept, which is a lack of descriptors and passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the pages for ever.
pub(crate) async fn serve(listener: TcpListener, running: Arc<Running>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let running = Arc::clone(&running);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(&request, &running);
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
            // A broken connection is its peer's to report.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            drop(permit);
        });
    }
}

fn answer<B>(request: &Request<B>, running: &Running) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is offered here\n".to_owned());
    }
    let draining = running.draining.load(Relaxed);
    match request.uri().path() {
        "/metrics" => {
            let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
            let form = accept.map_or(Form::Prometheus, Form::accepted);
            page(StatusCode::OK, form.content_type(), metrics::page(running, form))
        }
        "/status" => page(StatusCode::OK, "application/json", status::page(running)),
        "/live" => page(StatusCode::OK, TEXT, "live\n".to_owned()),
        "/ready" if draining => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n".to_owned()),
        // The pages are served only once every listener is bound and the configuration is loaded.
        "/ready" => page(StatusCode::OK, TEXT, "ready\n".to_owned()),
        _ => page(StatusCode::NOT_FOUND, TEXT, "pages: /metrics /status /live /ready\n".to_owned()),
    }
}

fn page(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}
