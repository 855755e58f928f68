//! Which indices can name the events of a filter: series of ids, each the newest first.
//!
//! Of the parts that a filter joins with `and`, any whose events an index names is a way to find them
//! all; the rest of the filter is asked of what it names.

use std::sync::LazyLock;

use super::condition::Builder;
use super::once::once;
use super::{Bind, Over, QueryError, parts_of};
use crate::filter::{Field, Filter, Term, Test, Word};
use crate::task::TaskStatus;

/// Ids in falling order: `sql` ends in a condition, behind which `and ID < … order by ID desc` goes.
#[derive(Debug, Clone)]
pub(super) struct Series {
    /// The column that the ids are in.
    pub(super) id: &'static str,
    pub(super) sql: String,
    pub(super) binds: Vec<Bind>,
}

/// A way to all events of a filter.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// These series together.
    Of(Vec<Series>),
    /// A series for each of the values that this finds, of which there are few: so many columns, each
    /// bound in `each` where it says `?`.
    Each { values: String, binds: Vec<Bind>, columns: usize, each: &'static str, id: &'static str },
}

/// Where `e.status` is one of these, an index has it.
const INDEXED: [TaskStatus; 4] =
    [TaskStatus::Queued, TaskStatus::Retrying, TaskStatus::Discarded, TaskStatus::Skipped];

/// What events are: source, provider, type and kind, each once. A kind may be none.
static WHAT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{}, k(source, provider, type, kind) as (
        select source, provider, type, (select x.kind from event x
            where x.source = t.source and x.provider = t.provider and x.type = t.type
            order by x.kind limit 1)
        from once t
        union all
        select source, provider, type, (select x.kind from event x
            where x.source = k.source and x.provider = k.provider and x.type = k.type
                and x.kind > coalesce(k.kind, '') order by x.kind limit 1)
        from k where exists (select 1 from event x
            where x.source = k.source and x.provider = k.provider and x.type = k.type
                and x.kind > coalesce(k.kind, '')))
    select source, provider, type, kind from k e where ",
        once("event", &["source", "provider", "type"], "")
    )
});
const OF_WHAT: &str = "from event where source = ? and provider = ? and type = ? and kind is ?";

/// Which steps there are tasks of, and where: workflow, step and destination, each once.
static STEPS: LazyLock<String> = LazyLock::new(|| {
    let once = once("task", &["workflow", "step", "destination"], "");
    format!("{once} select workflow, step, destination from once t where ")
});
const OF_STEP: &str = "from task where workflow = ? and step = ? and destination = ?";

/// Statuses of answers other than the usual one.
static ANSWERS: LazyLock<String> = LazyLock::new(|| {
    let once = once("task", &["http_status"], "x.http_status is not null and x.http_status <> 200");
    format!("{once} select http_status from once t where ")
});
const OF_ANSWER: &str =
    "from task where http_status is not null and http_status <> 200 and http_status = ?";

/// The ways to the events of a filter; none: every event must be looked at.
pub(super) fn ways(filter: &Filter) -> Vec<Way> {
    let mut ways: Vec<Way> = parts_of(filter).iter().filter_map(way).collect();
    if let Some((condition, binds)) = of_what(filter) {
        let values = format!("{}({condition})", *WHAT);
        ways.push(Way::Each { values, binds, columns: 4, each: OF_WHAT, id: "id" });
    }
    ways
}

/// The part of a filter that asks for source, provider, type and kind alone.
pub(super) fn of_what(filter: &Filter) -> Option<(String, Vec<Bind>)> {
    let parts: Vec<Filter> = parts_of(filter).iter().filter(|p| is_of_what(p)).cloned().collect();
    if parts.is_empty() { None } else { condition(&Filter::And(parts), Over::Events).ok() }
}

/// The part of a filter that `task_given_up` tells, for dead letters; and whether that is all of it.
pub(super) fn of_given_up(filter: &Filter) -> ((String, Vec<Bind>), bool) {
    let is_told = |part: &&Filter| part.terms().iter().all(|term| is_of_given_up(&term.field));
    let parts: Vec<Filter> = parts_of(filter).iter().filter(is_told).cloned().collect();
    let is_all = parts.len() == parts_of(filter).len();
    let (mut text, binds) = if parts.is_empty() {
        ("1 = 1".to_owned(), Vec::new())
    } else {
        condition(&Filter::And(parts), Over::Tasks).unwrap_or_else(|_| ("1 = 1".to_owned(), vec![]))
    };
    if !filter.mentions(&Field::Status) {
        text.push_str(" and t.status = 'dead'");
    }
    ((text, binds), is_all)
}

