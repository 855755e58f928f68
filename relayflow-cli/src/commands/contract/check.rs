//! `relayflow contract check`: files or stored events, held against what is expected of them.

use std::path::Path;

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{CheckContracts, ContractCheck, V};
use relayflow_core::contract::Schema;
use relayflow_core::provider::Contracts;
use relayflow_core::view::contracts::Tally;
use serde_json::Value;

use super::files::{self, Bodies};
use crate::app::App;
use crate::args::{CheckArgs, Format};
use crate::commands::findings::{self, Gate};
use crate::commands::list::{print_rows, show_document};
use crate::failure::{Done, Failure};
use crate::output::time;

/// What was checked, and what came of it.
pub(crate) struct Unit {
    /// The file; `None` for stored events.
    pub(crate) file: Option<String>,
    pub(crate) check: ContractCheck,
}

pub(crate) async fn check(app: &App, args: &CheckArgs) -> Done {
    let units = if files::are_files(&args.select.terms, &args.files) {
        of_files(app, args)?
    } else {
        vec![Unit { file: None, check: of_events(app, args).await? }]
    };
    let gate = Gate { fail_on: args.fail_on, requires_contract: args.require_contract };
    let whole = merged(&units);
    match app.out.format {
        Format::Junit => app.out.print(&findings::junit_of_check(&units, gate))?,
        Format::Sarif => app.out.print(&findings::sarif_of_check(&units, gate)?)?,
        Format::Json | Format::Yaml => drop(show_document(&app.out, &whole, "check")?),
        Format::Table | Format::Wide | Format::Csv | Format::Ndjson | Format::Name => {
            print_rows(app, &whole.violations)?;
        }
    }
    for missing in &whole.missing {
        app.out.notice(&format!(
            "no contract for {} {}: {} not checked, such as {}",
            missing.provider,
            missing.event_type,
            time::things(as_u64(missing.events), "event"),
            missing.at
        ));
    }
    app.out.notice(&summary(&whole));
    let fails = whole.violations.iter().any(|v| args.fail_on.is_met_by(&v.grade))
        || (args.require_contract && 0 < whole.without_contract);
    Ok(if fails { Exit::Findings } else { Exit::Ok })
}

fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn summary(check: &ContractCheck) -> String {
    if check.checked == 0 && check.without_contract == 0 {
        return "nothing matches: nothing was checked".to_owned();
    }
    format!(
        "{} checked, {} as expected; differences: {} breaking, {} additive; {} without a contract",
        time::things(as_u64(check.checked), "event"),
        time::count(as_u64(check.kept)),
        time::count(as_u64(check.breaking)),
        time::count(as_u64(check.additive)),
        time::count(as_u64(check.without_contract)),
    )
}

async fn of_events(app: &App, args: &CheckArgs) -> Result<ContractCheck, Failure> {
    if args.contract.is_some() {
        return Err(Failure::usage("--contract is for files")
            .why("stored events are held against the contracts in force"));
    }
    let q = app.select(&args.select, None)?.q;
    let what = CheckContracts { q, limit: args.limit };
    let check = app.connect().await?.check_contracts(&what).await?;
    let looked_at = check.checked + check.without_contract;
    if args.limit.unwrap_or(1_000).min(10_000) == looked_at {
        app.out.notice(&format!(
            "only the newest {} were looked at: -n",
            time::count(as_u64(looked_at))
        ));
    }
    Ok(check)
}

/// What files are held against.
enum Against {
    Shipped,
    One(Schema),
    Folder(Contracts),
}

fn of_files(app: &App, args: &CheckArgs) -> Result<Vec<Unit>, Failure> {
    if args.limit.is_some() {
        return Err(Failure::usage("-n is for stored events, not for files"));
    }
    let paths = files::find(&args.select.terms)?;
    let bodies = Bodies::new(app, &args.files, &args.select)?;
    let against = match &args.contract {
        None => Against::Shipped,
        Some(path) if path.is_dir() => Against::Folder(folder(path)?),
        Some(path) => Against::One(schema(path)?),
    };
    let provider = bodies.provider();
    let shipped = bodies.catalog.get(provider);
    let mut units = Vec::with_capacity(paths.len());
    let mut is_untyped = false;
    for path in paths {
        let at = path.display().to_string();
        let mut tally = Tally::default();
        for event in bodies.read(&path)? {
            match event {
                Err(error) => {
                    is_untyped |= error.is_untyped;
                    tally.unreadable(&at, provider, error.message);
                }
                Ok(event) => {
                    let contract = |all: &Contracts| all.get(&event.event_type).map(|c| c.schema);
                    let found;
                    let schema = match &against {
                        Against::One(schema) => Some(schema),
                        Against::Folder(all) => {
                            found = contract(all);
                            found.as_deref()
                        }
                        Against::Shipped => {
                            found = shipped.and_then(|p| contract(&p.contracts));
                            found.as_deref()
                        }
                    };
                    let of = (provider, event.event_type.as_str());
                    tally.add(&at, of, schema, Some(&event.payload));
                }
            }
        }
        units.push(Unit { file: Some(at), check: tally.done() });
    }
    if is_untyped {
        app.out.notice(files::UNTYPED);
    }
    Ok(units)
}

fn folder(path: &Path) -> Result<Contracts, Failure> {
    Contracts::of_dir(path).map_err(|wrong| {
        let shown: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        Failure::new("usage.contract", format!("{} is no folder of contracts", path.display()))
            .why(shown.join("\n"))
    })
}

/// A schema's file: the schema itself, or a document of `contract show -o json`.
fn schema(path: &Path) -> Result<Schema, Failure> {
    let bad = |why: String| {
        Failure::new("usage.contract", format!("{} is no contract", path.display())).why(why)
    };
    let bytes = std::fs::read(path).map_err(|e| bad(e.to_string()))?;
    let document: Value = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
    let is_shown = document.get("object").and_then(Value::as_str) == Some("contract");
    let schema = document.get("schema").filter(|_| is_shown).unwrap_or(&document);
    Schema::parse(schema).map_err(|e| bad(e.to_string()))
}

/// All of it as one.
fn merged(units: &[Unit]) -> ContractCheck {
    let mut whole = ContractCheck {
        v: V,
        object: "contract_check".to_owned(),
        checked: 0,
        without_contract: 0,
        missing: vec![],
        kept: 0,
        breaking: 0,
        additive: 0,
        violations: vec![],
    };
    for Unit { check, .. } in units {
        whole.checked += check.checked;
        whole.without_contract += check.without_contract;
        whole.kept += check.kept;
        whole.breaking += check.breaking;
        whole.additive += check.additive;
        whole.violations.extend(check.violations.iter().cloned());
        for missing in &check.missing {
            let known = whole.missing.iter_mut().find(|known| {
                known.provider == missing.provider && known.event_type == missing.event_type
            });
            match known {
                Some(known) => known.events += missing.events,
                None => whole.missing.push(missing.clone()),
            }
        }
    }
    whole
}
