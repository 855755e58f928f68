//! stub
use super::*;
use crate::store::Store;
use bytes::Bytes;
#[derive(Debug, Clone, Default)]
pub struct Page { pub q: Option<String>, pub limit: usize, pub cursor: Option<String> }
#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub struct ViewError;
impl ViewError { pub fn code(&self) -> codes::Code { codes::Code::Internal } }
pub struct Raw { pub method: String, pub target: String, pub headers: Vec<(String, String)>, pub body: Bytes }
pub struct Tail { pub entries: Vec<TimelineEntry>, pub last: i64 }
macro_rules! stubs { ($($name:ident($($arg:ident: $t:ty),*) -> $r:ty;)*) => {$(
    pub async fn $name(_: &Store $(, $arg: $t)*) -> Result<$r, ViewError> { $(let _ = $arg;)* Err(ViewError) }
)*}}
stubs! {
    events(p: &Page) -> List<Event>; event(id: &str) -> Event; raw(id: &str) -> Raw; timeline(id: &str) -> List<TimelineEntry>;
    requests(p: &Page) -> List<Request>; request(id: &str) -> Request; tasks(p: &Page) -> List<Task>; task(id: &str) -> Task;
    dead_letters(p: &Page) -> List<DeadLetter>; dead_letter_groups(p: &Page, by: &str) -> List<DeadLetterGroup>;
    trace(key: &str) -> Trace; stats() -> Stats; queues() -> List<Queue>; plan(id: &str) -> Plan; replays(p: &Page) -> List<Replay>;
    replay(id: &str) -> Replay; replay_items(id: &str, p: &Page) -> List<ReplayItem>; tail(after: i64, limit: usize, q: Option<&str>) -> Tail;
}
pub async fn tail_end(_: &Store) -> i64 { 0 }
