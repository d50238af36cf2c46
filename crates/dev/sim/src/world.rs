//! A box in a world where power, network and releases are good or bad as a seed says.
//!
//! Owns: driving the real machine over the simulated disk, start after start, and checking after each of them
//! what has to be true. A violation panics with its reason; the caller adds the seed.

use std::collections::BTreeMap;

use evenkeel_boot::{EntryName, InactiveSlot, Running};
use evenkeel_protocol::{Assignment, RolloutId, Step};
use evenkeel_release::{ImageKind, VerifiedChunk, target_name};
use evenkeel_units::{Instant, Slot, Version, WallTime};
use evenkeel_update::{
    Baseline, Device, Effect, Failure, FailureKind, Input, Machine, Moment, Offer, Output, Record, Release,
    encode, gate::Verdict, newest_of,
};

use crate::{
    disk::{Disk, PlaceName, PowerCut},
    random::Random,
    release::{Recipe, Sample},
};

/// Tries of a trial.
const TRIES: u32 = 3;

/// Losses of power in one update, at most: then it is left alone, for it has to come to an end.
const CUTS: u32 = 6;

/// Operations of an update of these releases, from its first write to its last: where the fuse may burn out.
const OPERATIONS: u64 = 120;

/// Operations of a start up to its verdict: count the start, write and flush the record, bless or condemn.
const FIRST_OPERATIONS: u64 = 4;

/// Flushes in a thousand after which a byte is not what was written.
const SPOILT: u64 = 5;

/// Inputs in one start, at most: far more than an update takes, so that running in circles is found.
const INPUTS: u32 = 5_000;

/// Starts in one update, at most.
const STARTS: u32 = 60;

/// How a release is, once it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It passes its gate.
    Good,
    /// It fails its gate.
    Sick,
    /// It never comes to a verdict, until the watchdog ends it.
    Hanging,
}

/// What became of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is the default.
    Kept,
    /// The one before is.
    RolledBack,
}

/// A release, ready to be handed out.
#[derive(Debug, Clone)]
struct Offered {
    sample: Sample,
    chunks: Vec<VerifiedChunk>,
}

/// Releases of a few versions, made once for all worlds.
#[derive(Debug, Clone)]
pub struct Catalogue(BTreeMap<Version, Offered>);

impl Catalogue {
    /// Releases 1.0.0, 1.1.0 and so on, each of 24 blocks: two checkpoints.
    #[must_use]
    pub fn of(count: u16) -> Self {
        let offered = |minor| {
            let sample = Sample::make(&Recipe::of(Version::new(1, minor, 0), 24));
            let chunks = (0..sample.head.chunks().count()).filter_map(|number| u32::try_from(number).ok());
            let chunks = chunks.map(|number| sample.chunk(number)).collect();
            (sample.version(), Offered { sample, chunks })
        };
        Self((0..count).map(offered).collect())
    }

    fn get(&self, version: Version) -> &Offered {
        self.0.get(&version).expect("a release of the catalogue")
    }
}

/// One box and its surroundings.
pub struct World<'a> {
    catalogue: &'a Catalogue,
    disk: Disk,
    random: Random,
    health: BTreeMap<Version, Health>,
    order: Option<Assignment>,
    now: Instant,
    cuts: u32,
    cuts_on_trial: u32,
    reports: Vec<Step>,
    sequences: Vec<u64>,
    /// Chunks that were obtained in this update.
    pub obtained: u32,
}

/// How one start ended.
enum End {
    Restart,
    PowerCut,
    /// The machine has nothing more to do.
    Rest,
}

