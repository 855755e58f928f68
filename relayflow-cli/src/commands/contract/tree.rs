//! A contract's fields for people: one a line, indented as they nest.

use std::fmt::Write as _;

use relayflow_core::api::Contract;
use relayflow_core::contract::Schema;
use relayflow_core::text;
use unicode_width::UnicodeWidthStr as _;

use crate::commands::events::pairs;
use crate::failure::Failure;
use crate::output::Out;

/// Words of a vocabulary that are shown.
const WORDS_MAX: usize = 12;

struct Line {
    name: String,
    types: String,
    need: &'static str,
    more: String,
}

pub(super) fn describe(out: &Out, contract: &Contract) -> Result<String, Failure> {
    let schema = contract.schema.as_ref().map(Schema::parse).transpose();
    let schema = schema.map_err(|e| {
        Failure::new("error.contract", "the contract is not understood").why(e.to_string())
    })?;
    let version = contract.version.map_or_else(|| out.style.none().to_owned(), |v| v.to_string());
    let mut head = vec![
        ("type", contract.event_type.clone()),
        ("provider", contract.provider.clone()),
        ("version", format!("{version}  ({})", contract.origin)),
    ];
    if let Some(source) = &contract.source {
        head.insert(0, ("source", source.clone()));
    }
    if let Some(who) = &contract.created_by {
        head.push(("by", who.clone()));
    }
    if let Some(reason) = &contract.reason {
        head.push(("reason", reason.clone()));
    }
    let mut shown = String::new();
    pairs(&mut shown, &head);
    let mut lines = Vec::new();
    if let Some(schema) = &schema {
        walk(schema, 0, &mut lines);
    }
    shown.push('\n');
    shown.push_str(&table(&lines));
    Ok(shown)
}

fn walk(schema: &Schema, depth: usize, lines: &mut Vec<Line>) {
    for (name, field) in &schema.fields {
        line(name, &field.schema, if field.is_required { "required" } else { "" }, depth, lines);
    }
    if let Some(free) = &schema.free {
        line("(any key)", free, "", depth, lines);
    }
    if let Some(items) = &schema.items {
        line("(each)", items, "", depth, lines);
    }
}

fn line(name: &str, schema: &Schema, need: &'static str, depth: usize, lines: &mut Vec<Line>) {
    let mut more = Vec::new();
    if let Some(format) = schema.format {
        more.push(format.as_str().to_owned());
    }
    if let Some(words) = &schema.words {
        let shown: Vec<&str> = words.iter().take(WORDS_MAX).map(|word| &**word).collect();
        let rest = words.len().saturating_sub(WORDS_MAX);
        more.push(match rest {
            0 => shown.join(", "),
            rest => format!("{} and {rest} more", shown.join(", ")),
        });
    }
    if let Some(about) = &schema.about {
        more.push(about.to_string());
    }
    lines.push(Line {
        name: format!("{}{}", "  ".repeat(depth), text::line(name)),
        types: schema.types.to_string(),
        need,
        more: text::line(&more.join("; ")).into_owned(),
    });
    walk(schema, depth + 1, lines);
}

fn table(lines: &[Line]) -> String {
    let widest = |of: fn(&Line) -> &str, head: &str| {
        lines.iter().map(|line| of(line).width()).max().unwrap_or(0).max(head.width())
    };
    let (name, types, need) = (
        widest(|line| &line.name, "FIELD"),
        widest(|line| &line.types, "TYPE"),
        widest(|line| line.need, "NEED"),
    );
    let mut out = String::new();
    let mut row = |cells: [&str; 4]| {
        let mut line = String::new();
        for (cell, width) in cells.into_iter().zip([name, types, need, 0]) {
            let pad = width.saturating_sub(cell.width());
            let _ = write!(line, "{cell}{}  ", " ".repeat(pad));
        }
        let _ = writeln!(out, "{}", line.trim_end());
    };
    row(["FIELD", "TYPE", "NEED", "WORDS OR FORMAT"]);
    for line in lines {
        row([&line.name, &line.types, line.need, &line.more]);
    }
    out
}

#[cfg(test)]
mod tests {
    use relayflow_core::contract::Observed;
    use serde_json::json;

    use super::*;
    use crate::args::Format;

    #[test]
    fn a_contract_is_a_tree_of_fields() {
        let mut observed = Observed::default();
        for value in [
            json!({"id": "a", "status": "open", "items": [{"at": "2026-01-05", "n": 1}], "metadata": {"x": 1}}),
            json!({"id": "b", "status": "paid", "items": [], "note": null}),
        ] {
            observed.add(&value);
        }
        let contract = Contract {
            v: 1,
            object: "contract".into(),
            source: Some("shop".into()),
            provider: "acme".into(),
            event_type: "order.paid\u{1b}[2J".into(),
            version: Some(2),
            origin: "accepted".into(),
            fields: 6,
            events: 2,
            created_at: None,
            created_by: Some("ana".into()),
            reason: None,
            schema: Some(observed.to_schema().to_document("shop order.paid", None)),
        };
        let shown = describe(&Out::test(Format::Table, Some(80)), &contract).unwrap();
        insta::assert_snapshot!(shown);
    }
}
