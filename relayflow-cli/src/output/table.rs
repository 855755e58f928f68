//! Tables and CSV. A column says what it holds; how that looks depends on where it goes.

use jiff::{SignedDuration, Timestamp};
use relayflow_core::text;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::style::Tone;
use super::{Out, document, time};
use crate::args::Format;
use crate::failure::Failure;

/// One column of a list of `T`.
pub(crate) struct Column<T: 'static> {
    /// The field's name on the wire, for `--fields` and csv.
    pub(crate) field: &'static str,
    /// Its name shortened, for the header.
    pub(crate) name: &'static str,
    /// 0 is never dropped; the greatest is dropped first.
    pub(crate) rank: u8,
    /// Only in `wide`, csv and where asked for.
    pub(crate) wide: bool,
    pub(crate) get: fn(&T) -> Datum,
}

/// What stands in a cell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Datum {
    Nothing,
    /// Never shortened.
    Id(String),
    /// Shortened where room is short.
    Text(String),
    Status(String),
    /// RFC 3339.
    Moment(String),
    Count(i64),
    /// Seconds.
    Amount(f64),
    /// Such as `1/2`: how many of how many.
    Share(i64, i64),
    /// So many each second.
    Rate(f64),
    /// 0 to 1.
    Percent(f64),
    /// Milliseconds.
    Millis(f64),
    /// A word on the right side, such as `never` among amounts of time.
    Word(String),
    /// Counts, as bars on a terminal.
    Bars(Vec<i64>),
    /// A state, until when it lasts (words before a moment), and what else there is to say.
    State {
        word: String,
        until: Option<(String, Option<String>)>,
        more: String,
    },
}

impl Datum {
    pub(crate) fn text(text: &Option<String>) -> Self {
        text.as_ref().map_or(Self::Nothing, |text| Self::Text(text.clone()))
    }

    pub(crate) fn id(id: &Option<String>) -> Self {
        id.as_ref().map_or(Self::Nothing, |id| Self::Id(id.clone()))
    }

    pub(crate) fn moment(at: &Option<String>) -> Self {
        at.as_ref().map_or(Self::Nothing, |at| Self::Moment(at.clone()))
    }

    fn is_right(&self) -> bool {
        match self {
            Self::Count(_)
            | Self::Amount(_)
            | Self::Share(..)
            | Self::Rate(_)
            | Self::Percent(_)
            | Self::Millis(_)
            | Self::Word(_) => true,
            Self::Nothing
            | Self::Id(_)
            | Self::Text(_)
            | Self::Status(_)
            | Self::Moment(_)
            | Self::Bars(_)
            | Self::State { .. } => false,
        }
    }

    fn show(&self, out: &Out, now: Timestamp) -> String {
        match self {
            Self::Nothing => String::from(if out.width.is_some() { out.style.none() } else { "-" }),
            Self::Id(text) | Self::Text(text) => text::line(text).into_owned(),
            Self::Status(status) => out.style.status(&text::line(status)),
            Self::Moment(at) => out.moment(at, now),
            Self::Count(n) => match u64::try_from(*n) {
                Ok(n) if out.width.is_some() => time::count(n),
                Ok(_) | Err(_) => n.to_string(),
            },
            Self::Amount(seconds) => time::amount(
                SignedDuration::try_from_secs_f64(*seconds).unwrap_or(SignedDuration::MAX),
            ),
            Self::Share(part, whole) => format!("{part}/{whole}"),
            Self::Rate(per_second) => format!("{per_second:.1}"),
            Self::Percent(share) => format!("{:.1}", share * 100.0),
            Self::Millis(ms) => time::millis(*ms),
            Self::Word(word) => text::line(word).into_owned(),
            Self::Bars(counts) if out.width.is_some() => {
                crate::commands::stats::spark(counts, BARS, out.style.ascii)
            }
            // To a program the numbers are of use in csv and json, not in a table.
            Self::Bars(_) => "-".to_owned(),
            Self::State { word, until, more } => {
                let mut shown = out.style.status(&text::line(word)).replace('_', " ");
                if let Some((words, at)) = until {
                    shown.push_str(&format!(" {}", text::line(words)));
                    if let Some(at) = at {
                        shown.push_str(&format!(" {}", time::until(at, &out.zone, now)));
                    }
                }
                if !more.is_empty() {
                    let gap = if until.is_some() { " " } else { "  " };
                    shown.push_str(&format!("{gap}{}", text::line(more)));
                }
                shown
            }
        }
    }

    /// Whether it may be shortened, and the room that it keeps before other columns are dropped.
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other kind is shown whole")]
    fn kept(&self) -> Option<usize> {
        match self {
            Self::Text(_) => Some(TEXT_KEPT),
            // Its first words say what holds it up, who, and until when.
            Self::State { until: Some(_), .. } => Some(STATE_KEPT),
            _ => None,
        }
    }

