//! What may have happened to the headers that prove a request: renamed, quoted, cut, doubled.

use http::{HeaderName, HeaderValue};

use super::bench::{is_mac, message, right_signature};
use crate::api::codes::Blame;
use crate::provider::body;
use crate::provider::definition::{Encoding, Scheme};
use crate::provider::extract::Scalar;
use crate::provider::key::{self, Key};
use crate::provider::source::Source;
use crate::provider::split;
use crate::provider::way::{SignaturePlace, Way};
use crate::request::Request;

/// Shorter pieces of a signature prove nothing, and are not compared with the right one.
const PIECE_CHARS_MIN: usize = 16;
/// A signature with more wrong characters than this is another one.
const WRONG_CHARS_MAX: usize = 2;

/// A request whose headers are as they may have been.
pub(super) struct Repair {
    pub(super) blame: Blame,
    /// What was done to them.
    pub(super) altered: String,
    pub(super) request: Request,
}

/// Everything that can be taken back in the headers of one way.
pub(super) fn repairs(way: &Way, request: &Request) -> Vec<Repair> {
    let mut all: Vec<Repair> = renamed(way, request).into_iter().collect();
    let SignaturePlace::Headers(names) = &way.place else { return all };
    for name in names.iter().filter(|name| request.headers.contains_key(*name)) {
        all.extend(values(way, request, name));
    }
    all
}

/// The headers that this way wants and that came under longer names, under their own.
pub(super) fn renamed(way: &Way, request: &Request) -> Option<Repair> {
    let mut repaired = request.clone();
    let mut told = Vec::new();
    for wanted in way.headers() {
        if request.headers.contains_key(wanted) {
            continue;
        }
        let like =
            request.headers.iter().find(|(name, _)| is_renamed(name.as_str(), wanted.as_str()));
        if let Some((name, value)) = like {
            repaired.headers.insert(wanted, value.clone());
            told.push(format!("`{wanted}` came as `{name}`"));
        }
    }
    (!told.is_empty()).then(|| Repair {
        blame: Blame::HeaderRenamed,
        altered: told.join(", "),
        request: repaired,
    })
}

/// Whether `name` is what a proxy makes of `wanted`: the same letters and digits, with others around.
pub(in crate::provider) fn is_renamed(name: &str, wanted: &str) -> bool {
    let letters = |text: &str| -> String {
        text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
    };
    let wanted = letters(wanted.strip_prefix("x-").unwrap_or(wanted));
    8 <= wanted.len() && letters(name).contains(&wanted)
}

