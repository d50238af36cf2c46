//! `[[route]]`: which requests of the HTTP listeners are treated otherwise than by the listener's pool, and how.
//!
//! Owns: one file for each thing that a route can do, and `matching` for whom it does it. Leaves to others: finding the
//! route of a request (`core/route`) and doing what it says (`io/proxy`). Invariants: the pools and listeners of a route
//! exist and its listeners speak HTTP; no two routes are for the same requests, so each can be reached.

mod answer;
mod compress;
mod edit;
mod errors;
mod guard;
mod limit;
mod matching;
mod mirror;
mod pattern;
mod target;
mod template;

use alloc::{borrow::ToOwned as _, format, string::String, vec::Vec};

use super::{Claims, ListenerIndex, Mode, PoolIndex, listener::ListenerDraft, pool::PoolDraft, ranges};
use crate::{
    Name, Weight,
    document::{Field, Section},
    range::Count,
};

pub use answer::{MAX_PAGE_BYTES, Maintenance, Page, PageSource, Redirect, Respond};
pub use compress::{Coding, Compress};
pub use edit::FieldEdits;
pub use errors::ErrorPage;
pub use guard::{BasicAuth, MAX_USERS, PasswordHash, is_user};
pub use limit::{RateKey, RateLimit, RetryMethods, RouteDeadlines, RouteRetry};
pub(super) use matching::networks;
pub use matching::{Condition, Conditions, HostPattern, PathPattern, Value};
pub use mirror::Mirror;
pub use pattern::{GroupIndex, Groups, Pattern};
pub use target::{EscapedSlash, Routing};
pub use template::{Piece, Template, Variable};

pub(super) use edit::is_token;
pub(super) use errors::error_pages;
pub(super) use target::{ROUTING_KEYS, routing};

use mirror::MirrorDraft;
use template::Matched;

/// What is done with some requests.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// Its name; `route-N` for the Nth of the file when it has none of its own.
    pub name: Name,
    /// The line where it stands.
    pub line: usize,
    /// The listeners it is for; none for all that speak HTTP.
    pub listeners: Vec<ListenerIndex>,
    /// The requests it is for.
    pub conditions: Conditions,
    /// Whom or what they get.
    pub action: Action,
    /// What the server is asked for in the place of the client's path; `None` for just that.
    pub rewrite: Option<Template>,
    /// What is changed of the request's fields.
    pub request_edits: FieldEdits,
    /// What is changed of the answer's fields, whoever gives it.
    pub response_edits: FieldEdits,
    /// Whether almost everyone gets 503.
    pub maintenance: Option<Maintenance>,
    /// How many requests it takes; `None` for any number.
    pub rate_limit: Option<RateLimit>,
    /// How long its requests may take.
    pub deadlines: RouteDeadlines,
    /// When an answer counts as none; `None` for never.
    pub retry: Option<RouteRetry>,
    /// Who may use it; `None` for everyone.
    pub basic_auth: Option<BasicAuth>,
    /// Which of its answers are compressed; `None` for none.
    pub compress: Option<Compress>,
    /// Where copies of its requests go.
    pub mirror: Option<Mirror>,
    /// What its errors look like, before those of all routes.
    pub error_pages: Vec<ErrorPage>,
}

/// Whom or what the requests of a route get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The listener's pool.
    ListenerPool,
    /// One of these pools; at least one.
    Pools(Vec<Share>),
    /// Another place to go.
    Redirect(Redirect),
    /// A fixed answer.
    Respond(Respond),
}

/// A pool's part of a route's clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Share {
    /// The pool.
    pub pool: PoolIndex,
    /// Its part beside the others.
    pub weight: Weight,
}

const ROUTE_KEYS: &[&str] = &[
    "name",
    "listener",
    "host",
    "path",
    "path_prefix",
    "path_regex",
    "method",
    "header",
    "query",
    "source",
    "pool",
    "pools",
    "redirect",
    "respond",
    "maintenance",
    "rewrite",
    "request_header",
    "response_header",
    "rate_limit",
    "deadlines",
    "retry",
    "basic_auth",
    "compress",
    "mirror",
    "error_pages",
];

