use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::clock::from_micros;
use crate::id::EventId;

/// 2026-11-24 09:30 in a zone that is an hour ahead of UTC.
fn now() -> Now {
    let zone = TimeZone::fixed(jiff::tz::offset(1));
    Now { now: "2026-11-24T08:30:00Z".parse().unwrap(), zone }
}

fn parse(text: &str) -> Result<Filter, FilterError> {
    Filter::parse(text, &now())
}

/// `text` is read, and printed as `shown`, which reads as the same.
#[track_caller]
fn check(text: &str, shown: &str) {
    let filter = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(filter.to_string(), shown, "{text}");
    assert_eq!(parse(shown), Ok(filter), "{text}");
}

#[test]
fn every_form_is_read_and_printed() {
    for (text, shown) in [
        ("", ""),
        ("  ", ""),
        ("source:stripe", "source:stripe"),
        ("SOURCE:Stripe", "source:Stripe"),
        (
            "source:stripe status:failed,dead type:invoice not workflow:audit",
            "source:stripe status:retrying,dead type:invoice not workflow:audit",
        ),
        ("status:open", "status:queued,running,retrying"),
        ("status:OK", "status:ok"),
        ("source:a or source:b source:c", "source:a or source:b source:c"),
        ("(source:a or source:b) AND source:c", "(source:a or source:b) source:c"),
        ("not (source:a source:b)", "not (source:a source:b)"),
        ("not not source:a", "not not source:a"),
        ("((source:a))", "source:a"),
        ("(source:a source:b) source:c", "source:a source:b source:c"),
        ("NOT(source:a)", "not source:a"),
        (r#"subject:"a b""#, r#"subject:"a b""#),
        (r#"subject:"a\"b\\c\d""#, r#"subject:"a\"b\\c\\d""#),
        (r#"subject:"""#, r#"subject:"""#),
        ("subject:ch_*", "subject:ch_*"),
        (r#"subject:"ch_*""#, r#"subject:"ch_*""#),
        ("key:stripe:charge.failed:evt_1", "key:stripe:charge.failed:evt_1"),
        ("subject:../x", "subject:../x"),
        (
            r"type:~^charge\.(failed|expired)$ source:a",
            r#"type:~"^charge\\.(failed|expired)$" source:a"#,
        ),
        ("(type:~^a)", r#"type:~"^a""#),
        (
            "where:event.attributes.amount_minor > 5 and true",
            r#"where:"event.attributes.amount_minor > 5 and true""#,
        ),
        (r#"where:"event.type == 'a'" source:b"#, r#"where:"event.type == 'a'" source:b"#),
        ("evt_01j9zc", "evt_01J9ZC"),
        ("TSK_0 or req_0 or rpl_0", "tsk_0 or req_0 or rpl_0"),
        ("id:evt_0,evt_1", "id:evt_0,evt_1"),
        ("id:evt_0", "evt_0"),
        ("request:req_01", "request:req_01"),
        ("attempts:3..", "attempts:3.."),
        ("attempts:3,05", "attempts:3,5"),
        ("http:500..599", "http:500..599"),
        ("size:1KiB..2MiB", "size:1024..2097152"),
        ("latency:500ms..1m", "latency:500ms..1m"),
        ("depth:..10", "depth:..10"),
        ("since:3h", "since:2026-11-24T05:30:00.000000Z"),
        ("until:today", "received:..2026-11-23T22:59:59.999999Z"),
        ("age:..2h", "since:2026-11-24T06:30:00.000000Z"),
        ("age:1h..2h", "received:2026-11-24T06:30:00.000000Z..2026-11-24T07:30:00.000000Z"),
        (
            "occurred:2026-11-23..09:00",
            "occurred:2026-11-22T23:00:00.000000Z..2026-11-24T08:00:00.000000Z",
        ),
        ("payload.data.object.ID:x", "payload.data.object.ID:x"),
        ("header.X-Shop:acme attr.email:a@b,c@d", "header.x-shop:acme attr.email:a@b,c@d"),
        ("sig:Invalid drift:none reason:too_old", "sig:invalid drift:none reason:too_old"),
        ("error:e_41c9 dest:api.example.com:8443", "error:e_41c9 dest:api.example.com:8443"),
    ] {
        check(text, shown);
    }
}

#[test]
fn a_mistake_has_a_caret_and_a_suggestion() {
    let told: Vec<String> = [
        "sorce:stripe status:dead",
        "source:stripe status:ded",
        "source:stripe dead",
        "status:ok stripe",
        "status",
        "source:",
        "source:a,",
        "source:a or",
        "source:a and",
        "(source:a",
        "source:a)",
        "source:\"a",
        "source:a(b)",
        "()",
        "not",
        "attempts:many",
        "attempts:5..3",
        "attempts:..",
        "age:2h",
        "received:soon..",
        "size:1MB..",
        "type:~(",
        "status:~x",
        "where:evnt.id",
        "request:evt_0",
        "evt_u",
        "since:",
        "grüße:ö status:x",
    ]
    .into_iter()
    .map(|text| parse(text).expect_err(text).to_string())
    .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    unknown field 'sorce'
      sorce:stripe status:dead
      ^^^^^ did you mean 'source'?
    'ded' is not a value of 'status'
      source:stripe status:ded
                           ^^^ did you mean 'dead'?
    'dead' is neither an id nor field:value
      source:stripe dead
                    ^^^^ did you mean 'status:dead'?
    'stripe' is neither an id nor field:value
      status:ok stripe
                ^^^^^^ write field:value, or an id such as evt_01J9
    'status' is neither an id nor field:value
      status
      ^^^^^^ did you mean 'status:…'?
    a value is missing
      source:
             ^
    a value is missing
      source:a,
               ^
    a term is missing at the end
      source:a or
                 ^
    a term is missing at the end
      source:a and
                  ^
    a `(` without its `)`
      (source:a
      ^
    a `)` without its `(`
      source:a)
              ^
    a quote without its end
      source:"a
             ^
    a '(' in a value
      source:a(b)
              ^ put the value in double quotes
    a term is missing here
      ()
       ^ write field:value
    a term is missing at the end
      not
         ^
    'many' is not a number
      attempts:many
               ^^^^ such as attempts:3 or attempts:3..
    the range ends before it begins
      attempts:5..3
               ^^^^
    the range has no end at all
      attempts:..
               ^^
    'age' wants a range
      age:2h
          ^^ such as age:..2h
    `soon` is not a time: wanted such as 2h, 14:05, 2026-11-23, 2026-11-23T14:05:00Z or today
      received:soon..
               ^^^^
    '1MB' is not a size
      size:1MB..
           ^^^
    not a regular expression: unclosed group
      type:~(
            ^
    'status' takes no regular expression
      status:~x
             ^
    where: unknown name `evnt`: did you mean `event`?
      where:evnt.id
            ^^^^
    'evt_0' is not an id that 'request' can have
      request:evt_0
              ^^^^^ such as req_…
    'evt_u' is neither an id nor field:value
      evt_u
      ^^^^^ write field:value, or an id such as evt_01J9
    a value is missing
      since:
            ^
    unknown field 'grüße'
      grüße:ö status:x
      ^^^^^
    "#);
}

#[test]
fn what_is_too_long_or_too_deep_is_refused() {
    assert!(parse(&"x".repeat(FILTER_BYTES_MAX + 1)).is_err());
    assert!(parse(&"(".repeat(FILTER_BYTES_MAX)).is_err());
    assert!(parse(&"not ".repeat(1000)).is_err());
    let deep = |n: usize| format!("{}source:a{}", "(".repeat(n), ")".repeat(n));
    assert!(parse(&deep(FILTER_DEPTH_MAX)).is_ok() && parse(&deep(FILTER_DEPTH_MAX + 1)).is_err());
    assert!(parse(r"type:~(a{1000}){1000}").is_err());
}

#[test]
fn a_word_finds_itself_its_subtree_and_what_fits() {
    for (term, value, expected) in [
        ("type:invoice", "invoice", true),
        ("type:invoice", "invoice.payment.failed", true),
        ("type:invoice", "invoices.x", false),
        ("kind:payment", "payment.failed", true),
        ("source:invoice", "invoice.x", false),
        ("type:inv*", "invoices.x", true),
        ("type:*.failed", "charge.failed", true),
        ("type:*.failed", "charge.failed.x", false),
        ("type:a*b*c", "aXbYbc", true),
        ("type:a*b*c", "acb", false),
        ("type:*", "", true),
        ("type:a*a", "a", false),
        (r#"type:"a*""#, "a*", true),
        (r#"type:"a*""#, "ab", false),
        ("type:a,b", "b", true),
        (r"type:~^a.$", "ab", true),
    ] {
        let Ok(Filter::Term(term)) = parse(term) else { panic!("{term}") };
        assert_eq!(term.matches(value), expected, "{term} {value}");
    }
}

#[test]
fn an_argument_that_starts_with_where_is_one_term() {
    let arguments = ["source:a", "where:event.type == \"x y\"", "status:ok"];
    let joined = join(&arguments);
    assert_eq!(joined, r#"source:a where:"event.type == \"x y\"" status:ok"#);
    assert!(matches!(parse(&joined), Ok(Filter::And(parts)) if parts.len() == 3));
}

fn any_word() -> impl Strategy<Value = Word> {
    prop_oneof![
        ".{0,12}".prop_map(|text| Word { text, is_wild: false }),
        "[a-z.*]{0,6}[*]".prop_map(|text| Word { text, is_wild: true }),
    ]
}

fn any_words() -> impl Strategy<Value = Vec<Word>> {
    proptest::collection::vec(any_word(), 1..4).prop_map(|words| {
        let mut unique: Vec<Word> = Vec::new();
        for word in words {
            if !unique.contains(&word) {
                unique.push(word);
            }
        }
        unique
    })
}

fn any_text_field() -> impl Strategy<Value = Field> {
    prop_oneof![
        Just(Field::Source),
        Just(Field::Type),
        Just(Field::Subject),
        Just(Field::Key),
        Just(Field::Error),
        "[A-Za-z0-9_.]{1,9}".prop_map(Field::Payload),
        "[A-Za-z0-9_]{1,9}".prop_map(Field::Attr),
        "[a-z0-9-]{1,9}".prop_map(Field::Header),
    ]
}

fn plain(text: &str) -> Vec<Word> {
    vec![Word { text: text.to_owned(), is_wild: false }]
}

fn any_term() -> impl Strategy<Value = Term> {
    prop_oneof![
        (any_text_field(), any_words())
            .prop_map(|(field, words)| Term { field, test: Test::OneOf(words) }),
        Just(Term { field: Field::Status, test: Test::OneOf(plain("dead")) }),
        any::<u32>().prop_map(|n| Term {
            field: Field::Attempts,
            test: Test::OneOf(plain(&n.to_string()))
        }),
        Just(()).prop_map(|()| {
            Term { field: Field::Id, test: Test::OneOf(plain(&EventId::next().to_string())) }
        }),
        "[a-z\\\\.\" (]{1,5}".prop_filter_map("a regex", |regex| {
            let is_regex = regex::Regex::new(&regex).is_ok();
            is_regex.then_some(Term { field: Field::Type, test: Test::Matches(regex) })
        }),
        "[a-z\\\\.\" (]{0,9}".prop_map(|text| {
            let text = format!("event.id == {text:?}");
            Term { field: Field::Where, test: Test::Holds(text) }
        }),
        (0..4_000_000_000_000_000_i64, 0..1_000_000_000_000_i64, 0_u8..3).prop_map(
            |(low, length, ends)| {
                let low_end = (ends != 1).then_some(low);
                let high_end = (ends != 2).then_some(low + length);
                let show = |end: Option<i64>| {
                    end.map(|us| crate::event::micros(from_micros(us))).unwrap_or_default()
                };
                let shown = format!("{}..{}", show(low_end), show(high_end));
                Term {
                    field: Field::Received,
                    test: Test::Between { low: low_end, high: high_end, shown },
                }
            }
        ),
    ]
}

fn any_filter() -> impl Strategy<Value = Filter> {
    any_term().prop_map(Filter::Term).prop_recursive(4, 24, 4, |inner| {
        let some = proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            inner.prop_map(|f| Filter::Not(Box::new(f))),
            some.clone().prop_map(|parts| flat(parts, true)),
            some.prop_map(|parts| flat(parts, false)),
        ]
    })
}

/// As the parser has it: no list directly in a list of its kind.
fn flat(parts: Vec<Filter>, is_and: bool) -> Filter {
    let mut out = Vec::new();
    for part in parts {
        out.extend(part.into_parts(is_and));
    }
    if is_and { Filter::And(out) } else { Filter::Or(out) }
}

proptest! {
    #[test]
    fn what_is_printed_reads_as_the_same(filter in any_filter()) {
        let text = filter.to_string();
        prop_assume!(text.len() <= FILTER_BYTES_MAX);
        prop_assert_eq!(parse(&text), Ok(filter), "{}", text);
    }

    #[test]
    fn no_text_panics(text in ".{0,200}") {
        if let Err(e) = parse(&text) {
            let _ = e.to_string();
        }
    }

    #[test]
    fn no_tokens_panic_and_what_is_read_prints(words in proptest::collection::vec(prop_oneof![
        Just("source:"), Just("status:"), Just("age:"), Just("received:"), Just("attempts:"),
        Just("where:"), Just("payload.x:"), Just("id:"), Just("evt_0"), Just(".."), Just("2h"),
        Just("dead"), Just("3"), Just("a"), Just("*"), Just("~"), Just("\""), Just("\\"), Just("("),
        Just(")"), Just(","), Just(" "), Just(" "), Just(" and "), Just(" or "), Just(" not "), Just("é"),
    ], 0..30)) {
        let text = words.concat();
        match parse(&text) {
            Ok(filter) => prop_assert_eq!(parse(&filter.to_string()), Ok(filter), "{}", text),
            Err(e) => { let _ = e.to_string(); }
        }
    }
}
