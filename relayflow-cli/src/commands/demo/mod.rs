//! `relayflow demo`: the whole job, on a store of its own, every number checked.

mod letters;
mod setting;
mod tally;

use std::path::Path;
use std::time::Duration;

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{DeadLetter, NewPlan, NewReplay, Plan, Replay, Stats, Task};
use relayflow_core::config::{Config, Overrides};
use relayflow_core::text;
use relayflow_core::view::Page;
use relayflow_daemon::{Options, Running, start};
use tokio::time::{Instant, sleep};

use self::letters::{Sort, letters};
use self::setting::{Setting, Vendor};
use self::tally::{Line, Records, Tally, table};
use super::timeline;
use crate::app::App;
use crate::backend::{Api, Backend};
use crate::failure::{Done, Failure, chain};
use crate::output::style::{Style, Tone};
use crate::output::time::{millis, things};
use crate::vendor;

/// How long anything may take before the demo says that it does not come.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How many vendors also send something that cannot be read.
const UNREADABLE_VENDORS: usize = 2;
const REASON: &str = "demo: the destinations were mended";

pub(crate) async fn demo(app: &App) -> Done {
    let began = Instant::now();
    let setting = Setting::new().await?;
    let running = start_daemon(&setting).await?;
    let backend = backend(app, &running)?;
    let show = Show { app, began };
    show.line(&format!(
        "relayflow {} with {} sources and {} workflows; its store is {}",
        env!("CARGO_PKG_VERSION"),
        setting.vendors.len(),
        setting.destinations.len(),
        setting.dir.join("relayflow.db").display()
    ))?;
    let story = play(&show, &setting, &running, &backend).await;
    // However it went, the store is closed in order: it is there to be looked at.
    running.stop(Duration::from_secs(5)).await;
    let is_true = story?;
    farewell(&show, &setting.dir)?;
    Ok(if is_true { Exit::Ok } else { Exit::Error })
}

async fn start_daemon(setting: &Setting) -> Result<Running, Failure> {
    let overrides = Overrides {
        listen: Some("127.0.0.1:0".to_owned()),
        api: Some("127.0.0.1:0".to_owned()),
        db: None,
    };
    let (config, _) =
        Config::load(Some(&setting.config()), &overrides, &|_| None).map_err(|wrong| {
            let shown: Vec<_> = wrong.iter().map(ToString::to_string).collect();
            Failure::error("the demo's own config does not load").why(shown.join("\n"))
        })?;
    let options = Options { config, reload: None, drain: Duration::from_secs(5), ready_file: None };
    start(options).await.map_err(|e| Failure::error("the daemon does not start").why(chain(&e)))
}

fn backend(app: &App, running: &Running) -> Result<Backend, Failure> {
    let endpoint = format!("http://{}", running.api_addr);
    let token = running.admin_token.clone();
    Ok(Backend::Api(Api::new(&endpoint, token, Duration::from_secs(10), app.out.clone())?))
}

/// Where the story is told.
struct Show<'a> {
    app: &'a App,
    began: Instant,
}

impl Show<'_> {
    fn line(&self, line: &str) -> Result<(), Failure> {
        self.app.out.line(line)
    }

    fn head(&self, head: &str) -> Result<(), Failure> {
        self.line(&format!("\n{}", self.app.out.style.paint(head, Tone::Bold)))
    }

    /// A line with the time since the beginning.
    fn moment(&self, line: &str) -> Result<(), Failure> {
        self.line(&format!("  {:>4.1} s  {line}", self.began.elapsed().as_secs_f64()))
    }
}

/// The four acts; whether every number was true.
async fn play(
    show: &Show<'_>,
    setting: &Setting,
    running: &Running,
    backend: &Backend,
) -> Result<bool, Failure> {
    show.head("1  vendors send: good, repeated, forged, stale, unsigned and unreadable requests")?;
    let tally = send_all(show, setting, running).await?;

    show.head(
        "2  workflows run: one destination is slow and stumbles, one is broken, one is picky",
    )?;
    let stats = settle(show, backend, tally).await?;
    let dead = dead_tasks(backend).await?;
    let before = Records::of(setting);
    for letter in dead.iter().take(6) {
        show.line(&format!("  {}", dead_line(show, letter)))?;
    }

    show.head("3  the destinations are mended, and an operator replays what died")?;
    setting.mend();
    let (plan, replay) = replay(backend, &dead).await?;
    let to_run = plan.items.run + plan.items.run_at_risk;
    show.moment(&format!("plan {}: {} to run", plan.id, things(to_run, "task")))?;
    show.moment(&format!("{}  ok {}  dead {}", replay.id, replay.items.ok, replay.items.dead))?;
    if let Some(event) = dead.first().and_then(|letter| letter.event_id.as_deref()) {
        show.line(&format!(
            "\n  one of them, from its arrival to its recovery (relayflow timeline {event}):"
        ))?;
        print_timeline(show, backend, event).await?;
    }

    show.head("4  every number, held against the other side's own record")?;
    let after = Records::of(setting);
    let end = backend.stats().await?;
    let tasks = all_tasks(backend).await?;
    let facts = Facts { tally, stats, end, dead, replay, tasks, before, after };
    let lines = facts.lines();
    show.app.out.print(&table(show.app.out.style, &lines))?;
    if 0 < tally.surprises {
        show.line(&format!("{} were not what they must be", things(tally.surprises, "answer")))?;
    }
    Ok(tally.surprises == 0 && lines.iter().all(Line::is_true))
}

