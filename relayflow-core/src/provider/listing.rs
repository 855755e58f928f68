//! How a vendor's own API lists what it sent: the definition's `[reconcile]`, as written and compiled,
//! and pages of such a list, read. Nothing here calls anybody.

use std::collections::{BTreeMap, HashSet};

use http::{HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use toml::Spanned;

use super::definition::Unit;
use super::extract::{Found, Pointer, Trie, is_too_deep};
use super::rules::{Flaws, Place, Reads};
use super::template::{self, Piece};
use super::value;
use super::written::Texts;
use crate::event::{EXTERNAL_ID_BYTES_MAX, TYPE_BYTES_MAX};
use crate::filter::parse_duration;

/// What is kept of how a delivery stands.
const DELIVERY_CHARS_MAX: usize = 120;
/// The longest value of a parameter, in bytes.
const PARAM_BYTES_MAX: usize = 256;
/// The longest cursor that is sent back, in bytes.
const CURSOR_BYTES_MAX: usize = 2048;

/// `[reconcile]`: where the vendor's API lists what it sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reconcile {
    /// What this section was written from.
    pub source: String,
    pub base_url: Spanned<String>,
    /// With `{name}` for what a source must say: `/{hook}/deliveries`.
    pub path: Spanned<String>,
    #[serde(default)]
    pub params: BTreeMap<String, Param>,
    /// Fixed texts, or `{since}` and `{until}`, written in the unit of `at`.
    #[serde(default)]
    pub query: BTreeMap<String, Spanned<String>>,
    /// How far back the list goes: `30d`.
    pub goes_back: Spanned<String>,
    #[serde(default)]
    pub auth: Auth,
    #[serde(default)]
    pub headers: BTreeMap<Spanned<String>, Spanned<String>>,
    /// A pointer to the list in an answer; `""` is the whole answer.
    pub items: Spanned<String>,
    /// The list begins with the latest, so that it can be left where it passes `since`.
    #[serde(default)]
    pub newest_first: bool,
    /// The event's id, as `[event]` reads it of what is sent.
    pub id: Spanned<Texts>,
    #[serde(rename = "type")]
    pub event_type: Spanned<Texts>,
    pub at: ListedAt,
    /// How the vendor says that its delivery stands.
    pub delivery: Option<Spanned<Texts>>,
    pub next: Spanned<Next>,
    /// Headers that say how many calls are left, and until when (in seconds since 1970).
    pub rate: Option<Rate>,
    /// How what was sent is fetched; without it, each item of the list is that itself.
    pub detail: Option<Detail>,
}

/// What a source must say of the path.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param {
    pub about: String,
    /// What it may be, with `*` for one part of a path: `repos/*/*/hooks/*`.
    pub forms: Vec<String>,
}

/// How a call shows who makes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    pub header: Spanned<String>,
    pub prefix: String,
}

impl Default for Auth {
    fn default() -> Self {
        let header = Spanned::new(0..0, "authorization".to_owned());
        Self { header, prefix: "Bearer ".to_owned() }
    }
}

/// When an event happened, or was sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedAt {
    pub pointer: Spanned<Texts>,
    #[serde(default)]
    pub unit: Unit,
}

/// How the next page is asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Next {
    pub by: By,
    /// The parameter, of `last-item` and `cursor`.
    pub query: Option<String>,
    /// Its value: a place in the last item, or a pointer into the answer.
    pub from: Option<String>,
    /// A pointer to what must be `true` for there to be another page.
    pub more: Option<String>,
}

/// The vocabulary of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// What stands behind the last item of this page.
    LastItem,
    /// What the answer's `Link` with `rel="next"` asks for: of it only the query is taken.
    Link,
    /// A cursor in the answer.
    Cursor,
}

/// Where the vendor says how many calls are left.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    pub remaining: Spanned<String>,
    pub reset: Spanned<String>,
}

