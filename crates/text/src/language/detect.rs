//! Language detection.
//!
//! It uses three kinds of evidence. [`whatlang`] compares letter trigrams, which is reliable from a few dozen words on.
//! Function words (`the`, `het`) decide short texts, where the trigrams of a name or a hashtag mislead. Common words
//! (`dirty`, `vies`) decide texts without function words.

use super::Language;
use crate::languages::{LanguagePack, data_lines};
use std::collections::HashMap;
use std::sync::LazyLock;
use whatlang::{Detector, Info, Lang, Script};

/// The detected language of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// The detected language if there are models for it; `None` for other languages and for texts that are too short.
    pub language: Option<Language>,
    /// ISO 639-1 code (639-3 where there is none) of the detected language, or `und`.
    pub code: String,
    /// 0..=1.
    pub confidence: f32,
}

impl Detection {
    /// The confidence from which a caller is warned that a text seems to be in another language than it is scored as.
    /// With a lower one, one short English text in fifty would get a false warning.
    pub const RELIABLE: f32 = 0.9;

    /// Below this confidence the language is a guess, which a caller who asked for detection is told.
    pub const GUESS: f32 = 0.3;

    /// Whether the detection is confident enough for a warning.
    pub fn is_reliable(&self) -> bool {
        self.confidence >= Self::RELIABLE
    }

    /// Whether no language was detected.
    pub fn is_unknown(&self) -> bool {
        self.code == "und"
    }

    fn unknown() -> Self {
        Self { language: None, code: "und".to_owned(), confidence: 0.0 }
    }

    fn as_scored(language: Language, confidence: f32) -> Self {
        Self { language: Some(language), code: language.code().to_owned(), confidence }
    }
}

/// Detects the language of `text`. A long text is sampled, so the time is bounded.
///
/// A third language is reported only with high confidence: callers rarely send one, and short texts resemble many
/// languages. If no language is detected, the code is `und`.
pub fn detect(text: &str) -> Detection {
    let sample = sample(text);
    let letters = sample.chars().filter(|character| character.is_alphabetic()).count();
    if letters < MIN_LETTERS {
        return Detection::unknown();
    }
    let words = FunctionWords::count(&sample);
    if let Some((code, confidence)) = words.other() {
        return Detection { language: None, code: code.to_owned(), confidence };
    }
    if words.are_plain() {
        let trigrams = if words.are_decisive() { None } else { SCORED_ONLY.detect(&sample) };
        let (language, confidence) = decide(words, trigrams.as_ref());
        return Detection::as_scored(language, confidence);
    }
    // Without function words, only trigrams remain, and they must be confident among many languages.
    let Some(info) = ANY.detect(&sample) else { return Detection::unknown() };
    let is_scored = scored(info.lang()).is_some();
    if let Some((language, confidence)) = by_common_words(&sample).filter(|_| info.script() == Script::Latin)
    {
        return Detection::as_scored(language, confidence);
    }
    if info.script() != Script::Latin || (info.is_reliable() && !is_scored) {
        let confidence = confidence(&info).max(if info.script() == Script::Latin { 0.0 } else { 1.0 });
        return Detection { language: None, code: code(info.lang()).to_owned(), confidence };
    }
    let (language, confidence) = decide(words, SCORED_ONLY.detect(&sample).as_ref());
    let sure = info.is_reliable() && is_scored;
    Detection::as_scored(language, if sure { confidence } else { confidence.min(UNSURE) })
}

/// Minimum number of letters for a detection.
const MIN_LETTERS: usize = 3;

/// Maximum confidence of a guess between the scored languages while a third is not ruled out.
const UNSURE: f32 = 0.5;

static SCORED_ONLY: LazyLock<Detector> = LazyLock::new(|| {
    let scored = Language::ALL.map(|language| LanguagePack::for_language(language).trigrams);
    Detector::with_allowlist(scored.to_vec())
});

/// The languages that can be detected: the most written ones in Latin script, and all that their script identifies.
/// Each Latin one costs every short text about two microseconds.
static ANY: LazyLock<Detector> = LazyLock::new(|| {
    let latin = [
        Lang::Eng,
        Lang::Nld,
        Lang::Deu,
        Lang::Fra,
        Lang::Spa,
        Lang::Ita,
        Lang::Por,
        Lang::Cat,
        Lang::Swe,
        Lang::Dan,
        Lang::Nob,
        Lang::Fin,
        Lang::Pol,
        Lang::Ces,
        Lang::Hun,
        Lang::Ron,
        Lang::Tur,
        Lang::Ind,
        Lang::Afr,
    ];
    let other_scripts = Lang::all().iter().filter(|lang| !Script::Latin.langs().contains(lang));
    Detector::with_allowlist(latin.iter().chain(other_scripts).copied().collect())
});