    fn shortened(&self, shown: &str, width: usize, ellipsis: &str) -> String {
        if !matches!(self, Self::State { .. }) || shown.width() <= width {
            return shorten(shown, width, ellipsis);
        }
        let mut cut = String::new();
        for c in shown.chars() {
            if width < cut.width() + c.width().unwrap_or(0) + ellipsis.width() {
                break;
            }
            cut.push(c);
        }
        cut + ellipsis
    }

    fn tone(&self) -> Tone {
        match self {
            Self::Status(status) | Self::State { word: status, .. } => Tone::of_status(status),
            Self::Nothing => Tone::Dim,
            Self::Id(_)
            | Self::Text(_)
            | Self::Moment(_)
            | Self::Count(_)
            | Self::Amount(_)
            | Self::Share(..)
            | Self::Rate(_)
            | Self::Percent(_)
            | Self::Millis(_)
            | Self::Word(_)
            | Self::Bars(_) => Tone::Plain,
        }
    }

    /// The cell of a csv, without quotes.
    fn plain(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Id(text) | Self::Text(text) | Self::Status(text) | Self::Moment(text) => {
                text.clone()
            }
            Self::Count(n) => n.to_string(),
            Self::Amount(n) => n.to_string(),
            Self::Share(part, whole) => format!("{part}/{whole}"),
            Self::Rate(n) | Self::Percent(n) | Self::Millis(n) => n.to_string(),
            Self::Word(word) => word.clone(),
            Self::Bars(counts) => {
                counts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
            }
            Self::State { word, until, more } => {
                let (words, at) = until.clone().unwrap_or_default();
                let parts = [word.clone(), words, at.unwrap_or_default(), more.clone()];
                parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
            }
        }
    }
}

/// The room that a text column keeps before others are dropped for it.
const TEXT_KEPT: usize = 20;
const STATE_KEPT: usize = 32;
/// The room below which no text is shortened.
const TEXT_LEAST: usize = 8;
const GAP: usize = 2;
/// How wide the bars of a row are.
const BARS: usize = 20;

/// The columns that are shown, and how wide each is. Made from the first page, it serves the rest.
pub(crate) struct Layout<T: 'static> {
    columns: Vec<(&'static Column<T>, usize)>,
    /// The fields that stand on the right, also where there is nothing.
    right: Vec<&'static str>,
}

/// A column with its width, and the room that it keeps.
type Fitted<'a, T> = ((&'a Column<T>, usize), Option<usize>);

impl<T> Layout<T> {
    /// # Errors
    ///
    /// A field of `--fields` is none of this list's.
    pub(crate) fn new(
        out: &Out,
        columns: &'static [Column<T>],
        rows: &[T],
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let chosen = choose(out, columns)?;
        let measured = chosen.into_iter().map(|column| {
            let cells = rows.iter().map(|row| (column.get)(row));
            let widest = cells.map(|cell| cell.show(out, now).width()).max().unwrap_or(0);
            (column, widest.max(column.name.width()))
        });
        let columns: Vec<_> = measured.collect();
        let is_right = |column: &Column<T>| rows.iter().any(|row| (column.get)(row).is_right());
        let right = columns.iter().filter(|(column, _)| is_right(column));
        let right = right.map(|(column, _)| column.field).collect();
        let mut layout = Self { columns, right };
        if let (Some(width), Format::Table) = (out.width, out.format) {
            layout.fit(width, rows, !out.fields.is_empty());
        }
        Ok(layout)
    }

    fn fit(&mut self, width: usize, rows: &[T], keep_all: bool) {
        let kept =
            |column: &Column<T>| rows.iter().filter_map(|row| (column.get)(row).kept()).max();
        let texts: Vec<Option<usize>> =
            self.columns.iter().map(|(column, _)| kept(column)).collect();
        let mut columns: Vec<_> = self.columns.drain(..).zip(texts).collect();
        let least = |columns: &[Fitted<'_, T>]| {
            let cells = columns.iter().map(|((_, w), kept)| kept.map_or(*w, |kept| (*w).min(kept)));
            cells.sum::<usize>() + GAP * columns.len().saturating_sub(1)
        };
        while !keep_all && width < least(&columns) {
            let least_important = columns
                .iter()
                .enumerate()
                .filter(|(_, ((column, _), _))| 0 < column.rank)
                .max_by_key(|(_, ((column, _), _))| column.rank)
                .map(|(place, _)| place);
            let Some(place) = least_important else { break };
            columns.remove(place);
        }
        let total = |columns: &[Fitted<'_, T>]| {
            columns.iter().map(|((_, w), _)| w).sum::<usize>()
                + GAP * columns.len().saturating_sub(1)
        };
        while width < total(&columns) {
            let over = total(&columns) - width;
            let Some(widest) =
                columns.iter_mut().filter(|(_, kept)| kept.is_some()).max_by_key(|((_, w), _)| *w)
            else {
                break;
            };
            if widest.0.1 <= TEXT_LEAST {
                break;
            }
            widest.0.1 = widest.0.1.saturating_sub(over.min(4)).max(TEXT_LEAST);
        }
        self.columns = columns.into_iter().map(|(column, _)| column).collect();
    }

