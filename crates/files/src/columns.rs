//! Finds the columns of text, identifier, entities and date by their usual names in English and Dutch.

use crate::documents::DocumentOptions;
use crate::error::OpenError;

/// What a column is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The text to score.
    Text,
    /// The document's identifier.
    Id,
    /// The entities of the document.
    Entities,
    /// When it was written.
    Date,
}

impl Role {
    /// Usual names, the surest first; lower-case letters and digits only.
    fn names(self) -> impl Iterator<Item = &'static str> {
        let names = match self {
            Self::Text => TEXT_NAMES,
            Self::Id => ID_NAMES,
            Self::Entities => ENTITY_NAMES,
            Self::Date => DATE_NAMES,
        };
        names.split_whitespace()
    }
}

const TEXT_NAMES: &str = "doc text tekst review reviewtext reviewbody reviewtekst recensie beoordelingstekst comment comments \
    commentaar opmerking opmerkingen feedback toelichting body content message bericht inhoud document sentence zin tweet post \
    openantwoord antwoord answer response reactie verbatim description omschrijving beschrijving klacht complaint beoordeling mening \
    opinion remark remarks ervaring experience";

const ID_NAMES: &str = "docid id documentid reviewid identifier nr nummer number volgnummer respondentid responseid respondent \
    respondentnummer recordid ticketid orderid ordernummer ordernumber bestelnummer klantnummer commentid messageid tweetid key uuid \
    kenmerk";

const ENTITY_NAMES: &str = "entities entity entiteiten entiteit targets target aspects aspect aspecten onderwerpen brands brand \
    merken merk products product producten productnaam productname producttitle";

const DATE_NAMES: &str = "date datum createdat created timestamp datetime tijdstip reviewdate reviewdatum submittedat submitdate \
    startdate enddate startdatum einddatum completedat aangemaakt ingevuldop aangemaaktop besteldatum orderdate publishedat time tijd";

/// The column of a role, by its name.
pub fn guess_column(role: Role, columns: &[String]) -> Option<usize> {
    let plain: Vec<String> = columns.iter().map(|column| simplified(column)).collect();
    role.names().find_map(|name| plain.iter().position(|column| column == name))
}

fn simplified(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The columns in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// With the texts.
    pub text: String,
    /// With the identifiers.
    pub id: Option<String>,
    /// With the entities.
    pub entities: Option<String>,
    /// With the dates. Only the page and summaries use it.
    pub date: Option<String>,
}

impl Columns {
    /// Takes the columns that are named, and guesses the others.
    pub(crate) fn choose(
        name: &str,
        columns: &[String],
        options: &DocumentOptions,
    ) -> Result<Self, OpenError> {
        let text = match chosen(name, columns, options.text_column.as_deref(), Role::Text)? {
            Some(text) => text,
            None if columns.len() == 1 => columns[0].clone(),
            None => {
                let reason = format!(
                    "{name}: no column has a usual name for texts; name it with --text-column, or give --no-header where the first \
                     row is a document. The columns are {}",
                    list(columns)
                );
                return Err(OpenError::Column(reason));
            }
        };
        let other = |column: Option<String>| column.filter(|column| *column != text);
        Ok(Self {
            id: other(chosen(name, columns, options.id_column.as_deref(), Role::Id)?),
            entities: other(chosen(name, columns, options.entities_column.as_deref(), Role::Entities)?),
            date: other(chosen(name, columns, None, Role::Date)?),
            text,
        })
    }

    /// The columns as a person reads them.
    pub(crate) fn describe(&self) -> String {
        let mut parts = vec![format!("text from {}", quoted(&self.text))];
        parts.push(match &self.id {
            Some(id) => format!("identifiers from {}", quoted(id)),
            None => "line numbers as identifiers".to_owned(),
        });
        parts.extend(self.entities.as_deref().map(|entities| format!("entities from {}", quoted(entities))));
        parts.join(", ")
    }
}

fn chosen(
    name: &str,
    columns: &[String],
    given: Option<&str>,
    role: Role,
) -> Result<Option<String>, OpenError> {
    let Some(given) = given else {
        return Ok(guess_column(role, columns).map(|place| columns[place].clone()));
    };
    let exact = columns.iter().find(|column| *column == given);
    let found =
        exact.or_else(|| columns.iter().find(|column| column.trim().eq_ignore_ascii_case(given.trim())));
    found.map(|column| Some(column.clone())).ok_or_else(|| {
        OpenError::Column(format!("{name}: there is no column {given}. The columns are {}", list(columns)))
    })
}

/// Names for a message, not too many.
fn list(columns: &[String]) -> String {
    const MOST: usize = 20;

    if columns.is_empty() {
        return "none".to_owned();
    }
    let shown: Vec<String> = columns.iter().take(MOST).map(|column| quoted(column)).collect();
    let rest = columns.len().saturating_sub(MOST);
    let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("{}{rest}", shown.join(", "))
}

/// A name in quotes, not too long.
fn quoted(name: &str) -> String {
    const MOST: usize = 60;

    let mut short: String =
        name.chars().take(MOST).map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if name.chars().nth(MOST).is_some() {
        short.push('…');
    }
    format!("\"{short}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn usual_names_are_found_in_both_languages() {
        let columns = names(&["Respondent ID", "Start Date", "Opmerking", "Merk"]);
        let found = Columns::choose("x", &columns, &DocumentOptions::default()).expect("a text");
        assert_eq!(
            found,
            Columns {
                text: "Opmerking".to_owned(),
                id: Some("Respondent ID".to_owned()),
                entities: Some("Merk".to_owned()),
                date: Some("Start Date".to_owned()),
            }
        );
        assert_eq!(
            found.describe(),
            r#"text from "Opmerking", identifiers from "Respondent ID", entities from "Merk""#
        );
        assert_eq!(guess_column(Role::Text, &names(&["text", "doc"])), Some(1), "the surest name wins");
        assert_eq!(guess_column(Role::Text, &names(&["review_text"])), Some(0));
    }

    #[test]
    fn a_column_that_is_missing_lists_those_that_are_there() {
        let columns = names(&["a", "b"]);
        let error = Columns::choose("x.csv", &columns, &DocumentOptions::default()).expect_err("no text");
        assert!(error.to_string().ends_with(r#"The columns are "a", "b""#), "{error}");
        let options = DocumentOptions {
            text_column: Some("A".to_owned()),
            id_column: Some("c".to_owned()),
            ..Default::default()
        };
        let error = Columns::choose("x.csv", &columns, &options).expect_err("no id");
        assert_eq!(error.to_string(), r#"x.csv: there is no column c. The columns are "a", "b""#);
    }
}
