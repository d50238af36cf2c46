//! What a client reads when there is no answer from a server.
//!
//! Owns: the form of our own errors: text, a page for browsers, a problem for programs (RFC 9457), or a file of the
//! operator's. Invariant: each shows the request's id, which the access log repeats.

use std::sync::Arc;

use evenkeel_route::Form;

use crate::{
    http1::{answer::phrase, request::Request},
    listening::Settings,
};

/// The operator's pages, by status.
#[derive(Debug, Default)]
pub(crate) struct ErrorPages(Vec<ErrorPage>);

/// A page for statuses.
#[derive(Debug, Clone)]
pub(crate) struct ErrorPage {
    pub(crate) least: u16,
    pub(crate) most: u16,
    pub(crate) text: Arc<str>,
}

impl ErrorPages {
    /// Pages in the order in which they are looked at: those for one status before those for a hundred, and these before
    /// `others`.
    pub(crate) fn new(mut pages: Vec<ErrorPage>, others: &Self) -> Self {
        pages.sort_by_key(|page| (page.most - page.least, page.least));
        pages.extend(others.0.iter().cloned());
        Self(pages)
    }

    fn find(&self, status: u16) -> Option<&str> {
        self.0.iter().find(|page| (page.least..=page.most).contains(&status)).map(|page| &*page.text)
    }
}

/// Where the page of an error is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pages<'p> {
    route: Option<&'p ErrorPages>,
    /// Of the listener, and behind them those of all.
    listener: &'p ErrorPages,
}

impl<'p> Pages<'p> {
    fn find(self, status: u16) -> Option<&'p str> {
        self.route.and_then(|route| route.find(status)).or_else(|| self.listener.find(status))
    }
}

/// What errors of a request look like: as its route says, else as its listener does, else as all listeners have it.
pub(crate) fn pages<'p>(settings: &'p Settings, request: Option<&'p Request>) -> Pages<'p> {
    let route = request.and_then(|request| request.ruled.as_ref()?.error_pages());
    Pages { route, listener: &settings.errors }
}

/// The form in which the client of a request wants to read an error.
pub(crate) fn form(request: Option<&Request>) -> Form {
    let Some(request) = request else { return Form::Text };
    // The head as the server would have got it, in which each line ends with CR LF.
    let lines =
        request.bytes.split(|&b| b == b'\n').skip(1).map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let fields = lines.take_while(|line| !line.is_empty());
    let accept = fields.filter_map(|line| {
        let (name, value) = line.split_at_checked(7)?;
        name.eq_ignore_ascii_case(b"accept:").then_some(value)
    });
    Form::wanted(accept)
}

/// The type and the text of an error.
pub(crate) fn body(
    pages: Pages<'_>,
    form: Form,
    (status, reason, id): (u16, &str, &str),
) -> (&'static str, String) {
    const HTML: &str = "text/html; charset=utf-8";
    let phrase = phrase(status);
    match (form, pages.find(status)) {
        (Form::Json, _) => {
            let problem = serde_json::json!({
                "type": "about:blank", "title": phrase, "status": status, "detail": reason, "request_id": id,
            });
            ("application/problem+json", format!("{problem}\n"))
        }
        (Form::Html | Form::Text, Some(page)) => (HTML, filled(page, status, reason, id)),
        (Form::Html, None) => (HTML, filled(PAGE, status, reason, id)),
        (Form::Text, None) => {
            ("text/plain; charset=utf-8", format!("{status} {phrase}: {reason}\nrequest id: {id}\n"))
        }
    }
}

/// A page that needs nothing else and speaks to people.
const PAGE: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
<title>{status} {phrase}</title>\n<body style=\"font:1.1em/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em\">\
<h1>{status} {phrase}</h1>\n<p>{reason}.</p>\n<p style=\"color:#666\">Request id: <code>{request_id}</code></p>\n";

/// A page with `{status}`, `{phrase}`, `{reason}` and `{request_id}` filled in; other braces stay.
fn filled(page: &str, status: u16, reason: &str, id: &str) -> String {
    let escaped = reason.replace('&', "&amp;").replace('<', "&lt;");
    page.replace("{status}", &status.to_string())
        .replace("{phrase}", phrase(status))
        .replace("{reason}", &escaped)
        .replace("{request_id}", id)
}
