//! `relayflow tail`: the timeline as it grows, over any number of connections.

use std::collections::VecDeque;
use std::time::Duration;

use relayflow_core::api::codes::Exit;
use relayflow_core::api::{TimelineEntry, V};
use relayflow_core::clock::Clock;
use relayflow_core::event::micros;
use relayflow_core::text;
use relayflow_core::view;
use reqwest::Response;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::list::{no_junit, no_sarif};
use super::timeline::about;
use crate::app::App;
use crate::args::{Format, Select, TailArgs};
use crate::backend::{Api, Backend, Message, Parser};
use crate::failure::{Done, Failure, chain};
use crate::output::style::Tone;
use crate::output::{Out, time};

/// The daemon is heard from each 15 s at least; after this it is taken to be gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// After so long without an entry, ndjson gets a line.
const IDLE: Duration = Duration::from_secs(15);
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// What was there before is all here when nothing came for so long.
const BACKLOG_QUIET: Duration = Duration::from_millis(300);
/// How far back `-n` looks, at least: a selective filter finds fewer.
const LOOK_BACK_MIN: i64 = 1 << 16;

pub(crate) async fn tail(app: &App, args: &TailArgs) -> Done {
    let q = app.select(&args.select, None)?.q;
    let stop_q = stop_filter(app, args, q.as_deref())?;
    let target = app.target()?;
    let backend = app.connect_to(&target).await?;
    let filter = q.as_deref().map(|q| format!("  filter {q}")).unwrap_or_default();
    app.out.notice(&format!("tailing {}{filter}", target.shown()));
    let tail =
        Tail { out: &app.out, q, stop_q, since: args.select.since.is_some(), newest: args.limit };
    let work = async {
        match &backend {
            Backend::Api(api) => tail.over_api(api).await,
            Backend::Store(direct) => tail.of_store(&direct.store).await,
        }
    };
    let Some(limit) = args.timeout else { return work.await };
    let limit = Duration::try_from(limit).unwrap_or_default();
    match timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => {
            app.out.notice("-- the time is over");
            Ok(Exit::Pending)
        }
    }
}

/// What ends the tail: its own filter and that of `--stop-on`.
fn stop_filter(app: &App, args: &TailArgs, q: Option<&str>) -> Result<Option<String>, Failure> {
    if args.stop_on.is_empty() {
        return Ok(None);
    }
    let mut terms: Vec<String> = q.map(str::to_owned).into_iter().collect();
    terms.extend(args.stop_on.iter().cloned());
    let select = Select { terms, ..Select::default() };
    Ok(crate::selection::read(&select, None, &app.at())?.q)
}

struct Tail<'a> {
    out: &'a Out,
    q: Option<String>,
    stop_q: Option<String>,
    /// Whether the filter bounds the past, so that it is read from the beginning.
    since: bool,
    newest: Option<usize>,
}

/// One connection, read as messages.
pub(crate) struct Stream {
    response: Response,
    parser: Parser,
    ready: VecDeque<Message>,
}

impl Stream {
    pub(crate) fn new(response: Response) -> Self {
        Self { response, parser: Parser::default(), ready: VecDeque::new() }
    }

    /// Whether the next message has yet to come over the wire.
    pub(crate) fn is_drained(&self) -> bool {
        self.ready.is_empty()
    }

    /// The next message; an error says why the connection is over.
    pub(crate) async fn next(&mut self) -> Result<Message, String> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(message);
            }
            match timeout(SILENCE_MAX, self.response.chunk()).await {
                Err(_) => return Err("nothing was heard for 45 s".to_owned()),
                Ok(Err(e)) => return Err(chain(&e)),
                Ok(Ok(None)) => return Err("the daemon ended it".to_owned()),
                Ok(Ok(Some(bytes))) => self.ready.extend(self.parser.push(&bytes)),
            }
        }
    }
}

