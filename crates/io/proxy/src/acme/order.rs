//! One certificate, from the order to the file.
//!
//! Invariant: the file is written only with a chain and a key that belong together and have the names that were ordered.

use std::{fs, path::Path, sync::Arc};

use evenkeel_config::balancer::Challenge;
use instant_acme::{
    Account, AuthorizationStatus, ChallengeHandle, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rustls::{
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};

use super::{http::Client, storage};
use crate::tls::{
    back,
    files::{self, FileError},
    front::{self, AcmeFront},
};

/// Orders that are begun anew one after another. Each step of one is tried with three nonces; where an authority refuses one
/// nonce in five, as those for tests do, that ends a seventh of all orders, and five in a row nearly never.
const MOST_ORDERS: u32 = 5;

/// Why no certificate came.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    #[error("the authority was asked in vain: {0}")]
    Acme(#[from] instant_acme::Error),
    #[error("the authority found the name `{0}` invalid before; mend what it complained of")]
    Authorization(String),
    #[error("the authority does not offer the challenge for `{0}`; choose another `challenge`")]
    NoChallenge(String),
    #[error("the authority did not find the answer; does the name lead here, and is the port open to it?")]
    Refused,
    #[error(
        "what the authority issued is due for renewal at once, or is not for the names that were ordered"
    )]
    Useless,
    #[error("it took too long")]
    TooSlow,
    #[error("{0}")]
    File(FileError),
    #[error("the account or the certificate could not be stored: {0}")]
    Store(#[from] std::io::Error),
    #[error("a certificate for the challenge could not be made: {0}")]
    Make(#[from] rcgen::Error),
}

impl OrderError {
    /// Whether the authority did not take the nonces that it had given.
    fn is_bad_nonce(&self) -> bool {
        let Self::Acme(instant_acme::Error::Api(problem)) = self else { return false };
        problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:badNonce")
    }

    /// The error in a sentence.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::File(error) => error.sentence(),
            other => other.to_string(),
        }
    }
}

/// Gets a certificate and stores it; an order that ends because the authority takes none of our nonces begins anew at once
/// (RFC 8555 §6.5), for that says nothing of the names.
pub(super) async fn issue(folder: &Path, acme: &AcmeFront, listener: &str) -> Result<(), OrderError> {
    for _ in 1..MOST_ORDERS {
        match order(folder, acme, listener).await {
            Err(error) if error.is_bad_nonce() => tracing::debug!(listener, %error, "ordered anew"),
            ended => return ended,
        }
    }
    order(folder, acme, listener).await
}

async fn order(folder: &Path, acme: &AcmeFront, listener: &str) -> Result<(), OrderError> {
    let account = account(folder, acme).await?;
    let names = acme.settings.domains.iter().map(|name| Identifier::Dns(name.as_str().to_owned()));
    let names: Vec<_> = names.collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    prove(&mut order, acme).await?;
    let policy = RetryPolicy::default().timeout(std::time::Duration::from_secs(120));
    if order.poll_ready(&policy).await? != OrderStatus::Ready {
        return Err(OrderError::Refused);
    }
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&policy).await?;
    let path = storage::certificate_path(folder, &acme.settings, listener);
    Ok(storage::replace(&path, &format!("{chain}\n{key}"))?)
}

/// The account with the authority, made when there is none yet.
async fn account(folder: &Path, acme: &AcmeFront) -> Result<Account, OrderError> {
    let settings = &acme.settings;
    let builder = || -> Result<_, OrderError> {
        let roots = match &settings.ca {
            Some(ca) => files::roots(&files::path(folder, ca)).map_err(OrderError::File)?,
            None => files::system_roots().map_err(OrderError::File)?,
        };
        let tls = back::client(roots).map_err(OrderError::File)?;
        Ok(Account::builder_with_http(Box::new(Client { tls: Arc::new(tls) })))
    };
    let path = storage::account_path(folder, settings);
    let kept = fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str(&text).ok());
    if let Some(credentials) = kept {
        return Ok(builder()?.from_credentials(credentials).await?);
    }
    let contacts: Vec<&str> = settings.contacts.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contacts, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) = builder()?.create(&new, settings.directory.clone(), None).await?;
    let text = serde_json::to_string(&credentials).map_err(std::io::Error::other)?;
    storage::replace(&path, &text)?;
    Ok(account)
}

/// Answers the challenge for each name of an order.
async fn prove(order: &mut Order, acme: &AcmeFront) -> Result<(), OrderError> {
    let kind = match acme.settings.challenge {
        Challenge::Http01 => ChallengeType::Http01,
        Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
    };
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let name = authorization.identifier().to_string();
        match authorization.status {
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Valid => continue,
            _ => return Err(OrderError::Authorization(name)),
        }
        let Some(mut challenge) = authorization.challenge(kind.clone()) else {
            return Err(OrderError::NoChallenge(name));
        };
        match acme.settings.challenge {
            Challenge::Http01 => {
                let authorization = challenge.key_authorization();
                acme.challenges.answer(&challenge.token, authorization.as_str());
            }
            Challenge::TlsAlpn01 => acme.challenges.show(&name, proof(&name, &challenge)?),
        }
        challenge.set_ready().await?;
    }
    Ok(())
}

/// The certificate that proves that a name is ours (RFC 8737 §3).
fn proof(name: &str, challenge: &ChallengeHandle<'_>) -> Result<Arc<CertifiedKey>, OrderError> {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()])?;
    let digest = challenge.key_authorization().digest();
    params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(digest.as_ref())];
    self_signed(&params).map_err(OrderError::from)
}

/// A certificate that nobody vouches for, with its key.
///
/// It is not looked into, for the one that proves a name has an extension that only authorities understand.
///
/// # Errors
/// When the system gives no random bytes.
pub(crate) fn self_signed(params: &rcgen::CertificateParams) -> Result<Arc<CertifiedKey>, rcgen::Error> {
    let pair = rcgen::KeyPair::generate()?;
    let made = params.self_signed(&pair)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.serialize_der()));
    let key = front::provider().key_provider.load_private_key(key);
    let key = key.map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    Ok(Arc::new(CertifiedKey::new(vec![made.der().clone()], key)))
}
