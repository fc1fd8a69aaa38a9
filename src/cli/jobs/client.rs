//! Calls of the interface for jobs.

use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use futures_util::stream;
pub(super) use reqwest::Method;
use reqwest::{Body, Client, RequestBuilder, Response, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 256 << 10;

/// Talks to one server with one key.
pub(super) struct JobClient {
    client: Client,
    base: Url,
    key: String,
}

/// The part of an error's body that people read.
#[derive(Deserialize)]
struct ErrorBody {
    detail: String,
}

impl JobClient {
    /// A client for the server at `url`, with or without `/api` at its end.
    pub(super) fn new(url: &str, key: &str) -> anyhow::Result<Self> {
        // It is an error only where another part of the program did so before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = url.trim_end_matches('/');
        let url = if url.ends_with("/api") { format!("{url}/") } else { format!("{url}/api/") };
        let base = Url::parse(&url).context("--url must begin with http:// or https://")?;
        let client = Client::builder().build().context("cannot make an HTTP client")?;
        Ok(Self { client, base, key: key.to_owned() })
    }

    /// Sends a file as it is.
    pub(super) async fn upload<T: DeserializeOwned>(
        &self,
        file: &Path,
        query: &[(&str, &str)],
        idempotency_key: Option<&str>,
    ) -> anyhow::Result<T> {
        let opened =
            std::fs::File::open(file).with_context(|| format!("failed to open {}", file.display()))?;
        let length = opened.metadata()?.len();
        let pieces = stream::unfold(opened, |mut file| async move {
            // The disk is quick beside the network, and this program does nothing else meanwhile.
            let mut piece = vec![0; PIECE_BYTES];
            match std::io::Read::read(&mut file, &mut piece) {
                Ok(0) => None,
                Ok(read) => {
                    piece.truncate(read);
                    Some((Ok(piece), file))
                }
                Err(error) => Some((Err(error), file)),
            }
        });
        let mut request = self
            .request(Method::POST, "jobs", query)?
            .header("content-type", "application/x-ndjson")
            .header("content-length", length)
            .body(Body::wrap_stream(pieces));
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let response = answered(request.send().await, &self.base).await?;
        Ok(serde_json::from_slice(&response.bytes().await?)?)
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> anyhow::Result<T> {
        let body = self.call(Method::GET, path, query).await?;
        serde_json::from_slice(&body)
            .context("the server's answer cannot be read; is it a Sentor of this version?")
    }

    /// The body of an answer.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
    ) -> anyhow::Result<Vec<u8>> {
        let sent = self.request(method, path, query)?.send().await;
        Ok(answered(sent, &self.base).await?.bytes().await?.to_vec())
    }

    /// An answer whose body is read as it comes.
    pub(super) async fn stream(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Response> {
        let sent = self.request(Method::GET, path, query)?.send().await;
        answered(sent, &self.base).await
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> anyhow::Result<RequestBuilder> {
        let mut url = self.base.join(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.client.request(method, url).header("x-api-key", &self.key))
    }
}

/// An answer that is no error.
async fn answered(sent: reqwest::Result<Response>, base: &Url) -> anyhow::Result<Response> {
    let response = sent.map_err(|error| {
        let error = error.without_url();
        anyhow!(error).context(format!("cannot reach the server at {base}; --url names another"))
    })?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.bytes().await.unwrap_or_default();
    match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(ErrorBody { detail }) => bail!("{detail} ({})", status.as_u16()),
        Err(_) => bail!("the server answered with status {}", status.as_u16()),
    }
}
