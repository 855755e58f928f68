//! The terminal UI on a real terminal: the program, a pty, and what a person would see.

mod picture;
mod promises;
pub(crate) mod screen;

use self::screen::Tui;
use crate::delivery::one_step;
use crate::harness::{Daemon, Home, free_port, until};
use crate::receiver::{Receiver, Reply};
use crate::vendor::stripe;

pub(crate) struct Setup {
    receiver: Receiver,
    home: Home,
    daemon: Daemon,
}

/// Twelve dead letters of one error and some events that went well.
pub(crate) fn setup() -> Setup {
    let receiver = Receiver::start();
    receiver.answer(|call| {
        let refuse = call.json()["type"] == "charge.failed";
        Reply::Status(if refuse { 422 } else { 200 })
    });
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    for n in 0..12 {
        daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed"));
    }
    for n in 0..3 {
        daemon.deliver_new(&stripe(&format!("evt_ok_{n}"), "charge.refunded"));
    }
    daemon.drained();
    Setup { receiver, home, daemon }
}

impl Setup {
    pub(crate) fn open(&self, args: &[&str]) -> Tui {
        self.open_at((80, 24), args, &[])
    }

    fn open_at(&self, size: (u16, u16), args: &[&str], env: &[(&str, &str)]) -> Tui {
        let args = [&["tui"], args].concat();
        Tui::start(self.daemon.cli(&self.home, &args), size, env)
    }
}

#[test]
fn an_incident_ends_in_five_keys() {
    let setup = setup();
    let mut tui = setup.open(&[]);
    tui.shows("● live");
    tui.shows("12");
    tui.shows("422");
    tui.press("\r");
    tui.shows("[3 DLQ]");
    tui.shows("12 matching");
    tui.press("\r");
    tui.shows("✖ dead");
    tui.shows("answer of");
    setup.receiver.answer(|_| Reply::Status(200));
    tui.press("R");
    tui.shows("[2 Plan]");
    tui.shows("12 tasks of 12 events");
    tui.press("\r");
    tui.shows("y to run");
    tui.settles();
    assert_eq!(setup.daemon.stats()["dead_letters"], 12, "nothing is done before the yes");
    tui.press("y");
    tui.shows("[4 Replays]");
    tui.shows("12 / 12");
    tui.shows("● done");
    let stats = setup.daemon.drained();
    assert_eq!(stats["dead_letters"], 0);
    assert_eq!(setup.daemon.list("/replays", "").len(), 1);
    tui.press("q");
    assert_eq!(tui.exit(), 0);
}

#[test]
fn a_protected_context_wants_the_number_typed() {
    let setup = setup();
    setup.home.write("token", &setup.daemon.token);
    setup.home.script("private", "#!/bin/sh\nchmod 600 token\n");
    assert!(
        std::process::Command::new(setup.home.path("private"))
            .current_dir(setup.home.path("."))
            .status()
            .unwrap()
            .success()
    );
    setup.home.write(
        "cli.toml",
        &format!(
            "[contexts.prod]\nendpoint = \"http://{}\"\ntoken_file = {:?}\nprotected = true\nlabel = \"PROD\"\n",
            setup.daemon.api,
            setup.home.path("token")
        ),
    );
    let config = setup.home.path("cli.toml");
    let config = config.to_str().unwrap();
    let mut tui = setup.open(&["dlq", "--user-config", config, "-c", "prod"]);
    tui.shows("PROD");
    tui.shows("12 matching");
    // A command of the palette is about the same RelayFlow.
    tui.press(":");
    tui.press(">dlq ls --by type\r");
    tui.shows("─ relayflow dlq ls --by type");
    tui.shows("charge.failed     12");
    tui.press("\u{1b}");
    tui.shows_not("─ relayflow dlq ls --by type");
    tui.press("R");
    tui.shows("12 tasks of 12 events");
    tui.press("\r");
    tui.shows("Type the number of tasks");
    tui.press("1\r");
    tui.shows("not the number");
    tui.settles();
    assert_eq!(setup.daemon.stats()["dead_letters"], 12);
    tui.press("2\r");
    tui.shows("[4 Replays]");
    tui.press("\u{3}");
    assert_eq!(tui.exit(), 0);
}

