//! Rollouts over simulated fleets whose devices keep, roll back, refuse, fall silent, come and go.
//!
//! Each step plans, records what the plan says, lets the devices live for a while, and checks what must hold
//! at any time; at the end, that the rollout has ended. A failure prints the case, which proptest can replay.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, time::Duration};

use evenkeel_rollout::{
    Applied, Device, Event, FailureBudget, Fleet, Limits, Machine, Phase, Policy, Rollout, RolloutId, Turn,
    Wave, plan,
};
use evenkeel_units::{DeviceId, PerMille, Version, WallTime};
use proptest::prelude::*;

const BEGAN: WallTime = WallTime::from_unix_seconds(1_795_364_399);
const OLD: Version = Version::new(1, 0, 0);
const NEW: Version = Version::new(1, 1, 0);

/// One step of the simulation: a device that lives speaks once in it.
const STEP: Duration = Duration::from_secs(60);

const LIMITS: Limits = Limits {
    silence: Duration::from_secs(600),
    longest_update: Duration::from_secs(3600),
    absence: Duration::from_secs(7200),
};

/// What a device does once it is started.
#[derive(Debug, Clone, Copy)]
enum Nature {
    /// Keeps the release after so many steps.
    Keeps(u8),
    /// Comes back from it after so many steps.
    RollsBack(u8),
    /// Says nothing any more.
    FallsSilent,
    /// Goes on speaking and never gets done.
    Dawdles,
    /// Ran the release before.
    RunsIt,
    /// Runs something newer.
    RunsNewer,
    /// Had it rolled back before.
    RefusedIt,
}

/// A device of the simulation.
#[derive(Debug, Clone, Copy)]
struct Box {
    nature: Nature,
    /// Steps before it is first heard from; nothing: never.
    appears: Option<u8>,
    /// Whether its reports arrive; if not, the server learns from check-ins alone.
    reports: bool,
}

fn nature() -> impl Strategy<Value = Nature> {
    prop_oneof![
        6 => (1..20_u8).prop_map(Nature::Keeps),
        2 => (1..20_u8).prop_map(Nature::RollsBack),
        1 => Just(Nature::FallsSilent),
        1 => Just(Nature::Dawdles),
        1 => Just(Nature::RunsIt),
        1 => Just(Nature::RunsNewer),
        1 => Just(Nature::RefusedIt),
    ]
}

fn device() -> impl Strategy<Value = Box> {
    let appears = prop_oneof![6 => Just(Some(0)), 2 => (1..90_u8).prop_map(Some), 1 => Just(None)];
    (nature(), appears, any::<bool>()).prop_map(|(nature, appears, reports)| Box { nature, appears, reports })
}

fn wave() -> impl Strategy<Value = Wave> {
    prop_oneof![
        (1..4_u32).prop_map(Wave::Count),
        (1..=1000_u16).prop_map(|share| Wave::Fraction(PerMille::new(share).unwrap())),
        Just(Wave::ALL),
    ]
}

struct World {
    boxes: Vec<(DeviceId, Box)>,
    fleet: Fleet,
    rollout: Rollout,
    now: WallTime,
}

impl World {
    fn new(boxes: &[Box], waves: &[Wave], budget: u32) -> Self {
        let boxes: Vec<_> =
            boxes.iter().zip(0..).map(|(b, n)| (DeviceId::of_public_key(&[n; 32]), *b)).collect();
        let devices = boxes.iter().map(|(id, b)| (*id, first_facts(b))).collect();
        let fleet = Fleet { devices, listening_since: BEGAN };
        let eligible: BTreeSet<_> = boxes.iter().map(|(id, _)| *id).collect();
        let budget = FailureBudget::new(budget).unwrap();
        let policy = Policy { release: NEW, waves: waves.to_vec(), budget, limits: LIMITS };
        let rollout = Rollout::begin(RolloutId(1), policy, &eligible, BEGAN).unwrap();
        Self { boxes, fleet, rollout, now: BEGAN }
    }

    fn step(&self) -> u64 {
        self.now.since(BEGAN).as_secs() / STEP.as_secs()
    }

    /// Records plans until there is nothing left to record, as the server does.
    fn execute(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..self.boxes.len() * 4 + 4 {
            let plan = plan(&self.rollout, &self.fleet, self.now);
            self.check_every_device_has_its_turn(&plan.devices)?;
            let events: Vec<_> = plan.events().cloned().collect();
            if events.is_empty() {
                return Ok(());
            }
            for event in &events {
                prop_assert_eq!(self.rollout.apply(event), Applied::Changed, "{:?}", event);
                prop_assert_eq!(self.rollout.clone().apply(event), Applied::Nothing, "{:?}", event);
                self.check_the_budget()?;
            }
            self.check_the_order_of_waves(&events)?;
        }
        Err(TestCaseError::fail("the plan never comes to rest"))
    }

    /// I6: devices that failed and devices under way are together never more than the budget.
    fn check_the_budget(&self) -> Result<(), TestCaseError> {
        let at_risk = self.rollout.failures() + self.rollout.under_way();
        prop_assert!(at_risk <= self.rollout.policy.budget.count(), "{at_risk} at risk");
        Ok(())
    }

