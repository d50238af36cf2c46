//! A request's target in the one form that routes know.
//!
//! A server may read a path in more ways than one: `/%61dmin`, `//admin`, `/x/../admin` and `/admin` are the same page
//! to most. So a path is brought into its normal form (RFC 3986 §6.2.2) before routes see it, and that form is what the
//! server gets: escapes of characters that need none are undone, the others written in capitals, `.` and `..` resolved,
//! runs of slashes made one. What servers read differently from each other is refused.

use alloc::{borrow::Cow, vec::Vec};

use evenkeel_config::balancer::route::EscapedSlash;

/// A target in normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    path: Cow<'a, [u8]>,
    query: Option<&'a [u8]>,
}

/// Why a target is refused: the client's fault, 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TargetError {
    /// A `%` without two hexadecimal digits behind it.
    #[error("an escape in the path is malformed")]
    Escape,
    /// `%00`.
    #[error("the path has an escaped NUL")]
    Nul,
    /// `%2F` or `%5C`.
    #[error("the path has an escaped slash or backslash")]
    EscapedSlash,
    /// More `..` than there are parts before them.
    #[error("the path leads above its root")]
    AboveRoot,
    /// `.;x` or `..;x`, which some servers take for `.` or `..`.
    #[error("the path has a dot segment with parameters")]
    DotParameters,
    /// Something that is no path.
    #[error("the path is malformed")]
    Malformed,
}

impl<'a> Target<'a> {
    /// Brings a target in origin-form into normal form; empty stands for `/`, and `*` stays itself.
    ///
    /// # Errors
    /// The path can be read in more ways than one, or in none.
    pub fn read(target: &'a [u8], slash: EscapedSlash) -> Result<Self, TargetError> {
        let end = target.iter().position(|&b| b == b'?').unwrap_or(target.len());
        let (path, query) = (&target[..end], target.get(end + 1..));
        let path = match path {
            b"" => Cow::Borrowed(&b"/"[..]),
            b"*" => Cow::Borrowed(path),
            [b'/', ..] if is_plain(path) => Cow::Borrowed(path),
            [b'/', ..] => Cow::Owned(normal(path, slash)?),
            _ => return Err(TargetError::Malformed),
        };
        Ok(Self { path, query })
    }

    /// The path; begins with `/`, or is `*`.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// What is behind the `?`, when there is one.
    #[must_use]
    pub const fn query(&self) -> Option<&'a [u8]> {
        self.query
    }

    /// The whole target.
    #[must_use]
    pub fn whole(&self) -> Vec<u8> {
        join(&self.path, self.query)
    }

    /// The whole target where it differs from what was read; `None` where that can be sent on as it is.
    #[must_use]
    pub fn changed(&self) -> Option<Vec<u8>> {
        match &self.path {
            Cow::Borrowed(_) => None,
            Cow::Owned(path) => Some(join(path, self.query)),
        }
    }
}

pub(crate) fn join(path: &[u8], query: Option<&[u8]>) -> Vec<u8> {
    let mut whole = Vec::with_capacity(path.len() + query.map_or(0, |query| 1 + query.len()));
    whole.extend_from_slice(path);
    if let Some(query) = query {
        whole.push(b'?');
        whole.extend_from_slice(query);
    }
    whole
}

/// Whether nothing of a path can need a change: no escapes, empty parts, or parts that begin with a dot.
fn is_plain(path: &[u8]) -> bool {
    let mut after_slash = false;
    for &b in path {
        if b == b'%' || after_slash && matches!(b, b'/' | b'.') {
            return false;
        }
        after_slash = b == b'/';
    }
    true
}

