use proptest::prelude::*;

use super::super::Catalog;
use super::*;

fn listing(provider: &str) -> std::sync::Arc<super::super::rules::Rules> {
    let catalog = Catalog::built_in();
    std::sync::Arc::clone(&catalog.get(provider).unwrap().rules)
}

fn window() -> (Timestamp, Timestamp) {
    ("2026-11-24T09:00:00Z".parse().unwrap(), "2026-11-24T15:00:00Z".parse().unwrap())
}

#[test]
fn a_list_is_asked_for_and_read_as_its_vendor_has_it() {
    let rules = listing("stripe");
    let listing = rules.listing.as_ref().unwrap();
    let given = BTreeMap::new();
    let first = listing.page_target(&given, window(), None);
    assert_eq!(
        first,
        "/v1/events?created%5Bgte%5D=1795510800&created%5Blt%5D=1795532400&limit=100"
    );
    let page = r#"{"object":"list","has_more":true,"data":[
        {"id":"evt_2","type":"charge.failed","created":1795510802,"pending_webhooks":1},
        {"id":"evt_1","type":"charge.succeeded","created":1795510801,"pending_webhooks":0}]}"#;
    let page = listing.read_page(page, None).unwrap();
    assert_eq!(page.items[0].external_id, "evt_2");
    assert_eq!(page.items[0].delivery.as_deref(), Some("1 pending"));
    assert_eq!(page.items[1].body.as_deref().unwrap().len(), 82);
    let next = NextPage::Parameter("starting_after".to_owned(), "evt_1".to_owned());
    assert_eq!(page.next.as_ref(), Some(&next));
    let second = listing.page_target(&given, window(), page.next.as_ref());
    assert!(second.ends_with("&starting_after=evt_1"), "{second}");
    let last = listing.read_page(r#"{"has_more":false,"data":[]}"#, None).unwrap();
    assert_eq!((last.items.len(), last.next), (0, None));
}

#[test]
fn a_list_of_deliveries_goes_on_by_its_link_and_has_details() {
    let rules = listing("github");
    let listing = rules.listing.as_ref().unwrap();
    let given = BTreeMap::from([("hook".to_owned(), "repos/acme/shop/hooks/7".to_owned())]);
    assert_eq!(
        listing.page_target(&given, window(), None),
        "/repos/acme/shop/hooks/7/deliveries?per_page=100"
    );
    let page = r#"[{"id":12,"guid":"g-1","delivered_at":"2026-11-24T10:00:00Z","redelivery":false,
        "status":"OK","status_code":200,"event":"issues","action":"opened"},
        {"id":11,"guid":"g-0","delivered_at":"2026-11-24T09:59:00Z","status":"failed to connect",
        "status_code":0,"event":"push","action":null}]"#;
    let link = r#"<https://evil.example/x?per_page=100&cursor=v1_11>; rel="next", <https://a/?b>; rel="prev""#;
    let page = listing.read_page(page, Some(link)).unwrap();
    let types: Vec<_> = page.items.iter().map(|item| item.event_type.as_str()).collect();
    assert_eq!(types, ["issues.opened", "push"]);
    assert_eq!(page.items[0].fetch.as_deref(), Some("12"));
    // Of the link only the query counts: another host never sees the token.
    assert_eq!(
        listing.page_target(&given, window(), page.next.as_ref()),
        "/repos/acme/shop/hooks/7/deliveries?per_page=100&cursor=v1_11"
    );
    let target = listing.detail_target(&given, "12").unwrap();
    assert_eq!(target, "/repos/acme/shop/hooks/7/deliveries/12");
    let sent = listing
        .read_detail(
            r#"{"id":12,"request":{"headers":{"X-GitHub-Event":"push","X-N":1},
               "payload":{"ref": "a b", "n": 1.50}}}"#,
        )
        .unwrap();
    assert_eq!(sent.body, r#"{"ref":"a b","n":1.50}"#);
    assert_eq!(sent.headers[0], ("X-GitHub-Event".to_owned(), "push".to_owned()));
}

#[test]
fn what_is_no_list_is_told() {
    let rules = listing("stripe");
    let listing = rules.listing.as_ref().unwrap();
    for (text, why) in [
        ("<html>", "not JSON"),
        (r#"{"data":{}}"#, "has no list"),
        (r#"{"error":"x"}"#, "has no list"),
        (r#"{"data":[{"type":"a","created":1}]}"#, "item 1 of the list has no id"),
        (r#"{"data":[{"id":"a","created":1}]}"#, "has no type"),
        (r#"{"data":[{"id":"a","type":"b"}]}"#, "has no time"),
        (r#"{"data":[{"id":"a\u001b[2J","type":"b","created":1}]}"#, "cannot be one"),
        (r#"{"data":[1]}"#, "item 1 of the list"),
    ] {
        let told = listing.read_page(text, None).unwrap_err();
        assert!(told.contains(why), "{text}: {told}");
    }
    assert!(listing.read_page(&"[".repeat(100_000), None).is_err());
}

#[test]
fn a_parameter_can_be_no_other_path() {
    let rules = listing("github");
    let listing = rules.listing.as_ref().unwrap();
    for good in ["repos/acme/shop/hooks/7", "orgs/acme/hooks/7", "repos/a.b/c_d-e/hooks/1"] {
        assert_eq!(listing.check_param("hook", good), Ok(()), "{good}");
    }
    for bad in [
        "",
        "repos/acme/shop",
        "repos/../shop/hooks/7",
        "repos/acme/shop/hooks/7?x",
        "repos/acme/shop/hooks/7#",
        "repos/acme/sh%2fop/hooks/7",
        "/repos/acme/shop/hooks/7",
        "users/acme/hooks/7",
    ] {
        assert!(listing.check_param("hook", bad).is_err(), "{bad}");
    }
    assert!(listing.check_param("hok", "x").unwrap_err().contains("wanted hook"));
}

#[test]
fn a_token_goes_nowhere_in_the_clear() {
    for good in ["https://api.example.com", "https://x/y", "http://127.0.0.1:99", "http://[::1]:9"]
    {
        assert_eq!(base_url(good), Ok(()), "{good}");
    }
    for bad in ["http://api.example.com", "https://u:p@x", "https://x?y", "ftp://x", "x", "/x", ""]
    {
        assert!(base_url(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_answer_makes_it_panic(text: String, link: String) {
        for provider in ["stripe", "github"] {
            let rules = listing(provider);
            let listing = rules.listing.as_ref().unwrap();
            let _ = listing.read_page(&text, Some(&link));
            let _ = listing.read_detail(&text);
        }
    }

    #[test]
    fn what_is_made_compact_is_the_same(text: String, n in any::<i32>()) {
        let value = serde_json::json!({ "a b": [text, n, { "\"": null }] });
        let wide = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(compact(&wide), serde_json::to_string(&value).unwrap());
    }
}
