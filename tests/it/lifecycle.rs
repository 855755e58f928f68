//! Starting, stopping, reloading: what a service manager and an operator rely on.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;

use crate::delivery::one_step;
use crate::harness::{Daemon, Home, free_port, until};
use crate::receiver::Receiver;
use crate::vendor::{self, STRIPE_SECRET, stripe};
use crate::wire::{Connection, fetch};

#[test]
fn the_readiness_line_stands_once_and_says_where() {
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    let lines: Vec<String> = daemon
        .log()
        .into_iter()
        .filter(|l| l.starts_with("relayflow ") && l.contains(" ready "))
        .collect();
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(line.contains(&format!("ingest http://{}/in/{{source}}", daemon.ingest)), "{line}");
    assert!(line.contains(&format!("api http://{}", daemon.api)), "{line}");
    assert!(line.contains("store sqlite:") && line.contains("sources 4"), "{line}");
    let health = fetch(daemon.api, "GET", "/readyz", &[], b"").unwrap();
    assert_eq!(health.status, 200);
}

#[test]
fn the_token_is_for_its_owner_alone_and_outlives_a_restart() {
    let home = Home::new(&vendor::sources());
    let mut daemon = home.start();
    let token = daemon.token.clone();
    assert!(32 <= token.len(), "{token}");
    let mode = |name: &str| fs::metadata(home.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("relayflow.token"), 0o600);
    assert_eq!(mode("relayflow.db"), 0o600);
    daemon.stop();
    let daemon = home.start();
    assert_eq!(daemon.token, token);
    assert_eq!(daemon.ask("/api/v1/stats").status, 200);
}

#[test]
fn a_stop_under_load_loses_nothing_and_repeats_nothing() {
    let receiver = Receiver::start();
    let home = Home::new(&one_step(&receiver));
    let mut daemon = home.start();
    let ingest = daemon.ingest;
    let senders: Vec<_> = (0..6)
        .map(|sender| {
            thread::spawn(move || {
                let mut taken = 0;
                let Ok(mut connection) = Connection::open(ingest) else { return taken };
                for n in 0.. {
                    let request = stripe(&format!("evt_{sender}_{n}"), "charge.failed");
                    match connection.send("POST", &request.target, &request.headers, &request.body)
                    {
                        Ok(answer) if answer.status == 200 => taken += 1,
                        // Told to come back, or cut off: the daemon is going.
                        Ok(_) | Err(_) => break,
                    }
                }
                taken
            })
        })
        .collect();
    // An idle connection must not hold the stop up.
    let _idle = Connection::open(ingest).unwrap();
    receiver.wait_for(300);
    daemon.stop();
    let taken: usize = senders.into_iter().map(|s| s.join().unwrap()).sum();

    let daemon = home.start();
    let stats = daemon.drained();
    let events = usize::try_from(stats["events"].as_i64().unwrap()).unwrap();
    // A request may have been committed whose answer was cut off; none that was answered is missing.
    assert!(taken <= events && events <= taken + 6, "{taken} taken, {events} stored");
    assert_eq!(stats["tasks"]["ok"], events);
    assert_eq!(receiver.by_key().len(), events);
    assert_eq!(receiver.count(), events, "nothing was called twice");
}

#[test]
fn a_running_action_ends_before_the_daemon_does() {
    let receiver = Receiver::start();
    let begun = std::sync::Arc::new(std::sync::Barrier::new(2));
    let for_script = std::sync::Arc::clone(&begun);
    receiver.answer(move |_| {
        for_script.wait();
        // Released only after the daemon was told to stop.
        for_script.wait();
        crate::receiver::Reply::Status(200)
    });
    let home = Home::new(&one_step(&receiver));
    let mut daemon = home.start();
    daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    begun.wait();
    daemon.signal("TERM");
    until("it takes no new work", || match fetch(daemon.api, "GET", "/readyz", &[], b"") {
        Ok(answer) => (answer.status == 503).then_some(()),
        Err(_) => Some(()),
    });
    begun.wait();
    assert_eq!(daemon.exit(), 0);

    let daemon = home.start();
    assert_eq!(daemon.drained()["tasks"]["ok"], 1);
    assert_eq!(receiver.count(), 1);
}

