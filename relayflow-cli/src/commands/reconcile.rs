//! `relayflow reconcile`: what a vendor says it sent, against what arrived; and the rest, taken in.

use std::fmt::Write as _;
use std::time::Duration;

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{List, NewReconcile, Reconcile, ReconcileItem, RunReconcile};
use relayflow_core::event::micros;
use relayflow_core::filter::parse_time;
use relayflow_core::text;
use relayflow_core::view::Page;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::list::{Listed as _, print_rows, show_document};
use crate::app::App;
use crate::args::{Format, ReconcileArgs};
use crate::backend::api::Api;
use crate::confirm::{Deed, confirm};
use crate::context::Target;
use crate::failure::{Done, Failure};
use crate::output::{Out, time};

/// How often a daemon is asked how far it is, and how long it may be away.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const AWAY_MAX: Duration = Duration::from_secs(60);
/// How often a log hears of it.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Rows that a person is shown; programs get all of them.
const ROWS_SHOWN: usize = 50;
const PAGE: usize = 1000;

/// A comparison with its gap, for programs.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    reconcile: &'a Reconcile,
    gap: &'a [ReconcileItem],
}

pub(crate) async fn reconcile(app: &App, args: &ReconcileArgs) -> Done {
    if args.act.limit.is_some() {
        return Err(Failure::usage("--limit is not for reconcile: a set is taken in whole")
            .hint("a shorter window, with --since and --until"));
    }
    let target = app.target()?;
    let backend = app.connect_to(&target).await?;
    let api = backend.api("a comparison with a vendor")?;
    let now = match &args.plan {
        Some(id) => find(api, id).await?,
        None => api.post(&["reconciles"], &asked(app, args)?).await?,
    };
    let now = wait(app, api, now, "listing").await?;
    if now.status == "running" {
        return finish(app, api, wait(app, api, now, "running").await?).await;
    }
    let Some(hash) = now.hash.clone() else { return Err(failed(&now)) };
    let gap = items(api, &now.id).await?;
    let open = now.items.pending + now.items.failed;
    if args.act.dry_run || open == 0 {
        show(app, &target, &now, &gap)?;
        return Ok(if args.act.dry_run { Exit::Ok } else { exit_of(&now) });
    }
    if now.status == "expired" {
        return Err(Failure::new("refused.plan_expired", format!("`{}` has expired", now.id))
            .why("nothing was changed")
            .hint(again(&now)));
    }
    app.out.notice(&describe(&app.out, &target, &now));
    app.out.notice(&rows(&app.out, &now.until_at, &gap));
    let deed = Deed {
        verb: "Take in",
        noun: "event",
        items: open,
        is_single: false,
        needs_reason: false,
        command: command(&now),
    };
    confirm(&app.out, &target, &args.act, &deed)?;
    let run = RunReconcile { hash, reason: args.act.reason.clone() };
    let now: Reconcile = api.post(&["reconciles", &now.id, "run"], &run).await?;
    finish(app, api, wait(app, api, now, "running").await?).await
}

/// What is asked of the daemon, its times made absolute here: it may live in another time zone.
fn asked(app: &App, args: &ReconcileArgs) -> Result<NewReconcile, Failure> {
    let at = app.at();
    let moment = |flag: &str, text: &Option<String>| {
        let read = |text: &String| {
            parse_time(text, &at).map(micros).map_err(|error| {
                let told = error.to_string();
                let told = told.strip_prefix("error: ").unwrap_or(&told);
                Failure::new("usage.filter", format!("--{flag}: {told}"))
            })
        };
        text.as_ref().map(read).transpose()
    };
    let (since, until) = (moment("since", &args.since)?, moment("until", &args.until)?);
    if since.is_none() && !args.act.all_time {
        return Err(Failure::usage("a window is needed")
            .why("nothing was asked")
            .hint("--since 6h, or --all-time for as far as the vendor's list goes back"));
    }
    let types = Some(args.event_type.clone()).filter(|types| !types.is_empty());
    let source = args.source.clone().unwrap_or_default();
    Ok(NewReconcile { source, since, until, types })
}

