//! Whatever way a search takes, it finds what looking at everything finds: random filters over random
//! stores, page by page, with and without time.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::*;
use crate::filter::{Field, Filter, Now, Term, Test};

/// Chance that repeats itself (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }

    fn of<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all[self.roll(all.len())]
    }
}

const TYPES: [&str; 6] =
    ["order.paid", "order.failed", "order", "orders.x", "invoice.paid.late", "ping"];
const KINDS: [Option<&str>; 4] = [None, Some("payment.failed"), Some("payment"), Some("contact")];
const ERRORS: [&str; 3] = ["422 no contact 17", "503 try later", "timeout after 10 s"];

/// A store with a few dozen events in all states, some of them read long after they came.
async fn fill(house: &House, dice: &mut Dice) {
    for number in 0..30 + dice.roll(30) {
        let mut news = Vec::new();
        for part in 0..1 + usize::from(dice.roll(6) == 0) {
            let mut new = event(dice.of(&TYPES), &format!("x{number}-{part}"), "{}");
            new.event.source = dice.of(&["shop", "code", "quiet"]).into();
            new.event.provider = dice.of(&["acme", "other"]).into();
            new.event.kind = KINDS[dice.roll(4)].map(Into::into);
            new.event.subject = (dice.roll(3) > 0).then(|| format!("s{}", dice.roll(5)));
            if dice.roll(5) == 0 {
                new.event.id_is_derived = true;
                new.event.external_id = format!("sha256:{}", dice.roll(3));
                new.derived_window = SignedDuration::ZERO;
            }
            for name in ["post", "mail"].into_iter().take(dice.roll(3)) {
                let mut task = if dice.roll(4) == 0 { step(name, &[]) } else { placed(name) };
                task.workflow = dice.of(&["orders", "audit"]).into();
                task.destination = dice.of(&["a.example.com", "b.example.com"]).into();
                new.tasks.push(task);
            }
            news.push(new);
        }
        // The clock stands far behind the one that ids are drawn by, or (nearly) with it.
        if dice.roll(12) == 0 {
            house.clock.set(Clock::Wall.now());
        }
        house.wait(SECOND);
        let mut new = request(&house.clock, news);
        if dice.roll(4) == 0 {
            let id = CorrelationId::given(&format!("c{}", dice.roll(3))).unwrap();
            new.events.iter_mut().for_each(|e| e.event.correlation_id = id.clone());
        }
        house.store().commit(new).await.unwrap();
        while let Some(leased) = house.leased() {
            end(house, dice, &leased.task);
        }
        house.store().flush().await.unwrap();
    }
}

/// One of the ends that an attempt may have; some have none.
fn end(house: &House, dice: &mut Dice, task: &Task) {
    let now = house.clock.now();
    let (status, transition) = match dice.roll(6) {
        0 => return,
        1 | 2 => (AttemptStatus::Ok, Transition::Complete),
        3 => (AttemptStatus::Failed, Transition::RetryAt(now + SECOND * 9)),
        4 => (AttemptStatus::Rejected, Transition::DeadLetter(DeadReason::Unretryable)),
        _ => (AttemptStatus::Failed, Transition::DeadLetter(DeadReason::Exhausted)),
    };
    let is_ok = status == AttemptStatus::Ok;
    let http = [200, 204][dice.roll(2)];
    let error = dice.of(&ERRORS).to_owned();
    house.store().settle(Settlement {
        task: task.clone(),
        about: None,
        status,
        transition,
        started_at: now,
        ended_at: now,
        http_status: if is_ok { Some(http) } else { error[..3].parse().ok() },
        error: (!is_ok).then_some(error),
        response: None,
    });
}

/// An event with its tasks, as looking at everything shows them.
struct Whole {
    event: EventRow,
    tasks: Vec<TaskRow>,
}

fn any(term: &Term, values: impl IntoIterator<Item = Option<String>>) -> bool {
    values.into_iter().flatten().any(|value| term.matches(&value))
}

fn number(term: &Term, value: i64) -> bool {
    match &term.test {
        Test::Between { low, high, .. } => {
            low.is_none_or(|low| low <= value) && high.is_none_or(|high| value <= high)
        }
        Test::OneOf(words) => words.iter().any(|word| word.text.parse() == Ok(value)),
        Test::Matches(_) | Test::Holds(_) => false,
    }
}

