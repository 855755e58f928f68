//! `relayflow context`: which RelayFlow to talk to.

mod probe;

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{List, Total, V};
use serde::Serialize;

use super::events::pairs;
use super::list::{Listed, list, show_document};
use crate::app::App;
use crate::args::{AddArgs, ContextCmd, ContextVerb, ListArgs};
use crate::context::{
    Chosen, Context, Editor, TokenFrom, UserConfig, choose, of_context, previous, set_previous,
    unknown,
};
use crate::failure::{Done, Failure};
use crate::output::table::{Column, Datum};

/// A context, and whether it answers.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    v: u32,
    object: &'static str,
    name: String,
    /// Whether it is in force here.
    current: bool,
    label: Option<String>,
    endpoint: Option<String>,
    db: Option<String>,
    /// `ok`, `no token`, `refused`, `unreachable`, or `wrong` where it cannot be used as written.
    state: &'static str,
    /// How long its answer took.
    took_ms: Option<u64>,
    role: Option<String>,
    version: Option<String>,
    protected: bool,
    accent: Option<String>,
    max_bulk: Option<u64>,
    /// Why it is not `ok`.
    detail: Option<String>,
}

impl Row {
    fn place(&self) -> String {
        self.endpoint.clone().or_else(|| self.db.clone()).unwrap_or_default()
    }

    fn state(&self) -> String {
        match (self.state, self.took_ms) {
            ("ok", Some(ms)) => format!("ok {ms}ms"),
            (state, _) => state.to_owned(),
        }
    }
}

fn text(text: &str) -> Datum {
    Datum::Text(text.to_owned())
}

fn maybe(value: &Option<String>) -> Datum {
    text(value.as_deref().unwrap_or_default())
}

impl Listed for Row {
    const COLUMNS: &'static [Column<Self>] = &[
        column("current", "", 0, |r| text(if r.current { "*" } else { "" })),
        column("name", "NAME", 0, |r| Datum::Id(r.name.clone())),
        column("label", "LABEL", 2, |r| maybe(&r.label)),
        column("endpoint", "ENDPOINT", 3, |r| text(&r.place())),
        column("state", "STATE", 0, |r| Datum::Id(r.state())),
        column("role", "ROLE", 4, |r| maybe(&r.role)),
        column("version", "VERSION", 5, |r| maybe(&r.version)),
        column("protected", "", 1, |r| text(if r.protected { "protected" } else { "" })),
    ];

    fn name(&self) -> &str {
        &self.name
    }
}

const fn column(
    field: &'static str,
    name: &'static str,
    rank: u8,
    get: fn(&Row) -> Datum,
) -> Column<Row> {
    Column { field, name, rank, wide: false, get }
}

pub(crate) async fn context(app: &App, cmd: ContextCmd) -> Done {
    match cmd.verb {
        None => ls(app, &cmd.list).await,
        Some(ContextVerb::Ls(args)) => ls(app, &args).await,
        Some(ContextVerb::Show { name }) => show(app, name).await,
        Some(ContextVerb::Use { name }) => use_context(app, &name),
        Some(ContextVerb::Add(args)) => add(app, &args),
        Some(ContextVerb::Rm { name }) => remove(app, &name),
    }
}

fn user(app: &App) -> Result<UserConfig, Failure> {
    UserConfig::read(&app.global, &|name| app.env(name))
}

async fn ls(app: &App, args: &ListArgs) -> Done {
    let user = user(app)?;
    let choice = choose(&app.global, &|name| app.env(name), &app.dir, &user);
    let current = match &choice.won {
        Chosen::Context(name) => Some(name.clone()),
        Chosen::Store(_) | Chosen::Url(_) | Chosen::InReach => None,
    };
    if current.is_none() && app.out.is_for_people() {
        let what = match &choice.won {
            Chosen::Store(place) | Chosen::Url(place) => place.clone(),
            Chosen::InReach | Chosen::Context(_) => "the daemon of the config in reach".to_owned(),
        };
        app.out.notice(&format!("in force is none of these, but {what}  ({})", choice.from));
    }
    let fetch = async |_: &_| {
        let items = probe::all(app, &user, current.as_deref()).await;
        let value = u64::try_from(items.len()).unwrap_or(u64::MAX);
        Ok(List {
            v: V,
            kind: "context_list".to_owned(),
            items,
            next_cursor: None,
            searched_to: None,
            total: Some(Total { value, exact: true }),
        })
    };
    list(app, args, None, fetch).await
}

async fn show(app: &App, name: Option<String>) -> Done {
    let user = user(app)?;
    let choice = choose(&app.global, &|name| app.env(name), &app.dir, &user);
    let is_current = match (&name, &choice.won) {
        (Some(name), Chosen::Context(current)) => name == current,
        (Some(_), _) => false,
        (None, _) => true,
    };
    let env = |name: &str| app.env(name);
    let target = match &name {
        Some(name) => of_context(name, &user, &env, TokenFrom::Still),
        None => crate::context::resolve_with(&app.global, &env, &app.dir, TokenFrom::Still),
    };
    let row = probe::one(app, &user, target?, is_current).await;
    if show_document(&app.out, &row, &row.name)? {
        return Ok(Exit::Ok);
    }
    let from = if is_current {
        let over = choice.over.iter().map(|over| format!(", over {over}"));
        format!("{}{}", choice.from, over.collect::<String>())
    } else {
        user.place(&["contexts", &row.name])
    };
    let mut lines = vec![("context", row.name.clone())];
    let mut put = |name: &'static str, value: Option<String>| {
        lines.extend(value.map(|value| (name, value)));
    };
    put("from", Some(from));
    put("endpoint", row.endpoint.clone());
    put("store", row.db.clone());
    put("state", Some(row.state()));
    put("why", row.detail.clone());
    put("role", row.role.clone());
    put("version", row.version.clone());
    put("label", row.label.clone());
    put("protected", row.protected.then(|| "yes".to_owned()));
    put("max bulk", row.max_bulk.map(crate::output::time::count));
    let mut text = String::new();
    pairs(&mut text, &lines);
    app.out.print(&text)?;
    Ok(Exit::Ok)
}