/// How what was sent is fetched.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detail {
    /// With `{item}` beside the parameters.
    pub path: Spanned<String>,
    /// What `{item}` is: a place in an item of the list.
    pub item: Spanned<Texts>,
    /// Where in the answer the body is that was sent.
    pub body: Spanned<String>,
    /// Where the headers are that were sent with it, as an object.
    pub headers: Option<Spanned<String>>,
}

type Readings = Vec<Vec<Piece<Place>>>;

/// `[reconcile]`, compiled.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) base_url: String,
    path: Vec<Piece<String>>,
    params: BTreeMap<String, Param>,
    query: Vec<(String, Vec<Piece<String>>)>,
    /// How far back the list goes.
    pub(crate) goes_back: SignedDuration,
    pub(super) auth: (HeaderName, String),
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// What is read of an answer.
    page: Trie,
    items: usize,
    more: Option<usize>,
    /// What is read of an item.
    item: Trie,
    id: Readings,
    event_type: Readings,
    at: Readings,
    unit: Unit,
    delivery: Readings,
    pub(crate) newest_first: bool,
    next: NextBy,
    /// Headers: how many calls are left, and until when.
    pub(crate) rate: Option<(HeaderName, HeaderName)>,
    detail: Option<DetailRules>,
}

#[derive(Debug)]
enum NextBy {
    LastItem { query: String, from: Readings },
    Link,
    Cursor { query: String, slot: usize },
}

#[derive(Debug)]
struct DetailRules {
    path: Vec<Piece<String>>,
    item: Readings,
    reads: Trie,
    body: usize,
    headers: Option<usize>,
}

/// What the vendor says that it sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) external_id: String,
    pub(crate) event_type: String,
    pub(crate) at: Timestamp,
    pub(crate) delivery: Option<String>,
    /// What to fetch it by; none where `body` is it.
    pub(crate) fetch: Option<String>,
    pub(crate) body: Option<String>,
}

/// Where the list goes on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum NextPage {
    /// With this query in place of the first one's.
    Query(String),
    /// With this parameter beside those of the first.
    Parameter(String, String),
}

/// A page of the list.
#[derive(Debug)]
pub(crate) struct ListedPage {
    pub(crate) items: Vec<Listed>,
    pub(crate) next: Option<NextPage>,
}