/// A route whose pools and listeners are not resolved yet.
pub(super) struct RouteDraft<'a> {
    listeners: Vec<Field<'a>>,
    pools: Vec<(Field<'a>, Option<Weight>)>,
    /// The mirror, when it is well-formed, with the field that names its pool.
    mirror: Option<Option<(MirrorDraft, Field<'a>)>>,
    /// Everything else; without an action of its own it is for the pools above.
    route: Option<Route>,
    section: Section<'a>,
}

impl RouteDraft<'_> {
    /// The names of its pools, as they stand there.
    pub(super) fn pool_names(&self) -> impl Iterator<Item = String> {
        let mirror = self.mirror.iter().flatten().map(|(mirror, _)| mirror.pool.clone());
        self.pools.iter().filter_map(|(field, _)| field.as_text()).chain(mirror)
    }
}

pub(super) fn routes<'a>(top: &Section<'a>) -> Vec<RouteDraft<'a>> {
    let mut names = Claims(Vec::new());
    let sections = top.tables("route", ROUTE_KEYS, ranges::MAX_ROUTES);
    sections.into_iter().enumerate().map(|(index, section)| draft(section, index, &mut names)).collect()
}

fn draft<'a>(section: Section<'a>, index: usize, names: &mut Claims<Name>) -> RouteDraft<'a> {
    let name = match section.field("name") {
        None => Name::parse(&format!("route-{}", index + 1)),
        Some(field) => field.name().inspect(|name| names.claim(name.clone(), &field, "give it another name")),
    };
    let pools = pools(&section);
    RouteDraft {
        listeners: section.field("listener").map(|field| field.items()).unwrap_or_default(),
        route: route(&section, name, pools.as_ref().is_some_and(|pools| !pools.is_empty())),
        pools: pools.unwrap_or_default(),
        mirror: section.optional("mirror", mirror::mirror),
        section,
    }
}

fn route(section: &Section<'_>, name: Option<Name>, has_pools: bool) -> Option<Route> {
    let conditions = matching::conditions(section);
    let matched = match conditions.as_ref().map(|conditions| &conditions.path) {
        Some(PathPattern::Prefix(_)) => Matched::Prefix,
        // A prefix of `/` is any path, and all of it is behind the prefix.
        Some(PathPattern::Any) if section.field("path_prefix").is_some() => Matched::Prefix,
        Some(PathPattern::Regex(pattern)) => Matched::Groups(pattern),
        Some(PathPattern::Any | PathPattern::Exact(_)) | None => Matched::Nothing,
    };
    let action = action(section, matched, has_pools);
    let rewrite = section.optional("rewrite", |field| target::rewrite(field, matched));
    let request_edits = edit::field_edits(section, "request_header", matched);
    let response_edits = edit::field_edits(section, "response_header", matched);
    let maintenance = match section.field("maintenance") {
        None => Some(None),
        Some(field) => answer::maintenance(&field),
    };
    let rate_limit = section.optional("rate_limit", limit::rate_limit);
    let deadlines = limit::deadlines(section);
    let retry = limit::retry(section);
    let basic_auth = section.optional("basic_auth", guard::basic_auth);
    let compress = match section.field("compress") {
        None => Some(None),
        Some(field) => compress::compress(&field),
    };
    let error_pages = error_pages(section);
    Some(Route {
        name: name?,
        line: section.line(),
        listeners: Vec::new(),
        conditions: conditions?,
        action: action?,
        rewrite: rewrite?,
        request_edits: request_edits?,
        response_edits: response_edits?,
        maintenance: maintenance?,
        rate_limit: rate_limit?,
        deadlines: deadlines?,
        retry: retry?,
        basic_auth: basic_auth?,
        compress: compress?,
        mirror: None,
        error_pages: error_pages?,
    })
}

