//! `relayflow replay`: plan, question, job, verdict.

use std::time::Duration;

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{NewPlan, NewReplay, Plan, PlanEdit, Replay, ReplayControl};
use relayflow_core::text;
use relayflow_core::view::Page;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::candidate::{self, Candidate};
use super::events::pairs;
use super::list::{list, show_document};
use super::{plan, report};
use crate::app::App;
use crate::args::values::Wait;
use crate::args::{Act, Format, Job, ReplayCmd, ReplayVerb};
use crate::backend::Backend;
use crate::confirm::{Deed, confirm, declined, needs_window, streams};
use crate::context::Target;
use crate::failure::{Done, Failure};
use crate::output::progress::{Progress, ended};
use crate::output::{read_line, time};
use crate::selection::Selection;

/// How often a job is asked how far it is.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long a daemon may be away before a wait gives it up.
const AWAY_MAX: Duration = Duration::from_secs(60);
/// Items of a plan that are asked for at once.
const ITEMS: usize = 1000;

pub(crate) async fn replay(app: &App, replay: ReplayCmd) -> Done {
    match replay.verb {
        None => {
            let backend = app.connect().await?;
            list(app, &replay.list, None, async |page| backend.replays(page).await).await
        }
        Some(ReplayVerb::Ls(ls)) => {
            let q = app.select(&ls.select, None)?.q;
            let backend = app.connect().await?;
            list(app, &ls.list, q, async |page| backend.replays(page).await).await
        }
        Some(ReplayVerb::Show(id)) => show(app, &id.id).await,
        Some(ReplayVerb::Watch(args)) => {
            let backend = app.connect().await?;
            watch(app, &backend, &args.id, args.timeout).await
        }
        Some(ReplayVerb::Create(create)) => match &create.plan {
            Some(id) => run_plan(app, id, &create.act, &create.job, create.how.late.clone()).await,
            None => {
                let selection = match &create.from {
                    Some(_) => Selection::default(),
                    None => app.select(&create.select, None)?,
                };
                let config = create.config.as_deref().map(candidate::read).transpose()?;
                let ask = Ask {
                    selection,
                    from: create.from.clone(),
                    failed: create.failed,
                    how: &create.how,
                    config,
                    edit: None,
                    act: &create.act,
                    job: &create.job,
                    command: "relayflow replay create".to_owned(),
                };
                plan_and_run(app, ask).await
            }
        },
        Some(ReplayVerb::Pause(id)) => control(app, &id.id, "pause", None).await,
        Some(ReplayVerb::Resume(args)) => control(app, &args.id, "resume", args.rate).await,
        Some(ReplayVerb::Cancel(id)) => control(app, &id.id, "cancel", None).await,
    }
}

/// What is asked of a replay, before there is a plan.
pub(crate) struct Ask<'a> {
    pub(crate) selection: Selection,
    /// An earlier replay, whose items it is about; all of them, or those that failed.
    pub(crate) from: Option<String>,
    pub(crate) failed: bool,
    pub(crate) how: &'a crate::args::How,
    pub(crate) config: Option<Candidate>,
    /// Mends payloads first.
    pub(crate) edit: Option<PlanEdit>,
    pub(crate) act: &'a Act,
    pub(crate) job: &'a Job,
    /// The command as it was typed, to say what to type next.
    pub(crate) command: String,
}

/// Plans, shows, asks, and has it carried out.
pub(crate) async fn plan_and_run(app: &App, ask: Ask<'_>) -> Done {
    let is_single = ask.selection.ids.as_ref().is_some_and(|ids| ids.len() == 1);
    let is_bounded = ask.selection.is_bounded() || ask.from.is_some();
    let names_one = ask.selection.q.as_deref().is_some_and(|q| q.contains("_") && is_id_term(q));
    needs_window(is_bounded || names_one || ask.act.dry_run, ask.act)?;
    if ask.how.mode.as_deref() == Some("restart") && ask.act.reason.is_none() && !ask.act.dry_run {
        return Err(Failure::new("refused.reason_required", "--mode restart needs a --reason")
            .why("nothing was changed")
            .hint(format!("{} --mode restart --reason \"…\"", ask.command)));
    }
    let target = app.target()?;
    let backend = app.connect_to(&target).await?;
    let (config, providers) = ask.config.map(|c| (c.text, c.providers)).unzip();
    let new = NewPlan {
        action: "replay".to_owned(),
        q: if ask.selection.ids.is_some() { None } else { ask.selection.q },
        ids: ask.selection.ids,
        mode: ask.how.mode.clone(),
        order: ask.how.order.clone(),
        limit: ask.act.limit,
        from: ask.from,
        failed: ask.failed.then_some(true),
        config,
        providers,
        edit: ask.edit,
    };
    let planned = backend.create_plan(&new).await?;
    if planned.items.total == 0 && planned.difference.is_none() {
        return Err(nothing());
    }
    if ask.act.dry_run {
        return dry_run(app, &target, &backend, &planned, ask.job).await;
    }
    let late = ask.how.late.clone();
    let run = Run {
        act: ask.act,
        job: ask.job,
        late,
        is_single: is_single || (names_one && planned.items.total == 1),
    };
    run.go(app, &target, &backend, &planned).await
}

