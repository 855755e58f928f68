//! How charts look: bars that lie, a field of shades, bars that stand.

use relayflow_core::api::{Bucket, Chart, Distribution, Slice};

use super::{ChartScreen, Kind};
use crate::output::time;
use crate::tui::ctx::Ctx;
use crate::tui::draw::{Canvas, columns_of, dim, piece, plain, right, shade, width};
use crate::tui::screens::table::nothing;
use crate::tui::theme::Role;

/// Room at the left for what a row is, and at the right for its numbers.
const LABEL: usize = 9;
const FIGURES: usize = 24;
const COUNTS: usize = 11;

pub(super) fn view(screen: &ChartScreen, ctx: &Ctx, canvas: &mut Canvas<'_>) {
    let Some(chart) = screen.chart.value.as_deref() else {
        nothing(ctx, &screen.chart, canvas, 2, "");
        return;
    };
    if chart.attempts == 0 {
        let text = match screen.is_of_job() {
            true => "no attempt of it has ended yet".to_owned(),
            false => format!("no attempt in the last {}: ] shows a longer window", screen.window()),
        };
        canvas.put(2, 1, &text, Role::Text);
        return;
    }
    let (all, height) = (canvas.width(), canvas.height());
    let here = Kind::ALL[screen.at];
    if screen.is_zoomed {
        return draw(chart, ctx, here, true, canvas);
    }
    let heat = 2 + attempts(&chart.slices);
    let rate = (height / 5).clamp(3, 8) + 1;
    let latency = height.saturating_sub(heat + rate);
    let wanted = 2 + chart.latency.buckets.len();
    // What the first does not need goes to the last, which is the taller for it.
    let latency = latency.min(wanted);
    let mut y = 0;
    for (kind, rows) in [(Kind::Latency, latency), (Kind::Heat, heat)] {
        draw(chart, ctx, kind, kind == here, &mut canvas.part(0, y, all, rows));
        y += rows;
    }
    let rows = height.saturating_sub(y).min(rate + 6);
    draw(chart, ctx, Kind::Rate, Kind::Rate == here, &mut canvas.part(0, y, all, rows));
}

fn draw(chart: &Chart, ctx: &Ctx, kind: Kind, is_here: bool, canvas: &mut Canvas<'_>) {
    let title = match kind {
        Kind::Latency => "Latency of attempts",
        Kind::Heat => "Which attempt it was, over time",
        Kind::Rate => "Attempts over time",
    };
    canvas.rule(0, title);
    if is_here {
        canvas.put(0, 0, canvas.glyphs.cursor, Role::Accent);
    }
    match kind {
        Kind::Latency => latency(&chart.latency, canvas),
        Kind::Heat => heat(chart, ctx, canvas),
        Kind::Rate => rate(chart, ctx, canvas),
    }
}

fn millis(ms: f64) -> String {
    time::millis(ms)
}

/// Buckets in at most so many rows: neighbours are joined where there are more.
fn joined(buckets: &[Bucket], rows: usize) -> Vec<Bucket> {
    let mut all = buckets.to_vec();
    while rows.max(1) < all.len() {
        // The two neighbours of which the least is lost.
        let of_both =
            |at: &usize| all[*at].ok + all[*at].failed + all[*at + 1].ok + all[*at + 1].failed;
        let Some(at) = (0..all.len() - 1).min_by_key(of_both) else { break };
        let Bucket { up_to_ms, ok, failed } = all.remove(at + 1);
        let into = &mut all[at];
        *into = Bucket { up_to_ms, ok: into.ok + ok, failed: into.failed + failed };
    }
    all
}

