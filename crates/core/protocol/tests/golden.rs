//! The JSON of every message, word for word: devices in the field rely on it, so these lines are only added to.
#![allow(clippy::unwrap_used)]

use evenkeel_protocol::{
    Assignment, CheckIn, DeviceState, Enrol, Enrolled, IssueToken, Orders, Report, RolloutId, Running,
    StartRollout, Step,
};
use evenkeel_units::{ByteCount, DeviceId, Slot, Version, WallTime};

const KEY: &str = "6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=";

fn golden<T>(message: &T, json: &str)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    assert_eq!(serde_json::to_string(message).unwrap(), json);
    assert_eq!(&serde_json::from_str::<T>(json).unwrap(), message);
}

#[test]
fn enrolment_reads_and_writes_as_documented() {
    let enrol = Enrol {
        token: "one-time".into(),
        public_key: KEY.parse().unwrap(),
        hardware: "x86_64".parse().unwrap(),
        name: Some("balancer-1".parse().unwrap()),
    };
    golden(
        &enrol,
        r#"{"token":"one-time","public_key":"6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=","hardware":"x86_64","name":"balancer-1"}"#,
    );
    let device: DeviceId = "0123456789abcdef0123456789abcdef".parse().unwrap();
    golden(&Enrolled { device }, r#"{"device":"0123456789abcdef0123456789abcdef"}"#);
}

fn check_in(state: DeviceState) -> CheckIn {
    CheckIn {
        running: Running { version: Version::new(1, 0, 0), slot: Slot::A, root_hash: None },
        state,
        known: None,
        refused: Vec::new(),
        channel: "stable".parse().unwrap(),
        hardware: "x86_64".parse().unwrap(),
        agent_version: Version::new(0, 1, 0),
    }
}

#[test]
fn a_check_in_reads_and_writes_as_documented() {
    golden(
        &check_in(DeviceState::Idle),
        r#"{"running":{"version":"1.0.0","slot":"a"},"state":{"is":"idle"},"channel":"stable","hardware":"x86_64","agent_version":"0.1.0"}"#,
    );
    let full = CheckIn {
        running: Running {
            version: Version::new(1, 1, 0),
            slot: Slot::B,
            root_hash: Some(
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".parse().unwrap(),
            ),
        },
        known: Some(RolloutId(3)),
        refused: vec![Version::new(1, 2, 0)],
        ..check_in(DeviceState::Trial)
    };
    golden(
        &full,
        r#"{"running":{"version":"1.1.0","slot":"b","root_hash":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},"state":{"is":"trial"},"known":3,"refused":["1.2.0"],"channel":"stable","hardware":"x86_64","agent_version":"0.1.0"}"#,
    );
}

#[test]
fn every_state_of_a_device_reads_and_writes_as_documented() {
    for (state, json) in [
        (DeviceState::Idle, r#"{"is":"idle"}"#),
        (DeviceState::Verifying, r#"{"is":"verifying"}"#),
        (
            DeviceState::Staging { done: ByteCount(5), total: ByteCount(9) },
            r#"{"is":"staging","done":5,"total":9}"#,
        ),
        (DeviceState::Checking, r#"{"is":"checking"}"#),
        (DeviceState::Restarting, r#"{"is":"restarting"}"#),
        (DeviceState::Trial, r#"{"is":"trial"}"#),
        (DeviceState::RollingBack, r#"{"is":"rolling_back"}"#),
        (
            DeviceState::BackingOff { reason: "no route".into() },
            r#"{"is":"backing_off","reason":"no route"}"#,
        ),
    ] {
        golden(&state, json);
    }
}

#[test]
fn orders_read_and_write_as_documented() {
    golden(&Orders { assignment: None, retry_after_seconds: 0 }, r#"{"retry_after_seconds":0}"#);
    let assignment = Assignment {
        rollout: RolloutId(3),
        release: Version::new(1, 1, 0),
        target: "evenkeel-1.1.0.bundle".into(),
    };
    golden(
        &Orders { assignment: Some(assignment), retry_after_seconds: 0 },
        r#"{"assignment":{"rollout":3,"release":"1.1.0","target":"evenkeel-1.1.0.bundle"},"retry_after_seconds":0}"#,
    );
}

#[test]
fn every_step_reads_and_writes_as_documented() {
    let report = Report {
        sequence: 7,
        at: WallTime::from_unix_seconds(0),
        rollout: Some(RolloutId(3)),
        release: Version::new(1, 2, 0),
        step: Step::Kept,
    };
    golden(
        &report,
        r#"{"sequence":7,"at":"1970-01-01T00:00:00Z","rollout":3,"release":"1.2.0","step":{"is":"kept"}}"#,
    );
    for (step, json) in [
        (Step::Assigned, r#"{"is":"assigned"}"#),
        (Step::Verified, r#"{"is":"verified"}"#),
        (Step::Staging { done: ByteCount(5), total: ByteCount(9) }, r#"{"is":"staging","done":5,"total":9}"#),
        (Step::Staged, r#"{"is":"staged"}"#),
        (Step::Restarting, r#"{"is":"restarting"}"#),
        (Step::TrialStarted { slot: Slot::B }, r#"{"is":"trial_started","slot":"b"}"#),
        (Step::Kept, r#"{"is":"kept"}"#),
        (
            Step::RolledBack { reason: "it answers 500".into(), evidence: vec!["20 of 20".into()] },
            r#"{"is":"rolled_back","reason":"it answers 500","evidence":["20 of 20"]}"#,
        ),
        (
            Step::Refused { reason: "other hardware".into(), evidence: vec![] },
            r#"{"is":"refused","reason":"other hardware"}"#,
        ),
        (
            Step::Failed { reason: "no space".into(), retry_after_seconds: 60 },
            r#"{"is":"failed","reason":"no space","retry_after_seconds":60}"#,
        ),
        (Step::Withdrawn, r#"{"is":"withdrawn"}"#),
    ] {
        golden(&step, json);
    }
}

#[test]
fn operators_requests_read_and_write_as_documented() {
    golden(&IssueToken { valid_seconds: 3600 }, r#"{"valid_seconds":3600}"#);
    let start = StartRollout {
        release: Version::new(1, 1, 0),
        waves: vec!["1".parse().unwrap(), "500‰".parse().unwrap(), "all".parse().unwrap()],
        failure_budget: 2,
        silence_seconds: None,
    };
    golden(&start, r#"{"release":"1.1.0","waves":["1","500‰","all"],"failure_budget":2}"#);
}

#[test]
fn requests_refuse_unknown_fields_and_answers_ignore_them() {
    let known = serde_json::to_string(&check_in(DeviceState::Idle)).unwrap();
    let extended = known.replacen('{', r#"{"extra":1,"#, 1);
    assert!(serde_json::from_str::<CheckIn>(&extended).is_err());
    let nested = known.replace(r#"{"is":"idle"}"#, r#"{"is":"staging","done":1,"total":2,"extra":1}"#);
    assert!(serde_json::from_str::<CheckIn>(&nested).is_err());
    assert!(serde_json::from_str::<Orders>(r#"{"retry_after_seconds":0,"extra":1}"#).is_ok());
}
