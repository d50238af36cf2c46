//! What a choice costs among 1 to 10,000 routes: `cargo run --release -p evenkeel-route --example growth`.

use std::{fmt::Write as _, hint::black_box, time::Instant};

use evenkeel_config::balancer::{Config, route::EscapedSlash};
use evenkeel_route::{Request, Table, Target};

const ROUNDS: u32 = 200_000;

/// Routes that differ by what `line` makes of their number.
fn table(count: usize, line: impl Fn(usize) -> String) -> Table {
    let mut text = String::from(
        "[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\nmode = \"http\"\npool = \"app\"\n[[pool]]\nname = \"app\"\n\
         [[pool.server]]\nname = \"a\"\naddress = \"127.0.0.1:1\"\n",
    );
    for number in 0..count {
        let _ = write!(text, "[[route]]\n{}\n", line(number));
    }
    let config = Config::parse("balancer.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    Table::new(config.routes(), config.listener_index(0).expect("there is one listener"))
}

/// Nanoseconds for one choice, its target read anew each time; the best of five runs.
fn cost(table: &Table, host: &str, path: &str) -> f64 {
    let run = || {
        let began = Instant::now();
        for _ in 0..ROUNDS {
            let target =
                Target::read(black_box(path.as_bytes()), EscapedSlash::Refuse).expect("a plain path");
            let request = Request {
                method: b"GET",
                host: black_box(host.as_bytes()),
                target: &target,
                source: std::net::Ipv4Addr::LOCALHOST.into(),
                fields: &[("accept", "*/*")][..],
            };
            black_box(table.choose(&request));
        }
        began.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
    };
    (0..5).map(|_| run()).fold(f64::INFINITY, f64::min)
}

fn main() {
    println!(
        "{:>8} {:>12} {:>12} {:>12} {:>12}  ns for one choice",
        "routes", "hosts", "prefixes", "both", "no match"
    );
    for count in [1, 10, 100, 1_000, 10_000] {
        let last = count - 1;
        let hosts = table(count, |n| format!("host = \"site{n}.example.org\""));
        let prefixes = table(count, |n| format!("path_prefix = \"/team{n}/app\""));
        let both = table(count, |n| {
            format!("host = \"site{}.example.org\"\npath_prefix = \"/team{n}/app\"", n % 100)
        });
        let (host, path) = (format!("site{}.example.org", last % 100), format!("/team{last}/app/page.html"));
        println!(
            "{count:>8} {:>12.0} {:>12.0} {:>12.0} {:>12.0}",
            cost(&hosts, &format!("site{last}.example.org"), &path),
            cost(&prefixes, &host, &path),
            cost(&both, &host, &path),
            cost(&both, "elsewhere.example.net", "/nothing/like/that"),
        );
    }
}
