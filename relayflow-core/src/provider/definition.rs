//! A provider file as written: closed sets as enums, nothing unknown, every mistake with its line.
//! What it means, and whether that holds together, is decided in `rules.rs`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use super::written::{OneOrMany, SpannedOrDefault, Texts};

pub use super::listing::Reconcile;
pub use super::proof::{Algorithm, AlgorithmChoice, AlgorithmNames, Chain, Claims, KeysAt, Visit};

/// A provider file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The vendor's name as people write it.
    pub title: String,
    /// Counts up whenever this file gives another event for the same request.
    #[serde(default = "one")]
    pub version: u32,
    pub category: String,
    /// What this file was written from, and the day it was last held against it.
    pub source: String,
    pub checked: Spanned<String>,
    #[serde(default)]
    pub status: Status,
    /// The largest body that the vendor sends, where that is more than the general limit.
    pub body_bytes_max: Option<usize>,
    /// What a source of this provider may or must set: `{setting:name}` anywhere in this file.
    #[serde(default)]
    pub settings: BTreeMap<String, Setting>,
    #[serde(default)]
    pub body: Body,
    /// The ways to sign, the preferred one first.
    pub verify: OneOrMany<Verify>,
    #[serde(default)]
    pub split: Split,
    pub event: Event,
    #[serde(default)]
    pub handshake: Vec<Handshake>,
    #[serde(default)]
    pub reply: Reply,
    #[serde(default)]
    pub kind: BTreeMap<Spanned<String>, OneOrMany<KindRule>>,
    /// Where the vendor's own API lists what it sent.
    pub reconcile: Option<Reconcile>,
}

fn one() -> u32 {
    1
}

/// How sure the file is of the vendor's scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Read in the vendor's own words or code.
    #[default]
    Confirmed,
    /// Some of it from samples or from others.
    Partial,
    /// A draft.
    Unconfirmed,
}

impl Status {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Partial => "partial",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

/// A setting of a source.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    pub about: String,
    /// Without one, a source must set it.
    pub default: Option<String>,
    /// With which a setting that has no default is checked.
    pub example: Option<String>,
    /// Other words for a value.
    #[serde(default)]
    pub means: BTreeMap<String, String>,
}

/// What a body may be.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// JSON alone, unless said. What a body is shows in its first byte: a content type is not signed.
    #[serde(default)]
    pub formats: Vec<Format>,
    /// A form's field that holds the JSON, if the form has it.
    pub form_json: Option<String>,
    /// A form without that field is not taken for one.
    #[serde(default)]
    pub form_json_only: bool,
    /// A form's field that holds XML in base 64: its root stands beside the form's fields.
    pub form_xml: Option<String>,
}

/// The vocabulary of bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    Json,
    /// One JSON value a line.
    Ndjson,
    /// `application/x-www-form-urlencoded`: an object of its fields.
    Form,
    /// `multipart/form-data`: an object of its fields; a file is an object of what it is called.
    Multipart,
    /// An object of the root: `xml.rs` says how.
    Xml,
}

/// One way to sign.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    pub scheme: Spanned<Scheme>,
    /// Which value of a setting puts this way into the definition at all.
    pub only_if: Option<OnlyIf>,
    /// When this way is used; unless said, when its signature is there.
    pub when: Option<When>,
    /// The header with the signature or token; several where each may bear one.
    pub header: Option<Spanned<Texts>>,
    /// Where the signature is in the body.
    pub pointer: Option<Spanned<String>>,
    /// The URL parameter with the token.
    pub query: Option<Spanned<String>>,
    /// Every element of a batch is signed on its own; pointers are relative to it.
    #[serde(default)]
    pub each: bool,
    /// What stands between several signatures in one header.
    pub separator: Option<String>,
    /// What stands before a signature. Those with another prefix are ignored.
    pub prefix: Option<Texts>,
    pub parts: Option<Spanned<Parts>>,
    pub signed: Option<Spanned<String>>,
    #[serde(default)]
    pub encoding: Encoding,
    #[serde(default)]
    pub form: SignatureForm,
    #[serde(default)]
    pub key: KeyEncoding,
    /// The header that `{id}` stands for.
    pub id: Option<Spanned<String>>,
    pub timestamp: Option<Spanned<TimestampPlace>>,
    /// How far the timestamp may lie from ours: `5m`, or `off`.
    pub tolerance: Option<Spanned<String>>,
    /// The forms of the URL that may have been signed.
    #[serde(default)]
    pub url: Vec<UrlForm>,
    /// The forms of the body that may have been signed; unless said, as received.
    #[serde(default)]
    pub body: Vec<BodyForm>,
    /// A digest of the body that what is signed contains.
    pub digest: Option<Digest>,
    // Of `rsa`, `jwt` and `http-signature`.
    pub algorithm: Option<Spanned<AlgorithmChoice>>,
    /// Where the vendor shows its own key, for sources that pin none.
    pub keys: Option<Spanned<KeysAt>>,
    /// Pairs that must be equal, both within what is signed: a place in the request, and a text.
    /// An empty text is not asked for.
    #[serde(default)]
    pub check: BTreeMap<Spanned<String>, String>,
    /// What a token must claim.
    pub claims: Option<Claims>,
    /// What a message signature must cover at least.
    pub components: Option<Spanned<Texts>>,
}

