//! The policies against each other, at length, in the form of the tables in `docs/policies.md`.
//!
//! Owns: three experiments. One of eleven servers takes 2 s longer for 15 s, and success is an answer within 1 s
//! (the experiment of Finagle's and Linkerd's authors); how even Maglev's tables are, and how many keys move; what a
//! pick costs. Leaves to others: the model (`tests/model`). The argument is the number of seeds, 5 without one.
#![allow(dead_code, reason = "the tests use the rest of the model")]

#[path = "../tests/model/mod.rs"]
mod model;

use std::time::{Duration, Instant};

use evenkeel_balance::{Key, KeyHash, Layout, Maglev, Outcome, Pick, Pool, Tried, Worker};
use evenkeel_config::balancer::Config;

fn main() {
    let seeds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(5);
    one_slow_server(seeds);
    maglev();
    cost_of_a_pick();
}

fn one_slow_server(seeds: u64) {
    const PLAIN: &str = "[pool.limits]\nlearned = false\n";
    let hedged = |after: &str| format!("[pool.hedge]\nafter = \"{after}\"\n");
    let rows = [
        ("round-robin", "round-robin", PLAIN.to_owned()),
        ("power-of-two", "power-of-two", PLAIN.to_owned()),
        ("peak-ewma", "peak-ewma", PLAIN.to_owned()),
        ("least-loaded", "least-loaded", PLAIN.to_owned()),
        ("least-loaded, learned limit (the default)", "least-loaded", String::new()),
        ("least-loaded, hedged at p99", "least-loaded", hedged("p99") + PLAIN),
        ("least-loaded, learned limit, hedged at p95", "least-loaded", hedged("p95")),
        ("least-loaded, learned limit, hedged at p99", "least-loaded", hedged("p99")),
        ("peak-ewma, learned limit, hedged at p99", "peak-ewma", hedged("p99")),
    ];
    println!("| policy | load | within 1 s, % | p50, ms | p99, ms | p99.9, ms | hedged, ‰ |");
    println!("|---|---|---|---|---|---|---|");
    for (name, policy, tables) in rows {
        for load in [0.6, 0.9] {
            let (mut all, mut good, mut hedges, mut times) = (0, 0, 0, Vec::new());
            for seed in 1..=seeds {
                let simulation =
                    model::one_slow_server(&format!("policy = \"{policy}\"\n{tables}"), load, seed);
                let (arrived, well) = simulation.good(0, 40);
                (all, good, hedges) = (all + arrived, good + well, hedges + simulation.hedges);
                times.extend(simulation.times());
            }
            times.sort_unstable();
            println!(
                "| {name} | {load} | {:.4} | {:.1} | {:.1} | {:.1} | {:.1} |",
                100.0 * good as f64 / all as f64,
                millis(&times, 0.5),
                millis(&times, 0.99),
                millis(&times, 0.999),
                1000.0 * hedges as f64 / all as f64
            );
        }
    }
}

fn millis(sorted: &[Duration], quantile: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * quantile) as usize].as_secs_f64() * 1000.0
}

fn maglev() {
    let names: Vec<String> = (0..1000).map(|n| format!("server-{n}")).collect();
    let without = |gone: usize| names.iter().skip(gone).map(|name| (name.as_str(), 1));
    let hashes: Vec<KeyHash> = (0..1_000_000u32).map(|n| KeyHash::of(&n.to_le_bytes())).collect();
    println!(
        "\n| table for 1,000 servers | max/avg | min/avg | moved for nothing: 1 left, % | 2 left, % | made in, ms |"
    );
    println!("|---|---|---|---|---|---|");
    for size in [65_537, 131_071, 655_373] {
        let began = Instant::now();
        let table = Maglev::with_size(size, without(0));
        let took = began.elapsed().as_secs_f64() * 1000.0;
        let slots = table.slots(names.len());
        let average = size as f64 / names.len() as f64;
        let part = |slots: Option<&u32>| f64::from(*slots.expect("servers")) / average;
        let moved = |gone: usize| {
            let after = Maglev::with_size(size, without(gone));
            let needless = |hash: &&KeyHash| {
                table.lookup(**hash).is_some_and(|home| {
                    home >= gone && after.lookup(**hash).is_none_or(|now| now + gone != home)
                })
            };
            hashes.iter().filter(needless).count() as f64 / hashes.len() as f64 * 100.0
        };
        println!(
            "| M = {size} | {:.4} | {:.4} | {:.2} | {:.2} | {took:.1} |",
            part(slots.iter().max()),
            part(slots.iter().min()),
            moved(1),
            moved(2)
        );
    }
}

fn cost_of_a_pick() {
    println!("\n| pick, start, answer and finish, ns | 10 servers | 100 | 1,024 |\n|---|---|---|---|");
    for policy in ["round-robin", "least-loaded", "power-of-two", "peak-ewma", "consistent-hash"] {
        let costs = [10, 100, 1024].map(|servers| format!("{:.0}", cost(policy, servers)));
        println!("| {policy} | {} |", costs.join(" | "));
    }
}

/// Nanoseconds of one request's part in the pool, with some 20 in flight at each server.
fn cost(policy: &str, servers: usize) -> f64 {
    const ROUNDS: u32 = 1_000_000;
    let list: String = (0..servers)
        .map(|n| format!("[[pool.server]]\nname=\"s{n}\"\naddress=\"10.0.{}.{}:80\"\n", n / 250, n % 250 + 1))
        .collect();
    let text = format!(
        "[[listener]]\nname=\"l\"\nbind=\"127.0.0.1:0\"\nmode=\"http\"\npool=\"p\"\n\
         [[pool]]\nname=\"p\"\npolicy=\"{policy}\"\n{list}"
    );
    let config = Config::parse("p", &text).expect("a valid configuration");
    let worker = Worker { count: std::num::NonZeroUsize::MIN, random: 1 };
    let start = evenkeel_units::Instant::START;
    let mut pool = Pool::new(&Layout::new(&config.pools()[0]), worker, start);
    let mut flying: std::collections::VecDeque<_> = std::collections::VecDeque::new();
    let began = Instant::now();
    for round in 0..ROUNDS {
        let now = start + Duration::from_micros(u64::from(round));
        let key = Key::NONE.hashed(KeyHash::of(&round.to_le_bytes()));
        if let Pick::Server(server) = pool.pick(now, &Tried::NONE, key) {
            pool.start(server, &Tried::NONE);
            flying.push_back(server);
        }
        if flying.len() > 20 * servers
            && let Some(server) = flying.pop_front()
        {
            pool.answered(now, server, Duration::from_millis(20));
            pool.finish(now, server, Outcome::Served);
        }
    }
    began.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
}
