//! `sentor eval`: measures the models on labelled data.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;

use sentor_analysis::{DocumentAnalysis, Settings};
use sentor_text::language::LanguageChoice;

use super::flow::{self, BATCH_BYTES, BATCH_DOCUMENTS, Batch, Score};
use super::predict::parse_language;
use super::session;
use super::{Exit, GlobalArgs, lines};

mod detection;
mod report;
mod scores;
mod sentences;
mod targets;

use scores::{Results, Sets};
use targets::{LabelledText, Target};

/// Measure the models on labelled data
///
/// Each FILE has one labelled target on each line, as a JSON object: `text`, `entity`, `label` (negative,
/// neutral or positive), `start` and `end` (half-open, in Unicode code points; -1 for a target that is not
/// in the text) and `lang`. It may be gzipped. A target with an empty entity is scored as the document as
/// a whole. Targets of the same text are scored in one pass.
///
/// The name of a data set is that of its file up to the first dot; files with one name are one data set. Accuracy is
/// the share of correct targets. Macro-F1 is the mean of the F1 of the classes that occur among the data set's labels.
/// Rows of the confusion matrix are the labels, columns the predictions, both in the order negative, neutral, positive.
/// The total pools all targets.
///
/// With --sentences, each line has `text`, `sentences` (a list of [start, end] in code points) and `lang`. The ends of
/// sentences inside each document are compared.
///
/// With --detection, each line has `text` and `lang`. The result is how often `auto` detects the language, by number of
/// words. Each text of a data set counts once.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct EvalArgs {
    /// Files with labelled data, or `-` for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Source of the mentions: the data, or the mention search
    ///
    /// With `found`, a target has the sentiment of the mention found at its place, or else that of its entity. "As
    /// entity" is macro-F1 with the sentiment of the whole entity for every target.
    #[arg(long, value_name = "given|found", default_value = "given", hide_possible_values = true)]
    mentions: Mentions,

    /// With `--mentions found`: count a pronoun as a mention of the one entity that it can refer to
    #[arg(long, conflicts_with_all = ["sentences", "detection"])]
    pronouns: bool,

    /// Language of all texts [default: that of the data]
    #[arg(long, short, value_name = "en|nl|auto", value_parser = parse_language)]
    language: Option<LanguageChoice>,

    /// Measure the ends of sentences
    #[arg(long, conflicts_with = "mentions")]
    sentences: bool,

    /// Measure language detection
    #[arg(long, conflicts_with_all = ["mentions", "sentences", "language"])]
    detection: bool,

    /// Print JSON, with fractions from 0 to 1, in place of tables with percentages
    #[arg(long)]
    json: bool,
}

/// Source of the mentions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mentions {
    Given,
    Found,
    #[value(skip)]
    FoundWithPronouns,
}

