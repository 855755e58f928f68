use std::os::unix::fs::PermissionsExt as _;

use serde_json::Map;

use super::*;
use crate::execute::testing;
use crate::expr::{Escape, Template};
use crate::task::Task;

const LONG: Duration = Duration::from_secs(60);

fn action(argv: &[&str], dir: &Path) -> CommandAction {
    let argv = argv.iter().map(|arg| Template::new(arg, Escape::Plain).unwrap()).collect();
    CommandAction { argv, env: Vec::new(), dir: dir.to_owned() }
}

async fn run_action(action: &CommandAction, timeout: Duration) -> (Report, Task) {
    let task = Task { destination: "command:notify".into(), attempt: 3, ..testing::task() };
    let event = testing::event();
    let destination = &*task.destination;
    let work = Work { task: &task, event: &event, steps: &Map::new(), destination };
    (run(action, work, timeout).await, task)
}

async fn sh(script: &str) -> Report {
    let dir = tempfile::tempdir().unwrap();
    run_action(&action(&["sh", "-c", script], dir.path()), LONG).await.0
}

fn failed() -> Outcome {
    Outcome::Failed { wait_at_least: SignedDuration::ZERO }
}

fn unretryable() -> Outcome {
    Outcome::Rejected(DeadReason::Unretryable)
}

#[tokio::test]
async fn an_exit_means_one_thing() {
    for (script, outcome, call, error) in [
        ("exit 0", Outcome::Done, Call::Alive, None),
        ("exit 75", failed(), Call::Failed, Some("command:notify: exit 75")),
        ("exit 1", unretryable(), Call::Alive, Some("command:notify: exit 1")),
        ("exit 255", unretryable(), Call::Alive, Some("command:notify: exit 255")),
        ("kill -9 $$", failed(), Call::Failed, Some("command:notify: ended by signal 9")),
        (
            "echo >&2; echo 'no such  \u{1b}[31mcustomer' >&2; echo more >&2; exit 3",
            unretryable(),
            Call::Alive,
            Some("command:notify: exit 3: no such  ␛[31mcustomer"),
        ),
    ] {
        let report = sh(script).await;
        assert_eq!((report.outcome, report.call), (outcome, call), "{script}");
        assert_eq!(report.error.as_deref(), error, "{script}");
    }
}

#[tokio::test]
async fn a_program_gets_the_event_and_only_what_it_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let mut action = action(&["sh", "-c", "cat; env | sort"], dir.path());
    action.env = vec!["PATH".to_owned(), "NOT_SET_ANYWHERE".to_owned()];
    let (report, task) = run_action(&action, LONG).await;

    assert_eq!(report.outcome, Outcome::Done, "{:?}", report.error);
    let answer = report.response.unwrap();
    let (event, env) = answer.split_once("}PATH=").unwrap();
    let event: serde_json::Value = serde_json::from_str(&format!("{event}}}")).unwrap();
    assert_eq!(event["data"]["amount"], 4200);
    let names: Vec<&str> = env.lines().skip(1).map(|l| l.split_once('=').unwrap().0).collect();
    // `PWD` is the shell's own, and on some systems `_` and `SHLVL`.
    let names: Vec<&str> =
        names.into_iter().filter(|n| !["PWD", "_", "SHLVL"].contains(n)).collect();
    let expected = [
        "RELAYFLOW_ATTEMPT",
        "RELAYFLOW_CORRELATION_ID",
        "RELAYFLOW_IDEMPOTENCY_KEY",
        "TRACEPARENT",
    ];
    assert_eq!(names, expected);
    assert!(env.contains(&format!("RELAYFLOW_IDEMPOTENCY_KEY={}\n", task.id)));
    assert!(env.contains("RELAYFLOW_ATTEMPT=3\n"));
}