fn latency(latency: &Distribution, canvas: &mut Canvas<'_>) {
    let glyphs = canvas.glyphs;
    let percentiles = [
        ("p50", latency.p50_ms),
        ("p90", latency.p90_ms),
        ("p99", latency.p99_ms),
        ("longest", latency.max_ms),
    ];
    let mut pieces = vec![plain(" ")];
    for (name, value) in percentiles {
        let Some(ms) = value else { continue };
        pieces.push(dim(format!("{name} ")));
        pieces.push(plain(format!("{}   ", millis(ms))));
    }
    pieces.push(piece(format!("{} ok  ", glyphs.bar.0), Role::Ok));
    pieces.push(piece(format!("{} failed", glyphs.failed), Role::Bad));
    canvas.line(1, &pieces);
    let rows = joined(&latency.buckets, canvas.height().saturating_sub(2));
    let most = rows.iter().map(|b| b.ok + b.failed).max().unwrap_or(0);
    let room = canvas.width().saturating_sub(LABEL + FIGURES + 2);
    let mut before = 0.0;
    for (y, bucket) in rows.iter().enumerate() {
        let label = match bucket.up_to_ms {
            Some(ms) if ms < 1000.0 => format!("{} {ms:.0}ms", glyphs.up_to),
            Some(ms) => format!("{} {:.0}s", glyphs.up_to, ms / 1000.0),
            None => "longer".to_owned(),
        };
        let x = canvas.put(1, 2 + y, &right(&label, LABEL - 1, glyphs), Role::Dim) + 1;
        let ok = columns_of(bucket.ok, most, room);
        let both = columns_of(bucket.ok + bucket.failed, most, room);
        let x = canvas.put(x, 2 + y, &glyphs.bar.0.repeat(ok), Role::Ok);
        let failed = glyphs.failed.repeat(both.saturating_sub(ok));
        let x = canvas.put(x, 2 + y, &failed, Role::Bad);
        let count = time::count(bucket.ok + bucket.failed);
        let x = canvas.put(x + 1, 2 + y, &count, Role::Text);
        let within = |ms: f64| before < ms && bucket.up_to_ms.is_none_or(|end| ms <= end);
        let marks = percentiles.iter().take(3).filter(|(_, ms)| ms.is_some_and(within));
        let marks: Vec<_> = marks.map(|(name, _)| *name).collect();
        canvas.put(x + 2, 2 + y, &marks.join(" "), Role::Accent);
        before = bucket.up_to_ms.unwrap_or(f64::MAX);
    }
}

/// The highest attempt that there was.
fn attempts(slices: &[Slice]) -> usize {
    let highest = |slice: &Slice| slice.by_attempt.iter().rposition(|count| 0 < *count);
    slices.iter().filter_map(highest).max().map_or(1, |place| place + 1)
}

/// How many slices one cell stands for, or how many cells one slice: to fill the room.
fn cells(values: &[u64], room: usize) -> Vec<u64> {
    if values.is_empty() || room == 0 {
        return Vec::new();
    }
    if values.len() <= room {
        let each = room / values.len();
        return values.iter().flat_map(|value| std::iter::repeat_n(*value, each)).collect();
    }
    values.chunks(values.len().div_ceil(room)).map(|chunk| chunk.iter().sum()).collect()
}

fn heat(chart: &Chart, ctx: &Ctx, canvas: &mut Canvas<'_>) {
    let glyphs = canvas.glyphs;
    let room = canvas.width().saturating_sub(LABEL + COUNTS);
    let rows = attempts(&chart.slices);
    let lines: Vec<Vec<u64>> = (0..rows)
        .map(|attempt| {
            let of = |slice: &Slice| slice.by_attempt.get(attempt).copied().unwrap_or(0);
            cells(&chart.slices.iter().map(of).collect::<Vec<_>>(), room)
        })
        .collect();
    let most = lines.iter().flatten().copied().max().unwrap_or(0);
    let last = chart.slices.first().map_or(0, |slice| slice.by_attempt.len());
    for (attempt, line) in lines.iter().enumerate() {
        let more = if attempt + 1 == last { "+" } else { "" };
        let label = format!("try {}{more}", attempt + 1);
        let x = canvas.put(1, 1 + attempt, &right(&label, LABEL - 1, glyphs), Role::Dim) + 1;
        let role = match attempt {
            0 => Role::Info,
            1..4 => Role::Warn,
            _ => Role::Bad,
        };
        let text: String = line.iter().map(|count| shade(*count, most, glyphs)).collect();
        canvas.put(x, 1 + attempt, &text, role);
        let of = |slice: &Slice| slice.by_attempt.get(attempt).copied().unwrap_or(0);
        let count = time::count(chart.slices.iter().map(of).sum());
        canvas.put(x + line.len() + 1, 1 + attempt, &count, Role::Text);
    }
    let wide = lines.first().map_or(0, Vec::len);
    axis(chart, ctx, 1 + rows, wide, canvas);
}

