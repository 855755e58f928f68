//! Every `ls`: pages fetched, printed in the format asked for, and what is left said.

use jiff::Timestamp;
use relayflow_core::api::codes::Exit;
use relayflow_core::api::{List, QueuePause, Total};
use relayflow_core::view::{Page, sort_whole};
use serde::Serialize;

use super::watch::{Frame, watch};
use crate::app::App;
use crate::args::{Format, ListArgs};
use crate::failure::{Done, Failure};
use crate::output::table::{self, Column, Layout};
use crate::output::{Out, document, time};

/// The most that the API gives at once.
const PAGE_MAX: usize = 1000;
const LIMIT: usize = 50;

/// What can stand in a list.
pub(crate) trait Listed: Serialize + Sized + 'static {
    const COLUMNS: &'static [Column<Self>];
    /// It comes in one piece, in an order of its own.
    const IS_WHOLE: bool = false;

    /// What `-o name` prints.
    fn name(&self) -> &str;
}

/// Prints a list, once or again and again.
pub(crate) async fn list<T: Listed>(
    app: &App,
    args: &ListArgs,
    q: Option<String>,
    fetch: impl AsyncFn(&Page) -> Result<List<T>, Failure>,
) -> Done {
    watch(app, args.watch, async |frame| {
        let done = print_once(app, args, q.clone(), &fetch, frame).await?;
        say_what_is_paused(app).await;
        Ok(done)
    })
    .await
}

/// Queues that stand still are said below every list: work that waits for them is not lost.
async fn say_what_is_paused(app: &App) {
    let Some(backend) = app.connected().filter(|_| app.out.is_for_people() && !app.out.quiet)
    else {
        return;
    };
    // A footer: what cannot be known is not said.
    let Ok(stats) = backend.stats().await else { return };
    if let Some(line) = paused_line(&app.out, &stats.paused_queues) {
        app.out.notice(&line);
    }
}

/// `‖ 1 queue paused: ci.internal by ana until 14:30 "deploy"`.
fn paused_line(out: &Out, paused: &[QueuePause]) -> Option<String> {
    let first = paused.first()?;
    let mark = if out.err_style.ascii { "=" } else { "‖" };
    let count = time::things(u64::try_from(paused.len()).unwrap_or(0), "queue");
    let said = format!("{} {}", first.name, super::queue::pause_text(out, first));
    let more = if 1 < paused.len() { "   all: relayflow queue ls" } else { "" };
    Some(format!("{mark} {count} paused: {said}{more}"))
}

async fn print_once<T: Listed>(
    app: &App,
    args: &ListArgs,
    q: Option<String>,
    fetch: &impl AsyncFn(&Page) -> Result<List<T>, Failure>,
    frame: &Frame,
) -> Done {
    let wanted = if args.all { usize::MAX } else { args.limit.unwrap_or(LIMIT) };
    let mut page = Page { q, limit: 0, cursor: args.after.clone(), sort: args.sort.clone() };
    let mut printer = Printer::new(&app.out, app.now());
    let mut whole: Option<List<T>> = None;
    let mut count = 0;
    let (total, next, stopped_at) = loop {
        page.limit = (wanted - count).clamp(1, PAGE_MAX);
        let mut got = fetch(&page).await?;
        frame.begin(&app.out)?;
        if let Some(sort) = page.sort.as_deref().filter(|_| T::IS_WHOLE) {
            got.items = sort_whole(got.items, sort)
                .map_err(|error| Failure::new(error.code().as_str(), error.to_string()))?;
        }
        // What comes whole, as configuration does, is shown whole.
        if args.limit.is_some() || got.next_cursor.is_some() {
            got.items.truncate(wanted - count);
        }
        count += got.items.len();
        let (total, next) = (got.total, got.next_cursor.clone());
        // A filter that no index helps is looked for as long as one waits gladly, unless all is wanted.
        let stopped_at = got.searched_to.clone().filter(|_| !args.all && !args.fail_empty);
        if printer.wants_whole() {
            whole = Some(match whole.take() {
                Some(mut list) => {
                    list.items.append(&mut got.items);
                    list.next_cursor = got.next_cursor;
                    list.searched_to = got.searched_to;
                    list
                }
                None => got,
            });
        } else {
            printer.rows(&got.items)?;
        }
        match (next, stopped_at) {
            (Some(cursor), None) if count < wanted => page.cursor = Some(cursor),
            (next, stopped_at) => break (total, next, stopped_at),
        }
    };
    if let (Some(to), Some(next)) = (&stopped_at, &next) {
        if let Some(list) = &whole {
            print_list(&app.out, list)?;
        }
        app.out.notice(&searched(app, count, to, next));
        return Ok(Exit::Ok);
    }
    if let Some(list) = &whole {
        print_list(&app.out, list)?;
    }
    if count == 0 {
        return Ok(nothing(app, args.fail_empty));
    }
    if app.out.is_for_people()
        && let Some(line) = footer(count, total, next.as_deref(), args)
    {
        app.out.notice(&line);
    }
    Ok(Exit::Ok)
}