async fn find(api: &Api, id: &str) -> Result<Reconcile, Failure> {
    api.get(&["reconciles", id]).await
}

/// Every row of the gap.
async fn items(api: &Api, id: &str) -> Result<Vec<ReconcileItem>, Failure> {
    let mut page = Page { limit: PAGE, ..Page::default() };
    let mut all = Vec::new();
    loop {
        let got: List<ReconcileItem> = api.list_of(&["reconciles", id, "items"], &page).await?;
        all.extend(got.items);
        if got.next_cursor.is_none() {
            return Ok(all);
        }
        page.cursor = got.next_cursor;
    }
}

/// Stays while it is in `state`.
async fn wait(app: &App, api: &Api, mut now: Reconcile, state: &str) -> Result<Reconcile, Failure> {
    let id = now.id.clone();
    let (mut said, mut away) = (Instant::now(), None::<Instant>);
    if now.status == state && app.out.is_for_people() {
        let source = text::line(&now.source).into_owned();
        app.out.notice(&match state {
            "listing" => format!("{id}  listing what the vendor of {source} says it sent"),
            _ => format!("{id}  taking in what is missing of {source}"),
        });
    }
    while now.status == state {
        tokio::select! {
            () = sleep(LOOK_AGAIN) => {}
            _ = tokio::signal::ctrl_c() => {
                return Err(Failure::interrupted(format!("still {state}: {}", command(&now))));
            }
        }
        match find(api, &id).await {
            Ok(found) => {
                if away.take().is_some() {
                    app.out.notice("-- resumed");
                }
                now = found;
            }
            Err(failure) if failure.exit() == Exit::Unreachable => {
                let since = *away.get_or_insert_with(|| {
                    app.out.notice(&format!("-- reconnecting: {}", failure.message));
                    Instant::now()
                });
                if AWAY_MAX < since.elapsed() {
                    return Err(failure.hint(command(&now)));
                }
            }
            Err(failure) => return Err(failure),
        }
        if LINE_EVERY <= said.elapsed() {
            said = Instant::now();
            let items = &now.items;
            app.out.notice(&match state {
                "listing" => format!("{id}  {} listed", time::count(items.listed)),
                _ => format!("{id}  {} to go", time::count(items.pending)),
            });
        }
    }
    Ok(now)
}

/// How taking in has ended.
async fn finish(app: &App, api: &Api, now: Reconcile) -> Done {
    let gap = items(api, &now.id).await?;
    if app.out.is_for_people() {
        let failed: Vec<ReconcileItem> = gap
            .into_iter()
            .filter(|item| item.verdict.as_deref() == Some("failed") || item.state == "unreadable")
            .collect();
        print_rows(app, &failed)?;
        app.out.line(&verdict(&now))?;
    } else {
        print(&app.out, app, &now, &gap)?;
    }
    if now.status == "failed" { Err(failed(&now)) } else { Ok(exit_of(&now)) }
}

/// A comparison as it is, with nothing done.
fn show(app: &App, target: &Target, now: &Reconcile, gap: &[ReconcileItem]) -> Result<(), Failure> {
    if !app.out.is_for_people() {
        return print(&app.out, app, now, gap);
    }
    app.out.print(&describe(&app.out, target, now))?;
    if !gap.is_empty() {
        app.out.print("\n")?;
        let shown = if app.out.width.is_some() { ROWS_SHOWN } else { usize::MAX };
        print_rows(app, gap.get(..gap.len().min(shown)).unwrap_or(gap))?;
        if shown < gap.len() {
            app.out.notice(&format!("and {} more: -o csv", gap.len() - shown));
        }
    }
    let next = match (now.status.as_str(), now.items.pending) {
        ("planned", 1..) => format!("\ntake in   {} --reason \"…\"\n", command(now)),
        ("planned", 0) => "\nnothing is missing\n".to_owned(),
        _ => format!("\n{}\n", verdict(now)),
    };
    app.out.print(&next)
}

