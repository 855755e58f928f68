//! Counters and gauges, named once.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use relayflow_core::api::{Queue, Stats};

type Labels = [(&'static str, String); 1];

/// What this process counts itself. What the store counts is asked when somebody scrapes.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) ingest_ok: Counter,
    pub(crate) ingest_refused: Counter,
    pub(crate) ingest_unverified: Counter,
    pub(crate) ingest_unavailable: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) token_failures: Counter,
    pub(crate) panics: Counter,
}

impl Metrics {
    /// Everything in OpenMetrics text.
    ///
    /// # Errors
    ///
    /// None that a `String` can give.
    pub(crate) fn text(
        &self,
        stats: &Stats,
        queues: &[Queue],
        passed_over: usize,
    ) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("relayflow");
        self.register(&mut registry);
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(passed_over).unwrap_or(i64::MAX));
        let about = "Requests not held against contracts since the start: too many came";
        registry.register("drift_passed_over", about, gauge);
        register_stats(&mut registry, stats);
        register_queues(&mut registry, queues);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }

    fn register(&self, registry: &mut Registry) {
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter("ingest_ok", "Requests answered with what their vendor expects", &self.ingest_ok);
        counter("ingest_refused", "Requests answered 4xx, but for 401", &self.ingest_refused);
        counter("ingest_unverified", "Requests answered 401", &self.ingest_unverified);
        counter("ingest_unavailable", "Requests answered 503", &self.ingest_unavailable);
        counter(
            "connections_refused",
            "Connections over the limit of connections",
            &self.connections_refused,
        );
        counter("token_failures", "Requests with a wrong token", &self.token_failures);
        counter("panics", "Handlers that panicked, which is a bug", &self.panics);
    }
}

fn register_stats(registry: &mut Registry, stats: &Stats) {
    let tasks = Family::<Labels, Gauge>::default();
    for (status, count) in [
        ("queued", stats.tasks.queued),
        ("running", stats.tasks.running),
        ("retrying", stats.tasks.retrying),
        ("ok", stats.tasks.ok),
        ("dead", stats.tasks.dead),
        ("discarded", stats.tasks.discarded),
        ("skipped", stats.tasks.skipped),
    ] {
        tasks.get_or_create(&[("status", status.to_owned())]).set(count);
    }
    registry.register("tasks", "Tasks by status", tasks);
    for (name, help, count) in [
        ("events", "Events stored", stats.events),
        ("requests", "Requests stored, rejected ones too", stats.requests),
        ("rejected", "Requests that were not verified", stats.rejected),
        ("duplicates", "Events that were known already", stats.duplicates),
        ("dead_letters", "Tasks and requests that wait for an operator", stats.dead_letters),
        ("drift_breaking", "Open findings that may break what reads a field", stats.drift.breaking),
        ("drift_additive", "Open findings of something new", stats.drift.additive),
    ] {
        let gauge = Gauge::<i64>::default();
        gauge.set(count);
        registry.register(name, help, gauge);
    }
    float(
        registry,
        "oldest_queued_seconds",
        "Age of the oldest task that waits",
        stats.oldest_queued_seconds.unwrap_or(0.0),
    );
    float(
        registry,
        "retry_ratio",
        "Share of the last 15 minutes' attempts that are tried again",
        stats.retry_rate,
    );
}

fn float(registry: &mut Registry, name: &str, help: &str, value: f64) {
    let gauge = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

fn register_queues(registry: &mut Registry, queues: &[Queue]) {
    let depth = Family::<Labels, Gauge>::default();
    let running = Family::<Labels, Gauge>::default();
    let paused = Family::<Labels, Gauge>::default();
    let circuits = Family::<Labels, Gauge>::default();
    for queue in queues {
        let labels = [("queue", queue.name.clone())];
        depth.get_or_create(&labels).set(queue.depth);
        running.get_or_create(&labels).set(queue.running);
        paused.get_or_create(&labels).set(i64::from(queue.pause.is_some()));
        let is_open = queue.breaker.as_deref() == Some("open");
        circuits.get_or_create(&labels).set(i64::from(is_open));
    }
    registry.register("queue_depth", "Tasks that wait, by destination", depth);
    registry.register("queue_running", "Tasks that run, by destination", running);
    registry.register("queue_paused", "1 while an operator holds a queue up", paused);
    registry.register("queue_circuit_open", "1 while a destination's circuit is open", circuits);
}
