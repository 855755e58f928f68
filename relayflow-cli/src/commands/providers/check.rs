//! `relayflow providers check`: what is wrong with definitions, and whether they do what their cases
//! say.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use relayflow_core::api::codes::Exit;
use relayflow_core::diagnostic::Diagnostic;
use relayflow_core::provider::cases::{self, Case};
use relayflow_core::provider::{Catalog, Provider};
use relayflow_core::text;
use serde::Serialize;

use super::in_reach;
use crate::app::App;
use crate::commands::config::{Finding, finding};
use crate::commands::list::show_document;
use crate::context;
use crate::failure::{Done, Failure};
use crate::output::style::Tone;
use crate::output::time;

/// What the check found, for programs.
#[derive(Debug, Serialize)]
struct Report {
    v: u32,
    kind: &'static str,
    items: Vec<Checked>,
    /// Mistakes, and verdicts that are not `ok`.
    problems: usize,
}

/// One definition.
#[derive(Debug, Serialize)]
struct Checked {
    provider: String,
    file: String,
    ok: bool,
    /// Scheme and number of types, where it could be read.
    summary: Option<String>,
    mistakes: Vec<Finding>,
    verdicts: Vec<Verdict>,
    #[serde(skip)]
    shown: Vec<Diagnostic>,
}

/// What became of a case or sample.
#[derive(Debug, Serialize)]
struct Verdict {
    /// `case` or `sample`.
    what: &'static str,
    name: String,
    about: Option<String>,
    ok: bool,
    /// What became of it instead.
    why: Option<String>,
}

pub(super) fn check(app: &App, what: &[String]) -> Done {
    let mut items = Vec::new();
    if what.is_empty() {
        let (config, _) = context::load_config(None, &|name| app.env(name))?;
        let dir = config.providers_dir.as_deref().ok_or_else(|| {
            Failure::usage("there is nothing to check: the config in reach names no providers.dir")
                .hint("relayflow providers check FILE")
        })?;
        items.extend(folder(dir)?);
    }
    for name in what {
        let path = Path::new(name);
        if path.is_dir() {
            items.extend(folder(path)?);
        } else if path.exists() || name.contains(['/', '\\']) || name.ends_with(".toml") {
            items.push(of_file(path));
        } else {
            items.push(of_name(app, name)?);
        }
    }
    let problems = items.iter().map(Checked::problems).sum();
    let report = Report { v: relayflow_core::api::V, kind: "provider_check", items, problems };
    if !show_document(&app.out, &report, "providers")? {
        app.out.print(&tell(app, &report))?;
    }
    Ok(if problems == 0 { Exit::Ok } else { Exit::Findings })
}

fn folder(dir: &Path) -> Result<Vec<Checked>, Failure> {
    let entries = std::fs::read_dir(dir).map_err(|e| {
        Failure::usage(format!("{} does not open", dir.display())).why(e.to_string())
    })?;
    let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let mut files: Vec<_> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    files.sort();
    if files.is_empty() {
        return Err(Failure::usage(format!("there is no *.toml in {}", dir.display())));
    }
    Ok(files.iter().map(|path| of_file(path)).collect())
}

fn of_name(app: &App, name: &str) -> Result<Checked, Failure> {
    let catalog = in_reach(app)?;
    let provider = catalog.get(name).ok_or_else(|| {
        let known: Vec<_> = catalog.iter().map(|p| &*p.name).collect();
        let failure = Failure::new("not_found.provider", format!("there is no provider '{name}'"));
        match text::nearest(name, known.iter().copied()) {
            Some(meant) => failure.hint(format!("relayflow providers check {meant}")),
            None => failure.hint("relayflow providers ls"),
        }
    })?;
    if provider.built_in {
        let cases = cases::built_in(&provider.name);
        let cases = cases
            .iter()
            .map(|(case, text)| (format!("<built-in>/{case}.toml"), Ok((*text).to_owned())));
        return Ok(run(&catalog, provider, "<built-in>".to_owned(), cases.collect()));
    }
    let (config, _) = context::load_config(None, &|name| app.env(name))?;
    let dir = config.providers_dir.unwrap_or_default();
    Ok(of_file(&dir.join(format!("{name}.toml"))))
}

