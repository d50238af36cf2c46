//! Reads typed fields out of a JSON object and says, when it cannot, which field and why.

use alloc::{borrow::ToOwned, format, string::String};
use core::str::FromStr;

use crate::{Object, RoleName, TrustError, Value};

/// An object within the metadata of `role`, with the path that leads to it.
pub struct Fields<'a> {
    role: RoleName,
    path: String,
    object: &'a Object,
}

impl<'a> Fields<'a> {
    /// The object that `value` must be.
    pub(crate) fn of(role: RoleName, path: &str, value: &'a Value) -> Result<Self, TrustError> {
        let object = value.as_object().ok_or_else(|| TrustError::Field {
            role,
            field: path.to_owned(),
            got: format!("`{value}`"),
            expected: "an object",
        })?;
        Ok(Self { role, path: path.to_owned(), object })
    }

    pub(crate) const fn role(&self) -> RoleName {
        self.role
    }

    pub(crate) fn refuse(&self, name: &str, expected: &'static str) -> TrustError {
        let got = self.object.get(name).map_or_else(|| "missing".to_owned(), |value| format!("`{value}`"));
        TrustError::Field { role: self.role, field: self.path_of(name), got, expected }
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub(crate) const fn whole(&self) -> &'a Object {
        self.object
    }

    /// The members and their names, each as a further object.
    pub(crate) fn objects(&self) -> impl Iterator<Item = Result<(&'a str, Fields<'a>), TrustError>> {
        self.object
            .iter()
            .map(|(name, value)| Ok((name.as_str(), Self::of(self.role, &self.path_of(name), value)?)))
    }

    pub(crate) fn optional(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name)
    }

    pub(crate) fn object(&self, name: &str) -> Result<Self, TrustError> {
        let value = self.optional(name).ok_or_else(|| self.refuse(name, "an object"))?;
        Self::of(self.role, &self.path_of(name), value)
    }

    pub(crate) fn list(&self, name: &str) -> Result<&'a [Value], TrustError> {
        match self.optional(name) {
            Some(Value::List(items)) => Ok(items),
            Some(_) | None => Err(self.refuse(name, "a list")),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Result<&'a str, TrustError> {
        match self.optional(name) {
            Some(Value::Text(text)) => Ok(text),
            Some(_) | None => Err(self.refuse(name, "a string")),
        }
    }

    pub(crate) fn bool(&self, name: &str) -> Result<bool, TrustError> {
        match self.optional(name) {
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) | None => Err(self.refuse(name, "true or false")),
        }
    }

    /// A whole number of at least `least`.
    pub(crate) fn number(&self, name: &str, least: u64, expected: &'static str) -> Result<u64, TrustError> {
        match self.optional(name) {
            Some(Value::Integer(number)) => u64::try_from(*number).ok().filter(|number| *number >= least),
            Some(_) | None => None,
        }
        .ok_or_else(|| self.refuse(name, expected))
    }

    /// A string in the one form of `T`.
    pub(crate) fn parsed<T: FromStr>(&self, name: &str, expected: &'static str) -> Result<T, TrustError> {
        self.text(name)?.parse().map_err(|_| self.refuse(name, expected))
    }
}
