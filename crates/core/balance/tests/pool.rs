//! A pool's promises, each for any sequence of events: limits, bounds, fairness, and a way out of every state.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use evenkeel_balance::{
    Change, Failure, Key, KeyHash, Layout, LocalCause, Opening, Outcome, Pick, Pool, Retry, ServerIndex,
    Standing, Tried, Verdict, Worker,
};
use evenkeel_config::{Weight, balancer::Config};
use evenkeel_units::Instant;
use proptest::prelude::*;

/// A pool with a server for each weight, and further lines of its configuration.
fn pool(policy: &str, weights: &[u16], settings: &str) -> Pool {
    Pool::new(&layout(&config(policy, weights, settings)), ONE_WORKER, Instant::START)
}

fn layout(config: &Config) -> Arc<Layout> {
    Layout::new(&config.pools()[0])
}

const ONE_WORKER: Worker = Worker { count: NonZeroUsize::MIN, random: 0 };

fn config(policy: &str, weights: &[u16], settings: &str) -> Config {
    let server = |(index, weight): (usize, &u16)| {
        format!("[[pool.server]]\nname=\"s{index}\"\naddress=\"10.0.0.{}:80\"\nweight={weight}\n", index + 1)
    };
    let servers: String = weights.iter().enumerate().map(server).collect();
    let text = format!(
        "[[listener]]\nname=\"web\"\nbind=\"127.0.0.1:0\"\nmode=\"http\"\npool=\"app\"\n\
         [[pool]]\nname=\"app\"\npolicy=\"{policy}\"\nslow_start=\"0ms\"\n{servers}{settings}"
    );
    Config::parse("balancer.toml", &text).expect("a valid configuration")
}

fn at(millis: u64) -> Instant {
    Instant::START + Duration::from_millis(millis)
}

fn picked(pick: Pick) -> usize {
    match pick {
        Pick::Server(server) => server.position(),
        other => panic!("expected a server, got {other:?}"),
    }
}

/// Who serves the next request, which ends at once.
fn turn(pool: &mut Pool, now: Instant) -> usize {
    let Pick::Server(server) = pool.pick(now, &Tried::NONE, Key::NONE) else { panic!("somebody has room") };
    pool.start(server, &Tried::NONE);
    pool.finish(now, server, Outcome::ClientGone);
    server.position()
}

fn index(pool: &Pool, position: usize) -> ServerIndex {
    pool.indexes().nth(position).expect("the pool has this server")
}

fn standings(pool: &Pool, now: Instant) -> Vec<Standing> {
    pool.servers(now).map(|(_, status)| status.standing).collect()
}

fn fail(pool: &mut Pool, now: Instant, position: usize, times: usize) {
    let server = index(pool, position);
    for _ in 0..times {
        pool.start(server, &Tried::NONE);
        pool.finish(now, server, Outcome::Failed(Failure::Refused));
    }
}

#[test]
fn round_robin_by_weight_is_smooth() {
    let mut pool = pool("round-robin", &[5, 1, 1], "");
    let turns: Vec<usize> = (0..7).map(|_| turn(&mut pool, at(0))).collect();
    assert_eq!(turns, [0, 0, 0, 1, 0, 0, 2]);
}

#[test]
fn who_looks_twice_takes_one_turn() {
    for policy in ["round-robin", "least-loaded"] {
        let mut pool = pool(policy, &[1, 1], "");
        let mut counts = [0, 0];
        for _ in 0..10 {
            let looked = picked(pool.pick(at(0), &Tried::NONE, Key::NONE));
            assert_eq!(turn(&mut pool, at(0)), looked);
            counts[looked] += 1;
        }
        assert_eq!(counts, [5, 5], "{policy}");
    }
}

#[test]
fn a_place_is_free_only_where_a_request_may_go() {
    let mut pool = pool("least-loaded", &[1, 1], "[pool.limits]\nconnections_per_server=1\n");
    let (first, second) = (index(&pool, 0), index(&pool, 1));
    pool.start(first, &Tried::NONE);
    assert!(pool.has_room());
    pool.check(at(0), second, Verdict::Down);
    assert!(!pool.has_room());
    assert_eq!(pool.pick(at(0), &Tried::NONE, Key::NONE), Pick::Full);
    pool.finish(at(0), first, Outcome::Served);
    assert!(pool.has_room());
}

