//! Devices against the real server: enrolment, signatures, held requests, reports.

use std::time::{Duration, Instant};

use crate::support::{Device, Server, eventually, now, send_signed, server_with};
use bytes::Bytes;
use evenkeel_protocol::{DeviceDetail, DeviceState, Enrolled, Orders, RolloutId, Step};
use evenkeel_units::WallTime;
use http::{Method, StatusCode};

#[tokio::test]
async fn a_device_enrols_with_a_token_and_again_with_the_same_key() {
    let server = Server::start();
    let (device, token) = (Device::new(1), server.token_for(60).await);
    for _ in 0..2 {
        let reply = server.enrol(&device, &token).await;
        assert_eq!(reply.json::<Enrolled>(StatusCode::OK).device, device.id());
    }
    let detail: DeviceDetail = server.read(&format!("/api/devices/{}", device.id())).await;
    assert_eq!(detail.device.name.unwrap().as_str(), "box-1");
}

#[tokio::test]
async fn a_wrong_used_or_expired_token_enrols_nobody() {
    let server = Server::start();
    let refusal = server.enrol(&Device::new(1), "made-up").await.refusal(StatusCode::UNAUTHORIZED);
    assert!(refusal.starts_with("the enrolment token is not known here; get a new one"), "{refusal}");

    let token = server.token_for(60).await;
    server.enrol(&Device::new(1), &token).await.done(StatusCode::OK);
    let refusal = server.enrol(&Device::new(2), &token).await.refusal(StatusCode::CONFLICT);
    assert!(refusal.contains(&Device::new(1).id().to_string()), "{refusal}");

    let token = server.token_for(1).await;
    let issued = now();
    eventually("the token expires", || async {
        (now().since(issued) > Duration::from_secs(2)).then_some(())
    })
    .await;
    let refusal = server.enrol(&Device::new(3), &token).await.refusal(StatusCode::UNAUTHORIZED);
    assert!(refusal.starts_with("the enrolment token expired at 20"), "{refusal}");

    let refusal = server.post("/api/enrolment-tokens", &serde_json::json!({"valid_seconds": 0})).await;
    assert!(refusal.refusal(StatusCode::UNPROCESSABLE_ENTITY).contains("expected 1 to 2592000"));
}

#[tokio::test]
async fn a_signed_check_in_is_taken_once() {
    let server = Server::start();
    let device = server.enrolled_device(1).await;
    let body = serde_json::to_vec(&device.facts()).unwrap();
    let signed = device.sign("/v1/check-in", &body, now());
    let orders: Orders = send_signed(&server, "/v1/check-in", &signed, &body, 0).await.json(StatusCode::OK);
    assert_eq!(orders, Orders { assignment: None, retry_after_seconds: 30 });
    let replayed =
        send_signed(&server, "/v1/check-in", &signed, &body, 0).await.refusal(StatusCode::UNAUTHORIZED);
    assert!(replayed.contains("has sent this signed request before"), "{replayed}");
}

#[tokio::test]
async fn a_recorded_request_cannot_be_replayed_after_a_restart() {
    let mut server = Server::start();
    let device = server.enrolled_device(1).await;
    let body = serde_json::to_vec(&device.facts()).unwrap();
    let signed = device.sign("/v1/check-in", &body, now());
    send_signed(&server, "/v1/check-in", &signed, &body, 0).await.done(StatusCode::OK);
    server.restart();
    send_signed(&server, "/v1/check-in", &signed, &body, 0).await.refusal(StatusCode::UNAUTHORIZED);
    device.send(&server, "/v1/check-in", &device.facts(), 0).await.done(StatusCode::OK);
}

#[tokio::test]
async fn forged_signatures_and_wrong_clocks_are_refused() {
    let server = Server::start();
    let device = server.enrolled_device(1).await;
    let body = serde_json::to_vec(&device.facts()).unwrap();

    let stranger = Device::new(9);
    let reply =
        send_signed(&server, "/v1/check-in", &stranger.sign("/v1/check-in", &body, now()), &body, 0).await;
    assert!(reply.refusal(StatusCode::UNAUTHORIZED).contains("is not enrolled here; enrol it with a token"));

    let mut forged = stranger.sign("/v1/check-in", &body, now());
    forged.signature_input =
        forged.signature_input.replace(&stranger.id().to_string(), &device.id().to_string());
    let reply = send_signed(&server, "/v1/check-in", &forged, &body, 0).await;
    assert!(reply.refusal(StatusCode::UNAUTHORIZED).contains("does not fit the request"));

    let for_another_path = device.sign("/v1/report", &body, now());
    send_signed(&server, "/v1/check-in", &for_another_path, &body, 0).await.refusal(StatusCode::UNAUTHORIZED);
    let signed = device.sign("/v1/check-in", &body, now());
    send_signed(&server, "/v1/check-in", &signed, b"{}", 0).await.refusal(StatusCode::UNAUTHORIZED);

    let late = WallTime::from_unix_seconds(now().unix_seconds() - 310);
    for created in [late, now() + Duration::from_secs(310)] {
        let reply =
            send_signed(&server, "/v1/check-in", &device.sign("/v1/check-in", &body, created), &body, 0)
                .await;
        assert!(reply.refusal(StatusCode::UNAUTHORIZED).contains("set the clock"));
        assert!(reply.field("date").ends_with("GMT"), "the refusal tells the server's time");
    }
    let near = WallTime::from_unix_seconds(now().unix_seconds() - 280);
    send_signed(&server, "/v1/check-in", &device.sign("/v1/check-in", &body, near), &body, 0)
        .await
        .done(StatusCode::OK);

    let reply = server.send(Method::POST, "/v1/check-in", &[], body).await;
    assert!(reply.refusal(StatusCode::BAD_REQUEST).contains("`content-digest` is missing"));
}