fn nothing(app: &App, fail_empty: bool) -> Exit {
    if app.out.err_is_terminal {
        app.out.notice("nothing matches");
    }
    if fail_empty { Exit::Empty } else { Exit::Ok }
}

/// What was found before the time for looking was over, and how to see the rest.
fn searched(app: &App, count: usize, to: &str, next: &str) -> String {
    let found = match count {
        0 => "nothing found yet".to_owned(),
        count => format!("{} found", time::count(u64::try_from(count).unwrap_or(u64::MAX))),
    };
    let to = time::show(to, app.out.time, app.now(), &app.out.zone);
    let next = relayflow_core::text::line(next);
    format!("{found}, searched back to {to}   on: --all, or --after {next}")
}

/// `4 of 1,204   more: -n 100, or --after …`, if there is more.
fn footer(
    shown: usize,
    total: Option<Total>,
    next: Option<&str>,
    args: &ListArgs,
) -> Option<String> {
    let next = next?;
    let shown_count = u64::try_from(shown).unwrap_or(u64::MAX);
    let of = match total {
        Some(Total { value, exact }) => {
            format!(" of {}{}", time::count(value), if exact { "" } else { "+" })
        }
        None => String::new(),
    };
    let more = args.limit.unwrap_or(LIMIT).saturating_mul(2).max(100);
    Some(format!(
        "{}{of}   more: -n {more}, or --after {}",
        time::count(shown_count),
        relayflow_core::text::line(next)
    ))
}

/// Writes rows as they come, in the formats that can.
struct Printer<'a, T: 'static> {
    out: &'a Out,
    now: Timestamp,
    layout: Option<Layout<T>>,
    has_header: bool,
}

impl<'a, T: Listed> Printer<'a, T> {
    fn new(out: &'a Out, now: Timestamp) -> Self {
        Self { out, now, layout: None, has_header: false }
    }

    fn wants_whole(&self) -> bool {
        match self.out.format {
            Format::Json | Format::Yaml => true,
            Format::Table
            | Format::Wide
            | Format::Ndjson
            | Format::Csv
            | Format::Name
            | Format::Junit
            | Format::Sarif => false,
        }
    }

    fn rows(&mut self, rows: &[T]) -> Result<(), Failure> {
        match self.out.format {
            Format::Table | Format::Wide => self.table(rows),
            Format::Csv => self.csv(rows),
            Format::Ndjson => rows.iter().try_for_each(|row| self.out.ndjson(row)),
            Format::Name => rows
                .iter()
                .try_for_each(|row| self.out.line(&relayflow_core::text::line(row.name()))),
            Format::Json | Format::Yaml => Ok(()),
            Format::Junit => Err(no_junit()),
            Format::Sarif => Err(no_sarif()),
        }
    }

