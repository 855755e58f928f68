//! What drift detection costs: the same load with and without it, round by round, so that what else
//! the machine does meets both.

use std::fmt::Write as _;

use relayflow_core::api::V;
use relayflow_core::api::codes::Exit;
use serde::Serialize;

use super::own;
use crate::app::App;
use crate::args::BenchArgs;
use crate::commands::list::show_document;
use crate::failure::Done;

#[derive(Debug, Serialize)]
struct Comparison {
    v: u32,
    object: &'static str,
    rounds: Vec<Round>,
    /// Acknowledged a second: the middle of the rounds.
    on_per_second: f64,
    off_per_second: f64,
    /// With drift detection, over without: the middle of the rounds' ratios; 0.95 is 5 % less.
    ratio: f64,
    /// CPU seconds of 1,000 events, where the system tells.
    on_cpu_seconds_per_1000: Option<f64>,
    off_cpu_seconds_per_1000: Option<f64>,
}

#[derive(Debug, Clone, Serialize)]
struct Round {
    on_per_second: f64,
    off_per_second: f64,
    ratio: f64,
}

pub(super) async fn compare(app: &App, args: &BenchArgs) -> Done {
    let mut rounds = Vec::new();
    let mut cpu = (Vec::new(), Vec::new());
    let mut is_whole = true;
    for number in 0..args.rounds.max(1) {
        app.out.notice(&format!("round {} of {}", number + 1, args.rounds.max(1)));
        // Whoever comes first may find a colder machine: they take turns.
        let first_on = number % 2 == 0;
        let first = own(app, args, first_on).await?;
        let second = own(app, args, !first_on).await?;
        is_whole &= first.is_whole() && second.is_whole();
        let (on, off) = if first_on { (first, second) } else { (second, first) };
        cpu.0.extend(on.cpu_seconds_per_1000);
        cpu.1.extend(off.cpu_seconds_per_1000);
        rounds.push(round(on.acknowledged_per_second, off.acknowledged_per_second));
    }
    let comparison = Comparison {
        v: V,
        object: "bench_drift",
        on_per_second: middle(rounds.iter().map(|r| r.on_per_second)).unwrap_or(0.0),
        off_per_second: middle(rounds.iter().map(|r| r.off_per_second)).unwrap_or(0.0),
        ratio: middle(rounds.iter().map(|r| r.ratio)).unwrap_or(0.0),
        on_cpu_seconds_per_1000: middle(cpu.0.into_iter()),
        off_cpu_seconds_per_1000: middle(cpu.1.into_iter()),
        rounds,
    };
    if !show_document(&app.out, &comparison, "bench_drift")? {
        app.out.print(&lines(&comparison))?;
    }
    Ok(if is_whole { Exit::Ok } else { Exit::Partial })
}

fn round(on_per_second: f64, off_per_second: f64) -> Round {
    let ratio = if off_per_second > 0.0 { on_per_second / off_per_second } else { 0.0 };
    Round { on_per_second, off_per_second, ratio }
}

/// The median; of an even number, the mean of the middle two.
pub(super) fn middle(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(*upper);
    }
    let lower = sorted.get(sorted.len() / 2 - 1)?;
    Some(f64::midpoint(*lower, *upper))
}

fn lines(comparison: &Comparison) -> String {
    let mut out = String::new();
    for (number, round) in comparison.rounds.iter().enumerate() {
        let _ = writeln!(
            out,
            "round {}       with {:.0}/s   without {:.0}/s   ratio {:.3}",
            number + 1,
            round.on_per_second,
            round.off_per_second,
            round.ratio
        );
    }
    let _ = writeln!(
        out,
        "acknowledged  with {:.0}/s   without {:.0}/s",
        comparison.on_per_second, comparison.off_per_second
    );
    if let (Some(on), Some(off)) =
        (comparison.on_cpu_seconds_per_1000, comparison.off_cpu_seconds_per_1000)
    {
        let _ = writeln!(out, "cpu           with {on:.3} s   without {off:.3} s per 1,000 events");
    }
    let cost = (1.0 - comparison.ratio) * 100.0;
    let _ =
        writeln!(out, "ratio         {:.3}   drift detection costs {cost:.1} %", comparison.ratio);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_odd_round_does_not_decide() {
        let rounds: Vec<Round> =
            [(98.0, 100.0), (97.0, 100.0), (10.0, 100.0)].map(|(on, off)| round(on, off)).into();
        assert_eq!(middle(rounds.iter().map(|r| r.ratio)), Some(0.97));
        assert_eq!(middle([1.0, 3.0].into_iter()), Some(2.0));
        assert_eq!(middle(std::iter::empty()), None);
        assert!((round(1.0, 0.0).ratio).abs() < f64::EPSILON);
    }
}
