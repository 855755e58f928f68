//! How the overview looks.

use relayflow_core::api::{DeadLetterGroup, Queue, Replay, Stats};
use relayflow_core::text;

use super::{Kind, Line, Overview, WINDOWS};
use crate::commands::timeline::about;
use crate::output::time;
use crate::tui::ctx::Ctx;
use crate::tui::draw::{
    Canvas, Column, bar, dim, fit, head, lay_out, piece, plain, row, short_id, spark, width,
};
use crate::tui::frame;
use crate::tui::pane::Pane;
use crate::tui::pulse::{Pulse, Series};
use crate::tui::theme::{Glyphs, Role};

/// The rows of each part.
struct Rooms {
    flow: usize,
    hot: usize,
    queues: usize,
    live: usize,
    running: usize,
}

fn rooms(overview: &Overview, height: usize, is_wide: bool) -> Rooms {
    let n = |len: Option<usize>| len.unwrap_or(0);
    let hot = n(overview.groups.value.as_ref().map(Vec::len)).max(1);
    let queues = n(overview.queues.value.as_ref().map(Vec::len)).max(1);
    let running = n(overview.running.value.as_ref().map(Vec::len)).clamp(1, 4);
    let flow = if height < 14 { 2 } else { 5 };
    // Rules and heads of the parts below.
    let heads = if is_wide { 4 } else { 3 };
    let rest = height.saturating_sub(flow + heads + 1);
    let running = running.min(rest.saturating_sub(2).max(1));
    let rest = rest.saturating_sub(running);
    let (hot, queues, live) = if is_wide {
        let hot = hot.min(rest / 2);
        (hot, 0, rest.saturating_sub(hot))
    } else {
        let queues = queues.min(rest / 3 + 1);
        (hot.min(rest.saturating_sub(queues)).max(1), queues, 0)
    };
    Rooms { flow, hot, queues, live, running }
}

pub(super) fn view(overview: &Overview, ctx: &Ctx, pulse: &Pulse, canvas: &mut Canvas<'_>) {
    let (width, height) = (canvas.width(), canvas.height());
    if overview.is_zoomed {
        return zoomed(overview, ctx, canvas);
    }
    let is_wide = ctx.is_wide();
    let rooms = rooms(overview, height, is_wide);
    let left = if is_wide { width * 3 / 5 } else { width };
    flow(overview, ctx, pulse, &mut canvas.part(0, 0, left, rooms.flow));
    if is_wide {
        let side = canvas.glyphs.side;
        for y in 0..rooms.flow {
            canvas.put(left, y, side, Role::Dim);
        }
        let mut right = canvas.part(left + 1, 0, width - left - 1, rooms.flow);
        right.rule(0, "Queues and workers");
        queues(overview, ctx, &mut right.below(1), rooms.flow - 1);
    }
    let mut y = rooms.flow;
    canvas.rule(y, "Hot: what fails, worst first");
    hot(overview, ctx, &mut canvas.part(0, y + 1, width, rooms.hot + 1), rooms.hot);
    y += rooms.hot + 2;
    if is_wide {
        canvas.rule(y, "Live: failures");
        live(ctx, &mut canvas.part(0, y + 1, width, rooms.live));
        y += 1 + rooms.live;
    } else {
        canvas.rule(y, "Queues");
        queues(overview, ctx, &mut canvas.part(0, y + 1, width, rooms.queues), rooms.queues);
        y += 1 + rooms.queues;
    }
    canvas.rule(y, "Running");
    running(overview, ctx, &mut canvas.part(0, y + 1, width, rooms.running), rooms.running);
}

/// What the cursor is in, alone.
fn zoomed(overview: &Overview, ctx: &Ctx, canvas: &mut Canvas<'_>) {
    let rows = canvas.height().saturating_sub(1);
    match overview.lines().get(overview.cursor.at()).map(Line::kind) {
        Some(Kind::Hot) | None => {
            canvas.rule(0, "Hot: what fails, worst first");
            hot(overview, ctx, &mut canvas.below(1), rows.saturating_sub(1));
        }
        Some(Kind::Queue) => {
            canvas.rule(0, "Queues");
            queues(overview, ctx, &mut canvas.below(1), rows);
        }
        Some(Kind::Job) => {
            canvas.rule(0, "Running");
            running(overview, ctx, &mut canvas.below(1), rows);
        }
    }
}

