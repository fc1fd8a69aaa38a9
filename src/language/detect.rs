//! Which language a text is in.
//!
//! Two kinds of evidence: [`whatlang`] compares letter trigrams, which is sound from a few dozen words on;
//! function words (`the`, `het`) decide the short texts, where trigrams of a name or a hashtag mislead.

use super::Language;
use std::sync::LazyLock;
use whatlang::{Detector, Info, Lang, Script};

/// What a text seems to be written in.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// The detected language where it is one that is scored, or `None` for any other and where the text
    /// is too short to tell.
    pub language: Option<Language>,
    /// ISO 639-1 code (639-3 where there is none) of the detected language, or `und`.
    pub code: String,
    /// 0..=1.
    pub confidence: f32,
}

impl Detection {
    /// The confidence from which a caller is told that a text reads as another language than it is scored
    /// as. Below it, one short English text in fifty would get such a warning for nothing.
    pub const RELIABLE: f32 = 0.9;

    /// Whether the detection is sure enough to be told.
    pub fn is_reliable(&self) -> bool {
        self.confidence >= Self::RELIABLE
    }

    fn unknown() -> Self {
        Self { language: None, code: "und".to_owned(), confidence: 0.0 }
    }

    fn of(language: Language, confidence: f32) -> Self {
        Self { language: Some(language), code: language.code().to_owned(), confidence }
    }
}

/// Detects the language of `text`, from a sample where it is long: the time it takes is bounded.
///
/// A text in neither English nor Dutch is only called so when that is certain, because third languages are
/// rare among what a caller sends and short texts look like anything. What cannot be told has the code
/// `und`.
pub fn detect(text: &str) -> Detection {
    let sample = sample(text);
    let letters = sample.chars().filter(|character| character.is_alphabetic()).count();
    if letters < MIN_LETTERS {
        return Detection::unknown();
    }
    let words = FunctionWords::count(&sample);
    if words.are_plain() {
        let trigrams = if words.are_decisive() { None } else { TWO.detect(&sample) };
        let (language, confidence) = decide(words, trigrams.as_ref());
        return Detection::of(language, confidence);
    }
    // Without function words only the trigrams are left, and they must be sure among many languages.
    let Some(info) = ANY.detect(&sample) else { return Detection::unknown() };
    let scored = matches!(info.lang(), Lang::Eng | Lang::Nld);
    if info.script() != Script::Latin || (info.is_reliable() && !scored) {
        let confidence = confidence(&info).max(if info.script() == Script::Latin { 0.0 } else { 1.0 });
        return Detection { language: None, code: code(info.lang()), confidence };
    }
    let (language, confidence) = decide(words, TWO.detect(&sample).as_ref());
    let sure = info.is_reliable() && scored;
    Detection::of(language, if sure { confidence } else { confidence.min(UNSURE) })
}

/// Fewer letters than this say nothing.
const MIN_LETTERS: usize = 3;

/// The most that a guess between the two languages is worth while a third is not ruled out.
const UNSURE: f32 = 0.5;

static TWO: LazyLock<Detector> = LazyLock::new(|| Detector::with_allowlist(vec![Lang::Eng, Lang::Nld]));

/// The languages that a text may turn out to be in: those in Latin script that are most written, and all
/// that their script gives away. Each Latin one costs every short text about two microseconds.
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

/// How many words of a sample are function words of one language and not of the other.
#[derive(Clone, Copy)]
struct FunctionWords {
    english: usize,
    dutch: usize,
    /// Those of either language that have three letters or more: `de`, `en` and `no` are also French,
    /// Spanish and German.
    telling: usize,
    words: usize,
}

impl FunctionWords {
    fn count(sample: &str) -> Self {
        let mut counts = Self { english: 0, dutch: 0, telling: 0, words: 0 };
        let mut lower = String::new();
        for word in sample.split(|character: char| !character.is_alphabetic()).filter(|word| !word.is_empty())
        {
            counts.words += 1;
            if word.len() <= LONGEST_FUNCTION_WORD {
                lower.clear();
                lower.push_str(word);
                lower.make_ascii_lowercase();
                let english = usize::from(ENGLISH_ONLY.binary_search(&lower.as_str()).is_ok());
                let dutch = usize::from(DUTCH_ONLY.binary_search(&lower.as_str()).is_ok());
                counts.english += english;
                counts.dutch += dutch;
                counts.telling += if word.len() > 2 { english + dutch } else { 0 };
            }
        }
        counts
    }

    /// Whether the words alone settle which of the two languages it is.
    fn are_decisive(self) -> bool {
        self.are_plain() && self.english.min(self.dutch) == 0 && self.english.max(self.dutch) >= 2
    }

    /// Whether the words alone settle that the text is in one of the two languages (or a mix of both).
    fn are_plain(self) -> bool {
        self.telling > 0 && self.telling * 8 >= self.words
    }
}

