//! Terms that look into what came in: `payload.`, `header.`, `where:`, and regular expressions.

use serde_json::json;

use crate::delivery::one_step;
use crate::harness::{Home, text, until};
use crate::receiver::{Receiver, Reply};
use crate::replay_modes::plan;
use crate::vendor::{self, stripe_body};

#[test]
fn contents_are_searched_inside_a_window() {
    let receiver = Receiver::start();
    receiver.answer(|_| Reply::Status(422));
    let home = Home::new(&one_step(&receiver));
    let daemon = home.start();
    for n in 0..300_u32 {
        let body = stripe_body(&format!("evt_{n}"), "charge.failed")
            .replace("4200", &(n * 10).to_string())
            .replace(
                "\"livemode\": false",
                &format!("\"livemode\": {}, \"list\": [{{\"n\": {n}}}]", n % 2 == 0),
            );
        let signed = vendor::sign_stripe(vendor::STRIPE_SECRET, body.as_bytes(), vendor::now());
        daemon.deliver_new(&signed.with("x-correlation-id", &format!("order-{n}")));
    }
    until("all are dead", || (daemon.stats()["dead_letters"] == 300).then_some(()));

    let events = |q: &str| -> Vec<String> {
        let events = daemon.list("/events", &format!("since:1h {q}"));
        events.iter().map(|e| text(&e["external_id"]).to_owned()).collect()
    };
    assert_eq!(events("payload.data.object.customer:cus_evt_7,cus_evt_9"), ["evt_9", "evt_7"]);
    assert_eq!(events("payload.data.object.amount:70"), ["evt_7"]);
    assert_eq!(events("payload.list.0.n:12"), ["evt_12"]);
    assert_eq!(events("payload.livemode:true").len(), 150);
    assert_eq!(events("not payload.livemode:true").len(), 150);
    assert_eq!(events("payload.nothing.here:x"), [""; 0]);
    assert_eq!(events("header.x-correlation-id:order-3"), ["evt_3"]);
    assert_eq!(
        events("external:~^evt_1.$"),
        (10..20).rev().map(|n| format!("evt_{n}")).collect::<Vec<_>>()
    );
    assert_eq!(events("external:~^evt_1.$ not subject:~9$").len(), 9);
    assert_eq!(events("where:event.attributes.amount_minor > 2970"), ["evt_299", "evt_298"]);
    assert_eq!(
        events("(external:evt_5 or where:\"event.payload.data.object.amount == 60\")"),
        ["evt_6", "evt_5"]
    );
    assert_eq!(events("not where:event.attributes.amount_minor > 15"), ["evt_1", "evt_0"]);
    assert_eq!(events("where:event.payload.no.such.member == 1"), [""; 0]);

    // Pages of what is looked into hang together, and a plan selects the same.
    let page = |cursor: &str| {
        let q = "since%3A1h%20where%3Aevent.attributes.amount_minor%20%3E%20990";
        daemon.get(&format!("/events?limit=120&q={q}{cursor}"))
    };
    let first = page("");
    let next = page(&format!("&cursor={}", text(&first["next_cursor"])));
    assert_eq!(
        (first["items"].as_array().unwrap().len(), next["items"].as_array().unwrap().len()),
        (120, 80)
    );
    assert!(next["next_cursor"].is_null() && first["total"].is_null(), "{next}");
    let planned =
        plan(&daemon, &json!({"q": "since:1h where:event.attributes.amount_minor > 990"}));
    assert_eq!(planned["items"]["total"], 200);
    assert_eq!(daemon.list("/dead-letters", "since:1h payload.data.object.amount:70").len(), 1);
    assert_eq!(daemon.list("/requests", "since:1h header.x-correlation-id:order-3").len(), 1);

    let unbounded = daemon.ask("/api/v1/events?q=payload.id%3Aevt_1");
    assert_eq!((unbounded.status, unbounded.json()["code"].as_str()), (400, Some("usage.filter")));
    let cli = daemon.relayflow(&home, &["events", "ls", "payload.id:evt_1", "-o", "name"]).ended(0);
    assert_eq!(cli.out.lines().count(), 1);
    assert!(cli.err.contains("since:24h is applied"), "{}", cli.err);
}
