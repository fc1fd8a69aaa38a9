//! Pages for people: the page to try the server, the documentation, and the API reference.
//!
//! They are files of `web/` and `docs/`, compiled into the program. They contain no secret, so they need no key. They
//! load nothing from other servers, and their content security policy forbids it.

mod manual;

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

use super::error::ApiError;
use super::router::reject_path;

/// The policy of pages: they load only what this server serves, and pictures that their own scripts draw.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of `web/`.
struct Asset {
    name: &'static str,
    media_type: &'static str,
    content: &'static str,
}

/// Names the files of `web/`; the path of each is `/web/` and its name.
macro_rules! assets {
    ($($name:literal: $media_type:literal,)*) => {
        [$(Asset { name: $name, media_type: $media_type, content: include_str!(concat!("../../../web/", $name)) },)*]
    };
}

const ASSETS: [Asset; 15] = assets! {
    "api.js": "text/javascript; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "batch.js": "text/javascript; charset=utf-8",
    "charts.js": "text/javascript; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "dom.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "problems.js": "text/javascript; charset=utf-8",
    "rows.js": "text/javascript; charset=utf-8",
    "reference.js": "text/javascript; charset=utf-8",
    "render.js": "text/javascript; charset=utf-8",
    "speed.svg": "image/svg+xml",
    "style.css": "text/css; charset=utf-8",
    "table.js": "text/javascript; charset=utf-8",
    "index.html": "text/html; charset=utf-8",
};

/// The entity tag of each asset, with which a browser checks its copy.
static ASSET_TAGS: LazyLock<[String; ASSETS.len()]> =
    LazyLock::new(|| std::array::from_fn(|index| tag(ASSETS[index].content)));

/// `GET /`: the page to try the server with.
pub(super) async fn show_start(headers: HeaderMap) -> Response {
    asset("index.html", &headers).unwrap_or_else(|| ApiError::server().into_response())
}

/// `GET /web/{name}`: a script, style or image of the pages.
pub(super) async fn show_asset(
    method: Method,
    uri: Uri,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    match asset(&name, &headers) {
        Some(response) => response,
        None => reject_path(method, uri).await.into_response(),
    }
}

/// `GET /docs`: redirects to the first page of the documentation. The address is relative, since a proxy may serve
/// everything below a path.
pub(super) async fn show_manual() -> Response {
    let address = format!("docs/{}", manual::START);
    let policy = [(header::CONTENT_SECURITY_POLICY, POLICY)];
    (StatusCode::FOUND, [(header::LOCATION, address)], policy).into_response()
}

/// `GET /docs/{name}`: a page of the documentation.
pub(super) async fn show_manual_page(
    method: Method,
    uri: Uri,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    match manual::page(&name) {
        _ if name == SEARCH_INDEX => {
            file(manual::index(), "application/json", &tag(manual::index()), &headers)
        }
        Some(html) => page(html, &headers),
        None if wants_page(&method, &uri, &headers) => missing(&uri),
        None => reject_path(method, uri).await.into_response(),
    }
}

/// The name of the search index among the pages.
const SEARCH_INDEX: &str = "search.json";

/// Whether a request for an address that does not exist comes from a person at a browser, who gets a page.
pub(super) fn wants_page(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let accepts = |value: &HeaderValue| value.to_str().is_ok_and(|types| types.contains("text/html"));
    method == Method::GET
        && !uri.path().starts_with("/api")
        && headers.get(header::ACCEPT).is_some_and(accepts)
}

/// The page for an address that does not exist.
pub(super) fn missing(uri: &Uri) -> Response {
    // The way back is relative: a proxy may serve everything below some path.
    let depth = uri.path().matches('/').count().saturating_sub(1);
    let root = if depth == 0 { "./".to_owned() } else { "../".repeat(depth) };
    let policy =
        [(header::CONTENT_SECURITY_POLICY, POLICY), (header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (StatusCode::NOT_FOUND, policy, manual::missing(&root)).into_response()
}

fn asset(name: &str, headers: &HeaderMap) -> Option<Response> {
    let index = ASSETS.iter().position(|asset| asset.name == name)?;
    Some(file(ASSETS[index].content, ASSETS[index].media_type, &ASSET_TAGS[index], headers))
}

fn page(html: &'static str, headers: &HeaderMap) -> Response {
    file(html, "text/html; charset=utf-8", &tag(html), headers)
}

/// A file, or 304 if the browser's copy is up to date.
fn file(content: &'static str, media_type: &'static str, tag: &str, headers: &HeaderMap) -> Response {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let is_known =
        known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag));
    let mut response =
        if is_known { StatusCode::NOT_MODIFIED.into_response() } else { content.into_response() };
    let own = response.headers_mut();
    own.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    own.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    // A new version of the program shows at once; an unchanged file costs no transfer.
    own.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Hexadecimal digits in quotes are a valid header.
    if let Ok(tag) = HeaderValue::from_str(tag) {
        own.insert(header::ETAG, tag);
    }
    response
}

fn tag(content: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(content).into();
    let start = digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    format!("\"{start:016x}\"")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served() {
        let entries = std::fs::read_dir("web").expect("the folder is there");
        let files: BTreeSet<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        let served: BTreeSet<String> = ASSETS.iter().map(|asset| asset.name.to_owned()).collect();
        assert_eq!(files, served);
    }

    #[test]
    fn links_work_below_the_path_of_a_proxy() {
        for Asset { name, content, .. } in ASSETS {
            assert!(!content.contains("href=\"/") && !content.contains("src=\"/"), "{name}");
            assert!(!content.contains("fetch(\"/"), "{name}");
        }
    }

    #[test]
    fn no_page_names_another_host_or_has_inline_code() {
        for Asset { name, content, .. } in ASSETS {
            let hosts =
                content.matches("://").count() - content.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(hosts, 0, "{name}");
            for inline in ["style=", "onclick", "onload", "<style", "javascript:", "innerHTML", "eval("] {
                assert!(!content.contains(inline), "{name}: {inline}");
            }
        }
    }
}