fn cursor_is(overview: &Overview, key: &str) -> bool {
    overview.lines().get(overview.cursor.at()).is_some_and(|line| line.key() == key)
}

fn flow(overview: &Overview, ctx: &Ctx, pulse: &Pulse, canvas: &mut Canvas<'_>) {
    let (window, name) = WINDOWS[overview.window];
    canvas.rule(0, &format!("Flow, last {name}"));
    let Some(stats) = pulse.stats() else {
        canvas.put(1, 1, &frame::waiting(ctx), Role::Dim);
        return;
    };
    let right = 38.min(canvas.width() / 2);
    let bars = canvas.width().saturating_sub(right + 12);
    for (y, (name, series, role)) in [
        ("received", Series::Received, Role::Info),
        ("ok", Series::Ok, Role::Ok),
        ("retrying", Series::Retrying, Role::Warn),
        ("dead", Series::Dead, Role::Bad),
    ]
    .into_iter()
    .enumerate()
    {
        let values = pulse.series(series, ctx.now.run, window, bars);
        let line = spark(&values, bars, canvas.glyphs);
        let x = canvas.put(0, 1 + y, &format!(" {name:9} "), Role::Text);
        canvas.put(x, 1 + y, &line, role);
        let figures = figures(series, stats, pulse);
        canvas.put(x + bars + 1, 1 + y, &figures, Role::Text);
    }
}

fn per_second(rate: Option<f64>) -> String {
    rate.map_or_else(|| " ".repeat(8), |rate| format!("{rate:6.1}/s"))
}

fn figures(series: Series, stats: &Stats, pulse: &Pulse) -> String {
    let whole = |n: i64| time::count(u64::try_from(n).unwrap_or(0));
    match series {
        Series::Received => {
            let shares = pulse
                .shares()
                .map(|(rejected, known)| format!("  rejected {rejected:.1}%  dup {known:.1}%"));
            format!("{}{}", per_second(pulse.rate(series)), shares.unwrap_or_default())
        }
        Series::Ok => {
            let waiting = stats.tasks.queued + stats.tasks.running;
            format!("{}  waiting {}", per_second(pulse.rate(series)), whole(waiting))
        }
        Series::Retrying => format!(
            "{:6.1}%   waiting to retry {}",
            stats.retry_rate * 100.0,
            whole(stats.tasks.retrying)
        ),
        Series::Dead => {
            let rate = pulse.rate(series).map_or(0.0, |rate| rate * 60.0);
            let more = if 0.05 <= rate { format!("  +{rate:.0}/min") } else { String::new() };
            format!("{:>6}{more}", whole(stats.dead_letters))
        }
    }
}

const WIDE: usize = 120;
const HOT: [Column; 7] = [
    Column { title: "DEAD", width: 6, is_right: true, weight: 0, grows: false },
    Column { title: "FIRST", width: 5, is_right: true, weight: 3, grows: false },
    Column { title: "LAST", width: 5, is_right: true, weight: 2, grows: false },
    Column { title: "ERROR", width: 20, is_right: false, weight: 1, grows: true },
    Column { title: "ID", width: 10, is_right: false, weight: 4, grows: false },
    Column { title: "EXAMPLE", width: 16, is_right: false, weight: 6, grows: false },
    Column { title: "SPARK, 15m", width: 10, is_right: false, weight: 5, grows: false },
];

/// The cells of a group, as the overview and the screen of groups show it.
pub(in crate::tui::screens) fn group_line(
    ctx: &Ctx,
    group: &DeadLetterGroup,
    columns: &[Column],
    laid: &[(usize, usize)],
) -> Vec<crate::tui::draw::Piece> {
    let title = group.title.as_deref().unwrap_or(&group.value);
    let title = match crate::tui::msg::parts(title) {
        Some((host, rest)) => format!("{rest}  {host}"),
        None => title.to_owned(),
    };
    let cells = [
        piece(time::count(group.count), Role::Bad),
        dim(ctx.age_of(&group.first_at)),
        dim(ctx.age_of(&group.last_at)),
        plain(title),
        dim(&*group.value),
        dim(short_id(&group.example)),
        piece(recent(&group.recent, &ctx.glyphs), Role::Bad),
    ];
    row(columns, laid, &cells, &ctx.glyphs)
}