impl<'a> World<'a> {
    /// A box with release 1.0.0 in slot a, kept for good.
    ///
    /// # Panics
    /// When the catalogue has no release 1.0.0.
    #[must_use]
    pub fn new(catalogue: &'a Catalogue, seed: u64) -> Self {
        let mut random = Random::of(seed);
        let mut disk = Disk::new(Random::of(random.next()));
        let first = Version::new(1, 0, 0);
        let sample = &catalogue.get(first).sample;
        for (place, kind) in [
            (PlaceName::Root(Slot::A), ImageKind::Root),
            (PlaceName::Verity(Slot::A), ImageKind::Verity),
            (PlaceName::Staged, ImageKind::Uki),
        ] {
            let written = disk.write(place, 0, sample.image(kind)).and_then(|()| disk.flush(place));
            assert_eq!(written, Ok(()), "power stays at first");
        }
        assert_eq!(disk.install(EntryName::kept(first)), Ok(()), "power stays at first");
        Self {
            catalogue,
            disk,
            random,
            health: BTreeMap::from([(first, Health::Good)]),
            order: None,
            now: Instant::START,
            cuts: 0,
            cuts_on_trial: 0,
            reports: Vec::new(),
            sequences: Vec::new(),
            obtained: 0,
        }
    }

    /// Losses of power so far in this update.
    #[must_use]
    pub const fn cuts(&self) -> u32 {
        self.cuts
    }

    /// Rolls a release out to the box and lives until it is kept or rolled back.
    ///
    /// # Panics
    /// When something that has to be true is not.
    pub fn update(&mut self, rollout: u32, release: Version, health: Health) -> Outcome {
        self.health.insert(release, health);
        let target = target_name(release).to_string();
        self.order = Some(Assignment { rollout: RolloutId(rollout), release, target });
        (self.cuts, self.cuts_on_trial, self.obtained) = (0, 0, 0);
        let before = self.loader_would_start();
        self.reports.clear();
        for _ in 0..STARTS {
            let fuse = self.draw_fuse();
            self.disk.set_fuse(fuse);
            let end = self.start(before, release).unwrap_or(End::PowerCut);
            self.check_entries();
            match end {
                End::Restart => {}
                End::PowerCut => {
                    self.cuts += 1;
                    self.disk.lose_power();
                }
                End::Rest => return self.outcome(release, before, health),
            }
        }
        panic!("the update came to no end in {STARTS} starts: {:?}", self.reports);
    }

    /// When power fails in the next start: never, at its first few writes, where a start is decided, or anywhere.
    fn draw_fuse(&mut self) -> Option<u64> {
        if self.cuts >= CUTS || self.random.chance(300) {
            return None;
        }
        let end = if self.random.chance(500) { FIRST_OPERATIONS } else { OPERATIONS };
        Some(self.random.below(end))
    }

    fn outcome(&self, release: Version, before: Version, health: Health) -> Outcome {
        let last = self.reports.iter().rev().find(|step| step.is_final()).expect("an update that ended");
        let default = self.loader_would_start();
        match (last, health) {
            (Step::Kept, Health::Good) => {
                assert_eq!(default, release, "kept, so it is the default");
                Outcome::Kept
            }
            (Step::RolledBack { reason, .. }, _) => {
                assert_eq!(default, before, "rolled back, so the one before is the default");
                assert!(!reason.as_str().is_empty());
                let tried = health != Health::Good || self.cuts_on_trial >= TRIES;
                assert!(tried, "a good release was rolled back: {reason}");
                Outcome::RolledBack
            }
            (step, health) => panic!("a {health:?} release ended with {step:?}"),
        }
    }

    fn loader_would_start(&self) -> Version {
        self.disk.entries().select().expect("an entry").start.version
    }

    /// I4: whatever is the default for good passed its gate.
    fn check_entries(&self) {
        for entry in self.disk.entries().as_slice().iter().filter(|entry| entry.tries.is_none()) {
            assert_eq!(self.health[&entry.version], Health::Good, "I4: {entry} is a default");
        }
    }

