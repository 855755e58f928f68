//! `relayflow stats`: the numbers, once or watched.

use std::fmt::Write as _;

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{Latency, Stats, StatsFlow};
use relayflow_core::text;
use unicode_width::UnicodeWidthStr as _;

use super::attempts::attempts;
use super::list::{print_rows, show_document};
use super::queue::pause_text;
use super::watch::watch;
use crate::app::App;
use crate::args::{Format, StatsArgs};
use crate::failure::Done;
use crate::output::style::Tone;
use crate::output::{Out, time};

/// The widest line of bars.
const BARS_MAX: usize = 60;

pub(crate) async fn stats(app: &App, args: &StatsArgs) -> Done {
    if let Some(of) = &args.of {
        return attempts(app, of, &args.since).await;
    }
    let backend = app.connect().await?;
    watch(app, args.watch, async |frame| {
        let stats = backend.stats_since(&args.since, args.by.as_deref()).await?;
        frame.begin(&app.out)?;
        let rows = stats.flow.as_ref().map(|flow| flow.rows.as_slice()).unwrap_or_default();
        match app.out.format {
            Format::Csv => print_rows(app, rows)?,
            Format::Table | Format::Wide if args.by.is_some() => {
                print_rows(app, rows)?;
                if rows.is_empty() {
                    app.out.notice("nothing came or went");
                }
            }
            Format::Table | Format::Wide => app.out.print(&describe(&app.out, &stats))?,
            Format::Json
            | Format::Ndjson
            | Format::Yaml
            | Format::Name
            | Format::Junit
            | Format::Sarif => {
                show_document(&app.out, &stats, "stats")?;
            }
        }
        Ok(Exit::Ok)
    })
    .await
}

fn describe(out: &Out, stats: &Stats) -> String {
    let n = |value: i64| time::count(u64::try_from(value).unwrap_or(0));
    let t = &stats.tasks;
    let oldest = stats
        .oldest_queued_seconds
        .map(|s| format!("   oldest {}", time::millis(s * 1000.0)))
        .unwrap_or_default();
    let mut shown = String::new();
    if let Some(flow) = &stats.flow {
        shown.push_str(&describe_flow(out, flow));
    }
    let _ = write!(
        shown,
        "requests      {}   rejected {}\n\
         events        {}   duplicates {}\n\
         tasks         ok {}   running {}   queued {}   retrying {}\n\
         \u{20}             dead {}   discarded {}   skipped {}{oldest}\n\
         dead letters  {}\n\
         retry rate    {:.1} %   over 15 minutes\n\
         replays       running {}   paused {}   done {}   cancelled {}\n",
        n(stats.requests),
        n(stats.rejected),
        n(stats.events),
        n(stats.duplicates),
        n(t.ok),
        n(t.running),
        n(t.queued),
        n(t.retrying),
        n(t.dead),
        n(t.discarded),
        n(t.skipped),
        n(stats.dead_letters),
        stats.retry_rate * 100.0,
        n(stats.replays.running),
        n(stats.replays.paused),
        n(stats.replays.done),
        n(stats.replays.cancelled),
    );
    for (place, pause) in stats.paused_queues.iter().enumerate() {
        let head = if place == 0 { "paused" } else { "" };
        let (name, pause) = (text::line(&pause.name), pause_text(out, pause));
        let line = out.style.paint(&format!("{name} {pause}"), Tone::Warn);
        let _ = writeln!(shown, "{head:12}  {line}");
    }
    shown
}