#[test]
fn the_least_loaded_for_its_weight_is_next_and_ties_go_by_turns() {
    let mut pool = pool("least-loaded", &[1, 3], "");
    let mut counts = [0, 0];
    for _ in 0..40 {
        let Pick::Server(server) = pool.pick(at(0), &Tried::NONE, Key::NONE) else {
            panic!("nobody is full")
        };
        pool.start(server, &Tried::NONE);
        counts[server.position()] += 1;
    }
    assert_eq!(counts, [10, 30]);
    let idle = index(&pool, 0);
    pool.finish(at(0), idle, Outcome::Served);
    assert_eq!(picked(pool.pick(at(0), &Tried::NONE, Key::NONE)), 0);
}

#[test]
fn workers_do_not_all_begin_with_the_same_server() {
    let settings = layout(&config("round-robin", &[1, 1, 1], ""));
    let first = |random| {
        let worker = Worker { random, ..ONE_WORKER };
        picked(Pool::new(&settings, worker, at(0)).pick(at(0), &Tried::NONE, Key::NONE))
    };
    assert_eq!([first(0), first(1), first(2), first(3)], [0, 1, 2, 0]);
}

#[test]
fn failures_in_a_row_leave_a_server_out_twice_as_long_each_time_until_it_proves_itself() {
    let mut pool = pool("round-robin", &[1, 1], "[pool.ejection]\nbase_time=\"10s\"\nmax_time=\"25s\"\n");
    fail(&mut pool, at(0), 0, 4);
    assert_eq!(pool.poll_change(), None);
    fail(&mut pool, at(0), 0, 1);
    let server = index(&pool, 0);
    assert_eq!(pool.poll_change(), Some(Change::Ejected { server, until: at(10_000) }));
    assert_eq!(picked(pool.pick(at(9_999), &Tried::NONE, Key::NONE)), 1);

    pool.advance(at(10_000));
    assert_eq!(pool.poll_change(), Some(Change::Returned { server }));
    fail(&mut pool, at(11_000), 0, 1);
    assert_eq!(pool.poll_change(), Some(Change::Ejected { server, until: at(31_000) }));
    pool.advance(at(31_000));
    assert_eq!(pool.poll_change(), Some(Change::Returned { server }));
    fail(&mut pool, at(31_000), 0, 1);
    assert_eq!(pool.poll_change(), Some(Change::Ejected { server, until: at(56_000) }), "held at max_time");

    pool.advance(at(56_000));
    assert_eq!(pool.poll_change(), Some(Change::Returned { server }));
    pool.judge(at(56_000 + 25_000), server, Outcome::Served);
    fail(&mut pool, at(82_000), 0, 4);
    assert_eq!(pool.poll_change(), None, "trusted again, it needs five failures again");
}

#[test]
fn one_success_after_a_return_is_not_yet_trust() {
    let mut pool = pool("round-robin", &[1, 1], "[pool.ejection]\nbase_time=\"10s\"\n");
    let server = index(&pool, 0);
    fail(&mut pool, at(0), 0, 5);
    pool.advance(at(10_000));
    pool.judge(at(19_999), server, Outcome::Served);
    fail(&mut pool, at(19_999), 0, 1);
    assert_eq!(standings(&pool, at(19_999))[0], Standing::Ejected);
}

#[test]
fn checks_that_pass_again_clear_what_failures_left() {
    let mut pool = pool("round-robin", &[1, 1], "");
    let server = index(&pool, 0);
    fail(&mut pool, at(0), 0, 5);
    pool.check(at(1), server, Verdict::Down);
    pool.check(at(2), server, Verdict::Up);
    assert_eq!(standings(&pool, at(2))[0], Standing::Usable);
    fail(&mut pool, at(2), 0, 4);
    assert_eq!(standings(&pool, at(2))[0], Standing::Usable);
}

#[test]
fn a_success_between_failures_starts_the_count_again() {
    let mut pool = pool("round-robin", &[1, 1], "");
    for _ in 0..100 {
        fail(&mut pool, at(0), 0, 4);
        let server = index(&pool, 0);
        pool.judge(at(0), server, Outcome::Served);
    }
    assert_eq!(standings(&pool, at(0)), [Standing::Usable; 2]);
}

#[test]
fn no_local_cause_and_no_client_ever_changes_a_servers_health() {
    let mut pool = pool("round-robin", &[1, 1], "");
    let server = index(&pool, 0);
    let outcomes = LocalCause::ALL.map(Outcome::Local).into_iter().chain([Outcome::ClientGone]);
    for outcome in outcomes.cycle().take(1000) {
        pool.start(server, &Tried::NONE);
        pool.finish(at(0), server, outcome);
    }
    assert_eq!(standings(&pool, at(0)), [Standing::Usable; 2]);
    assert_eq!(pool.poll_change(), None);
}

