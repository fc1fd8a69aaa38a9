//! Enumerations of the OpenAPI description; [`crate::results`] holds their values as plain text.
#![expect(
    missing_docs,
    reason = "the values name themselves; a comment would become a description in OpenAPI"
)]

use utoipa::ToSchema;

/// A sentiment.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Sentiment {
    Negative,
    Neutral,
    Positive,
}

/// A language that documents are scored as.
#[derive(Debug, ToSchema)]
pub enum Language {
    #[schema(rename = "en")]
    English,
    #[schema(rename = "nl")]
    Dutch,
}

/// Whether the text mentions an entity.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Match {
    Explicit,
    Implicit,
}

/// How a mention matches an entity's name.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Form {
    Exact,
    Inflected,
    Compound,
    /// Only with `pronouns=true`.
    Pronoun,
}

/// What something that was discovered is.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Kind {
    Aspect,
    Name,
}

/// The subject of a warning.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum WarningCode {
    OtherLanguage,
    UnknownLanguage,
    SplitIntoWindows,
    SplitSentence,
    LongEntity,
    MentionsLeftOut,
    NearSpelling,
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema;

    use super::*;
    use sentor_text::discover;
    use sentor_text::mention::MatchForm;
    use sentor_text::sentiment::Polarity;

    fn values<T: PartialSchema>() -> Vec<String> {
        let schema = serde_json::to_value(T::schema()).expect("a schema is JSON");
        let values = schema["enum"].as_array().expect("an enumeration").iter();
        values.map(|value| value.as_str().expect("a string").to_owned()).collect()
    }

    #[test]
    fn the_enumerations_match_the_results() {
        assert_eq!(values::<Sentiment>(), Polarity::ALL.map(Polarity::label));
        let languages = sentor_text::language::Language::ALL;
        assert_eq!(values::<Language>(), languages.map(sentor_text::language::Language::code));
        let forms = [MatchForm::Exact, MatchForm::Inflected, MatchForm::Compound, MatchForm::Pronoun];
        assert_eq!(values::<Form>(), forms.map(MatchForm::label));
        let kinds = [discover::Kind::Aspect, discover::Kind::Name];
        assert_eq!(values::<Kind>(), kinds.map(discover::Kind::label));
    }
}
