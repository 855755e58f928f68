//! The daemon is killed with SIGKILL at random moments under load. Afterwards nothing that was acknowledged
//! is missing, nothing is accounted for twice, and nothing is stuck.
//!
//! The run's seed is printed; `RELAYFLOW_SEED` repeats its choices (not its timing).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use relayflow_core::clock::Clock;
use relayflow_core::id::TaskId;

use crate::harness::{Daemon, Home, text, until_within};
use crate::receiver::{Call, Receiver, Reply};
use crate::vendor::{self, Signed, hubspot, hubspot_event, stripe};
use crate::wire::Connection;

/// How often the daemon is killed, unless `RELAYFLOW_KILLS` says another number.
const KILLS: u64 = 60;
const SENDERS: usize = 5;
/// An outcome is on disk at most this long after the answer (`docs/concepts/guarantees.md`).
const RECORDED_WITHIN: Duration = Duration::from_secs(1);

/// Numbers that a seed repeats (splitmix64).
#[derive(Debug, Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// What the senders share.
struct Load {
    /// Where the daemon listens now; none while it is down.
    to: Mutex<Option<SocketAddr>>,
    stop: AtomicBool,
    /// The test has failed: nothing is owed any more.
    given_up: AtomicBool,
    next: AtomicUsize,
    /// External ids that a 200 has seen, with the event's id.
    acknowledged: Mutex<HashMap<String, String>>,
    /// External ids that were sent but saw no 200 yet.
    unanswered: Mutex<HashSet<String>>,
    forged: AtomicUsize,
    duplicates: AtomicUsize,
    refused: AtomicUsize,
}

/// Lets the senders go when the test fails.
struct GiveUp(Arc<Load>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.given_up.store(true, Ordering::SeqCst);
    }
}

/// One truthful request and the external ids in it.
fn build(number: usize, dice: &mut Dice) -> (Vec<String>, Signed) {
    if dice.one_in(8) {
        let base = 1_000_000 + u64::try_from(number).unwrap() * 10;
        let ids: Vec<u64> = (base..base + 1 + dice.roll(4)).collect();
        let events: Vec<String> =
            ids.iter().map(|id| hubspot_event(*id, "contact.creation")).collect();
        // HubSpot's own id is composed; objectId (9000 + id) is what we look for.
        return (ids.iter().map(|id| (9000 + id).to_string()).collect(), hubspot(&events));
    }
    let id = format!("evt_{number}");
    let request = stripe(&id, "charge.failed");
    (vec![format!("ch_{id}")], request)
}