/// Whether a filter holds an id and nothing that would widen it.
fn is_id_term(q: &str) -> bool {
    q.split_whitespace().any(|word| {
        let word = word.strip_prefix("id:").unwrap_or(word);
        ["evt_", "tsk_", "req_", "rpl_"].iter().any(|prefix| word.starts_with(prefix))
    }) && !q.contains(" or ")
}

/// An action that selects nothing.
pub(crate) fn nothing() -> Failure {
    Failure::new("empty.selection", "nothing matches").why("nothing was changed")
}

async fn dry_run(app: &App, target: &Target, backend: &Backend, planned: &Plan, job: &Job) -> Done {
    if streams(&app.out) {
        app.out.ndjson(planned)?;
        return each_item(app, backend, &planned.id).await;
    }
    if !show_document(&app.out, planned, &planned.id)? {
        let shown = plan::describe(&app.out, target, planned, job);
        let next = if planned.is_candidate {
            "a candidate's plan never runs\n".to_owned()
        } else if planned.items.moves == 0 {
            "nothing would run\n".to_owned()
        } else {
            format!("run it    {} --reason \"…\"\n", run_command(planned))
        };
        app.out.print(&format!("{shown}\n{next}"))?;
    }
    Ok(Exit::Ok)
}

/// Every item of a plan, a line each: what would become of it, and how its payload is mended.
async fn each_item(app: &App, backend: &Backend, id: &str) -> Done {
    let mut page = Page { limit: ITEMS, ..Page::default() };
    loop {
        let got = backend.plan_items(id, &page).await?;
        for item in &got.items {
            app.out.ndjson(item)?;
        }
        match got.next_cursor {
            Some(cursor) => page.cursor = Some(cursor),
            None => return Ok(Exit::Ok),
        }
    }
}

pub(crate) fn run_command(planned: &Plan) -> String {
    format!("relayflow replay create --plan {}", text::line(&planned.id))
}

/// Carries out a plan that was made before.
async fn run_plan(app: &App, id: &str, act: &Act, job: &Job, late: Option<String>) -> Done {
    let target = app.target()?;
    let backend = app.connect_to(&target).await?;
    let planned = backend.plan(id).await?;
    // Said before anybody is asked; what has changed since is said by the daemon.
    if matches!(planned.status.as_str(), "used" | "expired") {
        let (code, said) = match planned.status.as_str() {
            "used" => ("refused.plan_used", "has been used"),
            _ => ("refused.plan_expired", "has expired"),
        };
        let message = format!("{} {said}", planned.id);
        return Err(Failure::new(code, message)
            .why("nothing was changed")
            .hint(plan_again(&planned)));
    }
    if act.dry_run {
        return dry_run(app, &target, &backend, &planned, job).await;
    }
    let run = Run { act, job, late, is_single: false };
    run.go(app, &target, &backend, &planned).await
}

/// What makes the same plan of what there is now.
fn plan_again(planned: &Plan) -> String {
    let q = planned.q.as_deref().map(|q| format!(" '{}'", text::line(q))).unwrap_or_default();
    let mode =
        if planned.mode == "resume" { String::new() } else { format!(" --mode {}", planned.mode) };
    format!("relayflow replay create{q}{mode} --dry-run")
}

struct Run<'a> {
    act: &'a Act,
    job: &'a Job,
    late: Option<String>,
    is_single: bool,
}

