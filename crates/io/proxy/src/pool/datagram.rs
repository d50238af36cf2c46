//! A health check by a datagram.
//!
//! Invariant: silence is only taken for health where the configuration expects nothing else.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use evenkeel_balance::Probed;
use evenkeel_config::balancer::Expected;
use tokio::net::UdpSocket;

use super::health::unasked;

/// How long "port unreachable" is waited for: it comes within a round trip, in the same house less than a millisecond.
const REFUSAL: Duration = Duration::from_millis(250);

/// Longest answer that is looked at: the longest datagram.
const MAX_ANSWER: usize = 65_535;

/// Asks once; what came of it, for the count and in words. The caller bounds the wait for an answer.
pub(super) async fn probe(server: SocketAddr, payload: &[u8], expect: &Expected) -> (Probed, String) {
    let socket = match connect(server).await {
        Ok(socket) => socket,
        Err(error) => return unasked(&error, "no way to the server"),
    };
    if let Err(error) = socket.send(payload).await {
        return unasked(&error, "not sent");
    }
    let mut answer = vec![0; MAX_ANSWER];
    match expect {
        Expected::Silence => match tokio::time::timeout(REFUSAL, socket.recv(&mut answer)).await {
            Ok(Err(error)) => unasked(&error, "port is closed"),
            Ok(Ok(length)) => (Probed::Passed, format!("answered by {length} bytes")),
            Err(_) => (Probed::Passed, "port is not closed".to_owned()),
        },
        Expected::Answer(wanted) => match socket.recv(&mut answer).await {
            Err(error) => unasked(&error, "port is closed"),
            Ok(length) if holds(&answer[..length], wanted) => {
                (Probed::Passed, format!("answered by {length} bytes"))
            }
            Ok(length) => (Probed::Failed, format!("answered by {length} bytes without what is expected")),
        },
    }
}

async fn connect(server: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    Ok(socket)
}

fn holds(answer: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || answer.windows(wanted.len()).any(|part| part == wanted)
}