    /// One start: the loader's choice, the slot that belongs to it, then the machine.
    fn start(&mut self, before: Version, release: Version) -> Result<End, PowerCut> {
        let selection = self.disk.entries().select().expect("I3: an entry to start");
        let version = selection.start.version;
        assert!(version == before || version == release, "I3: the old or the new release, not {version}");
        let on_trial = version == release && version != before;
        if on_trial {
            // The loader's own renaming uses up a try, also when power fails in it.
            self.cuts_on_trial += 1;
        }
        if let Some(change) = selection.count {
            self.disk.change(change)?;
        }
        let running = self.find_slot(version);
        let images = |world: &Self| {
            [PlaceName::Root(running.slot), PlaceName::Verity(running.slot)]
                .map(|p| world.disk.read(p).to_vec())
        };
        let at_start = images(self);
        let end = self.run(running);
        assert_eq!(images(self), at_start, "I1: the running slot was written");
        if matches!(end, Ok(End::Restart | End::Rest)) && on_trial {
            self.cuts_on_trial -= 1;
        }
        end
    }

    /// The slot whose hash tree the kernel names; its images have to be complete (I3).
    fn find_slot(&self, version: Version) -> Running {
        let sample = &self.catalogue.get(version).sample;
        let entry = self.disk.entries().of(version).expect("the entry that was chosen");
        assert_eq!(self.disk.kernel(entry), Some(sample.image(ImageKind::Uki)), "I3: its kernel is complete");
        let holds = |slot: &Slot| {
            [(PlaceName::Root(*slot), ImageKind::Root), (PlaceName::Verity(*slot), ImageKind::Verity)]
                .into_iter()
                .all(|(place, kind)| self.disk.read(place).starts_with(sample.image(kind)))
        };
        let slot = Slot::BOTH.into_iter().find(holds).expect("I3: a slot that holds it complete");
        Running { version, slot, root_hash: sample.root_hash() }
    }

    fn moment(&mut self) -> Moment {
        Moment { instant: self.now, wall: WallTime::from_unix_seconds(0), random: self.random.next() }
    }

    fn run(&mut self, running: Running) -> Result<End, PowerCut> {
        let device = Device {
            hardware: "x86_64".into(),
            channel: "stable".into(),
            agent: running.version,
            tries: TRIES,
        };
        let (record, mut state) = StateCopies::open(&self.disk);
        let moment = self.moment();
        let mut machine = Machine::recover(device, running, self.disk.entries(), record, moment);
        machine.handle(Input::Ordered(self.order.clone()), moment);
        let mut wake = None;
        for _ in 0..INPUTS {
            let mut effect = None;
            while let Some(output) = machine.poll_output() {
                match output {
                    Output::Do(new) => {
                        assert!(effect.replace(new).is_none(), "at most one effect is in flight");
                    }
                    Output::Report(report) => {
                        if !self.sequences.contains(&report.sequence) {
                            self.sequences.push(report.sequence);
                            self.reports.push(report.step);
                        }
                    }
                    Output::Wake(at) => wake = Some(at),
                }
            }
            let input = match (effect, wake.take()) {
                (Some(Effect::Restart), _) => return Ok(End::Restart),
                (Some(effect), _) => self.perform(effect, running, &mut state)?,
                (None, Some(at)) => {
                    self.now = self.now.max(at);
                    Input::Tick
                }
                (None, None) => return Ok(End::Rest),
            };
            let moment = self.moment();
            machine.handle(input, moment);
        }
        panic!("the machine runs in circles: {:?}", machine.state());
    }

