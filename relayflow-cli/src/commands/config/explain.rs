//! `relayflow config explain`: what is in force, of the daemon's config and of the CLI's own.

use std::cell::RefCell;

use relayflow_core::api::{List, Total, V};
use relayflow_core::config::{Config, Explained, ExplainedFrom, env_name};
use relayflow_core::text::nearest;
use serde::Serialize;

use crate::app::App;
use crate::args::{ExplainConfigArgs, ListArgs};
use crate::commands::list::{Listed, list};
use crate::context::{self, Said};
use crate::failure::{Done, Failure};
use crate::output::table::{Column, Datum};

/// The section of the command line's own.
const CLI: &str = "cli";

/// A setting in force.
#[derive(Debug, Serialize)]
struct Setting {
    v: u32,
    object: &'static str,
    key: String,
    /// `null` where nothing says it and nothing stands in for it.
    value: Option<String>,
    /// `relayflow.toml:14`, `env NAME`, a flag, `default`, `default of …`, or `nothing`.
    from: String,
    file: Option<String>,
    line: Option<usize>,
    /// The variable that sets it, or that would.
    env: Option<String>,
    /// What would hold without that.
    over: Vec<String>,
}

impl Setting {
    fn of_daemon(explained: &Explained) -> Self {
        let (file, line) = match &explained.from {
            ExplainedFrom::File(file, line) => (Some(file.clone()), Some(*line)),
            ExplainedFrom::Env(_)
            | ExplainedFrom::Flag(_)
            | ExplainedFrom::As(_)
            | ExplainedFrom::Default => (None, None),
        };
        Self {
            v: V,
            object: "setting",
            key: explained.key.clone(),
            value: Some(explained.value.clone()),
            from: explained.from.to_string(),
            file,
            line,
            env: variable(&explained.key),
            over: Vec::new(),
        }
    }

    fn unset(key: &str) -> Self {
        Self {
            v: V,
            object: "setting",
            key: key.to_owned(),
            value: None,
            from: "nothing".to_owned(),
            file: None,
            line: None,
            env: variable(key),
            over: Vec::new(),
        }
    }

    fn of_cli(said: Said) -> Self {
        let line = said.from.rsplit_once(':').and_then(|(_, line)| line.parse().ok());
        let file = line.and_then(|_: usize| said.from.rsplit_once(':'));
        Self {
            v: V,
            object: "setting",
            key: format!("{CLI}.{}", said.key),
            value: said.value,
            file: file.map(|(file, _)| file.to_owned()),
            line,
            from: said.from,
            env: said.env.map(str::to_owned),
            over: said.over,
        }
    }

    /// What would set it, and what it won over.
    fn note(&self) -> String {
        let is_set = self.from.starts_with("env ") || self.file.is_some();
        let env = self.env.as_ref().filter(|_| !is_set && !self.from.starts_with('-'));
        let env = env.map(|name| format!("(env {name} not set)"));
        let over = match self.over.as_slice() {
            [] => String::new(),
            over => format!("(over {})", over.join(", ")),
        };
        let notes: Vec<_> = env.into_iter().chain([over]).filter(|note| !note.is_empty()).collect();
        notes.join(" ")
    }
}

/// The variable that overrides a setting; a name without a section is the CLI's own. An element of a
/// list is set with the whole list.
fn variable(key: &str) -> Option<String> {
    let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let list = key.rsplit_once('.').filter(|(_, last)| is_number(last));
    let key = list.map_or(key, |(list, _)| list);
    let is_one = key.contains('.') && !key.split('.').any(is_number);
    is_one.then(|| env_name(key))
}

impl Listed for Setting {
    const COLUMNS: &'static [Column<Self>] = &[
        column("key", "KEY", 0, |s| Datum::Id(s.key.clone())),
        column("value", "VALUE", 0, |s| Datum::text(&s.value)),
        column("from", "FROM", 0, |s| Datum::Text(s.from.clone())),
        // The first to go where there is no room: it is advice.
        column("note", "", 1, |s| Datum::Id(s.note())),
    ];

    fn name(&self) -> &str {
        &self.key
    }
}

const fn column(
    field: &'static str,
    name: &'static str,
    rank: u8,
    get: fn(&Setting) -> Datum,
) -> Column<Setting> {
    Column { field, name, rank, wide: false, get }
}

