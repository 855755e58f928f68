//! `report.md`: what a person sees who unpacks a bundle.

use std::fmt::Write as _;

use super::{Manifest, STORE};
use crate::api::DeadLetterGroup;
use crate::text;

/// The report. What vendors wrote cannot be markup in it.
pub(super) fn markdown(manifest: &Manifest, groups: &[DeadLetterGroup]) -> String {
    let counts = &manifest.counts;
    let mut out = String::from("# RelayFlow incident bundle\n\n");
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "- {name}: {value}");
    };
    row("written", format!("{} by {}", manifest.created_at, plain(&manifest.created_by)));
    if let Some(reason) = &manifest.reason {
        row("reason", plain(reason));
    }
    row("filter", manifest.q.as_deref().map_or_else(|| "everything".to_owned(), plain));
    if manifest.since.is_some() || manifest.until.is_some() {
        let end = |end: &Option<String>| end.clone().unwrap_or_else(|| "…".to_owned());
        row("window", format!("{} to {}", end(&manifest.since), end(&manifest.until)));
    }
    row("selected", manifest.selected.to_string());
    row("version", format!("{}, schema {}", manifest.version, manifest.schema));
    match &manifest.masked {
        Some(masked) => row(
            "masked",
            format!(
                "{} values, {} places in texts, {} headers, {} bodies withheld, {} secrets",
                masked.values, masked.texts, masked.headers, masked.bodies, masked.secrets
            ),
        ),
        None => row("masked", "nothing but secrets: payloads are as they came".to_owned()),
    }
    out.push_str("\n| what | in it |\n| --- | ---: |\n");
    for (name, count) in [
        ("requests", counts.requests),
        ("of those rejected", counts.rejected),
        ("events", counts.events),
        ("tasks", counts.tasks),
        ("attempts", counts.attempts),
        ("dead letters", counts.dead_letters),
        ("timeline rows", counts.timeline),
        ("revisions", counts.revisions),
        ("plans", counts.plans),
        ("replays", counts.replays),
        ("findings of drift", counts.drift),
    ] {
        let _ = writeln!(out, "| {name} | {count} |");
    }
    if !groups.is_empty() {
        out.push_str("\n## What died, by error\n\n| count | error | example | last |\n");
        out.push_str("| ---: | --- | --- | --- |\n");
        for group in groups {
            let error = group.title.as_deref().unwrap_or(&group.value);
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} |",
                group.count,
                plain(error),
                group.example,
                group.last_at
            );
        }
    }
    let _ = write!(
        out,
        "\n## To look into it\n\n```\nrelayflow --db THIS.tar.gz tui\nrelayflow --db THIS.tar.gz dlq ls --by error\n\
         relayflow --db THIS.tar.gz trace ID\n```\n\n`{STORE}` is a SQLite file; `manifest.json` has the digest of each member.\n"
    );
    out
}

/// On one line, and with nothing that Markdown or HTML would act on.
fn plain(said: &str) -> String {
    let mut out = String::new();
    for c in text::line(said).chars().take(300) {
        if "\\`*_{}[]()#+!|<>&~".contains(c) {
            let _ = write!(out, "&#{};", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_vendors_wrote_is_no_markup() {
        let said = super::plain("a|b <img src=x> [x](y)\n# h \u{1b}[2J");
        assert!(!said.contains(['|', '<', '[', '\n', '\u{1b}']), "{said}");
    }
}
