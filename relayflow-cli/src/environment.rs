//! Every environment variable that the program reads, but for those that a flag of its own names
//! (`relayflow help environment` joins both). A test holds the list against the code.

/// One variable.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
}

const fn variable(name: &'static str, about: &'static str) -> Variable {
    Variable { name, about }
}

pub(crate) const VARIABLES: &[Variable] = &[
    variable("RELAYFLOW_URL", "a daemon's operator API, with RELAYFLOW_TOKEN; beats contexts"),
    variable("RELAYFLOW_TOKEN", "the token for it, and for the daemon of the config in reach"),
    variable("RELAYFLOW_DB", "as --db"),
    variable("RELAYFLOW_CONTEXT", "as --context"),
    variable("RELAYFLOW_DAEMON_CONFIG", "the relayflow.toml in force, as --config of `up`"),
    variable(
        "RELAYFLOW_SECTION__KEY",
        "any setting of relayflow.toml, such as RELAYFLOW_STORE__URL; `config explain` names them",
    ),
    variable(
        "RELAYFLOW_LOG",
        "what the daemon logs, such as debug; of other commands, debug is -v and trace is -vv",
    ),
    variable("RELAYFLOW_PAGER", "the pager, before PAGER; empty for none"),
    variable("PAGER", "the pager; else `less -FRX`"),
    variable("RELAYFLOW_ASCII", "1: marks and trees without Unicode"),
    variable("RELAYFLOW_FORCE_TTY", "so many columns: output as for a terminal of that width"),
    variable("RELAYFLOW_COMPLETE", "set by completions, which ask the program itself"),
    variable("NO_COLOR", "no colour; --color beats it"),
    variable("CLICOLOR_FORCE", "1: colour although it is no terminal"),
    variable("TERM", "dumb: no colour, no pager"),
    variable("CI", "set: never ask"),
    variable("LC_ALL", "with LC_CTYPE and LANG: whether the terminal shows UTF-8"),
    variable("LC_CTYPE", "as LC_ALL"),
    variable("LANG", "as LC_ALL"),
    variable("VISUAL", "the editor of `dlq edit`, `send --edit` and the TUI, before EDITOR"),
    variable("EDITOR", "the editor"),
    variable("HOME", "where ~/.config and ~/.local/state are"),
    variable("XDG_CONFIG_HOME", "where the CLI's own relayflow/config.toml is; else ~/.config"),
    variable("XDG_STATE_HOME", "where it keeps relayflow/; else ~/.local/state"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    /// The names that stand in quotes where code reads a variable, in every file below `dir`.
    fn read_in(dir: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read_in(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                names(text.split("#[cfg(test)]").next().unwrap_or_default(), found);
            }
        }
    }

    fn names(code: &str, found: &mut BTreeSet<String>) {
        for reader in ["env(\"", "var(\"", "variable(\"", "var_os(\""] {
            for (at, _) in code.match_indices(reader) {
                let name = code[at + reader.len()..].split('"').next().unwrap_or_default();
                let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
                // What the scripts of completions set is theirs alone.
                if name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(is_name) {
                    found.insert(name.to_owned());
                }
            }
        }
    }

    #[test]
    fn every_variable_that_is_read_is_listed() {
        let mut read = BTreeSet::new();
        read_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut read);
        assert!(read.contains("RELAYFLOW_URL") && read.contains("NO_COLOR"), "{read:?}");
        let mut command = Cli::command();
        command.build();
        let flags: BTreeSet<_> = command
            .get_arguments()
            .filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned()))
            .collect();
        let listed: BTreeSet<_> = VARIABLES.iter().map(|v| v.name.to_owned()).collect();
        assert_eq!(listed.len(), VARIABLES.len(), "one stands there twice");
        let unknown: Vec<_> =
            read.iter().filter(|n| !listed.contains(*n) && !flags.contains(*n)).collect();
        assert!(unknown.is_empty(), "not in VARIABLES: {unknown:?}");
    }
}
