//! Colours and marks. Colour never carries meaning alone: every state has its word.

/// How one stream looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) color: bool,
    /// Whether states have their mark: on a terminal.
    pub(crate) marks: bool,
    /// Whether the terminal shows only ASCII.
    pub(crate) ascii: bool,
}

/// What a text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    Busy,
    Warn,
    Bad,
    Dim,
    Bold,
}

impl Tone {
    /// The tone of a status word of any object.
    pub(crate) fn of_status(status: &str) -> Self {
        match status {
            "ok" | "accepted" | "done" | "open" | "committed" | "verified" | "run" | "live" => {
                Self::Good
            }
            "running" | "queued" | "moved" | "pending" | "planned" => Self::Busy,
            "retrying" | "paused" | "interrupted" | "lost" | "run, at risk" | "warn" | "silent" => {
                Self::Warn
            }
            "dead" | "rejected" | "failed" | "unreadable" | "circuit_open" | "blocked" | "fail"
            | "gone" => Self::Bad,
            "skipped" | "discarded" | "duplicate" | "cancelled" | "skip" => Self::Dim,
            _ => Self::Plain,
        }
    }
}

impl Style {
    /// `text` in a tone: 16 terminal colours only, so that light and dark themes both work.
    pub(crate) fn paint(self, text: &str, tone: Tone) -> String {
        let sgr = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Busy => "36",
            Tone::Warn => "33",
            Tone::Bad => "31",
            Tone::Dim => "2",
            Tone::Bold => "1",
        };
        if self.color { format!("\u{1b}[{sgr}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// What stands around a word in red.
    pub(crate) fn red(self) -> (&'static str, &'static str) {
        if self.color { ("\u{1b}[31m", "\u{1b}[0m") } else { ("", "") }
    }

    /// The mark of a status, if it has one and the stream shows marks.
    pub(crate) fn mark(self, status: &str) -> Option<&'static str> {
        let (mark, ascii) = match status {
            "ok" | "accepted" | "done" | "open" => ("●", "o"),
            "running" | "moved" => ("◐", "*"),
            "retrying" => ("↻", "~"),
            "paused" => ("‖", "="),
            "dead" | "rejected" => ("✖", "x"),
            "skipped" | "discarded" | "duplicate" | "cancelled" => ("–", "-"),
            _ => return None,
        };
        self.marks.then_some(if self.ascii { ascii } else { mark })
    }

    /// A status as it stands in a table: its mark, where there is one, and its word.
    pub(crate) fn status(self, status: &str) -> String {
        match self.mark(status) {
            Some(mark) => format!("{mark} {status}"),
            None => status.to_owned(),
        }
    }

    /// The same, in its tone.
    pub(crate) fn painted_status(self, status: &str) -> String {
        self.paint(&self.status(status), Tone::of_status(status))
    }

    /// What stands for what was left out.
    pub(crate) fn ellipsis(self) -> &'static str {
        if self.ascii { ".." } else { "…" }
    }

    /// What stands where there is nothing.
    pub(crate) fn none(self) -> &'static str {
        if self.ascii { "-" } else { "–" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_keeps_its_word_beside_its_mark() {
        let unicode = Style { color: false, marks: true, ascii: false };
        let ascii = Style { ascii: true, ..unicode };
        let file = Style { marks: false, ..unicode };
        for (status, marked, plain) in [
            ("ok", "● ok", "o ok"),
            ("running", "◐ running", "* running"),
            ("retrying", "↻ retrying", "~ retrying"),
            ("dead", "✖ dead", "x dead"),
            ("skipped", "– skipped", "- skipped"),
            ("queued", "queued", "queued"),
        ] {
            assert_eq!(unicode.status(status), marked);
            assert_eq!(ascii.status(status), plain);
            assert_eq!(file.status(status), status);
        }
    }
}
