//! What a text looks like: a date, an address, a word of a fixed vocabulary.

use super::schema::Format;

/// The longest word that can be one of a vocabulary, in bytes.
const WORD_BYTES_MAX: usize = 48;

/// Endings of the names of fields whose values are a vocabulary: a new one is news. Any other text
/// is free, since a name that was always `Jenny` proves nothing.
const WORD_FIELDS: [&str; 27] = [
    "status",
    "state",
    "type",
    "kind",
    "action",
    "conclusion",
    "reason",
    "mode",
    "environment",
    "object",
    "event",
    "category",
    "severity",
    "priority",
    "level",
    "role",
    "visibility",
    "result",
    "outcome",
    "topic",
    "operation",
    "resource",
    "enum",
    "phase",
    "stage",
    "verdict",
    "disposition",
];

/// Names of objects whose keys are free: a sender's own fields, not a vendor's.
const FREE_OBJECTS: [&str; 15] = [
    "metadata",
    "customproperties",
    "customfields",
    "uservariables",
    "headers",
    "labels",
    "tags",
    "annotations",
    "extra",
    "variables",
    "customvariables",
    "custom",
    "params",
    "customdata",
    "unsubscribegroups",
];

/// Whether a field of this name holds one of a vocabulary's words.
pub(super) fn names_words(field: &str) -> bool {
    WORD_FIELDS.iter().any(|word| ends_in_word(field, word))
}

/// `payment_status`, `paymentStatus`, `payment-status` and `status` end in the word `status`.
fn ends_in_word(field: &str, word: &str) -> bool {
    let Some(start) = field.len().checked_sub(word.len()) else { return false };
    let (Some(before), Some(end)) = (field.get(..start), field.get(start..)) else { return false };
    if !end.eq_ignore_ascii_case(word) {
        return false;
    }
    match before.chars().next_back() {
        None => true,
        Some(last) if last.is_ascii_alphanumeric() => {
            last.is_ascii_lowercase() && end.starts_with(|first: char| first.is_ascii_uppercase())
        }
        Some(_) => true,
    }
}

/// Whether an object of this name has free keys.
pub(super) fn names_free_keys(field: &str) -> bool {
    let bare: String =
        field.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    FREE_OBJECTS.contains(&bare.as_str())
}

/// Whether a text can be a word of a vocabulary: letters, joined by spaces, dots and dashes.
pub(super) fn is_word(text: &str) -> bool {
    (1..=WORD_BYTES_MAX).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | '.' | ' ' | '/' | ':'))
}

/// Whether a key looks drawn or counted rather than chosen: an id, an address, a date.
pub(super) fn is_drawn(key: &str) -> bool {
    let digits = key.chars().filter(char::is_ascii_digit).count();
    key.contains('@') || 4 <= digits || (0 < digits && digits == key.len()) || 48 < key.len()
}

/// The format that a text is written in, if it is one that a contract knows.
pub(super) fn format_of(text: &str) -> Option<Format> {
    [Format::DateTime, Format::Date, Format::Uuid, Format::Uri, Format::Email]
        .into_iter()
        .find(|format| has_format(text, *format))
}

/// Whether a text is written in the format. An empty text says nothing and has any.
pub(super) fn has_format(text: &str, format: Format) -> bool {
    if text.is_empty() {
        return true;
    }
    match format {
        Format::DateTime => is_date_time(text),
        Format::Date => text.len() == 10 && is_date(text.as_bytes()),
        Format::Uuid => is_uuid(text.as_bytes()),
        Format::Email => is_email(text),
        Format::Uri => {
            (text.starts_with("https://") || text.starts_with("http://"))
                && !text.contains(|c: char| c.is_whitespace() || c.is_control())
        }
    }
}

fn digits(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_digit)
}

/// `2026-01-05`
fn is_date(b: &[u8]) -> bool {
    b.len() >= 10
        && b[4] == b'-'
        && b[7] == b'-'
        && digits(&b[..4])
        && digits(&b[5..7])
        && digits(&b[8..10])
}

