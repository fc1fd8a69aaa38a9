//! Plans: the tables `[plans.NAME]` of the file.

use std::fmt::Write as _;
use std::num::NonZeroU32;

use toml::Spanned;
use toml::de::DeValue;

use super::error::Problem;
use super::sources::{Place, Raw, nearest, typed};
use sentor_store::metering::{Limit, Plan, Plans};

/// The table that holds all plans.
pub(super) const TABLE: &str = "plans";

/// What takes away a limit that a preset has.
const NO_LIMIT: &str = "unlimited";

const WEIGHT: &str = "weight";

/// Largest weight. One key may be served a hundred times as much as another, which is as good as alone.
const MAX_WEIGHT: u32 = 100;

/// Adds the plans of a file to `plans`. A plan that is there already keeps what the file does not name.
pub(super) fn read(
    table: &Spanned<DeValue<'_>>,
    place: &dyn Fn(usize) -> Place,
    plans: &mut Plans,
    problems: &mut Vec<Problem>,
) {
    let DeValue::Table(named) = table.get_ref() else {
        problems.push(no_table(TABLE.to_owned(), place(table.span().start), table.get_ref()));
        return;
    };
    for (name, value) in named {
        let path = format!("{TABLE}.{}", name.get_ref());
        let at = place(name.span().start);
        let DeValue::Table(members) = value.get_ref() else {
            problems.push(no_table(path, at, value.get_ref()));
            continue;
        };
        let mut plan = plans.find(name.get_ref()).copied().unwrap_or(Plan::UNLIMITED);
        for (member, value) in members {
            let at = place(member.span().start);
            let raw = typed(value.get_ref());
            if let Err(problem) = set(&mut plan, &path, member.get_ref(), &raw, at) {
                problems.push(problem);
            }
        }
        plans.set(name.get_ref(), plan);
    }
}

fn no_table(setting: String, place: Place, value: &DeValue<'_>) -> Problem {
    let expected = format!("a table such as [{TABLE}.gold]");
    Problem::Invalid { place, setting, value: Some(typed(value).to_string()), expected }
}

/// Sets one member of a plan.
fn set(plan: &mut Plan, path: &str, member: &str, raw: &Raw, place: Place) -> Result<(), Problem> {
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
            return Err(Problem::Unknown { place, name: format!("{path}.{member}"), nearest });
        }
    };
    Err(Problem::Invalid {
        place,
        setting: format!("{path}.{member}"),
        value: Some(raw.to_string()),
        expected,
    })
}

/// The plans as a file would name them.
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

/// A name as a key of TOML.
fn toml_key(name: &str) -> String {
    let is_bare =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_bare { name.to_owned() } else { toml::Value::String(name.to_owned()).to_string() }
}

/// The table of presets in `docs/configuration.md`.
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