/// How many died of it in each part of the last while; blank where the daemon does not tell.
fn recent(counts: &[u64], glyphs: &Glyphs) -> String {
    let value = |count: &u64| Some(f64::from(u32::try_from(*count).unwrap_or(u32::MAX)));
    spark(&counts.iter().map(value).collect::<Vec<_>>(), counts.len(), glyphs)
}

fn hot(overview: &Overview, ctx: &Ctx, canvas: &mut Canvas<'_>, rows: usize) {
    // An example and bars of a group are worth their room only where there is plenty.
    let columns = if WIDE <= canvas.width() { &HOT[..] } else { &HOT[..HOT.len() - 2] };
    let laid = lay_out(columns, canvas.width().saturating_sub(2));
    let glyphs = canvas.glyphs;
    canvas.put(0, 0, &format!("  {}", head(columns, &laid, glyphs)), Role::Strong);
    let Some(groups) = show_state(&overview.groups, ctx, &mut canvas.below(1)) else { return };
    if groups.is_empty() {
        canvas.put(2, 1, "no dead letters", Role::Ok);
        return;
    }
    let at = overview.cursor.at();
    let top = if at < groups.len() { (at + 1).saturating_sub(rows) } else { 0 };
    for (y, group) in groups.iter().skip(top).take(rows).enumerate() {
        let is_here = cursor_is(overview, &Line::Hot(group).key());
        let mark = if is_here { glyphs.cursor } else { " " };
        canvas.put(0, 1 + y, mark, Role::Text);
        let cells = group_line(ctx, group, columns, &laid);
        canvas.part(2, 1 + y, canvas.width(), 1).line(0, &cells);
        if is_here {
            canvas.tint(1 + y, Role::Selected);
        }
    }
}

/// The value of a pane, or a line that says why it is not there.
fn show_state<'p, T>(pane: &'p Pane<T>, ctx: &Ctx, canvas: &mut Canvas<'_>) -> Option<&'p T> {
    if pane.value.is_none() {
        let text = match &pane.error {
            Some(failure) => failure.message.clone(),
            None => frame::waiting(ctx),
        };
        canvas.put(2, 0, &text, Role::Dim);
    }
    pane.value.as_ref()
}

fn queues(overview: &Overview, ctx: &Ctx, canvas: &mut Canvas<'_>, rows: usize) {
    let Some(queues) = show_state(&overview.queues, ctx, canvas) else { return };
    if queues.is_empty() {
        canvas.put(
            2,
            0,
            "no queue yet: nothing was routed. 7 shows where vendors send to",
            Role::Dim,
        );
    }
    let wide = queues.iter().map(|q| width(&q.name)).max().unwrap_or(0).min(28);
    let groups = overview.groups.value.as_ref().map_or(0, Vec::len);
    let at = overview.cursor.at().saturating_sub(groups);
    let top = if at < queues.len() { (at + 1).saturating_sub(rows) } else { 0 };
    for (y, queue) in queues.iter().skip(top).take(rows).enumerate() {
        let is_here = cursor_is(overview, &Line::Queue(queue).key());
        let mark = if is_here { ctx.glyphs.cursor } else { " " };
        let role = if queue.state == "open" { Role::Text } else { Role::Warn };
        let line = queue_line(ctx, queue, wide, canvas.width().saturating_sub(3));
        canvas.put(0, y, &format!("{mark} {line}"), role);
        if is_here {
            canvas.tint(y, Role::Selected);
        }
    }
    let workers = overview.workers.value.iter().flatten();
    for (y, worker) in workers.enumerate().map(|(y, worker)| (queues.len().max(1) + y, worker)) {
        let text = format!(
            "  worker {}  {} running  since {}",
            short_id(&worker.id),
            worker.running,
            ctx.hour(&worker.started_at)
        );
        canvas.put(0, y, &text, Role::Dim);
    }
}

