//! `agent.toml`: where the update agent finds its server, its slots and its proofs of health.
//!
//! Owns: the keys, their ranges and defaults. Invariant: only [`Config::parse`] makes a [`Config`]; the four
//! images of the two slots are four different files, so staging into one can never touch the other (I1).

use alloc::vec::Vec;
use core::{num::NonZeroU32, time::Duration};

use evenkeel_units::Slot;

use crate::{
    AbsolutePath, Errors, HttpUrl, Name,
    document::{self, Field, Section},
    range::{Count, Span, hours, mins, ms, secs},
};

/// A configuration of the update agent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// What this box is.
    pub device: Device,
    /// Where releases come from.
    pub server: Server,
    /// Where releases go.
    pub slots: Slots,
    /// What starts.
    pub boot: Boot,
    /// How the box starts anew.
    pub restart: Restart,
    /// When a new release is healthy.
    pub gate: Gate,
    /// Where the command reaches the agent.
    pub control: Control,
}

impl Config {
    /// Reads the text of a file called `file_name`, which only serves to name it in errors.
    ///
    /// # Errors
    /// Everything that is wrong with the text, at once.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Errors> {
        document::parse(file_name, text, TOP_KEYS, config)
    }
}

/// What this box is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Device {
    /// The hardware that a release must be for.
    pub hardware: Name,
    /// The channel that a release must be on.
    pub channel: Name,
    /// Where the agent keeps its key, its state and the metadata it has seen.
    pub data_dir: AbsolutePath,
    /// What people call the box.
    pub name: Option<Name>,
}

/// Where releases come from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// The update server. Plain HTTP: everything that matters is signed.
    pub url: HttpUrl,
    /// The TUF root metadata that trust starts from.
    pub root: AbsolutePath,
    /// The one-time token for enrolment.
    pub enrolment_token_file: Option<AbsolutePath>,
    /// How long the server may hold a check-in while there is nothing new; at most 60 s.
    pub check_in_wait: Duration,
}

/// The two places for a release.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Slots {
    /// Slot A.
    pub a: SlotImages,
    /// Slot B.
    pub b: SlotImages,
}

impl Slots {
    /// The images of `slot`.
    #[must_use]
    pub const fn images(&self, slot: Slot) -> &SlotImages {
        match slot {
            Slot::A => &self.a,
            Slot::B => &self.b,
        }
    }
}

/// The partitions, or files, of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotImages {
    /// The root image.
    pub root: AbsolutePath,
    /// Its verity tree.
    pub verity: AbsolutePath,
}

/// What starts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Boot {
    /// Where the EFI system partition is mounted.
    pub esp: AbsolutePath,
    /// What the initrd tells about this start.
    pub record: AbsolutePath,
    /// How often a new release may start without proving itself, 1 to 9.
    pub tries: NonZeroU32,
}

/// How the box starts anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Restart {
    /// By `systemctl reboot`.
    Systemd,
    /// By leaving with exit status 75; whoever started the agent starts the box anew.
    Exit,
}

/// When a new release is healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gate {
    /// The data plane's admin listener.
    pub proxy_admin: HttpUrl,
    /// A page that must be answered through the data plane.
    pub site: HttpUrl,
    /// How long the release may take to prove itself.
    pub deadline: Duration,
    /// Rounds of checks passed in a row that prove it.
    pub rounds: NonZeroU32,
    /// From one round to the next.
    pub interval: Duration,
}

/// Where the command reaches the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Control {
    /// The socket's path; at most [`Control::MAX_SOCKET_BYTES`] long.
    pub socket: AbsolutePath,
}

impl Control {
    /// Longest path of a socket: `sun_path` of Linux has 108 bytes, one of them the NUL (unix(7)).
    pub const MAX_SOCKET_BYTES: usize = 107;
}

const TOP_KEYS: &[&str] = &["device", "server", "slots", "boot", "restart", "gate", "control"];
const DEVICE_KEYS: &[&str] = &["hardware", "channel", "data_dir", "name"];
const SERVER_KEYS: &[&str] = &["url", "root", "enrolment_token_file", "check_in_wait"];
const SLOTS_KEYS: &[&str] = &["a", "b"];
const SLOT_KEYS: &[&str] = &["root", "verity"];
const BOOT_KEYS: &[&str] = &["esp", "record", "tries"];
const RESTART_KEYS: &[&str] = &["method"];
const GATE_KEYS: &[&str] = &["proxy_admin", "site", "deadline", "rounds", "interval"];
const CONTROL_KEYS: &[&str] = &["socket"];

/// The server holds at most 60 s; half of it passes every middlebox that forgets idle connections.
const CHECK_IN_WAIT: Span = Span::new(secs(0), secs(30), secs(60));

/// The loader's counter has one digit here; three forgive one failed disk and one power cut.
const TRIES: Count = Count::new(1, 3, 9);

/// 40 s slowest boot measured, 3 rounds of 10 s, doubled for slow disks: 140 s.
const GATE_DEADLINE: Span = Span::new(secs(1), secs(140), hours(1));

/// Three answers in a row are no accident.
const GATE_ROUNDS: Count = Count::new(1, 3, 100);

/// Long enough for a health check of each server to take place between two rounds.
const GATE_INTERVAL: Span = Span::new(ms(10), secs(2), mins(10));

