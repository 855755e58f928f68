//! The contracts that come with a definition, and which fields of an event a source reads: what
//! drift is held against, and whom it meets.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::extract::Segment;
use super::rules::Place;
use super::source::Source;
use super::template::{Piece, atoms};
use crate::contract::Schema;
use crate::diagnostic::Diagnostic;

/// One contract: what events of a type are expected to look like.
#[derive(Debug, Clone)]
pub struct Contract {
    pub event_type: String,
    /// Counted from 1; what its `$id` ends in after `@`.
    pub version: u32,
    pub schema: Arc<Schema>,
}

/// Every contract of one provider, by type. The built-in ones are read when they are asked for.
#[derive(Debug, Default)]
pub struct Contracts {
    /// The type as its file's name has it, and the file's text.
    built_in: &'static [(&'static str, &'static str)],
    read: Mutex<HashMap<String, Option<Contract>>>,
    own: BTreeMap<String, Contract>,
}

impl Contracts {
    pub(super) fn built_in(files: &'static [(&'static str, &'static str)]) -> Self {
        Self { built_in: files, ..Self::default() }
    }

    /// Those of a folder: `<type>.json`, percent-encoded where a type has what no file's name can.
    ///
    /// # Errors
    ///
    /// Every file that is no contract.
    pub fn of_dir(folder: &Path) -> Result<Self, Vec<Diagnostic>> {
        let mut own = BTreeMap::new();
        let mut mistakes = Vec::new();
        // No folder: no contracts.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|ending| ending != "json") {
                continue;
            }
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
            match text.and_then(|text| parse(&type_of(name), &text)) {
                Ok(contract) => drop(own.insert(contract.event_type.clone(), contract)),
                Err(message) => mistakes.push(Diagnostic {
                    file: path.display().to_string(),
                    text: String::new(),
                    span: 0..0,
                    message: format!("not a contract: {message}"),
                    fix: None,
                    is_warning: false,
                }),
            }
        }
        if mistakes.is_empty() { Ok(Self { own, ..Self::default() }) } else { Err(mistakes) }
    }

    /// The contract of a type.
    #[must_use]
    pub fn get(&self, event_type: &str) -> Option<Contract> {
        if let Some(own) = self.own.get(event_type) {
            return Some(own.clone());
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read.get(event_type) {
            return known.clone();
        }
        let name = file_name(event_type);
        let file = self.built_in.iter().find(|(file, _)| *file == name);
        // What is compiled in was checked by a test.
        let contract = file.and_then(|(_, text)| parse(event_type, text).ok());
        if contract.is_some() {
            read.insert(event_type.to_owned(), contract.clone());
        }
        contract
    }

    /// The types that have one, in order.
    #[must_use]
    pub fn types(&self) -> Vec<String> {
        let mut types: Vec<String> = self.built_in.iter().map(|(file, _)| type_of(file)).collect();
        types.extend(self.own.keys().cloned());
        types.sort();
        types.dedup();
        types
    }

    /// The files that are compiled in, for the test that reads them all.
    #[cfg(test)]
    pub(super) fn files(&self) -> &'static [(&'static str, &'static str)] {
        self.built_in
    }
}

/// Reads the file of a type's contract.
pub(super) fn parse(event_type: &str, text: &str) -> Result<Contract, String> {
    let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let schema = Schema::parse(&document).map_err(|error| error.to_string())?;
    let id = document.get("$id").and_then(Value::as_str).unwrap_or_default();
    let version = id.rsplit_once('@').and_then(|(_, version)| version.parse().ok()).unwrap_or(1);
    Ok(Contract { event_type: event_type.to_owned(), version, schema: Arc::new(schema) })
}

/// A type as the name of its file, without the ending.
#[must_use]
pub fn file_name(event_type: &str) -> String {
    use std::fmt::Write as _;
    let mut name = String::with_capacity(event_type.len());
    for (i, byte) in event_type.bytes().enumerate() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => name.push(char::from(byte)),
            // A file that begins with a dot is hidden.
            b'.' if i > 0 => name.push('.'),
            other => drop(write!(name, "%{other:02X}")),
        }
    }
    name
}

fn type_of(file: &str) -> String {
    percent_encoding::percent_decode_str(file).decode_utf8_lossy().into_owned()
}