/// RFC 3339, as vendors write it: the offset may lack its colon.
fn is_date_time(text: &str) -> bool {
    let b = text.as_bytes();
    if !(20..=40).contains(&b.len()) || !is_date(b) || !matches!(b[10], b'T' | b't' | b' ') {
        return false;
    }
    let (Some(clock), Some(rest)) = (b.get(11..19), b.get(19..)) else { return false };
    let is_clock = clock[2] == b':'
        && clock[5] == b':'
        && digits(&clock[..2])
        && digits(&clock[3..5])
        && digits(&clock[6..]);
    let fraction = match rest.first() {
        Some(b'.') => 1 + rest[1..].iter().take_while(|c| c.is_ascii_digit()).count(),
        _ => 0,
    };
    let is_offset = match &rest[fraction..] {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', offset @ ..] => {
            matches!(offset.len(), 4 | 5) && offset.iter().all(|c| c.is_ascii_digit() || *c == b':')
        }
        _ => false,
    };
    is_clock && is_offset
}

fn is_uuid(b: &[u8]) -> bool {
    b.len() == 36
        && b.iter().enumerate().all(|(i, c)| match i {
            8 | 13 | 18 | 23 => *c == b'-',
            _ => c.is_ascii_hexdigit(),
        })
}

/// What nobody would take for anything but an address; not a check of one.
fn is_email(text: &str) -> bool {
    text.len() <= 254
        && text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && domain.contains('.')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
                && domain.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-'))
        })
        && !text.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '/' | ','))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_writing() {
        for (text, format) in [
            ("2026-01-05T10:00:00Z", Some(Format::DateTime)),
            ("2026-01-05T10:00:00.123456+01:00", Some(Format::DateTime)),
            ("2026-01-05T10:00:00.000-0800", Some(Format::DateTime)),
            ("2026-01-05 10:00:00", None),
            ("2026-01-05", Some(Format::Date)),
            ("2026-01-5", None),
            ("0d1a5b8e-1f6f-4c57-9a53-0c1f6a1f1e10", Some(Format::Uuid)),
            ("0d1a5b8e1f6f4c579a530c1f6a1f1e10", None),
            ("jenny@example.com", Some(Format::Email)),
            ("Jenny <jenny@example.com>", None),
            ("https://example.com/a?b=c", Some(Format::Uri)),
            ("ftp://example.com", None),
            ("ü@ü", None),
            ("succeeded", None),
        ] {
            assert_eq!(format_of(text), format, "{text}");
        }
    }

    #[test]
    fn a_field_of_words_is_told_by_the_end_of_its_name() {
        for field in ["status", "payment_status", "paymentStatus", "event-type", "$type", "Status"]
        {
            assert!(names_words(field), "{field}");
        }
        for field in ["prototype", "estate", "name", "status_text", "typ", "statué"] {
            assert!(!names_words(field), "{field}");
        }
    }

    #[test]
    fn words_and_drawn_keys_are_told_apart() {
        for word in ["succeeded", "this is unknown", "MERGE", "invoice.paid", "orders/create"] {
            assert!(is_word(word), "{word}");
        }
        for text in ["", "ch_3N", "4200", "a\u{202e}b", "Jürgen", "-x"] {
            assert!(!is_word(text), "{text}");
        }
        assert!(is_drawn("u_8714a") && is_drawn("12") && is_drawn("a@b"));
        assert!(!is_drawn("address1") && !is_drawn("x509"));
    }

    #[test]
    fn an_object_with_free_keys_is_told_by_its_name() {
        for name in ["metadata", "custom_properties", "customFields", "user-variables", "Headers"] {
            assert!(names_free_keys(name), "{name}");
        }
        assert!(!names_free_keys("properties") && !names_free_keys("data"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_written_can_upset_the_reader(text: String) {
            let _ = format_of(&text);
            let _ = (names_words(&text), is_word(&text), is_drawn(&text), names_free_keys(&text));
        }
    }
}