/// The fields that name its pools, with their weights; `None` when something is wrong with them.
fn pools<'a>(section: &Section<'a>) -> Option<Vec<(Field<'a>, Option<Weight>)>> {
    let Some(list) = section.field("pools") else {
        return Some(section.field("pool").into_iter().map(|field| (field, Some(Weight::ONE))).collect());
    };
    if section.field("pool").is_some() {
        list.refuse("one of pool and pools", "list every pool in pools, with its weight");
        return None;
    }
    let items = list.items();
    if items.is_empty() || items.len() > ranges::MAX_SHARES {
        list.refuse(
            format!("1 to {} tables such as {{ name = \"canary\", weight = 5 }}", ranges::MAX_SHARES),
            "give each pool its weight beside the others",
        );
        return None;
    }
    let share = |item: Field<'a>| {
        let table = item.as_section(&["name", "weight"])?;
        let name = table.required("name", "name = \"canary\"")?;
        let weight = match table.field("weight") {
            None => Some(Weight::ONE),
            Some(field) => field.count(Count::new(1, 1, u64::from(Weight::MOST))).and_then(Weight::new),
        };
        Some((name, weight))
    };
    let shares: Vec<_> = items.into_iter().map(share).collect();
    shares.into_iter().collect()
}

fn action(section: &Section<'_>, matched: Matched<'_>, has_pools: bool) -> Option<Action> {
    match (section.field("redirect"), section.field("respond")) {
        (None, None) => Some(Action::ListenerPool),
        (Some(field), None) | (None, Some(field)) if has_pools => {
            field.refuse("one of pool, pools, redirect and respond", "make it two routes");
            None
        }
        (Some(field), None) => answer::redirect(&field, matched).map(Action::Redirect),
        (None, Some(field)) => answer::respond(&field).map(Action::Respond),
        (Some(_), Some(field)) => {
            field.refuse("one of pool, pools, redirect and respond", "make it two routes");
            None
        }
    }
}

/// Puts each route to its pools and listeners; notes those that do not exist, and routes that can never be reached.
pub(super) fn resolve(
    drafts: Vec<RouteDraft<'_>>,
    listeners: &[ListenerDraft<'_>],
    pools: &[PoolDraft],
) -> Option<Vec<Route>> {
    let resolved: Vec<_> = drafts
        .into_iter()
        .map(|draft| {
            let shares = resolve_pools(&draft, pools);
            let listeners = resolve_listeners(&draft, listeners);
            let mirror = resolve_mirror(&draft, pools);
            let mut route = draft.route?;
            route.listeners = listeners?;
            route.mirror = mirror?;
            let shares = shares?;
            if !shares.is_empty() {
                route.action = Action::Pools(shares);
            }
            Some((route, draft.section))
        })
        .collect();
    let resolved: Vec<_> = resolved.into_iter().collect::<Option<_>>()?;
    refuse_twins(&resolved);
    Some(resolved.into_iter().map(|(route, _)| route).collect())
}

fn resolve_mirror(draft: &RouteDraft<'_>, pools: &[PoolDraft]) -> Option<Option<Mirror>> {
    let Some((mirror, field)) = draft.mirror.as_ref()? else { return Some(None) };
    let pool = find_pool(field, &mirror.pool, pools)?;
    if let Some(told) = pools.get(pool.position()).and_then(|draft| draft.pool.as_ref()) {
        mirror::takes_copies(field, told)?;
    }
    Some(Some(mirror.resolve(pool)))
}

/// The pool of this name; notes it when there is none.
fn find_pool(field: &Field<'_>, name: &str, pools: &[PoolDraft]) -> Option<PoolIndex> {
    let position = pools.iter().position(|pool| pool.label.as_deref() == Some(name));
    if position.is_none() && pools.iter().all(|pool| pool.label.is_some()) {
        field.refuse_unresolved(pools.iter().filter_map(|pool| pool.label.clone()).collect());
    }
    position.map(PoolIndex)
}

fn resolve_pools(draft: &RouteDraft<'_>, pools: &[PoolDraft]) -> Option<Vec<Share>> {
    let resolve = |(field, weight): &(Field<'_>, Option<Weight>)| {
        let name = field
            .text("the name of a pool", "write the `name` of a [[pool]]", |text| Some(text.to_owned()))?;
        Some(Share { pool: find_pool(field, &name, pools)?, weight: (*weight)? })
    };
    let shares: Vec<_> = draft.pools.iter().map(resolve).collect();
    shares.into_iter().collect()
}

fn resolve_listeners(draft: &RouteDraft<'_>, listeners: &[ListenerDraft<'_>]) -> Option<Vec<ListenerIndex>> {
    let resolve = |field: &Field<'_>| {
        let name = field.text("the name of a listener", "write the `name` of a [[listener]]", |text| {
            Some(text.to_owned())
        })?;
        let named =
            |listener: &ListenerDraft<'_>| listener.name.as_ref().is_some_and(|known| known.as_str() == name);
        let position = listeners.iter().position(named);
        match position.map(|at| listeners[at].mode) {
            Some(Some(Mode::Tcp)) => {
                field.refuse("the name of a listener of mode \"http\"", "only requests have routes");
                None
            }
            None if listeners.iter().all(|listener| listener.name.is_some()) => {
                let known = listeners.iter().filter_map(|listener| listener.name.as_ref());
                field.refuse_unresolved(known.map(|name| name.as_str().to_owned()).collect());
                None
            }
            Some(_) | None => position.map(ListenerIndex),
        }
    };
    let mut indexes: Vec<_> =
        draft.listeners.iter().map(resolve).collect::<Vec<_>>().into_iter().collect::<Option<_>>()?;
    indexes.sort_unstable();
    indexes.dedup();
    Some(indexes)
}