/// A comparison of texts, one of which comes from a setting.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnlyIf {
    pub value: String,
    pub is: Texts,
}

impl Verify {
    /// Whether the source's settings leave this way in.
    pub(super) fn is_used(&self) -> bool {
        self.only_if.as_ref().is_none_or(|only| only.is.0.contains(&only.value))
    }
}

/// The vocabulary of schemes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    HmacSha1,
    HmacSha256,
    HmacSha384,
    HmacSha512,
    /// A plain hash of a text that contains the secret.
    Sha256,
    Ed25519,
    EcdsaP256,
    /// With a certificate's key.
    Rsa,
    /// A signed token (RFC 7519) in a header.
    Jwt,
    /// HTTP Message Signatures (RFC 9421).
    HttpSignature,
    /// The secret itself, in a header or URL parameter.
    Token,
    /// The same as `Authorization: Bearer …`.
    Bearer,
    /// `Authorization: Basic …`; the secret is `user:password`.
    Basic,
    /// Anyone may send.
    None,
}

impl Scheme {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HmacSha1 => "hmac-sha1",
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
            Self::Sha256 => "sha256",
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256 => "ecdsa-p256",
            Self::Rsa => "rsa",
            Self::Jwt => "jwt",
            Self::HttpSignature => "http-signature",
            Self::Token => "token",
            Self::Bearer => "bearer",
            Self::Basic => "basic",
            Self::None => "none",
        }
    }

    /// Whether the request carries the secret itself, and nothing of it is signed.
    #[must_use]
    pub fn is_shared(self) -> bool {
        matches!(self, Self::Token | Self::Bearer | Self::Basic)
    }
}

/// `key=value` parts of a header.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    pub timestamp: Option<String>,
    pub signature: Texts,
    #[serde(default = "comma")]
    pub separator: String,
    #[serde(default = "equals")]
    pub assign: String,
}

fn comma() -> String {
    ",".to_owned()
}

fn equals() -> String {
    "=".to_owned()
}

/// Where the timestamp is, if not in a part, and how it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimestampPlace {
    pub header: Option<String>,
    pub pointer: Option<String>,
    /// Which of the items between separators it is, from 0.
    pub item: Option<usize>,
    #[serde(default)]
    pub unit: Unit,
}

/// How a moment is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Since 1970; with a fraction in an event, digits alone in a signature.
    #[default]
    Seconds,
    Milliseconds,
    /// Whichever of the two gives a year before 5000.
    SecondsOrMilliseconds,
    /// RFC 3339 with 0 to 9 fraction digits; without a zone it is UTC.
    Rfc3339,
    /// As HTTP and mail write it: `Wed, 08 Mar 2023 06:12:22 GMT`.
    HttpDate,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    #[default]
    Hex,
    Base64,
    /// The URL-safe alphabet, without padding.
    Base64url,
}

/// How an ECDSA signature's two numbers are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureForm {
    #[default]
    Der,
    Raw,
}

/// How the bytes of an HMAC key follow from the secret's text. (Public keys show what they are.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyEncoding {
    /// The text itself.
    #[default]
    Text,
    Hex,
    Base64,
    /// Base 64 behind `whsec_`, which may be left out.
    Whsec,
    /// The same with `whsec_`; without it, the text itself.
    WhsecOrText,
    /// The text's SHA-1.
    Sha1,
    /// The text's SHA-256.
    Sha256,
}

/// A form of the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UrlForm {
    /// As it is configured, with the query as received.
    Received,
    /// The same with the scheme's port written out.
    WithPort,
    /// The same without any port.
    WithoutPort,
    /// The same with `%3A %2F %3F %40 %21 %24 %27 %28 %29 %2A %2C %3B` decoded.
    Decoded,
}

/// A form of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BodyForm {
    /// The bytes as they came.
    Received,
    /// The same JSON as some encoders write it: `\u30b9` for what is not ASCII, `\/` for `/`.
    Ascii,
}

/// A digest of the body, in a place that is signed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// The URL parameter with the SHA-256, in hexadecimal digits.
    pub query: String,
}

/// A condition on a request; all of it must hold.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    pub method: Option<String>,
    pub header: Option<String>,
    pub query: Option<String>,
    pub pointer: Option<String>,
    pub body: Option<Format>,
    /// What the header, parameter or pointer must be; unless said, it must be there.
    pub is: Option<Texts>,
}

/// How a request becomes events.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// Pointers with `*` for every element: `/*`, `/events/*`, `/entry/*/changes/*`.
    #[serde(default)]
    pub at: SpannedOrDefault<Texts>,
    /// One object where a list would be is a list of one: XML writes it so.
    #[serde(default)]
    pub single: bool,
    /// What a body is that has none of these arrays.
    #[serde(default)]
    pub otherwise: Otherwise,
    /// Elements that are no events: those that lack this pointer.
    pub only_with: Option<Spanned<String>>,
    /// A text that holds JSON: that is the event then, and `^` reaches what it stands in. A body
    /// that has no such text is the event itself.
    pub inside: Option<Spanned<String>>,
}