impl Run<'_> {
    async fn go(&self, app: &App, target: &Target, backend: &Backend, planned: &Plan) -> Done {
        if !self.is_single {
            app.out.notice(&plan::describe(&app.out, target, planned, self.job));
        }
        let deed = Deed {
            noun: "task",
            verb: match (planned.action.as_str(), &planned.edit) {
                ("discard", _) => "Discard",
                (_, Some(_)) => "Edit and replay",
                _ => "Replay",
            },
            items: planned.items.total,
            is_single: self.is_single,
            needs_reason: planned.needs_reason,
            command: run_command(planned),
        };
        confirm(&app.out, target, self.act, &deed)?;
        let late = self.late(app, planned)?;
        // Somebody who waits at a terminal is asked after a canary that went well.
        let asks = app.out.can_ask && self.job.wait.is_some();
        let new = NewReplay {
            plan: planned.id.clone(),
            hash: planned.hash.clone(),
            reason: self.act.reason.clone(),
            late,
            rate: self.job.rate,
            concurrency: self.job.concurrency,
            canary: self.job.canary,
            after_canary: (self.job.canary.is_some() && asks).then(|| "ask".to_owned()),
            stop_after: self.job.stop_after.as_ref().map(|s| s.0.clone()),
        };
        let replay = backend.create_replay(&new).await.map_err(|failure| {
            let is_old = failure.code.starts_with("refused.plan_");
            if is_old && failure.hint.is_none() {
                failure.hint(plan_again(planned))
            } else {
                failure
            }
        })?;
        match self.job.wait {
            None => {
                if !show_document(&app.out, &replay, &replay.id)? {
                    app.out.line(&text::line(&replay.id))?;
                }
                Ok(Exit::Ok)
            }
            Some(Wait(limit)) => watch(app, backend, &replay.id, limit).await,
        }
    }
}

impl Run<'_> {
    /// What becomes of items that come late: as it was said, or asked.
    fn late(&self, app: &App, planned: &Plan) -> Result<Option<String>, Failure> {
        let late = &planned.late;
        let is_said = self.late.as_deref().is_some_and(|late| late != "ask");
        if is_said || (late.items == 0 && late.unknown == 0) {
            return Ok(self.late.clone());
        }
        if !app.out.can_ask {
            let message = format!("{} have a later event already done", plan::late_items(late));
            return Err(Failure::new("refused.late", message)
                .why("nothing was changed")
                .hint(format!("{} --late=skip, or --late=apply", run_command(planned))));
        }
        let items = plan::late_items(late);
        app.out.prompt(&format!("{items} have a later event already done: apply or skip? [a/s] "));
        match read_line().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "a" | "apply" => Ok(Some("apply".to_owned())),
            "s" | "skip" => Ok(Some("skip".to_owned())),
            _ => Err(declined()),
        }
    }
}

/// A canary went well, and somebody is here to be asked: whether it goes on.
async fn goes_on(app: &App, backend: &Backend, replay: &Replay) -> Result<bool, Failure> {
    if replay.paused_by.as_deref() != Some("canary") || !app.out.can_ask {
        return Ok(false);
    }
    let detail = replay.detail.as_deref().unwrap_or_default();
    let rest = time::count(replay.items.pending);
    app.out.prompt(&format!("{}. The other {rest}? [y/N] ", text::line(detail)));
    let answer = read_line().unwrap_or_default();
    if !matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(false);
    }
    backend.control(&replay.id, "resume", &ReplayControl::default()).await?;
    Ok(true)
}