fn use_context(app: &App, name: &str) -> Done {
    let env = |name: &str| app.env(name);
    let user = UserConfig::to_edit(&app.global, &env)?;
    let name = if name == "-" {
        previous(&env).ok_or_else(|| {
            Failure::new("not_found.context", "there is no context before this one")
                .hint("relayflow context use NAME")
        })?
    } else {
        name.to_owned()
    };
    if !user.contexts.contains_key(&name) {
        return Err(unknown(&name, &user));
    }
    if user.default_context.as_ref() != Some(&name) {
        let mut editor = Editor::new(&user)?;
        editor.set_default(&name);
        editor.write()?;
        if let Some(before) = &user.default_context {
            set_previous(&env, before)?;
        }
    }
    app.out.notice(&format!("default context {name}  ({})", user.shown_path()));
    let after = self::user(app)?;
    let choice = choose(&app.global, &env, &app.dir, &after);
    if choice.won != Chosen::Context(name) {
        app.out.notice(&format!("but here {} has the say", choice.from));
    }
    Ok(Exit::Ok)
}

fn add(app: &App, args: &AddArgs) -> Done {
    let env = |name: &str| app.env(name);
    let user = UserConfig::to_edit(&app.global, &env)?;
    let context = as_written(app, args)?;
    check_name(&args.name)?;
    if user.contexts.contains_key(&args.name) {
        let place = user.place(&["contexts", &args.name]);
        return Err(Failure::new("refused.context", format!("there is a context '{}'", args.name))
            .why(format!("{place}; nothing was changed"))
            .hint(format!("relayflow context rm {}", args.name)));
    }
    let mut editor = Editor::new(&user)?;
    editor.add(&args.name, &context)?;
    editor.write()?;
    app.out.notice(&format!("added {}  ({})", args.name, user.shown_path()));
    // What will be wrong with it at its first use is better known now.
    let after = self::user(app)?;
    if let Err(failure) = of_context(&args.name, &after, &env, TokenFrom::Still) {
        app.out.notice(&format!("note: {}", failure.message));
    }
    if after.default_context.is_none() {
        app.out.notice(&format!("make it the default: relayflow context use {}", args.name));
    }
    Ok(Exit::Ok)
}

fn as_written(app: &App, args: &AddArgs) -> Result<Context, Failure> {
    let db = app.global.db.clone();
    match (&args.endpoint, &db) {
        (Some(endpoint), None) => {
            let is_url = url::Url::parse(endpoint)
                .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            if !is_url {
                return Err(Failure::usage(format!("`{endpoint}` is not the URL of an API"))
                    .hint("--endpoint https://relayflow.example.com"));
            }
        }
        (None, Some(_)) => {}
        (None, None) | (Some(_), Some(_)) => {
            return Err(Failure::usage("a context has an --endpoint or a --db, and not both"));
        }
    }
    let has_token =
        args.token_cmd.is_some() || args.token_env.is_some() || args.token_file.is_some();
    if has_token && args.endpoint.is_none() {
        return Err(Failure::usage("a store that is read directly takes no token"));
    }
    let token_cmd = args.token_cmd.as_deref().map(|command| {
        let words = shlex::split(command).filter(|words| !words.is_empty());
        words.ok_or_else(|| Failure::usage("--token-cmd: no command, or a quote is open"))
    });
    Ok(Context {
        endpoint: args.endpoint.clone(),
        db,
        token_env: args.token_env.clone(),
        token_file: args.token_file.clone(),
        token_cmd: token_cmd.transpose()?,
        protected: args.protected,
        label: args.label.clone(),
        accent: args.accent.clone(),
        max_bulk: args.max_bulk,
    })
}

fn check_name(name: &str) -> Result<(), Failure> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_name = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric())
        && name.chars().all(fits)
        && name.len() <= 64;
    if is_name {
        return Ok(());
    }
    Err(Failure::usage(format!("`{name}` cannot be a name"))
        .why("up to 64 of letters, digits, `.`, `-` and `_`, a letter or digit first"))
}

fn remove(app: &App, name: &str) -> Done {
    let user = UserConfig::to_edit(&app.global, &|name| app.env(name))?;
    if !user.contexts.contains_key(name) {
        return Err(unknown(name, &user));
    }
    let mut editor = Editor::new(&user)?;
    editor.remove(name)?;
    let was_default = user.default_context.as_deref() == Some(name);
    if was_default {
        editor.remove_default();
    }
    editor.write()?;
    app.out.notice(&format!("removed {name}  ({})", user.shown_path()));
    if was_default {
        app.out.notice("there is no default context now: relayflow context use NAME");
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_in_flags_and_files() {
        for good in ["prod", "eu-1.prod", "a_b", "0"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-", "-x", "a b", "a/b", "é", "a\u{1b}[2J", &"x".repeat(65)] {
            assert_eq!(check_name(bad).unwrap_err().exit().code(), 2, "{bad}");
        }
    }
}
