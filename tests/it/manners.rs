//! The program's own manners: first steps, contexts, what is in force, help, pages, completions, pager.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use serde_json::Value;

use crate::delivery::one_step;
use crate::harness::{Daemon, Home, free_port, program, text};
use crate::receiver::{Receiver, Reply};
use crate::vendor::{self, stripe};

/// A folder of its own, without a config.
fn empty() -> Home {
    let home = Home::new("");
    std::fs::remove_file(home.path("relayflow.toml")).unwrap();
    home
}

/// `relayflow init`, and then precisely the three commands that it prints.
#[test]
fn the_three_commands_of_init_work_as_they_are_printed() {
    for providers in [None, Some("stripe,github"), Some("discord")] {
        let home = empty();
        let mut args = vec!["init"];
        args.extend(providers.iter().flat_map(|names| ["--provider", names]));
        let printed = home.relayflow(&args).ended(0).out;
        let commands: Vec<&str> = printed.lines().collect();
        let [check, up, send] = commands.as_slice() else { panic!("{printed}") };
        let ingest = format!("127.0.0.1:{}", free_port());
        let api = format!("127.0.0.1:{}", free_port());
        // Only the ports are others, since the usual ones may be taken here.
        let ports = [
            ("RELAYFLOW_INGEST__LISTEN", ingest.as_str()),
            ("RELAYFLOW_API__LISTEN", api.as_str()),
        ];
        let words = |line: &str| -> Vec<String> {
            let words = line.split(' ').map(str::to_owned);
            assert!(line.starts_with("relayflow "), "{line}");
            words.skip(1).collect()
        };
        let run = |line: &str| {
            let words = words(line);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            home.relayflow_with(&words, &ports).ended(0)
        };
        let checked = run(check);
        assert!(checked.out.starts_with("ok  "), "{checked:?}");
        let words = words(up);
        let mut command = home.cli(&words.iter().map(String::as_str).collect::<Vec<_>>());
        command.envs(ports);
        let mut daemon = Daemon::spawn(command, home.path("relayflow.token"));
        daemon.wait_ready();
        let sent = run(send);
        assert!(sent.out.starts_with("sent   20"), "{sent:?}");
        daemon.drained();
        let received = home.read("received.ndjson").unwrap_or_default();
        assert_eq!(received.lines().count(), 1, "{providers:?}: {received}");
    }
}

#[test]
fn init_writes_over_nothing_that_is_there() {
    let home = empty();
    home.relayflow(&["init", "a/b", "--provider", "stripe"]).ended(0);
    let secret = home.read("a/b/secrets/stripe").unwrap();
    assert!(32 <= secret.trim().len(), "{secret}");
    home.write("a/b/secrets/stripe", "whsec_of_a_person_0123456789\n");
    let refused = home.relayflow(&["init", "a/b", "-o", "json"]).ended(6);
    assert!(
        refused.err.contains("refused.exists") && refused.err.contains("--force"),
        "{refused:?}"
    );
    let forced = home.relayflow(&["init", "a/b", "--provider", "stripe", "--force", "-o", "json"]);
    let forced = forced.ended(0).json();
    assert_eq!(forced["kept"][0], "a/b/secrets/stripe", "{forced}");
    assert_eq!(forced["next"].as_array().unwrap().len(), 3);
    assert_eq!(home.read("a/b/secrets/stripe").unwrap(), "whsec_of_a_person_0123456789\n");
    home.relayflow(&["init", "x", "--provider", "stirpe"]).ended(3);
    assert!(!home.path("x").exists(), "nothing is begun that cannot be done");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        home.relayflow(&["init", "c", "--provider", "github"]).ended(0);
        let mode =
            |name: &str| std::fs::metadata(home.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("c/secrets"), mode("c/secrets/github")), (0o700, 0o600));
    }
}

