//! `relayflow stats --of`: how long the attempts of one destination or one replay took.

use std::fmt::Write as _;

use relayflow_core::api::Chart;
use relayflow_core::api::codes::Exit;
use relayflow_core::filter::parse_duration;
use relayflow_core::text::line;
use relayflow_core::view::charts::WINDOW_SECONDS;

use super::list::show_document;
use crate::app::App;
use crate::backend::ChartOf;
use crate::failure::{Done, Failure};
use crate::output::Out;
use crate::output::time::{clock, count, millis, things};

/// How long attempts took, and how often they were repeated.
pub(super) async fn attempts(app: &App, of: &str, since: &str) -> Done {
    let seconds = parse_duration(since).map_err(|e| Failure::usage(e.to_string()))?.as_secs();
    if !WINDOW_SECONDS.contains(&seconds) {
        return Err(Failure::usage("with --of, --since is 1m to 24h"));
    }
    let of = match of.strip_prefix("rpl_") {
        Some(_) => ChartOf::Replay(of.to_owned()),
        None => ChartOf::Destination { name: of.to_owned(), seconds },
    };
    let chart = app.connect().await?.chart(&of).await?;
    if !show_document(&app.out, &chart, "stats")? {
        app.out.print(&describe_chart(&chart, &app.out))?;
    }
    if !chart.is_whole {
        app.out
            .notice(&format!("there are more attempts: these are the latest {}", chart.attempts));
    }
    Ok(Exit::Ok)
}

/// The columns of the longest bar.
const BAR: u64 = 40;

fn describe_chart(chart: &Chart, out: &Out) -> String {
    let ms = |value: Option<f64>| value.map_or_else(|| out.style.none().to_owned(), millis);
    let (l, of) = (&chart.latency, line(&chart.of));
    let mut text = format!(
        "{of}   {} from {} to {}\n\np50 {}   p90 {}   p99 {}   longest {}\n\n",
        things(chart.attempts, "attempt"),
        clock(&chart.from, &out.zone),
        clock(&chart.to, &out.zone),
        ms(l.p50_ms),
        ms(l.p90_ms),
        ms(l.p99_ms),
        ms(l.max_ms),
    );
    let most = l.buckets.iter().map(|b| b.ok + b.failed).max().unwrap_or(0).max(1);
    let sign = if out.style.ascii { "#" } else { "█" };
    for bucket in &l.buckets {
        let all = bucket.ok + bucket.failed;
        let label = match bucket.up_to_ms {
            Some(_) => format!("to {}", ms(bucket.up_to_ms)),
            None => "longer".to_owned(),
        };
        let bar = sign.repeat(usize::try_from(all * BAR / most).unwrap_or(0));
        let failed = if 0 < bucket.failed {
            format!("  {} failed", count(bucket.failed))
        } else {
            String::new()
        };
        text.push_str(format!("{label:>12}  {bar} {}{failed}", count(all)).trim_end());
        text.push('\n');
    }
    let tries = chart.slices.first().map_or(0, |slice| slice.by_attempt.len());
    let of_try =
        |n: usize| -> u64 { chart.slices.iter().filter_map(|slice| slice.by_attempt.get(n)).sum() };
    text.push('\n');
    for n in (0..tries).filter(|n| 0 < of_try(*n)) {
        let more = if n + 1 == tries { " and later" } else { "" };
        let _ = writeln!(text, "{:>12}  {}", format!("try {}{more}", n + 1), count(of_try(n)));
    }
    text
}
