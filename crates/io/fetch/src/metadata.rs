//! Bringing TUF metadata up to date: `evenkeel-trust` decides, this moves the bytes.

use evenkeel_trust::{Current, Refresh, Step, TrustedSet};
use evenkeel_units::WallTime;

use crate::{Client, Error, client::Found};

/// How a refresh ended, and what is trusted by now, which is to be kept in either case: also a refresh
/// that fails at its last step has learned what is newest, and must not forget it (I5).
#[derive(Debug)]
pub struct Refreshed {
    /// What is trusted by now.
    pub trusted: TrustedSet,
    /// The whole chain, if it was accepted.
    pub current: Result<Current, Error>,
}

/// Fetches and verifies what is newer than `trusted`, judged at one time.
pub async fn refresh(client: &Client, trusted: TrustedSet, now: WallTime) -> Refreshed {
    let mut refresh = Refresh::start(trusted, now);
    let outcome = drive(client, &mut refresh).await;
    let trusted = refresh.trusted().clone();
    let current = outcome.and_then(|()| {
        let unfinished =
            || Error::Answer { url: client.url("/v1/metadata/"), reason: "it never ended".into() };
        refresh.finish().ok_or_else(unfinished)
    });
    Refreshed { trusted, current }
}

async fn drive(client: &Client, refresh: &mut Refresh) -> Result<(), Error> {
    while let Step::Fetch(request) = refresh.step() {
        match client.get(&format!("/v1/metadata/{}", request.name), request.limit).await? {
            Found::Bytes(bytes) => refresh.on_bytes(&bytes)?,
            Found::Missing => refresh.on_missing()?,
        }
    }
    Ok(())
}
