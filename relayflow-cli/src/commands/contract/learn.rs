//! `relayflow contract learn`: what payloads have in common, as a schema. Never their values but the
//! words of vocabularies.

use std::collections::BTreeMap;
use std::path::Path;

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{Contract, LearnContract, List, Total, V};
use relayflow_core::contract::{Observed, Schema};
use relayflow_core::provider::contracts::file_name;
use serde_json::{Map, Value, json};

use super::files::{self, Bodies};
use crate::app::App;
use crate::args::{Format, LearnArgs, Select};
use crate::commands::list::{print_rows, show_document};
use crate::failure::{Done, Failure};
use crate::output::{document, time};

pub(crate) async fn learn(app: &App, args: &LearnArgs) -> Done {
    if files::are_files(&args.select.terms, &args.files) {
        return of_files(app, args);
    }
    if args.dir.is_some() {
        return Err(Failure::usage("--dir is for what is learned from files")
            .hint("relayflow contract learn … > FILE"));
    }
    let (Some(source), Some(event_type)) = (&args.select.source, &args.select.event_type) else {
        return Err(Failure::usage("a contract is of one source and one type")
            .hint("--source NAME --type TYPE, or files with --provider NAME"));
    };
    let rest = Select { source: None, event_type: None, ..args.select.clone() };
    let what = LearnContract {
        source: source.clone(),
        event_type: event_type.clone(),
        q: app.select(&rest, None)?.q,
        write: args.write,
        reason: args.reason.clone(),
    };
    let contract = app.connect().await?.learn_contract(&what).await?;
    super::print(app, &contract)?;
    let from = time::things(u64::try_from(contract.events).unwrap_or(0), "event");
    let written = match contract.version {
        Some(version) => format!("; written as version {version}"),
        None => String::new(),
    };
    app.out.notice(&format!("learned from {from}{written}"));
    Ok(Exit::Ok)
}

fn of_files(app: &App, args: &LearnArgs) -> Done {
    if args.write {
        return Err(Failure::usage("--write is for what is learned from stored events")
            .hint("--dir DIR writes files"));
    }
    let paths = files::find(&args.select.terms)?;
    let bodies = Bodies::new(app, &args.files, &args.select)?;
    let mut by_type: BTreeMap<String, Observed> = BTreeMap::new();
    let (mut unreadable, mut is_untyped) = (0_u64, false);
    for path in paths {
        for event in bodies.read(&path)? {
            match event {
                Ok(event) => by_type.entry(event.event_type).or_default().add(&event.payload),
                Err(error) => {
                    unreadable += 1;
                    is_untyped |= error.is_untyped;
                    app.out.notice(&format!("left out: {}: {error}", path.display()));
                }
            }
        }
    }
    if is_untyped {
        app.out.notice(files::UNTYPED);
    }
    if by_type.is_empty() {
        return Err(Failure::new("empty.selection", "there is no event to learn from"));
    }
    let provider = bodies.provider();
    let learned: Vec<Contract> = by_type
        .iter()
        .map(|(event_type, observed)| contract(provider, event_type, observed))
        .collect();
    match &args.dir {
        Some(dir) => write_all(app, dir, &learned)?,
        None => print(app, &learned)?,
    }
    // What was left out may be what the contract is about.
    Ok(if unreadable == 0 { Exit::Ok } else { Exit::Partial })
}

fn contract(provider: &str, event_type: &str, observed: &Observed) -> Contract {
    let schema = observed.to_schema();
    Contract {
        v: V,
        object: "contract".to_owned(),
        source: None,
        provider: provider.to_owned(),
        event_type: event_type.to_owned(),
        version: Some(1),
        origin: "learned".to_owned(),
        fields: schema.count(),
        events: i64::try_from(observed.count).unwrap_or(i64::MAX),
        created_at: None,
        created_by: None,
        reason: None,
        schema: Some(file_document(provider, event_type, 1, &schema)),
    }
}

/// A contract as the file of one: what it is, then what it says.
fn file_document(provider: &str, event_type: &str, version: u32, schema: &Schema) -> Value {
    let title = format!("{provider} {event_type}");
    let mut out = Map::new();
    for (name, value) in schema.to_document(&title, None).as_object().into_iter().flatten() {
        out.insert(name.clone(), value.clone());
        if name == "$schema" {
            let id = format!("{provider}/{}@{version}", file_name(event_type));
            out.insert("$id".to_owned(), json!(id));
        }
    }
    Value::Object(out)
}

fn print(app: &App, learned: &[Contract]) -> Result<(), Failure> {
    if let [only] = learned {
        return super::print(app, only);
    }
    let asked = app.global.output.is_some() || app.global.json;
    let list = List {
        v: V,
        kind: "contract_list".to_owned(),
        items: learned.to_vec(),
        next_cursor: None,
        searched_to: None,
        total: Some(Total { value: learned.len() as u64, exact: true }),
    };
    match app.out.format {
        Format::Json | Format::Yaml => drop(show_document(&app.out, &list, "contracts")?),
        Format::Table if !asked => {
            app.out.line(&document::indent(&document::compact(&list)?)?)?;
        }
        Format::Table
        | Format::Wide
        | Format::Csv
        | Format::Ndjson
        | Format::Name
        | Format::Junit
        | Format::Sarif => print_rows(app, learned)?,
    }
    Ok(())
}

/// Writes each that says something new, as the next version of the file that is there.
fn write_all(app: &App, dir: &Path, learned: &[Contract]) -> Result<(), Failure> {
    let failed = |path: &Path, e: &std::io::Error| {
        Failure::new("error.io", format!("{} cannot be written", path.display())).why(e.to_string())
    };
    std::fs::create_dir_all(dir).map_err(|e| failed(dir, &e))?;
    for contract in learned {
        let Some(schema) = contract.schema.as_ref().and_then(|s| Schema::parse(s).ok()) else {
            continue;
        };
        let path = dir.join(format!("{}.json", file_name(&contract.event_type)));
        let before = std::fs::read_to_string(&path).ok();
        let before = before.and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let known = before.as_ref().and_then(|document| Schema::parse(document).ok());
        let what = if known.as_ref() == Some(&schema) {
            "unchanged"
        } else {
            let version = before.as_ref().map_or(0, version_of) + 1;
            let document =
                file_document(&contract.provider, &contract.event_type, version, &schema);
            let text = serde_json::to_string_pretty(&document)
                .map_err(|e| Failure::error(e.to_string()))?;
            std::fs::write(&path, format!("{text}\n")).map_err(|e| failed(&path, &e))?;
            "written"
        };
        let events = u64::try_from(contract.events).unwrap_or(0);
        let line = format!(
            "{what}  {}  {}, {}",
            path.display(),
            time::things(contract.fields as u64, "field"),
            time::things(events, "event")
        );
        app.out.line(&relayflow_core::text::line(&line))?;
    }
    Ok(())
}

/// The number behind the `@` of a file's `$id`.
fn version_of(document: &Value) -> u32 {
    let id = document.get("$id").and_then(Value::as_str).unwrap_or_default();
    id.rsplit_once('@').and_then(|(_, version)| version.parse().ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contracts_file_says_what_it_is_first() {
        let mut observed = Observed::default();
        observed.add(&json!({"id": "a", "status": "paid", "name": "Jenny"}));
        let document = file_document("acme", "orders/paid", 3, &observed.to_schema());
        insta::assert_snapshot!(serde_json::to_string_pretty(&document).unwrap());
        assert_eq!(version_of(&document), 3);
    }
}