/// What was sent: its headers and its body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Listing {
    /// Compiles and checks the section. `None` beside a flaw.
    pub(super) fn new(file: &Reconcile, flaws: &mut Flaws) -> Option<Self> {
        let before = flaws.0.len();
        let mut reads = Reads::default();
        let mut places = |texts: &Spanned<Texts>, flaws: &mut Flaws| {
            let readings = reads.readings(texts, flaws);
            let atoms = || readings.iter().flat_map(|reading| template::atoms(reading));
            if atoms().any(|place| !matches!(place, Place::Slot { up: 0, .. })) {
                flaws.add(texts.span(), "only places of the item can be read here: `/id`");
            }
            readings
        };
        let id = places(&file.id, flaws);
        let event_type = places(&file.event_type, flaws);
        let at = places(&file.at.pointer, flaws);
        let delivery = file.delivery.as_ref().map(|texts| places(texts, flaws)).unwrap_or_default();
        for (readings, texts, what) in [
            (&id, &file.id, "id"),
            (&event_type, &file.event_type, "type"),
            (&at, &file.at.pointer, "at"),
        ] {
            if readings.is_empty() {
                flaws.add(texts.span(), format!("`{what}` names no place"));
            }
        }
        let mut page = Trie::default();
        let pointer = |text: &str| Pointer::parse(text);
        let items =
            flaws.note(file.items.span(), pointer(file.items.get_ref()).map(|p| page.want(&p)));
        let span = file.next.span();
        let next = file.next.get_ref();
        let more = next
            .more
            .as_ref()
            .and_then(|text| flaws.note(span.clone(), pointer(text).map(|p| page.want(&p))));
        let wanted = |what: &str| format!("`by = \"{what}\"` wants `query` and `from`");
        let next = match (next.by, &next.query, &next.from) {
            (By::Link, None, None) => Some(NextBy::Link),
            (By::Link, ..) => {
                flaws.add(span, "`by = \"link\"` takes neither `query` nor `from`");
                None
            }
            (By::LastItem, Some(query), Some(from)) => {
                let texts = Spanned::new(span, Texts(vec![from.clone()]));
                Some(NextBy::LastItem { query: query.clone(), from: places(&texts, flaws) })
            }
            (By::Cursor, Some(query), Some(from)) => {
                let slot = flaws.note(span, pointer(from).map(|p| page.want(&p)));
                slot.map(|slot| NextBy::Cursor { query: query.clone(), slot })
            }
            (By::LastItem, ..) => {
                flaws.add(span, wanted("last-item"));
                None
            }
            (By::Cursor, ..) => {
                flaws.add(span, wanted("cursor"));
                None
            }
        };
        let detail = file.detail.as_ref().and_then(|detail| {
            let mut reads = Trie::default();
            let item = places(&detail.item, flaws);
            let path = path(&detail.path, &file.params, Some("item"), flaws);
            let body = flaws
                .note(detail.body.span(), pointer(detail.body.get_ref()).map(|p| reads.want(&p)))?;
            let headers = match &detail.headers {
                None => None,
                Some(at) => {
                    Some(flaws.note(at.span(), pointer(at.get_ref()).map(|p| reads.want(&p)))?)
                }
            };
            Some(DetailRules { path, item, reads, body, headers })
        });
        let path = path(&file.path, &file.params, None, flaws);
        let named: HashSet<&str> =
            names(&path).chain(detail.iter().flat_map(|d| names(&d.path))).collect();
        if let Some(unused) = file.params.keys().find(|name| !named.contains(name.as_str())) {
            flaws.add(file.path.span(), format!("no path names the parameter `{unused}`"));
        }
        let query = file.query.iter().filter_map(|(name, text)| {
            let pieces = flaws.note(
                text.span(),
                template::pieces(text.get_ref(), |n| match n {
                    "since" | "until" => Ok(n.to_owned()),
                    other => Err(format!("`{{{other}}}` is no moment: wanted since or until")),
                }),
            )?;
            Some((name.clone(), pieces))
        });
        let query: Vec<_> = query.collect();
        let goes_back = parse_duration(file.goes_back.get_ref()).map_err(|e| e.to_string());
        let goes_back = flaws.note(file.goes_back.span(), goes_back);
        flaws.note(file.base_url.span(), base_url(file.base_url.get_ref()));
        let name = |text: &Spanned<String>, flaws: &mut Flaws| {
            flaws.note(text.span(), template::header(text.get_ref()))
        };
        let auth = name(&file.auth.header, flaws);
        let rate = file
            .rate
            .as_ref()
            .and_then(|rate| Some((name(&rate.remaining, flaws)?, name(&rate.reset, flaws)?)));
        let headers = file.headers.iter().filter_map(|(at, text)| {
            let name = name(at, flaws)?;
            let value = text.get_ref().parse().map_err(|_| "this is no header's value".to_owned());
            Some((name, flaws.note(text.span(), value)?))
        });
        let headers: Vec<_> = headers.collect();
        if before < flaws.0.len() {
            return None;
        }
        Some(Self {
            base_url: file.base_url.get_ref().trim_end_matches('/').to_owned(),
            path,
            params: file.params.clone(),
            query,
            goes_back: goes_back?,
            auth: (auth?, file.auth.prefix.clone()),
            headers,
            page,
            items: items?,
            more,
            item: reads.0.into_iter().next().unwrap_or_default(),
            id,
            event_type,
            at,
            unit: file.at.unit,
            delivery,
            newest_first: file.newest_first,
            next: next?,
            rate,
            detail,
        })
    }

    /// What a source must say, by name, and what each is about.
    pub(crate) fn params(&self) -> impl Iterator<Item = (&str, &Param)> {
        self.params.iter().map(|(name, param)| (name.as_str(), param))
    }

    /// Whether a parameter may have this value.
    ///
    /// # Errors
    ///
    /// What was wanted, as a sentence.
    pub(crate) fn check_param(&self, name: &str, given: &str) -> Result<(), String> {
        let param = self.params.get(name).ok_or_else(|| match self.params.keys().next() {
            None => format!("there is no parameter `{name}`: this provider's list needs none"),
            Some(_) => {
                let known: Vec<_> = self.params.keys().map(String::as_str).collect();
                format!("there is no parameter `{name}`: wanted {}", known.join(", "))
            }
        })?;
        let parts: Vec<&str> = given.split('/').collect();
        let is_plain = |part: &&str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
            !part.is_empty() && *part != "." && *part != ".." && part.bytes().all(plain)
        };
        let fits = |form: &String| {
            let wanted: Vec<&str> = form.split('/').collect();
            wanted.len() == parts.len()
                && wanted.iter().zip(&parts).all(|(want, part)| *want == "*" || want == part)
        };
        let is_right = given.len() <= PARAM_BYTES_MAX
            && parts.iter().all(is_plain)
            && param.forms.iter().any(fits);
        if is_right {
            return Ok(());
        }
        Err(format!("`{given}` is not {}: wanted {}", param.about, param.forms.join(" or ")))
    }

    /// Path and query of a page of what was sent from `since` on, before `until`.
    pub(super) fn page_target(
        &self,
        given: &BTreeMap<String, String>,
        (since, until): (Timestamp, Timestamp),
        next: Option<&NextPage>,
    ) -> String {
        let path = fill(&self.path, &|name| given.get(name).cloned());
        if let Some(NextPage::Query(query)) = next {
            return format!("{path}?{query}");
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, pieces) in &self.query {
            let at = |n: &str| Some(written(if n == "since" { since } else { until }, self.unit));
            query.append_pair(name, &fill(pieces, &at));
        }
        if let Some(NextPage::Parameter(name, value)) = next {
            query.append_pair(name, value);
        }
        match query.finish() {
            query if query.is_empty() => path,
            query => format!("{path}?{query}"),
        }
    }

    /// The path of one item's detail; `None` where the list itself has what was sent.
    pub(super) fn detail_target(
        &self,
        given: &BTreeMap<String, String>,
        item: &str,
    ) -> Option<String> {
        let detail = self.detail.as_ref()?;
        let escaped: String = form_urlencoded::byte_serialize(item.as_bytes()).collect();
        Some(fill(&detail.path, &|name| match name {
            "item" => Some(escaped.clone()),
            name => given.get(name).cloned(),
        }))
    }

    /// Reads an answer of the list. `link` is its `Link` header.
    ///
    /// # Errors
    ///
    /// What about it is not as the definition has it, as a fragment.
    pub(crate) fn read_page(&self, text: &str, link: Option<&str>) -> Result<ListedPage, String> {
        if is_too_deep(text) {
            return Err("the answer nests too deep".to_owned());
        }
        let found = self.page.read(text).map_err(|e| format!("the answer is not JSON: {e}"))?;
        let list = found.raw(self.items).filter(|raw| raw.starts_with('['));
        let list = list.ok_or("the answer has no list where its provider's definition has one")?;
        let raw: Vec<&RawValue> = serde_json::from_str(list).map_err(|e| e.to_string())?;
        let mut items = Vec::with_capacity(raw.len());
        let mut last = None;
        for (number, raw) in raw.iter().enumerate() {
            let fail = |why: String| format!("item {} of the list {why}", number + 1);
            let found =
                self.item.read(raw.get()).map_err(|e| fail(format!("cannot be read: {e}")))?;
            items.push(self.listed(&found, raw.get()).map_err(fail)?);
            if let NextBy::LastItem { from, .. } = &self.next {
                last = first(from, &found);
            }
        }
        let goes_on = self.more.is_none_or(|slot| found.raw(slot) == Some("true"));
        let next = match &self.next {
            NextBy::Link => link.and_then(next_query).map(NextPage::Query),
            NextBy::LastItem { query, .. } => {
                last.map(|last| NextPage::Parameter(query.clone(), last))
            }
            NextBy::Cursor { query, slot } => found
                .scalar(*slot)
                .text()
                .filter(|cursor| !cursor.is_empty())
                .map(|cursor| NextPage::Parameter(query.clone(), cursor.into_owned())),
        };
        let next = next.filter(|_| goes_on);
        if let Some(NextPage::Query(cursor) | NextPage::Parameter(_, cursor)) = &next
            && CURSOR_BYTES_MAX < cursor.len()
        {
            return Err(format!("the answer's cursor has {} bytes", cursor.len()));
        }
        Ok(ListedPage { items, next })
    }

    fn listed(&self, found: &Found<'_>, raw: &str) -> Result<Listed, String> {
        let named = |readings: &Readings, what: &str, bytes_max: usize| {
            let text = first(readings, found).filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| format!("has no {what}"))?;
            if bytes_max < text.len() || text.chars().any(char::is_control) {
                return Err(format!("has a {what} that cannot be one"));
            }
            Ok(text)
        };
        let external_id = named(&self.id, "id", EXTERNAL_ID_BYTES_MAX)?;
        let event_type = named(&self.event_type, "type", TYPE_BYTES_MAX)?;
        let at = first(&self.at, found).and_then(|text| value::moment(&text, self.unit));
        let at = at.ok_or("has no time")?;
        let delivery = first(&self.delivery, found);
        let delivery = delivery.map(|text| text.chars().take(DELIVERY_CHARS_MAX).collect());
        let fetch = match &self.detail {
            None => None,
            Some(detail) => Some(named(&detail.item, "id to fetch it by", PARAM_BYTES_MAX)?),
        };
        let body = fetch.is_none().then(|| raw.to_owned());
        Ok(Listed { external_id, event_type, at, delivery, fetch, body })
    }

    /// Reads the answer that holds what was sent.
    ///
    /// # Errors
    ///
    /// What about it is not as the definition has it, as a fragment.
    pub(crate) fn read_detail(&self, text: &str) -> Result<Sent, String> {
        let detail = self.detail.as_ref().ok_or("this provider's list has what was sent")?;
        if is_too_deep(text) {
            return Err("the answer nests too deep".to_owned());
        }
        let found = detail.reads.read(text).map_err(|e| format!("the answer is not JSON: {e}"))?;
        let body = found.raw(detail.body).filter(|raw| *raw != "null");
        let body = body.ok_or("the answer has no body where its provider's definition has one")?;
        // Some vendors give what was sent as a text.
        let body = if body.starts_with('"') {
            found.scalar(detail.body).text().unwrap_or_default().into_owned()
        } else {
            compact(body)
        };
        let headers = match detail.headers.and_then(|slot| found.raw(slot)) {
            None => Vec::new(),
            Some(raw) => {
                let object: BTreeMap<String, serde_json::Value> = serde_json::from_str(raw)
                    .map_err(|_| "the answer's headers are no object".to_owned())?;
                let text = |value: serde_json::Value| match value {
                    serde_json::Value::String(text) => Some(text),
                    serde_json::Value::Number(number) => Some(number.to_string()),
                    serde_json::Value::Null
                    | serde_json::Value::Bool(_)
                    | serde_json::Value::Array(_)
                    | serde_json::Value::Object(_) => None,
                };
                object.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect()
            }
        };
        Ok(Sent { headers, body })
    }
}

