//! The terminal UI on a real terminal: the program, a pty, and what a person would see.

pub(crate) mod screen;

use std::time::{Duration, Instant};

use self::screen::Tui;
use crate::delivery::one_step;
use crate::harness::{Daemon, Home, free_port, until};
use crate::receiver::{Receiver, Reply};
use crate::vendor::stripe;

struct Setup {
    receiver: Receiver,
    home: Home,
    daemon: Daemon,
}

/// Twelve dead letters of one error and some events that went well.
fn setup() -> Setup {
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
    fn open(&self, args: &[&str]) -> Tui {
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
    assert_eq!(setup.daemon.stats()["dead_letters"], 12);
    tui.press("2\r");
    tui.shows("[4 Replays]");
    tui.press("\u{3}");
    assert_eq!(tui.exit(), 0);
}

#[test]
fn the_first_frame_waits_for_nobody() {
    let home = Home::new("");
    let mut command = home.cli(&["tui"]);
    // Nobody listens there; a port that swallows would do as well.
    command.env("RELAYFLOW_URL", format!("http://127.0.0.1:{}", free_port()));
    command.env("RELAYFLOW_TOKEN", "none");
    let mut tui = Tui::start(command, (80, 24), &[]);
    tui.shows("[1 Overview]");
    tui.shows("lost");
    tui.shows("Connection refused");
    tui.press("3");
    tui.shows("[3 DLQ]");
    tui.press("?");
    tui.shows("┌─ ? keys");
    tui.press("\u{1b}");
    tui.shows_not("┌─ ? keys");
    tui.press("q");
    assert_eq!(tui.exit(), 0);
}

#[test]
fn keys_are_answered_while_the_daemon_is_silent() {
    // It takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let home = Home::new("");
    let mut command = home.cli(&["tui"]);
    command.env("RELAYFLOW_URL", format!("http://{}", silent.local_addr().unwrap()));
    command.env("RELAYFLOW_TOKEN", "none");
    let mut tui = Tui::start(command, (80, 24), &[]);
    tui.shows("[1 Overview]");
    tui.shows("waiting for 127.0.0.1");
    let mut times = Vec::new();
    for (key, text) in
        [("2", "[2 Events]"), ("3", "[3 DLQ]"), ("4", "[4 Replays]"), ("5", "[5 Queues]")]
    {
        let begun = Instant::now();
        tui.press(key);
        tui.shows(text);
        times.push(begun.elapsed());
    }
    times.sort();
    eprintln!("keys were answered within {times:?}");
    // 50 ms is promised of a release build on a machine that is not full of other tests.
    assert!(times.first().unwrap() < &Duration::from_millis(500), "{times:?}");
    tui.press("q");
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
    tui.press("x");
    tui.shows("wrote relayflow-dlq.ndjson");
    assert_eq!(setup.home.read("relayflow-dlq.ndjson").unwrap().lines().count(), 12);
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
fn idle_it_writes_next_to_nothing() {
    let setup = setup();
    let mut tui = setup.open(&["queues"]);
    tui.shows("● open");
    // What there is to say after the start is said when nothing came for a while.
    let mut before = tui.written().len();
    until("the screen is quiet", || {
        let quiet = tui.quiet_for(Duration::from_secs(2));
        before = tui.written().len();
        quiet.then_some(())
    });
    let ticks = tui.cpu_ticks();
    assert!(tui.stays(Duration::from_secs(10)), "it ended by itself");
    let written = tui.written().len() - before;
    // Ages that turn into the next minute, a clock that does: some cells.
    assert!(written < 600, "{written} bytes in 10 s");
    if let (Some(before), Some(after)) = (ticks, tui.cpu_ticks()) {
        // A debug build at 100 ticks a second: 5 % of a core.
        assert!(after - before < 50, "{} ticks in 10 s", after - before);
    }
    tui.press("q");
    assert_eq!(tui.exit(), 0);
}
