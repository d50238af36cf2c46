//! What a sticky cookie costs a request: `cargo run --release -p evenkeel-route --example sticky`.

use std::{hint::black_box, iter::once, time::Instant};

use evenkeel_config::balancer::Config;
use evenkeel_route::{Scheme, Shown, StickyCookies, StickySecrets};
use evenkeel_units::WallTime;

const ROUNDS: u32 = 200_000;

/// Any moment.
const NOW: WallTime = WallTime::from_unix_seconds(1_795_521_600);

const OLD: &str = "0123456789abcdef0123456789abcdef";
const NEW: &str = "fedcba9876543210fedcba9876543210";

/// The cookies of a pool of three servers.
fn cookies(secrets: &str) -> StickyCookies {
    let text = "[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\nmode = \"http\"\npool = \"app\"\n[[pool]]\nname = \"app\"\n\
                [[pool.server]]\nname = \"a\"\naddress = \"127.0.0.1:1\"\n[pool.sticky]\ncookie = \"srv\"\n";
    let config = Config::parse("balancer.toml", text).unwrap_or_else(|errors| panic!("{errors}"));
    let settings = config.pools()[0].sticky.as_ref().expect("the table is there");
    let secrets = StickySecrets::parse(secrets).expect("they are long enough");
    StickyCookies::new(settings, &secrets, "app", &["a", "b", "c"])
}

/// Nanoseconds for once; the best of five runs.
fn cost(mut work: impl FnMut()) -> f64 {
    let mut run = || {
        let began = Instant::now();
        (0..ROUNDS).for_each(|_| work());
        began.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
    };
    (0..5).map(|_| run()).fold(f64::INFINITY, f64::min)
}

fn main() {
    let (one, two) = (cookies(OLD), cookies(&format!("{NEW}\n{OLD}")));
    let mut line = Vec::new();
    one.write(1, (NOW, NOW), Scheme::Https, &mut line);
    let line = String::from_utf8(line).expect("a line is text");
    let pair =
        line.trim_start_matches("Set-Cookie: ").split(';').next().expect("a pair comes first").to_owned();
    // Two that others set, and ours behind them.
    let others = "session=3f2a9c1e7b804d65; theme=dark";
    let field = format!("{others}; {pair}");
    let forged = field.replace("srv=", "srv=A");
    let find = |cookies: &StickyCookies, field: &str| {
        cookies.find(once(black_box(field.as_bytes())), black_box(NOW))
    };
    assert!(matches!(find(&one, &field), Shown::Server(_)) && matches!(find(&two, &field), Shown::Server(_)));
    assert_eq!((find(&one, &forged), find(&one, others)), (Shown::Nobody, Shown::Nothing));
    let mut out = Vec::with_capacity(1024);
    let mut print = |what: &str, work: &mut dyn FnMut(&mut Vec<u8>)| {
        let nanoseconds = cost(|| {
            out.clear();
            work(&mut out);
            black_box(&out);
        });
        println!("{nanoseconds:>8.0} ns  {what}");
    };
    print("no cookie of ours among two", &mut |_| _ = black_box(find(&one, others)));
    print("a cookie by the first secret is read", &mut |_| _ = black_box(find(&one, &field)));
    print("a cookie by the second secret is read", &mut |_| _ = black_box(find(&two, &field)));
    print("it is taken out of the request", &mut |out| {
        _ = black_box(one.strip(black_box(field.as_bytes()), out));
    });
    print("one is made", &mut |out| one.write(black_box(1), (NOW, NOW), Scheme::Https, out));
    print("a client that comes back: read, taken out", &mut |out| {
        black_box(find(&one, &field));
        black_box(one.strip(black_box(field.as_bytes()), out));
    });
}