/// Notes routes that are for the same requests as an earlier one, and so would never be taken.
///
/// No other route can hide one: of two that match, the one with the narrower host, path and conditions is taken.
fn refuse_twins(routes: &[(Route, Section<'_>)]) {
    let key = |route: &Route| {
        let path = match &route.conditions.path {
            PathPattern::Any => (0, ""),
            PathPattern::Exact(path) => (1, path.as_str()),
            PathPattern::Prefix(path) => (2, path.as_str()),
            PathPattern::Regex(pattern) => (3, pattern.as_str()),
        };
        (path.0, path.1.to_owned())
    };
    let mut order: Vec<usize> = (0..routes.len()).collect();
    order.sort_by_cached_key(|&index| key(&routes[index].0));
    for same_path in order.chunk_by(|&a, &b| key(&routes[a].0) == key(&routes[b].0)) {
        for (place, &later) in same_path.iter().enumerate() {
            let (route, section) = &routes[later];
            let twin =
                same_path[..place].iter().map(|&at| &routes[at].0).find(|earlier| hides(earlier, route));
            if let Some(earlier) = twin {
                section.refuse_repeated(earlier.line, "give it another condition, or join the two");
            }
        }
    }
}

/// Whether every request for `later` is one for `earlier`, which stands before it.
fn hides(earlier: &Route, later: &Route) -> bool {
    let (wide, narrow) = (&earlier.conditions, &later.conditions);
    let rest =
        wide.headers == narrow.headers && wide.queries == narrow.queries && wide.sources == narrow.sources;
    rest && wide.hosts.is_empty() == narrow.hosts.is_empty()
        && covers(&wide.hosts, &narrow.hosts)
        && wide.methods.is_empty() == narrow.methods.is_empty()
        && covers(&wide.methods, &narrow.methods)
        && covers(&earlier.listeners, &later.listeners)
}

/// Whether all of `narrow` is in `wide`, where nothing stands for everything.
fn covers<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
    wide.is_empty() || !narrow.is_empty() && narrow.iter().all(|item| wide.contains(item))
}