fn of_file(path: &Path) -> Checked {
    let file = path.display().to_string();
    match Provider::load(path) {
        Ok(provider) => {
            let provider = Arc::new(provider);
            let catalog = Catalog::built_in().with(Arc::clone(&provider));
            run(&catalog, &provider, file, beside(path))
        }
        Err(mistakes) => {
            let name = path.file_stem().and_then(|n| n.to_str()).unwrap_or_default();
            Checked {
                provider: name.to_owned(),
                file,
                ok: false,
                summary: None,
                mistakes: mistakes.iter().map(finding).collect(),
                verdicts: Vec::new(),
                shown: mistakes,
            }
        }
    }
}

/// A case's file and its text, or why it has none.
type CaseText = (String, Result<String, String>);

/// The cases in `NAME/cases` beside a definition.
fn beside(path: &Path) -> Vec<CaseText> {
    let Ok(entries) = std::fs::read_dir(path.with_extension("").join("cases")) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).map_err(|e| format!("cannot be read: {e}"));
        (path.display().to_string(), text)
    };
    files.into_iter().map(read).collect()
}

/// Puts its samples and cases to a definition.
fn run(catalog: &Catalog, provider: &Provider, file: String, cases: Vec<CaseText>) -> Checked {
    let mut checked = Checked {
        provider: provider.name.to_string(),
        file,
        ok: true,
        summary: Some(summary(provider)),
        mistakes: Vec::new(),
        verdicts: Vec::new(),
        shown: Vec::new(),
    };
    for sample in provider.samples() {
        let became = cases::try_sample(catalog, provider, sample);
        checked.verdicts.push(verdict("sample", sample.event_type.clone(), None, became));
    }
    for (path, text) in cases {
        let name = Path::new(&path).file_stem().and_then(|n| n.to_str()).unwrap_or_default();
        let name = name.to_owned();
        match text.map(|text| Case::parse(&path, &text)) {
            Ok(Ok(case)) => {
                let became = case.run(catalog, provider);
                checked.verdicts.push(verdict("case", name, Some(case.about), became));
            }
            Ok(Err(mistake)) => {
                checked.mistakes.push(finding(&mistake));
                checked.shown.push(mistake);
            }
            Err(why) => checked.verdicts.push(verdict("case", name, None, Err(why))),
        }
    }
    checked.ok = checked.problems() == 0;
    checked
}

fn summary(provider: &Provider) -> String {
    let types = u64::try_from(provider.types().len()).unwrap_or(u64::MAX);
    format!("{}, {}, {}", provider.scheme(), time::things(types, "type"), provider.status.name())
}

fn verdict(
    what: &'static str,
    name: String,
    about: Option<String>,
    became: Result<(), String>,
) -> Verdict {
    Verdict { what, name, about, ok: became.is_ok(), why: became.err() }
}

impl Checked {
    fn problems(&self) -> usize {
        self.mistakes.len() + self.verdicts.iter().filter(|v| !v.ok).count()
    }
}

fn tell(app: &App, report: &Report) -> String {
    let style = app.out.style;
    let word = |ok: bool| {
        if ok { style.paint("ok  ", Tone::Good) } else { style.paint("FAIL", Tone::Bad) }
    };
    let mut out = String::new();
    for item in &report.items {
        let place = match item.file.as_str() {
            "<built-in>" => format!("{} (built in)", item.provider),
            file => file.to_owned(),
        };
        let summary = item.summary.as_deref().unwrap_or("does not load");
        let _ = writeln!(out, "{}  {}", word(item.ok), text::line(&format!("{place}  {summary}")));
        for mistake in &item.shown {
            let _ = writeln!(out, "{mistake}\n");
        }
        for verdict in &item.verdicts {
            let about = verdict.about.as_ref().map(|a| format!("  {a}")).unwrap_or_default();
            let line = format!("{:6}  {}{about}", verdict.what, verdict.name);
            let _ = writeln!(out, "  {}  {}", word(verdict.ok), text::line(&line));
            if let Some(why) = &verdict.why {
                let _ = writeln!(out, "        {}", text::line(why));
            }
        }
        if item.mistakes.is_empty() && !item.verdicts.iter().any(|v| v.what == "case") {
            let _ = writeln!(
                out,
                "        it has no cases: they stand in {}/cases/*.toml",
                item.provider
            );
        }
    }
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let verdicts = report.items.iter().map(|item| item.verdicts.len()).sum();
    let _ = writeln!(
        out,
        "{}, {}: {}",
        time::things(count(report.items.len()), "definition"),
        time::things(count(verdicts), "verdict"),
        match report.problems {
            0 => "all is well".to_owned(),
            problems => time::things(count(problems), "problem"),
        }
    );
    out
}
