//! The pages for people: devices, releases, and rollouts with the reason for every device that waits.
//!
//! Owns: how things look. Leaves to others: what is true (`engine`). Rendered on the server, without scripts;
//! everything that devices say is escaped, and the content policy forbids whatever would slip through.

mod parts;

use evenkeel_protocol::{DeviceSummary, RolloutDetail, RolloutId, RolloutState, RolloutSummary};
use evenkeel_units::{DeviceId, WallTime};
use maud::{DOCTYPE, Markup, html};

use self::parts::{
    ago, bar, count_text, device_link, device_state, legend, moment, name_of, rollout_badge, standing_badge,
};
use crate::engine::{Engine, EngineError};

/// The style sheet.
pub const STYLE: &str = include_str!("style.css");

/// Reports that the page of a device shows.
const REPORTS_SHOWN: usize = 100;

/// Rollouts that the overview shows in full.
const ROLLOUTS_SHOWN: usize = 3;

/// Devices of a wave that are listed one by one; the page of a rollout lists them all.
const WAVE_DEVICES_SHOWN: usize = 12;

/// A page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Everything at a glance.
    Overview,
    /// One device and its reports.
    Device(DeviceId),
    /// One rollout in full.
    Rollout(RolloutId),
    /// The style sheet.
    Style,
}

/// The page at a path.
#[must_use]
pub fn find(segments: &[&str]) -> Option<Page> {
    match segments {
        [""] => Some(Page::Overview),
        ["devices", id] => id.parse().ok().map(Page::Device),
        ["rollouts", id] => id.parse().ok().map(Page::Rollout),
        ["style.css"] => Some(Page::Style),
        _ => None,
    }
}

/// Renders a page.
///
/// # Errors
/// When what it shows is not there or cannot be read.
pub fn render(page: Page, engine: &Engine, now: WallTime) -> Result<String, EngineError> {
    let markup = match page {
        Page::Overview => overview(engine, now)?,
        Page::Device(id) => device(engine, id, now)?,
        Page::Rollout(id) => rollout(engine, id, now)?,
        Page::Style => html! {},
    };
    Ok(markup.into_string())
}

fn frame(title: &str, lively: bool, now: WallTime, content: &Markup) -> Markup {
    let refresh = if lively { "3" } else { "15" };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="refresh" content=(refresh);
                title { (title) " · Evenkeel" }
                link rel="stylesheet" href="/style.css";
            }
            body {
                header.top {
                    a.brand href="/" { (parts::mark()) span { "Evenkeel" } }
                    span.quiet { "update server" }
                    span.clock { (moment(now)) }
                }
                main { (content) }
            }
        }
    }
}

fn overview(engine: &Engine, now: WallTime) -> Result<Markup, EngineError> {
    let (devices, rollouts) = (engine.devices(), engine.rollouts());
    let lively =
        rollouts.iter().any(|rollout| rollout.state == RolloutState::Running || rollout.count.in_flight > 0);
    let (shown, earlier) = rollouts.split_at(rollouts.len().min(ROLLOUTS_SHOWN));
    let details =
        shown.iter().map(|summary| engine.rollout(summary.id, now)).collect::<Result<Vec<_>, _>>()?;
    let content = html! {
        (tiles(&devices, &rollouts, now))
        section {
            h2 { "Rollouts" }
            @if details.is_empty() {
                p.empty { "None yet. Start one with " code { "evenkeel rollout start VERSION --wave 1 --wave all --failure-budget 1" } "." }
            }
            @for detail in &details { (rollout_card(detail, Some(WAVE_DEVICES_SHOWN), now)) }
            @if !earlier.is_empty() {
                h3 { "Earlier" }
                ul.earlier {
                    @for rollout in earlier {
                        li {
                            a href={ "/rollouts/" (rollout.id) } { "Rollout " (rollout.id) " · " (rollout.release) }
                            " " (rollout_badge(&rollout.state)) " " span.quiet { (count_text(&rollout.count)) }
                        }
                    }
                }
            }
        }
        section { h2 { "Devices" } (device_table(&devices, now)) }
        section { h2 { "Releases" } (release_table(engine, &devices)) }
    };
    Ok(frame("Overview", lively, now, &content))
}

fn tiles(devices: &[DeviceSummary], rollouts: &[RolloutSummary], now: WallTime) -> Markup {
    let here = devices.iter().filter(|device| parts::is_here(device, now)).count();
    let newest = rollouts.first();
    html! {
        div.tiles {
            div.tile { span.label { "Devices" } strong { (devices.len()) } span.quiet { (here) " heard from lately" } }
            div.tile {
                span.label { "Versions" }
                @let versions = parts::versions(devices);
                @if versions.is_empty() { strong { "–" } span.quiet { "no device has checked in" } }
                @else {
                    strong { (versions[0].0) }
                    span.quiet {
                        @for (index, (version, count)) in versions.iter().enumerate() {
                            @if index > 0 { " · " }
                            (version) " on " (count)
                        }
                    }
                }
            }
            div.tile {
                span.label { "Latest rollout" }
                @if let Some(rollout) = newest {
                    strong { (rollout.release) }
                    span { (rollout_badge(&rollout.state)) }
                } @else { strong { "–" } span.quiet { "none yet" } }
            }
        }
    }
}

