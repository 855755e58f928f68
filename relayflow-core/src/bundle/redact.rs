//! What must not leave with a bundle: secrets, and what payloads say of people. It is found by the
//! names of members (built-in ones and a source's own `redact`), by its look (addresses, tokens, card
//! numbers), and wherever what was masked at one place of a request stands again at another.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use regex::bytes::Regex;
use serde::{Deserialize, Serialize};

use super::json::{self, Token};
use crate::secret::Secret;

/// Stands for what was masked, in texts that need not keep their length.
pub const MASK: &str = "***";
/// A value shorter than this is masked where it stands, and not looked for elsewhere: it would be
/// found everywhere.
const WORD_BYTES_MIN: usize = 5;
/// The same of numbers.
const DIGITS_MIN: usize = 6;
/// A secret shorter than this is no secret that could be told from other text.
const SECRET_BYTES_MIN: usize = 4;

/// Ends of member names whose values are masked, in lower case without `_` and `-`.
const ENDS: [&str; 26] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "authorization",
    "cookie",
    "privatekey",
    "credential",
    "credentials",
    "accesskey",
    "email",
    "emailaddress",
    "phone",
    "phonenumber",
    "mobile",
    "mobilephone",
    "firstname",
    "lastname",
    "fullname",
    "surname",
    "postalcode",
    "ipaddress",
    "birthdate",
];

/// Whole names.
const NAMES: [&str; 40] = [
    "address",
    "address1",
    "address2",
    "addressline1",
    "addressline2",
    "line1",
    "line2",
    "street",
    "street1",
    "street2",
    "zip",
    "zipcode",
    "postcode",
    "fax",
    "ip",
    "clientip",
    "remoteip",
    "useragent",
    "dob",
    "dateofbirth",
    "birthday",
    "ssn",
    "taxid",
    "nationalid",
    "passport",
    "passportnumber",
    "iban",
    "accountnumber",
    "routingnumber",
    "cardnumber",
    "pan",
    "cvc",
    "cvv",
    "cardholder",
    "cardholdername",
    "customername",
    "middlename",
    "givenname",
    "familyname",
    "signature",
];

/// What has a person's `name` in it.
const PEOPLE: [&str; 14] = [
    "customer",
    "billingdetails",
    "billing",
    "shipping",
    "shippingaddress",
    "billingaddress",
    "contact",
    "person",
    "recipient",
    "buyer",
    "payer",
    "cardholder",
    "customerdetails",
    "profile",
];

/// An address, a token, a header's credentials.
static LOOKS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?xi-u)
        [a-z0-9._%+'-]{1,64} (?:@|%40) [a-z0-9-]{1,63} (?:\.[a-z0-9-]{1,63})+
        | eyJ[a-z0-9_-]{8,}\.[a-z0-9_-]{8,}\.?[a-z0-9_-]*
        | \b(?:bearer|basic)[\x20+][a-z0-9._~+/=-]{8,}
        | \b(?:sk|rk|pk|ghp|gho|ghs|ghu|whsec|xox[a-z])[_-][a-z0-9_+/=-]{10,}
        | -----BEGIN\x20[a-z\x20]+PRIVATE\x20KEY-----
        ",
    )
    .expect("an expression of our own compiles")
});

/// So many digits in a row, with blanks or dashes between groups, may be a card's number.
static DIGITS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?-u)\b[0-9](?:[0-9][\x20-]?){11,17}[0-9]\b")
        .expect("an expression of our own compiles")
});

/// How much was masked, by what it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Masked {
    /// Values of members, by their names.
    pub values: u64,
    /// The same values, and what looks like an address, a token or a card's number, within texts.
    pub texts: u64,
    /// Headers that show a signature or a token.
    pub headers: u64,
    /// Bodies that are no JSON: withheld whole.
    pub bodies: u64,
    /// Places at which a configured secret stood.
    pub secrets: u64,
}

impl Masked {
    #[must_use]
    pub fn total(&self) -> u64 {
        self.values + self.texts + self.headers + self.bodies + self.secrets
    }
}

/// A member that a source's `redact` names: a name anywhere, or a path from the payload's root in which
/// `*` stands for one member or element.
#[derive(Debug, Clone)]
struct Rule(Vec<String>);

impl Rule {
    fn new(text: &str) -> Self {
        Self(text.split('.').map(plain).collect())
    }

    /// Whether the value at `path`, or something that it is within, is meant.
    fn holds(&self, path: &[String]) -> bool {
        if let [name] = self.0.as_slice() {
            return path.contains(name);
        }
        // A batch or an envelope may stand around the payload.
        let fits = |part: &[String]| {
            part.iter().zip(&self.0).all(|(name, wanted)| wanted == "*" || wanted == name)
        };
        path.windows(self.0.len()).any(fits)
    }
}