    fn table(&mut self, rows: &[T]) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        let layout = match self.layout.take() {
            Some(layout) => layout,
            None => {
                let layout = Layout::new(self.out, T::COLUMNS, rows, self.now)?;
                text.push_str(&layout.header(self.out));
                text.push('\n');
                layout
            }
        };
        for row in rows {
            text.push_str(&layout.row(self.out, row, self.now));
            text.push('\n');
        }
        self.layout = Some(layout);
        self.out.print(&text)
    }

    fn csv(&mut self, rows: &[T]) -> Result<(), Failure> {
        let mut text = String::new();
        if !self.has_header {
            self.has_header = true;
            text.push_str(&table::csv_header(self.out, T::COLUMNS)?);
            text.push_str("\r\n");
        }
        for row in rows {
            text.push_str(&table::csv_row(self.out, T::COLUMNS, row)?);
            text.push_str("\r\n");
        }
        self.out.print(&text)
    }
}

/// A whole list as JSON or YAML, its items narrowed to `--fields`.
fn print_list<T: Serialize>(out: &Out, list: &List<T>) -> Result<(), Failure> {
    let items = list.items.iter().map(|item| {
        let json = document::select(&document::compact(item)?, &out.fields)?;
        serde_json::value::RawValue::from_string(json).map_err(|e| Failure::error(e.to_string()))
    });
    let narrowed = List {
        v: list.v,
        kind: list.kind.clone(),
        items: items.collect::<Result<Vec<_>, _>>()?,
        next_cursor: list.next_cursor.clone(),
        total: list.total,
        searched_to: list.searched_to.clone(),
    };
    print_document(out, &narrowed, false)
}

/// Where there is nothing to pass or to fail.
pub(crate) fn no_junit() -> Failure {
    Failure::usage("junit is for what passes or fails")
        .hint("relayflow replay show ID -o junit, or --wait -o junit")
}

/// Where there is nothing that a code host could show.
pub(crate) fn no_sarif() -> Failure {
    Failure::usage("sarif is for what differs from a contract")
        .hint("relayflow contract check -o sarif, or drift ls -o sarif")
}

/// Rows that are there already, in the formats that have rows.
pub(crate) fn print_rows<T: Listed>(app: &App, rows: &[T]) -> Result<(), Failure> {
    Printer::new(&app.out, app.now()).rows(rows)
}

/// One object in the formats for programs; `false` if the format is one for people.
pub(crate) fn show_document<T: Serialize>(
    out: &Out,
    value: &T,
    name: &str,
) -> Result<bool, Failure> {
    match out.format {
        Format::Table | Format::Wide => return Ok(false),
        Format::Name => out.line(&relayflow_core::text::line(name))?,
        Format::Csv => {
            return Err(Failure::usage("csv is for lists").hint("-o json, or the noun's ls"));
        }
        Format::Junit => return Err(no_junit()),
        Format::Sarif => return Err(no_sarif()),
        Format::Json | Format::Yaml | Format::Ndjson => print_document(out, value, true)?,
    }
    Ok(true)
}

fn print_document<T: Serialize>(out: &Out, value: &T, narrow: bool) -> Result<(), Failure> {
    let compact = document::compact(value)?;
    let json = if narrow { document::select(&compact, &out.fields)? } else { compact };
    match out.format {
        Format::Yaml => out.print(&document::yaml(&json)?),
        Format::Ndjson => out.line(&json),
        Format::Json
        | Format::Table
        | Format::Wide
        | Format::Csv
        | Format::Name
        | Format::Junit
        | Format::Sarif => out.line(&document::indent(&json)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_says_what_is_left_and_how_to_see_it() {
        let total = |value, exact| Some(Total { value, exact });
        let args = ListArgs { limit: Some(4), ..ListArgs::default() };
        assert_eq!(
            footer(4, total(1204, true), Some("evt_1"), &args).unwrap(),
            "4 of 1,204   more: -n 100, or --after evt_1"
        );
        assert_eq!(
            footer(50, total(10_000, false), Some("c"), &ListArgs::default()).unwrap(),
            "50 of 10,000+   more: -n 100, or --after c"
        );
        assert_eq!(
            footer(50, None, Some("c"), &ListArgs::default()).unwrap(),
            "50   more: -n 100, or --after c"
        );
        assert_eq!(footer(4, total(4, true), None, &args), None);
    }
}
