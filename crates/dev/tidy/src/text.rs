//! Rust source taken apart just far enough for rules about text.
//!
//! Owns: telling code from comments and literals, and production code from tests. Leaves to others: every rule, and
//! real parsing, which the compiler does. Both functions keep the number of lines and their order.

/// What a byte of Rust source belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Comment,
    Literal,
}

/// The source with comments and the insides of literals replaced by spaces.
#[must_use]
pub fn code(source: &str) -> String {
    keep(source, Part::Code)
}

/// The source with everything but comments replaced by spaces.
#[must_use]
pub fn comments(source: &str) -> String {
    keep(source, Part::Comment)
}

/// The lines up to the test module that ends the file.
#[must_use]
pub fn without_tests(source: &str) -> &str {
    let mut offset = 0;
    for line in source.split_inclusive('\n') {
        if line.trim_end() == "#[cfg(test)]" && item_is_module(&source[offset..]) {
            return &source[..offset];
        }
        offset += line.len();
    }
    source
}

/// Whether the item that `rest` starts with is a module, its attributes aside.
fn item_is_module(rest: &str) -> bool {
    let item = rest.lines().find(|line| !line.starts_with("#[")).unwrap_or_default();
    item.split(' ').take(2).any(|word| word == "mod")
}

fn keep(source: &str, part: Part) -> String {
    let parts = parts(source.as_bytes());
    let kept =
        source.bytes().zip(parts).map(|(byte, of)| if of == part || byte == b'\n' { byte } else { b' ' });
    String::from_utf8_lossy(&kept.collect::<Vec<_>>()).into_owned()
}

/// The part that each byte belongs to.
fn parts(source: &[u8]) -> Vec<Part> {
    let mut parts = Vec::with_capacity(source.len());
    while parts.len() < source.len() {
        let rest = &source[parts.len()..];
        let after_word = parts.len().checked_sub(1).is_some_and(|last| is_word(source[last]));
        let (length, part) = token(rest, after_word);
        parts.resize(parts.len() + length.clamp(1, rest.len()), part);
    }
    parts
}

/// Length and part of the token that `rest` starts with.
fn token(rest: &[u8], after_word: bool) -> (usize, Part) {
    match rest[0] {
        b'/' if rest.get(1) == Some(&b'/') => (length_until(rest, b"\n", 0), Part::Comment),
        b'/' if rest.get(1) == Some(&b'*') => (block_comment(rest), Part::Comment),
        b'"' => (quoted(rest, 0), Part::Literal),
        b'\'' => character(rest),
        b'r' | b'b' | b'c' if !after_word => prefixed(rest),
        _ => (1, Part::Code),
    }
}

/// Bytes up to and including `end`, looked for from `from` on; all of `rest` when it is not there.
fn length_until(rest: &[u8], end: &[u8], from: usize) -> usize {
    let found = rest[from.min(rest.len())..].windows(end.len()).position(|window| window == end);
    found.map_or(rest.len(), |at| from + at + end.len())
}

/// Block comments nest (Rust reference, "Comments").
fn block_comment(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (2, 1);
    while depth > 0 && at < rest.len() {
        match rest[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at
}

/// A string whose opening quote is at `start`.
fn quoted(rest: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character literal, or else the apostrophe of a lifetime.
fn character(rest: &[u8]) -> (usize, Part) {
    match rest {
        [_, b'\\', ..] => (length_until(rest, b"'", 3), Part::Literal),
        [_, _, b'\'', ..] => (3, Part::Literal),
        [_, first, ..] if !first.is_ascii() => (length_until(rest, b"'", 1), Part::Literal),
        _ => (1, Part::Code),
    }
}

/// `r"…"`, `r#"…"#`, `b"…"`, `br"…"`, `c"…"`; anything else is a word.
fn prefixed(rest: &[u8]) -> (usize, Part) {
    let letters = rest.iter().take_while(|byte| matches!(byte, b'r' | b'b' | b'c')).count();
    let hashes = rest[letters..].iter().take_while(|byte| **byte == b'#').count();
    let opens = rest.get(letters + hashes) == Some(&b'"');
    let raw = rest[..letters].contains(&b'r');
    if !opens || (hashes > 0 && !raw) {
        return (1, Part::Code);
    }
    if !raw {
        return (quoted(rest, letters), Part::Literal);
    }
    let end = [&b"\""[..], &vec![b'#'; hashes]].concat();
    (length_until(rest, &end, letters + hashes + 1), Part::Literal)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_are_no_code() {
        let cases = [
            (r#"a("b.unwrap()")"#, "a(            )"),
            ("a // b", "a     "),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r##"a(r#"b"c"#)d"##, "a(        )d"),
            (r#"a(b"c\"d")e"#, "a(       )e"),
            ("'a' 'b: '\\'' c", "    'b:      c"),
            ("for r in b", "for r in b"),
            ("\"open", "     "),
        ];
        for (source, expected) in cases {
            assert_eq!(code(source), expected, "{source}");
        }
    }

    #[test]
    fn comments_are_told_from_strings_that_look_like_them() {
        assert_eq!(comments("\"// a\" // b"), "       // b");
    }

    #[test]
    fn the_trailing_test_module_is_cut_and_nothing_else() {
        assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests {\nb\n}\n"), "a\n");
        assert_eq!(without_tests("a\n#[cfg(test)]\n#[allow(b)]\npub(crate) mod tests {\n}\n"), "a\n");
        assert_eq!(without_tests("a\n#[cfg(test)]\nuse b;\nc\n"), "a\n#[cfg(test)]\nuse b;\nc\n");
    }
}
