//! JSON without the parts that two readers could understand differently, and its canonical form.
//!
//! Owns: [`Value`], read strictly (no floating point, no duplicate keys, integers within 64 bits) and written
//! either canonically (what signatures are made over) or as ASCII text for people and files. The invariant:
//! reading what was written gives the same value.

use alloc::{
    borrow::ToOwned,
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, fmt::Write as _};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

/// The members of a JSON object, in the order of canonical JSON: by the bytes of their names.
pub type Object = BTreeMap<String, Value>;

/// A JSON value as TUF metadata may hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number; canonical JSON has no others.
    Integer(i64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Value>),
    /// An object.
    Object(Object),
}

impl Value {
    /// Reads one JSON value from all of `bytes`.
    ///
    /// # Errors
    /// Not JSON, or JSON that readers disagree about: a duplicate key, a number with a fraction, an exponent
    /// or beyond 64 bits, nesting deeper than 128. The text names the place.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }

    /// The canonical form (OLPC canonical JSON, as TUF 1.0.33 §4.1 uses it): sorted keys, no white space, and
    /// in strings only `"` and `\` escaped.
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = String::new();
        write_value(self, Form::Canonical, 0, &mut out);
        out.into_bytes()
    }

    /// JSON text for people and files: one space of indent a level, ASCII only, ends with a line feed.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        write_value(self, Form::Text, 0, &mut out);
        out.push('\n');
        out
    }

    /// The members, if this is an object.
    #[must_use]
    pub const fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            Self::Null | Self::Bool(_) | Self::Integer(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// Whether every string and key in it is printable ASCII, so that all canonical writers agree on its form.
    pub(crate) fn is_plain(&self) -> bool {
        let plain = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        match self {
            Self::Null | Self::Bool(_) | Self::Integer(_) => true,
            Self::Text(text) => plain(text),
            Self::List(items) => items.iter().all(Self::is_plain),
            Self::Object(object) => object.iter().all(|(key, value)| plain(key) && value.is_plain()),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl fmt::Display for Value {
    /// The canonical form cut to 80 characters, for messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.canonical()).into_owned();
        text.chars().take(80).try_for_each(|c| f.write_char(c))
    }
}

/// How a value is written.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Canonical,
    Text,
}

fn write_value(value: &Value, form: Form, depth: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Integer(number) => out.push_str(&number.to_string()),
        Value::Text(text) => write_text(text, form, out),
        Value::List(items) => write_members(items.iter(), ['[', ']'], form, depth, out, |item, out| {
            write_value(item, form, depth + 1, out);
        }),
        Value::Object(object) => {
            write_members(object.iter(), ['{', '}'], form, depth, out, |(key, member), out| {
                write_text(key, form, out);
                out.push_str(if form == Form::Text { ": " } else { ":" });
                write_value(member, form, depth + 1, out);
            });
        }
    }
}

fn write_members<I: ExactSizeIterator>(
    members: I,
    [open, close]: [char; 2],
    form: Form,
    depth: usize,
    out: &mut String,
    write: impl Fn(I::Item, &mut String),
) {
    let empty = members.len() == 0;
    let line = |depth: usize, out: &mut String| {
        if form == Form::Text && !empty {
            out.push('\n');
            out.extend(core::iter::repeat_n(' ', depth));
        }
    };
    out.push(open);
    for (index, member) in members.enumerate() {
        if index > 0 {
            out.push(',');
        }
        line(depth + 1, out);
        write(member, out);
    }
    line(depth, out);
    out.push(close);
}

fn write_text(text: &str, form: Form, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if form == Form::Canonical || (' '..='~').contains(&c) => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").expect("writing to a string cannot fail");
                }
            }
        }
    }
    out.push('"');
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Strict)
    }
}

/// Builds a [`Value`] and refuses what readers disagree about.
struct Strict;

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON with whole numbers only")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::Integer).map_err(|_| E::custom("a number beyond 64 bits"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
        Err(E::custom("a number that is not whole within 64 bits; canonical JSON has none"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Object::new();
        while let Some((key, value)) = members.next_entry::<String, Value>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key `{key}` appears twice")));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_sorts_keys_and_escapes_only_quote_and_backslash() {
        let value = Value::parse(br#" {"b": [1, -2, true, null], "a": "\"\\\n\u00e9", "B": {}} "#);
        let canonical = value.map(|value| value.canonical());
        assert_eq!(canonical, Ok("{\"B\":{},\"a\":\"\\\"\\\\\n\u{e9}\",\"b\":[1,-2,true,null]}".into()));
    }

    #[test]
    fn the_text_form_is_ascii_and_indented() {
        let value = Value::parse("{\"a\":[\"\u{1f600}\\n\"],\"b\":{},\"c\":[]}".as_bytes());
        let text = value.map(|value| value.text());
        assert_eq!(
            text,
            Ok("{\n \"a\": [\n  \"\\ud83d\\ude00\\u000a\"\n ],\n \"b\": {},\n \"c\": []\n}\n".into())
        );
    }

    #[test]
    fn what_readers_disagree_about_is_refused() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            "1.0",
            "1e3",
            "-0",
            "9223372036854775808",
            "NaN",
            r#""\ud800""#,
            "01",
            "{} {}",
            "",
            "\u{feff}{}",
        ] {
            assert!(Value::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn nesting_that_would_exhaust_the_stack_is_refused() {
        assert!(Value::parse("[".repeat(100_000).as_bytes()).is_err());
    }
}
