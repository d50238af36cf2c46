//! Certificates, keys and roots, read from files.
//!
//! Owns: reading PEM and DER, and the sentences for an operator whose files are wrong. Leaves to others: which files
//! (`core/config`), and what they are used for. Invariant: a certificate that was read comes with the key that fits it.

use std::{
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use evenkeel_config::{FilePath, balancer::CertificateFiles};
use rustls::{
    Error, InconsistentKeys, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};
use x509_parser::{extensions::GeneralName, prelude::FromDer as _};

use crate::tls::ocsp::{self, Staple};

/// Largest file: the system's roots, some 150 certificates, have 220 KiB.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("`{0}`: cannot be read; does the file exist, and may the data plane's user read it?")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("`{0}`: larger than {MAX_FILE_BYTES} bytes; is it the right file?")]
    TooLarge(PathBuf),
    #[error("`{0}`: has no certificate; expected PEM with a line `-----BEGIN CERTIFICATE-----`")]
    NoCertificate(PathBuf),
    #[error("`{0}`: has no private key; expected PEM with a line `-----BEGIN PRIVATE KEY-----`, unencrypted")]
    NoKey(PathBuf),
    #[error("`{0}`: not the PEM that it begins as ({1}); write the file again")]
    Pem(PathBuf, String),
    #[error("`{0}`: the certificate cannot be used ({1}); have it issued again")]
    Certificate(PathBuf, String),
    #[error("`{0}`: the key cannot be used ({1}); take ECDSA P-256, Ed25519 or RSA with 2048 bits or more")]
    Key(PathBuf, String),
    #[error("`{key}`: not the key of `{certificate}`; give each certificate the key that it was issued for")]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("`{0}`: expired {1}; renew it")]
    Expired(PathBuf, String),
    #[error("`{0}`: begins only in {1}; is the clock of this machine right?")]
    NotYet(PathBuf, String),
    #[error("`{0}`: not a successful OCSP response in DER; fetch it again, or remove `ocsp`")]
    Ocsp(PathBuf),
    #[error("`{0}`: the OCSP response {1}")]
    Staple(PathBuf, &'static str),
    #[error("the system has no certificates that it trusts; install ca-certificates, or set `ca`")]
    NoRoots,
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

impl FileError {
    /// The file that is at fault, where it is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Read(path, _)
            | Self::TooLarge(path)
            | Self::NoCertificate(path)
            | Self::NoKey(path)
            | Self::Pem(path, _)
            | Self::Certificate(path, _)
            | Self::Key(path, _)
            | Self::Mismatch { key: path, .. }
            | Self::Expired(path, _)
            | Self::NotYet(path, _)
            | Self::Ocsp(path)
            | Self::Staple(path, _) => Some(path),
            Self::NoRoots | Self::Setup(_) => None,
        }
    }

    /// The file's certificate has expired by `now`, in seconds since 1970.
    pub(crate) fn expired(path: PathBuf, certificate: &Certificate, now: i64) -> Self {
        Self::Expired(path, format!("{} days ago", (now - certificate.expires) / 86_400))
    }

    /// The error and its cause in one sentence.
    pub(crate) fn sentence(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}

/// A certificate with its key.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) key: Arc<CertifiedKey>,
    /// The names in it, in lower case, wildcards included.
    pub(crate) names: Vec<String>,
    /// When it begins, in seconds since 1970.
    pub(crate) begins: i64,
    /// When it ends, in seconds since 1970.
    pub(crate) expires: i64,
    /// What its OCSP response says, where it has one.
    pub(crate) staple: Option<Staple>,
    /// Whether the data plane made it, so that nobody vouches for it.
    pub(crate) is_self_made: bool,
    /// The file, as the configuration names it.
    pub(crate) file: String,
}

impl Certificate {
    /// Whether it has expired by `now`, in seconds since 1970.
    pub(crate) const fn is_expired(&self, now: i64) -> bool {
        self.expires < now
    }
}

/// The path of a file that the configuration in `folder` names.
pub(crate) fn path(folder: &Path, file: &FilePath) -> PathBuf {
    folder.join(file.as_str())
}

/// What is seen of a file without reading it: its inode, its size, and when it was written and replaced.
pub(crate) type Look = Option<(u64, u64, i64, i64, i64)>;

/// Looks at a file; `None` when it is not there.
pub(crate) fn look(path: &Path) -> Look {
    let metadata = std::fs::metadata(path).ok()?;
    let written = (metadata.mtime(), metadata.mtime_nsec(), metadata.ctime());
    Some((metadata.ino(), metadata.size(), written.0, written.1, written.2))
}