/// A body that has no array where a batch has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Otherwise {
    #[default]
    OneEvent,
    Unreadable,
}

/// Where the parts of an event are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The first that is there; `derived` (last) is the digest of the event's bytes.
    pub id: Spanned<Texts>,
    #[serde(rename = "type")]
    pub event_type: Spanned<Texts>,
    pub subject: Option<Spanned<Texts>>,
    #[serde(default)]
    pub at: OneOrMany<At>,
    /// Equal bytes are news each time: the vendor only says that something changed, and has no ids.
    #[serde(default)]
    pub accept_identical: bool,
}

/// Where the time of an event is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct At {
    pub pointer: Option<Spanned<Texts>>,
    pub header: Option<Spanned<String>>,
    #[serde(default)]
    pub unit: Unit,
}

/// Which types are of a kind, and where its attributes are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindRule {
    pub types: Spanned<Texts>,
    /// Only events of which this holds.
    pub when: Option<Spanned<KindWhen>>,
    #[serde(default)]
    pub attributes: BTreeMap<Spanned<String>, Spanned<AttributeSource>>,
}

/// A condition on an event: of one place, or of several conditions.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KindWhen {
    /// Of several places the first that is there counts.
    pub pointer: Option<Spanned<Texts>>,
    /// Unless said, it must be there.
    pub is: Option<Texts>,
    /// Each of these must hold.
    #[serde(default)]
    pub all: Vec<KindWhen>,
    /// One of these must hold.
    #[serde(default)]
    pub any: Vec<KindWhen>,
}

/// Where an attribute is: a place, several, or a table.
#[derive(Debug, Clone)]
pub struct AttributeSource(pub AttributeTable);

/// An attribute that is written differently in the payload.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributeTable {
    pub from: Texts,
    /// How a time is written.
    pub unit: Option<Unit>,
    /// An amount in units such as `12.50`, whose smallest unit follows from `currency`.
    #[serde(default)]
    pub is_major: bool,
    /// What to take off the beginning; without it there, the attribute is left out.
    pub strip: Option<String>,
    /// Other words for a value; one that is not among them stays.
    #[serde(default)]
    pub words: BTreeMap<String, String>,
}

/// A request that is answered without becoming an event.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handshake {
    pub when: Spanned<When>,
    /// Whether it is signed as any other; if so, it is answered only if that holds.
    #[serde(default = "yes")]
    pub signed: bool,
    /// Where the request has the secret that the vendor will sign with: it is kept for the
    /// operator to compare and to configure, and never put in force by itself.
    pub learns: Option<Spanned<String>>,
    /// Pairs that must be equal: a place in the request, and a setting's value.
    #[serde(default)]
    pub check: BTreeMap<Spanned<String>, String>,
    /// Unless said, 200.
    pub status: Option<Spanned<u16>>,
    pub content_type: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<Spanned<String>, Spanned<String>>,
    /// Text with `{place}`, and `{hmac:place}` for its keyed digest in the signature's encoding.
    pub text: Option<Spanned<String>>,
    /// A JSON object of such texts.
    pub json: Option<BTreeMap<String, Spanned<String>>>,
    /// What is visited before it is answered: how some vendors learn that somebody listens.
    pub visit: Option<Visit>,
}

fn yes() -> bool {
    true
}

/// What the vendor wants to hear; unless said, 200 and RelayFlow's own JSON.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    pub status: Option<Spanned<u16>>,
    pub content_type: Option<Spanned<String>>,
    /// `""` is an empty body.
    pub body: Option<String>,
    /// How long the vendor waits for an answer, where it says: `3s`.
    pub within: Option<Spanned<String>>,
}

impl<'de> Deserialize<'de> for AttributeSource {
    fn deserialize<D: Deserializer<'de>>(toml: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = AttributeSource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a place, a list of places, or a table with `from`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                let from = Texts::deserialize(StrDeserializer::new(text))?;
                Ok(AttributeSource(AttributeTable { from, ..AttributeTable::default() }))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                let from = Texts::deserialize(SeqAccessDeserializer::new(seq))?;
                Ok(AttributeSource(AttributeTable { from, ..AttributeTable::default() }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let table = AttributeTable::deserialize(MapAccessDeserializer::new(map))?;
                if table.from.0.is_empty() {
                    return Err(A::Error::custom("`from` says where the attribute is"));
                }
                Ok(AttributeSource(table))
            }
        }
        toml.deserialize_any(Reader)
    }
}

/// A mistake in a definition's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) span: std::ops::Range<usize>,
    pub(super) message: String,
}

/// Reads a definition whose settings are filled in.
pub(super) fn read(text: &str) -> Result<Definition, Flaw> {
    match super::explain::read_all(text) {
        (Some(read), flaws) if flaws.is_empty() => Ok(read),
        (_, flaws) => {
            let first = flaws.into_iter().next();
            Err(first.unwrap_or_else(|| Flaw { span: 0..0, message: "unreadable".to_owned() }))
        }
    }
}
