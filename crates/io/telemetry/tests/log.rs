//! What the log writes to standard error. A process has one log, so each case is a process: this test, run
//! again with the case in its environment.

use std::{
    env,
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    process::{Command, Stdio},
};

use evenkeel_telemetry::{LogError, LogForm, start_log};

const CASE: &str = "EVENKEEL_TEST_LOG_FORM";

/// Does nothing unless it is run by [`lines_of`].
#[test]
fn a_process_that_logs() {
    let Ok(form) = env::var(CASE) else { return };
    start_log(form.parse().unwrap(), "info").unwrap();
    tracing::debug!("not this");
    tracing::warn!(server = "app1", "server is left out");
    assert!(matches!(start_log(LogForm::Text, "info"), Err(LogError::Twice)));
}

/// What the process writes to its standard error, `journal` or not.
fn lines_of(form: &str, journal: bool) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("stderr");
    let file = File::create(&path).expect("the folder can be written");
    let told =
        file.metadata().map(|file| format!("{}:{}", file.dev(), file.ino())).expect("a file has an inode");
    let run = Command::new(env::current_exe().expect("this test"))
        .args(["--exact", "a_process_that_logs", "--nocapture"])
        .env(CASE, form)
        .env("JOURNAL_STREAM", if journal { &told } else { "1:1" })
        .stderr(file)
        .stdout(Stdio::null())
        .status();
    assert!(run.expect("the test runs").success());
    fs::read_to_string(path).expect("the lines")
}

#[test]
fn the_journal_gets_the_priority_and_keeps_the_time_itself() {
    assert_eq!(lines_of("text", true), "<4>server is left out server=\"app1\"\n");
}

#[test]
fn people_get_time_and_level() {
    let line = lines_of("text", false);
    let (time, rest) = line.split_once(' ').unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{line}");
    assert_eq!(rest.trim_start(), "WARN server is left out server=\"app1\"\n");
}

#[test]
fn collectors_get_one_json_object_a_line() {
    let line = lines_of("json", false);
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(object["message"], "server is left out");
    assert_eq!(object["server"], "app1");
    assert_eq!(object["level"], "WARN");
}

#[test]
fn a_filter_or_form_that_is_not_understood_is_named_with_what_is() {
    let error = start_log(LogForm::Text, "evenkeel=loud").unwrap_err().to_string();
    assert!(error.contains("`evenkeel=loud`; expected a level such as `info`"), "{error}");
    let error = "xml".parse::<LogForm>().unwrap_err().to_string();
    assert_eq!(error, "log form is `xml`; expected `text` or `json`");
}