/// Whether a term holds of an event with these of its tasks.
#[expect(clippy::wildcard_enum_match_arm, reason = "only what the test draws is asked")]
fn holds(term: &Term, event: &EventRow, tasks: &[&TaskRow], status: TaskStatus) -> bool {
    let e = &event.event;
    let text = |value: &str| any(term, [Some(value.to_owned())]);
    let of_tasks = |of: fn(&TaskRow) -> Option<String>| any(term, tasks.iter().map(|t| of(t)));
    match &term.field {
        Field::Id => text(&e.id.to_string()),
        Field::Source => text(&e.source),
        Field::Provider => text(&e.provider),
        Field::Type => text(&e.event_type),
        Field::Kind => any(term, [e.kind.as_deref().map(str::to_owned)]),
        Field::Subject => any(term, [e.subject.clone()]),
        Field::External => text(&e.external_id),
        Field::Key => text(&e.idempotency_key()),
        Field::Corr => text(e.correlation_id.as_str()),
        Field::Request => text(&e.request_id.to_string()),
        Field::Status => text(status.as_str()),
        Field::Workflow => of_tasks(|t| Some(t.workflow.clone())),
        Field::Step => of_tasks(|t| Some(t.step.clone())),
        Field::Dest | Field::Queue => of_tasks(|t| Some(t.destination.clone())),
        Field::Error => of_tasks(|t| t.error_id.clone()),
        Field::Reason => of_tasks(|t| t.reason.clone()),
        Field::Http => tasks.iter().any(|t| t.http_status.is_some_and(|n| number(term, n))),
        Field::Received => number(term, e.received_at.as_microsecond()),
        other => panic!("{other:?} is not asked here"),
    }
}

/// A term about something that is there, or nearly.
fn term(dice: &mut Dice, all: &[Whole]) -> String {
    let one = &all[dice.roll(all.len())];
    let (e, task) = (&one.event.event, one.tasks.first());
    let of_task =
        |of: fn(&TaskRow) -> Option<String>| task.and_then(of).unwrap_or_else(|| "none".to_owned());
    let at = e.received_at;
    match dice.roll(24) {
        0 => format!("source:{}", e.source),
        1 => format!("source:{},nowhere", e.source),
        2 => format!("provider:{}", e.provider),
        3 => format!("type:{}", e.event_type),
        4 => "type:order".to_owned(),
        5 => "type:or*id".to_owned(),
        6 => "type:~^[oi]".to_owned(),
        7 => format!("kind:{}", e.kind.as_deref().unwrap_or("payment")),
        8 => format!("subject:{}", e.subject.as_deref().unwrap_or("s0")),
        9 => format!("external:{}", e.external_id.replace(':', "*")),
        10 => format!("external:\"{}\"", e.external_id),
        11 => format!("key:\"{}\"", e.idempotency_key()),
        12 => format!("corr:{}", e.correlation_id),
        13 => format!("request:{}", e.request_id),
        14 => {
            format!("status:{}", dice.of(&["dead", "failed", "open", "ok", "skipped", "running"]))
        }
        15 => format!("workflow:{}", of_task(|t| Some(t.workflow.clone()))),
        16 => format!("step:{}", dice.of(&["post", "mail", "m*", "nothing"])),
        17 => format!("dest:{}", of_task(|t| Some(t.destination.clone()))),
        18 => format!("error:{}", of_task(|t| t.error_id.clone())),
        19 => format!("http:{}", dice.of(&["200", "503", "422,503", "500..", "..299", "201..204"])),
        20 => format!("reason:{}", dice.of(&["exhausted", "unretryable", "exhausted,too_old"])),
        21 => format!("received:..{at}"),
        22 => format!("received:{at}.."),
        _ => format!("received:{at}..{}", at + SECOND * 9),
    }
}

fn filter(dice: &mut Dice, all: &[Whole]) -> String {
    let mut text = term(dice, all);
    for _ in 0..dice.roll(3) {
        let more = term(dice, all);
        text = match dice.roll(5) {
            0 => format!("({text} or {more})"),
            1 => format!("{text} not {more}"),
            _ => format!("{text} {more}"),
        };
    }
    text
}

