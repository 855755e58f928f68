//! The line that is completed, as far as it says whom to ask.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser as _;
use relayflow_core::filter::field_names;

use crate::args::{Cli, Global};

/// Its words, the program's name first, and which of them is completed.
pub(super) struct Line {
    words: Vec<String>,
    at: Option<usize>,
}

impl Line {
    /// As this process was given it.
    pub(super) fn now() -> Self {
        let at = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|at| at.parse().ok());
        Self::of(std::env::args_os().collect(), at)
    }

    fn of(args: Vec<OsString>, at: Option<usize>) -> Self {
        let words = args.into_iter().skip_while(|word| word != "--").skip(1);
        Self { words: words.map(|word| word.to_string_lossy().into_owned()).collect(), at }
    }

    /// The flags that say which RelayFlow is meant.
    pub(super) fn global(&self) -> Option<Global> {
        let mut global = Cli::try_parse_from(["relayflow", "version"]).ok()?.global;
        global.context = self.value(&["-c", "--context"]);
        global.db = self.value(&["--db"]);
        if let Some(path) = self.value(&["--user-config"]) {
            global.user_config = Some(PathBuf::from(path));
        }
        Some(global)
    }

    /// What follows a flag, or stands in the same word.
    fn value(&self, names: &[&str]) -> Option<String> {
        let is_done = |place: usize| self.at != Some(place);
        let mut words = self.words.iter().enumerate().skip(1);
        while let Some((_, word)) = words.next() {
            for name in names {
                if word == name {
                    let (place, value) = words.next()?;
                    return Some(value.clone()).filter(|_| is_done(place));
                }
                let rest = word.strip_prefix(name);
                let is_long = name.starts_with("--");
                let inside = if is_long { rest.and_then(|r| r.strip_prefix('=')) } else { rest };
                if let Some(value) = inside.filter(|value| !value.is_empty()) {
                    return Some(value.trim_start_matches('=').to_owned());
                }
            }
        }
        None
    }

    /// The field before the word that is completed, where the shell broke `field:value` into words.
    pub(super) fn field_before(&self) -> Option<String> {
        let at = self.at?;
        let before = |n: usize| self.words.get(at.checked_sub(n)?);
        let field = match before(1)?.as_str() {
            ":" => before(2)?,
            _ if self.words.get(at).is_some_and(String::is_empty) => before(1)?,
            _ => return None,
        };
        field_names().find(|known| known == field).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, at: Option<usize>) -> Line {
        let words = ["relayflow", "--"].into_iter().chain(text.split(' '));
        Line::of(words.map(OsString::from).collect(), at)
    }

    #[test]
    fn the_flags_before_the_cursor_say_whom_to_ask() {
        let context = |text: &str, at| line(text, at).global().unwrap().context;
        assert_eq!(context("relayflow -c prod events show ", None).as_deref(), Some("prod"));
        assert_eq!(
            context("relayflow events show x --context=prod", None).as_deref(),
            Some("prod")
        );
        assert_eq!(context("relayflow -cprod stats", None).as_deref(), Some("prod"));
        assert_eq!(context("relayflow events ls", None), None);
        // The one that is being written is not there yet.
        assert_eq!(context("relayflow -c pr", Some(2)), None);
        let db = line("relayflow --db sqlite:x.db trace ", None).global().unwrap().db;
        assert_eq!(db.as_deref(), Some("sqlite:x.db"));
    }

    #[test]
    fn a_word_that_the_shell_broke_at_its_colon_has_its_field_before_it() {
        let field = |text: &str, at| line(text, Some(at)).field_before();
        assert_eq!(field("relayflow events ls source : str", 5).as_deref(), Some("source"));
        assert_eq!(field("relayflow events ls source ", 4).as_deref(), Some("source"));
        assert_eq!(field("relayflow events ls not ", 4), None);
        assert_eq!(field("relayflow events ls str", 3), None);
    }
}