fn normal(path: &[u8], slash: EscapedSlash) -> Result<Vec<u8>, TargetError> {
    let path = unescaped(path, slash)?;
    let mut out = Vec::with_capacity(path.len());
    let mut parts = path.split(|&b| b == b'/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            b"" | b"." => {}
            b".." => {
                let parent = out.iter().rposition(|&b| b == b'/').ok_or(TargetError::AboveRoot)?;
                out.truncate(parent);
            }
            [b'.', b';', ..] | [b'.', b'.', b';', ..] => return Err(TargetError::DotParameters),
            _ => {
                out.push(b'/');
                out.extend_from_slice(part);
                continue;
            }
        }
        if is_last {
            out.push(b'/');
        }
    }
    Ok(out)
}

/// The path with only those escapes that it needs, in capitals.
fn unescaped(path: &[u8], slash: EscapedSlash) -> Result<Vec<u8>, TargetError> {
    const CAPITALS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&b, behind)) = rest.split_first() {
        rest = behind;
        if b != b'%' {
            out.push(b);
            continue;
        }
        let byte = escape(rest).ok_or(TargetError::Escape)?;
        rest = &rest[2..];
        match byte {
            0 => return Err(TargetError::Nul),
            b'/' | b'\\' if slash == EscapedSlash::Refuse => return Err(TargetError::EscapedSlash),
            b'-' | b'.' | b'_' | b'~' => out.push(byte),
            _ if byte.is_ascii_alphanumeric() => out.push(byte),
            _ => {
                let digits = [CAPITALS[usize::from(byte >> 4)], CAPITALS[usize::from(byte & 15)]];
                out.push(b'%');
                out.extend_from_slice(&digits);
            }
        }
    }
    Ok(out)
}

/// The byte that the two hexadecimal digits at the start of `text` stand for.
pub(crate) fn escape(text: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let &[high, low] = text.get(..2)? else { return None };
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn read(target: &str, slash: EscapedSlash) -> Result<String, TargetError> {
        let target = Target::read(target.as_bytes(), slash)?;
        Ok(String::from_utf8(join(target.path(), target.query())).unwrap())
    }

    #[test]
    fn a_guarded_path_cannot_be_asked_for_in_disguise() {
        for disguise in [
            "/admin",
            "//admin",
            "/%61dmin",
            "/%61%64min",
            "/x/../admin",
            "/./admin",
            "/x/%2e%2E/admin",
            "/x/.%2e/admin",
            "///x//..//admin",
        ] {
            assert_eq!(read(disguise, EscapedSlash::Refuse).as_deref(), Ok("/admin"), "{disguise}");
        }
    }

    #[test]
    fn paths_have_one_form_and_queries_are_left_alone() {
        for (target, normal) in [
            ("", "/"),
            ("/", "/"),
            ("*", "*"),
            ("/a/", "/a/"),
            ("/a//", "/a/"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/./b/../c", "/a/c"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a%20b%c3%a4", "/a%20b%C3%A4"),
            ("/a?x=%61//../%zz", "/a?x=%61//../%zz"),
            ("/a?", "/a?"),
            ("//?//", "/?//"),
            ("/a;x=1/b", "/a;x=1/b"),
            ("/%7Euser", "/~user"),
        ] {
            assert_eq!(read(target, EscapedSlash::Refuse).as_deref(), Ok(normal), "{target}");
        }
        assert_eq!(read("/a%2fb%5c", EscapedSlash::Keep).as_deref(), Ok("/a%2Fb%5C"));
    }

    #[test]
    fn what_servers_read_differently_is_refused() {
        for (target, error) in [
            ("/%", TargetError::Escape),
            ("/%4", TargetError::Escape),
            ("/%4g", TargetError::Escape),
            ("/%+1", TargetError::Escape),
            ("/a%00", TargetError::Nul),
            ("/a%2Fb", TargetError::EscapedSlash),
            ("/a%5cb", TargetError::EscapedSlash),
            ("/..", TargetError::AboveRoot),
            ("/a/../../b", TargetError::AboveRoot),
            ("/x/..;/admin", TargetError::DotParameters),
            ("/.;a", TargetError::DotParameters),
            ("a", TargetError::Malformed),
        ] {
            assert_eq!(read(target, EscapedSlash::Refuse), Err(error), "{target}");
        }
    }
}
