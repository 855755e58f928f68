//! `relayflow drift`.

use std::fmt::Write as _;

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{Drift, List, Total, V};
use relayflow_core::text;
use relayflow_core::view::Page;
use serde_json::Value;

use super::events::pairs;
use super::findings;
use super::list::{list, print_rows, show_document};
use crate::app::App;
use crate::args::{
    AcceptArgs, DriftCmd, DriftLs, DriftShow, DriftVerb, FailOn, Format, ListArgs, Select,
};
use crate::backend::Backend;
use crate::confirm::{Deed, confirm, needs_window};
use crate::failure::{Done, Failure};
use crate::output::{Out, time};

/// Findings asked for at once.
const PAGE: usize = 1000;
/// The longest value that `--unmask` shows, in characters, and how many of one event.
const VALUE_CHARS_MAX: usize = 200;
const VALUES_MAX: usize = 5;

pub(crate) async fn drift(app: &App, noun: DriftCmd) -> Done {
    match noun.verb {
        None => {
            let args = DriftLs { fail_on: None, select: Select::default(), list: noun.list };
            ls(app, &args).await
        }
        Some(DriftVerb::Ls(args)) => ls(app, &args).await,
        Some(DriftVerb::Show(args)) => show(app, &args).await,
        Some(DriftVerb::Accept(args)) => accept(app, &args).await,
    }
}

async fn ls(app: &App, args: &DriftLs) -> Done {
    let q = app.select(&args.select, None)?.q;
    let backend = app.connect().await?;
    let exit = if matches!(app.out.format, Format::Junit | Format::Sarif) {
        report(app, &backend, args, q.clone()).await?
    } else {
        list(app, &args.list, q.clone(), async |page| backend.drift(page).await).await?
    };
    let Some(fail_on) = args.fail_on else { return Ok(exit) };
    // Whatever page was shown, the gate is about all of them.
    let all = all(&backend, q, usize::MAX, (None, None)).await?;
    let fails = all.iter().any(|drift| drift.status == "open" && fail_on.is_met_by(&drift.grade));
    Ok(if fails { Exit::Findings } else { exit })
}

/// For a machine that reads a whole report: all of them, unless fewer are asked for.
async fn report(app: &App, backend: &Backend, args: &DriftLs, q: Option<String>) -> Done {
    let ListArgs { limit, after, watch, .. } = &args.list;
    if watch.is_some() {
        return Err(Failure::usage("a report is printed once: --watch is for tables"));
    }
    let found =
        all(backend, q, limit.unwrap_or(usize::MAX), (after.clone(), args.list.sort.clone()))
            .await?;
    app.out.print(&if app.out.format == Format::Sarif {
        findings::sarif_of_drift(&found)?
    } else {
        findings::junit_of_drift(&found, args.fail_on.unwrap_or(FailOn::Breaking))
    })?;
    Ok(if found.is_empty() && args.list.fail_empty { Exit::Empty } else { Exit::Ok })
}

async fn all(
    backend: &Backend,
    q: Option<String>,
    limit: usize,
    (after, sort): (Option<String>, Option<String>),
) -> Result<Vec<Drift>, Failure> {
    let mut page = Page { q, limit: PAGE.min(limit), cursor: after, sort };
    let mut found = Vec::new();
    loop {
        let got = backend.drift(&page).await?;
        found.extend(got.items);
        match got.next_cursor {
            Some(cursor) if found.len() < limit => page.cursor = Some(cursor),
            _ => break,
        }
    }
    found.truncate(limit);
    Ok(found)
}

async fn show(app: &App, args: &DriftShow) -> Done {
    let backend = app.connect().await?;
    let drift = backend.one_drift(&args.id.id).await?;
    let values = if args.unmask { values(&backend, &drift).await? } else { vec![] };
    if args.unmask && matches!(app.out.format, Format::Json | Format::Yaml | Format::Ndjson) {
        let mut document =
            serde_json::to_value(&drift).map_err(|e| Failure::error(e.to_string()))?;
        let of =
            values.iter().map(|(id, values)| serde_json::json!({ "id": id, "values": values }));
        document["values"] = of.collect();
        show_document(&app.out, &document, &drift.id)?;
        return Ok(Exit::Ok);
    }
    if !show_document(&app.out, &drift, &drift.id)? {
        app.out.print(&describe(app, &drift, &values))?;
    }
    Ok(Exit::Ok)
}

