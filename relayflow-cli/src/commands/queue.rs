//! `relayflow queue`: what waits for each destination, and stopping and starting its flow.

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{NewPause, Queue, QueuePause, Resume};
use relayflow_core::clock::Clock;
use relayflow_core::text;
use relayflow_core::view::doctor::shell;

use super::events::pairs;
use super::list::{list, show_document};
use crate::app::App;
use crate::args::{PauseArgs, QueueCmd, QueueVerb, ResumeQueue};
use crate::confirm::{Deed, confirm};
use crate::failure::Done;
use crate::output::{Out, time};

pub(crate) async fn queue(app: &App, queue: QueueCmd) -> Done {
    match queue.verb {
        None => ls(app, &queue.list).await,
        Some(QueueVerb::Ls(args)) => ls(app, &args).await,
        Some(QueueVerb::Show(args)) => {
            let queue = app.connect().await?.queue(&args.name).await?;
            show(app, &queue)
        }
        Some(QueueVerb::Pause(args)) => pause(app, &args).await,
        Some(QueueVerb::Resume(args)) => resume(app, &args).await,
    }
}

async fn ls(app: &App, args: &crate::args::ListArgs) -> Done {
    let backend = app.connect().await?;
    list(app, args, None, async |_| backend.queues().await).await
}

fn show(app: &App, queue: &Queue) -> Done {
    if !show_document(&app.out, queue, &queue.name)? {
        let mut shown = String::new();
        describe(&app.out, queue, &mut shown);
        app.out.print(&shown)?;
    }
    Ok(Exit::Ok)
}

fn describe(out: &Out, queue: &Queue, shown: &mut String) {
    let count = |n: i64| time::count(u64::try_from(n).unwrap_or(0));
    let amount =
        |s: f64| time::amount(jiff::SignedDuration::try_from_secs_f64(s).unwrap_or_default());
    let oldest = queue.oldest_queued_seconds.map(|s| format!(", the oldest for {}", amount(s)));
    let probe = queue.next_probe_seconds.map(|s| format!(", next probe in {}", amount(s)));
    let breaker = queue.breaker.as_deref().unwrap_or("known to a running daemon only");
    let at_once = match queue.concurrency {
        0 => String::new(),
        most => format!(", at most {most} at once"),
    };
    let mut said = vec![
        ("queue", queue.name.clone()),
        ("state", state_text(out, queue)),
        ("waiting", format!("{}{}", count(queue.depth), oldest.unwrap_or_default())),
        ("running", format!("{}{at_once}", count(queue.running))),
        ("retrying", count(queue.retrying)),
        ("dead", count(queue.dead)),
        ("in", format!("{:.1}/s in the last minute", queue.in_per_second)),
        ("out", format!("{:.1}/s, {} tried again", queue.out_per_second, retry_text(queue))),
        ("drain in", drain_text(queue)),
        ("breaker", format!("{}{}", breaker.replace('_', " "), probe.unwrap_or_default())),
    ];
    if let Some(pause) = &queue.pause {
        let now = Clock::Wall.now();
        let until = pause.until.as_ref().map(|until| out.moment(until, now));
        said.extend([
            ("paused by", pause.who.clone()),
            ("since", out.moment(&pause.since, now)),
            ("until", until.unwrap_or_else(|| "it is resumed".to_owned())),
            ("reason", pause.reason.clone()),
            ("go on", format!("relayflow queue resume {}", shell(&queue.name))),
        ]);
    }
    pairs(shown, &said);
}

fn retry_text(queue: &Queue) -> String {
    queue.retry_ratio.map_or_else(|| "none".to_owned(), |share| format!("{:.1}%", share * 100.0))
}

/// `never`, `now`, an amount of time, or nothing while it stands still.
pub(crate) fn drain_text(queue: &Queue) -> String {
    match queue.drain_seconds {
        Some(seconds) if seconds <= 0.0 => "now".to_owned(),
        Some(seconds) => {
            time::amount(jiff::SignedDuration::try_from_secs_f64(seconds).unwrap_or_default())
        }
        None if queue.state == "paused" => "–".to_owned(),
        None => "never".to_owned(),
    }
}

/// `paused by ana until 14:30 "deploy"`.
fn state_text(out: &Out, queue: &Queue) -> String {
    match (&queue.pause, queue.breaker.as_deref()) {
        (Some(pause), _) => format!("{} {}", out.style.status("paused"), pause_text(out, pause)),
        (None, Some("half_open")) => format!("{}  breaker half", out.style.status("open")),
        (None, _) => out.style.status(&queue.state).replace('_', " "),
    }
}

/// `by ana until 14:30 "deploy"`.
pub(crate) fn pause_text(out: &Out, pause: &QueuePause) -> String {
    let until = match &pause.until {
        Some(until) => format!("until {}", time::until(until, &out.zone, Clock::Wall.now())),
        None => "until it is resumed".to_owned(),
    };
    let text = format!("by {} {until} \"{}\"", pause.who, pause.reason);
    text::line(&text).into_owned()
}

async fn pause(app: &App, args: &PauseArgs) -> Done {
    let target = app.target()?;
    let backend = app.connect_to(&target).await?;
    let length = match &args.r#for {
        Some(length) => format!("--for {length}"),
        None => "--indefinitely".to_owned(),
    };
    // Says first whether there is a daemon at all, and such a queue.
    backend.api("a pause")?;
    let held = backend.queue(&args.name).await.ok();
    let command = format!("relayflow queue pause {} {length}", shell(&args.name));
    if args.act.dry_run || app.out.can_ask {
        app.out.notice(&would(args, held.as_ref()));
    }
    if args.act.dry_run {
        return Ok(Exit::Ok);
    }
    let deed = Deed {
        verb: "Pause",
        noun: "queue",
        items: 1,
        is_single: false,
        needs_reason: true,
        command,
    };
    confirm(&app.out, &target, &args.act, &deed)?;
    let new = NewPause {
        r#for: args.r#for.clone(),
        indefinitely: args.indefinitely,
        reason: args.act.reason.clone().unwrap_or_default(),
    };
    let queue = backend.pause_queue(&args.name, &new).await?;
    told(app, &queue)
}

/// What a pause would hold up.
fn would(args: &PauseArgs, queue: Option<&Queue>) -> String {
    let count = |n: i64| time::count(u64::try_from(n).unwrap_or(0));
    let length = match &args.r#for {
        Some(length) => format!("for {length}"),
        None => "until it is resumed".to_owned(),
    };
    let waits = match queue {
        Some(queue) => format!(
            "{} waiting, {:.1}/s come in; {} running will end",
            count(queue.depth),
            queue.in_per_second,
            count(queue.running)
        ),
        None => "nothing has come to it yet".to_owned(),
    };
    format!("queue {}  {waits}; nothing new starts {length}", args.name)
}

async fn resume(app: &App, args: &ResumeQueue) -> Done {
    let backend = app.connect().await?;
    let resume = Resume { reason: args.reason.clone() };
    let queue = backend.resume_queue(&args.name, &resume).await?;
    told(app, &queue)
}

/// What the queue is now.
fn told(app: &App, queue: &Queue) -> Done {
    if !show_document(&app.out, queue, &queue.name)? {
        app.out.line(&format!(
            "{}  {}  {} waiting",
            text::line(&queue.name),
            state_text(&app.out, queue),
            time::count(u64::try_from(queue.depth).unwrap_or(0))
        ))?;
    }
    Ok(Exit::Ok)
}