fn decide(words: FunctionWords, trigrams: Option<&Info>) -> (Language, f32) {
    let by_words = match words.english.cmp(&words.dutch) {
        std::cmp::Ordering::Greater => Some(Language::English),
        std::cmp::Ordering::Less => Some(Language::Dutch),
        std::cmp::Ordering::Equal => None,
    };
    let by_trigrams = trigrams.map(|info| match info.lang() {
        Lang::Nld => (Language::Dutch, confidence(info)),
        _ => (Language::English, confidence(info)),
    });
    // How sure n words more of one language than of the other make one: 0.7, 0.91, 0.97, …
    let lead = i32::try_from(words.english.abs_diff(words.dutch)).unwrap_or(i32::MAX);
    let word_confidence = 1.0 - 0.3f32.powi(lead.min(20));
    match (by_words, by_trigrams) {
        (Some(word), Some((trigram, confidence))) if word == trigram => {
            (word, 1.0 - (1.0 - confidence) * (1.0 - word_confidence))
        }
        (Some(word), Some((_, confidence))) if word_confidence >= confidence => {
            (word, word_confidence - confidence)
        }
        (Some(word), None) => (word, word_confidence),
        (_, Some((trigram, confidence))) => (trigram, (confidence - word_confidence).max(0.0)),
        (None, None) => (Language::English, 0.0),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a confidence needs no more than f32")]
fn confidence(info: &Info) -> f32 {
    info.confidence() as f32
}

/// Longest text that is looked at whole, in bytes, and the length of each of three pieces of a longer one.
const WHOLE_BYTES: usize = 3 * PIECE_BYTES;
const PIECE_BYTES: usize = 1024;

/// The words that tell a language: without addresses, @names and hashtags, from the beginning, middle and
/// end of the text.
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
fn code(lang: Lang) -> String {
    let code = match lang {
        Lang::Afr => "af",
        Lang::Aka => "ak",
        Lang::Amh => "am",
        Lang::Ara => "ar",
        Lang::Aze => "az",
        Lang::Bel => "be",
        Lang::Ben => "bn",
        Lang::Bul => "bg",
        Lang::Cat => "ca",
        Lang::Ces => "cs",
        Lang::Cmn => "zh",
        Lang::Cym => "cy",
        Lang::Dan => "da",
        Lang::Deu => "de",
        Lang::Ell => "el",
        Lang::Eng => "en",
        Lang::Epo => "eo",
        Lang::Est => "et",
        Lang::Fin => "fi",
        Lang::Fra => "fr",
        Lang::Guj => "gu",
        Lang::Heb => "he",
        Lang::Hin => "hi",
        Lang::Hrv => "hr",
        Lang::Hun => "hu",
        Lang::Hye => "hy",
        Lang::Ind => "id",
        Lang::Ita => "it",
        Lang::Jav => "jv",
        Lang::Jpn => "ja",
        Lang::Kan => "kn",
        Lang::Kat => "ka",
        Lang::Khm => "km",
        Lang::Kor => "ko",
        Lang::Lat => "la",
        Lang::Lav => "lv",
        Lang::Lit => "lt",
        Lang::Mal => "ml",
        Lang::Mar => "mr",
        Lang::Mkd => "mk",
        Lang::Mya => "my",
        Lang::Nep => "ne",
        Lang::Nld => "nl",
        Lang::Nob => "nb",
        Lang::Ori => "or",
        Lang::Pan => "pa",
        Lang::Pes => "fa",
        Lang::Pol => "pl",
        Lang::Por => "pt",
        Lang::Ron => "ro",
        Lang::Rus => "ru",
        Lang::Sin => "si",
        Lang::Slk => "sk",
        Lang::Slv => "sl",
        Lang::Sna => "sn",
        Lang::Spa => "es",
        Lang::Srp => "sr",
        Lang::Swe => "sv",
        Lang::Tam => "ta",
        Lang::Tel => "te",
        Lang::Tgl => "tl",
        Lang::Tha => "th",
        Lang::Tuk => "tk",
        Lang::Tur => "tr",
        Lang::Ukr => "uk",
        Lang::Urd => "ur",
        Lang::Uzb => "uz",
        Lang::Vie => "vi",
        Lang::Yid => "yi",
        Lang::Zul => "zu",
    };
    code.to_owned()
}

const LONGEST_FUNCTION_WORD: usize = 7;

/// English function words that are no Dutch words, sorted.
const ENGLISH_ONLY: &[&str] = &[
    "about", "after", "all", "and", "any", "are", "because", "been", "but", "by", "can", "could", "did",
    "do", "does", "for", "from", "had", "has", "have", "he", "his", "how", "i", "if", "it", "its", "just",
    "like", "more", "my", "no", "not", "our", "out", "she", "so", "some", "than", "that", "the", "their",
    "them", "then", "there", "they", "this", "to", "too", "very", "what", "when", "which", "who", "why",
    "will", "with", "would", "you", "your",
];

/// Dutch function words that are no English words, sorted.
const DUTCH_ONLY: &[&str] = &[
    "aan", "als", "bij", "dan", "dat", "de", "deze", "dit", "doet", "dus", "een", "en", "er", "gaat", "geen",
    "haar", "heb", "hebben", "heeft", "heel", "het", "hij", "hoe", "hun", "ik", "je", "jij", "jullie", "kan",
    "maar", "meer", "met", "mijn", "naar", "niet", "nog", "nu", "om", "onder", "ons", "onze", "ook", "op",
    "te", "tegen", "toch", "uit", "van", "veel", "voor", "waar", "wat", "wel", "werd", "wij", "worden",
    "wordt", "ze", "zeer", "zich", "zij", "zijn", "zo",
];