fn rollout_card(detail: &RolloutDetail, most: Option<usize>, now: WallTime) -> Markup {
    let rollout = &detail.rollout;
    html! {
        article.card {
            div.head {
                h3 { a href={ "/rollouts/" (rollout.id) } { "Release " (rollout.release) } }
                (rollout_badge(&rollout.state))
                span.quiet.right { "rollout " (rollout.id) ", started " (ago(rollout.started, now)) }
            }
            @if let RolloutState::Halted { at, reason } = &rollout.state {
                p.notice role="status" { strong { "Halted " (ago(*at, now)) ": " } (reason) }
            }
            (bar(&rollout.count))
            p.counts {
                (count_text(&rollout.count))
                span.quiet.right { "failure budget: " (rollout.count.failed) " of " (rollout.failure_budget) " spent" }
            }
            @let waves = if most.is_some() && rollout.state == RolloutState::Finished { &[][..] } else { &detail.waves };
            @for (index, wave) in waves.iter().enumerate() {
                section.wave {
                    h4 { "Wave " (index + 1) " " span.quiet { (wave_text(&wave.wave)) " · " (count_text(&wave.count)) } }
                    (bar(&wave.count))
                    @let shown = most.unwrap_or(usize::MAX).min(wave.devices.len());
                    ul.members {
                        @for device in &wave.devices[..shown] {
                            li {
                                (standing_badge(device.standing))
                                " " (device_link(device.id, device.name.as_ref()))
                                span.reason { (device.reason) }
                            }
                        }
                    }
                    @if shown < wave.devices.len() {
                        p.more { a href={ "/rollouts/" (rollout.id) } { "and " (wave.devices.len() - shown) " more" } }
                    }
                }
            }
        }
    }
}

fn wave_text(wave: &evenkeel_protocol::Wave) -> String {
    use evenkeel_protocol::Wave;
    match wave {
        Wave::Devices(devices) => format!("{} named", devices.len()),
        Wave::Count(1) => "1 device".to_string(),
        Wave::Count(count) => format!("{count} devices"),
        all if *all == Wave::ALL => "all".to_string(),
        Wave::Fraction(_) => format!("up to {wave} of the fleet"),
    }
}

fn device_table(devices: &[DeviceSummary], now: WallTime) -> Markup {
    html! {
        @if devices.is_empty() {
            p.empty { "None yet. Get a token for one with " code { "evenkeel device token" } "." }
        } @else {
            div.scroll {
                table {
                    thead { tr { th { "Device" } th { "Runs" } th { "State" } th { "Last seen" } th { "Last report" } } }
                    tbody {
                        @for device in devices {
                            tr {
                                td { (device_link(device.id, device.name.as_ref())) div.quiet.small { (device.hardware) @if let Some(channel) = &device.channel { " · " (channel) } } }
                                td.number { @if let Some(running) = &device.running { (running.version) div.quiet.small { "slot " (running.slot) } } @else { "–" } }
                                td { (device_state(device, now)) }
                                td { @if let Some(seen) = device.last_seen { (ago(seen, now)) } @else { "never" } }
                                td.wide { @if let Some(last) = &device.last_report { (last.report.release) ": " (last.report.step) div.quiet.small { (ago(last.received, now)) } } @else { "–" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn release_table(engine: &Engine, devices: &[DeviceSummary]) -> Markup {
    let releases = engine.releases();
    html! {
        @if releases.is_empty() {
            p.empty { "None yet. Publish one with " code { "evenkeel release publish" } "." }
        } @else {
            div.scroll {
                table {
                    thead { tr { th { "Version" } th { "Devices" } th { "Channels" } th { "Hardware" } th { "Bundle" } } }
                    tbody {
                        @for release in releases {
                            @let on = devices.iter().filter(|d| d.running.is_some_and(|r| r.version == release.version)).count();
                            tr {
                                td.number { (release.version) }
                                td.number { (on) }
                                td { (parts::joined(&release.channels)) }
                                td { (parts::joined(&release.hardware)) }
                                td { (release.length) div.quiet.small.hash { (release.sha256) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn device(engine: &Engine, id: DeviceId, now: WallTime) -> Result<Markup, EngineError> {
    let detail = engine.device(id)?;
    let device = &detail.device;
    let content = html! {
        section {
            h2 { (name_of(device.id, device.name.as_ref())) " " (device_state(device, now)) }
            dl.facts {
                dt { "Identity" } dd.hash { (device.id) }
                dt { "Runs" } dd { @if let Some(running) = &device.running { (running.version) " in slot " (running.slot) } @else { "not known yet" } }
                dt { "Hardware" } dd { (device.hardware) }
                dt { "Channel" } dd { @if let Some(channel) = &device.channel { (channel) } @else { "not known yet" } }
                dt { "Agent" } dd { @if let Some(version) = detail.agent_version { (version) } @else { "not known yet" } }
                dt { "Does not try again" } dd { @if detail.refused.is_empty() { "–" } @else { (parts::joined(&detail.refused)) } }
                dt { "Last seen" } dd { @if let Some(seen) = device.last_seen { (ago(seen, now)) } @else { "never" } }
                dt { "Enrolled" } dd { (moment(device.enrolled)) }
            }
        }
        section {
            h2 { "Reports" }
            @if detail.reports.is_empty() { p.empty { "None yet." } }
            ol.reports {
                @for received in detail.reports.iter().take(REPORTS_SHOWN) {
                    li {
                        span.when { (moment(received.report.at)) }
                        span.what { strong { (received.report.release) } " " (received.report.step) (parts::evidence(&received.report.step)) }
                    }
                }
            }
        }
    };
    Ok(frame(&name_of(device.id, device.name.as_ref()), false, now, &content))
}

fn rollout(engine: &Engine, id: RolloutId, now: WallTime) -> Result<Markup, EngineError> {
    let detail = engine.rollout(id, now)?;
    let lively = detail.rollout.state == RolloutState::Running;
    let content = html! { section { h2 { "Rollout " (id) } (legend()) (rollout_card(&detail, None, now)) } };
    Ok(frame(&format!("Rollout {id}"), lively, now, &content))
}