    pub(crate) fn header(&self, out: &Out) -> String {
        let cells = self.columns.iter().map(|(column, width)| {
            let is_right = self.right.contains(&column.field);
            (column.name.to_owned(), *width, is_right, Tone::Dim)
        });
        join(out, cells)
    }

    pub(crate) fn row(&self, out: &Out, row: &T, now: Timestamp) -> String {
        let cells = self.columns.iter().map(|(column, width)| {
            let datum = (column.get)(row);
            let mut shown = datum.show(out, now);
            if out.width.is_some() && datum.kept().is_some() {
                shown = datum.shortened(&shown, *width, out.style.ellipsis());
            }
            let is_right = self.right.contains(&column.field);
            (shown, *width, is_right, datum.tone())
        });
        join(out, cells)
    }
}

fn join(out: &Out, cells: impl Iterator<Item = (String, usize, bool, Tone)>) -> String {
    let cells: Vec<_> = cells.collect();
    let last = cells.len().saturating_sub(1);
    let mut line = String::new();
    for (place, (text, width, is_right, tone)) in cells.into_iter().enumerate() {
        let pad = " ".repeat(width.saturating_sub(text.width()));
        if is_right {
            line.push_str(&pad);
        }
        if !text.is_empty() {
            line.push_str(&out.style.paint(&text, tone));
        }
        if place != last {
            if !is_right {
                line.push_str(&pad);
            }
            line.push_str("  ");
        }
    }
    // An empty cell at the end leaves no spaces.
    line.truncate(line.trim_end_matches(' ').len());
    line
}

/// The columns that the format and `--fields` ask for.
fn choose<T>(out: &Out, columns: &'static [Column<T>]) -> Result<Vec<&'static Column<T>>, Failure> {
    if out.fields.is_empty() {
        let all = out.format != Format::Table;
        return Ok(columns.iter().filter(|column| all || !column.wide).collect());
    }
    let find = |field: &String| {
        columns
            .iter()
            .find(|c| c.field == field || c.name.eq_ignore_ascii_case(field))
            .ok_or_else(|| document::no_such_field(field, columns.iter().map(|c| c.field)))
    };
    out.fields.iter().map(find).collect()
}

/// The header row of a csv.
pub(crate) fn csv_header<T>(out: &Out, columns: &'static [Column<T>]) -> Result<String, Failure> {
    let names: Vec<_> = choose(out, columns)?.iter().map(|c| csv_cell(c.field)).collect();
    Ok(names.join(","))
}

/// One row of a csv.
pub(crate) fn csv_row<T>(
    out: &Out,
    columns: &'static [Column<T>],
    row: &T,
) -> Result<String, Failure> {
    let cells: Vec<_> =
        choose(out, columns)?.iter().map(|c| csv_cell(&(c.get)(row).plain())).collect();
    Ok(cells.join(","))
}

/// One cell: always quoted, and no spreadsheet takes it for a formula.
///
/// It is made safe as in a table: a csv is looked at in terminals too, and a cell of several lines hides
/// in a spreadsheet. Who wants each character takes JSON.
fn csv_cell(text: &str) -> String {
    const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];
    let begins = text.trim_start().starts_with(FORMULA) || text.starts_with(['\t', '\r', '\0']);
    let guard = if begins { "'" } else { "" };
    format!("\"{guard}{}\"", text::line(text).replace('"', "\"\""))
}

/// `text` in at most `width` columns, the middle left out.
pub(crate) fn shorten(text: &str, width: usize, ellipsis: &str) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(ellipsis.width());
    let head = room.div_ceil(2);
    let front = take(text.chars(), head);
    let back: String = take(text.chars().rev(), room - head).chars().rev().collect();
    format!("{front}{ellipsis}{back}")
}