/// What stands at the field in the example events.
async fn values(backend: &Backend, drift: &Drift) -> Result<Vec<(String, Vec<Value>)>, Failure> {
    let mut all = Vec::new();
    for id in drift.examples.iter().filter(|id| id.starts_with("evt_")) {
        let event = backend.event(id).await?;
        let payload = event.payload.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
        let mut found = Vec::new();
        if let Some(payload) = &payload {
            let steps: Vec<String> = drift
                .path
                .split('/')
                .skip(1)
                .map(|step| step.replace("~1", "/").replace("~0", "~"))
                .collect();
            at(payload, &steps, &mut found);
        }
        all.push((id.clone(), found.into_iter().take(VALUES_MAX).cloned().collect()));
    }
    Ok(all)
}

fn at<'v>(value: &'v Value, steps: &[String], found: &mut Vec<&'v Value>) {
    let Some((step, rest)) = steps.split_first() else { return found.push(value) };
    match value {
        Value::Object(members) => match members.get(step) {
            Some(member) => at(member, rest, found),
            // Under any of an object's free keys.
            None if step == "*" => members.values().for_each(|member| at(member, rest, found)),
            None => {}
        },
        Value::Array(elements) if step == "*" => {
            elements.iter().for_each(|element| at(element, rest, found));
        }
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn describe(app: &App, drift: &Drift, values: &[(String, Vec<Value>)]) -> String {
    let out = &app.out;
    let now = app.now();
    let none = || out.style.none().to_owned();
    let share = drift.share.map_or(String::new(), |share| {
        format!("  {:.1}% of this type since the first", share * 100.0)
    });
    let mut fields = vec![
        ("id", drift.id.clone()),
        ("status", drift.status.clone()),
        ("change", format!("{}  ({})", drift.change, drift.grade)),
        ("source", format!("{}  ({})", drift.source, drift.provider)),
        ("type", drift.event_type.clone().unwrap_or_else(none)),
        ("field", if drift.path.is_empty() { none() } else { drift.path.clone() }),
        ("was", drift.was.clone()),
        ("is", drift.is.clone()),
        ("hint", drift.hint.clone().unwrap_or_else(none)),
        ("events", format!("{}{share}", drift.events)),
        ("first", out.moment(&drift.first_at, now)),
        ("last", out.moment(&drift.last_at, now)),
    ];
    if let Some(at) = &drift.accepted_at {
        let who = drift.accepted_by.as_deref().unwrap_or_default();
        fields.push(("accepted", format!("{} by {who}", out.moment(at, now))));
        fields.push(("reason", drift.reason.clone().unwrap_or_else(none)));
    }
    if let Some(version) = drift.version {
        fields.push(("version", version.to_string()));
    }
    let mut shown = String::new();
    pairs(&mut shown, &fields);
    if !drift.read_by.is_empty() {
        shown.push_str("\nread by\n");
        for reader in &drift.read_by {
            let _ = writeln!(shown, "  {}", text::line(reader));
        }
    }
    if !drift.examples.is_empty() {
        shown.push_str("\nexamples\n");
        for id in &drift.examples {
            let _ = writeln!(shown, "  {}", text::line(id));
            for value in values.iter().filter(|(of, _)| of == id).flat_map(|(_, values)| values) {
                let _ = writeln!(shown, "    {}", text::line(&short(&value.to_string())));
            }
        }
    }
    if drift.status == "open" {
        let _ = writeln!(shown, "\ntake it: relayflow drift accept {} --reason \"…\"", drift.id);
    }
    shown
}

fn short(value: &str) -> String {
    match value.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", value.get(..end).unwrap_or_default()),
        None => value.to_owned(),
    }
}

async fn accept(app: &App, args: &AcceptArgs) -> Done {
    let target = app.target()?;
    let backend = app.connect_to(&target).await?;
    let single = single(&args.select);
    let mut deed = Deed {
        verb: "Accept",
        noun: "finding",
        items: 1,
        is_single: true,
        needs_reason: true,
        command: format!("relayflow drift accept {}", args.select.terms.join(" ")),
    };
    let reason = args.act.reason.clone().unwrap_or_default();
    let found = match single {
        Some(id) => vec![backend.one_drift(id).await?],
        None => {
            let selection = app.select(&args.select, Some("status:open"))?;
            needs_window(selection.is_bounded(), &args.act)?;
            let mut found = all(&backend, selection.q, usize::MAX, (None, None)).await?;
            found.retain(|drift| drift.status == "open");
            if let Some(limit) = args.act.limit {
                found.sort_by(|one, other| one.first_at.cmp(&other.first_at));
                found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            }
            found
        }
    };
    if found.is_empty() {
        return Err(
            Failure::new("empty.selection", "no open finding matches").why("nothing was changed")
        );
    }
    deed.items = found.len() as u64;
    deed.is_single = single.is_some();
    if args.act.dry_run {
        print_findings(app, found)?;
        let things = time::things(deed.items, "finding");
        app.out.notice(&format!("{things} would be accepted; nothing was changed"));
        return Ok(Exit::Ok);
    }
    if single.is_none() {
        app.out.notice(&plan(&app.out, &target.shown(), &found));
    }
    confirm(&app.out, &target, &args.act, &deed)?;
    let mut accepted = Vec::with_capacity(found.len());
    for drift in &found {
        match backend.accept_drift(&drift.id, &reason).await {
            Ok(drift) => {
                if app.out.is_for_people() {
                    app.out.line(&done(&drift))?;
                }
                accepted.push(drift);
            }
            // The first to fail says why; what was done stays done, and is said.
            Err(failure) => {
                let done = time::things(accepted.len() as u64, "finding");
                let why = format!("{}; {done} were accepted before", drift.id);
                return Err(if accepted.is_empty() { failure } else { failure.why(why) });
            }
        }
    }
    if !app.out.is_for_people() {
        print_findings(app, accepted)?;
    }
    Ok(Exit::Ok)
}

