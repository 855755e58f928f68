//! One hostile event, hostile in every place that a vendor or a destination controls, and every command
//! that reads: nothing of it acts on a terminal, breaks a table, or is a formula in a spreadsheet.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::{Daemon, Home, Ran, text, until};
use crate::receiver::{Receiver, Reply};
use crate::vendor::{self, STRIPE_SECRET, Signed, sign_stripe};

/// What acts on terminals, misleads readers, breaks lines or starts formulas, without what JSON and ids
/// do not take.
const CURSES: &str = "\u{1b}[2J\u{1b}]52;c;cHduZWQ=\u{7}\u{1b}P+q\u{1b}\\\u{9b}31m\u{90}q\u{9c}\u{202e}gpj.exe\
    \u{200b}\u{feff}\u{2028}\u{2029}\u{85}\r\n\u{8}\u{7f}\tx\u{0}";
/// The same without control characters, which no id and no type may have.
const DISGUISE: &str = "\u{202e}gpj\u{200b}\u{2066}\u{feff}\u{2028}\u{e0041}";

/// Whether a character may stand on a terminal, beside line ends.
fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[track_caller]
fn is_safe(what: &str, shown: &str, line_end: &str) {
    let bare = shown.replace(line_end, "\n");
    // A body that is shown keeps its tabs.
    let may_stand = |c: char| c == '\n' || (c == '\t' && what.contains(" raw ")) || is_harmless(c);
    if let Some((at, c)) = bare.char_indices().find(|(_, c)| !may_stand(*c)) {
        let from = bare.floor_char_boundary(at.saturating_sub(60));
        let to = bare.ceil_char_boundary((at + 20).min(bare.len()));
        panic!("{what}: U+{:04X} in {:?}", u32::from(c), &bare[from..to]);
    }
}

/// The cells of a csv, row by row; every one must be quoted.
#[track_caller]
fn cells(what: &str, csv: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut rest = csv;
    while !rest.is_empty() {
        let mut row = Vec::new();
        loop {
            rest = rest.strip_prefix('"').unwrap_or_else(|| panic!("{what}: no quote: {rest:.60}"));
            let mut cell = String::new();
            loop {
                let end = rest.find('"').unwrap_or_else(|| panic!("{what}: an open quote"));
                cell.push_str(&rest[..end]);
                rest = &rest[end + 1..];
                match rest.strip_prefix('"') {
                    Some(more) => {
                        cell.push('"');
                        rest = more;
                    }
                    None => break,
                }
            }
            row.push(cell);
            if let Some(more) = rest.strip_prefix(',') {
                rest = more;
                continue;
            }
            rest = rest.strip_prefix("\r\n").unwrap_or_else(|| panic!("{what}: {rest:.60}"));
            break;
        }
        rows.push(row);
    }
    rows
}

fn columns_of(line: &str) -> usize {
    line.chars().count()
}

/// Runs a command in every format, into a file and on a terminal of 80 columns.
struct Trial<'t> {
    daemon: &'t Daemon,
    home: &'t Home,
    problems: BTreeSet<String>,
    runs: usize,
}

const FORMATS: [&str; 9] =
    ["table", "wide", "json", "ndjson", "yaml", "csv", "name", "junit", "sarif"];

impl Trial<'_> {
    fn every_format(&mut self, args: &[&str]) {
        for format in FORMATS {
            for terminal in [false, true] {
                let mut all = args.to_vec();
                all.extend(["-o", format]);
                self.check(&all, format, terminal);
            }
        }
    }

    fn check(&mut self, args: &[&str], format: &str, terminal: bool) {
        self.runs += 1;
        let mut command = self.daemon.cli(self.home, args);
        command.env("NO_COLOR", "1").env("VISUAL", "true");
        if terminal {
            command.env("RELAYFLOW_FORCE_TTY", "80");
        }
        let ran = crate::harness::run(command, None);
        let what = format!("relayflow {} (terminal: {terminal})", args.join(" ").escape_debug());
        let result = std::panic::catch_unwind(|| judge(&what, &ran, args, format, terminal));
        if let Err(problem) = result {
            let told = problem
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| problem.downcast_ref::<&str>().map(ToString::to_string));
            self.problems.insert(told.unwrap_or(what));
        }
    }
}