/// The begin and the end of the time below the cells.
fn axis(chart: &Chart, ctx: &Ctx, y: usize, wide: usize, canvas: &mut Canvas<'_>) {
    let (from, to) = (ctx.time_of(&chart.from), ctx.time_of(&chart.to));
    let x = canvas.put(LABEL + 1, y, &from, Role::Dim);
    let at = (LABEL + 1 + wide).saturating_sub(width(&to));
    if x < at {
        canvas.put(at, y, &to, Role::Dim);
    }
}

fn per_second(count: u64, seconds: f64) -> f64 {
    let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    if 0.0 < seconds { count / seconds } else { 0.0 }
}

fn rate(chart: &Chart, ctx: &Ctx, canvas: &mut Canvas<'_>) {
    let glyphs = canvas.glyphs;
    let room = canvas.width().saturating_sub(LABEL + COUNTS);
    let counts: Vec<u64> = chart.slices.iter().map(|s| s.ok + s.failed).collect();
    let span = time::between_ms(&chart.from, &chart.to).unwrap_or(0);
    let slices = f64::from(u32::try_from(counts.len().max(1)).unwrap_or(1));
    let seconds = f64::from(i32::try_from(span).unwrap_or(i32::MAX)) / 1000.0 / slices;
    let joined = if counts.len() <= room { 1 } else { counts.len().div_ceil(room.max(1)) };
    let cells = cells(&counts, room);
    let most = cells.iter().copied().max().unwrap_or(0);
    // A cell that stands for several slices counts as long as they do.
    let seconds = seconds * f64::from(u32::try_from(joined).unwrap_or(1));
    let peak = format!("{:.1}/s", per_second(most, seconds));
    let rows = canvas.height().saturating_sub(2).max(1);
    canvas.put(1, 1, &right(&peak, LABEL - 1, glyphs), Role::Dim);
    if 1 < rows {
        canvas.put(1, rows, &right("0", LABEL - 1, glyphs), Role::Dim);
    }
    let levels = glyphs.levels.len();
    for row in 0..rows {
        let floor = rows - 1 - row;
        let text: String = cells
            .iter()
            .map(|count| {
                let full = columns_of(*count, most, rows * levels);
                match full.saturating_sub(floor * levels).min(levels) {
                    0 if 0 < *count && floor == 0 => glyphs.levels[0],
                    0 => " ",
                    level => glyphs.levels[level - 1],
                }
            })
            .collect();
        canvas.put(LABEL + 1, 1 + row, &text, Role::Info);
    }
    let failed: u64 = chart.slices.iter().map(|s| s.failed).sum();
    if 0 < failed {
        canvas.right(0, &[piece(format!(" {} failed ", time::count(failed)), Role::Bad)]);
    }
    axis(chart, ctx, 1 + rows, cells.len(), canvas);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_fill_the_room_and_lose_nothing() {
        let values: Vec<u64> = (0..60).collect();
        for room in [0, 1, 7, 20, 59, 60, 61, 119, 120, 200] {
            let cells = cells(&values, room);
            assert!(cells.len() <= room, "{room}");
            if room < 60 && 0 < room {
                assert_eq!(cells.iter().sum::<u64>(), values.iter().sum::<u64>(), "{room}");
            }
        }
        assert_eq!(cells(&[1, 2], 4), [1, 1, 2, 2]);
    }

    #[test]
    fn joined_buckets_hold_what_their_parts_held() {
        let bucket = |ms, ok| Bucket { up_to_ms: ms, ok, failed: 1 };
        let all = [bucket(Some(1.0), 5), bucket(Some(2.0), 6), bucket(None, 7)];
        let two = joined(&all, 2);
        assert_eq!(two.len(), 2);
        assert_eq!((two[0].up_to_ms, two[0].ok, two[0].failed), (Some(2.0), 11, 2));
        assert_eq!((two[1].up_to_ms, two[1].ok), (None, 7));
        assert_eq!(joined(&all, 0).len(), 1);
    }
}
