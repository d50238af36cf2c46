//! `evenkeel route`: which route a request would take, and what would become of it.

use std::{net::IpAddr, path::PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use evenkeel_config::balancer::{
    Config, Listener, ListenerIndex, Mode, Pool,
    route::{Action, Conditions, FieldEdits, HostPattern, PathPattern, RateKey, Route, Value},
};
use evenkeel_route::{Request, Scheme, Table, Target, Values, render, rewrite, share};

use crate::check;

/// Say which route of a balancer.toml a request would take, and what would become of it; nothing is sent.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The configuration of the data plane.
    file: PathBuf,
    /// What is asked for, such as `https://www.example.org/admin?x=1`; a path alone asks without a host.
    url: String,
    /// The request's method.
    #[arg(long, default_value = "GET")]
    method: String,
    /// A field of the request, such as `X-Beta: yes`; may be repeated.
    #[arg(long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    /// The client's address.
    #[arg(long, default_value = "127.0.0.1")]
    source: IpAddr,
    /// The listener that the request comes to; by default the first of mode http.
    #[arg(long)]
    listener: Option<String>,
}

/// # Errors
/// When the file has errors, or the request is none.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (name, text) = check::read(&arguments.file)?;
    let config = match Config::parse(&name, &text) {
        Ok(config) => config,
        Err(errors) => return check::refuse(&name, &errors),
    };
    print!("{}", explain(&name, &config, arguments)?);
    Ok(())
}

/// A URL as its scheme, its authority and its target.
fn parts(url: &str) -> Result<(Scheme, &str, &str)> {
    let (scheme, rest) = match url.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        Some((scheme, _)) => {
            bail!("`{scheme}://` is not http:// or https://; write the URL as a browser shows it")
        }
        None if url.starts_with('/') => return Ok((Scheme::Http, "", url)),
        None => (Scheme::Http, url),
    };
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let visible = url.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    ensure!(
        visible,
        "`{url}` has bytes that a request cannot have; escape them with `%`, and leave a `#…` out"
    );
    Ok((scheme, authority, target))
}

fn listener<'c>(config: &'c Config, wanted: Option<&str>) -> Result<(ListenerIndex, &'c Listener)> {
    let fits = |listener: &&Listener| match wanted {
        Some(name) => listener.name.as_str() == name,
        None => listener.mode == Mode::Http,
    };
    let found = config.listeners().iter().position(|listener| fits(&listener));
    let index = found.and_then(|position| config.listener_index(position));
    let index = index.with_context(|| match wanted {
        Some(name) => format!("there is no listener `{name}`; name one of the file's"),
        None => "there is no listener of mode \"http\"; only requests have routes".to_owned(),
    })?;
    let listener = &config.listeners()[index.position()];
    ensure!(
        listener.mode == Mode::Http,
        "listener `{}` is of mode \"tcp\"; only requests have routes",
        listener.name
    );
    Ok((index, listener))
}

/// What would become of the request, a fact a line.
fn explain(file: &str, config: &Config, arguments: &Arguments) -> Result<String> {
    let (scheme, authority, asked) = parts(&arguments.url)?;
    let (index, listener) = listener(config, arguments.listener.as_deref())?;
    let fields = arguments.headers.iter().map(|text| field(text)).collect::<Result<Vec<_>>>()?;
    let mut lines = Lines(String::new());
    lines.add("request", format!("{} {}{asked} at listener {}", arguments.method, authority, listener.name));
    let slash = config.routing().escaped_slash;
    let target = match Target::read(asked.as_bytes(), slash) {
        Ok(target) => target,
        Err(error) => {
            lines.add("becomes", format!("400 Bad Request: {error}"));
            return Ok(lines.0);
        }
    };
    lines.add("path", String::from_utf8_lossy(target.path()).into_owned());
    let table = Table::new(config.routes(), index);
    let request = Request {
        method: arguments.method.as_bytes(),
        host: authority.as_bytes(),
        target: &target,
        source: arguments.source,
        fields: &fields[..],
    };
    let route = table.choose(&request).map(|index| &config.routes()[index.position()]);
    let Some(route) = route else {
        lines.add("route", "none that matches".to_owned());
        lines.pool(config.pool(listener.pool), "");
        return Ok(lines.0);
    };
    lines.add("route", format!("{} ({file}:{})", route.name, route.line));
    lines.add("matches", conditions(&route.conditions));
    let values = Values {
        route,
        client: &arguments.source.to_string(),
        authority: authority.as_bytes(),
        scheme,
        method: arguments.method.as_bytes(),
        target: &target,
        request_id: "REQUEST-ID",
        tls_version: if scheme == Scheme::Https { "TLSv1.3" } else { "" },
    };
    guards(route, &mut lines);
    outcome(config, listener, route, &values, arguments.source, &mut lines);
    Ok(lines.0)
}

fn field(text: &str) -> Result<(&str, &str)> {
    let (name, value) =
        text.split_once(':').with_context(|| format!("`{text}` is no field; write `Name: value`"))?;
    Ok((name.trim(), value.trim()))
}

struct Lines(String);

impl Lines {
    #[expect(clippy::needless_pass_by_value, reason = "callers make the text for this line")]
    fn add(&mut self, label: &str, text: String) {
        self.0.push_str(&format!("{label:<10}{text}\n"));
    }

