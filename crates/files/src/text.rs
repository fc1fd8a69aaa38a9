//! Turns bytes of any encoding into UTF-8 while they are read.

use std::io::{self, BufRead, Read};

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::notice::Notices;

/// Bytes that are looked at when an encoding must be guessed.
const SAMPLE_BYTES: usize = 64 << 10;

/// Finds an encoding by any of its usual names.
pub fn parse_encoding(name: &str) -> Option<&'static Encoding> {
    let name = name.trim();
    let usual = match name.to_ascii_lowercase().as_str() {
        "utf16" | "utf16le" | "unicode" => Some(UTF_16LE),
        "utf16be" => Some(UTF_16BE),
        "utf-8-sig" | "utf8-sig" => Some(UTF_8),
        "ansi" | "windows1252" | "win1252" | "1252" => Some(WINDOWS_1252),
        "mac" | "macroman" | "mac-roman" => Some(encoding_rs::MACINTOSH),
        _ => None,
    };
    usual.or_else(|| Encoding::for_label(name.as_bytes()))
}

/// Reads bytes as UTF-8 without a byte order mark.
///
/// Bytes that are not valid in an encoding that was found out to be UTF-8 stay as they are, so that the row they are in can be
/// reported. Other encodings give U+FFFD for them.
pub(crate) struct TextReader {
    reader: Box<dyn BufRead + Send>,
    mode: Mode,
    /// Bytes of `reader` that were looked at and not yet given.
    ahead: Vec<u8>,
    /// Decoded text, and how much of it is given.
    decoded: Vec<u8>,
    given: usize,
    is_at_end: bool,
    /// Whether lines end with a carriage return alone.
    has_old_lines: bool,
    line: u64,
    notices: Notices,
}

enum Mode {
    /// ASCII so far: the first other byte decides.
    Undecided,
    Utf8,
    Other(Decoder),
}

impl TextReader {
    /// Reads `reader`, which begins with `sample`, in `encoding`, or in one that is found out.
    pub(crate) fn new(
        reader: Box<dyn BufRead + Send>,
        sample: &[u8],
        encoding: Option<&'static Encoding>,
        notices: Notices,
    ) -> Self {
        let marked = Encoding::for_bom(sample);
        let found = match (encoding, marked) {
            (Some(encoding), Some((of_mark, _))) if is_utf16(encoding) && is_utf16(of_mark) => Some(of_mark),
            (Some(encoding), _) | (None, Some((encoding, _))) => Some(encoding),
            (None, None) => {
                let guess = unmarked_utf16(sample);
                if let Some(encoding) = guess {
                    notices.warn(
                        None,
                        format!("the encoding is taken for {}; --encoding names another", encoding.name()),
                    );
                }
                guess
            }
        };
        if let (None, Some(encoding)) = (encoding, found)
            && encoding != UTF_8
            && marked.is_some()
        {
            notices.found(format!("the encoding is {}", encoding.name()));
        }
        let mode = match found {
            None => Mode::Undecided,
            Some(encoding) if encoding == UTF_8 => Mode::Utf8,
            Some(encoding) => Mode::Other(encoding.new_decoder_with_bom_removal()),
        };
        let has_old_lines = !sample.contains(&b'\n') && sample.contains(&b'\r');
        let mut reader = Self {
            reader,
            mode,
            ahead: Vec::new(),
            decoded: Vec::new(),
            given: 0,
            is_at_end: false,
            has_old_lines,
            line: 1,
            notices,
        };
        if let (Mode::Utf8, Some((of_mark, length))) = (&reader.mode, marked)
            && of_mark == UTF_8
        {
            // The mark is in the sample, which the reader gives first.
            let mut mark = vec![0; length];
            if reader.reader.read_exact(&mut mark).is_err() {
                reader.is_at_end = true;
            }
        }
        reader
    }

