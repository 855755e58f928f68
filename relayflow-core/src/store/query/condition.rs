//! A filter's terms as conditions in SQL, every value bound.

use std::sync::LazyLock;

use super::once::once;
use super::{Bind, HOLDS, Over, QueryError};
use crate::expr::Expression;
use crate::filter::{Field, Filter, Term, Test, Word};
use crate::id::{EventId, PlanId, ReplayId, RequestId, TaskId};

/// How much earlier than its request was received an id may have been drawn: clocks step.
pub(super) const DRAWN_BEFORE_US: i64 = 3_600_000_000;

/// How much later one is usually drawn at most; what is drawn later still has an index (`event_late`).
pub(super) const DRAWN_BEHIND_US: i64 = 60_000_000;

/// Sources, providers and types that have keys, each once: as many looks as there are.
static TYPES: LazyLock<String> = LazyLock::new(|| {
    let once = once("event_key", &["source", "provider", "type"], "");
    format!("{once} select source, provider, type from once")
});

const REJECTED: &str = "r.id in (select id from request where status = 'rejected')";

/// Conditions and their values, gathered.
pub(super) struct Builder {
    pub(super) over: Over,
    pub(super) text: String,
    pub(super) binds: Vec<Bind>,
    pub(super) holds: Option<Expression>,
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a field that comes later cannot be asked of a list until it is given a column here"
)]
impl Builder {
    pub(super) fn filter(&mut self, filter: &Filter) -> Result<(), QueryError> {
        match filter {
            Filter::All => self.text.push_str("1 = 1"),
            Filter::And(all) => self.joined(all, " and ")?,
            Filter::Or(all) => self.joined(all, " or ")?,
            Filter::Not(inner) => {
                // What is unknown is not so: `not kind:x` finds events without a kind.
                self.text.push_str("not coalesce((");
                self.filter(inner)?;
                self.text.push_str("), false)");
            }
            Filter::Term(term) => self.term(term)?,
        }
        Ok(())
    }

    fn joined(&mut self, all: &[Filter], with: &str) -> Result<(), QueryError> {
        self.text.push('(');
        for (i, one) in all.iter().enumerate() {
            if i > 0 {
                self.text.push_str(with);
            }
            self.filter(one)?;
        }
        self.text.push(')');
        Ok(())
    }

    fn bind(&mut self, value: Bind) -> String {
        self.binds.push(value);
        format!("${}", self.binds.len())
    }

    fn term(&mut self, term: &Term) -> Result<(), QueryError> {
        let condition = match &term.test {
            Test::OneOf(words) => {
                let all: Vec<String> = words
                    .iter()
                    .map(|word| self.word(&term.field, word))
                    .collect::<Result<_, _>>()?;
                format!("({})", all.join(" or "))
            }
            Test::Between { low, high, .. } => self.between(&term.field, *low, *high)?,
            Test::Matches(regex) => self.matches(&term.field, regex)?,
            Test::Holds(text) => self.holds(text)?,
        };
        self.text.push_str(&condition);
        Ok(())
    }

    fn word(&mut self, field: &Field, word: &Word) -> Result<String, QueryError> {
        match field {
            Field::Id => self.id(&word.text),
            Field::Request => Ok(self.request(&word.text)),
            Field::Replay => self.replay(&word.text),
            Field::Corr => Ok(self.correlation(word)),
            Field::Key if self.over != Over::Requests => Ok(self.key(word)),
            Field::External if self.over != Over::Requests => Ok(self.external(word)),
            Field::Sig if self.over == Over::Requests => self.signature(&word.text),
            Field::Status if self.over == Over::Requests => Ok(self.request_status(&word.text)),
            Field::Attempts | Field::Http => self.number(field, &word.text),
            Field::Attr(attribute) if self.over != Over::Requests => {
                let path = self.bind(Bind::Text(format!("$.\"{}\"", attribute.replace('"', ""))));
                Ok(self.text_is(&format!("cast(e.attributes ->> {path} as text)"), word))
            }
            Field::Payload(path) if self.over != Over::Requests => Ok(self.payload(path, word)),
            Field::Header(header) => Ok(self.header(header, word)),
            Field::Drift if self.over != Over::Requests => Ok(match word.text.as_str() {
                "none" => "e.drift is null".to_owned(),
                _ => self.text_is("e.drift", word),
            }),
            _ => {
                let (column, is_of_task) = self.column(field)?;
                let tested = match field {
                    Field::Type | Field::Kind => self.subtree(&column, word),
                    _ => self.text_is(&column, word),
                };
                Ok(if is_of_task && !self.over.has_tasks() { of_a_task(&tested) } else { tested })
            }
        }
    }