#[test]
fn contexts_are_added_chosen_probed_and_removed() {
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    let away = empty();
    away.write("token", &format!("{}\n", daemon.token));
    let run = |args: &[&str]| away.relayflow(args);
    let endpoint = format!("http://{}", daemon.api);
    run(&[
        "context",
        "add",
        "prod",
        "--endpoint",
        &endpoint,
        "--token-cmd",
        "cat token",
        "--protected",
        "--label",
        "PROD",
        "--max-bulk",
        "5000",
    ])
    .ended(0);
    // A listener that never answers, and a port where nobody is.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    let gone_url = format!("http://127.0.0.1:{}", free_port());
    for (name, url) in [("silent", silent_url.as_str()), ("gone", &gone_url), ("bare", &endpoint)] {
        run(&["ctx", "add", name, "--endpoint", url]).ended(0);
    }
    let db = format!("sqlite:{}", home.path("relayflow.db").display());
    run(&["context", "add", "dead", "--db", &db]).ended(0);
    run(&["context", "use", "prod"]).ended(0);

    let started = Instant::now();
    let list = run(&["context", "ls", "-o", "json"]).ended(0).json();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(list["kind"], "context_list");
    let of = |name: &str| {
        let rows = list["items"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap().clone()
    };
    let prod = of("prod");
    assert_eq!(prod["state"], "ok", "{prod}");
    assert_eq!(
        (&prod["role"], &prod["protected"], &prod["current"]),
        (&"admin".into(), &true.into(), &true.into())
    );
    assert_eq!(prod["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(of("silent")["state"], "unreachable");
    assert_eq!(of("gone")["state"], "unreachable");
    assert_eq!(of("bare")["state"], "no token");
    assert_eq!(of("dead")["state"], "ok");
    let table = run(&["context", "ls"]).ended(0).out;
    let line = table.lines().find(|line| line.contains("prod")).unwrap();
    assert!(line.starts_with("* ") && line.ends_with("protected"), "{table}");
    assert_eq!(run(&["context", "ls", "-o", "name"]).ended(0).out.lines().count(), 5);

    // The context in force is used, and its label stands in what is asked.
    run(&["stats"]).ended(0);
    let shown = run(&["context", "show"]).ended(0).out;
    assert!(shown.contains("PROD") && shown.contains("config.toml:"), "{shown}");
    run(&["context", "use", "bare"]).ended(0);
    run(&["stats"]).ended(4);
    run(&["context", "use", "-"]).ended(0);
    run(&["stats"]).ended(0);
    run(&["context", "use", "-"]).ended(0);
    let config = away.read(".config/relayflow/config.toml").unwrap();
    assert!(config.contains("default_context = \"bare\""), "{config}");

    let unknown = run(&["stats", "-c", "pord"]).ended(3);
    assert!(unknown.err.contains("--context prod"), "{}", unknown.err);
    run(&["context", "use", "nope"]).ended(3);
    run(&["context", "add", "prod", "--endpoint", &endpoint]).ended(6);
    run(&["context", "add", "x", "--endpoint", "not a url"]).ended(2);
    run(&["context", "add", "x"]).ended(2);
    run(&["context", "rm", "bare"]).ended(0);
    assert!(!away.read(".config/relayflow/config.toml").unwrap().contains("bare"));
    run(&["context", "rm", "bare"]).ended(3);
}

#[cfg(unix)]
#[test]
fn a_token_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    let away = empty();
    away.write("token", &daemon.token);
    let token = away.path("token");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    let endpoint = format!("http://{}", daemon.api);
    let file = token.display().to_string();
    away.relayflow(&["context", "add", "a", "--endpoint", &endpoint, "--token-file", &file])
        .ended(0);
    let refused = away.relayflow(&["stats", "-c", "a"]).ended(4);
    assert!(
        refused.err.contains("others can read") && refused.err.contains("chmod 600"),
        "{}",
        refused.err
    );
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    away.relayflow(&["stats", "-c", "a"]).ended(0);
}

/// A protected context is guarded in every bulk action, and `max_bulk` holds.
#[test]
fn a_protected_context_wants_its_name() {
    let receiver = Receiver::start();
    receiver.answer(|_| Reply::Status(422));
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    for n in 0..3 {
        daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed"));
    }
    daemon.drained();
    let config = format!(
        "[contexts.prod]\nendpoint = \"http://{}\"\ntoken_env = \"T\"\nprotected = true\nlabel = \"PROD\"\n\
         [contexts.small]\nendpoint = \"http://{}\"\ntoken_env = \"T\"\nmax_bulk = 2\n",
        daemon.api, daemon.api
    );
    home.write("cli.toml", &config);
    let run = |args: &[&str]| {
        let args = [args, &["--user-config", "cli.toml"]].concat();
        home.relayflow_with(&args, &[("T", &daemon.token)])
    };
    let all = ["--all-time", "--reason", "x"];
    for action in
        [&["dlq", "replay"][..], &["dlq", "discard"], &["replay", "create", "status:dead"]]
    {
        let bulk = |more: &[&str]| run(&[action, &all, more].concat());
        let bare = bulk(&["-c", "prod", "--yes"]).ended(6);
        assert!(bare.err.contains("--yes=prod"), "{}", bare.err);
        bulk(&["-c", "prod"]).ended(6);
        bulk(&["-c", "prod", "--yes=small"]).ended(6);
        let more = bulk(&["-c", "small", "--yes"]).ended(6);
        assert!(more.err.contains("--max 2"), "{}", more.err);
    }
    let planned = run(&["dlq", "replay", "--all-time", "--dry-run", "-c", "prod"]).ended(0);
    assert!(planned.out.contains("prod (PROD)"), "{}", planned.out);
    run(&["dlq", "discard", "--all-time", "--reason", "x", "-c", "prod", "--yes=prod"]).ended(0);
}

#[test]
fn what_is_in_force_is_told_with_its_place() {
    let home = Home::new(&vendor::sources());
    let explain = |args: &[&str], env: &[(&str, &str)]| {
        home.relayflow_with(&[&["config", "explain"], args].concat(), env)
    };
    let env = [("RELAYFLOW_RETRY__ATTEMPTS", "7")];
    let shown = explain(&["retry.attempts", "retry.first", "ingest.listen"], &env).ended(0).out;
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("KEY"), "{shown}");
    let is_seven =
        lines[1].contains("  7  ") && lines[1].ends_with("env RELAYFLOW_RETRY__ATTEMPTS");
    assert!(is_seven, "{shown}");
    assert!(lines[2].ends_with("(env RELAYFLOW_RETRY__FIRST not set)"), "{shown}");
    assert!(lines[3].ends_with("relayflow.toml:4"), "{shown}");

    let all = explain(&["-o", "json"], &[]).ended(0);
    assert!(!all.out.contains(vendor::STRIPE_SECRET), "{}", all.out);
    let all = all.json();
    let of = |key: &str| {
        let rows = all["items"].as_array().unwrap();
        rows.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("no {key}")).clone()
    };
    let secret = of("sources.stripe.secrets.0");
    assert!(text(&secret["value"]).starts_with("••• sha256:"), "{secret}");
    assert_eq!(secret["file"], "relayflow.toml");
    let tolerance = of("sources.stripe.tolerance");
    assert_eq!(tolerance["from"], "default of provider stripe");
    assert_eq!(of("cli.context")["value"], "local");
    for format in ["wide", "yaml", "ndjson", "csv", "name"] {
        let shown = explain(&["retry", "-o", format], &[]).ended(0).out;
        assert!(shown.contains("retry.attempts"), "{format}: {shown}");
        assert!(!shown.contains("store.url"), "{format}: {shown}");
    }

    // Which layer won, and over which.
    home.write("cli.toml", "default_context = \"b\"\n[contexts.a]\nendpoint = \"http://a\"\ntoken_env = \"T\"\n[contexts.b]\ndb = \"sqlite:x\"\n");
    let env =
        [("RELAYFLOW_CONTEXT", "b"), ("T", "a-token-0123456789"), ("RELAYFLOW_CONFIG", "cli.toml")];
    let cli = explain(&["cli", "-c", "a", "-o", "json"], &env).ended(0).json();
    let rows = cli["items"].as_array().unwrap();
    let row =
        |key: &str| rows.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("no {key}"));
    assert_eq!(row("cli.context")["from"], "--context");
    assert_eq!(
        row("cli.context")["over"],
        serde_json::json!(["env RELAYFLOW_CONTEXT", "cli.toml:1"])
    );
    assert_eq!(row("cli.endpoint")["from"], "cli.toml:3");
    assert!(text(&row("cli.token")["value"]).starts_with("••• sha256:"));
    assert_eq!(row("cli.user_config")["from"], "env RELAYFLOW_CONFIG");

    let unset = explain(&["ingest.public_url"], &[]).ended(0).out;
    assert!(unset.contains("(env RELAYFLOW_INGEST__PUBLIC_URL not set)"), "{unset}");
    let wrong = explain(&["retry.atempts"], &[]).ended(3);
    assert!(wrong.err.contains("config explain retry.attempts"), "{}", wrong.err);
    home.write("broken.toml", "[retry]\natempts = 1\n");
    explain(&["--config", "broken.toml"], &[]).ended(2);
}

