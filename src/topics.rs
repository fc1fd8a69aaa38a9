//! Clusters and names of topics, for the server and the command line.

use sentor_text::language::{Language, detect};
use sentor_topics::{
    Clustering, Document, NameCandidate, Namer, Options, TermOptions, choose_name, cluster, top_words,
};

/// Words and phrases of a cluster.
const TOP_WORDS: usize = 10;
/// Texts whose mean a name must be near to.
const NAMED_BY: usize = 100;
/// Words of a name that is the beginning of a text.
const FIRST_WORDS: usize = 5;

/// The clusters of texts, each with its words.
#[derive(Debug)]
pub struct Grouped {
    /// The clusters.
    pub clustering: Clustering,
    /// Words and phrases of each cluster, best first.
    pub top_words: Vec<Vec<String>>,
}

impl Grouped {
    /// Groups texts by their vectors, into `clusters` where that is given.
    pub fn of(texts: &[&str], vectors: &[&[f32]], clusters: Option<usize>, language: Language) -> Self {
        let documents: Vec<Document<'_>> =
            texts.iter().zip(vectors).map(|(text, vector)| Document { text, vector }).collect();
        let clustering = cluster(&documents, &Options { clusters, ..Options::default() });
        let groups: Vec<Vec<&str>> = clustering
            .clusters
            .iter()
            .map(|cluster| cluster.members.iter().map(|member| texts[member.document]).collect())
            .collect();
        let top_words = top_words(&groups, TermOptions { language, most: TOP_WORDS });
        Self { clustering, top_words }
    }
}

/// The language in which most texts are; English where none can be told.
pub fn language_of_most<'t>(texts: impl Iterator<Item = &'t str>) -> Language {
    let detected: Vec<Language> = texts.filter_map(|text| detect(text).language).collect();
    let count = |language| detected.iter().filter(|&&other| other == language).count();
    if count(Language::Dutch) > count(Language::English) { Language::Dutch } else { Language::English }
}

/// Documents of one topic, to be named.
#[derive(Debug)]
pub struct Topic {
    /// Texts, each with how sure it is that it belongs to the topic.
    pub documents: Vec<(String, Option<f64>)>,
    /// Words that tell the topic from others, best first.
    pub top_words: Vec<String>,
    /// Names that the name leaves out.
    pub left_out: Vec<String>,
    /// Language of the texts.
    pub language: Language,
}

/// A name that waits for vectors.
#[derive(Debug)]
pub struct PlannedName {
    candidates: Vec<NameCandidate>,
    /// The texts that are surest to belong to the topic.
    typical: Vec<String>,
}

/// Finds the phrases that a topic's name may be made of.
pub fn plan_name(mut topic: Topic) -> PlannedName {
    let texts: Vec<&str> = topic.documents.iter().map(|(text, _)| text.as_str()).collect();
    let namer = Namer {
        texts: &texts,
        top_words: &topic.top_words,
        left_out: &topic.left_out,
        language: topic.language,
    };
    let candidates = namer.candidates();
    topic
        .documents
        .sort_by(|a, b| b.1.unwrap_or(1.0).total_cmp(&a.1.unwrap_or(1.0)).then_with(|| a.0.cmp(&b.0)));
    topic.documents.truncate(NAMED_BY);
    PlannedName { candidates, typical: topic.documents.into_iter().map(|(text, _)| text).collect() }
}

impl PlannedName {
    /// The texts whose vectors [`PlannedName::name`] needs, in this order.
    pub fn texts(&self) -> Vec<String> {
        let phrases = self.candidates.iter().map(|candidate| candidate.phrase.clone());
        phrases.chain(self.typical.iter().cloned()).collect()
    }

    /// The name: phrases that are near to the texts, or where they have none, the first words of the first text.
    pub fn name(&self, vectors: &[Option<Vec<f32>>]) -> String {
        let (phrases, texts) = vectors.split_at(self.candidates.len().min(vectors.len()));
        let mut centre: Vec<f32> = Vec::new();
        for vector in texts.iter().flatten() {
            centre.resize(vector.len(), 0.0);
            centre.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
        }
        choose_name(&self.candidates, phrases, &centre).unwrap_or_else(|| {
            let first = self.typical.first().map_or("", String::as_str);
            first.split_whitespace().take(FIRST_WORDS).collect::<Vec<_>>().join(" ")
        })
    }
}
