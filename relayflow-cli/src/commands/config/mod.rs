//! `relayflow config`: whether it is right, and what is in force.

mod check;
mod explain;

use crate::app::App;
use crate::args::ConfigVerb;
use crate::failure::Done;

pub(crate) use check::{Finding, finding};

pub(crate) async fn config(app: &App, verb: &ConfigVerb) -> Done {
    match verb {
        ConfigVerb::Check { files } => check::check(app, files),
        ConfigVerb::Explain(args) => explain::explain(app, args).await,
    }
}
