//! What the admin pages and the log say of TLS.
//!
//! Owns: counts of handshakes, and how long certificates last. Invariant: who runs a box is told of a certificate that
//! ends before it has ended.

use evenkeel_telemetry::{Exposition, Family};

use crate::{
    plan::Plan,
    tls::{files, front::Front, handshake::Reason},
};

const HANDSHAKES: Family =
    Family::counter("evenkeel_tls_handshakes_total", "TLS sessions with clients, new and resumed.");
const FAILURES: Family =
    Family::counter("evenkeel_tls_handshake_failures_total", "TLS handshakes with clients that failed.");
const EXPIRY: Family = Family::gauge(
    "evenkeel_tls_certificate_expiry_timestamp_seconds",
    "When a certificate ends, in seconds since 1970.",
);

/// How long before its end a certificate is warned of: ACME renews at a third of 90 days, 30 days before; with 14 left
/// that has failed for two weeks, and a person has two weeks to act.
const WARNED_SECONDS: i64 = 14 * 86_400;

/// Adds what there is to say of TLS to the page of metrics.
pub(crate) fn metrics(plan: &Plan, out: &mut Exposition) {
    let listeners = || plan.listeners.iter().filter(|listener| listener.tls.is_some());
    let mut family = out.family(HANDSHAKES);
    for listener in listeners() {
        for (at, kind) in ["full", "resumed"].into_iter().enumerate() {
            let labels = [("listener", listener.shared.name.as_str()), ("kind", kind)];
            family.sample(&labels, listener.shared.sum(|tally| &tally.handshakes[at]));
        }
    }
    let mut family = out.family(FAILURES);
    let looked_into = plan.listeners.iter().zip(plan.config.listeners());
    for (listener, _) in
        looked_into.filter(|(listener, settings)| listener.tls.is_some() || !settings.sni.is_empty())
    {
        for (at, reason) in Reason::ALL.into_iter().enumerate() {
            let labels = [("listener", listener.shared.name.as_str()), ("reason", reason.label())];
            family.sample(&labels, listener.shared.sum(|tally| &tally.unshaken[at]));
        }
    }
    let mut family = out.family(EXPIRY);
    for listener in listeners() {
        let table = listener.tls.as_ref().map(|front| front.certificates.table());
        for certificate in table.iter().flat_map(|table| &table.certificates).filter(|one| !one.is_self_made)
        {
            let labels = [("listener", listener.shared.name.as_str()), ("certificate", &certificate.file)];
            family.sample(&labels, u64::try_from(certificate.expires).unwrap_or(0));
        }
    }
}

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
