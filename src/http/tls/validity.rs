//! Reads the validity period of a certificate from its DER.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The period in which a certificate is valid, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// Tags of DER.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

impl Validity {
    /// Reads the period of a certificate in DER; `None` where it is not one.
    pub(super) fn from_certificate(der: &[u8]) -> Option<Self> {
        let mut certificate = Reader(Reader(der).expect(SEQUENCE)?);
        let mut body = Reader(certificate.expect(SEQUENCE)?);
        // The version may be left out. Then come the serial number, the algorithm of the signature, and the issuer.
        if body.0.first() == Some(&VERSION) {
            body.expect(VERSION)?;
        }
        body.expect(INTEGER)?;
        body.expect(SEQUENCE)?;
        body.expect(SEQUENCE)?;
        let mut validity = Reader(body.expect(SEQUENCE)?);
        Some(Self { not_before: validity.time()?, not_after: validity.time()? })
    }
}

/// The unread rest of a DER value.
struct Reader<'d>(&'d [u8]);

impl<'d> Reader<'d> {
    /// The content of the next value, if it has this tag.
    fn expect(&mut self, tag: u8) -> Option<&'d [u8]> {
        let (found, content) = self.next()?;
        (found == tag).then_some(content)
    }

    /// The tag and the content of the next value.
    fn next(&mut self) -> Option<(u8, &'d [u8])> {
        let (&[tag, length], mut rest) = self.0.split_first_chunk()?;
        // From 0x80 on, the low bits are the number of bytes of the length.
        let length = match length {
            0..=0x7F => usize::from(length),
            0x81..=0x84 => {
                let (bytes, after) = rest.split_at_checked(usize::from(length - 0x80))?;
                rest = after;
                bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte))
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn time(&mut self) -> Option<Timestamp> {
        let (tag, content) = self.next()?;
        let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
        let (year, rest) = match tag {
            UTC_TIME => {
                let year: i16 = text.get(..2)?.parse().ok()?;
                // Two digits stand for 1950 to 2049.
                (year + if year < 50 { 2000 } else { 1900 }, text.get(2..)?)
            }
            GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
            _ => return None,
        };
        let part = |index: usize| -> Option<i8> { rest.get(2 * index..2 * index + 2)?.parse().ok() };
        let time = DateTime::new(year, part(0)?, part(1)?, part(2)?, part(3)?, part(4)?, 0).ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_period_of_a_certificate_is_read() {
        let key = KeyPair::generate().expect("a key");
        for (years, expected) in [
            ((1999, 2049), ["1999-02-03T00:00:00Z", "2049-02-03T00:00:00Z"]),
            ((2026, 2050), ["2026-02-03T00:00:00Z", "2050-02-03T00:00:00Z"]),
        ] {
            let mut params = CertificateParams::new(vec!["sentor.example".to_owned()]).expect("a valid name");
            params.not_before = date_time_ymd(years.0, 2, 3);
            params.not_after = date_time_ymd(years.1, 2, 3);
            let certificate = params.self_signed(&key).expect("a certificate");
            let Validity { not_before, not_after } =
                Validity::from_certificate(certificate.der()).expect("a certificate in DER");
            assert_eq!([not_before, not_after].map(|at| at.to_string()), expected);
            for length in 0..certificate.der().len() {
                // Whatever is cut off, nothing panics.
                let _ = Validity::from_certificate(&certificate.der()[..length]);
            }
        }
        assert_eq!(Validity::from_certificate(b"no certificate"), None);
    }
}
