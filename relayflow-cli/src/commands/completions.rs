//! `relayflow completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;
use relayflow_core::api::codes::Exit;

use crate::app::App;
use crate::args::Cli;
use crate::failure::Done;

pub(crate) fn completions(app: &App, shell: Shell) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "relayflow", &mut script);
    app.out.print_bytes(&script)?;
    Ok(Exit::Ok)
}
