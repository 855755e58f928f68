//! Every `-h` and `--help`, at 80 columns.

use clap::{Command, CommandFactory as _};

use crate::args::Cli;

const WIDTH: usize = 80;

fn tree() -> Command {
    let mut command = Cli::command().term_width(WIDTH);
    command.build();
    command
}

/// The command and all below it, each by its path, hidden ones too.
pub(super) fn walk(command: &mut Command, path: &str, each: &mut impl FnMut(&str, &mut Command)) {
    each(path, command);
    for below in command.get_subcommands_mut() {
        let path = format!("{path} {}", below.get_name());
        walk(below, &path, each);
    }
}

/// Both helps, without spaces at the ends of lines.
fn helps(path: &str, command: &mut Command) -> String {
    let lines = |text: String| {
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
    };
    let short = lines(command.render_help().to_string());
    let long = lines(command.render_long_help().to_string());
    format!("$ {path} -h\n{short}\n\n$ {path} --help\n{long}\n")
}

/// One file a noun: the helps of it and of its verbs.
#[test]
fn every_help_is_as_it_was() {
    let mut tree = tree();
    let mut root = tree.clone();
    insta::assert_snapshot!("help_relayflow", helps("relayflow", &mut root));
    for noun in tree.get_subcommands_mut() {
        let path = format!("relayflow {}", noun.get_name());
        let name = format!("help_{}", noun.get_name());
        let mut text = String::new();
        walk(noun, &path, &mut |path, command| {
            text.push_str(&helps(path, command));
            text.push('\n');
        });
        insta::assert_snapshot!(name, text);
    }
}

#[test]
fn nothing_is_wider_than_80_columns() {
    walk(&mut tree(), "relayflow", &mut |path, command| {
        for line in helps(path, command).lines() {
            assert!(line.chars().count() <= WIDTH, "{path}: {line}");
        }
    });
}

/// What one can type comes first, and is about this very command.
#[test]
fn every_long_help_begins_with_examples() {
    let mut missing = Vec::new();
    walk(&mut tree(), "relayflow", &mut |path, command| {
        let examples = command.get_before_long_help().map(|text| text.to_string());
        let is_about = |text: &String| {
            path.starts_with("relayflow daemon") || text.lines().any(|line| line.contains(path))
        };
        if !command.is_hide_set() && !examples.as_ref().is_some_and(is_about) {
            missing.push(path.to_owned());
        }
    });
    missing.retain(|path| !path.starts_with("relayflow daemon"));
    assert!(missing.is_empty(), "no `before_long_help` with an example of: {missing:#?}");
}

/// Every example is a line that parses.
#[test]
fn every_example_parses() {
    let mut wrong = Vec::new();
    walk(&mut tree(), "relayflow", &mut |path, command| {
        let text = command.get_before_long_help().map(|text| text.to_string());
        let text = text.unwrap_or_default().replace("\\\n", " ");
        for line in text.lines() {
            for part in line.split([';', '|']).flat_map(|part| part.split("&&")) {
                let part = part.split('#').next().unwrap_or_default().trim();
                let part = part
                    .strip_prefix("source <(")
                    .and_then(|p| p.strip_suffix(')'))
                    .unwrap_or(part);
                let Some(words) = shlex::split(part) else { continue };
                if words.first().map(String::as_str) != Some("relayflow") {
                    continue;
                }
                let words = words.into_iter().take_while(|word| word != ">");
                if let Err(error) = Cli::command().try_get_matches_from(words) {
                    wrong.push(format!(
                        "{path}: {part}: {}",
                        error.to_string().lines().next().unwrap()
                    ));
                }
            }
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}