    /// Fills `decoded` with the next piece of text; leaves it empty at the end.
    fn advance(&mut self) -> io::Result<()> {
        self.decoded.clear();
        self.given = 0;
        while self.decoded.is_empty() && !self.is_at_end {
            if self.ahead.is_empty() {
                self.read_ahead(1)?;
            }
            if let Mode::Undecided = self.mode {
                let ascii = self.ahead.iter().take_while(|byte| byte.is_ascii()).count();
                if ascii > 0 || self.ahead.is_empty() {
                    self.decoded.extend(self.ahead.drain(..ascii));
                    self.is_at_end = self.decoded.is_empty();
                } else {
                    self.decide()?;
                    continue;
                }
            } else if let Mode::Other(decoder) = &mut self.mode {
                let is_last = self.ahead.is_empty();
                let room =
                    decoder.max_utf8_buffer_length(self.ahead.len()).unwrap_or(4 * self.ahead.len() + 16);
                self.decoded.resize(room, 0);
                let (_, read, written, _) = decoder.decode_to_utf8(&self.ahead, &mut self.decoded, is_last);
                self.decoded.truncate(written);
                self.ahead.drain(..read);
                self.is_at_end = is_last;
            } else {
                std::mem::swap(&mut self.decoded, &mut self.ahead);
                self.is_at_end = self.decoded.is_empty();
            }
            if self.has_old_lines {
                for byte in &mut self.decoded {
                    if *byte == b'\r' {
                        *byte = b'\n';
                    }
                }
            }
            self.line += self.decoded.iter().map(|&byte| u64::from(byte == b'\n')).sum::<u64>();
        }
        Ok(())
    }

    /// Holds at least `bytes` in `ahead`, or all that are left.
    fn read_ahead(&mut self, bytes: usize) -> io::Result<()> {
        while self.ahead.len() < bytes {
            let part = self.reader.fill_buf()?;
            let length = part.len();
            if length == 0 {
                return Ok(());
            }
            self.ahead.extend_from_slice(part);
            self.reader.consume(length);
        }
        Ok(())
    }

    /// Chooses an encoding at the first byte that is not ASCII.
    fn decide(&mut self) -> io::Result<()> {
        self.read_ahead(4)?;
        let (valid, invalid) = count_utf8(&self.ahead);
        if valid >= invalid && valid > 0 {
            self.mode = Mode::Utf8;
            return Ok(());
        }
        let encoding = guess(&self.ahead[..self.ahead.len().min(SAMPLE_BYTES)]);
        self.notices.warn(
            Some(self.line),
            format!("the text is not UTF-8 and is taken for {}; --encoding names another", encoding.name()),
        );
        self.mode = Mode::Other(encoding.new_decoder_without_bom_handling());
        Ok(())
    }
}

impl Read for TextReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.decoded.len() {
            self.advance()?;
        }
        let length = buffer.len().min(self.decoded.len() - self.given);
        buffer[..length].copy_from_slice(&self.decoded[self.given..self.given + length]);
        self.given += length;
        Ok(length)
    }
}

fn is_utf16(encoding: &'static Encoding) -> bool {
    encoding == UTF_16LE || encoding == UTF_16BE
}

