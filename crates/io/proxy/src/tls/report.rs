//! What the log and the status page say of TLS.
//!
//! Owns: how long certificates and their OCSP responses last. Invariant: who runs a box is told of a certificate that
//! ends before it has ended.

use evenkeel_units::WallTime;
use serde::Serialize;

use crate::tls::{
    files::{self, Certificate},
    front::Front,
};

/// Names of one certificate on the status page; more are only counted.
const MAX_NAMES: usize = 20;

/// A certificate as the status page tells of it.
#[derive(Serialize)]
pub(crate) struct CertificateStatus {
    /// The file, as the configuration names it.
    file: String,
    names: Vec<String>,
    /// Names that are not listed.
    #[serde(skip_serializing_if = "is_zero")]
    more_names: usize,
    not_after: String,
    /// Negative when it has expired.
    seconds_left: i64,
    /// Whether the data plane made it, until an authority has issued one.
    self_made: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ocsp: Option<StapleStatus>,
}

/// An OCSP response as the status page tells of it.
#[derive(Serialize)]
struct StapleStatus {
    /// `good`, `revoked`, `unknown`, `expired` or `other_certificate`.
    state: &'static str,
    /// Whether clients are shown it.
    shown: bool,
    /// Negative when it has expired; `None` when it does not say.
    seconds_left: Option<i64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// The certificates that a listener shows.
pub(crate) fn certificates(front: &Front) -> Vec<CertificateStatus> {
    let now = files::now();
    let told = |certificate: &Certificate| CertificateStatus {
        file: certificate.file.clone(),
        names: certificate.names.iter().take(MAX_NAMES).cloned().collect(),
        more_names: certificate.names.len().saturating_sub(MAX_NAMES),
        not_after: WallTime::from_unix_seconds(u64::try_from(certificate.expires).unwrap_or(0)).to_string(),
        seconds_left: certificate.expires.saturating_sub(now),
        self_made: certificate.is_self_made,
        ocsp: certificate.staple.map(|staple| StapleStatus {
            state: staple.state.as_str(),
            shown: staple.state.is_shown(),
            seconds_left: staple.until.map(|until| until.saturating_sub(now)),
        }),
    };
    front.certificates.table().certificates.iter().map(told).collect()
}

/// How long before its end a certificate is warned of: ACME renews at a third of 90 days, 30 days before; with 14 left
/// that has failed for two weeks, and a person has two weeks to act.
const WARNED_SECONDS: i64 = 14 * 86_400;

/// Warns of each certificate of a listener that ends soon or has ended.
pub(crate) fn warn_of_expiry(listener: &str, front: &Front) {
    let now = files::now();
    for certificate in &front.certificates.table().certificates {
        let file = &certificate.file;
        let left = certificate.expires.saturating_sub(now);
        if left < 0 {
            tracing::error!(listener, "certificate `{file}` has expired; clients refuse it: renew it");
        } else if left < WARNED_SECONDS {
            let days = left / 86_400;
            tracing::warn!(listener, "certificate `{file}` expires in {days} days; renew it");
        }
    }
}
