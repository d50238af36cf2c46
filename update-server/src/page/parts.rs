//! Small pieces of pages: badges, bars, times. Meaning is never in colour alone.

use std::collections::BTreeMap;

use evenkeel_protocol::{DeviceCount, DeviceState, DeviceSummary, Label, RolloutState, Standing, Step};
use evenkeel_rollout::REACHABLE_FOR;
use evenkeel_units::{DeviceId, Version, WallTime};
use maud::{Markup, html};

/// Width of a bar in units of its drawing.
const BAR_WIDTH: u32 = 1000;

/// The mark: a level line on calm water.
pub(super) fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 24 24" aria-hidden="true" {
            path d="M3 10h18l-3 6H6z" {}
            path.wave d="M2 20q2.5-2 5 0t5 0 5 0 5 0" {}
        }
    }
}

/// A point in time, in full.
pub(super) fn moment(at: WallTime) -> Markup {
    let text = at.to_string().replace('T', " ").replace('Z', " UTC");
    html! { time datetime=(at) { (text) } }
}

/// A point in time, as how long ago it was.
pub(super) fn ago(at: WallTime, now: WallTime) -> Markup {
    let text = match now.since(at).as_secs() {
        0..=1 => "now".to_string(),
        seconds @ 2..=119 => format!("{seconds} s ago"),
        seconds @ 120..=7199 => format!("{} min ago", seconds / 60),
        seconds @ 7200..=172_799 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    };
    html! { time datetime=(at) title=(at) { (text) } }
}

/// What people call a device.
pub(super) fn name_of(id: DeviceId, name: Option<&Label>) -> String {
    name.map_or_else(|| id.to_string().chars().take(8).collect(), ToString::to_string)
}

pub(super) fn device_link(id: DeviceId, name: Option<&Label>) -> Markup {
    html! { a.device href={ "/devices/" (id) } { (name_of(id, name)) } }
}

pub(super) fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether a device was heard from lately.
pub(super) fn is_here(device: &DeviceSummary, now: WallTime) -> bool {
    device.last_seen.is_some_and(|seen| now.since(seen) <= REACHABLE_FOR)
}

/// The versions that run, most common first.
pub(super) fn versions(devices: &[DeviceSummary]) -> Vec<(Version, usize)> {
    let mut counts = BTreeMap::<Version, usize>::new();
    for running in devices.iter().filter_map(|device| device.running) {
        *counts.entry(running.version).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|&(version, count)| (std::cmp::Reverse(count), std::cmp::Reverse(version)));
    counts
}

fn badge(class: &str, glyph: &str, text: &str) -> Markup {
    html! { span class={ "badge " (class) } { span aria-hidden="true" { (glyph) } " " (text) } }
}

pub(super) fn standing_badge(standing: Standing) -> Markup {
    let (class, glyph) = match standing {
        Standing::Waiting => ("waiting", "○"),
        Standing::InFlight => ("in-flight", "◐"),
        Standing::Succeeded => ("succeeded", "●"),
        Standing::Failed => ("failed", "✕"),
        Standing::LeftOut => ("left-out", "–"),
    };
    badge(class, glyph, &standing.to_string())
}

pub(super) fn rollout_badge(state: &RolloutState) -> Markup {
    match state {
        RolloutState::Running => badge("in-flight", "◐", "running"),
        RolloutState::Finished => badge("succeeded", "●", "finished"),
        RolloutState::Halted { .. } => badge("failed", "✕", "halted"),
    }
}

pub(super) fn device_state(device: &DeviceSummary, now: WallTime) -> Markup {
    let Some(state) = &device.state else { return badge("waiting", "○", "not checked in yet") };
    if !is_here(device, now) {
        return badge("failed", "✕", "not heard from");
    }
    match state {
        DeviceState::Idle => badge("succeeded", "●", "idle"),
        DeviceState::Staging { done, total } => {
            let share = done.0.saturating_mul(100).checked_div(total.0).unwrap_or(0);
            html! {
                (badge("in-flight", "◐", &format!("staging {share} %")))
                progress value=(done.0) max=(total.0.max(1)) aria-label="staged" {}
            }
        }
        DeviceState::BackingOff { reason } => html! {
            (badge("waiting", "○", "tries again later"))
            div.quiet.small { (reason) }
        },
        DeviceState::Verifying
        | DeviceState::Checking
        | DeviceState::Restarting
        | DeviceState::Trial
        | DeviceState::RollingBack => badge("in-flight", "◐", &state.to_string()),
    }
}

/// Each count with its class, in the order of a bar.
fn pieces(count: &DeviceCount) -> [(u32, &'static str, &'static str); 5] {
    [
        (count.succeeded, "succeeded", "succeeded"),
        (count.in_flight, "in-flight", "updating"),
        (count.failed, "failed", "failed"),
        (count.waiting, "waiting", "waiting"),
        (count.left_out, "left-out", "left out"),
    ]
}

pub(super) fn count_text(count: &DeviceCount) -> String {
    let pieces: Vec<_> =
        pieces(count).iter().filter(|(n, ..)| *n > 0).map(|(n, _, text)| format!("{n} {text}")).collect();
    if pieces.is_empty() { "no devices".to_string() } else { pieces.join(", ") }
}

/// A bar with a piece for each standing; what it shows is also its text.
pub(super) fn bar(count: &DeviceCount) -> Markup {
    let total = count.total().max(1);
    let mut from = 0;
    let rects = pieces(count).map(|(n, class, _)| {
        let start = u64::from(from) * u64::from(BAR_WIDTH) / u64::from(total);
        from += n;
        let end = u64::from(from) * u64::from(BAR_WIDTH) / u64::from(total);
        (class, start, end - start)
    });
    html! {
        svg.bar viewBox={ "0 0 " (BAR_WIDTH) " 10" } preserveAspectRatio="none" role="img" aria-label=(count_text(count)) {
            @for (class, x, width) in rects {
                @if width > 0 { rect class=(class) x=(x) y="0" width=(width) height="10" {} }
            }
        }
    }
}

pub(super) fn legend() -> Markup {
    let all =
        [Standing::Succeeded, Standing::InFlight, Standing::Failed, Standing::Waiting, Standing::LeftOut];
    html! { p.legend aria-hidden="true" { @for standing in all { (standing_badge(standing)) " " } } }
}

/// What was measured, of a step that ended badly.
pub(super) fn evidence(step: &Step) -> Markup {
    let findings = step.evidence();
    html! { @if !findings.is_empty() { ul.evidence { @for finding in findings { li { (finding) } } } } }
}
