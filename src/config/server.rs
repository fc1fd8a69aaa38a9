//! Settings of the listeners, TLS, CORS and timeouts.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::network::Network;
use super::reader::Reader;
use super::setting::{Fallback, Kind, Setting};

/// Listeners, TLS, CORS and timeouts.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Address of the public listener.
    pub listen: Listen,
    /// Address of a listener for metrics without a key; `None`: none.
    pub metrics_listen: Option<Listen>,
    /// Address of the admin interface; `None`: that of the public listener, if only this machine reaches it or
    /// `admin_public` is set.
    pub admin_listen: Option<Listen>,
    /// Whether the public listener serves the admin interface where other machines reach it.
    pub admin_public: bool,
    /// Whether visitors without a key see a scored sample.
    pub demo: bool,
    /// The certificate of the listeners; `None`: plain HTTP.
    pub tls: Option<TlsConfig>,
    /// Origins allowed by CORS: empty turns CORS off, `*` allows all.
    pub cors_origins: Vec<String>,
    /// Maximum open connections per listener.
    pub max_connections: usize,
    /// Maximum open connections per peer address.
    pub max_connections_per_address: usize,
    /// Peers to which that limit does not apply.
    pub trusted_proxies: Vec<Network>,
    /// Time from a request's head to its answer, unless the client asks for another.
    pub request_timeout: Duration,
    /// Maximum timeout that a client may ask for.
    pub request_timeout_max: Duration,
    /// Time for a request's head to arrive, and for a connection to idle between requests.
    pub header_timeout: Duration,
    /// Time for a whole request body to arrive.
    pub body_timeout: Duration,
    /// Time for a peer to read a part of its answer.
    pub write_timeout: Duration,
    /// Time for running requests to finish at shutdown.
    pub shutdown_grace: Duration,
}

/// The files of a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM file of the certificate and its intermediates.
    pub certificate: PathBuf,
    /// PEM file of the certificate's private key.
    pub private_key: PathBuf,
    /// PEM file of the authorities of client certificates for the admin listener; `None`: it asks for none.
    pub admin_client_ca: Option<PathBuf>,
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "listen",
        kind: Kind::Address,
        default: Fallback::Value("127.0.0.1:8080"),
        help: "Address of the public listener. Only this machine can reach the default. Port 0 picks a free port and prints it.",
    },
    Setting {
        name: "metrics_listen",
        kind: Kind::Address,
        default: Fallback::Unset("metrics need a key with the scope metrics"),
        help: "Address of a further listener that serves /metrics without a key, for a network of the monitoring alone.",
    },
    Setting {
        name: "admin_listen",
        kind: Kind::Address,
        default: Fallback::Unset(
            "the admin interface is at the address of listen, if that is a loopback address",
        ),
        help: "Address of a listener for the admin interface alone; the other listeners then do not serve it.",
    },
    Setting {
        name: "admin_public",
        kind: Kind::Switch,
        default: Fallback::Value("false"),
        help: "Whether listen serves the admin interface even if other machines reach it. Set it only behind a proxy \
               that refuses /api/admin; admin_listen is the safer choice.",
    },
    Setting {
        name: "demo",
        kind: Kind::Switch,
        default: Fallback::Value("false"),
        help: "Whether the page shows a sample that the server scores without a key. The text is fixed, and it is \
               scored at most once a minute in each language.",
    },
    Setting {
        name: "tls_certificate",
        kind: Kind::Path,
        default: Fallback::Unset("plain HTTP"),
        help: "PEM file of the certificate, followed by its intermediates; the server reloads it when it changes. \
               Needs tls_private_key. The public and the admin listener then speak HTTPS.",
    },
    Setting {
        name: "tls_private_key",
        kind: Kind::Path,
        default: Fallback::Unset("plain HTTP"),
        help: "PEM file of the certificate's private key.",
    },
    Setting {
        name: "admin_client_ca",
        kind: Kind::Path,
        default: Fallback::Unset("the admin listener asks for no client certificate"),
        help: "PEM file of the authorities that sign client certificates for the admin listener (mutual TLS). \
               Needs admin_listen and tls_certificate.",
    },
    Setting {
        name: "cors_origins",
        kind: Kind::List,
        default: Fallback::Unset("no CORS headers"),
        help: "Origins whose web pages may call the server, such as https://example.org; * allows all.",
    },
    Setting {
        name: "max_connections",
        kind: Kind::Count { least: 1, most: 1_000_000 },
        default: Fallback::Value("2000"),
        help: "Maximum open connections per listener; further ones wait. Each takes a file descriptor: the server \
               raises its soft limit as far as the hard limit allows, and warns if that is too low.",
    },
    Setting {
        name: "max_connections_per_address",
        kind: Kind::Count { least: 1, most: 1_000_000 },
        default: Fallback::Unset("a quarter of max_connections"),
        help: "Maximum open connections from one address, or from one /64 network of IPv6; further ones are closed \
               at once. Addresses of this machine and of trusted_proxies have no such limit.",
    },
    Setting {
        name: "trusted_proxies",
        kind: Kind::Networks,
        default: Fallback::Unset("none but on this machine"),
        help: "Addresses of proxies and load balancers in front of the server, such as 10.0.0.0/8. \
               max_connections_per_address does not count their connections.",
    },
    Setting {
        name: "request_timeout_ms",
        kind: Kind::Count { least: 1, most: DAY_MS },
        default: Fallback::Value("120000"),
        help: "Maximum time from a request's head to its answer, unless the header x-request-timeout-ms asks for \
               another. The server refuses a request that would take longer with 503, at once where it can \
               estimate that. Most clients give up sooner.",
    },
    Setting {
        name: "request_timeout_max_ms",
        kind: Kind::Count { least: 1, most: DAY_MS },
        default: Fallback::Value("600000"),
        help: "Maximum of x-request-timeout-ms; a larger value counts as this. It bounds how long a request can \
               hold its memory.",
    },
    Setting {
        name: "header_timeout_ms",
        kind: Kind::Count { least: 1, most: DAY_MS },
        default: Fallback::Value("10000"),
        help: "Maximum time for a request's head to arrive, and for a connection to idle between requests.",
    },
    Setting {
        name: "body_timeout_ms",
        kind: Kind::Count { least: 1, most: DAY_MS },
        default: Fallback::Value("30000"),
        help: "Maximum time for a whole request body to arrive. The default accepts the largest body at 5 Mbit/s \
               and ends a client that sends a byte a second.",
    },
    Setting {
        name: "write_timeout_ms",
        kind: Kind::Count { least: 1, most: DAY_MS },
        default: Fallback::Value("30000"),
        help: "Maximum time in which a client reads less than 32 KiB of its answer; then its connection is closed, and \
               the memory of the answer is free.",
    },
    Setting {
        name: "shutdown_grace_ms",
        kind: Kind::Count { least: 0, most: DAY_MS },
        default: Fallback::Value("25000"),
        help: "Maximum time for running requests to finish at shutdown; just under the 30 seconds after which \
               orchestrators kill.",
    },
];

