//! The choice of a route, held against comparing all routes one by one.

use std::{cmp::Reverse, net::IpAddr};

use evenkeel_config::balancer::{
    Config,
    route::{Condition, EscapedSlash, HostPattern, PathPattern, Route, Value},
};
use evenkeel_route::{Request, RouteIndex, Table, Target};

use super::{BASE, quoted};
use crate::{Seen, seen::Parts};

/// Most routes of one input: enough for every pair of rules to meet.
const MOST_ROUTES: usize = 8;

/// Judges a request (method, host, target, client, a field's name and value) and routes (what is asked of host, path and
/// which sort of path, method, and of a field, a parameter or the client).
///
/// # Panics
/// When the table chooses another route than the most specific of all that match.
pub fn routes(input: &[u8]) -> Seen {
    let mut parts = Parts::of(input);
    let [method, host, target] = std::array::from_fn(|_| parts.part());
    let source = *parts.part().first_chunk::<4>().unwrap_or(&[192, 0, 2, 1]);
    let (name, value) = (parts.text(), parts.text());
    let fields = [(name.as_str(), value.as_str()), ("x-same", "1"), ("x-same", "2")];
    let texts: Vec<_> = parts.rest().chunks(6).take(MOST_ROUTES).map(route_text).collect();
    let Ok(target) = Target::read(target, EscapedSlash::Keep) else { return Seen::Refused };
    let config = config(texts);
    let request =
        Request { method, host, target: &target, source: IpAddr::from(source), fields: &fields[..] };
    let listener = config.listener_index(0).expect("there is one");
    let chosen = Table::new(config.routes(), listener).choose(&request).map(RouteIndex::position);
    let ranked = config.routes().iter().enumerate();
    let ranked = ranked.filter_map(|(at, route)| Some((rank(route, &request, &fields)?, Reverse(at))));
    let best = ranked.max().map(|(_, Reverse(at))| at);
    assert_eq!(chosen, best, "{:?} among {:#?}", String::from_utf8_lossy(target.path()), config.routes());
    Seen::when(chosen.is_some())
}

/// All of the routes that a configuration takes, in order: those whose lines are refused are left out.
fn config(mut texts: Vec<String>) -> Config {
    loop {
        let text = format!("{BASE}{}", texts.concat());
        let errors = match Config::parse("balancer.toml", &text) {
            Ok(config) => return config,
            Err(errors) => errors,
        };
        let mut line = BASE.lines().count();
        texts.retain(|text| {
            let lines = line + 1..=line + text.lines().count();
            line = *lines.end();
            !errors.as_slice().iter().any(|error| lines.contains(&error.line))
        });
        assert!(text.len() > BASE.len() + texts.concat().len(), "{errors} is on no line of a route");
    }
}

fn route_text(parts: &[&[u8]]) -> String {
    let part = |at: usize| String::from_utf8_lossy(parts.get(at).copied().unwrap_or_default()).into_owned();
    let sort = parts.get(1).and_then(|sort| sort.first()).copied().unwrap_or_default();
    let path = ["path", "path_prefix", "path_regex"][usize::from(sort) % 3];
    let line = |key: &str, text: &str| match text {
        "" => String::new(),
        text => format!("{key} = {}\n", quoted(text)),
    };
    let [host, wanted, method, asked] = [part(0), part(2), part(3), part(4)];
    let value = part(5);
    let value = match sort >> 4 & 3 {
        0 => quoted(&value),
        1 => format!("{{ prefix = {} }}", quoted(&value)),
        2 => format!("{{ regex = {} }}", quoted(&value)),
        _ => (value.len() % 2 == 0).to_string(),
    };
    let condition = match (asked.as_str(), sort >> 6) {
        ("", _) => String::new(),
        (network, 3) => format!("source = {}\n", quoted(network)),
        (name, 2) => format!("query = {{ {} = {value} }}\n", quoted(name)),
        (name, _) => format!("header = {{ {} = {value} }}\n", quoted(name)),
    };
    let hosts: Vec<_> = host.split(',').map(quoted).collect();
    let hosts = if host.is_empty() { String::new() } else { format!("host = [{}]\n", hosts.join(", ")) };
    format!("[[route]]\n{hosts}{}{}{condition}", line(path, &wanted), line("method", &method))
}