fn take(chars: impl Iterator<Item = char>, width: usize) -> String {
    let mut used = 0;
    chars
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= width
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Row {
        id: &'static str,
        status: &'static str,
        error: &'static str,
        attempts: i64,
    }

    const COLUMNS: &[Column<Row>] = &[
        Column { field: "id", name: "ID", rank: 0, wide: false, get: |r| Datum::Id(r.id.into()) },
        Column {
            field: "received_at",
            name: "RECEIVED",
            rank: 3,
            wide: false,
            get: |_| Datum::Moment("2026-11-23T14:02:20Z".into()),
        },
        Column {
            field: "status",
            name: "STATUS",
            rank: 0,
            wide: false,
            get: |r| Datum::Status(r.status.into()),
        },
        Column {
            field: "attempts",
            name: "ATT",
            rank: 2,
            wide: false,
            get: |r| Datum::Count(r.attempts),
        },
        Column {
            field: "error",
            name: "ERROR",
            rank: 0,
            wide: false,
            get: |r| if r.error.is_empty() { Datum::Nothing } else { Datum::Text(r.error.into()) },
        },
    ];

    const ROWS: &[Row] = &[
        Row {
            id: "evt_01J9ZC51",
            status: "dead",
            error: "crm/upsert 422 unknown field plan_id and a lot of other words",
            attempts: 1204,
        },
        Row { id: "evt_01J9ZC4K", status: "ok", error: "", attempts: 1 },
        Row { id: "evt_01J9ZC4L", status: "retrying", error: "\u{1b}[2J\u{202e}=x", attempts: 2 },
    ];

    fn table(format: Format, columns: Option<usize>) -> String {
        let out = Out::test(format, columns);
        let now = "2026-11-23T14:03:11Z".parse().unwrap();
        let layout = Layout::new(&out, COLUMNS, ROWS, now).unwrap();
        let mut lines = vec![layout.header(&out)];
        lines.extend(ROWS.iter().map(|row| layout.row(&out, row, now)));
        lines.join("\n")
    }

    #[test]
    fn a_terminal_gets_what_fits() {
        insta::assert_snapshot!(table(Format::Table, Some(100)), @r"
        ID            RECEIVED  STATUS        ATT  ERROR
        evt_01J9ZC51  51s ago   ✖ dead      1,204  crm/upsert 422 unknown field…_id and a lot of other words
        evt_01J9ZC4K  51s ago   ● ok            1  –
        evt_01J9ZC4L  51s ago   ↻ retrying      2  ␛[2J<U+202E>=x
        ");
        insta::assert_snapshot!(table(Format::Table, Some(50)), @r"
        ID            STATUS      ERROR
        evt_01J9ZC51  ✖ dead      crm/upsert 4…other words
        evt_01J9ZC4K  ● ok        –
        evt_01J9ZC4L  ↻ retrying  ␛[2J<U+202E>=x
        ");
    }

    #[test]
    fn a_file_gets_everything() {
        insta::assert_snapshot!(table(Format::Table, None), @r"
        ID            RECEIVED              STATUS     ATT  ERROR
        evt_01J9ZC51  2026-11-23T14:02:20Z  dead      1204  crm/upsert 422 unknown field plan_id and a lot of other words
        evt_01J9ZC4K  2026-11-23T14:02:20Z  ok           1  -
        evt_01J9ZC4L  2026-11-23T14:02:20Z  retrying     2  ␛[2J<U+202E>=x
        ");
    }

    #[test]
    fn no_spreadsheet_takes_a_cell_for_a_formula() {
        for (text, cell) in [
            ("plain", "\"plain\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@x", "\"'@x\""),
            ("\tx", "\"'␉x\""),
            ("\rx", "\"'␍x\""),
            ("\0x", "\"'␀x\""),
            ("a\"b", "\"a\"\"b\""),
        ] {
            assert_eq!(csv_cell(text), cell);
        }
        let out = Out::test(Format::Csv, None);
        insta::assert_snapshot!(csv_row(&out, COLUMNS, &ROWS[1]).unwrap(),
            @r#""evt_01J9ZC4K","2026-11-23T14:02:20Z","ok","1","""#);
    }

    #[test]
    fn fields_choose_columns_by_either_name() {
        let mut out = Out::test(Format::Table, Some(200));
        out.fields = vec!["att".into(), "id".into()];
        let now = "2026-11-23T14:03:11Z".parse().unwrap();
        let layout = Layout::new(&out, COLUMNS, ROWS, now).unwrap();
        assert_eq!(layout.row(&out, &ROWS[1], now), "    1  evt_01J9ZC4K");
        out.fields = vec!["nope".into()];
        assert_eq!(Layout::new(&out, COLUMNS, ROWS, now).err().unwrap().exit().code(), 2);
    }

    #[test]
    fn the_middle_is_left_out() {
        assert_eq!(shorten("abcdefghij", 5, "…"), "ab…ij");
        assert_eq!(shorten("日本語日本語", 7, "…"), "日…語");
        assert_eq!(shorten("short", 5, "…"), "short");
    }
}
