//! The texts of a benchmark: sentences assembled at random from parts, so that no two requests are equal and a cache
//! gains nothing.

use anyhow::bail;
use rand::seq::IndexedRandom as _;
use rand::{Rng, RngExt as _};
use serde_json::{Value, json};

use sentor_text::language::Language;

/// The shape of a benchmark's requests.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    languages: Vec<Language>,
    sentences: std::ops::RangeInclusive<usize>,
    entities: usize,
    documents: usize,
}

struct Parts {
    subjects: [&'static str; 10],
    verdicts: [&'static str; 10],
    joints: [&'static str; 4],
}

const ENGLISH: Parts = Parts {
    subjects: [
        "camera", "battery", "service", "screen", "price", "keyboard", "waiter", "room", "delivery",
        "software",
    ],
    verdicts: [
        "is better than I had hoped",
        "broke after two weeks",
        "does what it should",
        "was a great disappointment",
        "makes up for a lot",
        "could have been worse",
        "is among the best that I have seen",
        "leaves something to be desired",
        "has not changed since last year",
        "was worth every cent",
    ],
    joints: [", and the ", ", but the ", ", while the ", "; the "],
};

const DUTCH: Parts = Parts {
    subjects: [
        "camera",
        "batterij",
        "bediening",
        "beeldscherm",
        "prijs",
        "toetsenbord",
        "ober",
        "kamer",
        "bezorging",
        "software",
    ],
    verdicts: [
        "is beter dan ik had gehoopt",
        "ging na twee weken stuk",
        "doet wat het moet doen",
        "was een grote teleurstelling",
        "maakt veel goed",
        "had slechter gekund",
        "is een van de beste die ik heb gezien",
        "laat te wensen over",
        "is niet veranderd sinds vorig jaar",
        "was elke cent waard",
    ],
    joints: [", en de ", ", maar de ", ", terwijl de ", "; de "],
};

impl Workload {
    pub(super) fn new(
        language: &str,
        sentences: &str,
        entities: usize,
        documents: usize,
    ) -> anyhow::Result<Self> {
        let languages = match language {
            "mixed" => Language::ALL.to_vec(),
            code => match Language::parse(code) {
                Some(language) => vec![language],
                None => bail!("--language is {code:?}, and must be en, nl or mixed"),
            },
        };
        let sentences = match sentences {
            "mixed" => 1..=12,
            number => match number.parse() {
                Ok(number) if number > 0 => number..=number,
                _ => bail!("--sentences is {number:?}, and must be a number above 0, or mixed"),
            },
        };
        if entities > ENGLISH.subjects.len() || documents == 0 {
            bail!("--entities can be at most {}, and --documents must be at least 1", ENGLISH.subjects.len());
        }
        Ok(Self { languages, sentences, entities, documents })
    }

    /// Documents in each request.
    pub(super) fn documents(&self) -> usize {
        self.documents
    }

    /// Returns the language and the body of a request.
    pub(super) fn request(&self, random: &mut impl Rng) -> (Language, Value) {
        let language = self.languages[random.random_range(0..self.languages.len())];
        let docs: Vec<Value> =
            (0..self.documents).map(|number| self.document(language, number, random)).collect();
        (language, json!({ "docs": docs }))
    }

    fn document(&self, language: Language, number: usize, random: &mut impl Rng) -> Value {
        let (parts, article) = match language {
            Language::English => (&ENGLISH, "The "),
            Language::Dutch => (&DUTCH, "De "),
        };
        let mut text = String::new();
        for _ in 0..random.random_range(self.sentences.clone()) {
            if !text.is_empty() {
                text.push(' ');
            }
            let pick = |of: &[&'static str], random: &mut _| of.choose(random).copied().unwrap_or_default();
            text.push_str(article);
            text.push_str(pick(&parts.subjects, random));
            text.push(' ');
            text.push_str(pick(&parts.verdicts, random));
            text.push_str(pick(&parts.joints, random));
            text.push_str(pick(&parts.subjects, random));
            text.push(' ');
            text.push_str(pick(&parts.verdicts, random));
            text.push('.');
        }
        let first = random.random_range(0..parts.subjects.len());
        let entities: Vec<&str> = (0..self.entities)
            .map(|offset| parts.subjects[(first + offset) % parts.subjects.len()])
            .collect();
        json!({ "doc_id": number.to_string(), "doc": text, "entities": entities })
    }
}