impl EvalArgs {
    fn mentions(&self) -> anyhow::Result<Mentions> {
        match (self.mentions, self.pronouns) {
            (mentions, false) => Ok(mentions),
            (Mentions::Given, true) => {
                bail!("--pronouns needs --mentions found: given mentions are all there are")
            }
            (_, true) => Ok(Mentions::FoundWithPronouns),
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &EvalArgs, global: &GlobalArgs) -> anyhow::Result<Exit> {
    if args.sentences {
        let sets = sentences::measure(&args.files, args.language)?;
        report::print_sentences(&sets, args.json)?;
        return Ok(Exit::Ok);
    }
    if args.detection {
        report::print_detection(&detection::measure(&args.files)?, args.json)?;
        return Ok(Exit::Ok);
    }
    let mentions = args.mentions()?;
    // All files are read first: a bad line in the last one should not cost the time of scoring the others.
    let mut texts = Vec::new();
    for path in &args.files {
        let reader = lines::open(path, &ProgressBar::hidden())?;
        let read = targets::read(reader, &lines::name(path), args.language)?;
        texts.push((set_name(path), lines::name(path), read));
    }
    let sets = score_files(texts, mentions, &session::settings(global)?)?;
    report::print_targets(&sets, mentions != Mentions::Given, args.json)?;
    Ok(Exit::Ok)
}

/// The name of a file up to the first dot.
fn set_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    match name.split('.').next() {
        Some(stem) if !stem.is_empty() => stem.to_owned(),
        _ => name.into_owned(),
    }
}

fn score_files(
    files: Vec<(String, String, Vec<LabelledText>)>,
    mentions: Mentions,
    settings: &Settings,
) -> anyhow::Result<Sets> {
    let session = session::start(settings)?;
    let mut sets = Sets::default();
    for (set, file, texts) in files {
        score_file(Arc::clone(&session.0), &file, texts, mentions, sets.entry(set))?;
    }
    Ok(sets)
}

fn score_file(
    scorer: Arc<impl Score>,
    file: &str,
    texts: Vec<LabelledText>,
    mentions: Mentions,
    results: &mut Results,
) -> anyhow::Result<()> {
    for scored in flow::score_in_order(scorer, batches(texts, mentions)) {
        let answers = scored.answers.with_context(|| format!("failed to score {file}"))?;
        for (text, answer) in scored.payload.iter().zip(answers) {
            let analysis = answer.with_context(|| format!("{file}:{}: failed to score", text.line))?;
            count(text, &analysis, mentions, results)?;
        }
    }
    Ok(())
}

/// Batches of one language each, in the order of the texts.
fn batches(
    texts: Vec<LabelledText>,
    mentions: Mentions,
) -> impl Iterator<Item = Batch<Vec<LabelledText>>> + Send {
    let mut texts = texts.into_iter().peekable();
    std::iter::from_fn(move || {
        let first = texts.next()?;
        let language = first.language;
        let mut bytes = first.text.len();
        let mut payload = vec![first];
        while bytes < BATCH_BYTES && payload.len() < BATCH_DOCUMENTS {
            let Some(text) = texts.next_if(|text| text.language == language) else { break };
            bytes += text.text.len();
            payload.push(text);
        }
        let documents = payload.iter().map(|text| text.document(mentions)).collect();
        Some(Batch { documents, language, payload })
    })
}

/// Counts the targets of one text.
fn count(
    text: &LabelledText,
    analysis: &DocumentAnalysis,
    mentions: Mentions,
    results: &mut Results,
) -> anyhow::Result<()> {
    let mut entities = analysis.entities.iter();
    for target in &text.targets {
        if target.is_whole_document() {
            results.add(target, analysis.sentiment.polarity());
            continue;
        }
        let entity = entities.next().context("an entity has no answer")?;
        let as_entity = entity.sentiment.polarity();
        let Some(place) = target.place.filter(|_| mentions != Mentions::Given) else {
            results.add(target, as_entity);
            continue;
        };
        // A label at a place is about the mention there; other mentions of the name have labels of their own.
        let place = place.trim(&text.text);
        let at_place = entity.mentions.iter().find(|mention| mention.span == place);
        results.add(target, at_place.map_or(as_entity, |mention| mention.sentiment.polarity()));
        results.add_found(target.label, as_entity, at_place.is_some());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flow::tests::Fake;

    const DATA: &str = r#"{"text": "good ham", "entity": "ham", "start": 5, "end": 8, "label": "positive", "lang": "en"}
{"text": "bad egg", "entity": "egg", "start": 4, "end": 7, "label": "negative", "lang": "en"}
{"text": "good ham", "entity": "SERVICE#GENERAL", "start": -1, "end": -1, "label": "neutral", "lang": "en"}
{"text": "slechte ham", "entity": "", "start": -1, "end": -1, "label": "negative", "lang": "nl"}
{"text": "de ham", "entity": "de ham", "start": 0, "end": 6, "label": "positive", "lang": "nl"}
"#;

    fn results(mentions: Mentions) -> Results {
        let texts = targets::read(DATA.as_bytes(), "x.jsonl", None).expect("the data is well formed");
        assert_eq!(texts.len(), 4, "two targets share a text");
        let mut sets = Sets::default();
        score_file(Arc::new(Fake::default()), "x.jsonl", texts, mentions, sets.entry("x".to_owned()))
            .expect("the stand-in scores every text");
        sets.total()
    }

    #[test]
    fn every_target_is_counted_once() {
        let results = results(Mentions::Given);
        assert_eq!(results.all().targets(), 5);
        assert_eq!(results.explicit.targets(), 3);
        assert_eq!(results.all().rows(), [[2, 0, 0], [0, 0, 1], [1, 0, 1]]);
    }

    #[test]
    fn found_mentions_are_compared_with_the_places_of_the_data() {
        assert_eq!(results(Mentions::Found).found_share(), Some(1.0));
        assert_eq!(results(Mentions::Given).found_share(), None);
    }

    #[test]
    fn data_sets_have_the_names_of_their_files() {
        assert_eq!(set_name(Path::new("dev/mad_tsc_nl.explicit.jsonl.gz")), "mad_tsc_nl");
        assert_eq!(set_name(Path::new(".hidden")), ".hidden");
        assert_eq!(set_name(Path::new("-")), "-");
    }
}