    /// What is rejected and what is dead has an index; the word is one of a closed set.
    fn request_status(&mut self, word: &str) -> String {
        let value = self.bind(Bind::Text(word.to_owned()));
        let listed = match word {
            "rejected" => " and r.id in (select id from request where status = 'rejected')",
            "dead" | "discarded" => {
                " and r.id in (select id from request where status in ('dead', 'discarded'))"
            }
            _ => "",
        };
        format!("(r.status = {value}{listed})")
    }

    /// By the table of keys: under each kind of event that there is, one look.
    fn external(&mut self, word: &Word) -> String {
        let is_it = self.text_is("e.external_id", word);
        if word.is_wild {
            return is_it;
        }
        let value = self.bind(Bind::Text(word.text.clone()));
        let types = &*TYPES;
        format!(
            "({is_it} and e.id in (select k.event_id from ({types}) t join event_key k
                on k.source = t.source and k.provider = t.provider and k.type = t.type
                    and k.external_id = {value}
                union all select id from event where id_is_derived = 1 and external_id = {value}))"
        )
    }

    fn key(&mut self, word: &Word) -> String {
        let is_it = self.text_is("e.provider || ':' || e.type || ':' || e.external_id", word);
        if word.is_wild {
            return is_it;
        }
        let value = self.bind(Bind::Text(word.text.clone()));
        let types = &*TYPES;
        let rest = format!("substr({value}, length(t.provider) + length(t.type) + 3)");
        format!(
            "({is_it} and e.id in (select k.event_id from ({types}) t join event_key k
                on k.source = t.source and k.provider = t.provider and k.type = t.type
                    and k.external_id = {rest}
                union all select x.id from ({types}) t join event x
                    on x.id_is_derived = 1 and x.external_id = {rest}))"
        )
    }

    /// The events that requests brought: the first is named there, others name their request.
    fn events_of(&mut self, low: &[u8; 16], high: &[u8; 16]) -> String {
        let first = self.range("x.id", low, high);
        let other = self.range("x.request_id", low, high);
        format!(
            "e.id in (select x.first_event_id from request x where {first}
                union all select x.id from event x where x.place > 0 and {other})"
        )
    }

    /// The column of a field that is text, and whether it is a task's.
    fn column(&self, field: &Field) -> Result<(String, bool), QueryError> {
        let of = if self.over == Over::Requests { "r" } else { "e" };
        let task = |column: &str| (format!("t.{column}"), true);
        let column = match field {
            Field::Source => (format!("{of}.source"), false),
            Field::Provider => (format!("{of}.provider"), false),
            Field::Status if self.over.has_tasks() => ("t.status".to_owned(), false),
            Field::Status => (format!("{of}.status"), false),
            Field::Reason if self.over == Over::Requests => ("r.reason".to_owned(), false),
            _ if self.over == Over::Requests => return Err(self.not_here(field)),
            Field::External => ("e.external_id".to_owned(), false),
            Field::Subject => ("e.subject".to_owned(), false),
            Field::Type => ("e.type".to_owned(), false),
            Field::Kind => ("e.kind".to_owned(), false),
            Field::Workflow => task("workflow"),
            Field::Step => task("step"),
            Field::Dest | Field::Queue => task("destination"),
            Field::Error => task("error_id"),
            Field::Reason => task("reason"),
            _ => return Err(self.not_here(field)),
        };
        Ok(column)
    }

    fn matches(&mut self, field: &Field, regex: &str) -> Result<String, QueryError> {
        let (column, is_of_task) = match field {
            Field::Key if self.over != Over::Requests => {
                ("(e.provider || ':' || e.type || ':' || e.external_id)".to_owned(), false)
            }
            Field::Corr => {
                let (of, id) =
                    if self.over == Over::Requests { ("r", "r.id") } else { ("e", "e.request_id") };
                (format!("coalesce({of}.correlation_id, lower(hex({id})))"), false)
            }
            _ => self.column(field)?,
        };
        let value = self.bind(Bind::Text(regex.to_owned()));
        let tested = format!("({column} is not null and {column} regexp {value})");
        Ok(if is_of_task && !self.over.has_tasks() { of_a_task(&tested) } else { tested })
    }

    fn holds(&mut self, text: &str) -> Result<String, QueryError> {
        if self.over == Over::Requests {
            return Err(self.not_here(&Field::Where));
        }
        if self.holds.as_ref().is_some_and(|known| known.text() != text) {
            return Err(QueryError::SeveralExpressions);
        }
        // It was checked when the filter was read.
        let expression = Expression::new(text).map_err(|_| self.not_here(&Field::Where))?;
        self.holds = Some(expression);
        Ok(HOLDS.to_owned())
    }

    /// A member of the payload, as text or as JSON writes it: `true`, `4200`, `1e400`.
    fn payload(&mut self, path: &str, word: &Word) -> String {
        let paths = json_paths(path);
        let all: Vec<String> = paths
            .into_iter()
            .map(|path| {
                let path = self.bind(Bind::Text(path));
                let value = self.bind(Bind::Text(word.text.clone()));
                format!("x.json ->> {path} = {value} or x.json -> {path} = {value}")
            })
            .collect();
        format!(
            "exists (select 1 from (select coalesce(e.payload, cast(substr(b.bytes,
                e.payload_from + 1, e.payload_to - e.payload_from) as text)) as json
                from request q join body b on b.id = q.body_id where q.id = e.request_id) x
             where json_valid(x.json) and ({}))",
            all.join(" or ")
        )
    }

    /// A kept header, by its name in lower case.
    fn header(&mut self, header: &str, word: &Word) -> String {
        let header = self.bind(Bind::Text(header.to_ascii_lowercase()));
        let value = self.bind(Bind::Text(word.text.clone()));
        let has = format!(
            "from json_each(q.headers) h
             where lower(h.value ->> 0) = {header} and h.value ->> 1 = {value}"
        );
        if self.over == Over::Requests {
            return format!("exists (select 1 {})", has.replace("q.headers", "r.headers"));
        }
        format!(
            "exists (select 1 from request q where q.id = e.request_id and exists (select 1 {has}))"
        )
    }

    fn not_here(&self, field: &Field) -> QueryError {
        QueryError::NotHere { field: field.name(), over: self.over.name() }
    }

    fn text_is(&mut self, column: &str, word: &Word) -> String {
        if !word.is_wild {
            let value = self.bind(Bind::Text(word.text.clone()));
            return format!("{column} = {value}");
        }
        let mut pattern = String::with_capacity(word.text.len() + 8);
        for c in word.text.chars() {
            match c {
                '*' => pattern.push('%'),
                '%' | '_' | '\\' => pattern.extend(['\\', c]),
                c => pattern.push(c),
            }
        }
        let value = self.bind(Bind::Text(pattern));
        format!("{column} like {value} escape '\\'")
    }

    /// A dotted name finds its subtree: what begins with it and a dot. `/` is the character after `.`.
    fn subtree(&mut self, column: &str, word: &Word) -> String {
        if word.is_wild {
            return self.text_is(column, word);
        }
        let exact = self.bind(Bind::Text(word.text.clone()));
        let low = self.bind(Bind::Text(format!("{}.", word.text)));
        let high = self.bind(Bind::Text(format!("{}/", word.text)));
        format!("({column} = {exact} or ({column} >= {low} and {column} < {high}))")
    }

    fn number(&mut self, field: &Field, text: &str) -> Result<String, QueryError> {
        let number = text.parse().map_err(|_| self.not_here(field))?;
        self.between(field, Some(number), Some(number))
    }

    fn between(
        &mut self,
        field: &Field,
        low: Option<i64>,
        high: Option<i64>,
    ) -> Result<String, QueryError> {
        let is_request = self.over == Over::Requests;
        let (column, is_of_task) = match field {
            Field::Received if is_request => ("r.received_us", false),
            Field::Received => ("e.received_us", false),
            Field::Size if is_request => ("r.body_bytes", false),
            Field::Occurred if !is_request => ("e.occurred_us", false),
            Field::Attempts if self.over == Over::Events => ("e.attempts", false),
            Field::Attempts if self.over.has_tasks() => ("t.attempt", false),
            Field::Http if !is_request => ("t.http_status", true),
            _ => return Err(self.not_here(field)),
        };
        let mut all = Vec::new();
        if let Some(low) = low {
            let value = self.bind(Bind::Int(low));
            all.push(format!("{column} >= {value}"));
            if *field == Field::Received {
                // Ids lie in the order of time: what is older is not even looked at.
                let first = self.bind(Bind::Blob(id_at(low.saturating_sub(DRAWN_BEFORE_US))));
                let id = match self.over {
                    Over::Events => "e.id",
                    Over::Tasks | Over::DeadTasks => "t.event_id",
                    Over::Requests => "r.id",
                };
                all.push(format!("{id} >= {first}"));
            }
        }
        if let Some(high) = high {
            let value = self.bind(Bind::Int(high));
            all.push(format!("{column} <= {value}"));
        }
        if all.is_empty() {
            all.push(format!("{column} is not null"));
        }
        let tested = format!("({})", all.join(" and "));
        Ok(if is_of_task && !self.over.has_tasks() { of_a_task(&tested) } else { tested })
    }

    fn id(&mut self, text: &str) -> Result<String, QueryError> {
        if RequestId::range(text).is_some() {
            return Ok(self.request(text));
        }
        if ReplayId::range(text).is_some() {
            return self.replay(text);
        }
        if let Some(range) = EventId::range(text) {
            if self.over == Over::Requests {
                let inner = self.range("x.id", range.0.bytes(), range.1.bytes());
                return Ok(format!("r.id in (select x.request_id from event x where {inner})"));
            }
            return Ok(self.range("e.id", range.0.bytes(), range.1.bytes()));
        }
        if let Some(range) = TaskId::range(text).filter(|_| self.over != Over::Requests) {
            if self.over.has_tasks() {
                return Ok(self.range("t.id", range.0.bytes(), range.1.bytes()));
            }
            let inner = self.range("x.id", range.0.bytes(), range.1.bytes());
            return Ok(format!("e.id in (select x.event_id from task x where {inner})"));
        }
        let field = if PlanId::range(text).is_some() { "a plan's id" } else { "id" };
        Err(QueryError::NotHere { field: field.to_owned(), over: self.over.name() })
    }

    fn range(&mut self, column: &str, low: &[u8; 16], high: &[u8; 16]) -> String {
        if low == high {
            let value = self.bind(Bind::Blob(low.to_vec()));
            return format!("{column} = {value}");
        }
        let low = self.bind(Bind::Blob(low.to_vec()));
        let high = self.bind(Bind::Blob(high.to_vec()));
        format!("({column} between {low} and {high})")
    }

    fn request(&mut self, text: &str) -> String {
        match RequestId::range(text) {
            Some((low, high)) if self.over == Over::Requests => {
                self.range("r.id", low.bytes(), high.bytes())
            }
            Some((low, high)) => self.events_of(low.bytes(), high.bytes()),
            None => "1 = 0".to_owned(),
        }
    }

    fn replay(&mut self, text: &str) -> Result<String, QueryError> {
        let Some((low, high)) = ReplayId::range(text) else {
            return Ok("1 = 0".to_owned());
        };
        let inner = self.range("i.replay_id", low.bytes(), high.bytes());
        let items = format!("select i.item from replay_item i where {inner}");
        Ok(match self.over {
            Over::Tasks | Over::DeadTasks => format!("t.id in ({items})"),
            Over::Events => {
                format!("e.id in (select x.event_id from task x where x.id in ({items}))")
            }
            Over::Requests => format!("r.id in ({items})"),
        })
    }

    fn correlation(&mut self, word: &Word) -> String {
        let of = if self.over == Over::Requests { "r" } else { "e" };
        let id = if self.over == Over::Requests { "r.id" } else { "e.request_id" };
        if word.is_wild {
            return self.text_is(&format!("coalesce({of}.correlation_id, lower(hex({id})))"), word);
        }
        let value = self.bind(Bind::Text(word.text.clone()));
        let (table, own) = match (RequestId::from_trace_id(&word.text), self.over) {
            (None, Over::Requests) => ("request", String::new()),
            (None, _) => ("event", String::new()),
            (Some(own), Over::Requests) => {
                let own = self.bind(Bind::Blob(own.bytes().to_vec()));
                ("request", format!(" union all select x.id from request x where x.id = {own}"))
            }
            (Some(own), _) => {
                let own = self.events_of(own.bytes(), own.bytes());
                (
                    "event",
                    own.replacen("e.id in (", " union all ", 1).trim_end_matches(')').to_owned(),
                )
            }
        };
        let listed = if self.over == Over::Requests { "r.id" } else { "e.id" };
        format!(
            "(coalesce({of}.correlation_id, lower(hex({id}))) = {value} and {listed} in
                (select x.id from {table} x where x.correlation_id = {value}{own}))"
        )
    }

    fn signature(&mut self, word: &str) -> Result<String, QueryError> {
        match word {
            "valid" => Ok("r.status <> 'rejected'".to_owned()),
            "invalid" => Ok(REJECTED.to_owned()),
            "missing" => Ok(format!("({REJECTED} and r.reason = 'missing_header')")),
            "skipped" => Ok("r.scheme like '%none'".to_owned()),
            _ => Err(self.not_here(&Field::Sig)),
        }
    }
}

/// The least id that can have been drawn at this moment.
pub(super) fn id_at(us: i64) -> Vec<u8> {
    let ms = u64::try_from(us / 1000).unwrap_or(0);
    let mut bytes = ms.to_be_bytes()[2..].to_vec();
    bytes.resize(16, 0);
    bytes
}

/// A dotted path as JSON paths. A number may be a place in a list, or a name.
fn json_paths(path: &str) -> Vec<String> {
    let named = |part: &str| format!(".\"{}\"", part.replace(['"', '\\'], ""));
    let is_place = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let names: String = path.split('.').map(named).collect();
    if !path.split('.').any(is_place) {
        return vec![format!("${names}")];
    }
    let places: String = path
        .split('.')
        .map(|part| if is_place(part) { format!("[{part}]") } else { named(part) })
        .collect();
    vec![format!("${places}"), format!("${names}")]
}

fn of_a_task(tested: &str) -> String {
    format!("exists (select 1 from task t where t.event_id = e.id and {tested})")
}