#[test]
fn without_a_usable_server_those_that_pass_checks_are_tried_before_those_that_do_not() {
    let mut pool = pool("round-robin", &[1, 1], "");
    let (first, second) = (index(&pool, 0), index(&pool, 1));
    fail(&mut pool, at(0), 0, 5);
    pool.check(at(0), second, Verdict::Down);
    assert_eq!(pool.opening(), Opening::CheckedUp);
    assert_eq!((0..4).map(|_| turn(&mut pool, at(0))).collect::<Vec<_>>(), [0; 4]);
    pool.check(at(0), first, Verdict::Down);
    assert_eq!(pool.opening(), Opening::All);
    let both: Vec<usize> = (0..4).map(|_| turn(&mut pool, at(0))).collect();
    assert_eq!(both.iter().filter(|&&position| position == 0).count(), 2, "{both:?}");
    pool.check(at(0), second, Verdict::Up);
    assert_eq!(pool.opening(), Opening::Usable);
    assert_eq!(picked(pool.pick(at(0), &Tried::NONE, Key::NONE)), 1);
}

#[test]
fn a_server_that_drains_gets_nothing_even_when_nobody_else_is_left() {
    let mut pool = pool("least-loaded", &[1, 1], "");
    let (first, second) = (index(&pool, 0), index(&pool, 1));
    pool.drain(at(0), first);
    assert_eq!(picked(pool.pick(at(0), &Tried::NONE, Key::NONE)), 1);
    pool.drain(at(0), second);
    assert_eq!(pool.pick(at(0), &Tried::NONE, Key::NONE), Pick::Nobody);
    pool.resume(at(0), first);
    assert_eq!(picked(pool.pick(at(0), &Tried::NONE, Key::NONE)), 0);
}

#[test]
fn a_server_that_comes_back_begins_with_a_tenth_of_its_share() {
    let mut pool = ramping();
    let server = index(&pool, 0);
    pool.check(at(0), server, Verdict::Down);
    pool.check(at(0), server, Verdict::Up);
    for (millis, of_thousand) in [(0, 90..=92), (5_000, 332..=335), (10_000, 499..=501)] {
        let first = (0..1000).filter(|_| turn(&mut pool, at(millis)) == 0).count();
        assert!(of_thousand.contains(&first), "{first} of 1000 after {millis} ms");
    }
}

#[test]
fn whoever_comes_back_or_is_new_begins_slowly() {
    let share =
        |pool: &Pool, now| pool.servers(now).map(|(_, status)| status.share.into()).collect::<Vec<u16>>();
    let mut ejected = ramping();
    fail(&mut ejected, at(0), 0, 5);
    ejected.advance(at(10_000));
    assert_eq!(share(&ejected, at(10_000)), [100, 1000]);

    let mut drained = ramping();
    let server = index(&drained, 0);
    drained.drain(at(0), server);
    drained.resume(at(1_000), server);
    assert_eq!(share(&drained, at(6_000)), [500, 1000]);

    let text = RAMPING.replace("10.0.0.2:80", "10.0.0.3:80");
    let settings = layout(&Config::parse("t", &text).expect("a valid configuration"));
    let reloaded = Pool::replacing(&ramping(), &settings, ONE_WORKER, at(1_000));
    assert_eq!(share(&reloaded, at(1_000)), [1000, 100]);
}

#[test]
fn workers_share_a_limit_so_that_none_is_left_without() {
    let part = |workers, limit| {
        let count = NonZeroUsize::new(workers).expect("at least one worker");
        Worker { count, random: 0 }.part(NonZeroU32::new(limit).expect("a limit")).get()
    };
    assert_eq!([part(1, 256), part(3, 256), part(8, 3)], [256, 86, 1]);
}

const RAMPING: &str = "[[listener]]\nname=\"web\"\nbind=\"127.0.0.1:0\"\nmode=\"http\"\npool=\"app\"\n\
    [[pool]]\nname=\"app\"\npolicy=\"round-robin\"\nslow_start=\"10s\"\n\
    [[pool.server]]\nname=\"a\"\naddress=\"10.0.0.1:80\"\n[[pool.server]]\nname=\"b\"\naddress=\"10.0.0.2:80\"\n";