#[tokio::test]
async fn arguments_are_never_read_by_a_shell() {
    let dir = tempfile::tempdir().unwrap();
    let hostile = ["--", "$(touch pwned)", "`touch pwned`", "a\nb", "; touch pwned", "-rf", "*"];
    let argv = [&["printf", "%s|"], &hostile[..]].concat();
    let (report, _) = run_action(&action(&argv, dir.path()), LONG).await;
    let said = report.response.unwrap();
    assert_eq!(said, hostile.join("|") + "|");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_program_beside_the_config_is_found_and_runs_there() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("notify.sh");
    std::fs::write(&script, "#!/bin/sh\nprintf '%s' \"$1\" > said\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (report, _) = run_action(&action(&["./notify.sh", "hello"], dir.path()), LONG).await;
    assert_eq!(report.outcome, Outcome::Done, "{:?}", report.error);
    assert_eq!(std::fs::read_to_string(dir.path().join("said")).unwrap(), "hello");
}

#[tokio::test]
async fn a_program_that_cannot_be_run_is_a_dead_letter() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("plain"), "not a program").unwrap();
    for (program, error) in [
        ("no-such-program-anywhere", "no program `no-such-program-anywhere`"),
        ("./absent.sh", "no program `./absent.sh`"),
        ("./plain", "cannot be started"),
        ("", "no program ``"),
    ] {
        let (report, _) = run_action(&action(&[program], dir.path()), LONG).await;
        assert_eq!((report.outcome, report.call), (unretryable(), Call::None), "{program}");
        let given = report.error.unwrap();
        assert!(given.starts_with("command:notify: ") && given.contains(error), "{given}");
    }
    let mut command = std::process::Command::new("sh");
    command.arg("what an event\0brought");
    let error = spawn(command).await.err().unwrap();
    assert_eq!(not_started("command:notify", &error).outcome, unretryable());
}

#[tokio::test]
async fn a_program_need_not_read_its_input_nor_keep_its_output_open() {
    for script in ["exit 0", "exec <&-; exit 0", "exec >&- 2>&-; cat > /dev/null; exit 0"] {
        let report = sh(script).await;
        assert_eq!(report.outcome, Outcome::Done, "{script}: {:?}", report.error);
    }
}

#[tokio::test]
async fn something_that_holds_the_output_open_does_not_hold_the_task() {
    let report = sh("sleep 30 & echo started").await;
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(report.response.as_deref(), Some("started\n"));
}

#[tokio::test]
async fn output_is_kept_up_to_its_limit_and_the_rest_is_no_trouble() {
    let report = sh("head -c 5000000 /dev/zero | tr '\\0' x; head -c 100000 /dev/zero >&2").await;
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(report.response.unwrap(), "x".repeat(KEPT_BYTES_MAX));
}

#[tokio::test(start_paused = true)]
async fn a_program_has_until_its_timeout() {
    let dir = tempfile::tempdir().unwrap();
    let (report, _) = run_action(&action(&["sleep", "1000"], dir.path()), LONG).await;
    assert_eq!((report.outcome, report.call), (failed(), Call::Failed));
    assert_eq!(report.error.as_deref(), Some("command:notify: ended after 1m"));
}

/// Starts a script in a group of its own and waits until it has made the file `ready`.
async fn started(script: &str, dir: &Path) -> Group {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script]).current_dir(dir).process_group(0);
    let group = spawn(command).await.unwrap();
    while !dir.join("ready").exists() {
        tokio::task::yield_now().await;
    }
    // The wait between TERM and KILL passes at once.
    tokio::time::pause();
    group
}

#[tokio::test]
async fn a_program_is_ended_with_all_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let script = "sleep 1000 & echo $! > child; mv child ready; wait";
    let mut group = started(script, dir.path()).await;
    let child = std::fs::read_to_string(dir.path().join("ready")).unwrap();
    let parent = group.id.unwrap().as_raw_nonzero().to_string();
    group.end().await;
    gone(&parent).await;
    gone(child.trim()).await;
}

#[tokio::test]
async fn a_program_that_ignores_term_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; echo > ready; while :; do sleep 1; done";
    let mut group = started(script, dir.path()).await;
    let pid = group.id.unwrap().as_raw_nonzero().to_string();
    group.end().await;
    gone(&pid).await;
}

#[tokio::test]
async fn a_program_whose_attempt_is_stopped_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let action = action(&["sh", "-c", "echo $$ > pid; mv pid started; sleep 1000"], dir.path());
    let started = dir.path().join("started");
    let running = tokio::spawn(async move { run_action(&action, LONG).await });
    while !started.exists() {
        tokio::task::yield_now().await;
    }
    let pid = std::fs::read_to_string(&started).unwrap();
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    gone(pid.trim()).await;
}

/// Waits until there is no process `pid` that does anything.
async fn gone(pid: &str) {
    let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    for _ in 0..1_000_000 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        let is_zombie = stat.as_deref().is_ok_and(|stat| stat.contains(") Z "));
        if is_zombie || rustix::process::test_kill_process(pid).is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{pid:?} lives on");
}