/// A field of an event that is read, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRead {
    /// `/data/object/amount`, `*` for the first element.
    pub path: String,
    /// `subject`, `attribute amount_minor of payment.failed`.
    pub by: String,
}

impl Source {
    /// What the definition reads of events of a type.
    #[must_use]
    pub fn reads(&self, event_type: &str) -> Vec<FieldRead> {
        let mut reads = Vec::new();
        let mut add = |by: &str, readings: &[Vec<Piece<Place>>]| {
            for place in readings.iter().flat_map(|reading| atoms(reading)) {
                if let Some(path) = self.path(place) {
                    reads.push(FieldRead { path, by: by.to_owned() });
                }
            }
        };
        let rules = &self.rules;
        add("the event's id", &rules.id);
        add("the event's type", &rules.event_type);
        add("the event's subject", &rules.subject);
        for (reading, _) in &rules.at {
            add("the event's time", std::slice::from_ref(reading));
        }
        let kinds = rules.kinds.get(event_type).or_else(|| rules.kinds.get("*"));
        for kind in kinds.into_iter().flatten() {
            for attribute in &kind.attributes {
                add(&format!("attribute {} of {}", attribute.name, kind.kind), &attribute.from);
            }
        }
        reads
    }

    /// The path of a place within the event itself.
    fn path(&self, place: &Place) -> Option<String> {
        let Place::Slot { up: 0, slot } = place else { return None };
        let pointers = self.rules.reads.first()?.pointers();
        let (_, pointer) = pointers.into_iter().find(|(one, _)| one == slot)?;
        let mut path = String::new();
        for segment in &pointer.0 {
            match segment {
                Segment::Name(name) => {
                    path.push('/');
                    path.push_str(&crate::contract::schema::escape(name));
                }
                Segment::First => path.push_str("/*"),
                // The name of a key is no field.
                Segment::FirstKey => return None,
            }
        }
        (!path.is_empty()).then_some(path)
    }

    /// The type of events that have none: a constant of the definition, for want of anything else.
    #[must_use]
    pub fn type_without(&self) -> Option<&str> {
        match self.rules.event_type.last()?.as_slice() {
            [Piece::Text(text)] if self.rules.event_type.len() > 1 => Some(text),
            _ => None,
        }
    }

    /// Whether the definition itself knows the type: by a contract, a kind or a sample.
    #[must_use]
    pub fn knows_type(&self, event_type: &str) -> bool {
        self.rules.kinds.contains_key(event_type)
            || self.provider.samples().iter().any(|sample| sample.event_type == event_type)
            || self.provider.contracts.get(event_type).is_some()
    }

    /// Whether requests need the header: a way to sign reads it.
    #[must_use]
    pub fn needs_header(&self, name: &str) -> bool {
        self.rules.ways.iter().any(|way| way.headers().iter().any(|header| *header == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Catalog;

    #[test]
    fn every_contract_that_is_compiled_in_can_be_read() {
        let mut count = 0;
        for provider in Catalog::built_in().iter() {
            for (file, text) in provider.contracts.files() {
                let event_type = type_of(file);
                assert_eq!(file_name(&event_type), *file);
                let contract = parse(&event_type, text).unwrap_or_else(|message| {
                    panic!("{}/contracts/{file}.json: {message}", provider.name)
                });
                assert!(contract.schema.count() > 0, "{}/{file}: it says nothing", provider.name);
                let document: Value = serde_json::from_str(text).unwrap();
                assert!(jsonschema::meta::is_valid(&document), "{}/{file}", provider.name);
                let id = document["$id"].as_str().unwrap_or_default();
                assert_eq!(id, format!("{}/{event_type}@{}", provider.name, contract.version));
                count += 1;
            }
        }
        eprintln!("{count} contracts");
    }

    #[test]
    fn a_type_is_a_files_name_and_back() {
        for event_type in ["charge.failed", "orders/create", "../../etc", ".x", "a b%", "ü", "a:b"]
        {
            let name = file_name(event_type);
            assert!(!name.contains(['/', '%']) || name.contains('%'), "{name}");
            assert!(!name.starts_with('.') && !name.contains('/'), "{name}");
            assert_eq!(type_of(&name), event_type);
        }
    }
}