/// The one finding that is named, by its id or the beginning of it.
fn single(select: &Select) -> Option<&str> {
    let [only] = select.terms.as_slice() else { return None };
    let flags = [&select.source, &select.event_type, &select.status, &select.workflow];
    let has_flags =
        flags.iter().any(|flag| flag.is_some()) || select.since.is_some() || select.until.is_some();
    let is_id = only.strip_prefix("drf_").is_some_and(|rest| !rest.contains([',', '*']));
    (is_id && !has_flags).then_some(only)
}

/// `accepted  drf_…  stripe invoice.paid  field_gone /data/id  contract version 3`.
fn done(drift: &Drift) -> String {
    let written = match drift.version {
        Some(version) => format!("contract version {version}"),
        None => "it is about the source: no contract changes".to_owned(),
    };
    text::line(&format!("accepted  {}  {written}", about(drift))).into_owned()
}

fn about(drift: &Drift) -> String {
    let event_type = drift.event_type.as_deref().unwrap_or("-");
    format!("{}  {} {event_type}  {} {}", drift.id, drift.source, drift.change, drift.path)
}

/// What would be accepted, for the one who is asked.
fn plan(out: &Out, context: &str, found: &[Drift]) -> String {
    let mut shown = format!(
        "context {context}  {} would go into their contracts\n",
        time::things(found.len() as u64, "finding")
    );
    for drift in found {
        let line = format!("  {}  {}: {} → {}", drift.grade, about(drift), drift.was, drift.is);
        let _ = writeln!(shown, "{}", text::line(&line));
    }
    if found.iter().any(|drift| drift.grade == "breaking") {
        let (on, off) = out.err_style.red();
        let _ = writeln!(shown, "{on}breaking{off} ones are never reported again once accepted");
    }
    shown.trim_end().to_owned()
}

fn print_findings(app: &App, found: Vec<Drift>) -> Result<(), Failure> {
    if !matches!(app.out.format, Format::Json | Format::Yaml) {
        return print_rows(app, &found);
    }
    let total = Some(Total { value: found.len() as u64, exact: true });
    let list = List {
        v: V,
        kind: "drift_list".to_owned(),
        items: found,
        next_cursor: None,
        total,
        searched_to: None,
    };
    show_document(&app.out, &list, "drift").map(drop)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_value_at_a_path_is_found() {
        let payload = json!({"a": [{"b": 1}, {"b": null}, 2], "m": {"x": {"y": 1}, "z": {"y": 2}}});
        let found = |path: &str| {
            let steps: Vec<String> = path.split('/').skip(1).map(str::to_owned).collect();
            let mut found = vec![];
            at(&payload, &steps, &mut found);
            found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(found("/a/*/b"), "1 null");
        assert_eq!(found("/m/*/y"), "1 2");
        assert_eq!(found("/nope/x"), "");
        assert_eq!(short(&"ü".repeat(300)).chars().count(), 201);
    }

    #[test]
    fn one_id_is_one_finding() {
        let select = |terms: &[&str]| Select {
            terms: terms.iter().map(ToString::to_string).collect(),
            ..Select::default()
        };
        assert_eq!(single(&select(&["drf_01J9"])), Some("drf_01J9"));
        assert_eq!(single(&select(&["drf_1", "drf_2"])), None);
        assert_eq!(single(&select(&["drf_1,drf_2"])), None);
        assert_eq!(single(&select(&["source:x"])), None);
        assert_eq!(single(&Select { since: Some("2h".into()), ..select(&["drf_1"]) }), None);
    }
}