    fn perform(
        &mut self,
        effect: Effect,
        running: Running,
        state: &mut StateCopies,
    ) -> Result<Input, PowerCut> {
        let passing = || Failure { kind: FailureKind::Passing, reason: "nobody answers".into() };
        let release = self.order.as_ref().map_or(running.version, |order| order.release);
        match effect {
            Effect::Save(record) => state.save(&mut self.disk, &record)?,
            Effect::Verify(_) | Effect::Open { .. } | Effect::Obtain { .. } if self.random.chance(20) => {
                return Ok(Input::Failed(passing()));
            }
            Effect::Verify(assignment) => {
                let version = assignment.release;
                let list = |text: &str| vec![text.to_owned()];
                return Ok(Input::Offered(Offer {
                    version,
                    channels: list("stable"),
                    hardware: list("x86_64"),
                }));
            }
            Effect::Open { .. } => {
                let sample = &self.catalogue.get(release).sample;
                return Ok(Input::Opened(Release::of(&sample.head, sample.head_meta.sha256)));
            }
            Effect::Obtain { chunk } => {
                self.obtained += 1;
                return Ok(Input::Obtained(self.catalogue.get(release).chunks[chunk as usize].clone()));
            }
            Effect::Write { slot, chunk } => self.write(slot, &chunk, running)?,
            Effect::Flush { slot } => {
                for place in places(slot) {
                    self.disk.flush(place)?;
                    if self.random.chance(SPOILT) {
                        self.disk.spoil(place);
                    }
                }
            }
            Effect::ReadBack { slot } => {
                let sample = &self.catalogue.get(release).sample;
                let right = places(slot)
                    .into_iter()
                    .zip(ImageKind::ALL)
                    .all(|(place, kind)| self.disk.read(place).starts_with(sample.image(kind)));
                if !right {
                    let reason = "what was read back is not what was written".into();
                    return Ok(Input::Failed(Failure { kind: FailureKind::Doubtful, reason }));
                }
            }
            Effect::Measure => return Ok(Input::Measured(baseline())),
            Effect::Install(entry) => self.disk.install(entry)?,
            Effect::Change(change) => self.disk.change(change)?,
            Effect::RunGate(_) => return self.judge(running.version).map(Input::Judged),
            Effect::Restart => {}
        }
        Ok(Input::Done)
    }

    fn write(&mut self, slot: InactiveSlot, chunk: &VerifiedChunk, running: Running) -> Result<(), PowerCut> {
        assert_ne!(slot.slot(), running.slot, "I1: the running slot is never named");
        let leads_there = |entry: &EntryName| entry.version != running.version;
        assert!(
            !self.disk.entries().as_slice().iter().any(leads_there),
            "I3: no entry leads to what is written"
        );
        let [root, verity, staged] = places(slot);
        let place = match chunk.image() {
            ImageKind::Root => root,
            ImageKind::Verity => verity,
            ImageKind::Uki => staged,
        };
        let offset = usize::try_from(chunk.offset().0).expect("small");
        self.disk.write(place, offset, chunk.bytes())
    }

    fn judge(&self, version: Version) -> Result<Verdict, PowerCut> {
        match self.health[&version] {
            Health::Good => Ok(Verdict::Pass),
            Health::Sick => Ok(Verdict::Fail { reason: "it serves errors".into(), evidence: Vec::new() }),
            Health::Hanging => Err(PowerCut),
        }
    }
}

fn places(slot: InactiveSlot) -> [PlaceName; 3] {
    [PlaceName::Root(slot.slot()), PlaceName::Verity(slot.slot()), PlaceName::Staged]
}

const fn baseline() -> Baseline {
    Baseline { healthy_servers: 3, error_rate: None, latency: None, answered: true }
}

/// The two copies of the record, as `evenkeel-disk` alternates between them.
struct StateCopies {
    sequence: u64,
    next: usize,
}

impl StateCopies {
    fn open(disk: &Disk) -> (Option<Record>, Self) {
        let copies = newest_of([0, 1].map(|copy| disk.read(PlaceName::State(copy))));
        let (sequence, record) =
            copies.newest.map_or((0, None), |(sequence, record)| (sequence, Some(record)));
        (record, Self { sequence, next: copies.next })
    }

    fn save(&mut self, disk: &mut Disk, record: &Record) -> Result<(), PowerCut> {
        let place = PlaceName::State(self.next);
        disk.write(place, 0, &encode(self.sequence + 1, record))?;
        disk.flush(place)?;
        self.sequence += 1;
        self.next = 1 - self.next;
        Ok(())
    }
}