fn config(top: &Section<'_>) -> Option<Config> {
    let device = top.section("device", DEVICE_KEYS).and_then(|section| device(&section));
    let server = top.section("server", SERVER_KEYS).and_then(|section| server(&section));
    let slots = top.section("slots", SLOTS_KEYS).and_then(|section| slots(&section));
    let boot = top.section("boot", BOOT_KEYS).and_then(|section| boot(&section));
    let restart = top.section("restart", RESTART_KEYS).and_then(|section| restart(&section));
    let gate = top.section("gate", GATE_KEYS).and_then(|section| gate(&section));
    let control = top.section("control", CONTROL_KEYS).and_then(|section| control(&section));
    Some(Config {
        device: device?,
        server: server?,
        slots: slots?,
        boot: boot?,
        restart: restart?,
        gate: gate?,
        control: control?,
    })
}

/// The path of `key`, or `default` (docs/protocol.md, "Box: files and sockets").
fn path_or(section: &Section<'_>, key: &str, default: &'static str) -> Option<AbsolutePath> {
    section.field(key).map_or_else(|| AbsolutePath::parse(default), |field| field.path())
}

fn device(section: &Section<'_>) -> Option<Device> {
    let hardware = section.required("hardware", "hardware = \"x86_64\"").and_then(|field| field.name());
    let channel = section.required("channel", "channel = \"stable\"").and_then(|field| field.name());
    let data_dir = path_or(section, "data_dir", "/var/lib/evenkeel/agent");
    let name = section.field("name").map_or(Some(None), |field| field.name().map(Some));
    Some(Device { hardware: hardware?, channel: channel?, data_dir: data_dir?, name: name? })
}

fn server(section: &Section<'_>) -> Option<Server> {
    let url = section.required("url", "url = \"http://10.0.2.2:9930\"").and_then(|field| field.url());
    let root = path_or(section, "root", "/usr/share/evenkeel/root.json");
    let enrolment_token_file =
        section.field("enrolment_token_file").map_or(Some(None), |field| field.path().map(Some));
    let check_in_wait = section.duration("check_in_wait", CHECK_IN_WAIT);
    Some(Server {
        url: url?,
        root: root?,
        enrolment_token_file: enrolment_token_file?,
        check_in_wait: check_in_wait?,
    })
}

fn slots(section: &Section<'_>) -> Option<Slots> {
    let mut images = Vec::new();
    let a = slot(section, Slot::A, &mut images);
    let b = slot(section, Slot::B, &mut images);
    Some(Slots { a: a?, b: b? })
}

fn slot(slots: &Section<'_>, slot: Slot, seen: &mut Vec<(AbsolutePath, usize)>) -> Option<SlotImages> {
    let (key, root, verity) = match slot {
        Slot::A => {
            ("a", "root = \"/dev/disk/by-partlabel/root_a\"", "verity = \"/dev/disk/by-partlabel/verity_a\"")
        }
        Slot::B => {
            ("b", "root = \"/dev/disk/by-partlabel/root_b\"", "verity = \"/dev/disk/by-partlabel/verity_b\"")
        }
    };
    let section = slots.section(key, SLOT_KEYS)?;
    let root = section.required("root", root).and_then(|field| image(&field, seen));
    let verity = section.required("verity", verity).and_then(|field| image(&field, seen));
    Some(SlotImages { root: root?, verity: verity? })
}

/// An image's path, which no other image may have.
fn image(field: &Field<'_>, seen: &mut Vec<(AbsolutePath, usize)>) -> Option<AbsolutePath> {
    let path = field.path()?;
    match seen.iter().find(|(other, _)| *other == path) {
        Some(&(_, first)) => field.refuse_repeated(
            first,
            "give each image a place of its own, or an update overwrites the running one",
        ),
        None => seen.push((path.clone(), field.line())),
    }
    Some(path)
}

fn boot(section: &Section<'_>) -> Option<Boot> {
    let esp = path_or(section, "esp", "/efi");
    let record = path_or(section, "record", "/run/evenkeel/boot.json");
    let tries = nonzero(section, "tries", TRIES);
    Some(Boot { esp: esp?, record: record?, tries: tries? })
}

fn restart(section: &Section<'_>) -> Option<Restart> {
    let Some(field) = section.field("method") else { return Some(Restart::Systemd) };
    let remedy = "write \"systemd\" on a box, \"exit\" where another process restarts the agent";
    field.text("\"systemd\" or \"exit\"", remedy, |text| match text {
        "systemd" => Some(Restart::Systemd),
        "exit" => Some(Restart::Exit),
        _ => None,
    })
}

fn gate(section: &Section<'_>) -> Option<Gate> {
    let proxy_admin = match section.field("proxy_admin") {
        Some(field) => field.url(),
        None => HttpUrl::parse("http://127.0.0.1:9900"),
    };
    let site = section.required("site", "site = \"http://127.0.0.1:8080/\"").and_then(|field| field.url());
    let deadline = section.duration("deadline", GATE_DEADLINE);
    let rounds = nonzero(section, "rounds", GATE_ROUNDS);
    let interval = section.duration("interval", GATE_INTERVAL);
    Some(Gate {
        proxy_admin: proxy_admin?,
        site: site?,
        deadline: deadline?,
        rounds: rounds?,
        interval: interval?,
    })
}

fn control(section: &Section<'_>) -> Option<Control> {
    let Some(field) = section.field("socket") else {
        return AbsolutePath::parse("/run/evenkeel/agent.sock").map(|socket| Control { socket });
    };
    let short = |path: &AbsolutePath| path.as_str().len() <= Control::MAX_SOCKET_BYTES;
    let remedy = "sockets have short paths: put it below /run";
    let socket = field.text("an absolute path of at most 107 bytes", remedy, |text| {
        AbsolutePath::parse(text).filter(short)
    })?;
    Some(Control { socket })
}

fn nonzero(section: &Section<'_>, key: &str, range: Count) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(section.count(key, range)?).ok()?)
}