/// Whether the process is gone, or dead and only not yet buried by whoever inherited it.
fn is_gone(pid: &str) -> bool {
    match fs::read_to_string(format!("/proc/{}/stat", pid.trim())) {
        Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('Z')),
        Err(_) => true,
    }
}

#[test]
fn no_command_outlives_a_killed_daemon() {
    if !std::path::Path::new("/proc/self/stat").exists() {
        eprintln!("LEFT OUT: commands of a killed daemon, since this system has no /proc");
        return;
    }
    let home = Home::new(&format!(
        "{}[workflows.all]\non = [\"*\"]\n[[workflows.all.steps]]\nname = \"sleep\"\n\
         timeout = \"10m\"\ncommand = {{ argv = [\"./sleep.sh\"], env = [\"PATH\"] }}\n",
        vendor::sources()
    ));
    home.script(
        "sleep.sh",
        "#!/bin/sh\necho $$ > \"${0%/*}/pid\"\nsleep 600 &\necho $! > \"${0%/*}/child\"\nwait\n",
    );
    let mut daemon = home.start();
    daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    let running = |name: &str| {
        until("the command runs", || home.read(name).filter(|pid| pid.ends_with('\n')))
    };
    let (command, child) = (running("pid"), running("child"));
    assert!(!is_gone(&command) && !is_gone(&child));
    daemon.kill();
    until("the command is gone", || is_gone(&command).then_some(()));
    until("its child is gone", || is_gone(&child).then_some(()));
}

#[test]
fn a_reload_takes_effect_and_a_bad_config_changes_nothing() {
    let receiver = Receiver::start();
    let home = Home::new(&vendor::sources());
    let daemon = home.start();
    daemon.deliver_new(&stripe("evt_0", "charge.failed"));

    home.reconfigure("[sources.stripe]\nprovider = \"no-such-provider\"\nsecrets = [\"x\"]\n");
    daemon.signal("HUP");
    until("it says why", || {
        daemon.log().iter().any(|l| l.contains("no-such-provider")).then_some(())
    });
    daemon.deliver_new(&stripe("evt_1", "charge.failed"));
    assert_eq!(receiver.count(), 0);

    home.reconfigure(&one_step(&receiver));
    daemon.signal("HUP");
    let mut n = 2;
    until("the new workflow is in force", || {
        n += 1;
        let id = daemon.deliver_new(&stripe(&format!("evt_{n}"), "charge.failed"));
        (daemon.get(&format!("/events/{id}"))["status"] != "skipped").then_some(())
    });
    receiver.wait_for(1);
    let loaded = daemon.list("/tasks", "");
    assert_eq!(loaded.len(), 1);
    assert_eq!(daemon.get("/workflows")["items"][0]["name"], "all");
}

/// Starts what must not become ready, and gives its exit code and what it said.
fn refused(home: &Home, more: &[&str]) -> (i32, String) {
    let mut command = home.daemon_command();
    command.args(more);
    let mut daemon = Daemon::spawn(command, home.path("relayflow.token"));
    let exit = daemon.exit();
    // The log's last lines are read by a thread of their own.
    let log = until("it says why", || Some(daemon.log().join("\n")).filter(|l| !l.is_empty()));
    assert!(daemon.ready_line().is_none(), "{log}");
    (exit, log)
}

#[test]
fn a_config_that_does_not_check_ends_with_2_and_points_at_the_line() {
    let cases = [
        ("[sources.stripe]\nprovider = \"strip\"\nsecrets = [\"x\"]\n", "strip"),
        ("[sources.stripe]\nprovider = \"stripe\"\nsecrets = []\n", "secret"),
        ("[sources.stripe]\nprovider = \"stripe\"\nsecrets = [\"\"]\n", "secret"),
        (
            "[sources.stripe]\nprovider = \"stripe\"\nsecrets = [{ env = \"NO_SUCH_VARIABLE\" }]\n",
            "NO_SUCH_VARIABLE",
        ),
        ("[sauces]\n", "sauces"),
        (
            "[workflows.a]\non = [\"*\"]\nwhen = 'event. ='\n[[workflows.a.steps]]\nname = \"s\"\nhttp = { method = \"POST\", url = \"https://example.com\" }\n",
            "when",
        ),
        (
            "[workflows.a]\non = [\"*\"]\n[[workflows.a.steps]]\nname = \"s\"\nneeds = [\"s\"]\nhttp = { method = \"POST\", url = \"https://example.com\" }\n",
            "needs",
        ),
        ("[workflows.a\n", "relayflow.toml"),
    ];
    for (config, quoted) in cases {
        let home = Home::new(config);
        let (exit, log) = refused(&home, &[]);
        assert_eq!(exit, 2, "{config}: {log}");
        assert!(log.contains(quoted) && log.contains("relayflow.toml:"), "{config}: {log}");
    }
}

