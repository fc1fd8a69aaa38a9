//! `sentor health`: asks a running server whether it is ready; for health checks of containers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use http::Uri;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::flags::ServerFlags;
use super::{Exit, GlobalArgs, print};
use crate::config::{Config, ServerConfig};

/// Ask a running server whether it is ready
///
/// Without --url it asks the server of the same configuration: file, environment and flags determine the port and TLS.
/// The exit code is 0 if the server is ready, and 1 if it is not or does not answer. Like the probes of Kubernetes, it
/// does not check the server's certificate.
#[derive(Debug, clap::Args)]
pub(crate) struct HealthArgs {
    /// Address of the server, such as `https://127.0.0.1:8443` [default: that of the settings]
    #[arg(long, value_name = "URL")]
    url: Option<Uri>,

    /// Maximum time to wait for the answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 3000)]
    timeout_ms: u64,

    #[command(flatten)]
    settings: ServerFlags,
}

/// Maximum size of the answer's body; the server's own has some hundred bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Runs the command.
pub(crate) fn run(args: &HealthArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    let address = if let Some(url) = &args.url {
        Address::from_url(url)?
    } else {
        let mut overrides = global.overrides();
        overrides.flags.extend(args.settings.given());
        Address::from_config(&Config::load(&overrides)?.server)?
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let timeout = Duration::from_millis(args.timeout_ms);
    let answer = runtime.block_on(async { tokio::time::timeout(timeout, address.ask()).await });
    // A pending name look-up must not delay the end.
    runtime.shutdown_background();
    let (status, body) = answer
        .with_context(|| format!("{address} did not answer within {} ms", args.timeout_ms))?
        .with_context(|| format!("cannot ask {address}"))?;
    if status != StatusCode::OK {
        bail!("{address} is not ready: {} {body}", status.as_u16());
    }
    print(b"ready\n")?;
    Ok(Exit::Ok)
}

/// A server's address.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    is_tls: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(formatter, "{scheme}://{}", self.authority())
    }
}

impl Address {
    fn from_url(url: &Uri) -> anyhow::Result<Self> {
        let is_tls = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => bail!("--url must begin with http:// or https://"),
        };
        let host = url.host().context("--url must name a host")?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { is_tls, host, port: url.port_u16().unwrap_or(if is_tls { 443 } else { 80 }) })
    }

    /// Returns the public listener's address: loopback for a listener on all addresses.
    fn from_config(config: &ServerConfig) -> anyhow::Result<Self> {
        let port = config.listen.port;
        ensure!(port != 0, "the settings let the server pick its port; name its address with --url");
        let host = match config.listen.host.as_str() {
            "0.0.0.0" => "127.0.0.1",
            "::" => "::1",
            host => host,
        };
        Ok(Self { is_tls: config.tls.is_some(), host: host.to_owned(), port })
    }

    fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Status and body of the server's `/readyz`.
    async fn ask(&self) -> anyhow::Result<(StatusCode, String)> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        if !self.is_tls {
            return self.ask_over(stream).await;
        }
        let name = ServerName::try_from(self.host.clone())?;
        let stream = TlsConnector::from(Arc::new(client_config()?)).connect(name, stream).await?;
        self.ask_over(stream).await
    }

    async fn ask_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> anyhow::Result<(StatusCode, String)> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the runtime. Its errors also fail the request.
        tokio::spawn(connection);
        let request = Request::get("/readyz")
            .header(header::HOST, self.authority())
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_BODY_BYTES).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).trim().to_owned()))
    }
}

fn client_config() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(AnyCertificate(Arc::clone(&provider)));
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

/// Accepts every certificate: the check sends no secret, and the certificate rarely names the loopback address.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_comes_from_the_url_or_the_settings() {
        let from_url = |url: &str| Address::from_url(&url.parse().expect("a URL")).map(|it| it.to_string());
        for (url, expected) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("https://[::1]/", "https://[::1]:443"),
            ("http://sentor.internal/api", "http://sentor.internal:80"),
        ] {
            assert_eq!(from_url(url).ok().as_deref(), Some(expected), "{url}");
        }
        assert!(from_url("127.0.0.1:8080").is_err());

        let from_flags = |flags: &[(&str, &str)]| {
            let flags = flags.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            let overrides = crate::config::Overrides { file: None, flags };
            let config = Config::load_in(&overrides, &crate::config::Environment::default());
            Address::from_config(&config.expect("the flags are valid").server).map(|it| it.to_string())
        };
        let tls = [("listen", "0.0.0.0:8443"), ("tls_certificate", "a.pem"), ("tls_private_key", "b.pem")];
        assert_eq!(from_flags(&tls).ok().as_deref(), Some("https://127.0.0.1:8443"));
        assert_eq!(from_flags(&[("listen", "[::]:1")]).ok().as_deref(), Some("http://[::1]:1"));
        assert!(from_flags(&[("listen", "127.0.0.1:0")]).is_err());
    }
}