fn is_of_given_up(field: &Field) -> bool {
    matches!(
        field,
        Field::Workflow
            | Field::Step
            | Field::Dest
            | Field::Queue
            | Field::Error
            | Field::Http
            | Field::Reason
            | Field::Status
    )
}

/// Whether a filter asks only for what `event_what` has.
fn is_of_what(filter: &Filter) -> bool {
    let terms = filter.terms();
    let is_one =
        |t: &&Term| matches!(t.field, Field::Source | Field::Provider | Field::Type | Field::Kind);
    !terms.is_empty() && terms.iter().all(is_one)
}

fn condition(filter: &Filter, over: Over) -> Result<(String, Vec<Bind>), QueryError> {
    let mut builder = Builder { over, text: String::new(), binds: Vec::new(), holds: None };
    builder.filter(filter)?;
    Ok((builder.text, builder.binds))
}

fn way(part: &Filter) -> Option<Way> {
    let Filter::Term(term) = part else { return None };
    match (&term.field, &term.test) {
        (Field::Error, Test::OneOf(words)) => {
            of_words(words, |word| series("event_id", "from task where error_id = $1", word))
        }
        (Field::Reason, Test::OneOf(words)) => {
            of_words(words, |word| series("event_id", "from task where reason = $1", word))
        }
        (Field::Status, Test::OneOf(words)) => of_words(words, status),
        (Field::Http, _) if !may_be_usual(term) => {
            let (condition, binds) = condition(part, Over::Tasks).ok()?;
            let values = format!("{}{condition}", *ANSWERS);
            Some(Way::Each { values, binds, columns: 1, each: OF_ANSWER, id: "event_id" })
        }
        (Field::Workflow | Field::Step | Field::Dest | Field::Queue, _) => {
            let (condition, binds) = condition(part, Over::Tasks).ok()?;
            let values = format!("{}{condition}", *STEPS);
            Some(Way::Each { values, binds, columns: 3, each: OF_STEP, id: "event_id" })
        }
        _ => None,
    }
}

/// One series for each word, if each has one.
fn of_words(words: &[Word], each: impl Fn(&str) -> Option<Series>) -> Option<Way> {
    let all = words.iter().map(|word| if word.is_wild { None } else { each(&word.text) });
    all.collect::<Option<Vec<_>>>().map(Way::Of)
}

#[expect(clippy::unnecessary_wraps, reason = "what a word's series is")]
fn series(id: &'static str, sql: &str, value: &str) -> Option<Series> {
    Some(Series { id, sql: sql.to_owned(), binds: vec![Bind::Text(value.to_owned())] })
}

fn status(word: &str) -> Option<Series> {
    let status = TaskStatus::from_word(word)?;
    if status == TaskStatus::Running {
        let sql = "from task where status = 'running' and lease_until_us > 0".to_owned();
        return Some(Series { id: "event_id", sql, binds: vec![] });
    }
    if status == TaskStatus::Dead {
        let sql = "from event indexed by event_dead where dead > 0".to_owned();
        return Some(Series { id: "id", sql, binds: vec![] });
    }
    // A word of a closed set: the index is used only where the text itself says it.
    let word = INDEXED.contains(&status).then(|| status.as_str())?;
    let sql = format!(
        "from event indexed by event_state
         where status = '{word}' and status <> 'ok' and status <> 'running'"
    );
    Some(Series { id: "id", sql, binds: vec![] })
}

/// Whether a task may have been answered 200 by the term.
fn may_be_usual(term: &Term) -> bool {
    match &term.test {
        Test::OneOf(words) => words.iter().any(|word| word.text.parse() == Ok(200_i64)),
        Test::Between { low, high, .. } => {
            low.is_none_or(|low| low <= 200) && high.is_none_or(|high| 200 <= high)
        }
        Test::Matches(_) | Test::Holds(_) => true,
    }
}