/// A queue in one line of at most `room` columns: what has no room is left out whole.
fn queue_line(ctx: &Ctx, queue: &Queue, wide: usize, room: usize) -> String {
    let count = |n: i64| time::count(u64::try_from(n).unwrap_or(0));
    let name = fit(&queue.name, wide, &ctx.glyphs);
    let mut parts = Vec::new();
    if queue.state != "open" {
        parts.push(super::super::queues::state(ctx, queue));
    }
    if let Some(seconds) = queue.oldest_queued_seconds.filter(|_| 0 < queue.depth) {
        let oldest = jiff::SignedDuration::try_from_secs_f64(seconds).unwrap_or_default();
        parts.push(format!("oldest {}", time::amount(oldest)));
    }
    for (number, word) in
        [(queue.dead, "dead"), (queue.retrying, "retrying"), (queue.running, "running")]
    {
        if 0 < number {
            parts.push(format!("{} {word}", count(number)));
        }
    }
    let mut line = format!("{name} {:>7} waiting", count(queue.depth));
    for part in parts {
        if width(&line) + 2 + width(&part) <= room {
            line.push_str("  ");
            line.push_str(&part);
        }
    }
    line
}

fn live(ctx: &Ctx, canvas: &mut Canvas<'_>) {
    let rows = canvas.height();
    if ctx.tail.entries.is_empty() {
        let text =
            if ctx.tail.is_open { "no failure since this screen opened" } else { "connecting" };
        canvas.put(1, 0, text, Role::Dim);
        return;
    }
    let from = ctx.tail.entries.len().saturating_sub(rows);
    for (y, entry) in ctx.tail.entries.iter().skip(from).enumerate() {
        let id = entry.event_id.as_deref().or(entry.request_id.as_deref()).unwrap_or_default();
        let what = ctx.glyphs.status(&entry.what);
        let source = text::line(entry.source.as_deref().unwrap_or_default()).into_owned();
        canvas.line(
            y,
            &[
                dim(format!(" {}  ", ctx.time_of(&entry.at))),
                plain(format!("{}  ", short_id(id))),
                plain(fit(&source, 10, &ctx.glyphs)),
                plain(fit(entry.event_type.as_deref().unwrap_or_default(), 26, &ctx.glyphs)),
                piece(fit(&what, 12, &ctx.glyphs), Role::of_status(&entry.what)),
                plain(about(entry)),
            ],
        );
    }
}

fn running(overview: &Overview, ctx: &Ctx, canvas: &mut Canvas<'_>, rows: usize) {
    let Some(jobs) = show_state(&overview.running, ctx, canvas) else { return };
    if jobs.is_empty() {
        canvas.put(2, 0, "no replay is running", Role::Dim);
        return;
    }
    for (y, job) in jobs.iter().take(rows).enumerate() {
        let is_here = cursor_is(overview, &Line::Job(job).key());
        let mark = if is_here { ctx.glyphs.cursor } else { " " };
        let line = fit(&job_line(ctx, job, 20), canvas.width().saturating_sub(3), &ctx.glyphs);
        canvas.put(0, y, &format!("{mark} {line}"), Role::Text);
        if is_here {
            canvas.tint(y, Role::Selected);
        }
    }
}

/// A job in one line.
pub(in crate::tui::screens) fn job_line(ctx: &Ctx, job: &Replay, bars: usize) -> String {
    let done = crate::output::progress::ended(job);
    let total = job.items.total;
    let reason = job.reason.as_ref().map(|r| format!("  \"{r}\"")).unwrap_or_default();
    let dead = ctx.glyphs.status("dead").chars().next().unwrap_or('x');
    format!(
        "{}  {}  {}/{}  {dead} {}  {}  by {}{reason}",
        short_id(&job.id),
        bar(done, total, bars, &ctx.glyphs),
        time::count(done),
        time::count(total),
        time::count(job.items.dead),
        job.status,
        job.who
    )
}
