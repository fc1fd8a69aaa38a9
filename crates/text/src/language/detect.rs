//! Which language a text is in.
//!
//! Two kinds of evidence: [`whatlang`] compares letter trigrams, which is sound from a few dozen words on;
//! function words (`the`, `het`) decide the short texts, where trigrams of a name or a hashtag mislead.

use super::Language;
use std::collections::HashMap;
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

    /// Whether nothing could be told.
    pub fn is_unknown(&self) -> bool {
        self.code == "und"
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
    if let Some((code, confidence)) = words.third() {
        return Detection { language: None, code: code.to_owned(), confidence };
    }
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

/// How many words of a sample are function words of one language and not of another.
#[derive(Clone, Copy)]
struct FunctionWords {
    english: usize,
    dutch: usize,
    /// The third language with the most, and how many.
    third: (&'static str, usize),
    /// Those of English or Dutch that have three letters or more: `de`, `en` and `no` are also French,
    /// Spanish and German.
    telling: usize,
    words: usize,
}

impl FunctionWords {
    fn count(sample: &str) -> Self {
        let mut words = 0;
        let mut telling = 0;
        let mut counts = [0; FUNCTION_WORDS.len()];
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
                counts[language] += 1;
                telling += usize::from(word.len() > 2 && language < 2);
            }
        }
        let [english, dutch, third @ ..] = counts;
        let most = (0..third.len()).max_by_key(|&index| third[index]).unwrap_or(0);
        Self { english, dutch, third: (FUNCTION_WORDS[2 + most].0, third[most]), telling, words }
    }

    /// The third language that the words are in, and how sure that is.
    fn third(self) -> Option<(&'static str, f32)> {
        let (code, count) = self.third;
        let ours = self.english.max(self.dutch);
        (count >= 2 && count > ours).then(|| (code, certainty(count - ours)))
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
    let lead = words.english.abs_diff(words.dutch);
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

/// How sure some words more of one language than of another make one: 0.7, 0.91, 0.97, …
fn certainty(lead: usize) -> f32 {
    1.0 - 0.3f32.powi(i32::try_from(lead.min(20)).unwrap_or(20))
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

const LONGEST_FUNCTION_WORD: usize = 8;

/// For each function word the places in [`FUNCTION_WORDS`] of the languages that it is of.
static LANGUAGES_OF: LazyLock<HashMap<&'static str, Vec<usize>>> = LazyLock::new(|| {
    let mut languages: HashMap<&'static str, Vec<usize>> = HashMap::new();
    for (index, (_, words)) in FUNCTION_WORDS.iter().enumerate() {
        for word in words.split_whitespace() {
            languages.entry(word).or_default().push(index);
        }
    }
    languages
});

/// Function words, and a few others that are as frequent. Those of English are no Dutch words and the
/// reverse; a word of a third language that is also one of theirs stands in both lists. The two that are
/// scored come first.
const FUNCTION_WORDS: [(&str, &str); 11] = [
    (
        "en",
        "about after again all and any are at because been but by can could did do does down ever every \
         for from get going good got great happy has have he his how i if into it its just like love \
         more much my need never new no not now off only our out people really say she should so some \
         still than thank thanks that the their them then there these they this to today too very well \
         were what when where which who why will with would yes you your",
    ),
    (
        "nl",
        "aan alle alles als altijd bent bij dan dat de deze dit doet dus echt een en er gaan gaat geen \
         goed goede haar heb hebben hebt heeft heel het hier hij hoe hun iets ik je jij jullie kan \
         kunnen lekker leuk maar meer met mijn moet mooi na naar niet niets nog nooit nu om omdat onder \
         ons onze ook op prima te tegen toch toen tot twee uit van veel vind voor waar waren want wat \
         weer wel werd wij wil worden wordt ze zeer zeker zich zij zijn zo zoals zonder zou",
    ),
    (
        "de",
        "aber auch auf bei beim das dem der diese dieses ein eine einem einen es für habe haben ich ist \
         kein keine mein mit nach nicht nur oder schon sehr sein sich sie sind und vom von wenn wir wird \
         wurde zu zum zur",
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
