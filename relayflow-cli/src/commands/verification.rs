//! `relayflow requests explain`: what verifies a request, or why nothing does.

use std::sync::Arc;

use jiff::SignedDuration;
use relayflow_core::api::codes::Exit;
use relayflow_core::api::{Cause, Tried, Verification};
use relayflow_core::in_force::InForce;
use relayflow_core::provider::FetchedKeys;
use relayflow_core::text;
use relayflow_core::verification::Known;

use super::list::{print_rows, show_document};
use crate::app::App;
use crate::args::Format;
use crate::failure::Done;
use crate::output::style::Tone;
use crate::output::{lines, time};

pub(crate) async fn explain(app: &App, id: &str) -> Done {
    let told = app.connect().await?.verification(id, || known(app.in_force())).await?;
    if app.out.format == Format::Csv {
        print_rows(app, &told.causes)?;
    } else if !show_document(&app.out, &told, &told.request)? {
        let mut out = String::new();
        for line in report(&told) {
            let shown = lines::hanging(&line.text, line.indent, app.out.width);
            for part in shown.lines() {
                out.push_str(&app.out.style.paint(part, line.tone));
                out.push('\n');
            }
        }
        app.out.print(&out)?;
    }
    Ok(Exit::Ok)
}

/// What is known where no daemon is asked: the configuration in reach.
pub(crate) fn known(in_force: InForce) -> Known {
    let (spare, fetched) = (Vec::new(), Arc::new(FetchedKeys::default()));
    Known { in_force: Arc::new(in_force), spare, fetched }
}

/// A line of the report, made safe: how far it is indented where it goes on, and what it means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) indent: usize,
    pub(crate) tone: Tone,
}

/// The report for people: what holds or why nothing does, and what was looked at.
pub(crate) fn report(told: &Verification) -> Vec<Line> {
    let mut all = Vec::new();
    let mut add = |text: String, indent: usize, tone: Tone| {
        all.push(Line { text: text::line(&text).into_owned(), indent, tone });
    };
    let of = format!("{}  ({})", told.source, told.provider);
    add(format!("{}  {}  {of}", told.request, told.status), 0, Tone::Bold);
    if let Some(why) = told.detail.as_ref().or(told.reason.as_ref()) {
        add(format!("then       {why}"), LABEL, Tone::Dim);
    }
    match &told.verified {
        Some(by) => {
            let secret = by.secret.as_deref().unwrap_or("no secret of this source is asked for");
            add(format!("verified   {secret}"), LABEL, Tone::Good);
            add(format!("scheme     {}", by.scheme), LABEL, Tone::Plain);
            if let Some(skew) = by.skew_ms {
                let side = if skew < 0 { "-" } else { "" };
                let skew = time::amount(SignedDuration::from_millis(skew).abs());
                let tolerance = &by.tolerance;
                add(
                    format!("skew       {side}{skew}  ({tolerance} is tolerated)"),
                    LABEL,
                    Tone::Plain,
                );
            }
        }
        None => add("now        it does not verify".to_owned(), LABEL, Tone::Bad),
    }
    for (number, cause) in told.causes.iter().enumerate() {
        add(String::new(), 0, Tone::Plain);
        of_cause(number + 1, cause, &mut add);
    }
    add(String::new(), 0, Tone::Plain);
    add(format!("tried      {}", tried(&told.tried)), LABEL, Tone::Dim);
    all
}

/// Where what is said of a label stands.
const LABEL: usize = 11;

fn of_cause(number: usize, cause: &Cause, add: &mut impl FnMut(String, usize, Tone)) {
    let tone = if cause.confidence == "certain" { Tone::Bad } else { Tone::Warn };
    add(format!("{number}  {:8} {}", cause.confidence, cause.cause), LABEL, tone);
    add(format!("{:LABEL$}{}", "", cause.says), LABEL, Tone::Plain);
    for evidence in &cause.evidence {
        add(format!("{:LABEL$}{evidence}", "  shown by"), LABEL + 2, Tone::Dim);
    }
    for mend in &cause.mend {
        let label = match mend.at.as_str() {
            "command" => "  run",
            "config" => "  config",
            _ => "  do",
        };
        add(format!("{label:LABEL$}{}", mend.text), LABEL + 2, Tone::Plain);
    }
}

fn tried(tried: &Tried) -> String {
    let mut parts = vec![
        time::things(tried.secrets, "secret"),
        time::things(tried.sources, "source"),
        time::things(tried.schemes, "scheme"),
        format!("{} of the body", time::things(tried.bodies, "form")),
    ];
    if 0 < tried.urls {
        parts.push(time::things(tried.urls, "URL"));
    }
    parts.push(time::things(tried.signatures, "signature"));
    let cut = if tried.is_cut { "; there was more to try than is worth the time" } else { "" };
    format!("{}{cut}", parts.join(", "))
}