#[test]
fn every_topic_is_told_and_help_is_that_of_the_command() {
    let home = empty();
    for topic in ["filters", "time", "output", "exit-codes", "environment", "keys", "contexts"] {
        let told = home.relayflow(&["help", topic]).ended(0).out;
        assert!(5 < told.lines().count(), "{topic}: {told}");
        assert!(told.lines().all(|line| line.chars().count() <= 80), "{topic}: {told}");
        let json = home.relayflow(&["help", topic, "-o", "json"]).ended(0).json();
        assert_eq!(text(&json["text"]), told);
    }
    let asked = home.relayflow(&["help", "dlq", "replay"]).ended(0).out;
    let itself = home.relayflow(&["dlq", "replay", "--help"]).ended(0).out;
    assert_eq!(asked, itself);
    assert_eq!(home.relayflow(&["help"]).ended(0).out, home.relayflow(&["--help"]).ended(0).out);
    home.relayflow(&["help", "nonsense"]).ended(2);
}

/// `help output` names what a list and an object really have.
#[test]
fn the_kinds_that_are_told_are_those_that_are_given() {
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.drained();
    let told = home.relayflow(&["help", "output"]).ended(0).out;
    let lists: [&[&str]; 5] = [
        &["events", "ls"],
        &["requests", "ls"],
        &["sources", "ls"],
        &["queue", "ls"],
        &["providers", "ls"],
    ];
    for args in lists {
        let list = daemon.relayflow(&home, &[args, &["-o", "json"]].concat()).ended(0).json();
        let Some(first) = list["items"].get(0) else { continue };
        let kind = text(&first["object"]);
        assert_eq!(list["kind"], format!("{kind}_list"), "{args:?}");
        let mut lines = told.lines().skip_while(|line| !line.starts_with(&format!("  {kind} ")));
        let mut part =
            lines.next().unwrap_or_else(|| panic!("{kind} is not told: {told}")).to_owned();
        part.extend(lines.take_while(|line| line.starts_with("    ")).map(|line| line.to_owned()));
        for member in first.as_object().unwrap().keys() {
            assert!(part.contains(member.as_str()), "{kind} has {member}: {part}");
        }
    }
}