#[tokio::test]
async fn malformed_and_huge_messages_are_refused() {
    let server = Server::start();
    let device = server.enrolled_device(1).await;
    let reply = device.send(&server, "/v1/check-in", &serde_json::json!({"running": 7}), 0).await;
    assert!(reply.refusal(StatusCode::BAD_REQUEST).contains("docs/protocol.md"));
    let reply = server.send(Method::POST, "/v1/enrol", &[], "{").await;
    reply.refusal(StatusCode::BAD_REQUEST);
    let reply = server.send(Method::POST, "/v1/enrol", &[], Bytes::from(vec![b' '; (64 << 10) + 1])).await;
    assert_eq!(reply.refusal(StatusCode::PAYLOAD_TOO_LARGE), "the body is longer than 64 KiB; send less");
    let reply = server.operator(Method::PUT, "/api/repository/targets", vec![b' '; (5 << 20) + 1]).await;
    assert_eq!(reply.refusal(StatusCode::PAYLOAD_TOO_LARGE), "the body is longer than 5120 KiB; send less");
    let field = "x".repeat(20 << 10);
    let reply = server.send(Method::GET, "/live", &[("x-long", &field)], "").await;
    reply.done(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn a_held_request_is_answered_within_a_second_of_the_rollout() {
    let (server, _publisher) = server_with(&["1.1.0"]).await;
    let device = server.new_device(1).await;
    let facts = device.facts_held();
    let (held, started) = tokio::join!(
        async {
            let orders = device.check_in(&server, &facts, 30).await;
            (orders, Instant::now())
        },
        async {
            server.shows("held open").await;
            let started = Instant::now();
            server.start_rollout("1.1.0", &["all"], 1).await.done(StatusCode::CREATED);
            started
        }
    );
    let assignment = held.0.assignment.unwrap();
    assert_eq!((assignment.rollout, assignment.target.as_str()), (RolloutId(1), "evenkeel-1.1.0.bundle"));
    let waited = held.1.duration_since(started);
    assert!(waited < Duration::from_secs(1), "{waited:?}");
}

#[tokio::test]
async fn a_request_is_held_while_the_device_knows_everything_and_no_longer_than_it_likes() {
    let (server, _publisher) = server_with(&["1.1.0"]).await;
    let device = server.new_device(1).await;
    server.start_rollout("1.1.0", &["all"], 1).await.done(StatusCode::CREATED);
    let knows = evenkeel_protocol::CheckIn { known: Some(RolloutId(1)), ..device.facts() };
    let start = Instant::now();
    let orders = device.check_in(&server, &knows, 1).await;
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    assert_eq!(orders.assignment.unwrap().rollout, RolloutId(1));
    assert_eq!(orders.retry_after_seconds, 0);
}

#[tokio::test]
async fn a_halted_rollout_takes_its_assignment_back_at_once() {
    let (server, _publisher) = server_with(&["1.1.0"]).await;
    let device = server.new_device(1).await;
    server.start_rollout("1.1.0", &["all"], 1).await.done(StatusCode::CREATED);
    let staging =
        DeviceState::Staging { done: evenkeel_units::ByteCount(1), total: evenkeel_units::ByteCount(2) };
    let busy = evenkeel_protocol::CheckIn { known: Some(RolloutId(1)), state: staging, ..device.facts() };
    let (orders, ()) = tokio::join!(device.check_in(&server, &busy, 30), async {
        server.shows("staging 50 %").await;
        let halted = server.post("/api/rollouts/1/halt", &serde_json::json!({"reason": "exam night"})).await;
        halted.done(StatusCode::OK);
    });
    assert_eq!(orders.assignment, None);
    device.report(&server, 1, "1.1.0", Step::Withdrawn).await;
    let detail = server.rollout(1).await;
    assert_eq!(detail.rollout.state.to_string(), "halted: by hand: exam night");
    assert_eq!((detail.rollout.count.left_out, detail.rollout.count.failed), (1, 0));
    let again =
        server.post("/api/rollouts/1/halt", &serde_json::json!({})).await.refusal(StatusCode::CONFLICT);
    assert_eq!(again, "rollout 1 is over; nothing is left to halt");
}

#[tokio::test]
async fn a_repeated_report_changes_nothing() {
    let server = Server::start();
    let device = server.new_device(1).await;
    let report = device.next_report(1, "1.1.0", Step::Assigned);
    for _ in 0..3 {
        device.send(&server, "/v1/report", &report, 0).await.done(StatusCode::NO_CONTENT);
    }
    device.report(&server, 1, "1.1.0", Step::Verified).await;
    let detail: DeviceDetail = server.read(&format!("/api/devices/{}", device.id())).await;
    let steps: Vec<_> = detail.reports.iter().map(|received| received.report.step.clone()).collect();
    assert_eq!(steps, [Step::Verified, Step::Assigned]);
}

#[tokio::test]
async fn what_a_device_says_cannot_harm_the_page() {
    let server = Server::start();
    let device = server.new_device(1).await;
    let reason = "<script>alert(1)</script>".into();
    device.report(&server, 1, "1.1.0", Step::RolledBack { reason, evidence: vec!["<b>".into()] }).await;
    for path in ["/".to_string(), format!("/devices/{}", device.id())] {
        let reply = server.get(&path).await;
        reply.done(StatusCode::OK);
        let text = String::from_utf8(reply.body.to_vec()).unwrap();
        assert!(text.contains("&lt;script&gt;") && !text.contains("<script"), "{text}");
        assert!(reply.field("content-security-policy").starts_with("default-src 'none'"));
    }
}