    fn check_every_device_has_its_turn(
        &self,
        turns: &std::collections::BTreeMap<DeviceId, Turn>,
    ) -> Result<(), TestCaseError> {
        prop_assert!(turns.keys().eq(self.rollout.members.keys()));
        for turn in turns.values() {
            let sentence = match turn {
                Turn::Act(event) => format!("{event:?}"),
                Turn::Wait(wait) => wait.to_string(),
                Turn::UnderWay(sentence) | Turn::Over(sentence) => sentence.clone(),
            };
            prop_assert!(!sentence.is_empty());
        }
        Ok(())
    }

    /// A device starts only after each earlier wave with devices has one that keeps the release.
    fn check_the_order_of_waves(&self, events: &[Event]) -> Result<(), TestCaseError> {
        let succeeded = |phase: &Phase| matches!(phase, Phase::Succeeded { .. });
        for event in events {
            let Event::Started { device, .. } = event else { continue };
            for wave in 0..self.rollout.members[device].wave {
                let mut phases =
                    self.rollout.members.values().filter(|m| m.wave == wave).map(|m| &m.phase).peekable();
                prop_assert!(phases.peek().is_none() || phases.any(succeeded), "wave {wave} proved nothing");
            }
        }
        Ok(())
    }

    /// Lets every device live for one step.
    fn live(&mut self) {
        self.now = self.now + STEP;
        let (now, step) = (self.now, self.step());
        for (id, b) in self.boxes.clone() {
            let started = match self.rollout.members.get(&id).map(|member| &member.phase) {
                Some(Phase::Started { at }) => Some(now.since(*at).as_secs() / STEP.as_secs()),
                Some(
                    Phase::Waiting | Phase::Succeeded { .. } | Phase::Failed { .. } | Phase::LeftOut { .. },
                )
                | None => None,
            };
            let silent = matches!(b.nature, Nature::FallsSilent) && started.is_some();
            if silent || b.appears.is_none_or(|appears| step < u64::from(appears)) {
                continue;
            }
            let facts = self.fleet.devices.get_mut(&id).unwrap();
            facts.heard = Some(now);
            facts.known = started.map(|_| self.rollout.id).or(facts.known);
            if let Some(event) = started.and_then(|steps| update(id, &b, facts, steps, now)) {
                self.rollout.apply(&event);
            }
        }
    }
}

fn first_facts(b: &Box) -> Device {
    let running = match b.nature {
        Nature::RunsIt => NEW,
        Nature::RunsNewer => Version::new(2, 0, 0),
        Nature::Keeps(_)
        | Nature::RollsBack(_)
        | Nature::FallsSilent
        | Nature::Dawdles
        | Nature::RefusedIt => OLD,
    };
    Device {
        running: b.appears.map(|_| running),
        machine: Machine::AtRest,
        heard: (b.appears == Some(0)).then_some(BEGAN),
        told: Some(BEGAN),
        known: None,
        refused: if matches!(b.nature, Nature::RefusedIt) { vec![NEW] } else { vec![] },
        elsewhere: None,
    }
}

/// A step of an update on a device; gives the report, if it arrives.
fn update(device: DeviceId, b: &Box, facts: &mut Device, steps: u64, at: WallTime) -> Option<Event> {
    facts.machine = Machine::AtWork;
    let report = match b.nature {
        Nature::Keeps(after) if steps >= u64::from(after) => {
            facts.running = Some(NEW);
            Event::Succeeded { device, at }
        }
        Nature::RollsBack(after) if steps >= u64::from(after) => {
            if facts.refused.is_empty() {
                facts.told = Some(at);
            }
            facts.refused = vec![NEW];
            Event::Failed { device, at, reason: "it answered 500".into() }
        }
        Nature::Keeps(_) | Nature::RollsBack(_) | Nature::FallsSilent | Nature::Dawdles => return None,
        Nature::RunsIt | Nature::RunsNewer | Nature::RefusedIt => unreachable!("never started"),
    };
    facts.machine = Machine::AtRest;
    b.reports.then_some(report)
}

/// Longer than the absence limit and, for each device in turn, the longest update: 120 + 24 × 60 steps.
const STEPS: u64 = 1600;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// I6: the failure budget is never exceeded, at any step of any rollout; and every rollout ends.
    #[test]
    fn i6_no_rollout_exceeds_its_failure_budget_and_every_rollout_ends(
        boxes in prop::collection::vec(device(), 1..24),
        waves in prop::collection::vec(wave(), 1..5),
        budget in 1..5_u32,
        halt_at in prop::option::of(0..200_u64),
    ) {
        let mut world = World::new(&boxes, &waves, budget);
        while world.rollout.is_running() || world.rollout.under_way() > 0 {
            prop_assert!(world.step() < STEPS, "not done after {STEPS} steps: {:?}", world.rollout);
            if Some(world.step()) == halt_at {
                let at = world.now;
                world.rollout.apply(&Event::Halted { at, reason: "by hand".into() });
            }
            world.execute()?;
            world.live();
        }
        if world.rollout.finished.is_some() {
            let open = |phase: &Phase| matches!(phase, Phase::Waiting | Phase::Started { .. });
            prop_assert!(world.rollout.members.values().all(|member| !open(&member.phase)));
        }
    }

    /// The planner is a function: nothing but its arguments decides.
    #[test]
    fn the_same_facts_give_the_same_plan(boxes in prop::collection::vec(device(), 1..24), budget in 1..5_u32) {
        let world = World::new(&boxes, &[Wave::ALL], budget);
        prop_assert_eq!(plan(&world.rollout, &world.fleet, BEGAN), plan(&world.rollout, &world.fleet, BEGAN));
    }
}

