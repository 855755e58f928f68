//! Shipped contracts are derived from real payloads, and reviewed. Where those are at hand, a test
//! holds every one of them to its contract; `RELAYFLOW_UPDATE=1` writes the contracts that lack.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::Catalog;
use super::contracts::file_name;
use crate::contract::{Observed, Schema, Types, compare, print};
use crate::event::IntegrationEvent;

/// Payloads by provider and type, each with the name of its fixture.
#[derive(Default)]
pub(super) struct Lessons(BTreeMap<(String, String), Vec<(String, Value)>>);

impl Lessons {
    pub(super) fn add(&mut self, fixture: &str, event: &IntegrationEvent) {
        let key = (event.provider.to_string(), event.event_type.clone());
        let payload = serde_json::from_str(event.payload.json()).unwrap();
        self.0.entry(key).or_default().push((fixture.to_owned(), payload));
    }

    /// Every payload keeps its type's contract.
    pub(super) fn hold(&self, catalog: &Catalog) {
        let mut wrong = Vec::new();
        for ((name, event_type), payloads) in &self.0 {
            let provider = catalog.get(name).unwrap();
            let Some(contract) = provider.contracts.get(event_type) else {
                if std::env::var_os("RELAYFLOW_UPDATE").is_some() {
                    write(name, event_type, payloads);
                } else {
                    wrong.push(format!("{name} {event_type}: no contract (RELAYFLOW_UPDATE=1)"));
                }
                continue;
            };
            for (fixture, payload) in payloads {
                let found = compare(&contract.schema, payload);
                let found = found.iter().map(|d| format!("{} {}: {}", d.change, d.path, d.is));
                wrong.extend(found.map(|line| format!("{fixture}: {line}")));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

fn write(provider: &str, event_type: &str, payloads: &[(String, Value)]) {
    let mut observed = Observed::default();
    for (_, payload) in payloads {
        observed.add(payload);
    }
    let mut schema = observed.to_schema();
    forget_what_proves_nothing(&mut schema);
    let mut document = schema.to_document(&format!("{provider} {event_type}"), None);
    document["$id"] = json!(format!("{provider}/{event_type}@1"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("providers").join(provider);
    let path = folder.join("contracts").join(format!("{}.json", file_name(event_type)));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, print(&document)).unwrap();
}

/// A few words that were seen are no vocabulary (whoever reviews a contract may add a documented
/// one), and null alone is no type.
fn forget_what_proves_nothing(schema: &mut Schema) {
    schema.words = None;
    if schema.types == Types::NULL {
        schema.types = Types::default();
    }
    for field in schema.fields.values_mut() {
        forget_what_proves_nothing(&mut field.schema);
    }
    for inner in [&mut schema.items, &mut schema.free].into_iter().flatten() {
        forget_what_proves_nothing(inner);
    }
}

/// What `send` and the demo send is no drift.
#[test]
fn the_projects_own_payloads_give_no_finding() {
    use super::fixtures::{at, request, source};
    use super::sign::{key_pair, sign_for};
    use super::{challenge, normalize, split, verify};
    use crate::contract::Profile;
    use crate::contract::profile::Learning;
    use crate::id::EventId;

    let catalog = Catalog::built_in();
    let mut wrong = Vec::new();
    for provider in catalog.iter() {
        let keys = key_pair(provider, [7; 32]);
        let source = source(&catalog, &provider.name, vec![keys.verifying]);
        for sample in provider.samples() {
            let mut profiles: BTreeMap<String, Profile> = BTreeMap::new();
            for serial in 1..=6 {
                let now = at(1_700_000_000);
                let body = sample.body(serial, now);
                let url = source.public_url.clone().unwrap();
                let signed = sign_for(&source, &keys.signing, &sample.event_type, body, &url, now);
                let Ok(mut signed) = signed else { continue };
                signed.headers.extend(sample.headers.clone());
                let request = request(signed, now);
                let Ok(verified) = verify(&source, &request, now) else { continue };
                if challenge(&source, &verified).is_some() {
                    continue;
                }
                for raw in split(&source, &verified).unwrap() {
                    let event = normalize(&source, &verified, raw, EventId::next()).unwrap();
                    let event_type = &event.event_type;
                    let profile = profiles.entry(event_type.clone()).or_insert_with(|| {
                        let shipped = provider.contracts.get(event_type).map(|c| c.schema);
                        Profile::new(shipped, None, Learning::default())
                    });
                    for found in profile.look(event.payload.json()).differences.iter() {
                        wrong.push(format!("{} {event_type}: {found:?}", provider.name));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