/// Number of scored languages.
const SCORED: usize = Language::ALL.len();

/// Number of function words of each language in a sample.
#[derive(Clone, Copy)]
struct FunctionWords {
    /// In the order of [`Language::ALL`].
    scored: [usize; SCORED],
    /// The other language with the most function words, and their number.
    other: (&'static str, usize),
    /// Function words of scored languages with at least three letters: `de`, `en` and `no` are also French, Spanish and
    /// German.
    telling: usize,
    words: usize,
}

impl FunctionWords {
    fn count(sample: &str) -> Self {
        let mut words = 0;
        let mut telling = 0;
        let mut scored = [0; SCORED];
        let mut others = [0; OTHER_FUNCTION_WORDS.len()];
        let mut lower = String::new();
        for word in sample.split(|character: char| !character.is_alphabetic()).filter(|word| !word.is_empty())
        {
            words += 1;
            if word.len() > LONGEST_FUNCTION_WORD {
                continue;
            }
            lower.clear();
            lower.extend(word.chars().flat_map(char::to_lowercase));
            for &language in LANGUAGES_OF.get(lower.as_str()).into_iter().flatten() {
                if let Some(other) = language.checked_sub(SCORED) {
                    others[other] += 1;
                } else {
                    scored[language] += 1;
                    telling += usize::from(word.len() > 2);
                }
            }
        }
        let most = (0..others.len()).max_by_key(|&index| others[index]).unwrap_or(0);
        Self { scored, other: (OTHER_FUNCTION_WORDS[most].0, others[most]), telling, words }
    }

    /// Returns the scored language with the most words (`None` for a tie) and its lead over the second.
    fn leader(self) -> (Option<Language>, usize) {
        let mut counts = self.scored;
        counts.sort_unstable_by(|left, right| right.cmp(left));
        let [most, second, ..] = counts;
        let leader = Language::ALL.into_iter().zip(self.scored).find(|&(_, count)| count == most);
        (leader.map(|(language, _)| language).filter(|_| most > second), most - second)
    }

    /// Returns the unscored language that the words indicate, and its confidence.
    fn other(self) -> Option<(&'static str, f32)> {
        let (code, count) = self.other;
        let most = self.scored.into_iter().max().unwrap_or(0);
        (count >= 2 && count > most).then(|| (code, certainty(count - most)))
    }

    /// Whether the words alone decide between the scored languages.
    fn are_decisive(self) -> bool {
        let with_words = self.scored.into_iter().filter(|&count| count > 0).count();
        self.are_plain() && with_words <= 1 && self.scored.into_iter().any(|count| count >= 2)
    }

    /// Whether the words alone show that the text is in one of the scored languages, or in a mix of them.
    fn are_plain(self) -> bool {
        self.telling > 0 && self.telling * 8 >= self.words
    }
}

/// The scored language that has most of a text's common words, where those are a fair part of the text.
fn by_common_words(sample: &str) -> Option<(Language, f32)> {
    let mut counts = [0; SCORED];
    let mut words = 0;
    let mut lower = String::new();
    for word in sample.split(|character: char| !character.is_alphabetic()).filter(|word| !word.is_empty()) {
        words += 1;
        lower.clear();
        lower.extend(word.chars().flat_map(char::to_lowercase));
        if let Some(&language) = COMMON_WORDS.get(lower.as_str()) {
            counts[language] += 1;
        }
    }
    let total: usize = counts.iter().sum();
    let (language, &most) = counts.iter().enumerate().max_by_key(|&(_, count)| count)?;
    let lead = (2 * most).saturating_sub(total);
    (lead > 0 && total * COMMON_SHARE >= words).then(|| (Language::ALL[language], certainty(lead)))
}

/// One word in so many must be a common one.
const COMMON_SHARE: usize = 5;

/// For each common word the place of its language in [`Language::ALL`].
static COMMON_WORDS: LazyLock<HashMap<&'static str, usize>> = LazyLock::new(|| {
    let lists = Language::ALL.into_iter().enumerate();
    let words = lists.flat_map(|(index, language)| {
        let lines = data_lines(LanguagePack::for_language(language).common_words);
        lines.flat_map(str::split_whitespace).map(move |word| (word, index))
    });
    words.collect()
});

/// Returns the scored language that `lang` stands for.
fn scored(lang: Lang) -> Option<Language> {
    Language::ALL.into_iter().find(|&language| LanguagePack::for_language(language).trigrams == lang)
}