#[test]
fn a_manual_page_is_written_for_every_command() {
    let home = empty();
    let page = home.relayflow(&["man"]).ended(0).out;
    assert!(page.contains(".TH relayflow 1"), "{page}");
    home.relayflow(&["man", "--dir", "man1"]).ended(0);
    for name in ["relayflow", "relayflow-dlq", "relayflow-dlq-replay", "relayflow-context-use"] {
        let page = home.read(&format!("man1/{name}.1")).unwrap_or_else(|| panic!("no {name}.1"));
        assert!(page.contains(".SH NAME") && page.contains(&format!(".TH {name} 1")), "{page}");
    }
    assert!(!home.path("man1/relayflow-daemon.1").exists());
}

/// What a shell would be offered for the last of `words`.
fn offered(mut command: Command, words: &[&str]) -> (Vec<String>, Duration, String) {
    command.env("RELAYFLOW_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    command.env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_COMP_TYPE", "9");
    command.arg("--").arg("relayflow").args(words);
    let started = Instant::now();
    let ran = command.output().unwrap();
    let took = started.elapsed();
    let lines = String::from_utf8(ran.stdout).unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    (lines.lines().map(str::to_owned).collect(), took, said)
}

#[test]
fn completions_know_contexts_sources_workflows_and_recent_ids() {
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    daemon.drained();
    home.write(
        ".config/relayflow/config.toml",
        "[contexts.prod]\nendpoint = \"http://x\"\n[contexts.stage]\ndb = \"sqlite:x\"\n",
    );
    let list = |args: &[&str]| {
        let json = daemon.relayflow(&home, &[args, &["-o", "name"]].concat()).ended(0).out;
        json.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    // A machine under load may be late once: then there is nothing, which is right, too.
    let ask = |words: &[&str]| {
        let tries = (0..5).map(|_| offered(daemon.cli(&home, &[]), words).0);
        tries.max_by_key(Vec::len).unwrap()
    };
    assert_eq!(ask(&["stats", "--context", "p"]), ["prod"]);
    assert_eq!(ask(&["context", "use", ""])[..2], ["prod", "stage"]);
    assert_eq!(ask(&["events", "ls", "--source", "str"]), ["stripe"]);
    assert_eq!(ask(&["events", "ls", "source:str"]), ["source:stripe"]);
    assert_eq!(ask(&["events", "ls", "source", ":", "str"]), ["stripe"]);
    assert_eq!(ask(&["sources", "show", "str"]), ["stripe"]);
    let events = list(&["events", "ls"]);
    assert_eq!(ask(&["events", "show", "evt_"]), events);
    assert_eq!(ask(&["timeline", &events[0][..8]]), events);
    assert_eq!(ask(&["workflows", "show", ""])[..1], list(&["workflows", "ls"])[..1]);
    assert_eq!(ask(&["dlq", "repl"]), ["replay"]);
    assert!(ask(&["events", "ls", "stat"]).contains(&"status:".to_owned()));
    assert_eq!(ask(&["events", "ls", "-o", "nd"]), ["ndjson"]);
}

/// A daemon that takes the connection and says nothing holds up nobody.
#[test]
fn completions_never_wait_for_a_silent_daemon() {
    let home = empty();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let ask = || {
        let mut command = home.cli(&[]);
        command.env("RELAYFLOW_URL", &url);
        let (lines, took, said) = offered(command, &["events", "show", "evt_"]);
        assert_eq!((lines.len(), said.as_str()), (0, ""), "{lines:?}");
        took
    };
    // The least of several: the rest is what else this machine does.
    let took = (0..8).map(|_| ask()).min().unwrap();
    assert!(took < Duration::from_millis(300), "{took:?}");
}

#[test]
fn every_shell_has_a_script() {
    let home = empty();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = home.relayflow(&["completions", shell]).ended(0).out;
        assert!(script.contains("RELAYFLOW_COMPLETE"), "{shell}: {script}");
        let Ok(known) = Command::new(shell).arg("--version").output() else { continue };
        if known.status.success() && shell == "bash" {
            let mut parse = Command::new(shell);
            let mut child = parse.arg("-n").stdin(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success(), "{shell} does not read its script");
        }
    }
    home.relayflow(&["completions", "tcsh"]).ended(2);
}