/// In the formats for programs: the document with its gap, or the gap's rows.
fn print(out: &Out, app: &App, now: &Reconcile, gap: &[ReconcileItem]) -> Result<(), Failure> {
    match out.format {
        Format::Csv | Format::Name => print_rows(app, gap),
        Format::Ndjson => {
            gap.iter().try_for_each(|item| out.ndjson(item))?;
            out.ndjson(now)
        }
        Format::Json
        | Format::Yaml
        | Format::Table
        | Format::Wide
        | Format::Junit
        | Format::Sarif => show_document(out, &Whole { reconcile: now, gap }, &now.id).map(drop),
    }
}

/// What to type to go on with it.
fn command(now: &Reconcile) -> String {
    format!("relayflow reconcile --plan {}", text::line(&now.id))
}

/// What to type to begin anew.
fn again(now: &Reconcile) -> String {
    format!("relayflow reconcile {} --since {}", text::line(&now.source), text::line(&now.since_at))
}

/// The head of it: what, of when, and how many of each.
fn describe(out: &Out, target: &Target, now: &Reconcile) -> String {
    let line = |text: &str| text::line(text).into_owned();
    let clock = |moment: &str| time::moment(moment, &now.until_at, &out.zone);
    let mut shown = String::new();
    let expires = clock(&now.expires_at);
    let _ =
        writeln!(shown, "plan {}  context {}  expires {expires}", line(&now.id), target.shown());
    let types = match now.types.as_slice() {
        [] => String::new(),
        types => format!("  type {}", line(&types.join(","))),
    };
    let _ = writeln!(
        shown,
        "source  {} ({})  {}–{}{types}",
        line(&now.source),
        line(&now.provider),
        clock(&now.since_at),
        clock(&now.until_at),
    );
    let counts = &now.items;
    let _ = write!(
        shown,
        "vendor  {} sent: {} arrived, {} missing",
        time::things(counts.listed, "event"),
        time::count(counts.arrived),
        time::count(counts.missing),
    );
    for (count, what) in [
        (counts.rejected, "rejected here"),
        (counts.unreadable, "unreadable"),
        (counts.ignored, "of other types"),
    ] {
        if 0 < count {
            let _ = write!(shown, ", {} {what}", time::count(count));
        }
    }
    shown.push('\n');
    shown
}

/// The first rows, for the one who is about to be asked.
fn rows(out: &Out, until: &str, gap: &[ReconcileItem]) -> String {
    let mut shown = String::new();
    for item in gap.iter().take(10) {
        let when = time::moment(&item.occurred_at, until, &out.zone);
        let of_vendor = item.delivery.as_deref().unwrap_or_default();
        let row =
            format!("  {}  {}  {when}  {}  {of_vendor}", item.name(), item.event_type, item.state,);
        let _ = writeln!(shown, "{}", text::line(row.trim_end()));
    }
    if 10 < gap.len() {
        let _ = writeln!(shown, "  … and {} more", gap.len() - 10);
    }
    shown.trim_end().to_owned()
}

fn verdict(now: &Reconcile) -> String {
    let counts = &now.items;
    let mut shown = format!("{} taken in", time::things(counts.taken, "event"));
    for (count, what) in [
        (counts.duplicate, "had arrived meanwhile"),
        (counts.failed, "failed"),
        (counts.unreadable, "unreadable"),
        (counts.pending, "not taken in"),
    ] {
        if 0 < count {
            let _ = write!(shown, ", {} {what}", time::count(count));
        }
    }
    shown
}

fn exit_of(now: &Reconcile) -> Exit {
    let counts = &now.items;
    if counts.listed == 0 {
        return Exit::Empty;
    }
    let left = counts.failed + counts.unreadable + counts.pending;
    if left == 0 { Exit::Ok } else { Exit::Partial }
}

