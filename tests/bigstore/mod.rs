//! A store as a daemon leaves it after a month of work: events of several sources and types, tasks
//! that went well, died, wait or were given up, duplicates, rejected and unreadable requests.
//!
//! Every event goes the daemon's own way (sign, verify, split, normalize, route, commit, settle): only
//! the network is left out and the clock is set. So what is made differs in nothing from what a daemon
//! makes, and follows every change of it.

mod recipe;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::{SignedDuration, Timestamp};
use relayflow_core::api::Discard;
use relayflow_core::clock::{Clock, from_micros};
use relayflow_core::config::Config;
use relayflow_core::id::{EventId, RequestId, TaskId, WorkerId};
use relayflow_core::provider::{self, Catalog, Source, sign};
use relayflow_core::replay;
use relayflow_core::request::Request;
use relayflow_core::route;
use relayflow_core::secret::Secret;
use relayflow_core::store::{
    LeasedTask, NewEvent, NewRejected, NewRequest, OpenOptions, Opened, Settlement, Store,
};
use relayflow_core::task::{AttemptStatus, DeadReason, Slot, Transition};
use tokio::task::JoinSet;

use self::recipe::{CONFIG, Fate, Made, Recipe};
#[cfg(test)]
pub(crate) use self::recipe::{FINGERPRINTS, RARE_TYPE};

/// How long the store's story is.
const STORY: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Requests that come together.
const BURST: usize = 500;

/// Whatever stops the making of a store.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What was made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) events: u64,
    pub(crate) tasks: u64,
    pub(crate) dead: u64,
    pub(crate) retrying: u64,
    pub(crate) discarded: u64,
    pub(crate) duplicates: u64,
    pub(crate) rejected: u64,
    pub(crate) unreadable: u64,
}

/// Writes `relayflow.toml` and `relayflow.db` with `count` events into `dir`. The last came in a
/// minute before `end`. `told` hears how many there are, now and then.
pub(crate) async fn make(
    dir: &Path,
    count: u64,
    end: Timestamp,
    told: &dyn Fn(u64),
) -> Result<Counts, Failure> {
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("relayflow.toml"), CONFIG)?;
    let world = Arc::new(World::new(dir)?);
    let first = end - STORY;
    let clock = Clock::manual(first);
    let url = format!("sqlite:{}", dir.join("relayflow.db").display());
    let worker = WorkerId::next();
    let opened = Store::open(OpenOptions { url, worker, clock: clock.clone() }).await?;
    let digest_key = opened.store.digest_key();
    let bursts = usize::try_from(count)?.div_ceil(BURST);
    // The next bursts are prepared while this one is written.
    let (prepared, mut bursts_in) = tokio::sync::mpsc::channel(4);
    let preparing = Arc::clone(&world);
    let span = STORY - SignedDuration::from_mins(2);
    let maker = std::thread::spawn(move || {
        let mut ids = Ids::default();
        for number in 0..bursts {
            let burst = preparing.burst(number, bursts, count, first, span, digest_key, &mut ids);
            if burst.is_err() || prepared.blocking_send(burst).is_err() {
                return;
            }
        }
    });
    let mut works = Works { opened, clock, counts: Counts::default(), fates: HashMap::new() };
    while let Some(burst) = bursts_in.recv().await {
        works.take(burst?).await?;
        if works.counts.events % 50_000 < u64::try_from(BURST)? {
            told(works.counts.events);
        }
    }
    maker.join().map_err(|_| "the maker of requests panicked")?;
    works.opened.store.close().await?;
    Ok(works.counts)
}

/// What requests are made with.
struct World {
    sources: HashMap<&'static str, (Arc<Source>, Secret)>,
    workflows: Arc<relayflow_core::workflow::Workflows>,
    recipe: Recipe,
}

/// Requests that come within one second.
struct Burst {
    at: Timestamp,
    requests: Vec<NewRequest>,
    rejected: Vec<NewRejected>,
    /// What becomes of the tasks of an event.
    fates: Vec<(EventId, Fate)>,
}

