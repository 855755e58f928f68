//! `relayflow providers`: the definitions, built in and a person's own.

mod check;

use std::fmt::Write as _;

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{List, Provider};
use relayflow_core::provider::Catalog;
use relayflow_core::provider::describe::{Description, Mapping, Setting};
use relayflow_core::text;

use super::events::pairs;
use super::list::{list, show_document};
use super::nouns;
use crate::app::App;
use crate::args::{ListArgs, ProvidersCmd, ProvidersVerb};
use crate::context;
use crate::failure::{Done, Failure};
use crate::vendor;

pub(crate) async fn providers(app: &App, cmd: ProvidersCmd) -> Done {
    match cmd.verb {
        None => ls(app, cmd.list).await,
        Some(ProvidersVerb::Ls(args)) => ls(app, args).await,
        Some(ProvidersVerb::Show { name }) => show(app, &name).await,
        Some(ProvidersVerb::Check { what }) => check::check(app, &what),
    }
}

/// The built-in definitions, and those of the folder that the config in reach names.
fn in_reach(app: &App) -> Result<Catalog, Failure> {
    let (config, _) = context::load_config(None, &|name| app.env(name))?;
    vendor::catalog(config.providers_dir.as_deref())
}

/// The daemon's, or `None` where none answers.
async fn of_daemon(app: &App) -> Result<Option<List<Provider>>, Failure> {
    let list = match app.connect().await {
        Ok(backend) => backend.providers().await,
        Err(failure) => Err(failure),
    };
    match list {
        Ok(list) => Ok(Some(list)),
        Err(failure) if failure.exit() == Exit::Unreachable => Ok(None),
        Err(failure) => Err(failure),
    }
}

async fn ls(app: &App, args: ListArgs) -> Done {
    let all = match of_daemon(app).await? {
        Some(list) => list,
        None => {
            app.out.notice("no daemon answers: these are the definitions in reach");
            local(&in_reach(app)?)
        }
    };
    list(app, &args, None, async |_| Ok(all.clone())).await
}

fn local(catalog: &Catalog) -> List<Provider> {
    let items = catalog.iter().map(|provider| provider.document()).collect();
    relayflow_core::view::setup::whole("provider_list", items)
}

/// From the definition in reach; of one that only the daemon has, what the daemon tells.
async fn show(app: &App, name: &str) -> Done {
    let catalog = in_reach(app)?;
    let Some(provider) = catalog.get(name) else {
        let list = of_daemon(app).await?.unwrap_or_else(|| local(&catalog));
        let known = nouns::find(list, name)?;
        return nouns::show(app, &known, |out| short(out, &known));
    };
    let told = provider.describe();
    if !show_document(&app.out, &told, name)? {
        app.out.print(&describe(&told))?;
    }
    Ok(Exit::Ok)
}

fn short(out: &mut String, known: &Provider) {
    pairs(
        out,
        &[
            ("provider", known.name.clone()),
            ("title", known.title.clone()),
            ("category", known.category.clone()),
            ("status", nouns::in_words(&known.status)),
            ("scheme", known.scheme.clone()),
            ("contract", known.contract.clone()),
            ("answer within", known.reply_within.clone()),
        ],
    );
    for known in &known.types {
        let kind = known.kind.as_deref().unwrap_or("–");
        let _ = writeln!(out, "{}", text::line(&format!("  {}  {kind}", known.event_type)));
    }
}

fn describe(told: &Description) -> String {
    let mut out = String::new();
    let from = if told.built_in { "built in" } else { "own" };
    pairs(
        &mut out,
        &[
            ("provider", format!("{}  ({from}, {})", told.name, told.contract)),
            ("title", told.title.clone()),
            ("category", told.category.clone()),
            ("status", nouns::in_words(&told.status)),
            ("from", format!("{}, checked {}", told.source, told.checked)),
            ("secret", told.secret.clone()),
            ("answer", told.reply.clone()),
            ("answer within", told.reply_within.clone()),
            ("body", body(told)),
            ("contracts", contracts(told)),
        ],
    );
    part(&mut out, "signed by, the preferred way first", &told.schemes);
    part(&mut out, "signed by, where a setting says so", &told.schemes_by_setting);
    let settings: Vec<_> = told.settings.iter().map(setting).collect();
    part(&mut out, "settings of a source", &settings);
    part(&mut out, "batch", &told.batch);
    part(&mut out, "handshakes", &told.handshakes);
    let place = |name: &str, from: &[String]| match from {
        [] => None,
        from => Some(format!("{name:7}  {}", from.join("  else  "))),
    };
    let places = [
        place("id", &told.id),
        place("type", &told.event_type),
        place("subject", &told.subject),
        place("time", &told.time),
    ];
    let places: Vec<_> = places.into_iter().flatten().collect();
    part(&mut out, "an event's", &places);
    let kinds: Vec<_> = told.kinds.iter().flat_map(mapping).collect();
    part(&mut out, "types → kind, with attributes", &kinds);
    part(&mut out, "payloads for `send`", &told.samples);
    out
}

fn contracts(told: &Description) -> String {
    match told.contracts.len() {
        0 => "none".to_owned(),
        1 => "of one type".to_owned(),
        several => format!("of {several} types"),
    }
}

fn body(told: &Description) -> String {
    let formats = told.bodies.join(", ");
    match told.body_bytes_max {
        Some(bytes) => format!("{formats}; at most {bytes} bytes"),
        None => formats,
    }
}

fn part(out: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}");
    for line in lines {
        let _ = writeln!(out, "  {}", text::line(line));
    }
}

fn setting(setting: &Setting) -> String {
    let value = match (&setting.default, &setting.example) {
        (Some(default), _) if default.is_empty() => "may be left out".to_owned(),
        (Some(default), _) => format!("default `{default}`"),
        (None, Some(example)) => format!("must be set, such as `{example}`"),
        (None, None) => "must be set".to_owned(),
    };
    format!("{}: {} ({value})", setting.name, setting.about)
}

fn mapping(mapping: &Mapping) -> Vec<String> {
    let when = mapping.when.as_ref().map(|when| format!("  if {when}")).unwrap_or_default();
    let mut lines = vec![format!("{}  → {}{when}", mapping.types.join(" "), mapping.kind)];
    let attributes = mapping.attributes.iter();
    lines.extend(attributes.map(|a| format!("    {}  {}", a.name, a.from.join("  else  "))));
    lines
}
