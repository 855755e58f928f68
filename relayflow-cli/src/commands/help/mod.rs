//! `relayflow help`: a command's own help, or a topic. Each topic is made from the one definition of
//! what it tells.

mod topics;

use clap::CommandFactory as _;
use relayflow_core::api::V;
use relayflow_core::api::codes::Exit;
use relayflow_core::text::nearest;
use serde::Serialize;

use super::list::show_document;
use crate::app::App;
use crate::args::{Cli, HelpArgs, help_width};
use crate::failure::{Done, Failure};

pub(crate) use topics::Topic;

/// As wide as a topic is, wherever it goes.
const WIDTH: usize = 80;

#[derive(Debug, Serialize)]
struct Page {
    v: u32,
    object: &'static str,
    topic: String,
    text: String,
}

pub(crate) fn help(app: &App, args: &HelpArgs) -> Done {
    let width = help_width(app.out.width);
    let text = match args.words.as_slice() {
        [] => of_command(&[], width)?,
        [one] => match Topic::find(one) {
            Some(topic) => topic.text(),
            None => of_command(&args.words, width)?,
        },
        words => of_command(words, width)?,
    };
    let page = Page { v: V, object: "help", topic: args.words.join(" "), text };
    if !show_document(&app.out, &page, &page.topic)? {
        app.out.print(&page.text)?;
    }
    Ok(Exit::Ok)
}

/// The long help of a command, by its names or by their aliases.
fn of_command(words: &[String], width: usize) -> Result<String, Failure> {
    let mut root = Cli::command().term_width(width);
    root.build();
    let mut command = &mut root;
    for (place, word) in words.iter().enumerate() {
        let known: Vec<String> =
            command.get_subcommands().map(|known| known.get_name().to_owned()).collect();
        command = match command.find_subcommand_mut(word) {
            Some(found) => found,
            None => return Err(no_help(words, place, &known)),
        };
    }
    Ok(command.render_long_help().to_string())
}

fn no_help(words: &[String], place: usize, known: &[String]) -> Failure {
    let topics = if place == 0 { &Topic::ALL[..] } else { &[] };
    let topics = topics.iter().map(|topic| topic.name());
    let word = words.get(place).map_or("", String::as_str);
    let failure =
        Failure::new("usage.argument", format!("there is no help on '{}'", words.join(" ")));
    match nearest(word, known.iter().map(String::as_str).chain(topics)) {
        Some(near) => {
            let before = words.get(..place).unwrap_or_default();
            let all: Vec<_> = before.iter().map(String::as_str).chain([near]).collect();
            failure.hint(format!("relayflow help {}", all.join(" ")))
        }
        None => failure.hint("relayflow help"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_command_80(words: &[String]) -> Result<String, Failure> {
        of_command(words, WIDTH)
    }

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_commands_help_is_what_it_says_itself() {
        let asked = of_command_80(&words("dlq replay")).unwrap();
        assert!(asked.contains("Usage: relayflow dlq replay"), "{asked}");
        assert!(asked.starts_with("relayflow dlq replay "), "examples come first: {asked}");
        // An alias is as good.
        assert_eq!(
            of_command_80(&words("requests get")).unwrap(),
            of_command_80(&words("requests show")).unwrap()
        );
        let wrong = of_command_80(&words("dlq reply")).unwrap_err();
        assert_eq!(wrong.hint.as_deref(), Some("relayflow help dlq replay"));
        let wrong = of_command_80(&words("filter")).unwrap_err();
        assert_eq!(
            (wrong.exit().code(), wrong.hint.as_deref()),
            (2, Some("relayflow help filters"))
        );
    }
}
