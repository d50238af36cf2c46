//! Routes made ready for the workers, off their threads.
//!
//! Owns: reading the files that routes name, and building each worker's tables, so that a reload with 10,000 routes delays
//! no request. Invariant I8: a file that cannot be used refuses the whole configuration.

use std::{
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
};

use evenkeel_config::balancer::{
    self, Config, Listener,
    route::{Action, BasicAuth, MAX_PAGE_BYTES, Page as Told, PageSource, RateLimit, Route},
};
use evenkeel_route::{Limiter, Table};

use super::{
    Routes, Rule, concern,
    errors::{ErrorPage, ErrorPages},
    guard::{self, Guard, Remembered, UsersError, Verifier},
    mirror::Mirror,
    names_request,
    own::Page,
};
use crate::{check::Wrong, plan::with_causes, pool::PoolState};

/// Why a route cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// Its page cannot be read.
    #[error("{place}: the page `{path}` cannot be read; is it there, and may this user read it?")]
    Page {
        /// The route or listener.
        place: String,
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// An error page is not text.
    #[error("{place}: the error page `{path}` is not UTF-8; save it in this encoding")]
    PageNotText {
        /// The route or listener.
        place: String,
        /// The file.
        path: String,
    },
    /// Its users cannot be taken from their file.
    #[error("route `{route}`: the file of users `{path}`")]
    Users {
        /// The route.
        route: String,
        /// The file.
        path: String,
        /// What is wrong with it.
        source: UsersError,
    },
    /// There is no thread for checking passwords.
    #[error("passwords cannot be checked: the system grants no thread")]
    Thread(#[source] io::Error),
    /// There is no secret for its counts or its logins.
    #[error("the system gives no random bytes; is /dev/urandom there?")]
    Random(#[source] getrandom::Error),
    /// Its page is too large.
    #[error("{place}: the page `{path}` is larger than {MAX_PAGE_BYTES} bytes; let a server give it")]
    PageTooLarge {
        /// The route or listener.
        place: String,
        /// The file.
        path: String,
    },
}

/// The routes of a configuration, with what they need.
pub(crate) struct PlannedRoutes {
    /// One for each worker that has not taken over the plan.
    workers: Mutex<Vec<Option<ForWorker>>>,
    /// Counts that go on through a reload: by route and limit.
    limiters: Vec<Count>,
    verifier: Option<Verifier>,
    /// What errors look like, for each listener.
    errors: Vec<Arc<ErrorPages>>,
}

/// The counts of a route, by its name and its limit.
type Count = (String, RateLimit, Arc<Limiter>);

/// What one worker gets.
struct ForWorker {
    rules: Vec<Ready>,
    /// One for each listener that has routes.
    tables: Vec<Option<Table>>,
}

/// A route with what does not depend on the worker.
#[derive(Clone)]
struct Ready {
    route: Route,
    page: Option<Page>,
    closed: Option<Page>,
    limiter: Option<Arc<Limiter>>,
    guard: Option<Arc<Guard>>,
    errors: Option<Arc<ErrorPages>>,
}

impl PlannedRoutes {
    /// Makes the routes of `config` ready for so many workers, in the place of `before`.
    pub(crate) fn new(config: &Config, workers: usize, before: Option<&Self>) -> Result<Self, RouteError> {
        let mut limiters = Vec::new();
        let mut verifier = before.and_then(|plan| plan.verifier.clone());
        let errors = listener_errors(config)?;
        let mut rules = Vec::new();
        for route in config.routes() {
            let limiter = match &route.rate_limit {
                None => None,
                Some(limit) => {
                    let name = route.name.as_str();
                    let same = |(route, known, _): &&Count| route == name && known == limit;
                    let limiter = match before.and_then(|plan| plan.limiters.iter().find(same)) {
                        Some((_, _, limiter)) => Arc::clone(limiter),
                        None => Arc::new(Limiter::new(limit, secret()?)),
                    };
                    limiters.push((name.to_owned(), limit.clone(), Arc::clone(&limiter)));
                    Some(limiter)
                }
            };
            let page = match &route.action {
                Action::Respond(respond) => page(route, &respond.page)?,
                Action::ListenerPool | Action::Pools(_) | Action::Redirect(_) => None,
            };
            let closed = route.maintenance.as_ref().and_then(|maintenance| maintenance.page.as_ref());
            let closed = closed.map(|told| self::page(route, told)).transpose()?.flatten();
            let guard = guard(route, &mut verifier)?;
            let own = match &route.error_pages[..] {
                [] => None,
                told => {
                    let pages = error_pages(&place(route), told)?;
                    Some(Arc::new(ErrorPages::new(pages, &ErrorPages::default())))
                }
            };
            rules.push(Ready { page, closed, limiter, guard, errors: own, route: route.clone() });
        }
        let table = |(position, listener)| {
            let index =
                config.listener_index(position).filter(|&index| concern(config.routes(), index, listener))?;
            Some(Table::new(config.routes(), index))
        };
        let tables: Vec<Option<Table>> = config.listeners().iter().enumerate().map(table).collect();
        let worker = |_| Some(ForWorker { rules: rules.clone(), tables: tables.clone() });
        let workers = if rules.is_empty() { Vec::new() } else { (0..workers).map(worker).collect() };
        Ok(Self { workers: Mutex::new(workers), limiters, verifier, errors })
    }

    /// What errors look like at each listener.
    pub(crate) fn errors(&self) -> &[Arc<ErrorPages>] {
        &self.errors
    }

    /// The routes of each listener for a worker, once; none when there are none.
    pub(crate) fn take(
        &self,
        worker: usize,
        config: &Config,
        pools: &[Rc<PoolState>],
    ) -> Vec<Option<Routes>> {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(planned) = workers.get_mut(worker).and_then(Option::take) else { return Vec::new() };
        drop(workers);
        let rule = |ready: Ready| {
            let shares = if let Action::Pools(shares) = &ready.route.action { &shares[..] } else { &[] };
            Rc::new(Rule {
                pools: shares.iter().map(|share| Rc::clone(&pools[share.pool.position()])).collect(),
                page: ready.page,
                closed: ready.closed,
                limiter: ready.limiter,
                guard: ready.guard,
                known: Remembered::default(),
                mirror: ready
                    .route
                    .mirror
                    .as_ref()
                    .map(|mirror| Mirror::new(mirror, Rc::clone(&pools[mirror.pool.position()]))),
                errors: ready.errors,
                names_request: names_request(&ready.route),
                route: ready.route,
            })
        };
        let rules: Rc<[Rc<Rule>]> = planned.rules.into_iter().map(rule).collect();
        let slash = config.routing().escaped_slash;
        let routes = |table| Routes { table, rules: Rc::clone(&rules), slash };
        planned.tables.into_iter().map(|table| table.map(routes)).collect()
    }
}

/// A number that nobody outside can know.
fn secret() -> Result<u64, RouteError> {
    getrandom::u64().map_err(RouteError::Random)
}

/// What errors look like at each listener: its own pages before those of all.
fn listener_errors(config: &Config) -> Result<Vec<Arc<ErrorPages>>, RouteError> {
    let pages = error_pages(OF_ALL, config.error_pages())?;
    let all = Arc::new(ErrorPages::new(pages, &ErrorPages::default()));
    let of = |listener: &Listener| match &listener.error_pages[..] {
        [] => Ok(Arc::clone(&all)),
        told => Ok(Arc::new(ErrorPages::new(error_pages(&at(listener), told)?, &all))),
    };
    config.listeners().iter().map(of).collect()
}

/// The error pages of all listeners, as errors name them.
const OF_ALL: &str = "[error_pages]";

/// A listener, as errors name it.
fn at(listener: &Listener) -> String {
    format!("listener `{}`", listener.name)
}

/// A route, as errors name it.
fn place(route: &Route) -> String {
    format!("route `{}`", route.name)
}

/// The files of routes and error pages that are of no use.
pub(crate) fn wrong_files(config: &Config) -> Vec<Wrong> {
    let mut wrong = wrong_error_pages(("error_pages.", OF_ALL), config.error_pages());
    for listener in config.listeners() {
        let table = format!("listener[{}].error_pages.", listener.name);
        wrong.extend(wrong_error_pages((&table, &at(listener)), &listener.error_pages));
    }
    for (index, route) in config.routes().iter().enumerate() {
        let number = (index + 1).to_string();
        let is_unnamed = route.name.as_str().strip_prefix("route-") == Some(number.as_str());
        let table = format!("route[{}].", if is_unnamed { &number } else { route.name.as_str() });
        let pages = wrong_error_pages((&format!("{table}error_pages."), &place(route)), &route.error_pages);
        wrong.extend(pages);
        wrong.extend(wrong_of_route(route).into_iter().map(|(path, error)| Wrong {
            table: table.clone(),
            path: PathBuf::from(path),
            sentence: with_causes(&error),
        }));
    }
    wrong
}

/// Those of one table of error pages, each looked at by itself.
fn wrong_error_pages((table, place): (&str, &str), told: &[balancer::route::ErrorPage]) -> Vec<Wrong> {
    let wrong = |told: &balancer::route::ErrorPage| {
        let error = error_pages(place, std::slice::from_ref(told)).err()?;
        let (table, path) = (table.to_owned(), PathBuf::from(told.file.as_str()));
        Some(Wrong { table, path, sentence: with_causes(&error) })
    };
    told.iter().filter_map(wrong).collect()
}

/// Those of a route besides its error pages.
fn wrong_of_route<'a>(route: &'a Route) -> Vec<(&'a str, RouteError)> {
    let shown = match &route.action {
        Action::Respond(respond) => Some(&respond.page),
        Action::ListenerPool | Action::Pools(_) | Action::Redirect(_) => None,
    };
    let closed = route.maintenance.as_ref().and_then(|maintenance| maintenance.page.as_ref());
    let page = |told: &'a Told| match (&told.source, page(route, told)) {
        (PageSource::File(path), Err(error)) => Some((path.as_str(), error)),
        (PageSource::File(_) | PageSource::Empty | PageSource::Text(_), _) => None,
    };
    let users = route.basic_auth.as_ref().and_then(|told| {
        let path = told.file.as_ref()?.as_str();
        Some((path, users_error(route, told, guard::users(told).err()?)))
    });
    shown.into_iter().chain(closed).filter_map(page).chain(users).collect()
}

