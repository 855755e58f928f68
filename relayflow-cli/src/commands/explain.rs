//! `relayflow workflows explain`.

use std::fmt::Write as _;

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{Explain, ExplainedWorkflow, Explanation};
use relayflow_core::text;
use unicode_width::UnicodeWidthStr as _;

use super::candidate;
use super::list::show_document;
use crate::app::App;
use crate::args::ExplainArgs;
use crate::failure::Done;

pub(crate) async fn explain(app: &App, args: &ExplainArgs) -> Done {
    let candidate = args.config.as_deref().map(candidate::read).transpose()?;
    let (config, providers) = candidate.map(|c| (c.text, c.providers)).unzip();
    let backend = app.connect().await?;
    let told = backend.explain(&Explain { event: args.event.clone(), config, providers }).await?;
    if !show_document(&app.out, &told, &told.event)? {
        app.out.print(&shown(&told))?;
    }
    let is_matched = told.workflows.iter().any(|w| w.result == "match");
    Ok(if args.fail_unmatched && !is_matched { Exit::Findings } else { Exit::Ok })
}

fn shown(told: &Explanation) -> String {
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
        for step in &workflow.steps {
            let request = step.request.as_deref().or(step.destination.as_deref());
            let mut parts = vec![line(&step.step), line(request.unwrap_or("–"))];
            if !step.needs.is_empty() {
                parts.push(format!("needs {}", line(&step.needs.join(", "))));
            }
            parts.extend(step.body.as_deref().map(line));
            parts.extend(step.error.as_deref().map(line));
            parts.push(step.task.as_deref().map_or_else(|| "no task".to_owned(), line));
            let _ = writeln!(out, "{}  {}", " ".repeat(width), parts.join("  "));
        }
    }
    for lost in &told.routes_lost {
        let _ = writeln!(out, "lost   {}: it has a task, and nothing asks for it", line(lost));
    }
    out
}
