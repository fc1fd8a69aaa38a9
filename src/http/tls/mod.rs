//! TLS: a certificate from files, read again when they change.

mod validity;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;
use validity::Validity;

/// The name of HTTP/2 in a TLS handshake.
pub(super) const HTTP_2: &[u8] = b"h2";

const HTTP_1: &[u8] = b"http/1.1";

/// Interval at which the files are read. They are small, and a renewed certificate is not urgent.
const RELOAD_EVERY: Duration = Duration::from_secs(2);

/// Time before expiry at which the log warns; automatic renewals come earlier.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The files of a listener's TLS, all in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by its intermediates.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub private_key: PathBuf,
    /// The authorities that must have signed a client's certificate; `None`: clients need no certificate.
    pub client_ca: Option<PathBuf>,
}

/// Why the files cannot be used for TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}, which {setting} names", .path.display())]
    Unreadable {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file has the wrong content.
    #[error("{}, which {setting} names, holds no usable PEM {what}: {problem}", .path.display())]
    Unusable {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The expected content.
        what: &'static str,
        /// The problem.
        problem: String,
    },
    /// The private key is not the certificate's.
    #[error("the certificate {} and the private key {} do not fit each other", .certificate.display(), .private_key.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        private_key: PathBuf,
        /// The cause, from rustls.
        source: rustls::Error,
    },
}

/// The TLS of a listener, up to date with its files.
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Loaded>,
}

struct Loaded {
    contents: Contents,
    config: Arc<ServerConfig>,
}

/// The contents of the files.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    private_key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or has the wrong content, or the key is not the certificate's.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let contents = files.read()?;
        let config = files.config(&contents)?;
        files.report_validity(&contents, Timestamp::now());
        Ok(Self { files, current: RwLock::new(Loaded { contents, config }) })
    }

    /// An acceptor with the current certificate.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current.config).into()
    }

    /// Reloads the files when they change, for as long as it is polled. It logs unusable files once, and keeps the former
    /// certificate.
    pub async fn follow(self: Arc<Self>) {
        let mut last_problem = String::new();
        loop {
            tokio::time::sleep(RELOAD_EVERY).await;
            let tls = Arc::clone(&self);
            let Ok(outcome) = tokio::task::spawn_blocking(move || tls.reload()).await else { continue };
            match outcome {
                Ok(true) => {
                    tracing::info!(certificate = %self.files.certificate.display(), "the certificate was reloaded");
                    last_problem.clear();
                }
                Ok(false) => last_problem.clear(),
                Err(error) => {
                    let problem = error.to_string();
                    if problem != last_problem {
                        tracing::error!(%error, "cannot use the changed certificate: the former one stays in use");
                    }
                    last_problem = problem;
                }
            }
        }
    }

    /// Reloads the files; returns whether they had changed.
    fn reload(&self) -> Result<bool, TlsError> {
        let contents = self.files.read()?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).contents == contents {
            return Ok(false);
        }
        let config = self.files.config(&contents)?;
        self.files.report_validity(&contents, Timestamp::now());
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Loaded { contents, config };
        Ok(true)
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl TlsFiles {
    fn read(&self) -> Result<Contents, TlsError> {
        let read = |setting, path: &Path| {
            let unreadable = |source| TlsError::Unreadable { setting, path: path.to_owned(), source };
            std::fs::read(path).map_err(unreadable)
        };
        Ok(Contents {
            certificate: read("tls_certificate", &self.certificate)?,
            private_key: read("tls_private_key", &self.private_key)?,
            client_ca: self.client_ca.as_deref().map(|path| read("admin_client_ca", path)).transpose()?,
        })
    }

    fn config(&self, contents: &Contents) -> Result<Arc<ServerConfig>, TlsError> {
        let chain = certificates("tls_certificate", &self.certificate, &contents.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&contents.private_key);
        let key = key.map_err(|error| {
            unusable("tls_private_key", &self.private_key, "private key", &no_secret(&error))
        })?;

        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        // The provider has all ciphers, so the default versions, 1.2 and 1.3, work.
        let builder =
            builder.with_safe_default_protocol_versions().map_err(|source| self.mismatch(source))?;
        let builder = match (&self.client_ca, &contents.client_ca) {
            (Some(path), Some(bytes)) => {
                builder.with_client_cert_verifier(client_verifier(path, bytes, provider)?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|source| self.mismatch(source))?;
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1.to_vec()];
        Ok(Arc::new(config))
    }

    /// Logs a certificate that clients will not accept, now or soon.
    fn report_validity(&self, contents: &Contents, now: Timestamp) {
        let Ok(chain) = certificates("tls_certificate", &self.certificate, &contents.certificate) else {
            return;
        };
        let certificate = self.certificate.display();
        for Validity { not_before, not_after } in
            chain.iter().filter_map(|der| Validity::from_certificate(der))
        {
            if now > not_after {
                tracing::error!(%certificate, %not_after, "the certificate has expired: clients refuse it");
            } else if now < not_before {
                tracing::error!(%certificate, %not_before, "the certificate is not valid yet: clients refuse it");
            } else if not_after.duration_since(now) < EXPIRES_SOON {
                tracing::warn!(%certificate, %not_after, "the certificate expires soon");
            }
        }
    }

    fn mismatch(&self, source: rustls::Error) -> TlsError {
        let (certificate, private_key) = (self.certificate.clone(), self.private_key.clone());
        TlsError::Mismatch { certificate, private_key, source }
    }
}

fn client_verifier(
    path: &Path,
    bytes: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    const SETTING: &str = "admin_client_ca";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(SETTING, path, bytes)? {
        roots.add(certificate).map_err(|error| unusable(SETTING, path, "certificate", &error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| unusable(SETTING, path, "certificate", &error.to_string()))
}

/// All certificates of a file; there must be at least one.
fn certificates(
    setting: &'static str,
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |problem: &str| unusable(setting, path, "certificate", problem);
    let certificates: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(bytes).collect();
    let certificates = certificates.map_err(|error| unusable(&error.to_string()))?;
    if certificates.is_empty() {
        return Err(unusable("there is no certificate in it"));
    }
    Ok(certificates)
}

fn unusable(setting: &'static str, path: &Path, what: &'static str, problem: &str) -> TlsError {
    TlsError::Unusable { setting, path: path.to_owned(), what, problem: problem.to_owned() }
}

/// Describes the problem of a private key's file without the content that the error would quote.
fn no_secret(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "there is no private key in it".to_owned(),
        _ => "it is not valid PEM".to_owned(),
    }
}
