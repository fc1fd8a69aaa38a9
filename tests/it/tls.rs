//! TLS and mutual TLS: versions of HTTP, renewal of certificates, unusable files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sentor::http::{Tls, TlsError, TlsFiles};
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::{Setup, TestServer};

/// A certificate authority, and the files that it has signed.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are fine names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key pair");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let folder = TempDir::new().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("a file");
        Self { folder, issuer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a new certificate for localhost and its key.
    fn issue(&self, certificate: &str, private_key: &str) {
        let key = KeyPair::generate().expect("a key pair");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a valid name");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        std::fs::write(self.path(certificate), signed.pem()).expect("a file");
        std::fs::write(self.path(private_key), key.serialize_pem()).expect("a file");
    }

    fn files(&self, client_ca: Option<&str>) -> TlsFiles {
        TlsFiles {
            certificate: self.path("server.pem"),
            private_key: self.path("server.key"),
            client_ca: client_ca.map(|name| self.path(name)),
        }
    }

    /// A client that trusts this authority, speaks `protocol` and may have a certificate.
    fn client(&self, protocol: &str, identity: Option<(&str, &str)>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the defaults are there")
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::from_pem_file(self.path(certificate)).expect("a certificate");
                let key = PrivateKeyDer::from_pem_file(self.path(key)).expect("a key");
                builder.with_client_auth_cert(vec![chain], key).expect("they fit")
            }
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        config
    }
}

/// Asks `/livez` over TLS: the version of HTTP, the status, and the server's certificate.
fn ask(server: &TestServer, config: ClientConfig) -> Result<(hyper::Version, u16, Vec<u8>), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let stream =
            tokio::net::TcpStream::connect(server.address).await.map_err(|error| error.to_string())?;
        let name = ServerName::try_from("localhost").expect("a valid name");
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        let session = stream.get_ref().1;
        let certificate = session.peer_certificates().expect("the server has one")[0].to_vec();
        let is_http_2 = session.alpn_protocol() == Some(b"h2");
        let request = hyper::Request::get("https://localhost/livez")
            .header("host", "localhost")
            .body(Empty::<Bytes>::new())
            .expect("a valid request");
        let answer = if is_http_2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                    .await
                    .map_err(|error| error.to_string())?;
            tokio::spawn(connection);
            sender.send_request(request).await
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|error| error.to_string())?;
            tokio::spawn(connection);
            sender.send_request(request).await
        };
        let answer = answer.map_err(|error| error.to_string())?;
        let (version, status) = (answer.version(), answer.status().as_u16());
        answer.into_body().collect().await.map_err(|error| error.to_string())?;
        Ok((version, status, certificate))
    })
}

fn start(tls: &Arc<Tls>) -> TestServer {
    TestServer::start_with(Setup { tls: Some(Arc::clone(tls)), ..Setup::default() })
}

#[test]
fn tls_speaks_both_versions_of_http_and_follows_its_files() {
    let authority = Authority::new();
    authority.issue("server.pem", "server.key");
    let tls = Arc::new(Tls::load(authority.files(None)).expect("the files are in order"));
    let server = start(&tls);
    let first = ask(&server, authority.client("h2", None)).expect("HTTP/2");
    assert_eq!((first.0, first.1), (hyper::Version::HTTP_2, 200));
    let older = ask(&server, authority.client("http/1.1", None)).expect("HTTP/1.1");
    assert_eq!((older.0, older.1), (hyper::Version::HTTP_11, 200));
    assert_eq!(older.2, first.2);
    ask(&server, Authority::new().client("h2", None)).expect_err("nobody vouches for it there");
    assert!(
        Client::new(&format!("http://{}", server.address), None).try_get("/livez").is_none(),
        "no plain HTTP"
    );

    let following = tokio::runtime::Runtime::new().expect("a runtime");
    following.spawn(Arc::clone(&tls).follow());
    std::fs::write(authority.path("server.pem"), "half a file").expect("a file");
    std::thread::sleep(Duration::from_secs(3));
    let still = ask(&server, authority.client("h2", None)).expect("what was there stays");
    assert_eq!(still.2, first.2);
    authority.issue("server.pem", "server.key");
    let renewed = Instant::now();
    while ask(&server, authority.client("h2", None)).expect("it answers all the time").2 == first.2 {
        assert!(renewed.elapsed() < Duration::from_secs(10), "the new certificate is taken up");
        std::thread::sleep(Duration::from_millis(200));
    }
    following.shutdown_background();
}

#[test]
fn mutual_tls_accepts_only_certificates_of_the_authority() {
    let authority = Authority::new();
    authority.issue("server.pem", "server.key");
    authority.issue("client.pem", "client.key");
    let tls = Arc::new(Tls::load(authority.files(Some("ca.pem"))).expect("the files are in order"));
    let server = start(&tls);
    let known = authority.client("h2", Some(("client.pem", "client.key")));
    assert_eq!(ask(&server, known).map(|answer| answer.1), Ok(200));
    ask(&server, authority.client("h2", None)).expect_err("a certificate is needed");

    let stranger = Authority::new();
    stranger.issue("client.pem", "client.key");
    std::fs::copy(stranger.path("client.pem"), authority.path("stranger.pem")).expect("a file");
    std::fs::copy(stranger.path("client.key"), authority.path("stranger.key")).expect("a file");
    let strange = authority.client("h2", Some(("stranger.pem", "stranger.key")));
    ask(&server, strange).expect_err("nobody vouches for it here");
}

#[test]
fn unusable_tls_files_are_named_and_not_quoted() {
    let authority = Authority::new();
    authority.issue("server.pem", "server.key");
    let good = authority.files(None);
    let load = |files: TlsFiles| Tls::load(files).expect_err("it cannot be");
    let missing = load(TlsFiles { certificate: authority.path("none.pem"), ..good.clone() });
    assert!(missing.to_string().contains("none.pem") && missing.to_string().contains("tls_certificate"));
    let swapped = load(TlsFiles { certificate: good.private_key.clone(), ..good.clone() });
    assert!(matches!(swapped, TlsError::Unusable { setting: "tls_certificate", .. }), "{swapped}");
    authority.issue("other.pem", "other.key");
    let mismatch = load(TlsFiles { private_key: authority.path("other.key"), ..good.clone() });
    assert!(matches!(mismatch, TlsError::Mismatch { .. }), "{mismatch}");
    let secret = "-----BEGIN PRIVATE KEY-----\ngeheim geheim\n";
    std::fs::write(authority.path("cut.key"), secret).expect("a file");
    let cut = load(TlsFiles { private_key: authority.path("cut.key"), ..good });
    assert!(!cut.to_string().contains("geheim"), "{cut}");
}