/// Posts everything, vendor by vendor.
async fn send_all(show: &Show<'_>, setting: &Setting, running: &Running) -> Result<Tally, Failure> {
    let style = show.app.out.style;
    show.line(&format!("  {}", vendor_head(style)))?;
    let client = vendor::client(PATIENCE)?;
    let mut tally = Tally::default();
    let mut serial = u64::try_from(show.app.now().as_millisecond()).unwrap_or(1);
    let mut with_unreadable = 0;
    for sender in &setting.vendors {
        let wants = with_unreadable < UNREADABLE_VENDORS;
        let letters = letters(sender, &mut serial, show.app.now(), wants)?;
        with_unreadable += letters.iter().filter(|l| l.sort == Sort::Unreadable).count();
        let url = format!("http://{}/in/{}", running.ingest_addr, sender.source.name);
        let mut answers = Vec::new();
        for letter in &letters {
            let sent = vendor::post(
                &client,
                &vendor::with_query_of(&url, &letter.request),
                &letter.request,
            )
            .await?;
            tally.add(letter.sort, sent.status);
            answers.push((letter.sort, sent.status));
        }
        show.line(&format!("  {}", vendor_line(style, sender, &answers)))?;
    }
    Ok(tally)
}

/// What stands over the vendors' lines.
fn vendor_head(style: Style) -> String {
    let head = format!(
        "{:18} {:12} {:12} {:9} {:7} {:7} {:9} {}",
        "SOURCE", "SCHEME", "EVENTS", "REPEATED", "FORGED", "STALE", "UNSIGNED", "UNREADABLE"
    );
    style.paint(&head, Tone::Dim)
}

/// What one vendor sent, and what it was answered.
fn vendor_line(style: Style, vendor: &Vendor, answers: &[(Sort, u16)]) -> String {
    let mut taken = 0;
    let mut is_batch = false;
    for (sort, _) in answers {
        if let Sort::Good(events) = sort {
            taken += events;
            is_batch |= 1 < *events;
        }
    }
    let status_of = |wanted: fn(&Sort) -> bool| {
        let status = answers.iter().find(|(sort, _)| wanted(sort)).map(|(_, status)| *status);
        status.map_or_else(|| style.none().to_owned(), |status| status.to_string())
    };
    let is_kept = answers.iter().any(|(sort, _)| *sort == Sort::Unreadable);
    let line = format!(
        "{:18} {:12} {:12} {:9} {:7} {:7} {:9} {}",
        vendor.source.name,
        vendor.source.scheme_label,
        if is_batch { format!("{taken} (batch)") } else { taken.to_string() },
        status_of(|sort| matches!(sort, Sort::Repeated(_))),
        status_of(|sort| *sort == Sort::Forged),
        status_of(|sort| *sort == Sort::Stale),
        status_of(|sort| *sort == Sort::Unsigned),
        if is_kept { "dead letter" } else { style.none() },
    );
    text::line(&line).into_owned()
}