impl World {
    fn new(dir: &Path) -> Result<Self, Failure> {
        let catalog = Catalog::built_in();
        let (config, _) = Config::parse(CONFIG, "relayflow.toml", dir, &catalog, &|_| None)
            .map_err(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
        let mut sources = HashMap::new();
        for name in recipe::SOURCES {
            let of = config.sources.iter().find(|s| s.name == name).ok_or("a source is missing")?;
            let source = Arc::new(Source::new(of, None, &catalog)?);
            let secret = of.secrets.first().ok_or("a secret is missing")?.clone();
            sources.insert(name, (source, secret));
        }
        let recipe = Recipe::new(|name| {
            let samples = sources.get(name).map(|(source, _)| source.provider.samples());
            samples.unwrap_or_default().iter().map(|s| s.event_type.clone()).collect()
        });
        Ok(Self { sources, workflows: Arc::clone(&config.workflows), recipe })
    }

    #[expect(clippy::too_many_arguments, reason = "a burst is a place in the whole")]
    fn burst(
        &self,
        number: usize,
        bursts: usize,
        count: u64,
        first: Timestamp,
        span: SignedDuration,
        digest_key: [u8; 32],
        ids: &mut Ids,
    ) -> Result<Burst, Failure> {
        let share = span.as_micros() / i128::try_from(bursts)?;
        let after = i64::try_from(share * i128::try_from(number)?)?;
        let start = first.as_microsecond() + after;
        let from = u64::try_from(number * BURST)?;
        let until = count.min(from + u64::try_from(BURST)?);
        let mut burst = Burst {
            at: from_micros(start + 1_000_000),
            requests: Vec::new(),
            rejected: Vec::new(),
            fates: Vec::new(),
        };
        for serial in from..until {
            let us = start + i64::try_from(serial - from)? * 1900;
            let made = self.recipe.make(serial, count);
            let again = made.is_repeated;
            self.request(&made, us, digest_key, ids, &mut burst)?;
            if again {
                self.request(
                    &Made { fate: Fate::None, ..made },
                    us + 800,
                    digest_key,
                    ids,
                    &mut burst,
                )?;
            }
        }
        Ok(burst)
    }

    /// One request as it would come in, as far as the commit.
    fn request(
        &self,
        made: &Made,
        us: i64,
        digest_key: [u8; 32],
        ids: &mut Ids,
        burst: &mut Burst,
    ) -> Result<(), Failure> {
        let at = from_micros(us);
        let (source, secret) = self.sources.get(made.source).ok_or("a source is missing")?;
        let sample = source
            .provider
            .samples()
            .iter()
            .find(|s| s.event_type == made.event_type)
            .ok_or("a sample is missing")?;
        let body = if made.is_unreadable { b"{}".to_vec() } else { sample.body(made.serial, at) };
        let target = format!("/in/{}", made.source);
        let wrong = Secret::new("whsec_of_somebody_else");
        let key = if made.is_forged { &wrong } else { secret };
        let signed = sign::sign_for(source, key, &made.event_type, body, &target, at)?;
        let mut headers = HeaderMap::new();
        let correlation = made.correlation.as_ref().map(|id| ("x-correlation-id", id.as_str()));
        let written = sample.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signature = signed.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in written.chain(signature).chain(correlation) {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            headers.insert(name, HeaderValue::from_str(value)?);
        }
        let request = Request {
            id: RequestId::from_bytes(&ids.next(us)).ok_or("an id has sixteen bytes")?,
            method: Method::POST,
            target,
            url: signed.url,
            headers,
            body: Bytes::from(signed.body),
            received_at: at,
        };
        let kept = provider::keep_headers(source, &request, &digest_key);
        let kept_target = provider::keep_target(source, &request, &digest_key);
        let verified = match provider::verify(source, &request, at) {
            Ok(verified) => verified,
            Err(error) => {
                burst.rejected.push(NewRejected {
                    source: Arc::clone(&source.name),
                    provider: Arc::clone(&source.provider.name),
                    headers: kept,
                    kept_target,
                    reason: error.reason().to_owned(),
                    detail: error.to_string(),
                    request: request.clone(),
                });
                return Ok(());
            }
        };
        let mut events = Vec::new();
        let mut unreadable = None;
        for raw in provider::split(source, &verified)? {
            let id = EventId::from_bytes(&ids.next(us)).ok_or("an id has sixteen bytes")?;
            match provider::normalize(source, &verified, raw, id) {
                Ok(event) => {
                    let mut tasks = route::tasks_for(&event, &kept, &self.workflows);
                    for task in &mut tasks {
                        task.id =
                            TaskId::from_bytes(&ids.next(us)).ok_or("an id has sixteen bytes")?;
                        let places = Arc::default();
                        task.slot =
                            if task.needs.is_empty() { Slot::take(&places, 1) } else { None };
                    }
                    burst.fates.push((event.id, made.fate));
                    let derived_window = source.derived_window;
                    events.push(NewEvent { event, tasks, derived_window });
                }
                Err(error) => unreadable = Some(error.to_string()),
            }
        }
        let skew_ms = verified.skew().and_then(|skew| i64::try_from(skew.as_millis()).ok());
        drop(verified);
        burst.requests.push(NewRequest {
            source: Arc::clone(&source.name),
            provider: Arc::clone(&source.provider.name),
            headers: kept,
            kept_target,
            scheme: Arc::clone(&source.scheme_label),
            skew_ms,
            events,
            unreadable,
            reread: None,
            fetched: None,
            request,
        });
        Ok(())
    }
}

/// Ids as of a moment, each greater than the one before.
#[derive(Default)]
struct Ids {
    last_ms: u64,
    within: u64,
    drawn: u64,
}

impl Ids {
    fn next(&mut self, us: i64) -> [u8; 16] {
        let ms = u64::try_from(us / 1000).unwrap_or(0);
        self.within = if ms <= self.last_ms { self.within + 1 } else { 0 };
        self.last_ms = ms.max(self.last_ms);
        self.drawn += 1;
        let high = self.last_ms << 16 | 0x7000 | (self.within & 0xfff);
        let low = 0x8000_0000_0000_0000 | (recipe::mixed(self.drawn) >> 2);
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }
}

/// The store at work.
struct Works {
    opened: Opened,
    clock: Clock,
    counts: Counts,
    /// Of events whose tasks have not all ended.
    fates: HashMap<EventId, Fate>,
}

impl Works {
    async fn take(&mut self, burst: Burst) -> Result<(), Failure> {
        self.clock.set(burst.at);
        self.fates.clear();
        self.fates.extend(burst.fates);
        let store = self.opened.store.clone();
        for rejected in burst.rejected {
            self.counts.rejected += 1;
            store.reject(rejected);
        }
        self.commit(&store, burst.requests).await?;
        let mut leased = Vec::new();
        while let Ok(task) = self.opened.leased.try_recv() {
            leased.push(task);
        }
        self.counts.tasks += u64::try_from(leased.len())?;
        self.settle_all(&store, leased).await?;
        Ok(())
    }