fn judge(what: &str, ran: &Ran, args: &[&str], format: &str, terminal: bool) {
    assert!((0..=10).contains(&ran.exit), "{what}: exit {}: {}", ran.exit, ran.err);
    assert!(!ran.err.contains("panicked"), "{what}: {}", ran.err);
    is_safe(&format!("{what}, stderr"), &ran.err, "\n");
    let is_raw = args.contains(&"raw");
    if is_raw && !terminal {
        // Exact bytes are what was asked for.
        return;
    }
    let line_end = if format == "csv" || is_raw { "\r\n" } else { "\n" };
    is_safe(what, &ran.out, line_end);
    match format {
        "json" | "ndjson" | "yaml" if !is_raw => {
            let is_ascii = |b: &u8| *b == b'\n' || (b' '..=b'~').contains(b);
            let odd = ran.out.bytes().find(|b| !is_ascii(b));
            assert_eq!(odd, None, "{what}: not ASCII");
            if format == "json" && ran.exit == 0 {
                serde_json::from_str::<Value>(&ran.out).unwrap_or_else(|e| panic!("{what}: {e}"));
            }
            if format == "ndjson" {
                for line in ran.out.lines() {
                    serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{what}: {e}"));
                }
            }
        }
        "csv" if !is_raw => {
            let rows = cells(what, &ran.out);
            let width = rows.first().map_or(0, Vec::len);
            for cell in rows.iter().flatten() {
                let first = cell.trim_start().chars().next().unwrap_or(' ');
                let is_formula = matches!(first, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠');
                assert!(!is_formula, "{what}: a formula: {cell}");
                assert!(!cell.contains(['\n', '\r', '\t']), "{what}: a cell over lines: {cell}");
            }
            assert!(rows.iter().all(|row| row.len() == width), "{what}: rows of several widths");
        }
        "table" if terminal && args.get(1) == Some(&"ls") => {
            let wide = ran.out.lines().map(columns_of).max().unwrap_or(0);
            assert!(wide <= 80, "{what}: {wide} columns:\n{}", ran.out);
        }
        "junit" | "sarif" if ran.exit == 0 && !ran.out.is_empty() => {
            if format == "sarif" {
                serde_json::from_str::<Value>(&ran.out).unwrap_or_else(|e| panic!("{what}: {e}"));
            } else {
                assert!(ran.out.starts_with("<?xml"), "{what}: {:.80}", ran.out);
                let is_allowed = |c: char| c == '\n' || c >= ' ';
                assert!(ran.out.chars().all(is_allowed), "{what}: no XML");
            }
        }
        _ => {}
    }
}

fn event(id: &str, event_type: &str) -> String {
    let mut noise = json!({
        "id": id,
        "object": "event",
        "created": vendor::now(),
        "type": event_type,
        "data": { "object": {
            "id": format!("=HYPERLINK(\"http://evil.example\"){DISGUISE}"),
            "object": "charge",
            "amount": 4200,
            "currency": CURSES,
            "customer": format!("+cmd|' /C calc'!A0{CURSES}"),
            "failure_message": CURSES,
            "large": "=".repeat(300_000),
        }},
    });
    noise["data"]["object"][CURSES] = json!([CURSES, { format!("@{CURSES}"): CURSES }]);
    noise.to_string()
}

fn posted(daemon: &Daemon, body: &str, headers: &[(&str, &str)]) -> u16 {
    let mut signed = sign_stripe(STRIPE_SECRET, body.as_bytes(), vendor::now());
    for (name, value) in headers {
        signed = signed.with(name, value);
    }
    daemon.post(&signed).status
}

#[test]
fn nothing_hostile_acts_on_a_terminal_or_a_spreadsheet() {
    let receiver = Receiver::start();
    receiver.answer(|_| Reply::Json(422, format!("{{\"message\":\"=1+1 {CURSES}\"}}\n{CURSES}")));
    let curse = CURSES.replace(['\r', '\n', '\u{0}'], "");
    let home = Home::new(&format!(
        "[retry]\nattempts = 2\nfirst = \"50ms\"\nlongest = \"1s\"\n{}\
         [workflows.all]\non = [\"*\"]\n[[workflows.all.steps]]\nname = \"call\"\n\
         [workflows.all.steps.http]\nmethod = \"POST\"\n\
         url = \"{}/{{{{ event.subject }}}}?token={{{{ event.payload.data.object.currency }}}}\"\n\
         headers = {{ x-customer = \"{{{{ event.payload.data.object.id }}}}\", authorization = \"Bearer dest-canary-0123456789\" }}\n\
         body = \"event.payload.data\"\n",
        vendor::sources(),
        receiver.url("")
    ));
    let daemon = home.start();
    let agent = curse.replace(|c: char| c.is_ascii_control(), "");
    let headers = [("user-agent", &*agent), ("x-request-id", &*format!("=1{agent}"))];
    let hostile_type = format!("=cmd|{DISGUISE}");
    assert_eq!(posted(&daemon, &event(&format!("=1+{DISGUISE}"), &hostile_type), &headers), 200);
    assert_eq!(posted(&daemon, &event("@SUM(A1)", "-2+3"), &headers), 200);
    // Unreadable: control characters in an id, and no JSON at all.
    assert_eq!(posted(&daemon, &event(CURSES, "charge.failed"), &headers), 200);
    assert_eq!(posted(&daemon, &format!("{CURSES}{{"), &headers), 200);
    // Not verified, its target and its signature hostile too.
    let forged = Signed {
        target: format!("/in/stripe?q={agent}&=cmd"),
        headers: vec![
            ("stripe-signature".to_owned(), format!("t=1,v1={agent}")),
            ("user-agent".to_owned(), agent.clone()),
            ("x-original-stripe-signature".to_owned(), format!("=1{agent}")),
        ],
        body: format!("{CURSES}\u{fffd}").into_bytes(),
    };
    let answer = daemon.post(&forged);
    assert!((400..500).contains(&answer.status), "{}", answer.status);
    let unsigned = Signed {
        target: "/in/github?x=%1b%5b2J".to_owned(),
        headers: vec![("user-agent".to_owned(), agent.clone())],
        body: b"\xff\xfe\x1b[2J\x9b".to_vec(),
    };
    assert_eq!(daemon.post(&unsigned).status, 401);
    let dead = until("the tasks are dead", || {
        let letters = daemon.list("/dead-letters", "");
        (letters.len() == 4).then_some(letters)
    });
    let rejected = until("what was turned away is kept", || {
        let kept = daemon.list("/requests", "status:rejected");
        (!kept.is_empty()).then_some(kept)
    });
    let task = dead.iter().map(|d| text(&d["id"])).find(|id| id.starts_with("tsk_")).unwrap();
    let letter = dead.iter().map(|d| text(&d["id"])).find(|id| id.starts_with("req_")).unwrap();
    let events = daemon.list("/events", "");
    let event = text(&events.first().unwrap()["id"]);
    let request = text(&events.first().unwrap()["request_id"]);
    let corr = text(&events.first().unwrap()["correlation_id"]);

    let body = self::event(&format!("=1{DISGUISE}"), "charge.failed").replace("====", "");
    let mut trial = Trial { daemon: &daemon, home: &home, problems: BTreeSet::new(), runs: 0 };
    for args in [
        &["events", "ls"][..],
        &["events", "ls", "status:dead"],
        &["events", "show", event],
        &["events", "raw", event],
        &["requests", "ls"],
        &["requests", "ls", "sig:invalid"],
        &["requests", "show", request],
        &["requests", "show", letter],
        &["timeline", event],
        &["timeline", task],
        &["timeline", letter],
        &["trace", corr],
        &["trace", event],
        &["dlq", "ls"],
        &["dlq", "ls", "--by", "error"],
        &["dlq", "ls", "--by", "type"],
        &["dlq", "show", task],
        &["dlq", "show", letter],
        &["dlq", "replay", "--all-time", "--dry-run"],
        &["dlq", "discard", "--all-time", "--dry-run", "--reason", "x"],
        &["replay", "create", "--mode", "reroute", "--all-time", "--dry-run"],
        &["replay", "ls"],
        &["queue", "ls"],
        &["workflows", "ls"],
        &["workflows", "explain", event],
        &["sources", "ls"],
        &["sources", "show", "stripe"],
        &["providers", "show", "stripe"],
        &["workflows", "show", "all"],
        &["workflows", "explain", "--source", "stripe", "--data", &body],
        &["drift", "ls"],
        &["contract", "ls"],
        &["contract", "check", "--since", "1h"],
        &["stats"],
        &["tail", "--since", "1h", "--timeout", "200ms"],
        // What comes from the command line is repeated in errors.
        &["events", "ls", &format!("sorce:{curse}")],
        &["events", "ls", &format!("type:\"{curse}")],
        &["events", "show", &format!("evt_{curse}")],
        &["events", "ls", "--fields", &curse],
        &["events", "ls", "--since", &curse],
        &["requests", "explain", &format!("req_{curse}")],
        &["events", &curse],
        &["events", "ls", &format!("--{curse}")],
        &["send", &curse, "x"],
    ] {
        trial.every_format(args);
    }
    for request in &rejected {
        let id = text(&request["id"]);
        trial.every_format(&["requests", "show", id]);
        trial.every_format(&["requests", "explain", id]);
        trial.every_format(&["requests", "raw", id]);
        trial.check(&["requests", "raw", "--headers", id], "table", true);
    }
    trial.check(&["events", "raw", "--headers", event], "table", true);
    // What operators write is shown to others.
    let pause = ["queue", "pause", &receiver.name(), "--for", "30m", "--yes", "--reason", &curse];
    daemon.relayflow(&home, &pause).ended(0);
    for args in [
        &["queue", "ls"][..],
        &["queue", "show", &receiver.name()],
        &["doctor"],
        &["context", "ls"],
        &["config", "explain"],
    ] {
        trial.every_format(args);
    }
    daemon.relayflow(&home, &["queue", "resume", &receiver.name()]).ended(0);
    // All of it in a bundle, read without the daemon.
    daemon.relayflow(&home, &["export", event, "--to", "bundle.tar.gz"]).ended(0);
    for args in [
        &["--db", "bundle.tar.gz", "events", "show", event][..],
        &["--db", "bundle.tar.gz", "timeline", event],
        &["--db", "bundle.tar.gz", "requests", "ls"],
    ] {
        trial.every_format(args);
    }
    // A replay of it all, for a reason that is hostile too.
    let replay = ["dlq", "replay", "--all-time", "--yes", "--wait", "--reason", &curse];
    trial.check(&[&replay[..], &["-o", "table"]].concat(), "table", true);
    let jobs = daemon.list("/replays", "");
    let job = text(&jobs.first().unwrap()["id"]);
    trial.every_format(&["replay", "show", job]);
    trial.every_format(&["replay", "watch", job]);
    trial.every_format(&["replay", "ls"]);
    trial.every_format(&["timeline", event]);
    trial.every_format(&["requests", "replay", text(&rejected.first().unwrap()["id"])]);
    trial.check(&["-v", "-v", "events", "show", event], "table", true);
    let mut told = String::new();
    for problem in &trial.problems {
        let _ = writeln!(told, "- {problem}");
    }
    assert!(trial.problems.is_empty(), "{} of {} runs:\n{told}", trial.problems.len(), trial.runs);

    // One row a line, whatever is in it.
    for noun in ["events", "requests", "dlq"] {
        let count =
            daemon.relayflow(&home, &[noun, "ls", "-o", "name"]).ended(0).out.lines().count();
        for format in ["table", "wide"] {
            let shown = daemon.relayflow(&home, &[noun, "ls", "-o", format]).ended(0).out;
            assert_eq!(shown.lines().count(), count + 1, "{noun} as {format}:\n{shown}");
        }
    }
    for line in daemon.log() {
        is_safe("the daemon's log", &line, "\n");
        assert!(!line.contains("dest-canary"), "{line}");
    }
    for args in [&["workflows", "explain", event][..], &["dlq", "show", task]] {
        let shown = daemon.relayflow(&home, args).ended(0).out;
        assert!(!shown.contains("dest-canary"), "{shown}");
    }
}