impl Tail<'_> {
    /// Follows for ever: a lost connection is made good from behind the last entry.
    async fn over_api(&self, api: &Api) -> Done {
        let mut last = self.begin(api).await?;
        let mut shown = Shown { out: self.out, until: None, newest: None };
        let mut stream = Stream::new(self.open(api, self.q.as_deref(), last.as_deref()).await?);
        if let (Some(count), Some(end)) = (self.newest, last.as_deref()) {
            let from = look_back(end, count);
            stream = Stream::new(self.open(api, self.q.as_deref(), Some(&from)).await?);
            shown.newest = Some((count, VecDeque::new()));
        }
        let stop_from = last.clone().unwrap_or_else(|| "0".to_owned());
        let stop = self.stopping(api, stop_from);
        tokio::pin!(stop);
        let mut heard = Instant::now();
        loop {
            let quiet = if shown.newest.is_some() { BACKLOG_QUIET } else { IDLE };
            tokio::select! {
                next = stream.next() => match next {
                    Ok(message) => {
                        if message.id.is_some() {
                            last.clone_from(&message.id);
                        }
                        if !message.data.is_empty() {
                            heard = Instant::now();
                            if shown.take(&message)? {
                                return Ok(Exit::Ok);
                            }
                        }
                    }
                    Err(why) => {
                        stream = self.again(api, last.as_deref(), &why).await?;
                    }
                },
                seq = &mut stop, if shown.until.is_none() && self.stop_q.is_some() => {
                    shown.until = Some(seq?);
                    if shown.is_behind(last.as_deref()) {
                        shown.flush()?;
                        return Ok(Exit::Ok);
                    }
                }
                () = tokio::time::sleep_until(heard + quiet) => {
                    heard = Instant::now();
                    shown.quiet()?;
                }
            }
        }
    }

    /// Where it begins: the beginning, for a past that the filter bounds; else the present end.
    async fn begin(&self, api: &Api) -> Result<Option<String>, Failure> {
        if self.since {
            return Ok(Some("0".to_owned()));
        }
        let mut stream = Stream::new(self.open(api, self.q.as_deref(), None).await?);
        match timeout(Duration::from_secs(5), stream.next()).await {
            Ok(Ok(message)) => Ok(message.id),
            Ok(Err(_)) | Err(_) => Ok(None),
        }
    }

    async fn open(
        &self,
        api: &Api,
        q: Option<&str>,
        after: Option<&str>,
    ) -> Result<Response, Failure> {
        let query: Vec<_> = q.map(|q| ("q", q.to_owned())).into_iter().collect();
        api.tail(&query, after).await
    }

    /// The place of the first entry that `--stop-on` matches. Never ends without one.
    async fn stopping(&self, api: &Api, mut after: String) -> Result<i64, Failure> {
        let Some(q) = self.stop_q.as_deref() else { return std::future::pending().await };
        let mut wait = FIRST_WAIT;
        loop {
            let response = match self.open(api, Some(q), Some(&after)).await {
                Ok(response) => response,
                Err(failure) if failure.exit() == Exit::Unreachable => {
                    sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            let mut stream = Stream::new(response);
            while let Ok(message) = stream.next().await {
                wait = FIRST_WAIT;
                if let Ok(entry) = serde_json::from_str::<TimelineEntry>(&message.data) {
                    return Ok(entry.seq);
                }
                after = message.id.unwrap_or(after);
            }
        }
    }

    /// Connects again, for ever, saying so.
    async fn again(&self, api: &Api, last: Option<&str>, why: &str) -> Result<Stream, Failure> {
        let mut wait = FIRST_WAIT;
        let mut why = why.to_owned();
        for retry in 1.. {
            self.out.notice(&format!(
                "-- reconnecting: {why}, retry {retry} in {}",
                time::millis(wait.as_secs_f64() * 1000.0)
            ));
            sleep(wait).await;
            match self.open(api, self.q.as_deref(), last).await {
                Ok(response) => {
                    let now = time::clock(&micros(Clock::Wall.now()), &self.out.zone);
                    self.out.notice(&format!("-- resumed at {now}, none lost"));
                    return Ok(Stream::new(response));
                }
                Err(failure) if failure.exit() == Exit::Unreachable => {
                    why = failure.why.unwrap_or(failure.message);
                }
                Err(failure) => return Err(failure),
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        unreachable!("the retries are not counted out")
    }

    /// A store without its daemon: whatever another process writes.
    async fn of_store(&self, store: &relayflow_core::store::Store) -> Done {
        let failed = |e: &view::ViewError| Failure::new(e.code().as_str(), chain(e));
        let end = view::tail_end(store).await;
        let mut after = if self.since { 0 } else { end };
        if let Some(count) = self.newest {
            after = look_back(&end.to_string(), count).parse().unwrap_or(0);
        }
        let mut shown =
            Shown { out: self.out, until: None, newest: self.newest.map(|n| (n, VecDeque::new())) };
        loop {
            let tail =
                view::tail(store, after, 500, self.q.as_deref()).await.map_err(|e| failed(&e))?;
            let has_moved = after < tail.last;
            if let Some(q) = self.stop_q.as_deref()
                && shown.until.is_none()
            {
                let stop =
                    view::tail(store, after.max(end), 1, Some(q)).await.map_err(|e| failed(&e))?;
                shown.until = stop.entries.first().map(|entry| entry.seq);
            }
            for entry in tail.entries {
                if shown.entry(entry)? {
                    return Ok(Exit::Ok);
                }
            }
            after = tail.last;
            if shown.is_behind(Some(&after.to_string())) {
                shown.flush()?;
                return Ok(Exit::Ok);
            }
            if !has_moved {
                shown.flush()?;
                sleep(FIRST_WAIT).await;
            }
        }
    }
}

/// The place behind which the newest `count` entries surely lie, before `end`.
pub(crate) fn look_back(end: &str, count: usize) -> String {
    let end: i64 = end.parse().unwrap_or(0);
    let rows = i64::try_from(count).unwrap_or(i64::MAX);
    let span = rows.saturating_mul(relayflow_core::timeline::ENTRIES_PER_ROW).max(LOOK_BACK_MIN);
    end.saturating_sub(span).max(0).to_string()
}

/// What is shown, and up to where.
struct Shown<'a> {
    out: &'a Out,
    /// The place of the entry at which it ends.
    until: Option<i64>,
    /// The newest of the past, while the past is read.
    newest: Option<(usize, VecDeque<TimelineEntry>)>,
}

impl Shown<'_> {
    /// Whether this message was the last.
    fn take(&mut self, message: &Message) -> Result<bool, Failure> {
        if !message.event.is_empty() {
            // Such as `dropped` or `gap`: what the stream says of itself.
            self.flush()?;
            if self.out.is_for_people() {
                self.out.notice(&format!("-- {} {}", message.event, message.data));
            } else {
                self.out.line(&message.data)?;
            }
            return Ok(false);
        }
        let entry = serde_json::from_str(&message.data).map_err(|e| {
            Failure::new("error.version", "an entry is not understood").why(e.to_string())
        })?;
        self.entry(entry)
    }

    fn entry(&mut self, entry: TimelineEntry) -> Result<bool, Failure> {
        let is_last = self.until.is_some_and(|until| until <= entry.seq);
        if let Some((count, newest)) = &mut self.newest {
            newest.push_back(entry);
            if *count < newest.len() {
                newest.pop_front();
            }
            if is_last {
                self.flush()?;
            }
            return Ok(is_last);
        }
        self.show(&entry)?;
        Ok(is_last)
    }

    fn show(&self, entry: &TimelineEntry) -> Result<(), Failure> {
        match self.out.format {
            Format::Table | Format::Wide => {
                self.out.line(&line(self.out, entry, &micros(Clock::Wall.now())))
            }
            Format::Name => {
                let id = entry.event_id.as_ref().or(entry.request_id.as_ref());
                self.out.line(&text::line(id.map_or("", String::as_str)))
            }
            Format::Json | Format::Ndjson | Format::Yaml => self.out.ndjson(entry),
            Format::Csv => Err(Failure::usage("csv is for lists").hint("-o ndjson")),
            Format::Junit => Err(no_junit()),
            Format::Sarif => Err(no_sarif()),
        }
    }

    /// The past is read: what was kept of it is shown.
    fn flush(&mut self) -> Result<(), Failure> {
        let Some((_, newest)) = self.newest.take() else { return Ok(()) };
        newest.iter().try_for_each(|entry| self.show(entry))
    }

    /// Nothing came for a while.
    fn quiet(&mut self) -> Result<(), Failure> {
        if self.newest.is_some() {
            return self.flush();
        }
        if self.out.format == Format::Ndjson {
            return self
                .out
                .ndjson(&json!({"v": V, "kind": "idle", "at": micros(Clock::Wall.now())}));
        }
        Ok(())
    }

    /// Whether everything up to the end was shown already.
    fn is_behind(&self, last: Option<&str>) -> bool {
        let last = last.and_then(|last| last.parse::<i64>().ok());
        self.until.zip(last).is_some_and(|(until, last)| until <= last)
    }
}

/// When, seen from `now`, whose, what.
fn line(out: &Out, entry: &TimelineEntry, now: &str) -> String {
    let id = [&entry.event_id, &entry.request_id, &entry.replay_id].into_iter().flatten().next();
    let mut parts = vec![time::moment(&entry.at, now, &out.zone)];
    parts.extend(id.map(|id| text::line(id).into_owned()));
    parts.extend(entry.source.iter().map(|source| text::line(source).into_owned()));
    parts.extend(entry.event_type.iter().map(|t| text::line(t).into_owned()));
    let what = out.style.status(&text::line(&entry.what));
    parts.push(out.style.paint(&what, Tone::of_status(&entry.what)));
    parts.push(about(entry));
    parts.join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::commands::timeline::tests::entry;

    #[test]
    fn an_entry_is_one_line_whatever_it_holds() {
        let entry = entry(
            "2026-11-23T14:03:07Z",
            "retrying",
            json!({"event_id": "evt_1", "source": "stripe", "type": "invoice\n.failed\u{1b}[2J",
                   "workflow": "crm", "step": "upsert", "destination": "api.hubspot.com",
                   "attempt": 2, "detail": {"http_status": 503}}),
        );
        let shown = line(&Out::test(Format::Table, Some(120)), &entry, "2026-11-23T20:00:00Z");
        insta::assert_snapshot!(shown, @"14:03:07  evt_1  stripe  invoice␊.failed␛[2J  ↻ retrying  crm/upsert  api.hubspot.com  attempt 2  503");
    }

    #[test]
    fn the_newest_of_the_past_are_kept() {
        let out = Out { quiet: true, ..Out::test(Format::Name, None) };
        let mut shown = Shown { out: &out, until: Some(7), newest: Some((2, VecDeque::new())) };
        for seq in 1..=5 {
            let mut entry = entry("2026-11-23T14:03:07Z", "ok", json!({}));
            entry.seq = seq;
            assert!(!shown.entry(entry).unwrap());
        }
        let kept: Vec<_> = shown.newest.as_ref().unwrap().1.iter().map(|e| e.seq).collect();
        assert_eq!(kept, [4, 5]);
        assert!(!shown.is_behind(Some("6")) && shown.is_behind(Some("7")));
    }

    #[test]
    fn looking_back_never_goes_before_the_beginning() {
        assert_eq!(look_back("16", 10), "0");
        assert_eq!(look_back("10000000", 1), (10_000_000 - LOOK_BACK_MIN).to_string());
    }
}