/// Two equal servers that take 10 s to their full share.
fn ramping() -> Pool {
    let config = Config::parse("t", RAMPING).expect("a valid configuration");
    Pool::new(&layout(&config), ONE_WORKER, at(0))
}

#[test]
fn a_reload_keeps_the_health_of_servers_that_stay() {
    let before_settings = layout(&config("round-robin", &[1, 1, 1], ""));
    let mut before = Pool::new(&before_settings, ONE_WORKER, at(0));
    fail(&mut before, at(0), 0, 5);
    let down = index(&before, 1);
    before.check(at(0), down, Verdict::Down);
    let after_settings = layout(&config("least-loaded", &[1, 1, 7, 1], ""));
    let after = Pool::replacing(&before, &after_settings, ONE_WORKER, at(1));
    let expected = [Standing::Ejected, Standing::Down, Standing::Usable, Standing::Usable];
    assert_eq!(standings(&after, at(1)), expected);
}

#[test]
fn a_request_is_tried_again_only_so_often_and_only_within_the_budget() {
    let mut pool = pool("round-robin", &[1; 4], "[pool.retry]\nattempts=2\nbudget_per_mille=0\n");
    let mut tried = Tried::NONE;
    tried.add(index(&pool, 0));
    assert_eq!(pool.retry(at(0), &tried), Retry::BudgetSpent);
    let mut pool = self::pool("round-robin", &[1; 4], "[pool.retry]\nattempts=2\n");
    assert_eq!(pool.retry(at(0), &tried), Retry::Granted);
    tried.add(index(&pool, 1));
    assert_eq!(pool.retry(at(0), &tried), Retry::Granted);
    tried.add(index(&pool, 2));
    assert_eq!(pool.retry(at(0), &tried), Retry::AttemptsSpent);
}

/// How many further tries are granted in a row.
fn granted(pool: &mut Pool, now: Instant) -> usize {
    let mut tried = Tried::NONE;
    tried.add(index(pool, 0));
    (0..10_000).take_while(|_| pool.retry(now, &tried) == Retry::Granted).count()
}

#[test]
fn what_requests_pay_in_is_saved_up_to_a_bound_and_time_takes_nothing_away() {
    let arrive = |pool: &mut Pool, requests, tried: &Tried| {
        let server = index(pool, 0);
        for _ in 0..requests {
            pool.start(server, tried);
            pool.finish(at(0), server, Outcome::Served);
        }
    };
    let mut pool = pool("round-robin", &[1, 1], "");
    assert_eq!(granted(&mut pool, at(0)), 10, "the floor of a second");
    arrive(&mut pool, 1_000, &Tried::NONE);
    assert_eq!(granted(&mut pool, at(500)), 100);
    arrive(&mut pool, 1_000_000, &Tried::NONE);
    assert_eq!(granted(&mut pool, at(500)), 1_000);

    let mut tried = Tried::NONE;
    tried.add(index(&pool, 1));
    arrive(&mut pool, 1_000, &tried);
    assert_eq!(granted(&mut pool, at(500)), 0, "a further try is not a request");
    assert_eq!(granted(&mut pool, at(800)), 3, "the floor fills by ten a second");
    assert_eq!(granted(&mut pool, at(60_000)), 10, "and not beyond");
}

/// Something that happens to a pool.
#[derive(Debug, Clone)]
enum Event {
    Request { tried: Vec<usize>, key: u8, wanted: Option<usize> },
    Finish { which: usize, outcome: Outcome },
    Answer { server: usize, millis: u64 },
    Weigh { server: usize, weight: u64 },
    Check { server: usize, verdict: Verdict },
    Drain { server: usize },
    Resume { server: usize },
    Pass { millis: u64 },
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Outcome::Served),
        3 => Just(Outcome::Failed(Failure::Refused)),
        1 => Just(Outcome::ClientGone),
        1 => Just(Outcome::Local(LocalCause::SourcePorts)),
    ]
}

