//! `relayflow workflows explain`.

use std::fmt::Write as _;
use std::sync::Arc;

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{Explain, ExplainedWorkflow, Explanation};
use relayflow_core::{replay, text};
use unicode_width::UnicodeWidthStr as _;

use super::candidate;
use super::list::show_document;
use super::send::read_data;
use crate::app::App;
use crate::args::ExplainArgs;
use crate::context;
use crate::failure::{Done, Failure, chain};
use crate::output::{Out, lines};

pub(crate) async fn explain(app: &App, args: &ExplainArgs) -> Done {
    let candidate = args.config.as_deref().map(candidate::read).transpose()?;
    let (config, providers) = candidate.map(|c| (c.text, c.providers)).unzip();
    let data = args.data.as_deref().map(read_data).transpose()?;
    let data = data.map(String::from_utf8).transpose();
    let asked = Explain {
        event: args.event.clone(),
        provider: args.provider.clone(),
        source: args.source.clone(),
        event_type: args.event_type.clone(),
        data: data.map_err(|_| Failure::usage("--data is not text"))?,
        config,
        providers,
    };
    let told = ask(app, &asked).await?;
    if !show_document(&app.out, &told, told.event.as_deref().unwrap_or(&told.event_type))? {
        app.out.print(&shown(&told, &app.out))?;
    }
    let is_matched = told.workflows.iter().any(|w| w.result == "match");
    Ok(if args.fail_unmatched && !is_matched { Exit::Findings } else { Exit::Ok })
}

/// Asks the daemon. An event that nobody sent needs none: where it does not answer, the config in reach
/// is what is explained.
async fn ask(app: &App, asked: &Explain) -> Result<Explanation, Failure> {
    let backend = app.connect().await;
    let answer = match &backend {
        Ok(backend) => backend.explain(asked).await,
        Err(failure) => Err(failure.clone()),
    };
    match answer {
        Err(failure) if asked.event.is_none() && failure.exit() == Exit::Unreachable => {
            let in_force = context::in_force(&|name| app.env(name))?;
            app.out.notice(&format!("{}: explained with the config in reach", failure.message));
            replay::explain_made(Arc::new(in_force), asked).map_err(|error| replay_failure(&error))
        }
        answer => answer,
    }
}

/// A refusal of the core's as the API would tell it.
pub(crate) fn replay_failure(error: &replay::ReplayError) -> Failure {
    let text = chain(error);
    Failure::new(error.code().as_str(), text.strip_prefix("error: ").unwrap_or(&text))
}

fn shown(told: &Explanation, out_of: &Out) -> String {
    let line = |text: &str| text::line(text).into_owned();
    let value = |value: &Option<String>| value.as_deref().map_or_else(|| "–".to_owned(), line);
    let mut out = String::new();
    for field in &told.fields {
        let (was, is) = (value(&field.was), value(&field.is));
        let _ = writeln!(out, "field  {}  {was} → {is}", line(&field.field));
    }
    let name = |w: &ExplainedWorkflow| line(&w.workflow);
    let width = told.workflows.iter().map(|w| name(w).width()).max().unwrap_or(0).max(8);
    let pad = |text: &str, width: usize| {
        format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
    };
    let _ = writeln!(out, "{}  {}  BECAUSE", pad("WORKFLOW", width), pad("RESULT", 6));
    for workflow in &told.workflows {
        let result = pad(&line(&workflow.result), 6);
        let because = line(&workflow.because);
        let _ = writeln!(out, "{}  {result}  {because}", pad(&name(workflow), width));
        if let Some(caret) = caret(workflow) {
            let _ = writeln!(out, "{}          {caret}", " ".repeat(width));
        }
        for step in &workflow.steps {
            let request = step.request.as_deref().or(step.destination.as_deref());
            let mut parts = vec![line(&step.step), line(request.unwrap_or("–"))];
            if !step.needs.is_empty() {
                parts.push(format!("needs {}", line(&step.needs.join(", "))));
            }
            if step.content_type.as_deref() == Some("application/json") {
                parts.extend(step.body.as_deref().map(line));
            }
            parts.extend(step.error.as_deref().map(line));
            parts.push(step.task.as_deref().map_or_else(|| "no task".to_owned(), line));
            let row = format!("{}  {}", " ".repeat(width), parts.join("  "));
            out.push_str(&lines::hanging(&row, width + 4, out_of.width));
            for (name, value) in &step.headers {
                let row = format!("{}    {}: {}", " ".repeat(width), line(name), line(value));
                out.push_str(&lines::hanging(&row, width + 6, out_of.width));
            }
        }
    }
    for lost in &told.routes_lost {
        let _ = writeln!(out, "lost   {}: it has a task, and nothing asks for it", line(lost));
    }
    out
}

/// What stands under `because`, below what did not hold.
fn caret(workflow: &ExplainedWorkflow) -> Option<String> {
    let (from, to) = workflow.caret?;
    let part = |from: usize, to: usize| {
        let part: String =
            workflow.because.chars().skip(from).take(to.checked_sub(from)?).collect();
        Some(text::line(&part).width())
    };
    Some(format!("{}{}", " ".repeat(part(0, from)?), "^".repeat(part(from, to)?)))
}
