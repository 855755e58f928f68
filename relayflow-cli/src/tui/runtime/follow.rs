//! The live timeline: followed for ever, resumed behind the last entry, kept in a ring that never grows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use relayflow_core::api::TimelineEntry;
use relayflow_core::store::Store;
use relayflow_core::view;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{sleep, timeout};

use crate::backend::{Api, Backend};
use crate::commands::tail::{Stream, look_back};
use crate::failure::chain;
use crate::tui::ctx::TAIL_MAX;
use crate::tui::msg::{Msg, TailNews};

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// How often a store without its daemon is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How much of the past is shown where it begins.
const PAST: usize = 100;

/// Entries on their way to the UI: when it is full, the oldest are dropped and counted.
#[derive(Debug, Default)]
pub(super) struct Ring {
    held: Mutex<Held>,
    pub(super) filled: Notify,
}

#[derive(Debug, Default)]
struct Held {
    entries: VecDeque<TimelineEntry>,
    dropped: u64,
}

impl Ring {
    /// `is_past`: what was there before is cut to the newest, which is no loss to be told.
    fn push(&self, entries: impl IntoIterator<Item = TimelineEntry>, is_past: bool) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            held.entries.push_back(entry);
            let most = if is_past { PAST } else { TAIL_MAX };
            while most < held.entries.len() {
                held.entries.pop_front();
                held.dropped += u64::from(!is_past);
            }
        }
        drop(held);
        if !is_past {
            self.filled.notify_one();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).entries.is_empty()
    }

    pub(super) fn take(&self) -> Option<TailNews> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.entries.is_empty() {
            return None;
        }
        let dropped = std::mem::take(&mut held.dropped);
        Some(TailNews::Entries { entries: held.entries.drain(..).collect(), dropped })
    }
}

/// Follows until it is aborted.
pub(super) async fn follow(
    backend: Arc<Backend>,
    q: Option<String>,
    ring: Arc<Ring>,
    to_ui: UnboundedSender<Msg>,
) {
    match &*backend {
        Backend::Api(api) => over_api(api, q.as_deref(), &ring, &to_ui).await,
        Backend::Store(direct) => of_store(&direct.store, q.as_deref(), &ring, &to_ui).await,
    }
}

async fn over_api(api: &Api, q: Option<&str>, ring: &Ring, to_ui: &UnboundedSender<Msg>) {
    let query: Vec<_> = q.map(|q| ("q", q.to_owned())).into_iter().collect();
    // Where the past ends, once it is known; and the last entry that came.
    let mut end: Option<i64> = None;
    let mut last: Option<String> = None;
    let mut wait = FIRST_WAIT;
    loop {
        let opened = api.tail(&query, last.as_deref()).await;
        let why = match opened {
            Err(failure) => failure.why.unwrap_or(failure.message),
            Ok(response) => {
                let mut stream = Stream::new(response);
                let _ = to_ui.send(Msg::Tail(TailNews::Opened));
                loop {
                    let message = match next(&mut stream, end.is_none()).await {
                        Ok(message) => message,
                        Err(why) => break why,
                    };
                    wait = FIRST_WAIT;
                    let place = message.id.as_ref().and_then(|id| id.parse::<i64>().ok());
                    if end.is_none()
                        && let Some(place) = place
                    {
                        // It begins at the present end: from some way before it, then.
                        end = Some(place);
                        last = Some(begin(place, q));
                        break String::new();
                    }
                    if message.id.is_some() {
                        last.clone_from(&message.id);
                    }
                    if let Ok(entry) = serde_json::from_str::<TimelineEntry>(&message.data) {
                        let is_past = end.is_some_and(|end| entry.seq <= end);
                        ring.push([entry], is_past);
                        // A quiet timeline shows its past without waiting for more.
                        if is_past && stream.is_drained() {
                            ring.filled.notify_one();
                        }
                    } else {
                        ring.filled.notify_one();
                    }
                }
            }
        };
        if why.is_empty() {
            continue;
        }
        let _ = to_ui.send(Msg::Tail(TailNews::Lost(why)));
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Where the past that is shown begins. A filter finds few, so that it looks further back.
fn begin(end: i64, q: Option<&str>) -> String {
    match q {
        Some(_) => look_back(&end.to_string(), PAST),
        None => {
            let rows = i64::try_from(PAST).unwrap_or(i64::MAX);
            (end - rows * relayflow_core::timeline::ENTRIES_PER_ROW).max(0).to_string()
        }
    }
}

/// The next message; the first one is its place, and comes at once.
async fn next(stream: &mut Stream, is_first: bool) -> Result<crate::backend::Message, String> {
    if !is_first {
        return stream.next().await;
    }
    match timeout(Duration::from_secs(10), stream.next()).await {
        Ok(message) => message,
        Err(_) => Err("the timeline does not begin".to_owned()),
    }
}

async fn of_store(store: &Store, q: Option<&str>, ring: &Ring, to_ui: &UnboundedSender<Msg>) {
    let end = view::tail_end(store).await;
    let mut after: i64 = begin(end, q).parse().unwrap_or(0);
    let _ = to_ui.send(Msg::Tail(TailNews::Opened));
    loop {
        match view::tail(store, after, 500, q).await {
            Ok(tail) => {
                let has_moved = after < tail.last;
                after = tail.last;
                ring.push(tail.entries, after <= end);
                if has_moved {
                    continue;
                }
                ring.filled.notify_one();
            }
            Err(error) => {
                let _ = to_ui.send(Msg::Tail(TailNews::Lost(chain(&error))));
            }
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::timeline::tests::entry;

    #[test]
    fn a_full_ring_drops_the_oldest_and_counts_them() {
        let ring = Ring::default();
        let one = || entry("2026-11-23T14:03:07Z", "dead", json!({}));
        ring.push((0..TAIL_MAX + 10).map(|_| one()), false);
        let Some(TailNews::Entries { entries, dropped }) = ring.take() else { panic!() };
        assert_eq!((entries.len(), dropped), (TAIL_MAX, 10));
        assert!(ring.take().is_none());
        ring.push((0..PAST + 10).map(|_| one()), true);
        let Some(TailNews::Entries { entries, dropped }) = ring.take() else { panic!() };
        assert_eq!((entries.len(), dropped), (PAST, 0), "the past is cut without a word");
    }
}
