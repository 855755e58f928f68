//! `relayflow contract`.

mod check;
mod files;
mod learn;
mod tree;

pub(crate) use check::Unit;
use relayflow_core::api::Contract;
use relayflow_core::api::codes::Exit;
use serde_json::Value;

use super::list::{list, show_document};
use crate::app::App;
use crate::args::{ContractCmd, ContractShow, ContractVerb, ListArgs};
use crate::failure::{Done, Failure};
use crate::output::document;

pub(crate) async fn contract(app: &App, noun: ContractCmd) -> Done {
    match noun.verb {
        None => ls(app, &noun.list).await,
        Some(ContractVerb::Ls(args)) => ls(app, &args).await,
        Some(ContractVerb::Show(args)) => show(app, &args).await,
        Some(ContractVerb::Check(args)) => check::check(app, &args).await,
        Some(ContractVerb::Learn(args)) => learn::learn(app, &args).await,
    }
}

async fn ls(app: &App, args: &ListArgs) -> Done {
    let backend = app.connect().await?;
    list(app, args, None, async |_| backend.contracts().await).await
}

async fn show(app: &App, args: &ContractShow) -> Done {
    let backend = app.connect().await?;
    let contract = backend.contract(&args.of, &args.event_type, args.version).await?;
    print(app, &contract)?;
    Ok(Exit::Ok)
}

/// The schema alone where no format is asked for, so that `> FILE` makes a contract's file of it;
/// with `-o table` its fields; else the document.
fn print(app: &App, contract: &Contract) -> Result<(), Failure> {
    let asked = app.global.output.is_some() || app.global.json;
    if !asked {
        return print_schema(app, contract.schema.as_ref().unwrap_or(&Value::Null));
    }
    if !show_document(&app.out, contract, &contract.event_type)? {
        app.out.print(&tree::describe(&app.out, contract)?)?;
    }
    Ok(())
}

fn print_schema(app: &App, schema: &Value) -> Result<(), Failure> {
    app.out.line(&document::indent(&document::compact(schema)?)?)
}