fn event(servers: usize) -> impl Strategy<Value = Event> {
    let verdict = prop_oneof![Just(Verdict::Up), Just(Verdict::Down)];
    prop_oneof![
        8 => (prop::collection::vec(0..servers, 0..3), any::<u8>(), prop::option::of(0..servers))
            .prop_map(|(tried, key, wanted)| Event::Request { tried, key, wanted }),
        2 => (0..servers, 1u64..3000).prop_map(|(server, millis)| Event::Answer { server, millis }),
        1 => (0..servers, 1u64..=256).prop_map(|(server, weight)| Event::Weigh { server, weight }),
        8 => (any::<usize>(), outcome()).prop_map(|(which, outcome)| Event::Finish { which, outcome }),
        1 => (0..servers, verdict).prop_map(|(server, verdict)| Event::Check { server, verdict }),
        1 => (0..servers).prop_map(|server| Event::Drain { server }),
        1 => (0..servers).prop_map(|server| Event::Resume { server }),
        2 => (0u64..4000).prop_map(|millis| Event::Pass { millis }),
    ]
}

/// A pool under events, with what must be true after each.
struct Run {
    pool: Pool,
    now: Instant,
    flying: Vec<ServerIndex>,
}

const LIMIT: usize = 3;

const POLICIES: [&str; 5] = ["round-robin", "least-loaded", "peak-ewma", "power-of-two", "consistent-hash"];

impl Run {
    fn new(policy: &str, weights: &[u16]) -> Self {
        let settings = "[pool.limits]\nconnections_per_server=3\n[pool.ejection]\nconsecutive_failures=2\n\
                        base_time=\"1s\"\nmax_time=\"8s\"\n";
        Self { pool: pool(policy, weights, settings), now: Instant::START, flying: Vec::new() }
    }

    fn apply(&mut self, event: &Event) {
        let now = self.now;
        match event {
            Event::Request { tried, key, wanted } => {
                let key = Key::NONE.hashed(KeyHash::of(&[*key]));
                let wanted = wanted.map(|position| index(&self.pool, position));
                self.request(tried, wanted.map_or(key, |server| key.wanting(server)));
            }
            Event::Answer { server, millis } => {
                let server = index(&self.pool, *server);
                self.pool.answered(now, server, Duration::from_millis(*millis));
            }
            Event::Weigh { server, weight } => {
                let server = index(&self.pool, *server);
                self.pool.set_weight(now, server, Weight::new(*weight).expect("1 to 256"));
            }
            Event::Finish { which, outcome } if !self.flying.is_empty() => {
                let server = self.flying.swap_remove(which % self.flying.len());
                self.pool.finish(now, server, *outcome);
            }
            Event::Finish { .. } => {}
            Event::Check { server, verdict } => {
                let server = index(&self.pool, *server);
                self.pool.check(now, server, *verdict);
            }
            Event::Drain { server } => {
                let server = index(&self.pool, *server);
                self.pool.drain(now, server);
            }
            Event::Resume { server } => {
                let server = index(&self.pool, *server);
                self.pool.resume(now, server);
            }
            Event::Pass { millis } => self.now = now + Duration::from_millis(*millis),
        }
    }

    /// Picks, and compares with what may be picked by looking at everything.
    fn request(&mut self, been: &[usize], key: Key) {
        let mut tried = Tried::NONE;
        been.iter().for_each(|&position| tried.add(index(&self.pool, position)));
        let pick = self.pool.pick(self.now, &tried, key);
        let standings = standings(&self.pool, self.now);
        let tier = [Standing::Usable, Standing::Ejected, Standing::Down]
            .into_iter()
            .find(|standing| standings.contains(standing));
        let would_do = |&position: &usize| Some(standings[position]) == tier && !been.contains(&position);
        let room =
            |&position: &usize| self.flying.iter().filter(|s| s.position() == position).count() < LIMIT;
        let fits: Vec<usize> = (0..standings.len()).filter(would_do).collect();
        match pick {
            Pick::Server(server) => {
                assert!(fits.contains(&server.position()), "{server:?} of {standings:?}, tried {been:?}");
                assert!(room(&server.position()), "{server:?} is full");
                if let Some(wanted) = key.wanted().map(ServerIndex::position) {
                    let honoured = fits.contains(&wanted) && room(&wanted);
                    assert!(!honoured || server.position() == wanted, "{wanted} would have done");
                }
                self.pool.start(server, &tried);
                self.flying.push(server);
            }
            Pick::Full => assert!(!fits.is_empty() && !fits.iter().any(room)),
            Pick::Nobody => assert!(fits.is_empty(), "{standings:?}, tried {been:?}"),
        }
    }

