//! Prints the effective configuration as TOML, and the reference of all settings as Markdown.

use std::fmt::Write as _;

use super::deprecated::{DEPRECATED_NAMES, DeprecatedName};
use super::setting::{Fallback, Kind, Setting};
use super::sources::{Origin, Raw};
use super::{Config, Section, plans, settings};

/// The effective configuration; see [`Config::to_toml`].
pub(super) fn effective(config: &Config) -> String {
    let mut out = String::new();
    for section in Section::ALL {
        let _ = writeln!(out, "# {}", section.title());
        for setting in section.settings() {
            let _ = match (effective_value(config, setting), config.values.0.get(setting.name)) {
                (Some(value), Some(given)) if given.origin == Origin::Default => {
                    writeln!(out, "{} = {value} # default", setting.name)
                }
                (Some(value), Some(given)) => writeln!(out, "{} = {value} # {}", setting.name, given.origin),
                (Some(value), None) => writeln!(out, "{} = {value} # default", setting.name),
                (None, Some(given)) => writeln!(out, "# {} is hidden # {}", setting.name, given.origin),
                (None, None) => writeln!(out, "# {} is not set: {}", setting.name, unset(setting)),
            };
        }
        out.push('\n');
    }
    // Tables last: in TOML a key after a table's header belongs to the table.
    out.push_str(&plans::to_toml(&config.plans));
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// The value, secrets too, to compare it with another; `None` for an unset setting.
pub(super) fn value(config: &Config, setting: &Setting) -> Option<String> {
    if setting.is_secret() {
        return config.values.0.get(setting.name).map(|given| given.raw.to_string());
    }
    effective_value(config, setting)
}

/// The value as TOML; `None` for a secret and for an unset setting.
fn effective_value(config: &Config, setting: &Setting) -> Option<String> {
    if setting.is_secret() {
        return None;
    }
    // Paths as they were resolved.
    let found = match setting.name {
        "data_dir" => Some(&config.keys.data_dir),
        "models_dir" => Some(&config.models.models_dir),
        "model_en" => Some(&config.models.model_en),
        "model_nl" => Some(&config.models.model_nl),
        "onnxruntime" => config.models.onnxruntime.as_ref(),
        "api_key_file" => config.keys.api_key_file.as_ref(),
        "tls_certificate" => config.server.tls.as_ref().map(|tls| &tls.certificate),
        "tls_private_key" => config.server.tls.as_ref().map(|tls| &tls.private_key),
        "admin_client_ca" => config.server.tls.as_ref().and_then(|tls| tls.admin_client_ca.as_ref()),
        _ => None,
    };
    if let Some(path) = found {
        return Some(toml_text(&path.to_string_lossy()));
    }
    let given = config.values.0.get(setting.name)?;
    Some(match (&given.raw, setting.kind) {
        (Raw::Untyped(text), Kind::Count { .. }) => text.trim().replace('_', ""),
        (Raw::Untyped(_), Kind::List) => toml_list(&config.server.cors_origins),
        (Raw::List(items), _) => toml_list(items),
        (Raw::Untyped(text) | Raw::Text(text), _) => toml_text(text),
        (Raw::Integer(number), _) => number.to_string(),
        (Raw::Boolean(value), _) => value.to_string(),
        (Raw::Other(words), _) => words.clone(),
    })
}

fn unset(setting: &Setting) -> &'static str {
    match setting.default {
        Fallback::Unset(words) => words,
        Fallback::Value(_) => "",
    }
}

fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn toml_list(items: &[String]) -> String {
    toml::Value::Array(items.iter().cloned().map(toml::Value::String).collect()).to_string()
}

/// The tables of `docs/configuration.md`.
pub fn reference() -> String {
    let mut out = String::new();
    for section in Section::ALL {
        let _ = writeln!(out, "### {}\n\n| setting | default | must be | what it does |", section.title());
        let _ = writeln!(out, "| --- | --- | --- | --- |");
        for setting in section.settings() {
            let default = match setting.default {
                Fallback::Value(text) => format!("`{text}`"),
                Fallback::Unset(words) => format!("not set: {words}"),
            };
            let expected = setting.kind.expected();
            let _ = writeln!(out, "| `{}` | {default} | {expected} | {} |", setting.name, setting.help);
        }
        out.push('\n');
    }
    out.push_str("### Deprecated names\n\n| old name | use |\n| --- | --- |\n");
    for DeprecatedName { old, new } in DEPRECATED_NAMES {
        let _ = writeln!(out, "| `{old}` | `{new}` |");
    }
    out.push('\n');
    out.push_str("### Reload\n\nSIGHUP applies changes of plans and of ");
    let names: Vec<String> = settings()
        .filter(|setting| setting.is_reloadable())
        .map(|setting| format!("`{}`", setting.name))
        .collect();
    let _ = writeln!(
        out,
        "{}. Other settings take a restart; the log names those that changed.\n",
        names.join(", ")
    );
    out.push_str(&plans::reference());
    out
}