/// What is masked, and how much has been.
pub struct Redactor {
    rules: HashMap<String, Vec<Rule>>,
    secrets: Option<AhoCorasick>,
    /// Pseudonyms are made with this: who has the bundle cannot find the value by trying.
    key: [u8; 32],
    /// Only secrets are masked.
    is_unmasked: bool,
    pub(super) masked: Masked,
}

/// What is masked in one request and all that belongs to it.
#[derive(Default)]
pub(super) struct Words {
    found: BTreeSet<String>,
    finder: Option<AhoCorasick>,
}

impl Words {
    fn add(&mut self, text: &str) {
        let text = text.trim();
        if WORD_BYTES_MIN <= text.len() {
            self.found.insert(text.to_owned());
        }
    }

    /// From here on they can be looked for.
    pub(super) fn ready(&mut self) {
        let mut all: BTreeSet<String> = self.found.clone();
        for word in &self.found {
            all.insert(percent(word));
            let quoted = serde_json::Value::from(word.as_str()).to_string();
            all.insert(quoted.trim_matches('"').to_owned());
        }
        self.finder = finder(all.iter().map(String::as_bytes), true);
    }

    fn is_in(&self, text: &str) -> bool {
        self.finder.as_ref().is_some_and(|finder| finder.is_match(text))
    }
}

fn percent(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn finder<'a>(words: impl Iterator<Item = &'a [u8]>, any_case: bool) -> Option<AhoCorasick> {
    let words: Vec<&[u8]> = words.filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return None;
    }
    AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .ascii_case_insensitive(any_case)
        .build(words)
        .ok()
}

impl Redactor {
    /// What the sources' own rules, the built-in ones and these secrets ask for. `key` makes the
    /// pseudonyms. `is_unmasked`: only the secrets, which are nobody's business in any bundle.
    #[must_use]
    pub fn new(
        rules: impl IntoIterator<Item = (String, Vec<String>)>,
        secrets: &[Secret],
        key: [u8; 32],
        is_unmasked: bool,
    ) -> Self {
        let compile = |(source, rules): (String, Vec<String>)| {
            (source, rules.iter().map(|rule| Rule::new(rule)).collect())
        };
        let mut bytes: BTreeSet<Vec<u8>> = BTreeSet::new();
        for secret in secrets.iter().filter(|secret| SECRET_BYTES_MIN <= secret.len()) {
            let raw = secret.expose();
            bytes.insert(raw.to_vec());
            bytes.insert(base64::engine::general_purpose::STANDARD.encode(raw).into_bytes());
            if let Ok(text) = std::str::from_utf8(raw) {
                bytes.insert(percent(text).into_bytes());
                let quoted = serde_json::Value::from(text).to_string();
                bytes.insert(quoted.trim_matches('"').as_bytes().to_vec());
            }
        }
        Self {
            rules: rules.into_iter().map(compile).collect(),
            secrets: finder(bytes.iter().map(Vec::as_slice), false),
            key,
            is_unmasked,
            masked: Masked::default(),
        }
    }

    /// Whether payloads stay as they are.
    pub(super) fn is_unmasked(&self) -> bool {
        self.is_unmasked
    }

    /// Whether the value at a path of members is masked.
    pub(super) fn means(&self, source: &str, path: &[String]) -> bool {
        !self.is_unmasked && self.is_meant(source, path)
    }

    /// The same of a path as findings write it: `/data/object/email`.
    pub(super) fn means_pointer(&self, source: &str, pointer: &str) -> bool {
        let path: Vec<String> =
            pointer.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        self.means(source, &path)
    }

    fn is_meant(&self, source: &str, path: &[String]) -> bool {
        let path: Vec<String> = path.iter().map(|name| plain(name)).collect();
        let mut above: Option<&String> = None;
        for name in &path {
            let is_person = name == "name" && above.is_some_and(|a| PEOPLE.contains(&a.as_str()));
            if is_person
                || NAMES.contains(&name.as_str())
                || ENDS.iter().any(|end| name.ends_with(end))
            {
                return true;
            }
            // An element is within what its list is called.
            if name != "*" {
                above = Some(name);
            }
        }
        self.rules.get(source).is_some_and(|rules| rules.iter().any(|rule| rule.holds(&path)))
    }

