//! Targets: one form for all that servers may take for the same, and what templates make of them.

use evenkeel_config::balancer::{
    Config,
    route::{Action, EscapedSlash, Template},
};
use evenkeel_route::{Scheme, Target, Values, render, rewrite};

use super::{BASE, quoted};
use crate::{Seen, seen::Parts};

/// Judges a target, and a template (a rewrite, a field, or where else to go) with what it is filled in with.
///
/// # Panics
/// When a path in disguise is another, when the normal form changes by being read, or when what is filled in could end a
/// line or is no target.
pub fn targets(input: &[u8]) -> Seen {
    let mut parts = Parts::of(input);
    let (choice, target) = (parts.choice(), parts.part());
    let [template, pattern] = std::array::from_fn(|_| parts.text());
    let [authority, method] = std::array::from_fn(|_| parts.part());
    let slash = if choice & 1 == 0 { EscapedSlash::Refuse } else { EscapedSlash::Keep };
    let Ok(read) = Target::read(target, slash) else { return Seen::Refused };
    is_normal(target, &read, slash);
    for disguise in disguises(target) {
        let again = Target::read(&disguise, slash);
        let again = again.unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&disguise)));
        assert_eq!(again.path(), read.path(), "{:?}", String::from_utf8_lossy(&disguise));
    }
    filled(&read, slash, &template, &pattern, authority, method);
    Seen::Taken
}

fn is_normal(target: &[u8], read: &Target<'_>, slash: EscapedSlash) {
    let path = read.path();
    assert!(path == b"*" || path.starts_with(b"/"));
    let mut parts = path.split(|&b| b == b'/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        assert!(!matches!(part, b"." | b"..") && (is_last || !part.is_empty()), "{path:?}");
    }
    let whole = read.whole();
    let again = Target::read(&whole, slash).expect("what is normal is read");
    assert_eq!((again.path(), again.query()), (path, read.query()));
    match read.changed() {
        Some(changed) => assert_eq!(changed, whole),
        None if target.is_empty() || target.starts_with(b"?") => assert_eq!(path, b"/"),
        None => assert_eq!(whole, target),
    }
}

/// Other ways to write a path: letters and digits escaped, slashes doubled, parts that lead nowhere.
fn disguises(target: &[u8]) -> Vec<Vec<u8>> {
    let end = target.iter().position(|&b| b == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    if !path.starts_with(b"/") {
        return Vec::new();
    }
    let escaped = {
        let mut out = Vec::new();
        let mut rest = path;
        while let Some((&b, behind)) = rest.split_first() {
            rest = behind;
            match b {
                // What is escaped already stays.
                b'%' => {
                    out.push(b);
                    out.extend_from_slice(&rest[..2]);
                    rest = &rest[2..];
                }
                _ if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => {
                    out.extend_from_slice(format!("%{b:02x}").as_bytes());
                }
                _ => out.push(b),
            }
        }
        out
    };
    let slashed = |with: &[u8]| path.split(|&b| b == b'/').collect::<Vec<_>>().join(with);
    let ways = [escaped, slashed(b"//"), slashed(b"/./"), slashed(b"/x/../")];
    ways.into_iter().map(|path| [&path, query].concat()).collect()
}

/// A route with this template, when a configuration takes it.
fn config(template: &str, pattern: &str) -> Option<Config> {
    let template = quoted(template);
    let path = match pattern {
        "" => String::new(),
        prefix if prefix.starts_with('/') => format!("path_prefix = {}\n", quoted(prefix)),
        expression => format!("path_regex = {}\n", quoted(expression)),
    };
    let text = format!("{BASE}[[route]]\n{path}request_header = {{ set = {{ X-A = {template} }} }}\n");
    let rewritten = format!("{text}rewrite = {template}\n");
    Config::parse("balancer.toml", &rewritten).or_else(|_| Config::parse("balancer.toml", &text)).ok()
}

fn filled(
    target: &Target<'_>,
    slash: EscapedSlash,
    template: &str,
    pattern: &str,
    authority: &[u8],
    method: &[u8],
) {
    let Some(config) = config(template, pattern) else { return };
    let route = &config.routes()[0];
    assert!(matches!(route.action, Action::ListenerPool));
    let values = Values {
        route,
        client: "192.0.2.1",
        authority,
        scheme: Scheme::Https,
        method,
        target,
        request_id: "7f3a",
        tls_version: "TLSv1.3",
    };
    let templates = route.request_edits.add.iter().map(|(_, template)| template).chain(&route.rewrite);
    for template in templates {
        fills_no_line(template, &values);
    }
    let Some(Ok(rewritten)) = route.rewrite.as_ref().map(|to| rewrite(to, &values, slash)) else { return };
    let own = rewritten.len() - target.query().map_or(0, <[u8]>::len);
    assert!(rewritten[..own].iter().all(u8::is_ascii_graphic), "{:?}", String::from_utf8_lossy(&rewritten));
    let read = Target::read(&rewritten, slash).expect("a rewrite gives a target");
    assert_eq!(read.whole(), rewritten, "a rewrite gives a normal form");
    if let Some(query) = target.query() {
        assert!(read.query().is_some_and(|now| now.ends_with(query)), "the client's query stays");
    }
}

fn fills_no_line(template: &Template, values: &Values<'_>) {
    let mut out = Vec::new();
    render(template, values, &mut out);
    assert!(!out.iter().any(u8::is_ascii_control), "{:?}", String::from_utf8_lossy(&out));
}
