//! One workflow for every vendor: what the catalogue's own samples become, held against the kinds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::kind_rules::KindOf;
use super::properties::{NOW, samples};
use super::{Catalog, normalize, split, verify};
use crate::id::EventId;
use crate::provider::fixtures::{at, request};

/// How many kinds are held to it, and by how many vendors each.
const KINDS: usize = 10;
const VENDORS: usize = 5;

/// The definitions that map a type to a kind, by the kind: with the attributes that each gives it.
fn mapped(catalog: &Catalog) -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let mut all: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for provider in catalog.iter() {
        for KindOf { kind, attributes, .. } in
            provider.rules.kinds.values().flatten().map(|kind| &**kind)
        {
            let of_kind = all.entry(kind.to_string()).or_default();
            let names = attributes.iter().map(|a| a.name.to_string());
            of_kind.entry(provider.name.to_string()).or_default().extend(names);
        }
    }
    all
}

/// The kinds that most definitions map a type to.
fn most_used(
    mapped: &BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
) -> Vec<(&String, &BTreeMap<String, BTreeSet<String>>)> {
    let mut kinds: Vec<_> = mapped.iter().collect();
    kinds.sort_by_key(|(_, by)| std::cmp::Reverse(by.len()));
    kinds.truncate(KINDS);
    kinds
}

/// The attributes that three in four of these definitions give the kind.
fn main_attributes(by: &BTreeMap<String, BTreeSet<String>>) -> Vec<&str> {
    let all: BTreeSet<&String> = by.values().flatten().collect();
    let share = |name: &String| by.values().filter(|names| names.contains(name)).count();
    all.into_iter().filter(|name| by.len() * 3 <= share(name) * 4).map(String::as_str).collect()
}

/// What the samples become: by kind and vendor, the attributes of one event.
fn shown() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let mut all: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (subject, _, signed) in samples() {
        let source = &subject.source;
        let request = request(signed, at(NOW));
        let verified = verify(source, &request, at(NOW)).unwrap();
        for raw in split(source, &verified).unwrap() {
            let event = normalize(source, &verified, raw, EventId::next()).unwrap();
            let Some(kind) = &event.kind else { continue };
            let attributes: BTreeMap<String, Value> =
                serde_json::from_str(&event.attributes).unwrap();
            let of_kind = all.entry(kind.to_string()).or_default();
            let of_vendor = of_kind.entry(source.provider.name.to_string()).or_default();
            of_vendor.extend(attributes.into_keys());
        }
    }
    all
}

#[test]
fn a_workflow_on_a_main_kind_works_for_every_vendor_that_has_it() {
    let (mapped, shown) = (mapped(&Catalog::built_in()), shown());
    let none = BTreeMap::new();
    let mut wrong = Vec::new();
    for (kind, by) in most_used(&mapped) {
        let main = main_attributes(by);
        let vendors = shown.get(kind).unwrap_or(&none);
        let whole: Vec<&str> = vendors
            .iter()
            .filter(|(_, there)| main.iter().all(|name| there.contains(*name)))
            .map(|(vendor, _)| vendor.as_str())
            .collect();
        println!(
            "{kind:<20} {:>2} definitions, {:>2} sampled; with {}: {}",
            by.len(),
            vendors.len(),
            main.join(" "),
            whole.join(" ")
        );
        for (vendor, there) in vendors {
            let missing: Vec<_> = main.iter().filter(|name| !there.contains(**name)).collect();
            println!("    {vendor} lacks {missing:?}");
        }
        // The thing itself is always there: a payment's id, a message's receiver.
        let thing = kind.split('.').next().unwrap();
        let lacking: Vec<_> = vendors.iter().filter(|(_, there)| !there.contains(thing)).collect();
        if !lacking.is_empty() {
            wrong.push(format!("{kind} without `{thing}`: {lacking:?}"));
        }
        if main.is_empty() || whole.len() < VENDORS {
            wrong.push(format!("{kind} with {} only of {}", main.join(" "), whole.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_kind_that_a_sample_becomes_has_an_attribute() {
    let mut empty = Vec::new();
    for (kind, vendors) in shown() {
        for (vendor, attributes) in vendors {
            if attributes.is_empty() {
                empty.push(format!("{vendor}: {kind}"));
            }
        }
    }
    assert!(empty.is_empty(), "{}", empty.join("\n"));
}