#[test]
fn what_is_shown_can_be_taken_along() {
    let setup = setup();
    let mut tui = setup.open(&["dlq"]);
    tui.shows("12 matching");
    tui.press("y");
    tui.shows("─ copy ");
    tui.press("1");
    tui.shows("copied id tsk_");
    assert!(tui.written().contains("\u{1b}]52;c;"), "no OSC 52");
    // Not a bundle but the rows: the name says so.
    tui.press("x");
    tui.shows("─ Export ");
    tui.press("\u{15}rows.ndjson\r");
    tui.shows("wrote rows.ndjson");
    assert_eq!(setup.home.read("rows.ndjson").unwrap().lines().count(), 12);
    tui.press(":");
    tui.press(">version\r");
    tui.shows("relayflow 0.");
    // An escape that a key follows at once would be that key with alt.
    tui.press("\u{1b}");
    tui.shows_not("─ relayflow version");
    tui.press("/status:discarded\r");
    tui.shows("no dead letter matches");
    tui.press("q");
    assert_eq!(tui.exit(), 0);
}

#[test]
fn a_mouse_that_was_asked_for_points() {
    let setup = setup();
    setup.home.write("cli.toml", "[tui]\nmouse = true\n[tui.keys]\nquit = \"Q\"\n");
    let config = setup.home.path("cli.toml");
    let mut tui = setup.open(&["dlq", "--user-config", config.to_str().unwrap()]);
    tui.shows("rows 1–12 of 12");
    let cursor = |tui: &Tui| tui.screen().lines().position(|line| line.starts_with('▶'));
    assert_eq!(cursor(&tui), Some(4));
    tui.press("\u{1b}[<0;10;8M\u{1b}[<0;10;8m");
    until("the row under the mouse is selected", || (cursor(&tui) == Some(7)).then_some(()));
    tui.press("\u{1b}[<65;10;8M");
    until("the wheel moves on", || (cursor(&tui) == Some(8)).then_some(()));
    tui.press("Q");
    assert_eq!(tui.exit(), 0);
    tui.is_restored();
}

#[test]
fn a_daemon_that_is_killed_and_comes_back_is_found_again() {
    let receiver = Receiver::start();
    receiver.answer(|_| Reply::Status(422));
    let (ingest, api) = (free_port(), free_port());
    let home = Home::new(&one_step(&receiver));
    let config = home.read("relayflow.toml").unwrap();
    let config = config.replacen("127.0.0.1:0", &format!("127.0.0.1:{ingest}"), 1).replacen(
        "127.0.0.1:0",
        &format!("127.0.0.1:{api}"),
        1,
    );
    home.write("relayflow.toml", &config);
    let mut daemon = home.start();
    daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.drained();
    let mut tui = Tui::start(daemon.cli(&home, &["tui", "dlq"]), (80, 24), &[]);
    tui.shows("1 matching");
    daemon.kill();
    tui.shows("lost");
    tui.shows("charge.failed");
    tui.press("R");
    tui.shows("off: not connected");
    let daemon = home.start();
    tui.shows("connected again");
    daemon.deliver_new(&stripe("evt_2", "charge.failed"));
    tui.shows("1 new");
    tui.press("f");
    tui.shows("2 matching");
    tui.press("q");
    assert_eq!(tui.exit(), 0);
}

#[test]
fn a_storm_of_sizes_ends_in_the_last_one() {
    let setup = setup();
    let mut tui = setup.open(&["dlq"]);
    tui.shows("12 matching");
    for n in 0..60_u16 {
        tui.resize((30 + n * 2, 8 + n % 40));
    }
    tui.resize((38, 9));
    tui.shows("60x16 needed, this is 38x9");
    tui.resize((140, 40));
    tui.shows("Timeline [t]");
    tui.shows("rows 1–12 of 12");
    tui.press("q");
    assert_eq!(tui.exit(), 0);
}

#[test]
fn however_it_ends_the_terminal_is_as_it_was() {
    let setup = setup();
    for (signal, exit) in [("TERM", 143), ("HUP", 129)] {
        let mut tui = setup.open(&["dlq"]);
        tui.shows("12 matching");
        tui.signal(signal);
        assert_eq!(tui.exit(), exit, "{signal}");
        tui.is_restored();
    }
    for (what, text) in
        [("task-panic", "injected into a task"), ("ui-panic", "injected into the UI")]
    {
        let mut tui = setup.open(&["dlq", "--inject", what]);
        assert_eq!(tui.exit(), 1, "{what}");
        tui.is_restored();
        tui.shows(text);
        tui.shows("relayflow tui dlq");
    }
}

