//! The fields of a request's head, for conditions of routes.

use evenkeel_http1::RequestHead;
use evenkeel_route::Fields;

/// A head and the bytes that it was read from.
#[derive(Clone, Copy)]
pub(crate) struct HeadFields<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) bytes: &'a [u8],
}

impl HeadFields<'_> {
    /// The first value of a field.
    pub(crate) fn first(&self, name: &str) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// The values of a field, line by line.
    pub(crate) fn values<'s, 'n>(&'s self, name: &'n str) -> impl Iterator<Item = &'s [u8]> + use<'s, 'n> {
        let fields = self.head.fields(self.bytes);
        fields.filter(move |(field, _)| field.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }
}

impl Fields for HeadFields<'_> {
    fn any(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let is_it = |field: &[u8]| field.eq_ignore_ascii_case(name.as_bytes());
        self.head.fields(self.bytes).any(|(field, value)| is_it(field) && holds(value))
    }
}