    async fn commit(&mut self, store: &Store, requests: Vec<NewRequest>) -> Result<(), Failure> {
        let mut under_way = JoinSet::new();
        for request in requests {
            let store = store.clone();
            self.counts.unreadable += u64::from(request.unreadable.is_some());
            under_way.spawn(async move { store.commit(request).await });
        }
        while let Some(receipt) = under_way.join_next().await {
            for (_, is_known) in receipt??.events {
                self.counts.events += u64::from(!is_known);
                self.counts.duplicates += u64::from(is_known);
            }
        }
        Ok(())
    }

    /// Ends the attempts at these tasks, and those that follow from them, as the fates of their events
    /// have it.
    async fn settle_all(
        &mut self,
        store: &Store,
        mut leased: Vec<LeasedTask>,
    ) -> Result<(), Failure> {
        loop {
            let mut again = Vec::new();
            for one in leased.drain(..) {
                if let Some(destination) = self.settle(store, &one) {
                    again.push(destination);
                }
            }
            store.flush().await?;
            again.sort();
            again.dedup();
            if again.is_empty() {
                return Ok(());
            }
            // Retries are due after a second.
            self.clock.set(self.clock.now() + SignedDuration::from_secs(2));
            for destination in again {
                leased.extend(store.claim(&destination, 500).await?);
            }
            for one in &leased {
                self.counts.tasks += u64::from(one.task.attempt == 1);
            }
            if leased.is_empty() {
                return Ok(());
            }
        }
    }