#[test]
fn without_colour_not_one_colour_is_sent() {
    let setup = setup();
    let mut tui = setup.open_at((80, 24), &["dlq"], &[("NO_COLOR", "1")]);
    tui.shows("12 matching");
    tui.press("j");
    tui.press("q");
    assert_eq!(tui.exit(), 0);
    let colours = tui.colours();
    assert!(colours.is_empty(), "{colours:?}");
    assert!(tui.written().contains("\u{1b}[7m"), "the selected row is reversed");
}

#[test]
fn an_editor_gets_the_keyboard_whole_and_gives_it_back() {
    let setup = setup();
    setup.home.script(
        "editor",
        "#!/bin/sh\nprintf 'editing %s\\n' \"$1\"\nread -r line\nprintf '%s' \"$line\" > typed\ncp \"$1\" edited\n",
    );
    let editor = setup.home.path("editor");
    let mut tui = setup.open_at((80, 24), &["dlq"], &[("EDITOR", editor.to_str().unwrap())]);
    tui.shows("12 matching");
    tui.press("o");
    tui.shows("\"type\": \"charge.failed\"");
    tui.press("E");
    tui.shows("editing ");
    tui.press("hello123\r");
    tui.shows("back from the editor");
    tui.shows("\"type\": \"charge.failed\"");
    assert_eq!(setup.home.read("typed").as_deref(), Some("hello123"));
    assert!(setup.home.read("edited").unwrap().contains("charge.failed"));
    // What interrupts the editor leaves us.
    tui.press("E");
    until("a second editing", || (2 <= tui.written().matches("editing ").count()).then_some(()));
    tui.press("\u{3}");
    tui.shows("the editor ended with");
    tui.press("q");
    assert_eq!(tui.exit(), 0);
}

#[test]
fn a_payload_is_mended_in_the_editor_and_run() {
    let setup = setup();
    setup.home.script("mend", "#!/bin/sh\nsed -i 's/4200/4300/' \"$1\"\n");
    let mend = setup.home.path("mend");
    let mut tui = setup.open_at((100, 30), &["dlq"], &[("EDITOR", mend.to_str().unwrap())]);
    tui.shows("12 matching");
    tui.press("\r");
    tui.shows("answer of");
    tui.press("e");
    tui.shows("Edit and replay");
    tui.shows("4300");
    tui.press("a typo\r");
    tui.shows("1 task of 1 event");
    setup.receiver.answer(|_| Reply::Status(200));
    tui.press("\r");
    tui.shows("[4 Replays]");
    tui.shows("1 / 1");
    setup.daemon.drained();
    let calls = setup.receiver.wait_for(16);
    assert!(calls.last().unwrap().json().to_string().contains("4300"));
    assert_eq!(setup.daemon.stats()["dead_letters"], 11);
    tui.press("q");
    assert_eq!(tui.exit(), 0);
}

#[test]
fn a_store_without_its_daemon_is_read_and_not_changed() {
    let mut setup = setup();
    setup.daemon.stop();
    let store = format!("sqlite:{}", setup.home.path("relayflow.db").display());
    let mut tui = Tui::start(setup.home.cli(&["--db", &store, "tui", "dlq"]), (80, 24), &[]);
    tui.shows("store, read only");
    tui.shows("12 matching");
    tui.press("R");
    tui.shows("off: a store opened directly is for reading");
    tui.press("\r");
    tui.shows("✖ dead");
    tui.press("q");
    assert_eq!(tui.exit(), 0);
}

#[test]
fn a_pipe_is_told_where_to_go() {
    let setup = setup();
    let ran = setup.daemon.relayflow(&setup.home, &["tui"]).ended(2);
    assert!(ran.err.contains("needs a terminal") && ran.err.contains("relayflow tail"), "{ran:?}");
}