/// Stays with a job until it has ended, stopped itself, or the time is over.
async fn watch(
    app: &App,
    backend: &Backend,
    id: &str,
    limit: Option<jiff::SignedDuration>,
) -> Done {
    let limit = limit.and_then(|limit| Duration::try_from(limit).ok());
    let until = limit.map(|limit| Instant::now() + limit);
    // Heard from before anything is said: whoever leaves then leaves the job to itself, too.
    let mut interrupts = signal(SignalKind::interrupt())
        .map_err(|e| Failure::error(format!("Ctrl-C cannot be heard: {e}")))?;
    let mut replay = backend.replay(id).await?;
    let id = replay.id.clone();
    let back = format!("relayflow replay watch {id}");
    if app.out.is_for_people() {
        app.out.notice(&head(&replay));
    }
    let mut progress = Progress::new(&app.out, replay.items.total);
    let mut away: Option<Instant> = None;
    loop {
        if is_over(&replay) {
            if goes_on(app, backend, &replay).await? {
                replay = backend.replay(&id).await?;
                continue;
            }
            break;
        }
        progress.show(&replay)?;
        if until.is_some_and(|until| until <= Instant::now()) {
            progress.finish();
            return Err(Failure::new("pending.wait", format!("{id} is still running")).hint(back));
        }
        tokio::select! {
            () = sleep(LOOK_AGAIN) => {}
            _ = interrupts.recv() => {
                progress.finish();
                return Err(Failure::interrupted(format!("still running: {back}")));
            }
        }
        match backend.replay(&id).await {
            Ok(now) => {
                if away.take().is_some() {
                    app.out.notice("-- resumed");
                }
                replay = now;
            }
            Err(failure) if failure.exit() == Exit::Unreachable => {
                let since = *away.get_or_insert_with(|| {
                    app.out.notice(&format!("-- reconnecting: {}", failure.message));
                    Instant::now()
                });
                if AWAY_MAX < since.elapsed() {
                    return Err(failure.hint(back));
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    progress.show(&replay)?;
    let took = progress.finish();
    verdict(app, backend, &replay, took).await
}

/// Whether a job has ended, or stopped itself.
fn is_over(replay: &Replay) -> bool {
    match replay.status.as_str() {
        "done" | "cancelled" => true,
        "paused" => replay.detail.is_some(),
        _ => false,
    }
}

fn head(replay: &Replay) -> String {
    let reason = replay.reason.as_ref().map(|r| format!("  \"{r}\"")).unwrap_or_default();
    let filter = replay.q.as_ref().map(|q| format!("  {q}")).unwrap_or_default();
    text::line(&format!("{}{filter}  by {}{reason}", replay.id, replay.who)).into_owned()
}

/// How it ended, what to look at, and the exit.
async fn verdict(app: &App, backend: &Backend, replay: &Replay, took_ms: f64) -> Done {
    if app.out.format == Format::Junit {
        report::print(app, backend, replay).await?;
    } else if streams(&app.out) {
        app.out.ndjson(replay)?;
    } else if !show_document(&app.out, replay, &replay.id)? {
        app.out.line(&verdict_line(replay, took_ms))?;
    }
    for line in verdict_notices(replay) {
        app.out.notice(&line);
    }
    Ok(verdict_exit(replay))
}

pub(crate) fn verdict_line(replay: &Replay, took_ms: f64) -> String {
    let items = &replay.items;
    let parts: Vec<_> = [
        (items.ok, "ok"),
        (items.dead, "dead"),
        (items.discarded, "discarded"),
        (items.skipped, "skipped"),
        (items.cancelled, "cancelled"),
    ]
    .into_iter()
    .filter(|(count, word)| 0 < *count || *word == "ok")
    .map(|(count, word)| format!("{} {word}", time::count(count)))
    .collect();
    let word = text::line(&replay.status);
    format!(
        "{} {word}: {} in {}",
        time::count(ended(replay)),
        parts.join(", "),
        time::millis(took_ms)
    )
}

pub(crate) fn verdict_notices(replay: &Replay) -> Vec<String> {
    let mut lines = Vec::new();
    if 0 < replay.items.dead {
        lines.push(format!("dead: relayflow dlq ls replay:{}", replay.id));
    }
    if replay.status == "paused" {
        let why = replay.detail.as_deref().unwrap_or_default();
        lines.push(format!("stopped: {}", text::line(why)));
        lines.push(format!("go on: relayflow replay resume {}", replay.id));
    }
    lines
}

/// 0 if nothing is left to look at: skipped items do not count.
fn verdict_exit(replay: &Replay) -> Exit {
    let items = &replay.items;
    let left = items.dead + items.discarded + items.cancelled + items.pending + items.moved;
    if left == 0 { Exit::Ok } else { Exit::Partial }
}

async fn show(app: &App, id: &str) -> Done {
    let backend = app.connect().await?;
    let replay = backend.replay(id).await?;
    if app.out.format == Format::Junit {
        report::print(app, &backend, &replay).await?;
        return Ok(Exit::Ok);
    }
    if show_document(&app.out, &replay, &replay.id)? {
        return Ok(Exit::Ok);
    }
    let none = || app.out.style.none().to_owned();
    let items = &replay.items;
    let mut shown = String::new();
    pairs(
        &mut shown,
        &[
            ("id", replay.id.clone()),
            ("status", app.out.style.status(&replay.status)),
            ("detail", replay.detail.clone().unwrap_or_else(none)),
            ("plan", replay.plan.clone()),
            ("action", format!("{}  {}", replay.action, replay.mode)),
            ("filter", replay.q.clone().unwrap_or_else(none)),
            ("by", replay.who.clone()),
            ("reason", replay.reason.clone().unwrap_or_else(none)),
            ("created", app.out.moment(&replay.created_at, app.now())),
            (
                "ended",
                replay.ended_at.as_ref().map_or_else(none, |at| app.out.moment(at, app.now())),
            ),
            (
                "items",
                format!(
                    "{}: ok {}  dead {}  skipped {}  discarded {}  cancelled {}  running {}  to come {}",
                    items.total,
                    items.ok,
                    items.dead,
                    items.skipped,
                    items.discarded,
                    items.cancelled,
                    items.moved,
                    items.pending
                ),
            ),
            ("how", how(&replay)),
        ],
    );
    for errors in replay.errors.iter().flatten() {
        let id = errors.error_id.as_deref().unwrap_or_default();
        let error = errors.error.as_deref().unwrap_or_default();
        let line = format!("{}  {id}  {error}  {}", time::count(errors.count), errors.example);
        shown.push_str(&format!("dead  {}\n", text::line(&line)));
    }
    app.out.print(&shown)?;
    Ok(Exit::Ok)
}

/// Order, rate and what stops it.
fn how(replay: &Replay) -> String {
    let mut parts = vec![format!("order {}  late {}", replay.order, replay.late)];
    parts.extend(replay.rate.map(|rate| format!("rate {rate}/s")));
    parts.extend(replay.concurrency.map(|n| format!("concurrency {n}")));
    parts.extend(replay.canary.map(|n| format!("canary {n}")));
    parts.extend(replay.stop_after.map(|n| format!("stop after {n}")));
    parts.join("  ")
}

async fn control(app: &App, id: &str, verb: &str, rate: Option<f64>) -> Done {
    let how = ReplayControl { rate, reason: None };
    let replay = app.connect().await?.control(id, verb, &how).await?;
    if !show_document(&app.out, &replay, &replay.id)? {
        let status = app.out.style.painted_status(&text::line(&replay.status));
        app.out.line(&format!("{}  {status}", text::line(&replay.id)))?;
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use relayflow_core::api::ReplayCounts;

    use super::*;

    fn replay(status: &str, items: ReplayCounts) -> Replay {
        Replay {
            v: 1,
            object: "replay".into(),
            id: "rpl_01J9ZD".into(),
            plan: "pln_7QF2".into(),
            action: "replay".into(),
            mode: "resume".into(),
            q: None,
            who: "ana".into(),
            reason: None,
            created_at: String::new(),
            ended_at: None,
            status: status.into(),
            detail: (status == "paused").then(|| "3 of 5 canaries died".into()),
            rate: None,
            items,
            order: "none".into(),
            late: "apply".into(),
            concurrency: None,
            canary: None,
            stop_after: None,
            paused_by: None,
            errors: None,
        }
    }

    #[test]
    fn the_verdict_says_how_it_ended_and_what_to_look_at() {
        let items = ReplayCounts { total: 412, ok: 406, dead: 3, skipped: 3, ..Default::default() };
        let done = replay("done", items);
        assert_eq!(verdict_line(&done, 43_000.0), "412 done: 406 ok, 3 dead, 3 skipped in 43.0 s");
        assert_eq!(verdict_notices(&done), ["dead: relayflow dlq ls replay:rpl_01J9ZD"]);
        assert_eq!(verdict_exit(&done), Exit::Partial);
    }

    #[test]
    fn skipped_items_are_no_failure_and_a_stopped_job_is() {
        let all = ReplayCounts { total: 2, ok: 1, skipped: 1, ..Default::default() };
        assert_eq!(verdict_exit(&replay("done", all)), Exit::Ok);
        let stopped =
            replay("paused", ReplayCounts { total: 2, ok: 1, pending: 1, ..Default::default() });
        assert!(is_over(&stopped));
        assert_eq!(verdict_exit(&stopped), Exit::Partial);
        assert!(!is_over(&replay("running", all)));
    }

    #[test]
    fn one_id_is_no_bulk() {
        for (q, is) in [
            ("status:dead tsk_01J9", true),
            ("id:evt_01J9", true),
            ("status:dead", false),
            ("tsk_1 or status:dead", false),
            ("source:my_source", false),
        ] {
            assert_eq!(is_id_term(q), is, "{q}");
        }
    }
}
