//! What the log says of TLS.
//!
//! Owns: how long certificates last. Invariant: who runs a box is told of a certificate that
//! ends before it has ended.

use crate::tls::{files, front::Front};

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