/// Runs on a terminal of 100 columns and gives what came onto it.
fn on_terminal(home: &Home, args: &[&str], env: &[(&str, &str)]) -> (String, u32) {
    let size = PtySize { rows: 30, cols: 100, pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(size).unwrap();
    let mut command = CommandBuilder::new(program("relayflow"));
    command.args(args);
    command.env_clear();
    command.cwd(home.path(""));
    command.env("HOME", home.path(""));
    command.env("TERM", "xterm");
    command.env("LANG", "C.UTF-8");
    command.env("PATH", std::env::var("PATH").unwrap_or_default());
    for (name, value) in env {
        command.env(name, value);
    }
    let mut child = pair.slave.spawn_command(command).unwrap();
    drop(pair.slave);
    let mut reader = pair.master.try_clone_reader().unwrap();
    let read = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _the_end_is_an_error_here = reader.read_to_end(&mut bytes);
        bytes
    });
    let status = child.wait().unwrap();
    let bytes = read.join().unwrap();
    (String::from_utf8_lossy(&bytes).into_owned(), status.exit_code())
}

#[test]
fn a_pager_is_for_what_one_reads_on_a_terminal() {
    let home = empty();
    home.script("page", "#!/bin/sh\necho paged\ncat\n");
    let page = home.path("page").display().to_string();
    let pager = [("RELAYFLOW_PAGER", page.as_str())];
    let is_paged = |args: &[&str], env: &[(&str, &str)]| {
        let (shown, exit) = on_terminal(&home, args, env);
        assert_eq!(exit, 0, "{args:?}: {shown}");
        shown.contains("paged\r\n")
    };
    assert!(is_paged(&["help", "time"], &pager));
    assert!(is_paged(&["help", "time"], &[("PAGER", page.as_str())]));
    assert!(!is_paged(&["help", "time", "--no-pager"], &pager));
    assert!(!is_paged(&["help", "time", "-o", "json"], &pager));
    assert!(!is_paged(&["help", "time"], &[("RELAYFLOW_PAGER", ""), ("PAGER", page.as_str())]));
    assert!(!is_paged(&["config", "explain", "retry"], &pager), "a list is not paged");
    // Off a terminal, and on one that is only said to be: no pager.
    let piped = home.relayflow_with(&["help", "time"], &pager).ended(0);
    assert!(!piped.out.contains("paged"));
    let forced = [("RELAYFLOW_FORCE_TTY", "60"), pager[0], ("TERM", "xterm")];
    let forced = home.relayflow_with(&["help", "time"], &forced).ended(0);
    assert!(!forced.out.contains("paged"));
    // One that is not there is none; one that stops reading is no error.
    let (shown, exit) =
        on_terminal(&home, &["help", "filters"], &[("RELAYFLOW_PAGER", "head -n 1")]);
    assert_eq!(exit, 0, "{shown}");
    assert!(shown.contains("Filters:") && !shown.contains("panicked"), "{shown}");
    let (shown, exit) = on_terminal(&home, &["help", "filters"], &[("RELAYFLOW_PAGER", "true")]);
    assert_eq!((exit, shown.contains("panicked")), (0, false), "{shown}");
}

