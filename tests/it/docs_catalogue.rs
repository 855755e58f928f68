//! The pages of what RelayFlow knows: its providers, and the canonical kinds with what maps to them.

use std::collections::BTreeMap;
use std::fs;

use relayflow_core::kind::{AttributeType, Kinds, kinds};
use relayflow_core::provider::Catalog;
use serde_json::{Value, json};

use crate::docs::generated;
use crate::tidy::root;

/// For each kind, the types that map to it: by provider.
fn mapped(catalog: &Catalog) -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
    let mut all: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for provider in catalog.iter() {
        for mapping in provider.describe().kinds {
            let of_provider =
                all.entry(mapping.kind).or_default().entry(provider.name.to_string()).or_default();
            for event_type in mapping.types {
                let event_type = match (event_type.as_str(), &mapping.when) {
                    ("*", None) => "any other type".to_owned(),
                    ("*", Some(_)) => "any other type (some)".to_owned(),
                    (name, None) => format!("`{name}`"),
                    (name, Some(_)) => format!("`{name}` (some)"),
                };
                if !of_provider.contains(&event_type) {
                    of_provider.push(event_type);
                }
            }
        }
    }
    all
}

fn type_name(kinds: &Kinds, attribute: &str) -> &'static str {
    match kinds.attribute(attribute).unwrap().value {
        AttributeType::Text => "text",
        AttributeType::Email => "email",
        AttributeType::Currency => "currency",
        AttributeType::Integer => "integer",
        AttributeType::Boolean => "boolean",
        AttributeType::Time => "time",
        AttributeType::Url => "URL",
        AttributeType::Phone => "phone",
    }
}

#[test]
fn the_kinds_page_lists_every_kind_with_what_maps_to_it() {
    let (kinds, catalog) = (kinds(), Catalog::built_in());
    let mapped = mapped(&catalog);
    let mut text = String::new();
    for (category, about) in kinds.categories() {
        text.push_str(&format!("## {category}\n\n{about}\n\n"));
        let mut object = "";
        for kind in kinds.iter().filter(|kind| &*kind.category == category) {
            let (first, _) = kind.name.split_once('.').unwrap();
            if first != object {
                object = first;
                let attributes = kind.attributes.iter();
                let attributes: Vec<_> =
                    attributes.map(|a| format!("`{a}` {}", type_name(kinds, a))).collect();
                text.push_str(&format!(
                    "### {object}\n\n{} Attributes: {}.\n\n",
                    kind.about,
                    attributes.join(", ")
                ));
            }
            let types = mapped.get(&*kind.name).into_iter().flatten();
            let types: Vec<_> =
                types.map(|(name, types)| format!("{name}: {}", types.join(" "))).collect();
            let types = if types.is_empty() { "nothing yet".to_owned() } else { types.join("; ") };
            text.push_str(&format!("- `{}`: {types}\n", kind.name));
            let is_last = kinds
                .iter()
                .skip_while(|other| other.name != kind.name)
                .nth(1)
                .is_none_or(|next| !next.name.starts_with(&format!("{object}.")));
            if is_last {
                text.push('\n');
            }
        }
    }
    text.push_str("## Attributes\n\n| attribute | type | meaning |\n| --- | --- | --- |\n");
    let mut names: Vec<_> = kinds.iter().flat_map(|kind| &kind.attributes).collect();
    names.sort();
    names.dedup();
    for name in names {
        let about = &kinds.attribute(name).unwrap().about;
        text.push_str(&format!("| `{name}` | {} | {about} |\n", type_name(kinds, name)));
    }
    generated("docs/reference/kinds.md", "kinds", &text);
}

#[test]
fn the_schema_file_has_every_kind() {
    let kinds = kinds();
    let schemas = kinds.iter().map(|kind| {
        let mut schema = kinds.schema(kind);
        schema.as_object_mut().unwrap().remove("$schema");
        (kind.name.to_string(), schema)
    });
    let document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The attributes of RelayFlow's canonical kinds",
        "$defs": schemas.collect::<serde_json::Map<String, Value>>(),
    });
    let text = format!("{}\n", serde_json::to_string_pretty(&document).unwrap());
    let path = root().join("docs/reference/kinds.schema.json");
    if std::env::var_os("RELAYFLOW_UPDATE").is_some() {
        fs::write(path, text).unwrap();
        return;
    }
    let there = fs::read_to_string(path).unwrap_or_default();
    assert!(
        there == text,
        "docs/reference/kinds.schema.json is not what the code says; RELAYFLOW_UPDATE=1 tests/run \
         docs writes it"
    );
}

#[test]
fn the_providers_page_lists_every_definition() {
    let mut text = String::from(
        "| provider | | category | scheme | status | kinds | from |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for provider in Catalog::built_in().iter() {
        let told = provider.describe();
        let mut kinds: Vec<_> = told.kinds.iter().map(|mapping| &mapping.kind).collect();
        kinds.sort();
        kinds.dedup();
        // A cell ends at a bar.
        let cell = |text: &str| text.replace('|', "\\|");
        text.push_str(&format!(
            "| `{}` | {} | {} | {} | {} | {} | {} |\n",
            told.name,
            cell(&told.title),
            told.category,
            provider.scheme(),
            told.status,
            kinds.len(),
            cell(&linked(&told.source)),
        ));
    }
    generated("docs/reference/providers.md", "providers", &text);
}

/// The text with its addresses as links.
fn linked(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let end = word.trim_end_matches([',', ';', ')', '.']);
        let address = end.trim_start_matches('(');
        if address.starts_with("https://") {
            word.replace(address, &format!("<{address}>"))
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}
