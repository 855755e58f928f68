//! `relayflow stats`.

use std::time::Duration;

use relayflow_core::api::Stats;
use relayflow_core::api::codes::Exit;

use super::list::show_document;
use crate::app::App;
use crate::args::StatsArgs;
use crate::failure::Done;
use crate::output::time::count;

pub(crate) async fn stats(app: &App, args: &StatsArgs) -> Done {
    let backend = app.connect().await?;
    loop {
        let stats = backend.stats().await?;
        if !show_document(&app.out, &stats, "stats")? {
            if args.watch.is_some() && app.out.width.is_some() {
                app.out.print("\u{1b}[H\u{1b}[2J")?;
            }
            app.out.print(&describe(&stats))?;
        }
        let Some(every) = args.watch else { return Ok(Exit::Ok) };
        let every = Duration::try_from(every).unwrap_or_default();
        tokio::time::sleep(every.max(Duration::from_millis(200))).await;
    }
}

fn describe(stats: &Stats) -> String {
    let n = |value: i64| count(u64::try_from(value).unwrap_or(0));
    let t = &stats.tasks;
    let oldest = stats
        .oldest_queued_seconds
        .map(|s| format!("   oldest {}", crate::output::time::millis(s * 1000.0)))
        .unwrap_or_default();
    format!(
        "requests      {}   rejected {}\n\
         events        {}   duplicates {}\n\
         tasks         ok {}   running {}   queued {}   retrying {}   dead {}   discarded {}   skipped {}{oldest}\n\
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
    )
}