fn send_until_stopped(load: &Load, mut dice: Dice) {
    let mut connection: Option<Connection> = None;
    // What saw no 2xx is sent again, as a vendor does.
    let mut owed: Vec<(Vec<String>, Signed)> = Vec::new();
    let mut known: Vec<(Vec<String>, Signed)> = Vec::new();
    loop {
        let stopping = load.stop.load(Ordering::SeqCst);
        if load.given_up.load(Ordering::SeqCst) || (stopping && owed.is_empty()) {
            return;
        }
        let Some(to) = *load.to.lock().unwrap() else {
            thread::sleep(Duration::from_millis(1));
            continue;
        };
        let (subjects, request) = if let Some(owed) = owed.pop() {
            owed
        } else if dice.one_in(10) && !known.is_empty() {
            let at = usize::try_from(dice.roll(1 << 30)).unwrap() % known.len();
            known.get(at).unwrap().clone()
        } else {
            build(load.next.fetch_add(1, Ordering::SeqCst), &mut dice)
        };
        if dice.one_in(12) {
            forge(load, to, &request);
        }

        let open = match connection.take() {
            Some(open) => Ok(open),
            None => Connection::open(to),
        };
        let answer = open.and_then(|mut open| {
            let answer = open.send("POST", &request.target, &request.headers, &request.body);
            connection = answer.is_ok().then_some(open);
            answer
        });
        match answer {
            Ok(answer) if answer.status == 200 => {
                acknowledge(load, &subjects, &answer.json());
                if known.len() < 500 {
                    known.push((subjects, request));
                }
            }
            Ok(answer) => {
                assert!(matches!(answer.status, 429 | 503), "{}: {}", answer.status, answer.text());
                load.refused.fetch_add(1, Ordering::SeqCst);
                load.unanswered.lock().unwrap().extend(subjects.iter().cloned());
                owed.push((subjects, request));
            }
            Err(_cut_off) => {
                connection = None;
                load.unanswered.lock().unwrap().extend(subjects.iter().cloned());
                owed.push((subjects, request));
                // The daemon may be down: ask again where it is.
                thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

fn acknowledge(load: &Load, subjects: &[String], receipt: &serde_json::Value) {
    let events = receipt["events"].as_array().unwrap();
    assert_eq!(events.len(), subjects.len(), "{receipt}");
    let mut acknowledged = load.acknowledged.lock().unwrap();
    for (subject, event) in subjects.iter().zip(events) {
        let id = text(&event["id"]).to_owned();
        if event["duplicate"] == true {
            load.duplicates.fetch_add(1, Ordering::SeqCst);
        }
        if let Some(before) = acknowledged.insert(subject.clone(), id.clone()) {
            assert_eq!(before, id, "{subject} was acknowledged as two events");
        }
    }
    let mut unanswered = load.unanswered.lock().unwrap();
    for subject in subjects {
        unanswered.remove(subject);
    }
}

/// The same request with another body: it must be refused, and must not take the key.
fn forge(load: &Load, to: SocketAddr, request: &Signed) {
    let mut forged = request.clone();
    forged.body = String::from_utf8_lossy(&forged.body).replace("4200", "9999").into_bytes();
    forged.body.push(b' ');
    let sent = Connection::open(to).and_then(|mut connection| {
        connection.send("POST", &forged.target, &forged.headers, &forged.body)
    });
    if let Ok(answer) = sent {
        assert!(matches!(answer.status, 401 | 503), "a forged request got {}", answer.status);
        load.forged.fetch_add(1, Ordering::SeqCst);
    }
}

/// A destination that is mostly well: one task in twenty fails at first.
fn reply(call: &Call) -> Reply {
    let digest = call.key.bytes().fold(0_u32, |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
    if digest.is_multiple_of(20) && call.attempt == 1 {
        Reply::Status(503)
    } else {
        Reply::Status(200)
    }
}

#[test]
fn kills_under_load_lose_nothing_and_repeat_only_what_was_not_recorded() {
    let seed =
        number("RELAYFLOW_SEED").unwrap_or_else(|| u64::try_from(Clock::Wall.now_us()).unwrap());
    let rounds = number("RELAYFLOW_KILLS").unwrap_or(KILLS);
    eprintln!("crash: RELAYFLOW_SEED={seed}, {rounds} kills");
    let mut dice = Dice(seed);

    let receiver = Receiver::start();
    receiver.answer(reply);
    let home = Home::new(&format!(
        "[retry]\nattempts = 20\nfirst = \"50ms\"\nlongest = \"1s\"\n{}[workflows.all]\non = [\"*\"]\n\
         [[workflows.all.steps]]\nname = \"call\"\nhttp = {{ method = \"POST\", url = \"{}\" }}\n",
        vendor::sources(),
        receiver.url("/")
    ));
    let load = Arc::new(Load {
        to: Mutex::new(None),
        stop: AtomicBool::new(false),
        given_up: AtomicBool::new(false),
        next: AtomicUsize::new(0),
        acknowledged: Mutex::default(),
        unanswered: Mutex::default(),
        forged: AtomicUsize::new(0),
        duplicates: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
    });
    let _on_failure = GiveUp(Arc::clone(&load));
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (load, dice) = (Arc::clone(&load), Dice(dice.roll(u64::MAX)));
            thread::spawn(move || send_until_stopped(&load, dice))
        })
        .collect();

    let (kills, slowest) = kill_at_random(&home, &load, &mut dice, rounds);

    let mut daemon = home.start();
    *load.to.lock().unwrap() = Some(daemon.ingest);
    load.stop.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.join().unwrap();
    }
    until_within(Duration::from_secs(120), "all that is open is executed", || {
        let tasks = daemon.stats()["tasks"].clone();
        ["queued", "running", "retrying"].iter().all(|s| tasks[*s] == 0).then_some(())
    });
    let stats = daemon.stats();
    daemon.stop();

    let again = check_the_destination(&load, &receiver, &kills);
    check_the_store(&home, &load, &receiver, &stats);
    eprintln!(
        "crash: {} kills, {} events acknowledged, {} duplicates, {} forged, {} told to come back, \
         {again} calls repeated that a kill allowed, slowest restart {slowest:?}",
        kills.len(),
        load.acknowledged.lock().unwrap().len(),
        load.duplicates.load(Ordering::SeqCst),
        load.forged.load(Ordering::SeqCst),
        load.refused.load(Ordering::SeqCst),
    );
}

/// Starts and kills the daemon; gives the moments of the kills, and how long the slowest start took.
fn kill_at_random(
    home: &Home,
    load: &Load,
    dice: &mut Dice,
    rounds: u64,
) -> (Vec<Instant>, Duration) {
    let mut kills = Vec::new();
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let began = Instant::now();
        let mut daemon = home.launch();
        // Some are killed while they start and mend what the one before left.
        if round % 6 == 5 {
            thread::sleep(Duration::from_millis(dice.roll(120)));
        } else {
            daemon.wait_ready();
            slowest = slowest.max(began.elapsed());
            *load.to.lock().unwrap() = Some(daemon.ingest);
            // Some live long, so that most of what they did was recorded well before the kill.
            let most = if round % 4 == 0 { 3000 } else { 900 };
            thread::sleep(Duration::from_millis(50 + dice.roll(most)));
        }
        daemon.kill();
        kills.push(Instant::now());
        *load.to.lock().unwrap() = None;
        check_log(&daemon);
    }
    (kills, slowest)
}

fn check_log(daemon: &Daemon) {
    let panic = daemon.log().into_iter().find(|line| line.contains("panicked"));
    assert!(panic.is_none(), "{panic:?}");
}

/// Every acknowledged event was executed, and a call came again only where a kill fell between its answer
/// and its record. Gives how many did.
fn check_the_destination(load: &Load, receiver: &Receiver, kills: &[Instant]) -> usize {
    let mut executed: HashMap<String, Vec<String>> = HashMap::new();
    let mut again = 0;
    for (key, calls) in &receiver.by_key() {
        let mut answered: Option<&Call> = None;
        for call in calls {
            if let Some(before) = answered {
                again += 1;
                check_repeat(key, before, call, kills);
            }
            if call.is_ok() {
                answered = Some(call);
            }
        }
        if let Some(call) = answered {
            let event = call.json();
            executed.entry(text(&event["id"]).to_owned()).or_default().push(key.clone());
        }
    }
    let acknowledged = load.acknowledged.lock().unwrap();
    let missing: Vec<_> =
        acknowledged.iter().filter(|(_, event)| !executed.contains_key(*event)).collect();
    assert!(missing.is_empty(), "{} acknowledged, not executed: {missing:?}", missing.len());
    let twice: BTreeMap<_, _> = executed.iter().filter(|(_, keys)| keys.len() != 1).collect();
    assert!(twice.is_empty(), "events under several keys: {twice:?}");
    assert!(load.unanswered.lock().unwrap().is_empty(), "something was never acknowledged");
    // What is in flight at a kill is bounded: 16 calls, and 20 ms of outcomes on their way to disk.
    assert!(again <= kills.len() * 100, "{again} calls were repeated");
    again
}

fn check_repeat(key: &str, before: &Call, call: &Call, kills: &[Instant]) {
    let (answered, _) = before.answered.unwrap();
    let allowed = kills.iter().any(|kill| {
        // The destination may have read the request a moment after the daemon was gone.
        let since = before.started.checked_sub(RECORDED_WITHIN).unwrap_or(before.started);
        since <= *kill && *kill <= answered + RECORDED_WITHIN && *kill <= call.started
    });
    assert!(
        allowed && before.attempt < call.attempt,
        "{key} was called again as attempt {} {:?} after the answer to attempt {}, and no kill \
         explains it",
        call.attempt,
        call.started.duration_since(answered),
        before.attempt,
    );
}

/// The store agrees with itself, with what it counted, and with what was acknowledged.
fn check_the_store(home: &Home, load: &Load, receiver: &Receiver, stats: &serde_json::Value) {
    let db = rusqlite::Connection::open_with_flags(
        home.path("relayflow.db"),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    )
    .unwrap();
    let count = |sql: &str| -> i64 {
        db.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|e| panic!("{e} in {sql}"))
    };
    let integrity: String = db.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
    assert_eq!(
        count(
            "select count(*) from (select 1 from attempt where status = 'ok'
             group by task_id having 1 < count(*))"
        ),
        0,
        "tasks with two accounts of success"
    );
    assert_eq!(
        count(
            "select count(*) from task where status = 'ok' and not exists
             (select 1 from attempt where attempt.task_id = task.id and attempt.status = 'ok')"
        ),
        0,
        "tasks that are ok without an account of it"
    );
    check_recorded_successes(&db, receiver);
    let events = i64::try_from(load.acknowledged.lock().unwrap().len()).unwrap();
    assert_eq!(count("select count(*) from event"), events, "events, of those acknowledged");
    assert_eq!(count("select count(*) from task"), events, "one task for each event");
    assert_eq!(count("select count(*) from task where status <> 'ok'"), 0, "tasks that are stuck");
    assert_eq!(
        count(
            "select count(*) from task where not exists
               (select 1 from event where event.id = task.event_id)"
        ),
        0,
        "tasks without an event"
    );
    // The counters, kept in the transactions that change them, are what a scan finds.
    assert_eq!(stats["events"], events);
    assert_eq!(stats["tasks"]["ok"], events);
    assert_eq!(stats["dead_letters"], 0);
}

/// A success that is on record is final: no call came after the attempt that the store has as `ok`.
fn check_recorded_successes(db: &rusqlite::Connection, receiver: &Receiver) {
    let calls = receiver.by_key();
    let mut query = db.prepare("select task_id, attempt from attempt where status = 'ok'").unwrap();
    let mut rows = query.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let id: Vec<u8> = row.get(0).unwrap();
        let attempt: u32 = row.get(1).unwrap();
        let key = TaskId::from_bytes(&id).unwrap().to_string();
        let calls = calls.get(&key).unwrap_or_else(|| panic!("{key} is ok and was never called"));
        let last = calls.iter().map(|call| call.attempt).max().unwrap();
        assert_eq!(last, attempt, "{key}: attempt {attempt} is on record as ok, {last} was called");
    }
}