/// A JSON text without the spaces between its parts, as vendors send it; every part keeps its text.
fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut in_text, mut is_escaped) = (false, false);
    for c in json.chars() {
        if in_text {
            out.push(c);
            in_text = c != '"' || is_escaped;
            is_escaped = c == '\\' && !is_escaped;
        } else if !c.is_ascii_whitespace() {
            in_text = c == '"';
            out.push(c);
        }
    }
    out
}

/// What the first reading gives that gives something.
fn first(readings: &Readings, found: &Found<'_>) -> Option<String> {
    readings.iter().find_map(|reading| composed(reading, found))
}

fn composed(pieces: &[Piece<Place>], found: &Found<'_>) -> Option<String> {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Atom(Place::Slot { slot, .. }) => out.push_str(&found.scalar(*slot).text()?),
            Piece::Present(Place::Slot { slot, .. }) => {
                found.is_there(*slot).then_some(())?;
            }
            Piece::Atom(_) | Piece::Present(_) => return None,
            Piece::Optional(inner) => out.push_str(&composed(inner, found).unwrap_or_default()),
        }
    }
    Some(out)
}

/// A path with its parameters, each of which the file declares.
fn path(
    text: &Spanned<String>,
    params: &BTreeMap<String, Param>,
    also: Option<&str>,
    flaws: &mut Flaws,
) -> Vec<Piece<String>> {
    let pieces = template::pieces(text.get_ref(), |name| {
        if params.contains_key(name) || also == Some(name) {
            return Ok(name.to_owned());
        }
        Err(format!("the parameter `{name}` is not declared in `params`"))
    });
    let pieces = flaws.note(text.span(), pieces).unwrap_or_default();
    if !text.get_ref().starts_with('/') || text.get_ref().contains(['?', '#']) {
        flaws.add(text.span(), "a path begins with `/` and has no query");
    }
    if pieces.iter().any(|piece| matches!(piece, Piece::Optional(_) | Piece::Present(_))) {
        flaws.add(text.span(), "nothing in a path can be left out");
    }
    pieces
}