#[test]
fn charts_are_of_a_destination_and_of_a_job() {
    let setup = setup();
    let name = setup.receiver.name();
    let mut tui = setup.open(&["charts", &name]);
    tui.shows("Latency of attempts");
    tui.shows("15 attempts");
    tui.shows("try 1");
    tui.press("]");
    tui.shows("‹ 1h ›");
    tui.press("z");
    tui.settles();
    tui.shows("Latency of attempts");
    tui.shows_not("over time");
    tui.press("\u{1b}");
    tui.shows("over time");
    tui.press("y");
    tui.shows("─ copy ");
    tui.press("\u{1b}");
    tui.shows_not("─ copy ");
    tui.press("q");
    assert_eq!(tui.exit(), 0);
    let told = setup.daemon.relayflow(&setup.home, &["stats", "--of", &name]).ended(0);
    assert!(told.out.contains("15 attempts") && told.out.contains("try 1"), "{told:?}");
    // The same of a job.
    let jobs = ["dlq", "replay", "--all-time", "--yes", "--reason", "again", "--wait"];
    setup.receiver.answer(|_| Reply::Status(200));
    setup.daemon.relayflow(&setup.home, &jobs);
    setup.daemon.drained();
    let job = setup.daemon.list("/replays", "")[0]["id"].as_str().unwrap().to_owned();
    let chart = setup.daemon.get(&format!("/charts?replay={job}"));
    assert_eq!(chart["attempts"], 12, "{chart}");
    let mut tui = setup.open(&[&job]);
    tui.shows("● done");
    tui.press(":");
    tui.press("charts\r");
    tui.shows("12 attempts");
    tui.press("q");
    assert_eq!(tui.exit(), 0);
}

#[test]
fn what_was_before_the_start_is_told_by_the_daemon() {
    let setup = setup();
    // Numbers of the present are written at most a second late.
    until("the minutes tell all of it", || {
        let minutes = setup.daemon.list("/stats/minutes", "");
        let sum = |name: &str| -> i64 { minutes.iter().map(|m| m[name].as_i64().unwrap()).sum() };
        let all = (sum("events"), sum("ok"), sum("attempts")) == (15, 3, 15);
        (all && minutes.last().unwrap()["dead"] == 12).then_some(())
    });
    let who = setup.daemon.get("/whoami");
    assert_eq!(who["role"], "admin");
}

#[test]
fn the_last_page_is_one_key_away() {
    let setup = setup();
    for n in 0..500 {
        setup.daemon.deliver_new(&stripe(&format!("evt_more_{n}"), "charge.refunded"));
    }
    setup.daemon.drained();
    let mut tui = setup.open(&["events"]);
    tui.shows("rows 1–14 of 515");
    tui.press("G");
    tui.shows("rows 502–515 of 515");
    tui.settles();
    tui.press("\u{1b}[A\u{1b}[A");
    tui.settles();
    tui.press("g");
    tui.shows("rows 1–14 of 515");
    let page = setup.daemon.get("/events?limit=2&cursor=end");
    let before = page["next_cursor"].as_str().unwrap();
    let other = setup.daemon.get(&format!("/events?limit=2&cursor={before}"));
    let at =
        |page: &serde_json::Value, n: usize| page["items"][n]["id"].as_str().unwrap().to_owned();
    assert!(
        at(&page, 0) > at(&page, 1) && at(&other, 1) > at(&page, 0),
        "newest first, going back"
    );
    tui.press("q");
    assert_eq!(tui.exit(), 0);
}

#[test]
fn a_bundle_is_written_and_looked_into() {
    let setup = setup();
    let mut tui = setup.open(&["dlq"]);
    tui.shows("12 matching");
    tui.press("x");
    tui.shows("a masked bundle of all dead letters");
    tui.press("\r");
    tui.shows("wrote relayflow-dlq.tar.gz");
    tui.shows("12 events");
    tui.press("q");
    assert_eq!(tui.exit(), 0);
    assert!(setup.home.path("relayflow-dlq.tar.gz").exists());

    let Setup { home, daemon, receiver: _receiver } = setup;
    drop(daemon);
    let mut tui = Tui::start(home.cli(&["--db", "relayflow-dlq.tar.gz", "tui"]), (80, 24), &[]);
    tui.shows("12");
    tui.press("7");
    tui.shows("[7 Sources]");
    tui.shows("stripe");
    tui.press("6");
    tui.shows("[6 Drift]");
    tui.shows_not("needs a running daemon");
    tui.press("3");
    tui.shows("12 matching");
    tui.press("\r");
    tui.shows("✖ dead");
    tui.press("q");
    assert_eq!(tui.exit(), 0);
    // A dead daemon's store is looked into in the same way.
    let mut tui =
        Tui::start(home.cli(&["--db", "sqlite:relayflow.db", "tui", "sources"]), (80, 24), &[]);
    tui.shows("stripe");
    tui.press("6");
    tui.shows("[6 Drift]");
    tui.shows_not("needs a running daemon");
    tui.press("q");
    assert_eq!(tui.exit(), 0);
}
