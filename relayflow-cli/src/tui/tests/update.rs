//! What keys and answers do.

use std::time::Duration;

use relayflow_core::api::NewReplay;
use serde_json::json;

use super::support::{Desk, ago, id, reply, setup};
use crate::context::{Target, Way};
use crate::failure::Failure;
use crate::tui::ctx::{Link, Setup};
use crate::tui::msg::{Effect, Msg, Question};
use crate::tui::screens::Screen;

/// The deeds that were asked for and not answered.
fn deeds(desk: &Desk) -> Vec<&Question> {
    desk.asked.iter().map(|(_, question)| question).filter(|question| question.is_deed()).collect()
}

fn key(desk: &mut Desk, name: &str) {
    desk.tell(Msg::Key(super::support::key_of(name)));
}

#[test]
fn the_incident_is_five_keys() {
    let mut desk = Desk::of(setup(false), (80, 24), "");
    desk.settle();
    desk.shows("▶    412");
    desk.press("enter");
    desk.shows("/ error:e_41c9");
    desk.press("enter");
    desk.shows(r#"Property \"plan_id\" does not exist"#);
    desk.press("R");
    desk.shows("[2 Plan]");
    desk.press("enter");
    desk.shows("y to run");
    assert!(deeds(&desk).is_empty());
    key(&mut desk, "y");
    let [Question::RunPlan(new)] = deeds(&desk)[..] else { panic!("{:?}", desk.asked) };
    assert_eq!((new.plan.as_str(), new.hash.as_str()), ("pln_7QF2", "h"));
    desk.settle();
    desk.shows("rpl_01J9ZD");
    assert!(matches!(desk.state.screens.last(), Some(Screen::Job(_))));
}

#[test]
fn x_asks_where_and_writes_a_bundle_of_what_is_selected() {
    let mut desk = Desk::new("dlq source:stripe");
    desk.press("x");
    desk.shows("a masked bundle of the dead letters of this filter");
    desk.shows("same as  relayflow export source:stripe --all-time --to");
    assert!(deeds(&desk).is_empty());
    key(&mut desk, "enter");
    let [Question::Export { new, to }] = deeds(&desk)[..] else { panic!("{:?}", desk.asked) };
    assert_eq!(new.q.as_deref(), Some("status:dead source:stripe"));
    assert_eq!(to.display().to_string(), "relayflow-dlq.tar.gz");
    desk.settle();
    desk.shows("wrote relayflow-dlq.tar.gz");

    // Of what is marked; and under another name only what is on the screen.
    desk.press("space x");
    desk.shows("dead letters that are marked");
    desk.press("esc x");
    for _ in 0.."dlq.tar.gz".len() {
        desk.press("backspace");
    }
    desk.type_text("rows.ndjson");
    desk.press("enter");
    assert!(deeds(&desk).is_empty());
    let written = desk.wishes.iter().any(|effect| {
        matches!(effect, Effect::Write { name, text }
            if name == "relayflow-rows.ndjson" && text.contains("tsk_"))
    });
    assert!(written, "{:?}", desk.wishes);
}

#[test]
fn x_in_an_event_is_about_that_event() {
    let mut desk = Desk::new("dlq");
    desk.press("enter x");
    desk.shows("a masked bundle of evt_01J9");
    key(&mut desk, "esc");
    assert!(desk.state.ctx.popup.is_none());
}

#[test]
fn a_protected_context_wants_the_number() {
    let mut desk = Desk::new("dlq");
    desk.press("R enter");
    desk.shows("PROD is protected. Type the number of tasks:");
    for wrong in ["y", "enter", "4", "1", "enter"] {
        key(&mut desk, wrong);
        assert!(deeds(&desk).is_empty(), "{wrong}");
    }
    desk.type_text("2");
    key(&mut desk, "enter");
    assert_eq!(deeds(&desk).len(), 1);
}

#[test]
fn enter_alone_runs_nothing() {
    let mut desk = Desk::of(setup(false), (80, 24), "dlq");
    desk.settle();
    desk.press("R enter");
    for _ in 0..5 {
        key(&mut desk, "enter");
        assert!(deeds(&desk).is_empty());
    }
    desk.press("esc esc");
    assert!(matches!(desk.state.screens.last(), Some(Screen::List(_))));
}

#[test]
fn one_item_has_a_plan_and_no_question() {
    let mut desk = Desk::new("dlq");
    desk.press("r");
    desk.shows("[2 Plan]");
    key(&mut desk, "enter");
    let [Question::RunPlan(_)] = deeds(&desk)[..] else { panic!("{:?}", desk.asked) };
}

#[test]
fn more_than_the_context_allows_is_refused_before_any_question() {
    let mut desk = Desk::of(setup(false), (80, 24), "dlq");
    desk.letters = 6000;
    desk.settle();
    desk.press("R enter");
    desk.shows("more than --max 5000");
    assert!(deeds(&desk).is_empty());
}

#[test]
fn settings_of_the_job_are_read_as_the_cli_reads_its_flags() {
    let mut desk = Desk::of(setup(false), (80, 24), "dlq");
    desk.settle();
    desk.press("R down down down down right");
    // The cursor is on `late` now; a rate, a canary, a limit and a reason.
    desk.press("down");
    desk.type_text("10/s");
    desk.press("down");
    desk.type_text("5");
    desk.press("down");
    desk.type_text("5%");
    desk.press("down");
    desk.type_text("schema fix, quickly");
    desk.shows("--late apply --rate 10/s");
    desk.press("enter");
    key(&mut desk, "y");
    let [Question::RunPlan(new)] = deeds(&desk)[..] else { panic!("{}", desk.screen()) };
    let NewReplay { reason, late, rate, canary, stop_after, .. } = &**new;
    assert_eq!(reason.as_deref(), Some("schema fix, quickly"));
    assert_eq!((late.as_deref(), *rate), (Some("apply"), Some(10.0)));
    assert_eq!((*canary, stop_after.as_deref()), (Some(5), Some("5%")));
}

#[test]
fn a_setting_that_does_not_read_stops_before_the_question() {
    let mut desk = Desk::of(setup(false), (80, 24), "dlq");
    desk.settle();
    desk.press("R down down down down down");
    desk.type_text("fast");
    desk.press("enter");
    desk.shows("rate: ");
    desk.shows("[2 Plan]");
}

#[test]
fn a_mode_is_planned_anew() {
    let mut desk = Desk::of(setup(false), (80, 24), "dlq");
    desk.settle();
    desk.press("R down down down right");
    desk.press("enter");
    desk.shows("the plan is being made");
    desk.pass(Duration::from_millis(400));
    let plans = desk.asked.iter().filter_map(|(_, question)| match question {
        Question::Plan(new) => new.mode.clone(),
        _ => None,
    });
    assert_eq!(plans.collect::<Vec<_>>(), ["restart"]);
}

#[test]
fn a_set_that_changed_since_is_planned_anew_and_said() {
    let mut desk = Desk::of(setup(false), (80, 24), "dlq");
    desk.settle();
    desk.press("R enter");
    key(&mut desk, "y");
    let ticket = desk.asked.iter().find(|(_, q)| q.is_deed()).unwrap().0;
    desk.answer(ticket, Err(Failure::new("refused.plan_changed", "the plan changed")));
    desk.shows("the set changed since the plan");
    desk.settle();
    desk.shows("[2 Plan]");
}

#[test]
fn marks_and_ranges_select_what_a_plan_is_made_of() {
    let mut desk = Desk::new("dlq");
    desk.press("space space");
    desk.shows("2 marked");
    key(&mut desk, "r");
    let ids = desk.asked.iter().find_map(|(_, question)| match question {
        Question::Plan(new) => new.ids.clone(),
        _ => None,
    });
    assert_eq!(ids, Some(vec![id("tsk", 0), id("tsk", 1)]));
    desk.settle();
    desk.press("esc esc");
    desk.shows_not("marked");
    desk.press("v j j v");
    desk.shows("3 marked");
    desk.press("esc A space");
    desk.shows("all but 1 marked");
    key(&mut desk, "r");
    let q = desk.asked.iter().find_map(|(_, question)| match question {
        Question::Plan(new) => new.q.clone(),
        _ => None,
    });
    let q = q.unwrap();
    assert_eq!(q, format!("status:dead not {}", id("tsk", 4)));
}

#[test]
fn a_discard_wants_a_reason() {
    let mut desk = Desk::new("dlq");
    desk.press("d enter");
    desk.shows("this needs a reason");
    assert!(deeds(&desk).is_empty());
    desk.type_text("test data");
    key(&mut desk, "enter");
    let [Question::Discard(what)] = deeds(&desk)[..] else { panic!("{:?}", desk.asked) };
    assert_eq!(
        (what.ids.as_deref(), what.reason.as_str()),
        (Some(&[id("tsk", 0)][..]), "test data")
    );
}

#[test]
fn nothing_is_changed_while_nobody_answers_or_by_one_who_only_looks() {
    let mut read_only = setup(false);
    read_only.is_read_only = true;
    let mut desk = Desk::of(read_only, (80, 24), "dlq");
    desk.settle();
    for keys in ["r", "R", "d"] {
        desk.press(keys);
        desk.shows("off: --read-only");
        assert!(matches!(desk.state.screens.last(), Some(Screen::List(_))), "{keys}");
    }
    let mut desk = Desk::new("dlq");
    desk.pass(Duration::from_secs(2));
    desk.lose();
    desk.press("R");
    desk.shows("off: not connected");
    desk.press("j");
    desk.shows("▶  tsk_01J9ZC00013V");
}

#[test]
fn a_lost_daemon_is_tried_for_ever_with_more_and_more_time_between() {
    let mut desk = Desk::new("dlq");
    let mut waits = Vec::new();
    for _ in 0..8 {
        desk.pass(Duration::from_secs(16));
        assert!(desk.asked.iter().any(|(_, q)| matches!(q, Question::Stats)), "{:?}", desk.asked);
        desk.lose();
        let Link::Lost { at, .. } = desk.state.ctx.link else { panic!() };
        waits.push((at - desk.now.run).as_secs_f64().round());
    }
    assert_eq!(waits, [1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0, 15.0]);
    desk.shows("retry 8 in 15s");
    desk.shows("tsk_01J9ZC0000");
    // Enter does not wait.
    desk.tell(Msg::Key(super::support::key_of("enter")));
    desk.settle();
    desk.shows("● live");
    desk.shows("connected again");
}

#[test]
fn an_answer_that_nobody_waits_for_any_more_is_dropped() {
    let mut desk = Desk::of(setup(false), (80, 24), "dlq");
    let (ticket, question) = desk
        .asked
        .iter()
        .find(|(_, question)| matches!(question, Question::Rows { .. }))
        .cloned()
        .unwrap();
    desk.press("2");
    assert!(desk.asked.iter().all(|(asked, _)| *asked != ticket));
    desk.answer(ticket, Ok(reply(&question, 412)));
    assert!(matches!(desk.state.screens.last(), Some(Screen::List(_))));
    desk.shows("evt_01J9ZC0000");
}

#[test]
fn one_panel_that_fails_leaves_the_others() {
    let mut desk = Desk::of(setup(false), (80, 24), "");
    let asked = std::mem::take(&mut desk.asked);
    for (ticket, question) in asked {
        let result = match question {
            Question::Queues => Err(Failure::new("error.internal", "the queues are shy")),
            other => Ok(reply(&other, 412)),
        };
        desk.answer(ticket, result);
    }
    desk.shows("the queues are shy");
    desk.shows("▶    412");
    // What was there stays there, and is said to be old.
    desk.pass(Duration::from_secs(3));
    let asked = std::mem::take(&mut desk.asked);
    for (ticket, question) in asked {
        let result = match question {
            Question::Groups { .. } => Err(Failure::new("error.internal", "no groups today")),
            other => Ok(reply(&other, 412)),
        };
        desk.answer(ticket, result);
    }
    desk.shows("▶    412");
    desk.shows("! no groups today: a part of this is not up to date");
}

#[test]
fn a_page_that_takes_its_time_says_so() {
    let mut desk = Desk::of(setup(true), (80, 24), "dlq");
    desk.letters = 5000;
    desk.settle();
    let page = |q: &Question| matches!(q, Question::Rows { cursor: Some(_), .. });
    key(&mut desk, "G");
    desk.tell(Msg::Tick);
    assert!(desk.asked.iter().any(|(_, q)| page(q)), "{:?}", desk.asked);
    desk.pass(Duration::from_millis(1200));
    desk.shows("loading dead letters 1.2s");
    desk.settle();
    desk.shows_not("loading");
}

#[test]
fn rows_that_arrive_do_not_move_the_cursor() {
    let mut desk = Desk::new("dlq");
    desk.press("j j");
    let before = desk.screen();
    let ticket = {
        desk.pass(Duration::from_secs(3));
        let (ticket, _) = desk
            .asked
            .iter()
            .find(|(_, q)| matches!(q, Question::Rows { cursor: None, .. }))
            .unwrap();
        *ticket
    };
    let question = Question::Rows {
        noun: crate::tui::route::Noun::DeadLetters,
        q: None,
        limit: 100,
        cursor: None,
    };
    let crate::tui::msg::Reply::Rows(mut page) = reply(&question, 412) else { panic!() };
    let mut new = page.rows[0].clone();
    new.id = id("tsk", 9999).into();
    page.rows.insert(0, new);
    desk.answer(ticket, Ok(crate::tui::msg::Reply::Rows(page)));
    desk.shows("▲ 1 new");
    desk.shows("▶  tsk_01J9ZC00023V");
    let third = |screen: &str| screen.lines().nth(6).unwrap()[..20].to_owned();
    assert_eq!(third(&before), third(&desk.screen()));
    key(&mut desk, "f");
    desk.shows("▶  tsk_01J9ZC99993V");
}

#[test]
fn a_paused_view_stands_still() {
    let mut desk = Desk::new("tail");
    let entry = |seq: i64| {
        json!({"v": 1, "object": "timeline_entry", "seq": seq, "at": ago(1), "what": "dead",
               "correlation_id": null, "request_id": null, "event_id": id("evt", 1), "task_id": null,
               "replay_id": null, "source": "stripe", "type": "charge.failed", "workflow": null,
               "step": null, "destination": null, "attempt": null, "detail": {}})
    };
    desk.tail(vec![entry(1)]);
    desk.press("p");
    desk.tail(vec![entry(2), entry(3)]);
    desk.shows("‖ paused 0s, 2 behind");
    let shown = |desk: &Desk| desk.screen().matches("✖ dead").count();
    assert_eq!(shown(&desk), 1);
    desk.press("p");
    assert_eq!(shown(&desk), 3);
}

#[test]
fn the_timeline_follows_the_filter_of_the_screen_that_shows_it() {
    let mut desk = Desk::new("");
    let follows = |desk: &Desk| {
        desk.wishes
            .iter()
            .filter_map(|wish| match wish {
                Effect::Follow { q } => Some(q.clone().unwrap_or_default()),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    desk.press("T");
    desk.press("space");
    desk.press("esc");
    let failures = "status:retrying,dead";
    assert_eq!(follows(&desk), [failures, "", failures]);
}

#[test]
fn escape_undoes_one_level_and_never_quits() {
    let mut desk = Desk::new("dlq source:stripe");
    desk.press("/");
    desk.type_text("type:charge");
    desk.press("enter");
    desk.shows("/ source:stripe type:charge");
    desk.press("space");
    desk.press("esc");
    desk.shows_not("marked");
    desk.press("esc");
    desk.shows_not("type:charge");
    desk.shows("/ source:stripe");
    desk.press("esc");
    assert!(matches!(desk.state.screens.last(), Some(Screen::Overview(_))));
    desk.press("esc esc");
    assert!(!desk.wishes.iter().any(|wish| matches!(wish, Effect::Quit { .. })));
    desk.press("q");
    assert!(desk.wishes.iter().any(|wish| matches!(wish, Effect::Quit { exit: 0, .. })));
}

#[test]
fn a_filter_that_does_not_read_says_where_and_is_not_applied() {
    let mut desk = Desk::new("dlq");
    desk.press("/");
    desk.type_text("sorce:stripe");
    desk.press("enter");
    desk.shows("did you mean 'source'?");
    desk.press("esc");
    desk.shows_not("sorce");
}

#[test]
fn what_is_pasted_is_one_line() {
    let mut desk = Desk::new("dlq");
    desk.press("/");
    desk.tell(Msg::Paste("source:a\nstatus:dead\u{1b}[2J".into()));
    desk.shows("source:a status:dead [2J");
}

#[test]
fn an_id_in_the_palette_opens_what_it_names() {
    let mut desk = Desk::new("");
    desk.press(":");
    desk.type_text("7c1e90");
    desk.press("enter");
    desk.shows("[Trace".trim_start_matches('['));
    desk.shows("7c1e90d2  1 event");
}

#[test]
fn every_action_has_its_command() {
    let mut desk = Desk::new("dlq source:stripe");
    desk.press("y");
    desk.shows("relayflow dlq ls source:stripe");
    desk.shows("relayflow dlq replay source:stripe --all-time");
    desk.press("1");
    let [.., Effect::Copy { what, text }] = &desk.wishes[..] else { panic!("{:?}", desk.wishes) };
    assert_eq!((what.as_str(), text.as_str()), ("id", &*id("tsk", 0)));
}

#[test]
fn another_context_begins_at_the_beginning() {
    let mut desk = Desk::new("dlq");
    desk.press("@ enter");
    let [.., Effect::Switch(name)] = &desk.wishes[..] else { panic!("{:?}", desk.wishes) };
    assert_eq!(name, "local");
    let target = Target {
        name: "local".into(),
        label: None,
        is_protected: false,
        max_bulk: None,
        way: Way::Api { endpoint: "http://127.0.0.1:1".into(), token: None },
    };
    desk.tell(Msg::Switched(Ok(Box::new(target))));
    desk.shows("relayflow local ◌ connecting");
    desk.shows("waiting for 127.0.0.1:1");
    desk.shows_not("412");
}

#[test]
fn signals_and_panics_end_it_with_their_exit() {
    let mut desk = Desk::new("dlq");
    desk.tell(Msg::Signal(143));
    assert!(matches!(desk.wishes.last(), Some(Effect::Quit { exit: 143, report: None })));
    desk.tell(Msg::Panicked("it broke".into()));
    let Some(Effect::Quit { exit: 1, report: Some(report) }) = desk.wishes.last() else { panic!() };
    assert!(report.contains("it broke") && report.contains("relayflow tui dlq"), "{report}");
}

#[test]
fn drift_is_accepted_with_a_reason() {
    let mut desk = Desk::new("drift");
    desk.press("a enter");
    desk.shows("this needs a reason");
    assert!(deeds(&desk).is_empty());
    desk.type_text("they said so");
    key(&mut desk, "enter");
    let [Question::AcceptDrift { id, reason }] = deeds(&desk)[..] else {
        panic!("{:?}", desk.asked)
    };
    assert_eq!((id.as_str(), reason.as_str()), ("drf_field_gone", "they said so"));
}

#[test]
fn a_mode_that_is_refused_says_so_and_the_plan_before_does_not_run() {
    let mut desk = Desk::of(setup(false), (80, 24), "dlq");
    desk.settle();
    desk.press("R down down down right");
    desk.pass(Duration::from_millis(400));
    let ticket = desk.asked.iter().find(|(_, q)| matches!(q, Question::Plan(_))).unwrap().0;
    let failure = Failure::new("refused.not_supported", "mode restart comes in a later version");
    desk.answer(ticket, Err(failure));
    desk.shows("! mode restart comes in a later version");
    key(&mut desk, "enter");
    assert!(deeds(&desk).is_empty());
    desk.shows_not("y to run");
    assert!(desk.asked.iter().any(|(_, q)| matches!(q, Question::Plan(_))), "it asks again");
}

#[test]
fn an_edited_payload_is_shown_asked_about_kept_and_then_run() {
    let mut desk = Desk::of(setup(false), (80, 24), "dlq");
    desk.settle();
    desk.press("enter e");
    let Some(Effect::Mend { event, task, was, draft }) = desk.wishes.last().cloned() else {
        panic!("{:?}", desk.wishes)
    };
    assert_eq!(was, draft);
    let is = Ok(was.replace("4200", "4300"));
    desk.tell(Msg::Mended { event, task, was, is });
    desk.shows("\"amount\": 4200");
    desk.shows("\"amount\": 4300");
    key(&mut desk, "enter");
    assert!(deeds(&desk).is_empty(), "a reason is wanted");
    desk.type_text("typo");
    key(&mut desk, "enter");
    let [Question::Revise { payload, reason, .. }] = deeds(&desk)[..] else { panic!() };
    assert!(payload.contains("4300") && reason == "typo");
    desk.settle();
    desk.shows("[2 Plan]");
    desk.shows("--late apply");
    key(&mut desk, "enter");
    let [Question::RunPlan(new)] = deeds(&desk)[..] else { panic!("{}", desk.screen()) };
    assert_eq!(new.late.as_deref(), Some("apply"));
}

// queues

#[test]
fn a_queue_is_paused_for_a_while_with_a_reason() {
    let mut desk = Desk::of(setup(false), (80, 24), "queues");
    desk.settle();
    desk.shows("‖ 1 queue paused");
    desk.press("P");
    desk.shows("same as  relayflow queue pause api.hubspot.com --for 30m");
    key(&mut desk, "enter");
    desk.shows("this needs a reason");
    assert!(deeds(&desk).is_empty());
    desk.type_text("they deploy");
    key(&mut desk, "enter");
    let [Question::PauseQueue { name, new }] = deeds(&desk)[..] else { panic!("{:?}", desk.asked) };
    assert_eq!((name.as_str(), new.reason.as_str()), ("api.hubspot.com", "they deploy"));
    assert_eq!((new.r#for.as_deref(), new.indefinitely), (Some("30m"), false));
    desk.settle();
    desk.shows("api.hubspot.com is paused");
}

#[test]
fn a_pause_without_a_length_lasts_and_a_wrong_one_is_none() {
    let mut desk = Desk::of(setup(false), (80, 24), "queues");
    desk.settle();
    desk.press("P");
    desk.type_text("moved");
    desk.press("up backspace backspace backspace");
    desk.type_text("soon");
    key(&mut desk, "enter");
    desk.shows("`soon` is not a duration");
    assert!(deeds(&desk).is_empty());
    desk.press("backspace backspace backspace backspace");
    desk.shows("--indefinitely");
    key(&mut desk, "enter");
    let [Question::PauseQueue { new, .. }] = deeds(&desk)[..] else { panic!("{:?}", desk.asked) };
    assert_eq!((new.r#for.as_deref(), new.indefinitely), (None, true));
}

#[test]
fn a_protected_context_wants_the_number_of_queues() {
    let mut desk = Desk::new("queues");
    desk.press("P");
    desk.type_text("deploy");
    key(&mut desk, "enter");
    desk.shows("PROD is protected: type the number of queues, 1");
    desk.type_text("2");
    key(&mut desk, "enter");
    assert!(deeds(&desk).is_empty());
    desk.press("backspace");
    desk.type_text("1");
    key(&mut desk, "enter");
    assert_eq!(deeds(&desk).len(), 1);
}

#[test]
fn a_paused_queue_goes_on_and_another_cannot() {
    let mut desk = Desk::of(setup(false), (80, 24), "queues");
    desk.settle();
    desk.press("U");
    desk.shows("api.hubspot.com is not paused");
    desk.press("down U");
    desk.shows("It was paused by ana: deploy");
    key(&mut desk, "y");
    let [Question::ResumeQueue(name)] = deeds(&desk)[..] else { panic!("{:?}", desk.asked) };
    assert_eq!(name, "ci.internal");
}

#[test]
fn who_may_only_look_pauses_nothing() {
    let mut desk = Desk::of(Setup { is_read_only: true, ..setup(false) }, (80, 24), "queues");
    desk.settle();
    desk.press("P");
    desk.shows_not("same as");
    assert!(deeds(&desk).is_empty());
}