    /// Ends an attempt. Answers where to look for what is due because of it.
    fn settle(&mut self, store: &Store, leased: &LeasedTask) -> Option<Arc<str>> {
        let task = &leased.task;
        let fate = self.fates.get(&task.event_id).copied().unwrap_or(Fate::Ok);
        let now = self.clock.now();
        let seed = recipe::mixed(task.id.seed());
        let took = SignedDuration::from_micros(2_000 + i64::try_from(seed % 300_000).unwrap_or(0));
        let end = |status, transition, http, error: Option<String>| {
            store.settle(Settlement {
                task: task.clone(),
                about: None,
                status,
                transition,
                started_at: now,
                ended_at: now + took,
                http_status: Some(http),
                response: (http != 200).then(|| r#"{"error":"refused"}"#.to_owned()),
                error,
            });
        };
        let destination = Arc::clone(&task.destination);
        let told = |number: usize| recipe::told(number, seed);
        match fate {
            Fate::Dies(number) | Fate::DiesSlowly(number) | Fate::Discarded(number)
                if task.attempt > 1 || !matches!(fate, Fate::DiesSlowly(_)) =>
            {
                let (http, text) = told(number);
                let is_slow = matches!(fate, Fate::DiesSlowly(_));
                let (status, reason) = if is_slow {
                    (AttemptStatus::Failed, DeadReason::Exhausted)
                } else {
                    (AttemptStatus::Rejected, DeadReason::Unretryable)
                };
                end(status, Transition::DeadLetter(reason), http, Some(text));
                if matches!(fate, Fate::Discarded(_)) {
                    self.counts.discarded += 1;
                    self.discard(store, task.id);
                } else {
                    self.counts.dead += 1;
                }
                None
            }
            Fate::DiesSlowly(_) | Fate::Recovers if task.attempt == 1 => {
                let at = now + SignedDuration::from_secs(1);
                let text = "503 Service Unavailable".to_owned();
                end(AttemptStatus::Failed, Transition::RetryAt(at), 503, Some(text));
                Some(destination)
            }
            Fate::Waits => {
                let at = now + SignedDuration::from_hours(24 * 60);
                let text = "503 Service Unavailable".to_owned();
                end(AttemptStatus::Failed, Transition::RetryAt(at), 503, Some(text));
                self.counts.retrying += 1;
                None
            }
            Fate::Ok
            | Fate::None
            | Fate::Recovers
            | Fate::Dies(_)
            | Fate::DiesSlowly(_)
            | Fate::Discarded(_) => {
                end(AttemptStatus::Ok, Transition::Complete, 200, None);
                // Steps that waited for this one are due now, at their own destinations.
                task.may_release.then(|| recipe::NEXT_DESTINATION.into())
            }
        }
    }

    /// Gives a dead letter up. Nothing waits for it: it is done by the next flush.
    fn discard(&self, store: &Store, task: TaskId) {
        let store = store.clone();
        tokio::spawn(async move {
            let ids = Some(vec![task.to_string()]);
            let reason = "nobody needs it".to_owned();
            let wanted = Discard { ids, plan: None, hash: None, reason };
            // Its settlement is on its way before it.
            if store.flush().await.is_ok() {
                drop(replay::discard(&store, &wanted, "ana").await);
            }
        });
    }
}