    fn edits(&mut self, label: &str, edits: &FieldEdits, values: &Values<'_>) {
        for (name, template) in &edits.add {
            let mut value = Vec::new();
            render(template, values, &mut value);
            self.add(label, format!("gains {name}: {}", String::from_utf8_lossy(&value)));
        }
        let set = |name: &&String| edits.add.iter().any(|(added, _)| added.eq_ignore_ascii_case(name));
        for name in edits.remove.iter().filter(|name| !set(name)) {
            self.add(label, format!("loses {name}"));
        }
    }
}

impl Lines {
    /// Which pool the request goes to, and whether its client belongs to a server there.
    fn pool(&mut self, pool: &Pool, why: &str) {
        self.add("becomes", format!("a request to pool {}{why}", pool.name));
        if let Some(sticky) = &pool.sticky {
            self.add("sticky", format!("by the cookie `{}` to the server that answered last", sticky.cookie));
        }
    }
}

/// What a request must pass before the route does anything with it.
fn guards(route: &Route, lines: &mut Lines) {
    if let Some(limit) = &route.rate_limit {
        let by = match &limit.by {
            RateKey::Source => "for each client address".to_owned(),
            RateKey::Header(name) => format!("for each value of {name}"),
            RateKey::Route => "for all clients together".to_owned(),
        };
        lines.add(
            "limit",
            format!(
                "{} requests in {:?}, {} at once, {by}; else 429",
                limit.requests, limit.per, limit.burst
            ),
        );
    }
    if let Some(auth) = &route.basic_auth {
        lines.add("guard", format!("a name and its password for `{}`; else 401", auth.realm));
    }
    if let Some(compress) = &route.compress {
        let codings: Vec<&str> = compress.codings.iter().map(|coding| coding.name()).collect();
        lines.add("answer", format!("compressed where the client takes {}", codings.join(", ")));
    }
}

fn outcome(
    config: &Config,
    listener: &Listener,
    route: &Route,
    values: &Values<'_>,
    source: IpAddr,
    lines: &mut Lines,
) {
    let exempt =
        |networks: &[evenkeel_config::Network]| networks.iter().any(|network| network.contains(source));
    if let Some(maintenance) = &route.maintenance
        && !exempt(&maintenance.exempt)
    {
        lines.add(
            "becomes",
            format!("503: the route is in maintenance, Retry-After {} s", maintenance.retry_after.as_secs()),
        );
        lines.edits("answer", &route.response_edits, values);
        return;
    }
    match &route.action {
        Action::Redirect(redirect) => {
            let mut location = Vec::new();
            render(&redirect.to, values, &mut location);
            lines.add("becomes", format!("{} to {}", redirect.status, String::from_utf8_lossy(&location)));
        }
        Action::Respond(respond) => lines.add("becomes", format!("{}: a fixed answer", respond.status)),
        Action::ListenerPool | Action::Pools(_) => {
            let (pool, why) = match &route.action {
                Action::Pools(shares) => {
                    let pool = share(route, shares, source).unwrap_or(listener.pool);
                    let why = if shares.len() > 1 {
                        format!(", by the weight of {} pools for {source}", shares.len())
                    } else {
                        String::new()
                    };
                    (pool, why)
                }
                Action::ListenerPool | Action::Redirect(_) | Action::Respond(_) => {
                    (listener.pool, ", the listener's".to_owned())
                }
            };
            lines.pool(config.pool(pool), &why);
            let target = match &route.rewrite {
                Some(to) => match rewrite(to, values, config.routing().escaped_slash) {
                    Ok(target) => target,
                    Err(error) => {
                        lines.add("but", format!("400 Bad Request, for rewritten: {error}"));
                        return;
                    }
                },
                None => values.target.whole(),
            };
            lines.add("asks for", String::from_utf8_lossy(&target).into_owned());
            lines.edits("request", &route.request_edits, values);
        }
    }
    lines.edits("answer", &route.response_edits, values);
}

/// The conditions in words.
fn conditions(conditions: &Conditions) -> String {
    let mut words = Vec::new();
    let hosts = conditions.hosts.iter().map(|host| match host {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Below(name) => format!("*.{name}"),
    });
    let hosts: Vec<String> = hosts.collect();
    if !hosts.is_empty() {
        words.push(format!("host {}", hosts.join(" or ")));
    }
    match &conditions.path {
        PathPattern::Any => {}
        PathPattern::Exact(path) => words.push(format!("path {path}")),
        PathPattern::Prefix(path) => words.push(format!("path {path} and below")),
        PathPattern::Regex(pattern) => words.push(format!("path like {}", pattern.as_str())),
    }
    if !conditions.methods.is_empty() {
        words.push(format!("method {}", conditions.methods.join(" or ")));
    }
    let named = conditions.headers.iter().map(|header| ("field", header));
    for (kind, condition) in named.chain(conditions.queries.iter().map(|query| ("parameter", query))) {
        let what = match &condition.value {
            Value::Present => "present".to_owned(),
            Value::Absent => "absent".to_owned(),
            Value::Exact(text) => format!("`{text}`"),
            Value::Prefix(text) => format!("beginning with `{text}`"),
            Value::Regex(pattern) => format!("like {}", pattern.as_str()),
        };
        words.push(format!("{kind} {} {what}", condition.name));
    }
    if !conditions.sources.is_empty() {
        words.push("client in one of its networks".to_owned());
    }
    if words.is_empty() { "every request".to_owned() } else { words.join(", ") }
}
