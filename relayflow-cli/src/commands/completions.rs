//! `relayflow completions`: a script that has the shell ask this program.

use clap_complete::Shell;
use clap_complete::env::Shells;
use relayflow_core::api::codes::Exit;

use crate::app::App;
use crate::complete::VARIABLE;
use crate::failure::{Done, Failure};

const PROGRAM: &str = "relayflow";

pub(crate) fn completions(app: &App, shell: Shell) -> Done {
    app.out.print_bytes(&script(&shell.to_string())?)?;
    Ok(Exit::Ok)
}

fn script(shell: &str) -> Result<Vec<u8>, Failure> {
    let shells = Shells::builtins();
    let known = shells.completer(shell);
    let known = known.ok_or_else(|| Failure::usage(format!("{shell} has no completions here")))?;
    let mut script = Vec::new();
    known.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    Ok(script)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shell_has_a_script_that_asks_the_program() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(&shell.to_string()).unwrap()).unwrap();
            assert!(script.contains(VARIABLE) && script.contains(PROGRAM), "{shell}: {script}");
        }
    }
}