impl ServerConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let max_connections = reader.count("max_connections");
        Self {
            listen: reader.address("listen").unwrap_or_default(),
            admin_listen: reader.address("admin_listen"),
            admin_public: reader.switch("admin_public"),
            demo: reader.switch("demo"),
            metrics_listen: reader.address("metrics_listen"),
            tls: TlsConfig::read(reader),
            cors_origins: reader.list("cors_origins"),
            max_connections,
            max_connections_per_address: reader
                .count_or_unset("max_connections_per_address")
                .unwrap_or_else(|| max_connections.div_ceil(4)),
            trusted_proxies: reader.networks("trusted_proxies"),
            request_timeout: reader.milliseconds("request_timeout_ms"),
            request_timeout_max: reader.milliseconds("request_timeout_max_ms"),
            header_timeout: reader.milliseconds("header_timeout_ms"),
            body_timeout: reader.milliseconds("body_timeout_ms"),
            write_timeout: reader.milliseconds("write_timeout_ms"),
            shutdown_grace: reader.milliseconds("shutdown_grace_ms"),
        }
    }
}

impl TlsConfig {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.require_together("tls_certificate", "tls_private_key");
        reader.require_together("tls_private_key", "tls_certificate");
        reader.require_together("admin_client_ca", "tls_certificate");
        reader.require_together("admin_client_ca", "admin_listen");
        Some(Self {
            certificate: reader.path("tls_certificate")?,
            private_key: reader.path("tls_private_key")?,
            admin_client_ca: reader.path("admin_client_ca"),
        })
    }
}

/// A host, by name or number, and a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// Without the brackets of an IPv6 number.
    pub host: String,
    /// 0 lets the system pick a free one.
    pub port: u16,
}

impl FromStr for Listen {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (host, port) = text.rsplit_once(':').ok_or(())?;
        let port = port.parse().map_err(|_| ())?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or(())?,
            None if host.contains(':') => return Err(()),
            None => host,
        };
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back() {
        for text in ["127.0.0.1:8080", "[::1]:0", "localhost:65535"] {
            let listen: Listen = text.parse().expect("a valid address");
            assert_eq!(listen.to_string(), text);
        }
        for text in ["", "8080", ":8080", "::1:80", "host:", "host:70000", "[::1:80", "a b:80"] {
            assert_eq!(text.parse::<Listen>(), Err(()), "{text}");
        }
    }
}
