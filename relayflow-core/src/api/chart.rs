//! What is drawn over time: minutes of the whole, and the attempts at one destination or of one replay.

use serde::{Deserialize, Serialize};

/// What happened within one minute. There is none of a minute of which nothing is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minute {
    pub v: u32,
    /// `minute`.
    pub object: String,
    /// When it began.
    pub at: String,
    pub events: i64,
    /// Tasks that became ok.
    pub ok: i64,
    pub attempts: i64,
    /// Attempts that ended in `retrying`.
    pub retries: i64,
    /// Dead letters at its end.
    pub dead: i64,
}

/// The attempts at one destination within a time, or of one replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chart {
    pub v: u32,
    /// `chart`.
    pub object: String,
    /// The destination's name, or the replay's id.
    pub of: String,
    pub from: String,
    pub to: String,
    /// Attempts that were looked at.
    pub attempts: u64,
    /// Whether these are all of the time; else the latest of them.
    pub is_whole: bool,
    pub latency: Distribution,
    /// The time in equal parts, the oldest first.
    pub slices: Vec<Slice>,
}

/// How long attempts took, in milliseconds. No number where there was no attempt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    pub p50_ms: Option<f64>,
    pub p90_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub max_ms: Option<f64>,
    /// From the fastest that there was to the slowest.
    pub buckets: Vec<Bucket>,
}

/// Attempts that took no longer than this, and longer than the bucket before allows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// `null`: as long as it may be.
    pub up_to_ms: Option<f64>,
    pub ok: u64,
    pub failed: u64,
}

/// One part of a chart's time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// When it began.
    pub at: String,
    pub ok: u64,
    pub failed: u64,
    /// How many first attempts, second attempts, and so on; the last counts all later ones too.
    pub by_attempt: Vec<u64>,
}
