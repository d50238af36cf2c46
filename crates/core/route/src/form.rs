//! In which form a client wants to read an error (RFC 9110 §12.5.1).

use crate::encoding::thousandths;

/// A form of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// A line of text: for who says nothing, or takes anything.
    Text,
    /// A page, for browsers.
    Html,
    /// A problem (RFC 9457), for programs.
    Json,
}

impl Form {
    /// The form that Accept fields with these values like best: the type that is named with the highest quality, and
    /// of two alike the one that is named first.
    #[must_use]
    pub fn wanted<'v>(values: impl Iterator<Item = &'v [u8]>) -> Self {
        let mut best = (Self::Text, 0);
        for member in values.flat_map(|value| value.split(|&b| b == b',')) {
            let mut parts = member.split(|&b| b == b';').map(<[u8]>::trim_ascii);
            let media = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| match part {
                [b'q' | b'Q', b'=', number @ ..] => Some(thousandths(number).unwrap_or(0)),
                _ => None,
            });
            let is = |wanted: &[u8]| media.eq_ignore_ascii_case(wanted);
            let form = if is(b"text/html") || is(b"application/xhtml+xml") {
                Self::Html
            } else if is(b"application/json") || is(b"application/problem+json") {
                Self::Json
            } else if is(b"text/plain") {
                Self::Text
            } else {
                continue;
            };
            let quality = quality.unwrap_or(1000);
            if quality > best.1 {
                best = (form, quality);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_best_liked_of_those_that_are_named() {
        for (accept, form) in [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Form::Html),
            ("application/json", Form::Json),
            ("application/problem+json, application/json", Form::Json),
            ("application/json;q=0.5, text/html", Form::Html),
            ("application/json, text/html;q=0.9", Form::Json),
            ("text/plain, application/json", Form::Text),
            ("*/*", Form::Text),
            ("image/png", Form::Text),
            ("text/html;q=0", Form::Text),
            ("text/html;level=1;q=0.1", Form::Html),
            ("", Form::Text),
        ] {
            assert_eq!(Form::wanted([accept.as_bytes()].into_iter()), form, "{accept}");
        }
    }
}
