//! Source ports, held against a model that remembers each one; and servers that have none left.

use std::{num::NonZeroUsize, time::Duration};

use evenkeel_balance::{
    Key, Layout, Left, LocalCause, Outcome, Pick, Pool, PortBook, Ports, ServerIndex, Standing, Tried,
    Worker, roomiest,
};
use evenkeel_config::balancer::Config;
use evenkeel_units::Instant;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Take,
    Give(Left),
    Pass(Duration),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Take),
        2 => Just(Step::Give(Left::Free)),
        3 => Just(Step::Give(Left::Waiting)),
        2 => (0u64..20_000).prop_map(|millis| Step::Pass(Duration::from_millis(millis))),
        1 => (0u64..300_000).prop_map(|millis| Step::Pass(Duration::from_millis(millis))),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn a_port_is_back_after_its_time_and_little_later_and_never_before(
        steps in steps(),
        seconds in 1u64..=120,
    ) {
        let time_wait = Duration::from_secs(seconds);
        // A fifteenth late, and what rounding a step up adds.
        let latest = time_wait * 16 / 15 + Duration::from_millis(1);
        let mut book = PortBook::new(time_wait);
        let (mut now, mut open, mut closed) = (Instant::START, 0u32, Vec::<Instant>::new());
        for step in steps {
            match step {
                Step::Take => {
                    book.take();
                    open += 1;
                }
                Step::Give(left) if open > 0 => {
                    book.give(now, left);
                    open -= 1;
                    if left == Left::Waiting {
                        closed.push(now);
                    }
                }
                Step::Give(_) => {}
                Step::Pass(time) => now = now + time,
            }
            book.advance(now);
            let within = |bound| closed.iter().filter(|&&at| now.since(at) < bound).count();
            let waiting = book.waiting() as usize;
            prop_assert_eq!(book.open(), open);
            prop_assert!(within(time_wait) <= waiting, "{waiting} waiting, though {} must", within(time_wait));
            prop_assert!(waiting <= within(latest), "{waiting} waiting, of {}", within(latest));
        }
    }

    #[test]
    fn sources_are_used_evenly_and_to_the_last_port(ports in proptest::collection::vec(0u32..50, 0..9)) {
        let mut taken = vec![0; ports.len()];
        let now = |taken: &[u32]| -> Vec<Ports> {
            taken.iter().zip(&ports).map(|(&taken, &all)| Ports { taken, all }).collect()
        };
        for _ in 0..ports.iter().sum::<u32>() {
            let at = roomiest(now(&taken)).expect("ports are left");
            let most = now(&taken).into_iter().map(Ports::left).max().unwrap_or(0);
            prop_assert_eq!(now(&taken)[at].left(), most);
            taken[at] += 1;
        }
        prop_assert_eq!(roomiest(now(&taken)), None);
        prop_assert_eq!(taken, ports);
    }
}

#[test]
fn ports_are_scarce_as_soon_as_half_of_them_are_taken() {
    for (taken, all, scarce) in [
        (0, 42, false),
        (20, 42, false),
        (21, 42, true),
        (2, 5, false),
        (3, 5, true),
        (9, 5, true),
        (0, 0, true),
    ] {
        assert_eq!(Ports { taken, all }.are_scarce(), scarce, "{taken} of {all}");
    }
}

fn pool(servers: usize) -> Pool {
    let list: String = (0..servers)
        .map(|n| format!("[[pool.server]]\nname=\"s{n}\"\naddress=\"10.0.0.{}:80\"\n", n + 1))
        .collect();
    let text = format!(
        "[[listener]]\nname=\"web\"\nbind=\"127.0.0.1:0\"\npool=\"app\"\nmode=\"http\"\n[[pool]]\nname=\"app\"\n{list}"
    );
    let config = Config::parse("balancer.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let worker = Worker { count: NonZeroUsize::MIN, random: 3 };
    Pool::new(&Layout::new(&config.pools()[0]), worker, Instant::START)
}

fn indexes(pool: &Pool) -> Vec<ServerIndex> {
    pool.indexes().collect()
}

#[test]
fn a_server_without_source_ports_is_passed_over_keeps_its_health_and_is_waited_for_when_it_is_the_last() {
    let mut pool = pool(2);
    let now = Instant::START;
    let [first, second] = indexes(&pool)[..] else { panic!("two servers") };
    pool.starve(first);
    assert!(pool.is_starved(first) && !pool.is_starved(second));
    for _ in 0..50 {
        assert_eq!(pool.pick(now, &Tried::NONE, Key::NONE), Pick::Server(second));
        pool.start(second, &Tried::NONE);
    }
    for _ in 0..50 {
        pool.start(first, &Tried::NONE);
        pool.finish(now, first, Outcome::Local(LocalCause::SourcePorts));
    }
    pool.starve(second);
    assert!(!pool.has_room());
    assert_eq!(pool.pick(now, &Tried::NONE, Key::NONE), Pick::Full, "there is something to wait for");
    let standing: Vec<_> = pool.servers(now).map(|(_, status)| status.standing).collect();
    assert_eq!(standing, [Standing::Usable; 2], "what the box lacks is held against no server");
    pool.feed(first);
    assert!(pool.has_room());
    assert_eq!(pool.pick(now, &Tried::NONE, Key::NONE), Pick::Server(first));
}

#[test]
fn a_key_that_leads_to_a_server_without_ports_goes_elsewhere() {
    let mut pool = pool(2);
    let [first, second] = indexes(&pool)[..] else { panic!("two servers") };
    pool.starve(first);
    assert_eq!(pool.pick(Instant::START, &Tried::NONE, Key::NONE.wanting(first)), Pick::Server(second));
}