/// Why it could not be listed, or not be taken in to its end.
fn failed(now: &Reconcile) -> Failure {
    let (code, message) = match &now.error {
        Some(error) => (error.code.as_str(), error.message.as_str()),
        None => ("error.internal", "it ended without a word"),
    };
    let failure = Failure::new(code, message);
    if now.hash.is_none() {
        return failure.why("nothing was taken in").hint(again(now));
    }
    let taken = time::things(now.items.taken, "event");
    failure.why(format!("{taken} taken in before that stay")).hint(command(now))
}

#[cfg(test)]
mod tests {
    use relayflow_core::api::{ReconcileCounts, ReconcileError};

    use super::*;
    use crate::context::Way;

    fn compared(status: &str, items: ReconcileCounts) -> Reconcile {
        Reconcile {
            v: 1,
            object: "reconcile".into(),
            id: "rcn_01J9ZD".into(),
            hash: Some("h".into()),
            source: "shop".into(),
            provider: "stripe\u{1b}[2J".into(),
            since_at: "2026-11-23T08:00:00Z".into(),
            until_at: "2026-11-23T14:00:00Z".into(),
            types: vec!["charge".into()],
            who: "ana".into(),
            reason: None,
            created_at: "2026-11-23T14:00:00Z".into(),
            expires_at: "2026-11-23T15:00:00Z".into(),
            ended_at: None,
            status: status.into(),
            pages: 2,
            items,
            error: None,
        }
    }

    #[test]
    fn a_comparison_says_how_many_of_each_there_are() {
        let target = Target {
            name: "prod".into(),
            label: Some("PROD".into()),
            is_protected: true,
            max_bulk: None,
            way: Way::Store { url: String::new() },
        };
        let items = ReconcileCounts {
            listed: 1412,
            arrived: 1400,
            missing: 9,
            rejected: 3,
            pending: 12,
            ..Default::default()
        };
        let now = compared("planned", items);
        insta::assert_snapshot!(describe(&Out::test(Format::Table, None), &target, &now), @r"
        plan rcn_01J9ZD  context prod (PROD)  expires 15:00:00
        source  shop (stripe␛[2J)  08:00:00–14:00:00  type charge
        vendor  1,412 events sent: 1,400 arrived, 9 missing, 3 rejected here
        ");
        assert_eq!(exit_of(&now), Exit::Partial);
    }

    #[test]
    fn the_exit_tells_what_is_left() {
        let with = |items| exit_of(&compared("done", items));
        let listed = ReconcileCounts { listed: 3, ..Default::default() };
        assert_eq!(with(ReconcileCounts::default()), Exit::Empty);
        assert_eq!(with(ReconcileCounts { taken: 2, duplicate: 1, ..listed }), Exit::Ok);
        assert_eq!(with(ReconcileCounts { taken: 2, failed: 1, ..listed }), Exit::Partial);
        assert_eq!(with(ReconcileCounts { unreadable: 1, ..listed }), Exit::Partial);
        let done = compared("done", ReconcileCounts { taken: 2, failed: 1, ..listed });
        assert_eq!(verdict(&done), "2 events taken in, 1 failed");
    }

    #[test]
    fn what_the_vendor_refused_ends_in_its_exit() {
        for (code, exit) in [
            ("auth.vendor", 4),
            ("unreachable.vendor", 5),
            ("not_found.vendor", 3),
            ("error.vendor", 1),
        ] {
            let error = ReconcileError { code: code.into(), message: "it answers 401".into() };
            let now = Reconcile {
                error: Some(error),
                hash: None,
                ..compared("failed", Default::default())
            };
            let failure = failed(&now);
            assert_eq!(failure.exit().code(), exit);
            assert!(failure.lines(("", "")).contains("nothing was taken in"));
        }
    }
}
