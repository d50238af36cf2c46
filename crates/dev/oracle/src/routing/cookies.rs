//! The cookie by which a client comes back to its server: found among any others, never forged, never shown to servers.

use std::sync::LazyLock;

use evenkeel_config::balancer::Config;
use evenkeel_route::{Left, Scheme, Shown, StickyCookies, StickySecrets};
use evenkeel_units::WallTime;

use super::BASE;
use crate::{Seen, seen::Parts};

const NOW: WallTime = WallTime::from_unix_seconds(1_795_364_399);
const SINCE: WallTime = WallTime::from_unix_seconds(1_795_364_000);
const SERVERS: [&str; 3] = ["a", "b", "c"];

static COOKIES: LazyLock<StickyCookies> = LazyLock::new(|| {
    let text = format!("{BASE}[pool.sticky]\ncookie = \"srv\"\n");
    let config = Config::parse("balancer.toml", &text).expect("a good configuration");
    let settings = config.pools()[0].sticky.as_ref().expect("the table is there");
    let secrets = StickySecrets::parse("0123456789abcdef0123456789abcdef").expect("long enough");
    StickyCookies::new(settings, &secrets, "app", &SERVERS)
});

/// Judges the value of a Cookie field, before and behind a cookie of ours, and a place at which that is damaged.
///
/// # Panics
/// When ours is not found, is believed after damage or without having been made, or reaches a server.
pub fn cookies(input: &[u8]) -> Seen {
    let mut parts = Parts::of(input);
    let (choice, before, behind) = (parts.choice(), parts.part(), parts.part());
    let place = usize::from(choice) % SERVERS.len();
    let alone = [before, behind].into_iter();
    assert!(!matches!(COOKIES.find(alone, NOW), Shown::Server(_)), "who has no secret made it: {input:?}");
    let own = own(place);
    let whole = [before, b"; ", &own, b"; ", behind].concat();
    let Shown::Server(known) = find(&whole) else { panic!("it is not found in {whole:?}") };
    assert_eq!((known.server, known.since), (place, SINCE));
    let mut damaged = own.clone();
    let at = b"srv=".len() + usize::from(choice) % (own.len() - b"srv=".len());
    damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
    let whole = [before, b"; ", &damaged, b"; ", behind].concat();
    assert_eq!(find(&whole), Shown::Nobody, "damaged at {at}");
    let whole = [before, b";", &own, b" ;", behind].concat();
    is_stripped(&whole);
    Seen::when(is_stripped(before))
}

fn find(value: &[u8]) -> Shown {
    COOKIES.find([value].into_iter(), NOW)
}

/// A cookie as a client sends it back.
fn own(place: usize) -> Vec<u8> {
    let mut line = Vec::new();
    COOKIES.write(place, (SINCE, NOW), Scheme::Https, &mut line);
    let value = line.strip_prefix(b"Set-Cookie: ").expect("a line");
    value.split(|&b| b == b';').next().expect("a value").to_vec()
}

/// The other cookies stay in their order, and ours is not among them; whether there are any.
fn is_stripped(value: &[u8]) -> bool {
    let pairs = |value: &[u8]| -> Vec<Vec<u8>> {
        let pairs = value.split(|&b| b == b';').map(<[u8]>::trim_ascii);
        pairs.filter(|pair| !pair.is_empty()).map(<[u8]>::to_vec).collect()
    };
    let mut out = Vec::new();
    let left = COOKIES.strip(value, &mut out);
    let others: Vec<_> = pairs(value).into_iter().filter(|pair| !pair.starts_with(b"srv=")).collect();
    assert_eq!(pairs(&out), others);
    assert_eq!(left == Left::Something, !others.is_empty());
    assert_eq!(find(&out), Shown::Nothing);
    !others.is_empty()
}
