//! The admin endpoints, as a healthy data plane would answer them (docs/protocol.md, "Data plane: what it says of
//! itself").

use std::sync::Arc;

use evenkeel_config::balancer::{Config, Pool};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::answer;

/// Answers `/live`, `/ready`, `/status` and `/metrics`.
pub(crate) async fn serve(listener: TcpListener, config: Arc<Config>) {
    let status = status(&config).to_string();
    answer::each(listener, move |path| match path {
        "/live" | "/ready" => ("200 OK", "text/plain", "ok\n".to_owned()),
        "/status" => ("200 OK", "application/json", status.clone()),
        "/metrics" => ("200 OK", "text/plain; version=0.0.4", metrics(&config)),
        _ => ("404 Not Found", "text/plain", "there are /live, /ready, /status and /metrics\n".to_owned()),
    })
    .await;
}

/// Every server is usable, and no request has failed.
fn status(config: &Config) -> Value {
    let pools: Vec<Value> = config.pools().iter().map(pool).collect();
    json!({ "pools": pools, "totals": { "requests": 0, "server_errors": 0 } })
}

fn pool(pool: &Pool) -> Value {
    let usable = |name: String| json!({ "name": name, "state": "usable" });
    let servers: Vec<Value> = pool.servers.iter().map(|server| usable(server.name.to_string())).collect();
    json!({ "name": pool.name.to_string(), "servers": servers })
}

fn metrics(config: &Config) -> String {
    let servers: usize = config.pools().iter().map(|pool| pool.servers.len()).sum();
    format!(
        "# HELP evenkeel_servers_up Servers that get requests.\n\
         # TYPE evenkeel_servers_up gauge\n\
         evenkeel_servers_up {servers}\n"
    )
}
