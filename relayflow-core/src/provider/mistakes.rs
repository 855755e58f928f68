//! What a person is told of each mistake in a provider file: where it is, what was wanted, and what was
//! probably meant.

use std::fmt::Write as _;

use super::Provider;

/// A definition without a mistake.
const WHOLE: &str = r#"title    = "Acme"
category = "commerce"
source   = "https://acme.example.com/docs/webhooks"
checked  = "2026-11-24"

[settings]
region = { about = "where the account is", default = "eu" }

[verify]
scheme    = "hmac-sha256"
header    = "acme-signature"
parts     = { timestamp = "t", signature = "v1" }
signed    = "{timestamp}.{body}"
tolerance = "5m"

[split]
at = "/events/*"

[event]
id      = ["/id", "derived"]
type    = "/type"
subject = "/data/id"
at      = { pointer = "/created", unit = "seconds" }

[kind."payment.failed"]
types = ["charge.failed"]
[kind."payment.failed".attributes]
amount_minor = "/data/amount"
currency     = "/data/currency"

[kind."invoice.created"]
types      = ["invoice.made"]
attributes = { due_at = { from = "/data/due", unit = "rfc3339" } }

[[handshake]]
when = { pointer = "/challenge" }
text = "{/challenge}"
"#;

/// What is told when `from` is `to`.
fn told(from: &str, to: &str) -> String {
    assert!(WHOLE.contains(from), "{from} is not there");
    let mistakes = Provider::new("acme", &WHOLE.replacen(from, to, 1), "", false)
        .map(|_| panic!("{to:?} is no mistake"))
        .unwrap_err();
    let shown: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    shown.join("\n")
}

/// One mistake after the other, each as a person sees it.
fn each(changes: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (from, to) in changes {
        writeln!(out, "{}", told(from, to)).unwrap();
    }
    out
}

#[test]
fn what_is_changed_below_is_whole() {
    assert!(Provider::new("acme", WHOLE, "", false).is_ok());
}

#[test]
fn mistakes_of_keys_and_words() {
    let told = each(&[
        (r#"[verify]"#, r#"[verify"#),
        (r#"title "#, r#"titel "#),
        (
            r#"title    = "Acme"
"#,
            r#""#,
        ),
        (r#"header    = "#, r#"heeder    = "#),
        (r#"pointer = "/created""#, r#"pionter = "/created""#),
        (r#""hmac-sha256""#, r#""hmac-sha265""#),
        (r#"unit = "seconds""#, r#"unit = "second""#),
        (r#"category = "commerce""#, r#"category = 7"#),
        (
            r#"checked  = "2026-11-24""#,
            r#"checked  = "2026-11-24"
checked = "2026-11-25""#,
        ),
        (
            r#"checked  = "2026-11-24""#,
            r#"checked  = "2026-11-24"
status = "sure""#,
        ),
        (
            r#"[event]
id      = ["/id", "derived"]
"#,
            r#"[event]
"#,
        ),
        (
            r#"[settings]
region"#,
            r#"[settings]
region.abuot = "x"
regoin"#,
        ),
        (
            r#"[verify]
"#,
            r#"[verfiy]
"#,
        ),
        (r#"checked  = "2026-11-24""#, r#"checked  = "yesterday""#),
    ]);
    insta::assert_snapshot!(told);
}

#[test]
fn mistakes_of_signatures() {
    let told = each(&[
        (
            r#"header    = "acme-signature"
"#,
            r#""#,
        ),
        (r#"header    = "acme-signature""#, r#"header    = "acme signature""#),
        (r#"{timestamp}.{body}"#, r#"{tmestamp}.{body}"#),
        (r#"{timestamp}.{body}"#, r#"{timestamp.body}"#),
        (r#"{timestamp}.{body}"#, r#"{timestamp}.{body"#),
        (r#"timestamp = "t", signature"#, r#"signature"#),
        (r#""{timestamp}.{body}""#, r#""{body}""#),
        (r#"tolerance = "5m""#, r#"tolerance = "5 moments""#),
        (
            r#"tolerance = "5m""#,
            r#"tolerance = "5m"
id = "x-id"
pointer = "/signature""#,
        ),
        (r#"signed    = "{timestamp}.{body}""#, r#"signed    = "{id}.{timestamp}.{body}""#),
        (
            r#"signed    = "{timestamp}.{body}""#,
            r#"signed    = "{setting:regoin}.{timestamp}.{body}""#,
        ),
        (r#"scheme    = "hmac-sha256""#, r#"scheme    = "token""#),
    ]);
    insta::assert_snapshot!(told);
}

#[test]
fn mistakes_of_places() {
    let told = each(&[
        (r#"id      = ["/id", "derived"]"#, r#"id      = ["derived", "/id"]"#),
        (r#"id      = ["/id", "derived"]"#, r#"id      = "data/id""#),
        (r#"id      = ["/id", "derived"]"#, r#"id      = "/data/~3""#),
        (r#"subject = "/data/id""#, r#"subject = "data/id""#),
        (r#"subject = "/data/id""#, r#"subject = "^^/data/id""#),
        (r#"subject = "/data/id""#, r#"subject = "{/data/id}[""#),
        (r#"type    = "/type""#, r#"type    = []"#),
        (r#"at = "/events/*""#, r#"at = "/events""#),
        (r#"subject = "/data/id""#, r#"subject = "{setting:region}{/data/id""#),
    ]);
    insta::assert_snapshot!(told);
}

#[test]
fn mistakes_of_kinds() {
    let told = each(&[
        (r#""invoice.created""#, r#""invoice.craeted""#),
        (r#""invoice.created""#, r#""invoic.created""#),
        (r#"amount_minor ="#, r#"amount_mnior ="#),
        (r#"amount_minor = "/data/amount""#, r#"sku = "/data/amount""#),
        (r#"amount_minor = "/data/amount""#, r#"amount_minor = "data/amount""#),
        (r#"types      = ["invoice.made"]"#, r#"types      = ["charge.failed"]"#),
        (r#"types      = ["invoice.made"]"#, r#"types      = []"#),
        (r#"unit = "rfc3339" }"#, r#"unit = "iso" }"#),
        (r#", unit = "rfc3339" }"#, r#" }"#),
        (
            r#"currency     = "/data/currency""#,
            r#"currency     = { from = "/data/currency", is_major = true }"#,
        ),
        (r#"{ from = "/data/due", unit = "rfc3339" }"#, r#"{ unit = "rfc3339" }"#),
    ]);
    insta::assert_snapshot!(told);
}

#[test]
fn mistakes_of_handshakes_and_answers() {
    let told = each(&[
        (r#"text = "{/challenge}""#, r#"text = "{challenge}""#),
        (r#"text = "{/challenge}""#, r#"status = 99"#),
        (r#"when = { pointer = "/challenge" }"#, r#"when = { is = "x" }"#),
        (
            r#"text = "{/challenge}""#,
            r#"text = "{/challenge}"
[reply]
status = 2000"#,
        ),
        (
            r#"text = "{/challenge}""#,
            r#"text = "{/challenge}"
json = { a = "b" }"#,
        ),
    ]);
    insta::assert_snapshot!(told);
}