    fn check(&self) {
        let statuses: Vec<_> = self.pool.servers(self.now).map(|(_, status)| status).collect();
        for (position, status) in statuses.iter().enumerate() {
            let flying = self.flying.iter().filter(|server| server.position() == position).count();
            assert_eq!(status.active as usize, flying);
        }
        let out = statuses.iter().filter(|status| status.ejected_until.is_some()).count();
        assert!(out <= statuses.len().div_ceil(2), "{out} of {} are ejected", statuses.len());
        for until in statuses.iter().filter_map(|status| status.ejected_until) {
            assert!(until.since(self.now) <= Duration::from_secs(8), "a way out within max_time");
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_limits_hold_and_a_pick_is_right(
        policy in prop::sample::select(&POLICIES[..]),
        weights in prop::collection::vec(1u16..=256, 1..8),
        seeds in prop::collection::vec(event(7), 1..200),
    ) {
        let mut run = Run::new(policy, &weights);
        for event in seeds {
            let fits = |server: &usize| *server < weights.len();
            let applies = match &event {
                Event::Request { tried, wanted, .. } => tried.iter().chain(wanted).all(fits),
                Event::Answer { server, .. }
                | Event::Weigh { server, .. }
                | Event::Check { server, .. }
                | Event::Drain { server } | Event::Resume { server } => fits(server),
                Event::Finish { .. } | Event::Pass { .. } => true,
            };
            if applies {
                run.apply(&event);
                run.check();
            }
        }
    }

    #[test]
    fn every_server_returns_once_checks_pass_and_time_goes_by(
        weights in prop::collection::vec(1u16..=256, 1..8),
        events in prop::collection::vec(event(1), 1..200),
    ) {
        let mut run = Run::new("least-loaded", &weights);
        for event in &events {
            run.apply(event);
        }
        for server in run.pool.indexes() {
            run.pool.check(run.now, server, Verdict::Up);
            run.pool.resume(run.now, server);
        }
        let later = run.now + Duration::from_secs(9);
        run.pool.advance(later);
        prop_assert_eq!(standings(&run.pool, later), vec![Standing::Usable; weights.len()]);
    }

    #[test]
    fn round_robin_gives_each_server_exactly_its_weight_in_each_full_turn(
        weights in prop::collection::vec(1u16..=16, 1..10),
        random: u64,
    ) {
        let settings = layout(&config("round-robin", &weights, ""));
        let mut pool = Pool::new(&settings, Worker { random, ..ONE_WORKER }, at(0));
        let whole: u16 = weights.iter().sum();
        for _ in 0..3 {
            let mut counts = vec![0; weights.len()];
            for _ in 0..whole {
                counts[turn(&mut pool, at(0))] += 1;
            }
            prop_assert_eq!(&counts, &weights);
        }
    }

    #[test]
    fn least_loaded_keeps_the_load_of_each_weight_within_one_request(
        weights in prop::collection::vec(1u16..=16, 1..10),
        requests in 1usize..500,
    ) {
        let mut pool = pool("least-loaded", &weights, "[pool.limits]\nconnections_per_server=1000\n");
        for _ in 0..requests {
            let Pick::Server(server) = pool.pick(at(0), &Tried::NONE, Key::NONE) else { panic!("nobody is full") };
            pool.start(server, &Tried::NONE);
        }
        let loads: Vec<(u32, u16)> =
            pool.servers(at(0)).map(|(server, status)| (status.active, server.weight.as_u16())).collect();
        for &(active, weight) in &loads {
            for &(other_active, other_weight) in &loads {
                // What was picked last was not above the other before it was picked.
                prop_assert!(active.saturating_sub(1) * u32::from(other_weight) <= other_active * u32::from(weight));
            }
        }
    }

    #[test]
    fn further_tries_never_exceed_a_tenth_of_the_requests_and_the_floor(
        steps in prop::collection::vec((0u64..300, 0u32..50, 0u32..50), 1..100),
    ) {
        let mut pool = pool("round-robin", &[1, 1], "[pool.limits]\nconnections_per_server=1000000\n");
        let server = index(&pool, 0);
        let mut tried = Tried::NONE;
        tried.add(server);
        let (mut millis, mut requests, mut granted) = (0, 0u64, 0u64);
        for (pause, arriving, asking) in steps {
            millis += pause;
            for _ in 0..arriving {
                pool.start(server, &Tried::NONE);
                pool.finish(at(millis), server, Outcome::Served);
                requests += 1;
            }
            for _ in 0..asking {
                granted += u64::from(pool.retry(at(millis), &tried) == Retry::Granted);
            }
            let floor = 10 + millis / 100;
            prop_assert!(granted <= requests / 10 + floor + 1, "{granted} of {requests} after {millis} ms");
        }
    }
}