/// What came and went, with bars where a terminal shows them.
fn describe_flow(out: &Out, flow: &StatsFlow) -> String {
    let Some(all) = flow.rows.first() else { return String::new() };
    let seconds = time::between_ms(&flow.since, &flow.until).unwrap_or(0).max(1000);
    let seconds = std::time::Duration::from_millis(seconds.unsigned_abs()).as_secs_f64();
    let per_second = |count: i64| f64::from(i32::try_from(count).unwrap_or(i32::MAX)) / seconds;
    let of_received = |count: i64| share(count, all.received);
    let lines = [
        (
            "received",
            all.received,
            &all.series.received,
            Tone::Busy,
            format!(
                "rejected {} ({})   duplicates {} ({})",
                count(all.rejected),
                of_received(all.rejected),
                count(all.duplicates),
                of_received(all.duplicates)
            ),
        ),
        ("ok", all.ok, &all.series.ok, Tone::Good, String::new()),
        (
            "retries",
            all.retries,
            &all.series.retries,
            Tone::Warn,
            format!("{} of {} attempts", share(all.retries, all.attempts), count(all.attempts)),
        ),
        ("dead", all.dead, &all.series.dead, Tone::Bad, String::new()),
    ];
    // It begins with a slot: a few seconds more than were asked for.
    let minutes = jiff::SignedDuration::try_from_secs_f64(seconds).unwrap_or_default();
    let minutes = if 120 <= minutes.as_secs() {
        jiff::SignedDuration::from_mins(minutes.as_mins())
    } else {
        minutes
    };
    let mut shown = format!("the last {}\n", time::amount(minutes));
    let room = out.width.map_or(0, |width| width.saturating_sub(38).min(BARS_MAX));
    for (name, value, series, tone, more) in lines {
        let bars =
            if out.width.is_some() { spark(series, room, out.style.ascii) } else { String::new() };
        let bars =
            if bars.is_empty() { bars } else { format!("{}  ", out.style.paint(&bars, tone)) };
        let _ = writeln!(
            shown,
            "{name:12}  {bars}{:>9}  {:>8}/s",
            count(value),
            rate(per_second(value))
        );
        if !more.is_empty() {
            let _ = writeln!(shown, "{:14}{more}", "");
        }
    }
    for (name, latency) in [("answer", all.ack), ("end to end", all.end_to_end)] {
        let _ = writeln!(shown, "{name:12}  {}", latencies(latency));
    }
    shown.push('\n');
    shown
}

/// `9.8`, and of what is rare two digits more.
fn rate(per_second: f64) -> String {
    if per_second < 0.95 { format!("{per_second:.3}") } else { format!("{per_second:.1}") }
}

fn count(n: i64) -> String {
    time::count(u64::try_from(n).unwrap_or(0))
}

fn share(part: i64, whole: i64) -> String {
    let small = |n: i64| f64::from(i32::try_from(n).unwrap_or(i32::MAX));
    format!("{:.1}%", if whole <= 0 { 0.0 } else { small(part) * 100.0 / small(whole) })
}

fn latencies(latency: Latency) -> String {
    match (latency.p50_ms, latency.p95_ms, latency.p99_ms) {
        (Some(p50), Some(p95), Some(p99)) => format!(
            "p50 {}   p95 {}   p99 {}",
            time::millis(p50),
            time::millis(p95),
            time::millis(p99)
        ),
        _ => "nothing was measured".to_owned(),
    }
}

/// Counts as bars, the last on the right; as many as there is room for, several counts to a bar
/// where there are more.
pub(crate) fn spark(series: &[i64], room: usize, is_ascii: bool) -> String {
    const UNICODE: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const ASCII: [char; 8] = ['.', '.', ':', ':', '-', '=', '+', '#'];
    if room == 0 || series.is_empty() {
        return String::new();
    }
    let per_bar = series.len().div_ceil(room);
    let bars: Vec<i64> =
        series.rchunks(per_bar).map(|counts| counts.iter().sum()).collect::<Vec<_>>();
    let most = bars.iter().copied().max().unwrap_or(0).max(1);
    let levels = if is_ascii { ASCII } else { UNICODE };
    let bar = |count: &i64| {
        let level = (count * 7 + most - 1) / most;
        levels.get(usize::try_from(level).unwrap_or(0)).copied().unwrap_or(' ')
    };
    let line: String = bars.iter().rev().map(bar).collect();
    debug_assert!(line.width() <= room);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_the_highest_allows() {
        for (series, room, shown) in [
            (&[0, 1, 2, 4, 8][..], 10, "▁▂▃▅█"),
            (&[0, 0, 0], 10, "▁▁▁"),
            (&[1, 1, 2, 2, 4, 4], 3, "▃▅█"),
            (&[], 10, ""),
            (&[3], 0, ""),
        ] {
            assert_eq!(spark(series, room, false), shown, "{series:?}");
        }
        assert_eq!(spark(&[0, 7], 5, true), ".#");
    }
}