#[test]
fn a_taken_port_or_store_ends_with_5() {
    let home = Home::new(&vendor::sources());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--api"] {
        let (exit, log) = refused(&home, &[flag, &addr]);
        assert_eq!(exit, 5, "{log}");
        assert!(log.contains(&addr), "{log}");
    }

    let daemon = home.start();
    let (exit, log) = refused(&home, &[]);
    assert_eq!(exit, 5, "{log}");
    daemon.deliver_new(&stripe("evt_1", "charge.failed"));

    let other = Home::new(&vendor::sources());
    fs::write(
        other.path("relayflow.db"),
        "this is not a database, and longer than its header is: ".repeat(20),
    )
    .unwrap();
    let (exit, log) = refused(&other, &[]);
    assert_eq!(exit, 5, "{log}");
}

#[test]
fn an_api_off_loopback_needs_tls() {
    let home = Home::new(&vendor::sources());
    let (exit, log) = refused(&home, &["--api", &format!("0.0.0.0:{}", free_port())]);
    assert_eq!(exit, 2, "{log}");
}

#[test]
fn settings_come_from_flags_then_environment_then_the_file() {
    let home = Home::new(&vendor::sources());
    let (from_env, from_flag) = (free_port(), free_port());
    let mut command = home.daemon_command();
    command
        .env("RELAYFLOW_INGEST__LISTEN", format!("127.0.0.1:{from_env}"))
        .env("RELAYFLOW_STORE__URL", "sqlite:other.db")
        .env("RELAYFLOW_API__LISTEN", "127.0.0.1:9")
        .args(["--api", &format!("127.0.0.1:{from_flag}")])
        .args(["--ready-file".as_ref(), home.path("ready").as_os_str()]);
    let mut daemon = Daemon::spawn(command, home.path("relayflow.token"));
    daemon.wait_ready();
    assert_eq!(daemon.ingest.port(), from_env);
    assert_eq!(daemon.api.port(), from_flag);
    assert!(home.path("other.db").exists() && !home.path("relayflow.db").exists());
    assert!(home.path("ready").exists());
    daemon.deliver_new(&stripe("evt_1", "charge.failed"));
}

#[test]
fn secrets_are_nowhere_to_be_found() {
    let home = Home::new(&vendor::sources());
    let mut daemon = home.start();
    daemon
        .deliver_new(&stripe("evt_1", "charge.failed").with("authorization", "Bearer canary-4711"));
    let mut forged = stripe("evt_2", "charge.failed").with("cookie", "session=canary-4711");
    forged.body.push(b' ');
    daemon.post(&forged);
    until("the rejected request is kept", || {
        (daemon.list("/requests", "status:rejected").len() == 1).then_some(())
    });
    let token = daemon.token.clone();
    let mut said = daemon.log().join("\n").into_bytes();
    for path in ["/requests", "/events", "/sources", "/config", "/providers"] {
        said.extend(daemon.ask(&format!("/api/v1{path}")).body);
    }
    for request in daemon.list("/requests", "") {
        let id = crate::harness::text(&request["id"]).to_owned();
        said.extend(daemon.ask(&format!("/api/v1/requests/{id}")).body);
        said.extend(daemon.ask(&format!("/api/v1/requests/{id}/raw")).body);
    }
    daemon.stop();
    for entry in fs::read_dir(home.path("")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_file() && !["relayflow.toml", "relayflow.token"].contains(&name.as_str()) {
            said.extend(fs::read(path).unwrap());
        }
    }
    for secret in [STRIPE_SECRET, vendor::GITHUB_SECRET, "canary-4711", token.as_str()] {
        let found = said.windows(secret.len()).any(|w| w == secret.as_bytes());
        assert!(!found, "`{secret}` was found in the store, the log or an answer");
    }
}
