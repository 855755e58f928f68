//! The secrets that may have signed a request, each with its name: nobody sees more of it than that.

use std::sync::Arc;

use super::bench::keys_of;
use super::{Case, Standing};
use crate::provider::definition::KeyEncoding;
use crate::provider::key::Key;
use crate::provider::source::{Source, fingerprint};
use crate::provider::way::Way;
use crate::secret::Secret;

/// A secret, ready for the ways of one source.
pub(super) struct Entry {
    /// `secret #2 of `shop` (sha256:9c1f03ab)`
    pub(super) label: String,
    pub(super) of: Of,
    pub(super) keys: Vec<(usize, Key)>,
}

/// Whose a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Of {
    Own,
    /// The same, if it were read in another way: how.
    Spelled(String),
    Other(Arc<str>),
    Spare(Standing),
    /// The vendor's own key, fetched.
    Vendor,
}

/// The secrets that may have signed: the source's own first.
pub(super) fn entries(case: &Case<'_>, source: &Source) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut add = |label: String, of: Of, secret: &Secret| {
        let keys = keys_of(source, secret);
        if !keys.is_empty() {
            entries.push(Entry { label, of, keys });
        }
    };
    for (number, secret) in source.secrets.iter().enumerate() {
        add(label(&source.name, number, secret), Of::Own, secret);
    }
    for other in case.sources.iter().filter(|other| other.name != source.name) {
        for (number, secret) in other.secrets.iter().enumerate() {
            add(label(&other.name, number, secret), Of::Other(Arc::clone(&other.name)), secret);
        }
    }
    for spare in case.spare {
        let what = match spare.standing {
            Standing::Retired => "a former secret",
            Standing::Learned => "a secret that waits",
        };
        let label = format!("{what} of `{}` ({})", spare.source, fingerprint(&spare.secret));
        add(label, Of::Spare(spare.standing), &spare.secret);
    }
    for (number, secret) in source.secrets.iter().enumerate() {
        entries.extend(spelled(source, number, secret));
    }
    let fetched = source.rules.ways.iter().enumerate().filter(|(_, way)| way.keys_at.is_some());
    for (way, _) in fetched {
        entries.push(Entry {
            label: "the vendor's own key".to_owned(),
            of: Of::Vendor,
            keys: vec![(way, Key::Public(Vec::new()))],
        });
    }
    entries
}

impl Entry {
    /// Whether it is one of its own, and no other spelling of another.
    pub(super) fn is_secret(&self) -> bool {
        matches!(self.of, Of::Own | Of::Other(_) | Of::Spare(_))
    }

    pub(super) fn keys_of<'e>(
        &'e self,
        source: &'e Source,
        way: &'e Way,
    ) -> impl Iterator<Item = &'e Key> {
        self.keys
            .iter()
            .filter(move |(number, _)| std::ptr::eq(&source.rules.ways[*number], way))
            .map(|(_, key)| key)
    }
}

/// Whether a secret is in force for the source as it is configured.
pub(super) fn is_known(of: &Of) -> bool {
    matches!(of, Of::Own | Of::Vendor)
}

pub(super) fn label(source: &str, number: usize, secret: &Secret) -> String {
    format!("secret #{} of `{source}` ({})", number + 1, fingerprint(secret))
}

/// The secret as somebody may have meant it.
fn spelled(source: &Source, number: usize, secret: &Secret) -> Vec<Entry> {
    let bytes = secret.expose();
    let mut entries = Vec::new();
    let mut add = |how: &str, keys: Vec<(usize, Key)>| {
        if !keys.is_empty() {
            let label = label(&source.name, number, secret);
            entries.push(Entry { label, of: Of::Spelled(how.to_owned()), keys });
        }
    };
    let trimmed = bytes.trim_ascii();
    let unquoted = match trimmed {
        [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => Some(inner),
        _ => None,
    };
    if trimmed != bytes {
        add("without the white space around it", keys_of(source, &Secret::new(trimmed)));
    }
    if let Some(inner) = unquoted {
        add("without the quotes around it", keys_of(source, &Secret::new(inner)));
    }
    if let Some(at) = bytes.iter().rposition(|byte| *byte == b'_') {
        let bare = Secret::new(&bytes[at + 1..]);
        if !bare.is_empty() {
            add("without what stands before its last `_`", keys_of(source, &bare));
        }
    }
    for prefix in ["whsec_", "\n"] {
        let with = if prefix == "\n" {
            [bytes, prefix.as_bytes()].concat()
        } else {
            [prefix.as_bytes(), bytes].concat()
        };
        let how = if prefix == "\n" { "with a line end" } else { "with `whsec_` before it" };
        add(how, keys_of(source, &Secret::new(with)));
    }
    for (encoding, how) in [
        (KeyEncoding::Text, "its text itself is the key"),
        (KeyEncoding::Hex, "the key is what it says in hexadecimal digits"),
        (KeyEncoding::Base64, "the key is what it says in base 64"),
        (KeyEncoding::Whsec, "the key is what it says in base 64 behind `whsec_`"),
    ] {
        let ways = source.rules.ways.iter().enumerate();
        let keys = ways.filter(|(_, way)| super::bench::is_mac(way) && way.key != encoding);
        let keys = keys.filter_map(|(number, way)| {
            Some((number, Key::new(way.scheme, encoding, secret).ok()??))
        });
        add(how, keys.collect());
    }
    entries
}
