//! What a device says to its update server, signed with its key.

use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use evenkeel_protocol::{CheckIn, Enrol, Enrolled, Nonce, Orders, Report, sign};
use evenkeel_units::{ByteCount, WallTime};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Client, Error, client::FIRST_BYTE};

/// Longest answer of the update server to a device: orders are some 200 bytes.
const ANSWER: ByteCount = ByteCount::kib(16);

/// What makes one signature differ from every other: the time, and bits that were never used before.
#[derive(Debug, Clone, Copy)]
pub struct Occasion {
    /// By the device's clock.
    pub now: WallTime,
    /// Random.
    pub nonce: Nonce,
}

/// A device's side of the conversation with its update server.
#[derive(Debug, Clone)]
pub struct DeviceClient {
    client: Client,
    key: SigningKey,
}

impl DeviceClient {
    /// The device that holds `key`.
    #[must_use]
    pub const fn new(client: Client, key: SigningKey) -> Self {
        Self { client, key }
    }

    /// Asks to belong to this server.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the token.
    pub async fn enrol(&self, enrol: &Enrol) -> Result<Enrolled, Error> {
        let path = "/v1/enrol";
        let answer = self.client.post(path, &[], json(enrol), ANSWER, FIRST_BYTE).await?;
        self.read(path, &answer)
    }

    /// Says how the device is, and learns its orders; the server may hold the request for `wait`.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn check_in(
        &self,
        check_in: &CheckIn,
        wait: Duration,
        occasion: Occasion,
    ) -> Result<Orders, Error> {
        let path = "/v1/check-in";
        let prefer = ("prefer", format!("wait={}", wait.as_secs()));
        let answer = self.signed(path, json(check_in), [prefer], wait + FIRST_BYTE, occasion).await?;
        self.read(path, &answer)
    }

    /// Reports one step. Repeating it changes nothing.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn report(&self, report: &Report, occasion: Occasion) -> Result<(), Error> {
        self.signed("/v1/report", json(report), [], FIRST_BYTE, occasion).await.map(drop)
    }

    async fn signed<const N: usize>(
        &self,
        path: &str,
        body: Bytes,
        more: [(&'static str, String); N],
        deadline: Duration,
        occasion: Occasion,
    ) -> Result<Bytes, Error> {
        let signature = sign(&self.key, "POST", path, &body, occasion.now, occasion.nonce);
        let mut headers = vec![
            ("content-digest", signature.content_digest),
            ("signature-input", signature.signature_input),
            ("signature", signature.signature),
        ];
        headers.extend(more);
        self.client.post(path, &headers, body, ANSWER, deadline).await
    }

    fn read<T: DeserializeOwned>(&self, path: &str, answer: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(answer)
            .map_err(|error| Error::Answer { url: self.client.url(path), reason: error.to_string() })
    }
}

/// The messages are made of text, numbers and lists: JSON can hold them all.
fn json(message: &impl Serialize) -> Bytes {
    serde_json::to_vec(message).unwrap_or_default().into()
}
