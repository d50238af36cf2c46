//! Rollouts against the real server: waves, the failure budget, and what survives kill -9.

use crate::support::{Device, Server, server_with};
use evenkeel_protocol::{RolloutState, Standing, Step};
use http::StatusCode;

fn rolled_back() -> Step {
    Step::RolledBack { reason: "20 of 20 requests were answered with 500".into(), evidence: vec![] }
}

async fn assigned(server: &Server, device: &Device) -> Option<u32> {
    let orders = device.check_in(server, &device.facts(), 0).await;
    orders.assignment.map(|assignment| assignment.rollout.0)
}

#[tokio::test]
async fn waves_follow_each_other_and_every_waiting_device_says_why() {
    let (server, _publisher) = server_with(&["1.1.0"]).await;
    let devices = [server.new_device(1).await, server.new_device(2).await, server.new_device(3).await];
    let first = devices[0].id().to_string();
    server.start_rollout("1.1.0", &[&first, "all"], 2).await.done(StatusCode::CREATED);
    assert_eq!(assigned(&server, &devices[0]).await, Some(1));
    assert_eq!(assigned(&server, &devices[1]).await, None);
    let detail = server.rollout(1).await;
    let reasons: Vec<_> = detail.waves[1].devices.iter().map(|device| device.reason.to_string()).collect();
    assert_eq!(reasons, ["waits for wave 1: 1 device of it is not done"; 2]);

    devices[0].report(&server, 1, "1.1.0", Step::Kept).await;
    assert_eq!(assigned(&server, &devices[1]).await, Some(1));
    assert_eq!(assigned(&server, &devices[2]).await, Some(1));
    for device in &devices[1..] {
        device.report(&server, 1, "1.1.0", Step::Kept).await;
    }
    let detail = server.rollout(1).await;
    assert_eq!((detail.rollout.state, detail.rollout.count.succeeded), (RolloutState::Finished, 3));
}

/// I6: the second failure would be one too many, so the third device is never started.
#[tokio::test]
async fn i6_a_rollout_halts_by_itself_when_its_failure_budget_is_used_up() {
    let (server, _publisher) = server_with(&["1.2.0"]).await;
    let devices = [server.new_device(1).await, server.new_device(2).await, server.new_device(3).await];
    server.start_rollout("1.2.0", &["all"], 2).await.done(StatusCode::CREATED);
    let mut started = Vec::new();
    for device in &devices {
        if assigned(&server, device).await.is_some() {
            started.push(device);
        }
    }
    assert_eq!(started.len(), 2, "no more are at risk than may fail");
    for device in &started {
        device.report(&server, 1, "1.2.0", rolled_back()).await;
    }
    let detail = server.rollout(1).await;
    let RolloutState::Halted { reason, .. } = &detail.rollout.state else {
        panic!("{:?}", detail.rollout.state)
    };
    assert!(reason.as_str().starts_with("the failure budget of 2 is used up: device "), "{reason}");
    assert!(reason.as_str().contains("20 of 20 requests were answered with 500"), "{reason}");
    let waiting = detail.waves[0].devices.iter().find(|device| device.standing == Standing::Waiting).unwrap();
    assert_eq!(waiting.reason.as_str(), "is not started: the rollout was halted");
    for device in &devices {
        assert_eq!(assigned(&server, device).await, None);
    }
}

#[tokio::test]
async fn a_lost_report_is_made_good_by_the_next_check_in() {
    let (server, _publisher) = server_with(&["1.1.0", "1.2.0"]).await;
    let device = server.new_device(1).await;
    server.start_rollout("1.1.0", &["all"], 1).await.done(StatusCode::CREATED);
    assert_eq!(assigned(&server, &device).await, Some(1));
    device.check_in(&server, &device.facts_on("1.1.0", 1), 0).await;
    assert_eq!(server.rollout(1).await.rollout.state, RolloutState::Finished);

    server.start_rollout("1.2.0", &["all"], 1).await.done(StatusCode::CREATED);
    let mut back = device.facts_on("1.1.0", 2);
    back.refused = vec!["1.2.0".parse().unwrap()];
    device.check_in(&server, &back, 0).await;
    assert_eq!(server.rollout(2).await.rollout.state, RolloutState::Running, "the report may yet come");
    device.report(&server, 2, "1.2.0", rolled_back()).await;
    let state = server.rollout(2).await.rollout.state.to_string();
    assert!(state.contains("rolled back: 20 of 20 requests were answered with 500"), "{state}");
    let detail = server.rollout(2).await;
    assert!(detail.waves[0].devices[0].reason.as_str().starts_with("rolled back: 20 of 20"), "{detail:?}");
}

#[tokio::test]
async fn what_cannot_be_rolled_out_is_refused_with_its_remedy() {
    let (server, _publisher) = server_with(&["1.1.0"]).await;
    for (version, waves, budget, status, words) in [
        ("9.9.9", vec!["all"], 1, StatusCode::NOT_FOUND, "release 9.9.9 is not published here"),
        ("1.1.0", vec!["all"], 0, StatusCode::UNPROCESSABLE_ENTITY, "a failure budget of 0"),
        ("1.1.0", vec![], 1, StatusCode::UNPROCESSABLE_ENTITY, "the rollout has 0 waves"),
        ("1.1.0", vec!["all"], 1, StatusCode::UNPROCESSABLE_ENTITY, "no device may take release 1.1.0"),
    ] {
        let refusal = server.start_rollout(version, &waves, budget).await.refusal(status);
        assert!(refusal.starts_with(words), "{refusal}");
    }
    server.new_device(1).await;
    server.start_rollout("1.1.0", &["all"], 1).await.done(StatusCode::CREATED);
    let refusal = server.start_rollout("1.1.0", &["all"], 1).await.refusal(StatusCode::CONFLICT);
    assert!(refusal.starts_with("rollout 1 of release 1.1.0 is not over"), "{refusal}");
}

/// I7: everything that was acknowledged is there after kill -9, with the index and without it.
#[tokio::test]
async fn i7_a_killed_server_knows_everything_that_it_had_acknowledged() {
    let (mut server, _publisher) = server_with(&["1.1.0"]).await;
    let devices = [server.new_device(1).await, server.new_device(2).await];
    server.start_rollout("1.1.0", &["1", "all"], 1).await.done(StatusCode::CREATED);
    let mut first = None;
    for device in &devices {
        if assigned(&server, device).await.is_some() {
            device.report(&server, 1, "1.1.0", Step::Verified).await;
            first = Some(device);
        }
    }
    let before = server.rollout(1).await.rollout;
    let timestamp = server.get("/v1/metadata/timestamp.json").await.body;
    for without_index in [false, true] {
        server.kill();
        if without_index {
            std::fs::remove_dir_all(server.folder.join("store").join("index")).unwrap();
        }
        server.restart_after_kill();
        assert_eq!(server.rollout(1).await.rollout, before);
        assert_eq!(server.get("/v1/metadata/timestamp.json").await.body, timestamp);
        assert_eq!(assigned(&server, first.unwrap()).await, Some(1), "the assignment still stands");
    }
}
