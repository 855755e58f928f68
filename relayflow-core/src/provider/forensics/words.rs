//! How causes are told.

use jiff::SignedDuration;

use crate::api::codes::Blame;
use crate::api::{Cause, Mend};
use crate::provider::way::{SignaturePlace, Way};

/// How sure a cause is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sure {
    Certain,
    Likely,
    Possible,
}

impl Sure {
    fn name(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Possible => "possible",
        }
    }
}

pub(super) fn cause(blame: Blame, sure: Sure, says: impl Into<String>) -> Cause {
    Cause {
        cause: blame.as_str().to_owned(),
        confidence: sure.name().to_owned(),
        says: says.into(),
        evidence: Vec::new(),
        mend: Vec::new(),
    }
}

/// What a cause gains: what shows it, and what mends it.
pub(super) trait Told: Sized {
    fn shown_by(self, evidence: impl Into<String>) -> Self;
    fn run(self, command: impl Into<String>) -> Self;
    fn config(self, line: impl Into<String>) -> Self;
    fn elsewhere(self, what: impl Into<String>) -> Self;
}

impl Told for Cause {
    fn shown_by(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    fn run(self, command: impl Into<String>) -> Self {
        mended(self, "command", command.into())
    }

    fn config(self, line: impl Into<String>) -> Self {
        mended(self, "config", line.into())
    }

    fn elsewhere(self, what: impl Into<String>) -> Self {
        mended(self, "elsewhere", what.into())
    }
}

fn mended(mut cause: Cause, at: &str, text: String) -> Cause {
    cause.mend.push(Mend { at: at.to_owned(), text });
    cause
}

/// `hmac-sha256 in x-signature`.
pub(super) fn scheme(way: &Way) -> String {
    let name = way.scheme.name();
    match &way.place {
        SignaturePlace::Headers(names) => match names.first() {
            Some(header) => format!("{name} in `{header}`"),
            None => name.to_owned(),
        },
        SignaturePlace::Query(parameter) => format!("{name} in `?{parameter}=`"),
        SignaturePlace::Slot(_) => format!("{name} in the body"),
        SignaturePlace::Nowhere => name.to_owned(),
    }
}

/// A duration in whole seconds, as people say it.
pub(super) fn shown(duration: SignedDuration) -> String {
    format!("{:#}", SignedDuration::from_secs(duration.abs().as_secs()))
}

/// A whole number of minutes that is no less, as the configuration takes it.
pub(super) fn minutes(duration: SignedDuration) -> String {
    let seconds = duration.abs().as_secs().saturating_add(1);
    let minutes = seconds.div_euclid(60).saturating_add(1);
    if minutes < 120 { format!("{minutes}m") } else { format!("{}h", minutes / 60 + 1) }
}