async fn whole(house: &House) -> Vec<Whole> {
    let store = house.store();
    let mut all = Vec::new();
    for line in house.rows("select hex(id) from event order by id desc") {
        let id = EventId::from_bytes(&hex::decode(line).unwrap()).unwrap();
        let event = store.event(id).await.unwrap().unwrap();
        all.push(Whole { event, tasks: store.tasks_of(id).await.unwrap() });
    }
    all
}

/// Every page, however little time there is for one.
async fn found(store: &Store, selection: &Selection, dice: &mut Dice) -> Vec<EventId> {
    let mut ids = Vec::new();
    let mut before = None;
    loop {
        let limit = 1 + dice.roll(9);
        let time = Duration::from_secs([0, 60][dice.roll(2)]);
        let page = store.events_within(selection, before, limit, time).await.unwrap();
        assert!(page.rows.len() <= limit);
        ids.extend(page.rows.iter().map(|row| row.event.id));
        before = match (page.stopped_at, page.rows.last()) {
            (Some(at), last) => {
                assert!(last.is_none_or(|row| at <= row.event.id), "it stops behind its rows");
                Some(at)
            }
            (None, Some(last)) => Some(last.event.id),
            (None, None) => return ids,
        };
    }
}

async fn found_dead(store: &Store, selection: &Selection, dice: &mut Dice) -> Vec<TaskId> {
    let mut ids = Vec::new();
    let mut before = None;
    loop {
        let limit = 1 + dice.roll(9);
        let time = Duration::from_secs([0, 60][dice.roll(2)]);
        let page = store.dead_tasks_within(selection, before, limit, time).await.unwrap();
        ids.extend(page.rows.iter().map(|row| row.id));
        before = match (page.stopped_at, page.rows.last()) {
            (Some(at), _) => Some(at),
            (None, Some(last)) => Some((last.ended_us.unwrap(), last.id)),
            (None, None) => return ids,
        };
    }
}

on_each_database! {
    async fn every_way_finds_what_looking_at_everything_finds(house: House) {
        let seed: u64 = std::env::var("RELAYFLOW_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(7);
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let store = house.store();
        fill(house, &mut dice).await;
        assert_eq!(house.rows("pragma integrity_check"), ["ok"]);
        let all = whole(house).await;
        let now = Now { now: house.clock.now(), zone: TimeZone::UTC };
        for round in 0..600 {
            let text = filter(&mut dice, &all);
            let filter = Filter::parse(&text, &now).unwrap();
            let told = format!("seed {seed}, round {round}: {text}");

            let selection = Selection::new(&filter, Over::Events).unwrap();
            let wanted: Vec<EventId> = all
                .iter()
                .filter(|w| {
                    let tasks: Vec<&TaskRow> = w.tasks.iter().collect();
                    filter.holds(&|term| holds(term, &w.event, &tasks, w.event.status))
                })
                .map(|w| w.event.event.id)
                .collect();
            assert_eq!(found(&store, &selection, &mut dice).await, wanted, "events, {told}");
            let (count, is_all) =
                store.count_events(&selection, 10_000, Duration::from_secs(60)).await.unwrap();
            assert_eq!((count, is_all), (wanted.len(), true), "count, {told}");

            let selection = Selection::new(&filter, Over::DeadTasks).unwrap();
            let is_default = !filter.mentions(&Field::Status);
            let mut dead: Vec<(i64, TaskId)> = all
                .iter()
                .flat_map(|w| w.tasks.iter().map(move |task| (w, task)))
                .filter(|(_, task)| {
                    task.status == TaskStatus::Dead
                        || (task.status == TaskStatus::Discarded && !is_default)
                })
                .filter(|(w, task)| filter.holds(&|term| holds(term, &w.event, &[task], task.status)))
                .map(|(_, task)| (task.ended_us.unwrap(), task.id))
                .collect();
            dead.sort_by(|a, b| b.cmp(a));
            let wanted: Vec<TaskId> = dead.into_iter().map(|(_, id)| id).collect();
            assert_eq!(found_dead(&store, &selection, &mut dice).await, wanted, "dead, {told}");
            let Some(groups) = store.dead_groups(&selection, "error").await.unwrap() else { continue };
            let grouped: i64 = groups.iter().map(|g| g.count).sum();
            assert_eq!(grouped, i64::try_from(wanted.len()).unwrap(), "groups, {told}");
        }
    }
}
