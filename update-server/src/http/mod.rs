//! HTTP: connections, limits and the way from a request to what answers it.
//!
//! Owns: sockets, HTTP and its limits. Leaves to others: every rule (`engine`, `repository`) and every choice
//! (the planner). Nothing blocks the runtime: what touches disk runs on threads of its own.

mod answer;
mod app;
mod bundle;
mod device;
mod input;
mod operator;
mod route;

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{net::TcpListener, sync::Semaphore};

pub use app::{App, now};

use crate::limits;

/// Serves until `ending` says so, then lets open requests finish.
pub async fn serve(listener: TcpListener, app: Arc<App>, ending: impl Future<Output = ()>) {
    let room = Arc::new(Semaphore::new(limits::CONNECTIONS));
    let connections = GracefulShutdown::new();
    let mut ending = std::pin::pin!(ending);
    loop {
        // At the limit nobody is let in; whoever comes waits in the kernel's queue.
        let accepted = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, stream) = tokio::select! {
            () = &mut ending => break,
            (place, accepted) = accepted => match accepted {
                Ok((stream, _)) => (place, stream),
                Err(error) => {
                    // Out of descriptors, mostly: those open go on, and end.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let app = Arc::clone(&app);
        let service = service_fn(move |request| {
            let app = Arc::clone(&app);
            async move { Ok::<_, Infallible>(route::answer(&app, request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits::HEAD_TIME)
            .max_buf_size(limits::HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    app.close();
    if tokio::time::timeout(limits::FAREWELL, connections.shutdown()).await.is_err() {
        tracing::warn!("requests were still open at the end");
    }
}

/// Looks after what time alone changes: rollouts and the expiry of metadata. Never returns.
pub async fn keep_time(app: Arc<App>) {
    let mut ticks = tokio::time::interval(limits::TICK);
    loop {
        ticks.tick().await;
        app.tick().await;
    }
}