/// Seconds since 1970, as far as this machine knows.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Reads a file of at most [`MAX_FILE_BYTES`].
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Read(path.to_owned(), source);
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(FileError::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

pub(crate) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let bytes = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = chain.map_err(|error| FileError::Pem(path.to_owned(), error.to_string()))?;
    if chain.is_empty() { Err(FileError::NoCertificate(path.to_owned())) } else { Ok(chain) }
}

/// Reads a certificate with its key.
///
/// # Errors
/// Whatever keeps it from being used; that it has expired does not.
pub(crate) fn certificate(
    folder: &Path,
    files: &CertificateFiles,
    provider: &CryptoProvider,
) -> Result<Certificate, FileError> {
    let ocsp = files.ocsp.as_ref().map(|ocsp| path(folder, ocsp));
    let (certificate, key) = (path(folder, &files.certificate), path(folder, &files.key));
    let label = files.certificate.to_string();
    certificate_at((&certificate, &key), ocsp.as_deref(), label, provider)
}

/// Reads a certificate with its key from these files, which may be one.
///
/// # Errors
/// As [`certificate`].
pub(crate) fn certificate_at(
    (file, key_file): (&Path, &Path),
    ocsp: Option<&Path>,
    label: String,
    provider: &CryptoProvider,
) -> Result<Certificate, FileError> {
    let (file, key_file) = (file.to_owned(), key_file.to_owned());
    let chain = chain(&file)?;
    let found = look_into(&chain[0]).map_err(|why| FileError::Certificate(file.clone(), why))?;
    let key = private_key(&key_file)?;
    let mut key = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            FileError::Mismatch { certificate: file.clone(), key: key_file.clone() }
        }
        Error::InvalidCertificate(_) => FileError::Certificate(file.clone(), error.to_string()),
        error => FileError::Key(key_file.clone(), error.to_string()),
    })?;
    let staple = ocsp.map(|ocsp| ocsp_response(ocsp, &found.serial)).transpose()?;
    if let Some(((bytes, staple), path)) = staple.as_ref().zip(ocsp) {
        warn_of(path, *staple);
        key.ocsp = staple.state.is_shown().then(|| bytes.clone());
    }
    Ok(Certificate {
        key: Arc::new(key),
        names: found.names,
        begins: found.begins,
        expires: found.expires,
        staple: staple.map(|(_, staple)| staple),
        is_self_made: false,
        file: label,
    })
}

/// Reads a private key.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => FileError::NoKey(path.to_owned()),
        error => FileError::Pem(path.to_owned(), error.to_string()),
    })
}

/// What is read in a certificate.
struct Found {
    names: Vec<String>,
    begins: i64,
    expires: i64,
    /// As DER has it.
    serial: Vec<u8>,
}

fn look_into(certificate: &CertificateDer<'_>) -> Result<Found, String> {
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(certificate)
        .map_err(|error| error.to_string())?;
    let alternatives = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
    // Names count only where RFC 9525 §2 puts them: a name in the subject is for people.
    let names = alternatives.iter().flat_map(|names| &names.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    let validity = parsed.validity();
    Ok(Found {
        names: names.collect(),
        begins: validity.not_before.timestamp(),
        expires: validity.not_after.timestamp(),
        serial: parsed.raw_serial().to_vec(),
    })
}

/// Reads an OCSP response, and what it says of the certificate with this serial number. One that is of no use is no error:
/// the certificate is shown without it rather than not at all.
pub(crate) fn ocsp_response(path: &Path, serial: &[u8]) -> Result<(Vec<u8>, Staple), FileError> {
    let bytes = read(path)?;
    let staple = ocsp::read(&bytes, serial, now()).ok_or_else(|| FileError::Ocsp(path.to_owned()))?;
    Ok((bytes, staple))
}

/// Tells the log what is wrong with an OCSP response.
fn warn_of(path: &Path, staple: Staple) {
    let (file, shown) = (path.display(), staple.state.is_shown());
    match staple.state.problem() {
        None => {}
        Some(problem) if shown => tracing::error!("`{file}`: the OCSP response {problem}"),
        Some(problem) => tracing::warn!("`{file}`: is not shown, for the OCSP response {problem}"),
    }
}

/// Reads those who may sign.
pub(crate) fn roots(path: &Path) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(path)? {
        let add = roots.add(certificate);
        add.map_err(|error| FileError::Certificate(path.to_owned(), error.to_string()))?;
    }
    Ok(roots)
}

/// Those whom the system trusts.
pub(crate) fn system_roots() -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate that the system trusts could not be read");
    }
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 { Err(FileError::NoRoots) } else { Ok(roots) }
}
