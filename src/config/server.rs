//! Settings of the listener and of how long things may take.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::reader::Reader;
use super::setting::{Fallback, Kind, Setting};

/// The listener, and how long things may take.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where to listen.
    pub listen: Listen,
    /// Where to serve metrics without a key, beside the listener for all.
    pub metrics_listen: Option<Listen>,
    /// Where the admin interface listens; `None`: with everything else.
    pub admin_listen: Option<Listen>,
    /// What the listeners prove who they are with; `None`: plain HTTP.
    pub tls: Option<TlsConfig>,
    /// Origins whose pages may call; none turns CORS off, `*` stands for all.
    pub cors_origins: Vec<String>,
    /// Connections that a listener has open at a time.
    pub max_connections: usize,
    /// From the head of a request to its answer, where the client does not say.
    pub request_timeout: Duration,
    /// The most that a client may say.
    pub request_timeout_max: Duration,
    /// For the head of a request, and for idling between two requests of one connection.
    pub header_timeout: Duration,
    /// For the whole body of a request to arrive.
    pub body_timeout: Duration,
    /// For requests to finish after the server is told to stop.
    pub shutdown_grace: Duration,
}

/// The files of a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate and those between it and a root, in PEM.
    pub certificate: PathBuf,
    /// The certificate's private key, in PEM.
    pub private_key: PathBuf,
    /// Who vouches for callers of the admin listener, in PEM; `None`: they need no certificate.
    pub admin_client_ca: Option<PathBuf>,
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "listen",
        kind: Kind::Address,
        default: Fallback::Value("127.0.0.1:8080"),
        help: "Where to listen. Only this machine can reach the default; port 0 picks a free one and prints it.",
    },
    Setting {
        name: "metrics_listen",
        kind: Kind::Address,
        default: Fallback::Unset("metrics need a key with the scope metrics"),
        help: "Where to serve /metrics without a key too, for a network that only the monitoring reaches.",
    },
    Setting {
        name: "admin_listen",
        kind: Kind::Address,
        default: Fallback::Unset("the admin interface is at the address of listen"),
        help: "Where the admin interface listens, and nothing else does; it is then nowhere else.",
    },
    Setting {
        name: "tls_certificate",
        kind: Kind::Path,
        default: Fallback::Unset("plain HTTP"),
        help: "PEM file of the certificate, with those between it and a root behind it; read again when it \
               changes. Needs tls_private_key, and makes every listener speak HTTPS.",
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
        default: Fallback::Unset("callers of the admin listener need no certificate"),
        help: "PEM file of the authorities that vouch for callers of the admin listener (mutual TLS). Needs \
               admin_listen and tls_certificate.",
    },
    Setting {
        name: "cors_origins",
        kind: Kind::List,
        default: Fallback::Unset("pages of other origins cannot call"),
        help: "Origins whose web pages may call, such as https://example.org; * allows all.",
    },
    Setting {
        name: "max_connections",
        kind: Kind::Count { least: 1, most: 1_000_000 },
        default: Fallback::Value("2000"),
        help: "Most connections that a listener has open at a time; more wait until one closes. Each takes a \
               descriptor: the server raises its soft limit of them as far as the hard one lets it, and warns \
               where that is too little.",
    },
    Setting {
        name: "request_timeout_ms",
        kind: Kind::Count { least: 1, most: DAY_MS },
        default: Fallback::Value("120000"),
        help: "Longest time from a request's head to its answer, unless the header x-request-timeout-ms says \
               another; what would take longer is refused with 503, at once where that can be told. Clients \
               mostly give up sooner by themselves.",
    },
    Setting {
        name: "request_timeout_max_ms",
        kind: Kind::Count { least: 1, most: DAY_MS },
        default: Fallback::Value("600000"),
        help: "The most that x-request-timeout-ms may ask for; more counts as this. It bounds how long a \
               request can hold its memory.",
    },
    Setting {
        name: "header_timeout_ms",
        kind: Kind::Count { least: 1, most: DAY_MS },
        default: Fallback::Value("10000"),
        help: "Longest time for a request's head to arrive, and for a connection to idle between requests.",
    },
    Setting {
        name: "body_timeout_ms",
        kind: Kind::Count { least: 1, most: DAY_MS },
        default: Fallback::Value("30000"),
        help: "Longest time for a whole request body to arrive. The default lets the largest body pass at 5 \
               Mbit/s and ends a client that sends a byte a second.",
    },
    Setting {
        name: "shutdown_grace_ms",
        kind: Kind::Count { least: 0, most: DAY_MS },
        default: Fallback::Value("25000"),
        help: "Longest time for running requests to finish once the server is told to stop; just under the 30 \
               seconds after which orchestrators kill.",
    },
];

impl ServerConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            listen: reader.address("listen").unwrap_or_default(),
            admin_listen: reader.address("admin_listen"),
            metrics_listen: reader.address("metrics_listen"),
            tls: TlsConfig::read(reader),
            cors_origins: reader.list("cors_origins"),
            max_connections: reader.count("max_connections"),
            request_timeout: reader.milliseconds("request_timeout_ms"),
            request_timeout_max: reader.milliseconds("request_timeout_max_ms"),
            header_timeout: reader.milliseconds("header_timeout_ms"),
            body_timeout: reader.milliseconds("body_timeout_ms"),
            shutdown_grace: reader.milliseconds("shutdown_grace_ms"),
        }
    }
}

impl TlsConfig {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.needs("tls_certificate", "tls_private_key");
        reader.needs("tls_private_key", "tls_certificate");
        reader.needs("admin_client_ca", "tls_certificate");
        reader.needs("admin_client_ca", "admin_listen");
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
