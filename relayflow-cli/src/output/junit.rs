//! JUnit's XML, as CI servers read it: suites of cases, each passed, failed or skipped.
//!
//! What comes from outside passes `text` first, so that no character gets in that XML or a terminal
//! would take for more than text.

use std::fmt::Write as _;

use relayflow_core::text;

/// Cases that belong together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Suite {
    pub(crate) name: String,
    /// RFC 3339; when it began.
    pub(crate) timestamp: Option<String>,
    /// How long all of it took.
    pub(crate) seconds: Option<f64>,
    /// What else is to be known of it, as name and value.
    pub(crate) properties: Vec<(String, String)>,
    pub(crate) cases: Vec<Case>,
}

/// One thing that was checked or done.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// What it is a case of: a destination, a source and type.
    pub(crate) class: String,
    pub(crate) outcome: Outcome,
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// `kind` is one word for what went wrong, `message` a line; `detail` may be several.
    Failed {
        kind: String,
        message: String,
        detail: String,
    },
    /// It was not done, and that is no failure.
    Skipped {
        message: String,
    },
}

/// The document.
pub(crate) fn document(suites: &[Suite]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for suite in suites {
        write_suite(&mut out, suite);
    }
    out.push_str("</testsuites>\n");
    out
}

fn write_suite(out: &mut String, suite: &Suite) {
    let count = |wanted: fn(&Outcome) -> bool| {
        suite.cases.iter().filter(|case| wanted(&case.outcome)).count()
    };
    let failures = count(|o| matches!(o, Outcome::Failed { .. }));
    let skipped = count(|o| matches!(o, Outcome::Skipped { .. }));
    let _ = write!(
        out,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" \
         skipped=\"{skipped}\"",
        attribute(&suite.name),
        suite.cases.len(),
    );
    if let Some(seconds) = suite.seconds {
        let _ = write!(out, " time=\"{seconds:.3}\"");
    }
    if let Some(timestamp) = &suite.timestamp {
        let _ = write!(out, " timestamp=\"{}\"", attribute(timestamp));
    }
    out.push_str(">\n");
    if !suite.properties.is_empty() {
        out.push_str("    <properties>\n");
        for (name, value) in &suite.properties {
            let (name, value) = (attribute(name), attribute(value));
            let _ = writeln!(out, "      <property name=\"{name}\" value=\"{value}\"/>");
        }
        out.push_str("    </properties>\n");
    }
    for case in &suite.cases {
        write_case(out, case);
    }
    out.push_str("  </testsuite>\n");
}

fn write_case(out: &mut String, case: &Case) {
    let (class, name) = (attribute(&case.class), attribute(&case.name));
    let _ = write!(out, "    <testcase classname=\"{class}\" name=\"{name}\"");
    match &case.outcome {
        Outcome::Passed => out.push_str("/>\n"),
        Outcome::Failed { kind, message, detail } => {
            let _ = writeln!(
                out,
                ">\n      <failure type=\"{}\" message=\"{}\">{}</failure>\n    </testcase>",
                attribute(kind),
                attribute(message),
                escape(&text::block(detail)),
            );
        }
        Outcome::Skipped { message } => {
            let message = attribute(message);
            let _ = writeln!(out, ">\n      <skipped message=\"{message}\"/>\n    </testcase>");
        }
    }
}

/// One line, for between double quotes.
fn attribute(given: &str) -> String {
    escape(&text::line(given))
}

fn escape(given: &str) -> String {
    let mut out = String::with_capacity(given.len() + 8);
    for c in given.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // XML 1.0 has no place for these two, whatever way they are written.
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, outcome: Outcome) -> Case {
        Case { name: name.to_owned(), class: "api.example.com".to_owned(), outcome }
    }

    #[test]
    fn a_suite_counts_its_cases_and_says_why_one_failed() {
        let suite = Suite {
            name: "rpl_1".to_owned(),
            timestamp: Some("2026-11-23T14:05:00Z".to_owned()),
            seconds: Some(1.5),
            properties: vec![("by".to_owned(), "ana".to_owned())],
            cases: vec![
                case("tsk_1", Outcome::Passed),
                case(
                    "tsk_2",
                    Outcome::Failed {
                        kind: "dead".to_owned(),
                        message: "422 <no> & \"plan\"".to_owned(),
                        detail: "first\nsecond".to_owned(),
                    },
                ),
                case("tsk_3", Outcome::Skipped { message: "already ok".to_owned() }),
            ],
        };
        insta::assert_snapshot!(document(&[suite]), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites>
          <testsuite name="rpl_1" tests="3" failures="1" errors="0" skipped="1" time="1.500" timestamp="2026-11-23T14:05:00Z">
            <properties>
              <property name="by" value="ana"/>
            </properties>
            <testcase classname="api.example.com" name="tsk_1"/>
            <testcase classname="api.example.com" name="tsk_2">
              <failure type="dead" message="422 &lt;no&gt; &amp; &quot;plan&quot;">first
        second</failure>
            </testcase>
            <testcase classname="api.example.com" name="tsk_3">
              <skipped message="already ok"/>
            </testcase>
          </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn hostile_text_is_text() {
        let evil = "\u{1b}[2J\u{0}]]>\u{9b}\u{202e}\u{ffff}<x/>";
        let failed = Outcome::Failed {
            kind: evil.to_owned(),
            message: evil.to_owned(),
            detail: evil.to_owned(),
        };
        let suite =
            Suite { name: evil.to_owned(), cases: vec![case(evil, failed)], ..Suite::default() };
        let shown = document(&[suite]);
        assert!(!shown.contains("<x/>"), "{shown}");
        let is_allowed = |c: char| c == '\n' || (' '..='\u{7e}').contains(&c) || '\u{a0}' <= c;
        assert!(shown.chars().all(|c| is_allowed(c) && c != '\u{202e}'), "{shown:?}");
        assert!(!shown.contains('\u{ffff}'));
    }
}