/// UTF-16 without a mark: Latin letters have a zero in every other byte.
fn unmarked_utf16(sample: &[u8]) -> Option<&'static Encoding> {
    /// Bytes that are looked at.
    const HEAD_BYTES: usize = 4 << 10;

    let head = &sample[..sample.len().min(HEAD_BYTES) & !1];
    let pairs = head.len() / 2;
    let zeros = |from: usize| head.iter().skip(from).step_by(2).filter(|&&byte| byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let is_mostly = |many: usize, few: usize| pairs > 1 && many * 10 >= pairs * 7 && few * 20 <= pairs;
    if is_mostly(odd, even) {
        Some(UTF_16LE)
    } else if is_mostly(even, odd) {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// Letters outside ASCII that are valid UTF-8, and places that are not. A letter that the sample cuts off counts as neither.
fn count_utf8(sample: &[u8]) -> (usize, usize) {
    let (mut valid, mut invalid) = (0, 0);
    let mut rest = sample;
    loop {
        let (good, error) = match str::from_utf8(rest) {
            Ok(good) => (good, None),
            Err(error) => (str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default(), Some(error)),
        };
        valid += good.chars().filter(|letter| !letter.is_ascii()).count();
        let Some(length) = error.and_then(|error| error.error_len()) else {
            // Cut off at the end of the sample; or, where the sample is all there is, a broken letter.
            return (valid, invalid + usize::from(error.is_some() && valid == 0));
        };
        invalid += 1;
        rest = &rest[good.len() + length..];
    }
}

/// Guesses an encoding of English or Dutch. All western encodings that a guess can name have the letters of both languages in the
/// places of Windows-1252.
fn guess(sample: &[u8]) -> &'static Encoding {
    if reads_as_macintosh(sample) {
        return encoding_rs::MACINTOSH;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(sample, true);
    let guess = detector.guess(Some(b"nl"), Utf8Detection::Deny);
    let is_western = ["windows-125", "ISO-8859-"].iter().any(|start| guess.name().starts_with(start));
    let is_other_script = [
        "windows-1251",
        "windows-1253",
        "windows-1255",
        "windows-1256",
        "ISO-8859-5",
        "ISO-8859-6",
        "ISO-8859-7",
        "ISO-8859-8",
    ];
    if is_western && !is_other_script.contains(&guess.name()) { WINDOWS_1252 } else { guess }
}

/// Excel for Mac writes `é` as 0x8E, where Windows-1252 has `Ž`. Between two small letters the one is usual and the other not.
fn reads_as_macintosh(sample: &[u8]) -> bool {
    /// é è ë ê ï ü ö ä á ó in Mac OS Roman; apart from those that are quotes and dashes in Windows-1252.
    const LETTERS: [u8; 7] = [0x8e, 0x8f, 0x9f, 0x9a, 0x8a, 0x87, 0x90];
    let is_letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_lowercase);
    let between = |wanted: &dyn Fn(u8) -> bool| {
        sample
            .windows(3)
            .filter(|three| wanted(three[1]) && is_letter(three.first()) && is_letter(three.last()))
            .count()
    };
    let mac = between(&|byte| LETTERS.contains(&byte));
    mac > 0 && mac > between(&|byte| byte >= 0xc0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Cursor};

    fn read(bytes: &[u8], encoding: Option<&'static Encoding>) -> (String, Vec<String>) {
        let notices = Notices::default();
        // Small pieces, so that letters are cut in two.
        let reader = BufReader::with_capacity(3, Cursor::new(bytes.to_owned()));
        let mut text = Vec::new();
        TextReader::new(Box::new(reader), bytes, encoding, notices.clone())
            .read_to_end(&mut text)
            .expect("memory can be read");
        let notices = notices.take().iter().map(ToString::to_string).collect();
        (String::from_utf8_lossy(&text).into_owned(), notices)
    }

    fn utf16(text: &str, is_big: bool) -> Vec<u8> {
        text.encode_utf16()
            .flat_map(|unit| if is_big { unit.to_be_bytes() } else { unit.to_le_bytes() })
            .collect()
    }

    #[test]
    fn utf8_is_read_with_and_without_a_mark() {
        for bytes in ["café 😀 koud".as_bytes(), "\u{feff}café 😀 koud".as_bytes()] {
            assert_eq!(read(bytes, None), ("café 😀 koud".to_owned(), vec![]));
        }
        assert_eq!(read(b"", None).0, "");
    }

    #[test]
    fn utf16_is_found_by_its_mark_and_guessed_without_one() {
        let text = "De café is 😀 prima\nEn koud";
        for is_big in [false, true] {
            let (read_text, notices) = read(&utf16(&format!("\u{feff}{text}"), is_big), None);
            assert_eq!(read_text, text);
            assert!(notices[0].starts_with("the encoding is UTF-16"), "{notices:?}");
            let (read_text, notices) = read(&utf16(text, is_big), None);
            assert_eq!(read_text, text);
            assert!(notices[0].contains("is taken for UTF-16"), "{notices:?}");
        }
    }

    #[test]
    fn western_bytes_are_read_with_a_warning_that_names_the_line() {
        let (text, notices) = read(b"een\ntwee\ncaf\xe9 Zo\xeb \x80 5 it\x92s", None);
        assert_eq!(text, "een\ntwee\ncafé Zoë € 5 it’s");
        assert_eq!(
            notices,
            ["3: the text is not UTF-8 and is taken for windows-1252; --encoding names another"]
        );
        assert_eq!(read(b"caf\xe9", Some(WINDOWS_1252)), ("café".to_owned(), vec![]));
        assert_eq!(read(b"caf\xe9", None).0, "café", "also at the very end");
    }

    #[test]
    fn one_bad_byte_does_not_make_utf8_another_encoding() {
        let (text, notices) = read("a\u{0}\ncafé Zoë".replace('\u{0}', "").as_bytes(), None);
        assert_eq!((text.as_str(), notices.len()), ("a\ncafé Zoë", 0));
        let mut bytes = "Zoë café ".as_bytes().to_vec();
        bytes.push(0xff);
        assert_eq!(read(&bytes, None), ("Zoë café \u{fffd}".to_owned(), vec![]));
    }

    #[test]
    fn old_line_ends_become_new_ones() {
        assert_eq!(read(b"een\rtwee\r", None).0, "een\ntwee\n");
    }

    #[test]
    fn encodings_have_usual_names() {
        for (name, encoding) in
            [("UTF-8", UTF_8), ("utf16", UTF_16LE), ("latin1", WINDOWS_1252), ("cp1252", WINDOWS_1252)]
        {
            assert_eq!(parse_encoding(name), Some(encoding), "{name}");
        }
        assert_eq!(parse_encoding("latijn"), None);
    }
}