fn names(pieces: &[Piece<String>]) -> impl Iterator<Item = &str> {
    template::atoms(pieces).into_iter().map(String::as_str)
}

fn fill(pieces: &[Piece<String>], value: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Atom(name) => out.push_str(&value(name).unwrap_or_default()),
            Piece::Present(_) | Piece::Optional(_) => {}
        }
    }
    out
}

/// A moment as the vendor writes it.
fn written(at: Timestamp, unit: Unit) -> String {
    match unit {
        Unit::Seconds | Unit::SecondsOrMilliseconds => at.as_second().to_string(),
        Unit::Milliseconds => at.as_millisecond().to_string(),
        Unit::Rfc3339 => at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Unit::HttpDate => at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
    }
}

/// The query that a `Link` header with `rel="next"` asks for. Where else it points is not followed: a
/// token goes only to where the config sends it.
fn next_query(header: &str) -> Option<String> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"') == "next"
        });
        let (_, query) = target.trim().strip_prefix('<')?.split_once('?')?;
        let query = query.split('#').next().unwrap_or(query);
        let is_plain = |b: u8| b.is_ascii_graphic() && b != b'<' && b != b'"';
        (is_next && query.bytes().all(is_plain)).then(|| query.to_owned())
    })
}

/// Whether a token may be sent there: over TLS, or to this machine.
///
/// # Errors
///
/// What was wanted, as a fragment.
pub(crate) fn base_url(text: &str) -> Result<(), String> {
    let wanted =
        || format!("`{text}` is no address of an API: wanted such as https://api.example.com");
    let uri: http::Uri = text.parse().map_err(|_| wanted())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(wanted());
    };
    if text.contains(['?', '#', '@']) {
        return Err(wanted());
    }
    let host = authority.host().trim_matches(['[', ']']);
    let is_here = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match scheme {
        "https" => Ok(()),
        "http" if is_here => Ok(()),
        "http" => Err(format!("`{text}` would send the token in the clear: wanted https://")),
        _ => Err(wanted()),
    }
}

#[cfg(test)]
mod tests;
