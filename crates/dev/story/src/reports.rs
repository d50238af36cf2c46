//! What the update server knows of the box: its reports, read from what `evenkeel device` prints.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::progress::Seen;

/// A device as the update server shows it.
#[derive(Debug)]
pub(crate) struct Device(pub(crate) Value);

impl Device {
    /// The version that runs, as text; empty before the first check-in.
    pub(crate) fn running_version(&self) -> &str {
        self.0["device"]["running"]["version"].as_str().unwrap_or_default()
    }

    /// The slot it runs from.
    pub(crate) fn running_slot(&self) -> &str {
        self.0["device"]["running"]["slot"].as_str().unwrap_or_default()
    }

    /// The reported step of this kind about `release`, if there is one.
    pub(crate) fn step(&self, release: &str, kind: &str) -> Option<&Value> {
        self.steps(release).find(|step| step["is"] == kind)
    }

    /// All reported steps about `release`, newest first.
    pub(crate) fn steps<'a>(&'a self, release: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
        let release = release.to_owned();
        let reports = self.0["reports"].as_array().map(Vec::as_slice).unwrap_or_default();
        reports
            .iter()
            .map(|received| &received["report"])
            .filter(move |r| r["release"] == release)
            .map(|r| &r["step"])
    }

    /// Looks for the step `kind` about `release`; one of `ends` instead is the end of the story.
    pub(crate) fn look_for(&self, release: &str, kind: &str, ends: &[&str]) -> Result<Seen<Value>> {
        if let Some(step) = self.step(release, kind) {
            return Ok(Seen::Yes(step.clone(), evidence(step)));
        }
        if let Some(end) = ends.iter().find_map(|end| self.step(release, end)) {
            bail!("expected `{kind}` of release {release}, but the box reported: {end}");
        }
        let newest =
            self.steps(release).next().map_or_else(|| "no report yet".to_owned(), ToString::to_string);
        Ok(Seen::NotYet(format!("release {release}: {newest}; state {}", self.0["device"]["state"])))
    }
}

/// The first device of a list, by its id.
pub(crate) fn only_device(list: &Value) -> Result<Option<String>> {
    let devices = list["devices"].as_array().context("a list of devices has `devices`")?;
    Ok(devices.first().and_then(|device| device["id"].as_str()).map(str::to_owned))
}

/// What a step says, for the reader of the story.
fn evidence(step: &Value) -> String {
    let mut text = step["is"].as_str().unwrap_or_default().replace('_', " ");
    if let Some(reason) = step["reason"].as_str() {
        text = format!("{text}: {reason}");
    }
    for finding in step["evidence"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        text = format!("{text}; {finding}");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn device(step: &Value) -> Device {
        Device(json!({"device": {"running": {"version": "1.1.0", "slot": "b"}},
            "reports": [{"report": {"release": "1.2.0", "step": step}}]}))
    }

    #[test]
    fn a_step_is_found_with_its_reason_and_evidence() {
        let device =
            device(&json!({"is": "rolled_back", "reason": "it answers 500", "evidence": ["0 of 3"]}));
        let Ok(Seen::Yes(_, shown)) = device.look_for("1.2.0", "rolled_back", &["kept"]) else { panic!() };
        assert_eq!(shown, "rolled back: it answers 500; 0 of 3");
        assert_eq!((device.running_version(), device.running_slot()), ("1.1.0", "b"));
    }

    #[test]
    fn the_wrong_end_fails_and_another_release_is_not_looked_at() {
        let kept = device(&json!({"is": "kept"}));
        assert!(kept.look_for("1.2.0", "rolled_back", &["kept"]).is_err());
        assert!(matches!(kept.look_for("1.1.0", "rolled_back", &["kept"]), Ok(Seen::NotYet(_))));
    }
}