#[test]
fn output_can_be_had_as_for_a_terminal_of_some_width() {
    let home = Home::new(&vendor::sources());
    let explain = |width: &str| {
        let env = [("RELAYFLOW_FORCE_TTY", width)];
        home.relayflow_with(&["config", "explain", "--color", "never"], &env).ended(0).out
    };
    for width in [40_usize, 80, 200] {
        let shown = explain(&width.to_string());
        assert!(
            shown.lines().all(|line| line.chars().count() <= width.max(60)),
            "{width}: {shown}"
        );
    }
    let free = home.relayflow(&["config", "explain"]).ended(0).out;
    assert!(free.lines().any(|line| 80 < line.chars().count()), "nothing is shortened elsewhere");
}

#[test]
fn top_is_the_overview_to_look_at() {
    let home = empty();
    // Without a terminal it says what the TUI says.
    let said = home.relayflow(&["top"]).ended(2);
    assert!(said.err.contains("the TUI needs a terminal"), "{}", said.err);
}

#[test]
fn versions_are_told_of_both_sides() {
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    let version: Value = daemon.relayflow(&home, &["version", "-o", "json"]).ended(0).json();
    assert_eq!(version["cli"], env!("CARGO_PKG_VERSION"));
    assert_eq!(version["daemon"], env!("CARGO_PKG_VERSION"));
    assert!(Path::new(&program("relayflow")).exists());
}