    /// Gathers what a JSON text has that is to be masked.
    pub(super) fn gather(&self, source: &str, text: &[u8], words: &mut Words) {
        if self.is_unmasked || !json::looks_like(text) {
            return;
        }
        for token in json::tokens(text) {
            if token.is_name {
                continue;
            }
            let raw = &text[token.at.clone()];
            if !self.is_meant(source, &token.path) {
                if token.is_text {
                    let inner = json::decoded(raw);
                    self.gather_inner(source, &inner, words);
                }
                continue;
            }
            if token.is_text {
                words.add(&json::decoded(raw));
            } else if DIGITS_MIN <= raw.len() {
                words.add(&String::from_utf8_lossy(raw));
            }
        }
    }

    /// JSON that a text of JSON holds; once.
    fn gather_inner(&self, source: &str, inner: &str, words: &mut Words) {
        if !json::looks_like(inner.as_bytes()) {
            return;
        }
        for token in json::tokens(inner.as_bytes()) {
            if !token.is_name && self.is_meant(source, &token.path) {
                words.add(&json::decoded(&inner.as_bytes()[token.at.clone()]));
            }
        }
    }

    /// Gathers what the query of a target has that is to be masked.
    pub(super) fn gather_query(&self, source: &str, target: &str, words: &mut Words) {
        let Some((_, query)) = target.split_once('?').filter(|_| !self.is_unmasked) else { return };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if self.is_meant(source, &[name.into_owned()]) {
                words.add(&value);
            }
        }
    }

    /// Masks a JSON text, every other byte at its place.
    pub(super) fn json(&mut self, source: &str, text: &mut [u8], words: &Words) {
        if !self.is_unmasked {
            let all = json::tokens(text);
            for token in &all {
                self.token(source, text, token, words);
            }
        }
        self.secrets_in_place(text);
    }

    fn token(&mut self, source: &str, text: &mut [u8], token: &Token, words: &Words) {
        if !token.is_name && !token.at.is_empty() && self.is_meant(source, &token.path) {
            json::cover(text, token);
            self.masked.values += 1;
            return;
        }
        if !token.is_text {
            let digits = &text[token.at.clone()];
            if is_card(digits) || words.is_in(&String::from_utf8_lossy(digits)) {
                json::cover(text, token);
                self.masked.texts += 1;
            }
            return;
        }
        let raw = &text[token.at.clone()];
        let said = json::decoded(raw);
        let has_inner = json::looks_like(said.as_bytes()) && {
            let inner = json::tokens(said.as_bytes());
            inner.iter().any(|t| !t.is_name && self.is_meant(source, &t.path))
        };
        let spans = spans(raw, words);
        let is_escaped =
            raw.contains(&b'\\') && (words.is_in(&said) || !looks(said.as_bytes()).is_empty());
        if has_inner || is_escaped {
            json::cover(text, token);
            self.masked.texts += 1;
            return;
        }
        for span in spans {
            let from = token.at.start;
            text[from + span.start..from + span.end].fill(b'*');
            self.masked.texts += 1;
        }
    }

    /// Masks a text, which may be JSON, cut off or not.
    pub(super) fn text(&mut self, source: &str, text: &str, words: &Words) -> String {
        let mut bytes = text.as_bytes().to_vec();
        if !self.is_unmasked {
            if json::looks_like(&bytes) {
                let all = json::tokens(&bytes);
                for token in &all {
                    self.token(source, &mut bytes, token, words);
                }
            }
            let spans = spans(&bytes, words);
            self.masked.texts += spans.len() as u64;
            replace(&mut bytes, &spans);
        }
        self.secrets(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Masks a text that is nobody's JSON: by its look and by these words.
    pub(super) fn prose(&mut self, text: &str, words: &Words) -> String {
        let mut bytes = text.as_bytes().to_vec();
        if !self.is_unmasked {
            let spans = spans(&bytes, words);
            self.masked.texts += spans.len() as u64;
            replace(&mut bytes, &spans);
        }
        self.secrets(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Masks what names something: the same value becomes the same pseudonym, so that what belongs
    /// together can still be seen.
    pub(super) fn name(&mut self, text: &str, words: &Words) -> String {
        let is_meant = !self.is_unmasked && !spans(text.as_bytes(), words).is_empty();
        let is_secret = self.secrets.as_ref().is_some_and(|secrets| secrets.is_match(text));
        if !is_meant && !is_secret {
            return text.to_owned();
        }
        self.pseudonym(text)
    }

    /// What stands for a text that is masked whole.
    pub(super) fn pseudonym(&mut self, text: &str) -> String {
        use hmac::{KeyInit as _, Mac as _};
        self.masked.texts += 1;
        let Ok(mut mac) = hmac::Hmac::<sha2::Sha256>::new_from_slice(&self.key) else {
            return MASK.to_owned();
        };
        mac.update(text.as_bytes());
        format!("masked-{}", hex::encode(&mac.finalize().into_bytes()[..6]))
    }

    /// Masks a body. One that is JSON keeps every other byte at its place; of any other nothing is
    /// said but its length.
    pub(super) fn body(&mut self, source: &str, body: &mut [u8], words: &Words) {
        if self.is_unmasked {
            self.secrets_in_place(body);
            return;
        }
        let is_json =
            json::looks_like(body) && serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
        if is_json {
            self.json(source, body, words);
        } else if !body.is_empty() {
            body.fill(b'*');
            self.masked.bodies += 1;
        }
    }

    /// Masks kept headers, as `[[name, value], …]`.
    pub(super) fn headers(&mut self, source: &str, text: &str, words: &Words) -> String {
        let Ok(headers) = serde_json::from_str::<Vec<(String, String)>>(text) else {
            return self.text(source, text, words);
        };
        let shown =
            if self.is_unmasked { headers.clone() } else { crate::view::shown_headers(&headers) };
        let mut kept = Vec::with_capacity(shown.len());
        for ((name, was), (_, is)) in headers.iter().zip(shown) {
            self.masked.headers += u64::from(*was != is);
            kept.push((name.clone(), self.text(source, &is, words)));
        }
        serde_json::to_string(&kept).unwrap_or_else(|_| "[]".to_owned())
    }

    fn secrets(&mut self, bytes: &mut Vec<u8>) {
        let Some(secrets) = &self.secrets else { return };
        let spans: Vec<_> = secrets.find_iter(&*bytes).map(|found| found.range()).collect();
        self.masked.secrets += spans.len() as u64;
        replace(bytes, &spans);
    }

    fn secrets_in_place(&mut self, bytes: &mut [u8]) {
        let Some(secrets) = &self.secrets else { return };
        let spans: Vec<_> = secrets.find_iter(&*bytes).map(|found| found.range()).collect();
        self.masked.secrets += spans.len() as u64;
        for span in spans {
            bytes[span].fill(b'*');
        }
    }
}

type Span = std::ops::Range<usize>;

/// Where a text has what is masked, in order and apart.
fn spans(text: &[u8], words: &Words) -> Vec<Span> {
    let mut all = looks(text);
    if let Some(finder) = &words.finder {
        all.extend(finder.find_iter(text).map(|found| found.range()));
    }
    all.sort_by_key(|span| (span.start, span.end));
    let mut apart: Vec<Span> = Vec::with_capacity(all.len());
    for span in all {
        match apart.last_mut() {
            Some(last) if span.start < last.end => last.end = last.end.max(span.end),
            _ => apart.push(span),
        }
    }
    apart
}

/// What looks as if it should not leave.
fn looks(text: &[u8]) -> Vec<Span> {
    let cards = DIGITS.find_iter(text).filter(|found| is_card(found.as_bytes()));
    LOOKS.find_iter(text).chain(cards).map(|found| found.range()).collect()
}

/// Whether these are 13 to 19 digits that check as a card's number does.
fn is_card(text: &[u8]) -> bool {
    let digits: Vec<u32> =
        text.iter().filter(|b| b.is_ascii_digit()).map(|b| u32::from(b - b'0')).collect();
    let is_plain = text.iter().all(|b| b.is_ascii_digit() || matches!(b, b' ' | b'-'));
    // Cards begin with 2 to 6; moments in milliseconds and microseconds with 1.
    if !is_plain || !(13..=19).contains(&digits.len()) || !matches!(digits[0], 2..=6) {
        return false;
    }
    let doubled = |(place, digit): (usize, &u32)| match (place % 2, digit * 2) {
        (1, twice) if 9 < twice => twice - 9,
        (1, twice) => twice,
        _ => *digit,
    };
    digits.iter().rev().enumerate().map(doubled).sum::<u32>() % 10 == 0
}

fn replace(bytes: &mut Vec<u8>, spans: &[Span]) {
    for span in spans.iter().rev() {
        bytes.splice(span.clone(), MASK.bytes());
    }
}

/// A name without what spellings differ in.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(rules: &[&str], secrets: &[&str]) -> Redactor {
        let rules = rules.iter().map(ToString::to_string).collect();
        let secrets: Vec<Secret> = secrets.iter().map(|s| Secret::new(*s)).collect();
        Redactor::new([("shop".to_owned(), rules)], &secrets, [7; 32], false)
    }

    fn masked(redactor: &mut Redactor, text: &str) -> String {
        let mut words = Words::default();
        redactor.gather("shop", text.as_bytes(), &mut words);
        words.ready();
        let mut bytes = text.as_bytes().to_vec();
        redactor.json("shop", &mut bytes, &words);
        assert_eq!(bytes.len(), text.len(), "offsets stay");
        serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn members_are_masked_by_their_names_and_what_they_said_everywhere() {
        let mut redactor = redactor(&["plan_code", "data.*.note"], &["whsec_canary"]);
        for (text, wanted) in [
            (r#"{"receipt_email":"ana@x.de"}"#, r#"{"receipt_email":"********"}"#),
            (r#"{"apiKey":"k1","a":1}"#, r#"{"apiKey":"**","a":1}"#),
            (r#"{"customer":{"name":"Ana Lind"}}"#, r#"{"customer":{"name":"********"}}"#),
            (r#"{"repository":{"name":"core"}}"#, r#"{"repository":{"name":"core"}}"#),
            (r#"{"address":{"city":"Bonn","n":12}}"#, r#"{"address":{"city":"****","n":90}}"#),
            (r#"{"planCode":"basic"}"#, r#"{"planCode":"*****"}"#),
            (r#"{"data":{"x":{"note":"n"}}}"#, r#"{"data":{"x":{"note":"*"}}}"#),
            (r#"{"note":"n"}"#, r#"{"note":"n"}"#),
            (r#"{"text":"to bob@x.org, now"}"#, r#"{"text":"to *********, now"}"#),
            (
                r#"{"phone":"555 0100","t":"call 555 0100"}"#,
                r#"{"phone":"********","t":"call ********"}"#,
            ),
            (r#"{"t":"{\"email\":\"a@b\"}"}"#, r#"{"t":"*******************"}"#),
            (r#"{"card":"4242 4242 4242 4242"}"#, r#"{"card":"*******************"}"#),
            (r#"{"n":4242424242424242}"#, r#"{"n":9000000000000000}"#),
            (r#"{"created":1763906700000}"#, r#"{"created":1763906700000}"#),
            (r#"{"x":"is whsec_canary"}"#, r#"{"x":"is ************"}"#),
            (r#"{"first_name":"An\u0061"}"#, r#"{"first_name":"********"}"#),
            (r#"{"email":null,"phone":true}"#, r#"{"email":null,"phone":true}"#),
        ] {
            assert_eq!(masked(&mut redactor, text), wanted);
        }
        assert!(redactor.masked.values > 5 && redactor.masked.texts > 3);
    }

    #[test]
    fn what_was_masked_is_found_in_other_texts_however_it_is_written() {
        let mut redactor = redactor(&["nick"], &[]);
        let mut words = Words::default();
        redactor.gather("shop", br#"{"nick":"Zo\u00eb & co"}"#, &mut words);
        words.ready();
        for (text, wanted) in [
            ("no such contact zoë & co (404)", "no such contact *** (404)"),
            ("/in/shop?who=Zo%C3%AB%20%26%20co", "/in/shop?who=***"),
            (r#"{"error":{"email":"x@y.z"#, r#"{"error":{"email":"*****"#),
            ("plain", "plain"),
        ] {
            assert_eq!(redactor.text("shop", text, &words), wanted);
        }
        let name = redactor.name("Zoë & co", &words);
        assert!(name.starts_with("masked-") && name == redactor.name("Zoë & co", &words));
        assert_eq!(redactor.name("ch_123", &words), "ch_123");
    }

    #[test]
    fn a_body_that_is_no_json_is_withheld() {
        let mut redactor = redactor(&[], &[]);
        for text in ["a=1&email=x", "<x/>", "{broken", "\"text\""] {
            let mut body = text.as_bytes().to_vec();
            redactor.body("shop", &mut body, &Words::default());
            assert!(body.iter().all(|b| *b == b'*') && body.len() == text.len());
        }
        let headers = r#"[["x-signature","t=1,v1=abcdef"],["x-id","7"]]"#;
        let shown = redactor.headers("shop", headers, &Words::default());
        assert_eq!(shown, r#"[["x-signature","t=1,v1•••"],["x-id","7"]]"#);
    }

    #[test]
    fn an_unmasked_bundle_still_holds_no_secret() {
        let secrets = [Secret::new("whsec_canary")];
        let mut redactor = Redactor::new([], &secrets, [0; 32], true);
        let mut body = br#"{"email":"a@b.c","x":"whsec_canary"}"#.to_vec();
        redactor.body("shop", &mut body, &Words::default());
        assert_eq!(body, br#"{"email":"a@b.c","x":"************"}"#);
        let said = redactor.text("shop", "d2hzZWNfY2FuYXJ5 a@b.c", &Words::default());
        assert_eq!(said, "*** a@b.c");
    }
}