/// Why users cannot be taken from a route's file.
fn users_error(route: &Route, told: &BasicAuth, source: UsersError) -> RouteError {
    RouteError::Users {
        route: route.name.as_str().to_owned(),
        path: told.file.as_ref().map(|file| file.as_str().to_owned()).unwrap_or_default(),
        source,
    }
}

/// A page as the configuration tells of it, with its file read.
fn page(route: &Route, told: &Told) -> Result<Option<Page>, RouteError> {
    let body = match &told.source {
        PageSource::Empty => return Ok(None),
        PageSource::Text(text) => text.as_bytes().into(),
        PageSource::File(path) => read(&place(route), path.as_str())?.into(),
    };
    Ok(Some(Page { content_type: told.content_type.as_str().into(), body }))
}

fn read(place: &str, path: &str) -> Result<Vec<u8>, RouteError> {
    let mut bytes = Vec::new();
    let limit = MAX_PAGE_BYTES as u64 + 1;
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    let (place, path) = (place.to_owned(), path.to_owned());
    match read {
        Err(source) => Err(RouteError::Page { place, path, source }),
        Ok(_) if bytes.len() > MAX_PAGE_BYTES => Err(RouteError::PageTooLarge { place, path }),
        Ok(_) => Ok(bytes),
    }
}

/// The pages of errors, with their files read.
fn error_pages(place: &str, told: &[balancer::route::ErrorPage]) -> Result<Vec<ErrorPage>, RouteError> {
    let page = |told: &balancer::route::ErrorPage| {
        let path = told.file.as_str();
        let bytes = read(place, path)?;
        let not_text = |_| RouteError::PageNotText { place: place.to_owned(), path: path.to_owned() };
        let text = String::from_utf8(bytes).map_err(not_text)?;
        Ok(ErrorPage { least: told.least, most: told.most, text: text.into() })
    };
    told.iter().map(page).collect()
}

/// The guard of a route, and the thread that checks for it.
fn guard(route: &Route, verifier: &mut Option<Verifier>) -> Result<Option<Arc<Guard>>, RouteError> {
    let Some(told) = &route.basic_auth else { return Ok(None) };
    let verifier = match verifier {
        Some(verifier) => verifier.clone(),
        None => verifier.insert(Verifier::start().map_err(RouteError::Thread)?).clone(),
    };
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(RouteError::Random)?;
    let guard = Guard::new(told, secret, verifier).map_err(|source| users_error(route, told, source))?;
    Ok(Some(Arc::new(guard)))
}