pub(super) async fn explain(app: &App, args: &ExplainConfigArgs) -> Done {
    let env = |name: &str| app.env(name);
    let is_cli = |key: &String| key == CLI || key.starts_with("cli.");
    let mut known = Vec::new();
    let mut unset = Vec::new();
    if args.keys.is_empty() || !args.keys.iter().all(is_cli) {
        let (config, warnings) = context::load_config(args.config.as_deref(), &env)?;
        for warning in warnings {
            app.out.detail(1, &warning.to_string());
        }
        known.extend(config.explained.iter().map(Setting::of_daemon));
        unset.extend(config.unset.iter().map(|key| Setting::unset(key)));
        tell_file(app, &config);
    }
    if args.keys.is_empty() || args.keys.iter().any(is_cli) {
        let said = context::explain(&app.global, &env, &app.dir)?;
        known.extend(said.into_iter().map(Setting::of_cli));
    }
    let items = if args.keys.is_empty() { known } else { chosen(known, unset, &args.keys)? };
    let value = u64::try_from(items.len()).unwrap_or(u64::MAX);
    let document = List {
        v: V,
        kind: "setting_list".to_owned(),
        items,
        next_cursor: None,
        searched_to: None,
        total: Some(Total { value, exact: true }),
    };
    let document = RefCell::new(Some(document));
    let once = async |_: &_| {
        let taken = document.borrow_mut().take();
        taken.ok_or_else(|| Failure::error("a list was asked for twice"))
    };
    list(app, &ListArgs::default(), None, once).await
}

/// Which file it is, on stderr.
fn tell_file(app: &App, config: &Config) {
    let file = config.path.as_ref().map(|path| path.display().to_string());
    let file = file.unwrap_or_else(|| "no relayflow.toml: built-in defaults".to_owned());
    app.out.detail(1, &file);
}

/// The settings that were asked for, in the order asked: each by its key, or by its section.
fn chosen(
    known: Vec<Setting>,
    unset: Vec<Setting>,
    keys: &[String],
) -> Result<Vec<Setting>, Failure> {
    let mut chosen = Vec::new();
    let mut left: Vec<Option<Setting>> = known.into_iter().chain(unset).map(Some).collect();
    let all: Vec<String> = left.iter().flatten().map(|setting| setting.key.clone()).collect();
    for asked in keys {
        let asked = asked.trim_end_matches('.');
        let section = format!("{asked}.");
        let is_meant = |key: &String| key == asked || key.starts_with(&section);
        if !all.iter().any(is_meant) {
            return Err(no_such(asked, &all));
        }
        for setting in &mut left {
            // One that a section gave already is not given again.
            chosen.extend(setting.take_if(|setting| is_meant(&setting.key)));
        }
    }
    Ok(chosen)
}

fn no_such(asked: &str, all: &[String]) -> Failure {
    let failure = Failure::new("not_found.setting", format!("there is no setting '{asked}'"));
    let sections = all.iter().filter_map(|key| key.rsplit_once('.')).map(|(section, _)| section);
    match nearest(asked, all.iter().map(String::as_str).chain(sections)) {
        Some(near) => failure.hint(format!("relayflow config explain {near}")),
        None => failure.hint("relayflow config explain"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(key: &str, from: &str) -> Setting {
        Setting { from: from.to_owned(), value: Some("1".to_owned()), ..Setting::unset(key) }
    }

    #[test]
    fn a_setting_is_asked_for_by_key_or_section_and_given_once() {
        let known = || vec![setting("retry.attempts", "default"), setting("retry.first", "x:1")];
        let unset = || vec![Setting::unset("ingest.public_url")];
        let keys = |asked: &[&str]| -> Result<Vec<String>, Failure> {
            let asked: Vec<String> = asked.iter().map(|key| (*key).to_owned()).collect();
            let chosen = chosen(known(), unset(), &asked)?;
            Ok(chosen.into_iter().map(|setting| setting.key).collect())
        };
        assert_eq!(keys(&["retry.first"]).unwrap(), ["retry.first"]);
        assert_eq!(
            keys(&["ingest", "retry.first", "retry"]).unwrap(),
            ["ingest.public_url", "retry.first", "retry.attempts"]
        );
        let wrong = keys(&["retry.atempts"]).unwrap_err();
        assert_eq!(wrong.exit().code(), 3);
        assert_eq!(wrong.hint.as_deref(), Some("relayflow config explain retry.attempts"));
        assert!(keys(&["ret"]).is_err(), "half a word is no section");
    }

    #[test]
    fn a_default_names_the_variable_that_would_set_it() {
        let note = |from: &str| setting("retry.attempts", from).note();
        assert_eq!(note("default"), "(env RELAYFLOW_RETRY__ATTEMPTS not set)");
        assert_eq!(note("env RELAYFLOW_RETRY__ATTEMPTS"), "");
        assert_eq!(note("--listen"), "");
        let in_file = Setting { file: Some("x".into()), ..setting("retry.first", "x:1") };
        assert_eq!(in_file.note(), "");
        assert_eq!(Setting::unset("context").note(), "", "the CLI's own has none");
        let over =
            Setting { over: vec!["x".into(), "y".into()], ..setting("context", "--context") };
        assert_eq!(over.note(), "(over x, y)");
    }

    #[test]
    fn a_list_is_set_as_a_whole() {
        assert_eq!(
            variable("sources.a.secrets.0").as_deref(),
            Some("RELAYFLOW_SOURCES__A__SECRETS")
        );
        assert_eq!(variable("workflows.w.steps.0.name"), None);
        assert_eq!(variable("context"), None);
    }
}
