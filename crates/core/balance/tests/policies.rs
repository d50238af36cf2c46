//! What each policy promises by itself: shares by weight, keys that stay where they were, servers that stand by.

use std::{collections::BTreeMap, num::NonZeroUsize, time::Duration};

use evenkeel_balance::{
    Key, KeyHash, Layout, Maglev, Outcome, Pick, Pool, ServerIndex, Tried, Verdict, Worker,
};
use evenkeel_config::{Weight, balancer::Config};
use evenkeel_units::Instant;

fn at(millis: u64) -> Instant {
    Instant::START + Duration::from_millis(millis)
}

/// A pool with a server for each line of further keys.
fn pool(settings: &str, servers: &[&str]) -> Pool {
    let list: String = servers
        .iter()
        .enumerate()
        .map(|(n, keys)| {
            format!(
                "[[pool.server]]\nname=\"s{n}\"\naddress=\"10.0.{}.{}:80\"\n{keys}\n",
                n / 250,
                n % 250 + 1
            )
        })
        .collect();
    let text = format!(
        "[[listener]]\nname=\"web\"\nbind=\"127.0.0.1:0\"\nmode=\"http\"\npool=\"app\"\n\
         [[pool]]\nname=\"app\"\nslow_start=\"0ms\"\n{settings}\n{list}"
    );
    let config = Config::parse("balancer.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let worker = Worker { count: NonZeroUsize::MIN, random: 7 };
    Pool::new(&Layout::new(&config.pools()[0]), worker, Instant::START)
}

fn index(pool: &Pool, position: usize) -> ServerIndex {
    pool.indexes().nth(position).expect("the pool has this server")
}

fn picked(pool: &mut Pool, key: Key) -> usize {
    match pool.pick(at(0), &Tried::NONE, key) {
        Pick::Server(server) => server.position(),
        other => panic!("expected a server, got {other:?}"),
    }
}

fn key(number: usize) -> Key {
    Key::NONE.hashed(KeyHash::of(format!("203.0.113.{number}").as_bytes()))
}

const HASHING: &str = "policy=\"consistent-hash\"";

#[test]
fn every_policy_gives_a_server_its_weights_part_of_many_requests() {
    for policy in ["round-robin", "least-loaded", "power-of-two", "consistent-hash"] {
        let mut pool = pool(&format!("policy=\"{policy}\""), &["weight=1", "weight=2", "weight=5"]);
        let mut counts = [0u32; 3];
        for number in 0..80_000 {
            let position = picked(&mut pool, key(number));
            counts[position] += 1;
            let server = index(&pool, position);
            pool.start(server, &Tried::NONE);
            pool.finish(at(0), server, Outcome::Served);
        }
        for (count, expected) in counts.into_iter().zip([10_000, 20_000, 50_000]) {
            assert!(count.abs_diff(expected) * 33 < expected, "{policy}: {counts:?}");
        }
    }
}

#[test]
fn peak_ewma_prefers_who_answers_soon_and_asks_again_who_was_slow_once() {
    let mut pool = pool("policy=\"peak-ewma\"", &["", ""]);
    let (slow, fast) = (index(&pool, 0), index(&pool, 1));
    pool.answered(at(0), slow, Duration::from_secs(2));
    pool.answered(at(0), fast, Duration::from_millis(20));
    for _ in 0..50 {
        assert_eq!(picked(&mut pool, Key::NONE), 1);
        pool.start(fast, &Tried::NONE);
    }
    pool.answered(at(60_000), fast, Duration::from_millis(20));
    assert!(matches!(pool.pick(at(60_000), &Tried::NONE, Key::NONE), Pick::Server(server) if server == slow));
}

#[test]
fn a_key_always_leads_to_the_same_server_and_keys_spread_evenly() {
    let mut pool = pool(HASHING, &[""; 5]);
    let homes: Vec<usize> = (0..10_000).map(|n| picked(&mut pool, key(n))).collect();
    assert_eq!(homes, (0..10_000).map(|n| picked(&mut pool, key(n))).collect::<Vec<_>>());
    for position in 0..5 {
        let count = homes.iter().filter(|&&home| home == position).count();
        assert!((1_840..2_160).contains(&count), "{count} of 10,000 at {position}");
    }
}

#[test]
fn when_a_server_falls_out_only_its_own_keys_move_and_they_come_back_with_it() {
    let mut pool = pool(HASHING, &[""; 5]);
    let before: Vec<usize> = (0..5_000).map(|n| picked(&mut pool, key(n))).collect();
    let gone = index(&pool, 2);
    pool.check(at(0), gone, Verdict::Down);
    let mut moved = BTreeMap::new();
    for (number, &home) in before.iter().enumerate() {
        let now = picked(&mut pool, key(number));
        if home == 2 {
            *moved.entry(now).or_insert(0) += 1;
        } else {
            assert_eq!(now, home, "key {number} moved for nothing");
        }
    }
    assert!(
        moved.len() == 4 && moved.values().all(|&count| count > 180),
        "spread over the others: {moved:?}"
    );
    pool.check(at(0), gone, Verdict::Up);
    assert_eq!(before, (0..5_000).map(|n| picked(&mut pool, key(n))).collect::<Vec<_>>());
}

#[test]
fn a_server_that_comes_back_slowly_gets_its_keys_back_one_by_one_and_each_once() {
    let mut pool = pool(HASHING, &["weight=100"; 4]);
    let home: Vec<usize> = (0..4_000).map(|n| picked(&mut pool, key(n))).collect();
    let returning = index(&pool, 1);
    let mut back = vec![false; home.len()];
    for weight in [10, 30, 60, 100] {
        pool.set_weight(at(0), returning, Weight::new(weight).unwrap());
        let mut count = 0;
        for (number, &home) in home.iter().enumerate().filter(|(_, home)| **home == 1) {
            let is_back = picked(&mut pool, key(number)) == home;
            assert!(is_back || !back[number], "key {number} left again");
            back[number] = is_back;
            count += usize::from(is_back);
        }
        let expected = home.iter().filter(|&&home| home == 1).count() * weight as usize / 100;
        assert!(count.abs_diff(expected) < 60, "{count} not {expected} at weight {weight}");
    }
}

#[test]
fn a_hot_key_cannot_overload_its_server() {
    let limits = "[pool.limits]\nconnections_per_server=1000\n";
    let mut pool = pool(HASHING, &["", "", "", &format!("\n{limits}")]);
    let mut active = [0u32; 4];
    for request in 0..1_000 {
        // Nine of ten requests have the same key.
        let position = picked(&mut pool, key(if request % 10 == 0 { request } else { 0 }));
        active[position] += 1;
        let server = index(&pool, position);
        pool.start(server, &Tried::NONE);
        let bound = (f64::from(request as u32 + 1) / 4.0 * 1.25).ceil() as u32;
        assert!(active[position] <= bound.max(63) + 1, "{active:?} after {request}");
    }
    assert_eq!(active.iter().sum::<u32>(), 1_000, "nobody waits while there is room");
}

#[test]
fn without_a_key_a_pool_that_hashes_takes_the_least_loaded() {
    let mut pool = pool(HASHING, &[""; 3]);
    let mut counts = [0; 3];
    for _ in 0..30 {
        let position = picked(&mut pool, Key::NONE);
        counts[position] += 1;
        let server = index(&pool, position);
        pool.start(server, &Tried::NONE);
    }
    assert_eq!(counts, [10; 3]);
}

#[test]
fn the_server_that_a_request_names_is_taken_while_it_can_be() {
    let mut pool = pool("policy=\"round-robin\"\n", &["", "", "\n[pool.limits]\nconnections_per_server=2\n"]);
    let wanted = index(&pool, 1);
    for _ in 0..2 {
        assert_eq!(picked(&mut pool, Key::NONE.wanting(wanted)), 1);
        pool.start(wanted, &Tried::NONE);
    }
    assert_ne!(picked(&mut pool, Key::NONE.wanting(wanted)), 1, "it is full");
    pool.finish(at(0), wanted, Outcome::Served);
    let mut tried = Tried::NONE;
    tried.add(wanted);
    assert!(matches!(pool.pick(at(0), &tried, Key::NONE.wanting(wanted)), Pick::Server(s) if s != wanted));
    pool.check(at(0), wanted, Verdict::Down);
    assert_ne!(picked(&mut pool, Key::NONE.wanting(wanted)), 1, "it is down");
}

#[test]
fn a_server_that_drains_keeps_those_who_belong_to_it_and_takes_nobody_else() {
    let sticky =
        |draining: &str| format!("limits={{connections_per_server=4}}\nsticky={{cookie=\"s\"{draining}}}");
    for (draining, stays) in [("", true), (",draining=\"keep\"", true), (",draining=\"move\"", false)] {
        let mut pool = pool(&sticky(draining), &["", ""]);
        let wanted = index(&pool, 1);
        pool.drain(at(0), wanted);
        assert_eq!(picked(&mut pool, Key::NONE.wanting(wanted)) == 1, stays, "{draining}");
        assert!((0..10).all(|n| picked(&mut pool, key(n)) == 0));
    }
    let mut kept = pool(&sticky(""), &["", ""]);
    let wanted = index(&kept, 1);
    kept.drain(at(0), wanted);
    (0..4).for_each(|_| kept.start(wanted, &Tried::NONE));
    assert_eq!(picked(&mut kept, Key::NONE.wanting(wanted)), 0, "it is full");
    kept.finish(at(0), wanted, Outcome::Served);
    let mut tried = Tried::NONE;
    tried.add(wanted);
    assert!(matches!(kept.pick(at(0), &tried, Key::NONE.wanting(wanted)), Pick::Server(s) if s != wanted));
    kept.check(at(0), wanted, Verdict::Down);
    assert_eq!(picked(&mut kept, Key::NONE.wanting(wanted)), 0, "it is down as well");
}

/// Which servers get requests.
fn taken(pool: &mut Pool) -> Vec<usize> {
    let mut seen: Vec<usize> = (0..200)
        .map(|_| {
            let position = picked(pool, Key::NONE);
            let server = index(pool, position);
            pool.start(server, &Tried::NONE);
            pool.finish(at(0), server, Outcome::ClientGone);
            position
        })
        .collect();
    seen.sort_unstable();
    seen.dedup();
    seen
}

fn check(pool: &mut Pool, position: usize, verdict: Verdict) {
    let server = index(pool, position);
    pool.check(at(0), server, verdict);
}

#[test]
fn backups_join_when_less_than_half_is_left_and_leave_when_most_is_back() {
    for policy in ["round-robin", "least-loaded", "peak-ewma", "power-of-two", "consistent-hash"] {
        let mut pool = pool(&format!("policy=\"{policy}\""), &["", "", "", "", "backup=true"]);
        assert_eq!(taken(&mut pool), [0, 1, 2, 3], "{policy}");
        check(&mut pool, 0, Verdict::Down);
        check(&mut pool, 1, Verdict::Down);
        assert_eq!(taken(&mut pool), [2, 3], "half is left");
        check(&mut pool, 2, Verdict::Down);
        assert_eq!(taken(&mut pool), [3, 4], "a quarter is left");
        check(&mut pool, 2, Verdict::Up);
        assert_eq!(taken(&mut pool), [2, 3, 4], "half is back, which is not yet enough");
        check(&mut pool, 1, Verdict::Up);
        assert_eq!(taken(&mut pool), [1, 2, 3], "three quarters are back");
    }
}

#[test]
fn priorities_are_taken_in_order_and_the_own_zone_before_others() {
    let servers = ["zone=\"a\"", "zone=\"b\"", "zone=\"a\"\npriority=3", "zone=\"b\"\npriority=3"];
    let mut pool = pool("policy=\"round-robin\"\nzone=\"a\"", &servers);
    assert_eq!(taken(&mut pool), [0]);
    check(&mut pool, 0, Verdict::Down);
    assert_eq!((taken(&mut pool), pool.rank_taken()), (vec![1], 1));
    check(&mut pool, 1, Verdict::Down);
    assert_eq!((taken(&mut pool), pool.rank_taken()), (vec![2], 2));
    check(&mut pool, 0, Verdict::Up);
    assert_eq!((taken(&mut pool), pool.rank_taken()), (vec![0], 0));
}

#[test]
fn with_no_usable_server_at_all_backups_fail_open_with_the_rest() {
    let mut pool = pool("policy=\"round-robin\"", &["", "backup=true"]);
    check(&mut pool, 0, Verdict::Down);
    check(&mut pool, 1, Verdict::Down);
    assert_eq!(taken(&mut pool), [0, 1]);
}

#[test]
fn a_maglev_table_is_as_even_as_the_papers_and_moves_little_when_servers_leave() {
    let names: Vec<String> = (0..1000).map(|n| format!("server-{n}")).collect();
    let servers = |skip: usize| names.iter().skip(skip).map(|name| (name.as_str(), 1));
    for (size, most) in [(65_537, 1.0072), (655_373, 1.0011)] {
        let table = Maglev::with_size(size, servers(0));
        let slots = table.slots(1000);
        let (most_slots, least) = (slots.iter().max().unwrap(), slots.iter().min().unwrap());
        let average = size as f64 / 1000.0;
        let (above, below) = (f64::from(*most_slots) / average, f64::from(*least) / average);
        println!("M = {size}: max/avg {above:.4}, min/avg {below:.4}");
        assert!(above < most, "{above}, the paper has 1.0071 and 1.0010");
    }
    let hashes: Vec<KeyHash> = (0..200_000u32).map(|n| KeyHash::of(&n.to_le_bytes())).collect();
    for (size, gone, most) in [(65_537, 1, 0.01), (65_537, 10, 0.04), (655_373, 1, 0.01), (655_373, 10, 0.04)]
    {
        let (before, after) = (Maglev::with_size(size, servers(0)), Maglev::with_size(size, servers(gone)));
        let needless = hashes.iter().filter(|&&hash| {
            let home = before.lookup(hash).unwrap();
            home >= gone && after.lookup(hash).unwrap() + gone != home
        });
        let part = needless.count() as f64 / hashes.len() as f64;
        println!("M = {size}: {gone} of 1,000 left, {:.2} % moved for nothing", part * 100.0);
        assert!(part < most, "{part}");
    }
}

#[test]
fn a_maglev_table_follows_weights_and_not_the_order_of_the_servers() {
    let weights = [("a", 1), ("b", 3), ("c", 256), ("d", 40)];
    let table = Maglev::new(weights.into_iter());
    let slots = table.slots(4);
    for (position, (_, weight)) in weights.into_iter().enumerate() {
        let expected = f64::from(weight) / 300.0 * 1021.0;
        assert!((f64::from(slots[position]) - expected).abs() <= 1.5, "{slots:?}");
    }
    let equal = |names: [&'static str; 3]| Maglev::new(names.into_iter().map(|name| (name, 1)));
    let (one, other) = (equal(["a", "b", "c"]), equal(["c", "b", "a"]));
    for number in 0..3000u32 {
        let hash = KeyHash::of(&number.to_le_bytes());
        assert_eq!(one.lookup(hash).unwrap(), 2 - other.lookup(hash).unwrap());
    }
}
