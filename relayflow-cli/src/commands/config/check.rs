//! `relayflow config check`.

use std::path::{Path, PathBuf};

use relayflow_core::api::codes::Exit;
use relayflow_core::config::{Config, Overrides};
use relayflow_core::diagnostic::Diagnostic;
use serde::Serialize;

use crate::app::App;
use crate::commands::list::show_document;
use crate::failure::{Done, Failure};
use crate::output::time;

/// What a check found, for programs.
#[derive(Debug, Serialize)]
struct Report {
    v: u32,
    kind: &'static str,
    items: Vec<Finding>,
}

/// One mistake, for programs.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    file: String,
    line: usize,
    column: usize,
    level: &'static str,
    message: String,
    fix: Option<String>,
}

pub(super) fn check(app: &App, files: &[PathBuf]) -> Done {
    let mut diagnostics = Vec::new();
    let mut good = Vec::new();
    let paths: Vec<Option<&Path>> = if files.is_empty() {
        vec![None]
    } else {
        files.iter().map(|f| Some(f.as_path())).collect()
    };
    for path in paths {
        match Config::load(path, &Overrides::default(), &|name| app.env(name)) {
            Ok((config, warnings)) => {
                good.push(summary(&config));
                diagnostics.extend(warnings);
            }
            Err(errors) => diagnostics.extend(errors),
        }
    }
    report(app, &diagnostics, &good)?;
    let is_bad = diagnostics.iter().any(|d| !d.is_warning);
    Ok(if is_bad { Exit::Findings } else { Exit::Ok })
}

fn summary(config: &Config) -> String {
    let file = config.path.as_ref().map_or("built-in defaults".into(), |p| p.display().to_string());
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    format!(
        "ok  {}  {}, {}",
        relayflow_core::text::line(&file),
        time::things(count(config.sources.len()), "source"),
        time::things(count(config.workflows.list.len()), "workflow"),
    )
}

fn report(app: &App, diagnostics: &[Diagnostic], good: &[String]) -> Result<(), Failure> {
    let document = Report {
        v: relayflow_core::api::V,
        kind: "config_check",
        items: diagnostics.iter().map(finding).collect(),
    };
    if show_document(&app.out, &document, "config")? {
        return Ok(());
    }
    let mut text = String::new();
    for diagnostic in diagnostics {
        text.push_str(&diagnostic.to_string());
        text.push_str("\n\n");
    }
    for line in good {
        text.push_str(line);
        text.push('\n');
    }
    app.out.print(&text)
}

pub(crate) fn finding(diagnostic: &Diagnostic) -> Finding {
    let (line, column) = diagnostic.position();
    Finding {
        file: diagnostic.file.clone(),
        line,
        column,
        level: if diagnostic.is_warning { "warning" } else { "error" },
        message: diagnostic.message.clone(),
        fix: diagnostic.fix.clone(),
    }
}