/// The sentences that a person reads, in one small fleet.
#[test]
fn every_device_that_waits_says_why() {
    let keeps = Box { nature: Nature::Keeps(3), appears: Some(0), reports: true };
    let absent = Box { appears: None, ..keeps };
    let mut world = World::new(&[keeps, keeps, keeps, keeps, absent], &[Wave::Count(3), Wave::ALL], 2);
    world.execute().unwrap();
    let sentences: BTreeSet<_> = plan(&world.rollout, &world.fleet, world.now)
        .devices
        .into_values()
        .map(|turn| match turn {
            Turn::Wait(wait) => wait.to_string(),
            Turn::Act(event) => format!("{event:?}"),
            Turn::UnderWay(sentence) | Turn::Over(sentence) => sentence,
        })
        .collect();
    let expected = [
        "told to take 1.1.0 at 2026-11-22T16:19:59Z",
        "waits for a device under way to be done: with 2 under way and 0 failed, one more could exceed the failure \
         budget of 2",
        "waits for its first check-in",
        "waits for wave 1: 3 devices of it are not done",
    ];
    assert_eq!(sentences.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn a_rollout_halts_by_itself_when_its_budget_is_used_up() {
    let sick = Box { nature: Nature::RollsBack(1), appears: Some(0), reports: true };
    let mut world = World::new(&[sick, sick, sick], &[Wave::ALL], 1);
    for _ in 0..3 {
        world.execute().unwrap();
        world.live();
    }
    let halt = world.rollout.halt.clone().unwrap();
    assert!(halt.reason.starts_with("the failure budget of 1 is used up: device "), "{}", halt.reason);
    assert!(halt.reason.ends_with(": it answered 500"), "{}", halt.reason);
    assert_eq!((world.rollout.failures(), world.rollout.under_way()), (1, 0));
}

#[test]
fn a_wave_that_proved_nothing_stops_the_rollout_within_its_budget() {
    let sick = Box { nature: Nature::RollsBack(1), appears: Some(0), reports: true };
    let mut world = World::new(&[sick, sick, sick], &[Wave::Count(1), Wave::ALL], 3);
    for _ in 0..3 {
        world.execute().unwrap();
        world.live();
    }
    let halt = world.rollout.halt.clone().unwrap();
    assert!(
        halt.reason.starts_with("wave 1 ended without one device that keeps 1.1.0: device "),
        "{}",
        halt.reason
    );
    assert_eq!(world.rollout.failures(), 1);
}

#[test]
fn a_bricked_device_counts_as_failed_once_it_has_been_silent_too_long() {
    let bricked = Box { nature: Nature::FallsSilent, appears: Some(0), reports: true };
    let mut world = World::new(&[bricked], &[Wave::ALL], 1);
    for _ in 0..12 {
        world.execute().unwrap();
        world.live();
    }
    let halt = world.rollout.halt.clone().unwrap();
    assert!(halt.reason.contains("fell silent: started at 2026-11-22T16:19:59Z"), "{}", halt.reason);
}

/// Silence is a device's fault only while somebody listens.
#[test]
fn a_server_that_was_away_does_not_blame_the_devices() {
    let silent = Box { nature: Nature::FallsSilent, appears: Some(0), reports: true };
    let mut world = World::new(&[silent], &[Wave::ALL], 1);
    world.execute().unwrap();
    world.now = world.now + LIMITS.silence * 2;
    world.fleet.listening_since = world.now;
    world.execute().unwrap();
    assert_eq!(world.rollout.under_way(), 1);
    world.now = world.now + LIMITS.silence + STEP;
    world.execute().unwrap();
    assert_eq!(world.rollout.failures(), 1);
}

/// A check-in may overtake the report that says why.
#[test]
fn a_device_that_came_back_has_time_to_report_why() {
    let sick = Box { nature: Nature::RollsBack(1), appears: Some(0), reports: false };
    let mut world = World::new(&[sick], &[Wave::ALL], 1);
    world.execute().unwrap();
    world.live();
    world.execute().unwrap();
    assert_eq!((world.rollout.failures(), world.rollout.under_way()), (0, 1));
    world.live();
    world.execute().unwrap();
    let halt = world.rollout.halt.clone().unwrap();
    assert!(halt.reason.ends_with("came back from 1.1.0 and does not try it again"), "{}", halt.reason);
}