type Fields<'a> = [(&'a str, &'a str)];

/// How specific a route is for a request, larger is more; `None` when it does not match.
fn rank(
    route: &Route,
    request: &Request<'_, &Fields<'_>>,
    fields: &Fields<'_>,
) -> Option<(usize, usize, usize, usize)> {
    let conditions = &route.conditions;
    let host = plain_host(request.host);
    let hosts = conditions.hosts.iter().filter_map(|pattern| match pattern {
        HostPattern::Exact(name) => (host == name.as_bytes()).then_some(usize::MAX),
        HostPattern::Below(name) => host.ends_with(format!(".{name}").as_bytes()).then_some(name.len()),
    });
    let host = if conditions.hosts.is_empty() { 0 } else { hosts.max()? };
    let path = request.target.path();
    let (path, expression) = match &conditions.path {
        PathPattern::Any => (0, 0),
        PathPattern::Exact(exact) => ((path == exact.as_bytes()).then_some(usize::MAX)?, 0),
        PathPattern::Prefix(prefix) => {
            let rest = path.strip_prefix(prefix.as_bytes())?;
            (matches!(rest, [] | [b'/' | b';', ..]).then_some(1 + prefix.len())?, 0)
        }
        PathPattern::Regex(pattern) => {
            (pattern.is_match(path).then_some(1 + pattern.literal_prefix().len())?, 1)
        }
    };
    let methods = &conditions.methods;
    let known = methods.is_empty() || methods.iter().any(|method| method.as_bytes() == request.method);
    let near = conditions.sources.is_empty()
        || conditions.sources.iter().any(|network| network.contains(request.source));
    let query = parameters(request.target.query().unwrap_or_default());
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase().into_bytes(), value.as_bytes().to_vec()))
        .collect();
    let all = known
        && near
        && conditions.headers.iter().all(|condition| is_met(condition, &fields))
        && conditions.queries.iter().all(|condition| is_met(condition, &query));
    all.then(|| (host, path, expression, conditions.further()))
}

/// The host without its port, in small letters, without a dot at its end; nothing of one that is longer than names are.
fn plain_host(host: &[u8]) -> Vec<u8> {
    let end = match host.first() {
        Some(b'[') => host.iter().position(|&b| b == b']').map_or(host.len(), |at| at + 1),
        Some(_) | None => host.iter().position(|&b| b == b':').unwrap_or(host.len()),
    };
    let name = host[..end].strip_suffix(b".").unwrap_or(&host[..end]);
    if name.len() > 255 { Vec::new() } else { name.to_ascii_lowercase() }
}

type Named = (Vec<u8>, Vec<u8>);

fn is_met(condition: &Condition, all: &[Named]) -> bool {
    let mut values =
        all.iter().filter(|(name, _)| name == condition.name.as_bytes()).map(|(_, value)| value.as_slice());
    match &condition.value {
        Value::Present => values.next().is_some(),
        Value::Absent => values.next().is_none(),
        Value::Exact(text) => values.any(|value| value == text.as_bytes()),
        Value::Prefix(text) => values.any(|value| value.starts_with(text.as_bytes())),
        Value::Regex(pattern) => values.any(|value| pattern.is_match(value)),
    }
}

/// The names and values of a query, as forms write it.
fn parameters(query: &[u8]) -> Vec<Named> {
    let parameter = |text: &[u8]| {
        let mut parts = text.splitn(2, |&b| b == b'=');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        (unescaped(name), unescaped(value))
    };
    query.split(|&b| b == b'&').filter(|text| !text.is_empty()).map(parameter).collect()
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let byte =
            text.get(at + 1..at + 3).filter(|two| text[at] == b'%' && two.iter().all(u8::is_ascii_hexdigit));
        let byte = byte
            .and_then(|two| std::str::from_utf8(two).ok())
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        at += if byte.is_some() { 3 } else { 1 };
        out.push(byte.unwrap_or_else(|| if text[at - 1] == b'+' { b' ' } else { text[at - 1] }));
    }
    out
}
