//! stub
use bytes::Bytes;

use super::codes::Code;
use super::*;
use crate::store::Store;

#[derive(Debug, Clone, Default)]
pub struct Page {
    pub q: Option<String>,
    pub limit: usize,
    pub cursor: Option<String>,
}
#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub struct ViewError;
impl ViewError {
    pub fn code(&self) -> Code {
        Code::NoSuchObject
    }
}
pub struct Raw {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}
pub struct Tail {
    pub entries: Vec<TimelineEntry>,
    pub last: i64,
}
type R<T> = Result<T, ViewError>;
macro_rules! stubs {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)*) => {$(
        pub async fn $name(_store: &Store, $($arg: $ty),*) -> R<$out> {
            $(let _ = $arg;)*
            Err(ViewError)
        }
    )*};
}
stubs! {
    events(page: &Page) -> List<Event>;
    event(id: &str) -> Event;
    raw(id: &str) -> Raw;
    timeline(id: &str) -> List<TimelineEntry>;
    requests(page: &Page) -> List<Request>;
    request(id: &str) -> Request;
    tasks(page: &Page) -> List<Task>;
    task(id: &str) -> Task;
    dead_letters(page: &Page) -> List<DeadLetter>;
    dead_letter_groups(page: &Page, by: &str) -> List<DeadLetterGroup>;
    trace(key: &str) -> Trace;
    queues() -> List<Queue>;
    plan(id: &str) -> Plan;
    replays(page: &Page) -> List<Replay>;
    replay(id: &str) -> Replay;
    replay_items(id: &str, page: &Page) -> List<ReplayItem>;
}
pub async fn stats(store: &Store) -> R<Stats> {
    Ok(Stats {
        v: V,
        object: "stats".into(),
        at: store.clock().now().to_string(),
        events: 0,
        requests: 0,
        rejected: 0,
        duplicates: 0,
        tasks: TaskCounts::default(),
        dead_letters: 0,
        oldest_queued_seconds: None,
        retry_rate: 0.0,
        replays: ReplayTotals::default(),
    })
}
pub async fn tail(_store: &Store, after: i64, _limit: usize, _q: Option<&str>) -> R<Tail> {
    Ok(Tail { entries: vec![], last: after })
}
pub async fn tail_end(_store: &Store) -> i64 {
    0
}