/// Waits until every task has ended, telling how it goes.
async fn settle(show: &Show<'_>, backend: &Backend, tally: Tally) -> Result<Stats, Failure> {
    let until = Instant::now() + PATIENCE;
    let mut said = String::new();
    let mut told = Instant::now();
    loop {
        let stats = backend.stats().await?;
        let t = &stats.tasks;
        let open = t.queued + t.running + t.retrying;
        let now = format!("ok {}   retrying {}   dead {}   to do {open}", t.ok, t.retrying, t.dead);
        let is_over = open == 0
            && positive(stats.events) == tally.events
            && positive(stats.rejected) == tally.rejected;
        if now != said
            && (is_over || Duration::from_millis(250) < told.elapsed() || said.is_empty())
        {
            show.moment(&now)?;
            said = now;
            told = Instant::now();
        }
        if is_over || until < Instant::now() {
            // Past the time, the table says what is missing.
            return Ok(stats);
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn positive(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

async fn dead_tasks(backend: &Backend) -> Result<Vec<DeadLetter>, Failure> {
    let mut page = Page { limit: 1000, ..Page::default() };
    let mut dead = Vec::new();
    loop {
        let list = backend.dead_letters(&page).await?;
        dead.extend(list.items.into_iter().filter(|letter| letter.id.starts_with("tsk_")));
        match list.next_cursor {
            Some(cursor) => page.cursor = Some(cursor),
            None => return Ok(dead),
        }
    }
}

async fn all_tasks(backend: &Backend) -> Result<Vec<Task>, Failure> {
    let mut page = Page { limit: 1000, ..Page::default() };
    let mut tasks = Vec::new();
    loop {
        let mut list = backend.tasks(&page).await?;
        tasks.append(&mut list.items);
        match list.next_cursor {
            Some(cursor) => page.cursor = Some(cursor),
            None => return Ok(tasks),
        }
    }
}

fn dead_line(show: &Show<'_>, letter: &DeadLetter) -> String {
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    let line = format!(
        "{}  {} {}  {}/{}  {} after {}  {}",
        letter.id,
        letter.source,
        of(&letter.event_type),
        of(&letter.workflow),
        of(&letter.step),
        letter.reason,
        things(positive(letter.attempts), "attempt"),
        of(&letter.error),
    );
    show.app.out.style.paint(
        &format!("{} {}", show.app.out.style.mark("dead").unwrap_or("dead"), text::line(&line)),
        Tone::Bad,
    )
}

/// Plans, replays, and waits for the end.
async fn replay(backend: &Backend, dead: &[DeadLetter]) -> Result<(Plan, Replay), Failure> {
    let ids = dead.iter().map(|letter| letter.id.clone()).collect();
    let new = NewPlan { action: "replay".to_owned(), ids: Some(ids), ..NewPlan::default() };
    let plan = backend.create_plan(&new).await?;
    let new = NewReplay {
        plan: plan.id.clone(),
        hash: plan.hash.clone(),
        reason: Some(REASON.to_owned()),
        // The books are wanted complete: that something later is in them already does no harm.
        late: Some("apply".to_owned()),
        ..NewReplay::default()
    };
    let mut replay = backend.create_replay(&new).await?;
    let until = Instant::now() + PATIENCE;
    while replay.status == "running" && Instant::now() < until {
        sleep(LOOK_AGAIN).await;
        replay = backend.replay(&replay.id).await?;
    }
    Ok((plan, replay))
}

async fn print_timeline(show: &Show<'_>, backend: &Backend, event: &str) -> Result<(), Failure> {
    let list = backend.timeline(event).await?;
    let base = list.items.first().map(|entry| entry.at.clone());
    for entry in &list.items {
        show.line(&format!(" {}", timeline::line(show.app.out.style, entry, base.as_deref())))?;
    }
    Ok(())
}

/// All that the table is made of.
struct Facts {
    tally: Tally,
    /// Before the replay.
    stats: Stats,
    /// After it.
    end: Stats,
    dead: Vec<DeadLetter>,
    replay: Replay,
    tasks: Vec<Task>,
    before: Records,
    after: Records,
}

impl Facts {
    fn lines(&self) -> Vec<Line> {
        let n = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let line = |name, said, recorded, whose| Line { name, said, recorded, whose };
        let again = self.tasks.iter().map(|task| positive(task.attempt - 1)).sum();
        let recovered = self.after.succeeded() - self.before.succeeded();
        vec![
            line("accepted", positive(self.end.events), self.tally.events, "events sent"),
            line(
                "deduplicated",
                positive(self.end.duplicates),
                self.tally.duplicates,
                "events sent again",
            ),
            line(
                "rejected",
                positive(self.end.rejected),
                self.tally.rejected,
                "forged, stale and unsigned requests sent",
            ),
            line(
                "executed",
                positive(self.end.tasks.ok),
                self.after.succeeded(),
                "tasks that the destinations took",
            ),
            line("retried", again, self.after.again(), "calls beyond the first of a task"),
            line(
                "dead",
                positive(self.stats.tasks.dead),
                self.before.without_success(),
                "tasks that no call had done",
            ),
            line(
                "listed as dead",
                n(self.dead.len()),
                self.before.without_success(),
                "the same, as `dlq ls` has them",
            ),
            line("recovered", self.replay.items.ok, recovered, "of them done since the replay"),
            line(
                "unreadable",
                positive(self.end.dead_letters),
                self.tally.unreadable,
                "kept for an operator",
            ),
            line("done twice", 0, self.after.doubled(), "tasks with two successes: never"),
        ]
    }
}

fn farewell(show: &Show<'_>, dir: &Path) -> Result<(), Failure> {
    let took = millis(show.began.elapsed().as_secs_f64() * 1000.0);
    let dir = dir.display();
    show.line(&format!(
        "\nthat took {took}. The store and its config stay in {dir}; look around:\n\n  \
         cd {dir}\n  \
         relayflow up &                       # the same daemon, on the usual ports\n  \
         relayflow events ls                  # what arrived\n  \
         relayflow requests ls status:rejected\n  \
         relayflow dlq ls                     # what still waits for an operator\n  \
         relayflow replay ls                  # what was replayed, by whom and why\n  \
         relayflow drift ls                   # how payloads differ from what is expected\n  \
         relayflow tui                        # all of it on one screen\n  \
         relayflow tail --since 5m            # everything that happened, in order\n  \
         relayflow stats"
    ))
}
