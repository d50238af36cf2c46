//! Who may use a route: `basic_auth`.
//!
//! Invariant: passwords stand here only as slow hashes; who reads the file learns none.

use alloc::{borrow::ToOwned as _, format, string::String, vec::Vec};

use crate::{document::Field, scalar::AbsolutePath};

/// Most users in a configuration or a file: who has more has a directory, and servers that ask it.
pub const MAX_USERS: usize = 1000;

/// Who may use a route (RFC 7617).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BasicAuth {
    /// What browsers show when they ask.
    pub realm: String,
    /// Users with their password hashes.
    pub users: Vec<(String, PasswordHash)>,
    /// A file with more of them, a line `user:hash` each, as htpasswd writes it.
    pub file: Option<AbsolutePath>,
}

/// A slow hash of a password in the form of crypt(5): bcrypt (`$2b$`, `$2y$`, `$2a$`) or SHA-crypt (`$5$`, `$6$`).
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    const EXPECTED: &str = "a hash of bcrypt (`$2y$…`) or SHA-crypt (`$5$…`, `$6$…`)";

    /// Reads a hash; `None` when it is in another form or too short to be whole.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        let bcrypt =
            ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) && text.len() == 60;
        let sha = (text.starts_with("$5$") || text.starts_with("$6$")) && (46..=128).contains(&text.len());
        (plain && (bcrypt || sha)).then(|| Self(text.to_owned()))
    }

    /// The hash as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl core::fmt::Debug for PasswordHash {
    /// Shows its kind only, for configurations end up in logs.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PasswordHash({}…)", self.0.get(..3).unwrap_or_default())
    }
}

/// A user's name: no colon (RFC 7617 §2), nothing that ends a line.
#[must_use]
pub fn is_user(name: &str) -> bool {
    (1..=64).contains(&name.len()) && !name.contains(|c: char| c == ':' || c.is_control())
}

/// `basic_auth = { realm = "staff", users = { anna = "$2y$…" }, file = "/etc/evenkeel/users" }`.
pub(super) fn basic_auth(field: &Field<'_>) -> Option<BasicAuth> {
    let table = field.as_section(&["realm", "users", "file"])?;
    let realm = match table.field("realm") {
        None => Some("restricted".to_owned()),
        Some(field) => field.text("1 to 64 letters, digits, spaces and `-`", "browsers show it", |text| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b" -._".contains(&b);
            ((1..=64).contains(&text.len()) && text.bytes().all(fits)).then(|| text.to_owned())
        }),
    };
    let file = table.optional("file", Field::path);
    let users = match table.field("users") {
        None => Some(Vec::new()),
        Some(users) => self::users(&users),
    };
    let (users, file) = (users?, file?);
    if users.is_empty() && file.is_none() {
        field.refuse(
            "users, or a file of them",
            "add users = { name = \"$2y$…\" } or file = \"/etc/evenkeel/users\"",
        );
        return None;
    }
    Some(BasicAuth { realm: realm?, users, file })
}

fn users(field: &Field<'_>) -> Option<Vec<(String, PasswordHash)>> {
    let entries = field.entries()?;
    if entries.len() > MAX_USERS {
        field.refuse(format!("at most {MAX_USERS} users"), "let the servers ask a directory");
        return None;
    }
    let user = |(name, field): &(String, Field<'_>)| {
        if !is_user(name) {
            field.refuse("a hash under the name of a user without a colon", "rename the user");
            return None;
        }
        let remedy = "make one with `htpasswd -nbB USER PASSWORD` or `mkpasswd -m sha-512`";
        let hash = field.text(PasswordHash::EXPECTED, remedy, PasswordHash::parse)?;
        Some((name.clone(), hash))
    };
    let users: Vec<_> = entries.iter().map(user).collect();
    users.into_iter().collect()
}
