//! Thousands of updates with power that fails at any write, releases that are sick, and a network that drops out.
//!
//! The simulated world checks, after every start: I1 the running slot is never written; I3 the old or the new
//! release starts, complete; I4 a sick release is never the default. Here: every update comes to its end, and
//! to the right one. `EVENKEEL_SIM_SEED` replays one box, `EVENKEEL_SIM_BOXES` asks for more of them.

use std::{collections::BTreeMap, env, panic};

use evenkeel_sim::{
    random::Random,
    world::{Catalogue, Health, Outcome, World},
};
use evenkeel_units::Version;

/// Boxes in an ordinary run, three updates each.
const BOXES: u64 = 1_000;

/// Updates of one box, one after the other.
const UPDATES: u16 = 3;

fn number(name: &str) -> Option<u64> {
    env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: expected a number")))
}

/// The life of one box; what became of each release.
fn live(catalogue: &Catalogue, seed: u64) -> Vec<(Health, Outcome, u32)> {
    let mut random = Random::of(seed.wrapping_add(1));
    let mut world = World::new(catalogue, seed);
    (1..=UPDATES)
        .map(|number| {
            let health = match random.below(4) {
                0 => Health::Sick,
                1 => Health::Hanging,
                _ => Health::Good,
            };
            let outcome = world.update(number.into(), Version::new(1, number, 0), health);
            (health, outcome, world.cuts())
        })
        .collect()
}

#[test]
fn i1_i3_i4_a_box_survives_power_cuts_at_any_write_and_bad_releases() {
    let catalogue = Catalogue::of(UPDATES + 1);
    let replay = number("EVENKEEL_SIM_SEED");
    let boxes = number("EVENKEEL_SIM_BOXES").unwrap_or(BOXES);
    let seeds = replay.map_or(0..boxes, |seed| seed..seed + 1);
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut cuts = 0;
    for seed in seeds {
        let life = panic::catch_unwind(|| live(&catalogue, seed)).unwrap_or_else(|_| {
            panic!("seed {seed}; EVENKEEL_SIM_SEED={seed} cargo test -p evenkeel-sim --test power_cuts replays it")
        });
        for (health, outcome, cut) in life {
            *counts.entry(format!("{health:?} {outcome:?}")).or_default() += 1;
            cuts += cut;
        }
    }
    println!("{counts:?}, {cuts} power cuts");
    if replay.is_none() && boxes >= BOXES {
        // The simulation is worth something only if all of this happens in it.
        for what in ["Good Kept", "Good RolledBack", "Sick RolledBack", "Hanging RolledBack"] {
            assert!(counts.get(what).is_some_and(|count| *count > 0), "{what} never happened: {counts:?}");
        }
        assert!(u64::from(cuts) > boxes, "{cuts} power cuts");
    }
}

/// A cut costs at most what was obtained since the last checkpoint: 16 chunks.
#[test]
fn progress_survives_power_cuts() {
    let catalogue = Catalogue::of(2);
    let chunks = {
        let mut world = World::new(&catalogue, 0);
        world.update(1, Version::new(1, 1, 0), Health::Good);
        assert!(world.obtained > 0);
        (0..50)
            .map(|seed| {
                let mut world = World::new(&catalogue, seed);
                world.update(1, Version::new(1, 1, 0), Health::Good);
                (world.obtained, world.cuts())
            })
            .collect::<Vec<_>>()
    };
    let whole = chunks.iter().filter(|(_, cuts)| *cuts == 0).map(|(obtained, _)| *obtained).min();
    let whole = whole.expect("some box has no cut");
    for (obtained, cuts) in chunks {
        // Each failed transfer, 20 ‰ of the chunks, costs up to a checkpoint as well; five of them are generous.
        assert!(obtained <= whole + 16 * (cuts + 5), "{obtained} chunks of {whole} with {cuts} cuts");
    }
}