fn decide(words: FunctionWords, trigrams: Option<&Info>) -> (Language, f32) {
    let (by_words, lead) = words.leader();
    let by_trigrams =
        trigrams.map(|info| (scored(info.lang()).unwrap_or(Language::English), confidence(info)));
    let word_confidence = certainty(lead);
    match (by_words, by_trigrams) {
        (Some(word), Some((trigram, confidence))) if word == trigram => {
            (word, 1.0 - (1.0 - confidence) * (1.0 - word_confidence))
        }
        // Names mislead trigrams: `the Rijksmuseum with Jan de Vries`.
        (Some(word), Some((_, confidence))) if lead > 1 || word_confidence >= confidence => {
            (word, (word_confidence - confidence).max(0.0))
        }
        (Some(word), None) => (word, word_confidence),
        (_, Some((trigram, confidence))) => (trigram, (confidence - word_confidence).max(0.0)),
        (None, None) => (Language::English, 0.0),
    }
}

/// Returns the confidence for a lead of this many function words: 0.7, 0.91, 0.97, …
fn certainty(lead: usize) -> f32 {
    1.0 - 0.3f32.powi(i32::try_from(lead.min(20)).unwrap_or(20))
}

#[expect(clippy::cast_possible_truncation, reason = "a confidence needs no more than f32")]
fn confidence(info: &Info) -> f32 {
    info.confidence() as f32
}

/// Maximum length of a text that is read whole, in bytes, and the length of each of three pieces of a longer one.
const WHOLE_BYTES: usize = 3 * PIECE_BYTES;
const PIECE_BYTES: usize = 1024;

/// Returns words from the beginning, middle and end of the text, without URLs, @names and hashtags.
fn sample(text: &str) -> String {
    let mut sample = String::with_capacity(text.len().min(WHOLE_BYTES));
    let mut add = |piece: &str| {
        for word in piece.split_whitespace() {
            let is_name = word.starts_with(['@', '#']) || word.contains("://") || word.contains('@');
            if !is_name && !word.starts_with("www.") {
                sample.push_str(word);
                sample.push(' ');
            }
        }
    };
    if text.len() <= WHOLE_BYTES {
        add(text);
    } else {
        let middle = text.ceil_char_boundary(text.len() / 2);
        let last = text.ceil_char_boundary(text.len() - PIECE_BYTES);
        add(&text[..text.floor_char_boundary(PIECE_BYTES)]);
        add(&text[middle..text.floor_char_boundary(middle + PIECE_BYTES)]);
        add(&text[last..]);
    }
    sample
}

/// The two-letter code where ISO 639-1 has one.
fn code(lang: Lang) -> &'static str {
    match lang {
        // Members of a macrolanguage, which has the two-letter code.
        Lang::Cmn => "zh",
        Lang::Pes => "fa",
        _ => {
            let two_letters = isolang::Language::from_639_3(lang.code()).and_then(|known| known.to_639_1());
            two_letters.unwrap_or_else(|| lang.code())
        }
    }
}

const LONGEST_FUNCTION_WORD: usize = 8;

/// The indices of the languages of each function word: the scored ones in the order of [`Language::ALL`], then the
/// others.
static LANGUAGES_OF: LazyLock<HashMap<&'static str, Vec<usize>>> = LazyLock::new(|| {
    let scored =
        Language::ALL.into_iter().map(|language| LanguagePack::for_language(language).function_words);
    let lists = scored.chain(OTHER_FUNCTION_WORDS.iter().map(|&(_, words)| words));
    let mut languages: HashMap<&'static str, Vec<usize>> = HashMap::new();
    for (index, words) in lists.enumerate() {
        for word in words.split_whitespace() {
            languages.entry(word).or_default().push(index);
        }
    }
    languages
});

/// Function words of languages that are not scored, and a few other frequent words. A word that a scored language
/// shares is in both lists.
const OTHER_FUNCTION_WORDS: [(&str, &str); 9] = [
    (
        "de",
        "aber auch auf bei beim das dem der diese dieses ein eine einem einen es für habe haben ich ist \
         kein keine mein mit nach nicht nur oder schon sehr sein sich sie sind und vom von wenn wir wird \
         wurde zu zum zur dass gut hat hatte immer leider mich mir schlecht uns unser war waren wieder",
    ),
    (
        "fr",
        "avec bien cette dans elle est et il je le lui même ne nous où par qui sans sont sur tout très \
         trop un une vous",
    ),
    (
        "es",
        "del el ella es esta está estaba este fue gusta las los más muy nada para pero por que todo una \
         y",
    ),
    ("it", "anche che di della delle gli il io molto nel non per però più questa questo sono una è"),
    ("pt", "boa em estava este foi mais mas muito nos não para por que são uma você é"),
    ("af", "baie daardie ek hierdie hulle jy nie sal vir"),
    ("sv", "att av det ett för har inte jag med mycket och på som var är"),
    ("da", "blev det er har havde ikke jeg med meget og på som til var"),
    ("nb", "ble det er har hadde ikke jeg med og på som til var veldig"),
];
