//! Plans: the tables `[plans.NAME]` of the file.

use std::fmt::Write as _;
use std::num::NonZeroU32;

use toml::Spanned;
use toml::de::DeValue;

use super::error::Problem;
use super::sources::{Origin, Raw, nearest, typed};
use sentor_store::metering::{Limit, Plan, Plans};

/// The table that holds all plans.
pub(super) const TABLE: &str = "plans";

/// The value that removes a preset's limit.
const NO_LIMIT: &str = "unlimited";

const WEIGHT: &str = "weight";

/// Maximum weight: a key with a hundred times the share of another nearly has the server to itself.
const MAX_WEIGHT: u32 = 100;

/// Adds the plans of a file to `plans`. A preset keeps the limits that the file does not name.
pub(super) fn read(
    table: &Spanned<DeValue<'_>>,
    origin: &dyn Fn(usize) -> Origin,
    plans: &mut Plans,
    problems: &mut Vec<Problem>,
) {
    let DeValue::Table(named) = table.get_ref() else {
        problems.push(not_a_table(TABLE.to_owned(), origin(table.span().start), table.get_ref()));
        return;
    };
    for (name, value) in named {
        let path = format!("{TABLE}.{}", name.get_ref());
        let at = origin(name.span().start);
        let DeValue::Table(members) = value.get_ref() else {
            problems.push(not_a_table(path, at, value.get_ref()));
            continue;
        };
        let mut plan = plans.find(name.get_ref()).copied().unwrap_or(Plan::UNLIMITED);
        for (member, value) in members {
            let at = origin(member.span().start);
            let raw = typed(value.get_ref());
            if let Err(problem) = set(&mut plan, &path, member.get_ref(), &raw, at) {
                problems.push(problem);
            }
        }
        plans.set(name.get_ref(), plan);
    }
}

fn not_a_table(setting: String, origin: Origin, value: &DeValue<'_>) -> Problem {
    let expected = format!("a table such as [{TABLE}.gold]");
    Problem::Invalid { origin, setting, value: Some(typed(value).to_string()), expected }
}

/// Sets one member of a plan.
fn set(plan: &mut Plan, path: &str, member: &str, raw: &Raw, origin: Origin) -> Result<(), Problem> {
    let limit = Limit::ALL.into_iter().find(|limit| limit.name() == member);
    let count = |most: u64| match raw {
        Raw::Integer(number) => u64::try_from(*number).ok().filter(|number| (1..=most).contains(number)),
        _ => None,
    };
    let expected = match limit {
        Some(limit) => {
            let is_unlimited = matches!(raw, Raw::Text(text) if text == NO_LIMIT);
            let most = if is_unlimited { Some(None) } else { count(u64::MAX).map(Some) };
            if let Some(most) = most {
                *plan = plan.with(limit, most);
                return Ok(());
            }
            format!("a whole number from 1, or \"{NO_LIMIT}\"")
        }
        None if member == WEIGHT => {
            let weight = count(MAX_WEIGHT.into()).and_then(|weight| u32::try_from(weight).ok());
            if let Some(weight) = weight.and_then(NonZeroU32::new) {
                plan.weight = weight;
                return Ok(());
            }
            format!("a whole number from 1 to {MAX_WEIGHT}")
        }
        None => {
            let known = Limit::ALL.into_iter().map(Limit::name).chain([WEIGHT]);
            let nearest = nearest(member, known);
            return Err(Problem::Unknown { origin, name: format!("{path}.{member}"), nearest });
        }
    };
    Err(Problem::Invalid {
        origin,
        setting: format!("{path}.{member}"),
        value: Some(raw.to_string()),
        expected,
    })
}

/// The plans as tables of a file.
pub(super) fn to_toml(plans: &Plans) -> String {
    let mut out = String::from("# Plans\n");
    for (name, plan) in plans.iter() {
        let name = toml_key(name);
        let _ = writeln!(out, "[{TABLE}.{name}]");
        for limit in Limit::ALL {
            let _ = match plan.limit(limit) {
                Some(most) => writeln!(out, "{} = {most}", limit.name()),
                None => writeln!(out, "{} = \"{NO_LIMIT}\"", limit.name()),
            };
        }
        let _ = writeln!(out, "{WEIGHT} = {}\n", plan.weight);
    }
    out
}

/// Quotes a name where TOML needs it.
fn toml_key(name: &str) -> String {
    let is_bare =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_bare { name.to_owned() } else { toml::Value::String(name.to_owned()).to_string() }
}

/// The table of presets for `docs/configuration.md`.
pub(super) fn reference() -> String {
    let mut out = String::from("### Plans\n\n| plan |");
    for limit in Limit::ALL {
        let _ = write!(out, " `{}` |", limit.name());
    }
    let _ = writeln!(out, " `{WEIGHT}` |\n|{}", " --- |".repeat(Limit::ALL.len() + 2));
    for (name, plan) in Plans::default().iter() {
        let _ = write!(out, "| `{name}` |");
        for limit in Limit::ALL {
            let most = plan.limit(limit).map_or_else(|| "-".to_owned(), |most| most.to_string());
            let _ = write!(out, " {most} |");
        }
        let _ = writeln!(out, " {} |", plan.weight);
    }
    out
}
