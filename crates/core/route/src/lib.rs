//! Which route a request takes, and what the route makes of it.
//!
//! Owns: reading a request's target in the one form that routes know, finding its route, filling in what routes say of
//! targets and fields, and the cookies by which clients come back to their servers. Leaves to others: what a route may say
//! (`core/config`), how a request is framed, and doing anything. Invariants: what is sent on is what was matched; a table
//! of 10,000 routes is asked in nearly the time of one; no input makes anything here panic or take more than time in
//! proportion to its length.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod credentials;
mod encoding;
mod form;
mod frozen;
mod host;
mod paths;
mod rate;
mod request;
mod share;
mod sticky;
mod table;
mod target;
mod values;

pub use credentials::Credentials;
pub use encoding::{is_compressed, negotiate};
pub use form::Form;
pub use rate::{CountedKey, Limiter, Verdict};
pub use request::{Fields, Request};
pub use share::share;
pub use sticky::{
    Known, Left, MAX_STICKY_SECRET, MAX_STICKY_SECRETS, MIN_STICKY_SECRET, Renew, Shown, StickyCookies,
    StickySecretError, StickySecrets,
};
pub use table::{RouteIndex, Table};
pub use target::{Target, TargetError};
pub use values::{Scheme, Values, render, rewrite};
