//! The little of DER that keys and certificates need: tag, length, value.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const BOOLEAN: u8 = 0x01;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// One value after the other.
#[derive(Clone, Copy)]
pub(super) struct Reader<'d>(pub(super) &'d [u8]);

impl<'d> Reader<'d> {
    /// The next value: its tag, what is in it, and all of its bytes.
    pub(super) fn next(&mut self) -> Option<(u8, &'d [u8], &'d [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match usize::from(*first) {
            short @ 0..=0x7f => (short, rest),
            // Two bytes of length are enough for any key or certificate that is read here.
            0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
            0x82 => {
                let (high, low) = (*rest.first()?, *rest.get(1)?);
                (usize::from(u16::from_be_bytes([high, low])), rest.get(2..)?)
            }
            _ => return None,
        };
        let inner = rest.get(..length)?;
        let whole = self.0.get(..self.0.len() - rest.len() + length)?;
        self.0 = rest.get(length..)?;
        Some((*tag, inner, whole))
    }

    /// What is in the next value, which must have this tag.
    pub(super) fn want(&mut self, tag: u8) -> Option<&'d [u8]> {
        let (found, inner, _) = self.next()?;
        (found == tag).then_some(inner)
    }

    /// The bytes of a bit string that has whole bytes.
    pub(super) fn bits(&mut self) -> Option<&'d [u8]> {
        self.want(BIT_STRING)?.strip_prefix(&[0])
    }

    pub(super) fn time(&mut self) -> Option<Timestamp> {
        let (tag, text, _) = self.next()?;
        let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
        let text = match tag {
            // Of RFC 5280: two digits of a year are of 1950 to 2049.
            UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
            UTC_TIME => format!("19{text}"),
            GENERALIZED_TIME => text.to_owned(),
            _ => return None,
        };
        let at = DateTime::strptime("%Y%m%d%H%M%S", text).ok()?;
        Offset::UTC.to_timestamp(at).ok()
    }
}

/// A value with tag and length.
pub(super) fn value(tag: u8, inner: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = inner.len();
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=0x7f), _) => out.push(short),
        (Ok(one), _) => out.extend([0x81, one]),
        (Err(_), Ok(two)) => {
            out.push(0x82);
            out.extend(two.to_be_bytes());
        }
        (Err(_), Err(_)) => {
            out.push(0x84);
            out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
    out.extend_from_slice(inner);
    out
}

/// A number that is not negative.
pub(super) fn integer(bytes: &[u8]) -> Vec<u8> {
    let from = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
    let bytes = bytes.get(from..).unwrap_or_default();
    let mut inner = Vec::with_capacity(bytes.len() + 1);
    if bytes.first().is_none_or(|b| 0x80 <= *b) {
        inner.push(0);
    }
    inner.extend_from_slice(bytes);
    value(INTEGER, &inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_is_of_its_century() {
        let time = |tag: u8, text: &str| Reader(&value(tag, text.as_bytes())).time();
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        assert_eq!(time(UTC_TIME, "491231235959Z"), at("2049-12-31T23:59:59Z"));
        assert_eq!(time(UTC_TIME, "500101000000Z"), at("1950-01-01T00:00:00Z"));
        assert_eq!(time(GENERALIZED_TIME, "20500101000000Z"), at("2050-01-01T00:00:00Z"));
        assert_eq!(time(UTC_TIME, "260101000000+0100"), None);
        assert_eq!(time(OID, "260101000000Z"), None);
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 127, 128, 255, 256, 65_535] {
            let inner = vec![7; length];
            let bytes = value(SEQUENCE, &inner);
            let mut reader = Reader(&bytes);
            assert_eq!(reader.want(SEQUENCE), Some(inner.as_slice()), "{length}");
            assert!(reader.0.is_empty());
        }
        assert_eq!(integer(&[0, 0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[]), [2, 1, 0]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let mut reader = Reader(&bytes);
            while reader.next().is_some() {}
            let _ = Reader(&bytes).time();
            let _ = Reader(&bytes).bits();
        }
    }
}