/// A name or a transformation, and what it gives.
type Change = (&'static str, fn(&str) -> Option<String>);

const CHANGES: &[Change] = &[
    ("it was put into quotes", |v| {
        let inner = v.trim().strip_prefix('"')?.strip_suffix('"')?;
        Some(inner.to_owned())
    }),
    ("white space was put into it", |v| Some(v.split_whitespace().collect())),
    ("`+` became a space", |v| Some(v.replace(' ', "+"))),
    ("it was percent-encoded", |v| {
        let decoded = percent_encoding::percent_decode_str(v).decode_utf8().ok()?;
        Some(decoded.into_owned())
    }),
    ("the `=` behind it was cut off", |v| Some(format!("{v}="))),
    ("the `==` behind it was cut off", |v| Some(format!("{v}=="))),
    ("base 64 was written with the URL alphabet", |v| Some(v.replace('-', "+").replace('_', "/"))),
    ("base 64 was written with the plain alphabet", |v| {
        Some(v.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned())
    }),
    ("it was doubled into one value", |v| Some(v.split_once(',')?.0.trim().to_owned())),
    ("its letters were made capitals", |v| Some(v.to_ascii_lowercase())),
    ("the word before it was put there", |v| Some(v.split_once(' ')?.1.to_owned())),
];

fn values(way: &Way, request: &Request, name: &HeaderName) -> Vec<Repair> {
    let all: Vec<&str> =
        request.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    let mut texts: Vec<(String, String)> = Vec::new();
    if 1 < all.len() {
        let told = |_: &&str| format!("it came {} times", all.len());
        texts.extend(all.iter().map(|value| (told(value), (*value).to_owned())));
    }
    if let [value] = all.as_slice() {
        for (what, change) in CHANGES {
            texts.extend(change(value).map(|text| ((*what).to_owned(), text)));
        }
        for prefix in way.shape.prefixes.iter().filter(|prefix| !value.contains(prefix.as_str())) {
            texts.push((
                format!("the `{prefix}` before it was cut off"),
                format!("{prefix}{value}"),
            ));
        }
    }
    let repair = |(what, text): (String, String)| {
        let value = HeaderValue::from_str(&text).ok()?;
        let mut request = request.clone();
        request.headers.insert(name, value);
        let altered = format!("`{name}`: {what}");
        Some(Repair { blame: Blame::SignatureAltered, altered, request })
    };
    texts.into_iter().filter(|(_, text)| all != [text.as_str()]).filter_map(repair).collect()
}

/// How a signature differs from the right one, if it is a piece of it or all but the same.
///
/// An answer helps nobody to guess one: what is shorter than [`PIECE_CHARS_MIN`] or wrong in more than
/// [`WRONG_CHARS_MAX`] places is told as any wrong one.
pub(super) fn near(way: &Way, source: &Source, key: &Key, request: &Request) -> Option<String> {
    if !is_mac(way) {
        return None;
    }
    match &way.place {
        SignaturePlace::Headers(names) => names.iter().find_map(|name| {
            let value = request.header(name.as_str())?;
            tokens(value).into_iter().find_map(|token| {
                let mut whole = request.clone();
                let (before, after) = value.split_once(token)?;
                let text = format!("{before}{}{}", blank(way)?, after.trim_start_matches('='));
                whole.headers.insert(name, HeaderValue::from_str(&text).ok()?);
                difference(way, source, key, &whole, None, token)
                    .map(|differs| format!("`{name}`: {differs}"))
            })
        }),
        SignaturePlace::Slot(slot) => {
            let opened = body::open(&source.rules.takes, &request.body).ok()?;
            let elements = if way.is_each {
                split::elements(&source.rules, opened.text()).ok()?
            } else {
                Vec::new()
            };
            let texts = elements.iter().map(|element| (element.text, Some(element.text)));
            let whole = (!way.is_each).then(|| (opened.text(), None));
            texts.chain(whole).find_map(|(text, element)| {
                let found = way.reads.read(text).ok()?;
                let Scalar::Text(token) = found.scalar(*slot) else { return None };
                difference(way, source, key, request, element, &token)
            })
        }
        SignaturePlace::Query(_) | SignaturePlace::Nowhere => None,
    }
}

fn difference(
    way: &Way,
    source: &Source,
    key: &Key,
    request: &Request,
    element: Option<&str>,
    token: &str,
) -> Option<String> {
    let message = message(way, source, key, request, element)?;
    let parts: Vec<&[u8]> = message.iter().map(Vec::as_slice).collect();
    let right = key::encode(way.encoding, &right_signature(key, &parts)?);
    told_apart(token, &right)
}

/// What is wrong with `token`, if it is nearly `right`.
fn told_apart(token: &str, right: &str) -> Option<String> {
    let (bare, right_bare) = (token.trim_end_matches('='), right.trim_end_matches('='));
    if bare.len() < PIECE_CHARS_MIN || bare == right_bare {
        return None;
    }
    let whole = right_bare.len();
    if right_bare.starts_with(bare) {
        return Some(format!("the signature is cut: {} of {whole} characters came", bare.len()));
    }
    if right_bare.ends_with(bare) {
        return Some(format!(
            "the signature's first {} characters are cut off",
            whole - bare.len()
        ));
    }
    if bare.starts_with(right_bare) {
        return Some(format!("{} characters stand behind the signature", bare.len() - whole));
    }
    let wrong = bare.chars().zip(right_bare.chars()).filter(|(a, b)| a != b).count();
    (bare.len() == whole && wrong <= WRONG_CHARS_MAX)
        .then(|| format!("{wrong} of the signature's {whole} characters is not as it was"))
}

/// A signature of the right length that no key makes.
fn blank(way: &Way) -> Option<String> {
    let bytes = match way.scheme {
        Scheme::HmacSha1 => 20,
        Scheme::HmacSha256 | Scheme::Sha256 => 32,
        Scheme::HmacSha384 => 48,
        Scheme::HmacSha512 => 64,
        Scheme::Ed25519
        | Scheme::EcdsaP256
        | Scheme::Rsa
        | Scheme::Jwt
        | Scheme::HttpSignature
        | Scheme::Token
        | Scheme::Bearer
        | Scheme::Basic
        | Scheme::None => return None,
    };
    Some(key::encode(way.encoding, &vec![0; bytes]))
}

/// What in a header's value may be a signature.
fn tokens(value: &str) -> Vec<&str> {
    value
        .split([',', ';', ' ', '=', '"', '\t'])
        .filter(|token| PIECE_CHARS_MIN <= token.len())
        .filter(|token| token.bytes().any(|b| !b.is_ascii_digit()))
        .collect()
}

/// What a person can see in a signature that cannot be read.
pub(super) fn shape_of(way: &Way, request: &Request) -> Option<String> {
    let SignaturePlace::Headers(names) = &way.place else { return None };
    let name = names.iter().find(|name| request.headers.contains_key(*name))?;
    let count = request.headers.get_all(name).iter().count();
    if 1 < count {
        return Some(format!("`{name}` is there {count} times"));
    }
    let value = request.header(name.as_str())?;
    let wanted = blank(way)?.len();
    let how = match way.encoding {
        Encoding::Hex => "hexadecimal digits",
        Encoding::Base64 => "characters of base 64",
        Encoding::Base64url => "characters of base 64 for URLs",
    };
    let longest = tokens(value).into_iter().map(str::len).max().unwrap_or(0);
    (longest != wanted && longest != wanted.saturating_sub(1) && longest + 2 != wanted)
        .then(|| format!("`{name}` has {longest} {how} where a signature has {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_name_for_a_header_is_known() {
        for (name, wanted, is) in [
            ("x-original-stripe-signature", "stripe-signature", true),
            ("stripe_signature", "stripe-signature", true),
            ("http-x-hub-signature-256", "x-hub-signature-256", true),
            ("x-forwarded-signature", "x-signature", true),
            ("x-forwarded-for", "x-signature", false),
            ("date", "date", false),
        ] {
            assert_eq!(is_renamed(name, wanted), is, "{name}");
        }
    }

    #[test]
    fn only_what_is_nearly_right_is_told_apart() {
        let right = "0123456789abcdef0123456789abcdef";
        for (token, told) in [
            ("0123456789abcdef0123", Some("the signature is cut: 20 of 32 characters came")),
            ("89abcdef0123456789abcdef", Some("the signature's first 8 characters are cut off")),
            (
                "0123456789abcdef0123456789abcdff",
                Some("1 of the signature's 32 characters is not as it was"),
            ),
            ("0123456789abcdef0123456789abcdefff", Some("2 characters stand behind the signature")),
            // Too little to say anything, or too much wrong.
            ("0123456789abcde", None),
            ("0123456789abcdef0123456789abc000", None),
            (right, None),
        ] {
            assert_eq!(told_apart(token, right).as_deref(), told, "{token}");
        }
    }

    #[test]
    fn a_signature_stands_between_marks() {
        let value = "t=1767607203,v1=0123456789abcdef0123456789abcdef, v0=short";
        assert_eq!(tokens(value), ["0123456789abcdef0123456789abcdef"]);
    }
}
