//! What a definition means: compiled for speed, and checked so that nothing about it can fail later.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use http::{HeaderName, Method};
use jiff::SignedDuration;
use toml::Spanned;

use super::definition::{Definition, Flaw, Format, Otherwise, Reply, Scheme, Unit, When};
use super::extract::{Pointer, Trie};
use super::kind_rules::{KindOf, kinds_of};
use super::listing::Listing;
use super::shake::Shake;
use super::template::{self, Atom, Piece, Reading};
use super::way::Way;
use super::written::Texts;

/// A definition, compiled.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) ways: Vec<Way>,
    pub(super) takes: Takes,
    pub(super) paths: Vec<Path>,
    pub(super) otherwise: Otherwise,
    /// The slot that an element must have to be an event.
    pub(super) only_with: Option<usize>,
    /// What is read: of the event itself, of what holds it, of what holds that …
    pub(super) reads: Vec<Trie>,
    pub(super) id: Vec<Vec<Piece<Place>>>,
    /// Whether an event without an id gets one from its bytes.
    pub(super) id_may_be_derived: bool,
    /// Equal bytes are separate events, whatever the source says.
    pub(super) accepts_identical: bool,
    pub(super) event_type: Vec<Vec<Piece<Place>>>,
    pub(super) subject: Vec<Vec<Piece<Place>>>,
    pub(super) at: Vec<(Vec<Piece<Place>>, Unit)>,
    pub(super) kinds: HashMap<String, Vec<Arc<KindOf>>>,
    pub(super) handshakes: Vec<Shake>,
    pub(super) reply: Reply,
    /// How long the vendor waits for an answer.
    pub(super) reply_within: Option<SignedDuration>,
    /// The text that holds the event as JSON.
    pub(super) inside: Option<Inside>,
    /// Where the vendor's API lists what it sent.
    pub(super) listing: Option<Arc<Listing>>,
}

/// Where the text is that holds an event.
#[derive(Debug)]
pub(super) struct Inside {
    /// What is read of the object that it stands in, the text among it.
    pub(super) reads: Trie,
    pub(super) slot: usize,
}

/// What bodies are taken.
#[derive(Debug)]
pub(super) struct Takes {
    pub(super) json: bool,
    pub(super) ndjson: bool,
    pub(super) form: bool,
    pub(super) multipart: bool,
    pub(super) form_json: Option<String>,
    pub(super) form_json_only: bool,
    pub(super) form_xml: Option<String>,
    pub(super) xml: bool,
}

/// Where a value is, once compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Slot {
        up: usize,
        slot: usize,
    },
    Header(HeaderName),
    Query(String),
    /// The digest of the event's bytes.
    Derived,
    /// The event's number in its batch.
    Number,
}

/// The way to the elements of a batch: through one array for each `*`.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) levels: Vec<Level>,
    /// What of an element is the event, if not all of it.
    pub(super) tail: Option<(Trie, usize)>,
    /// An object where the array would be is the only element.
    pub(super) single: bool,
}

/// What is read of one level: what events want of it, and the array.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) reads: Trie,
    pub(super) array: usize,
}

/// A condition on a request.
#[derive(Debug, Clone, Default)]
pub(super) struct Condition {
    pub(super) method: Option<Method>,
    pub(super) header: Option<HeaderName>,
    pub(super) query: Option<String>,
    pub(super) pointer: Option<Pointer>,
    pub(super) body: Option<Format>,
    pub(super) is: Vec<String>,
}

/// Collects every mistake of a file, so that a person sees them at once.
#[derive(Default)]
pub(super) struct Flaws(pub(super) Vec<Flaw>);

impl Flaws {
    pub(super) fn add(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.0.push(Flaw { span, message: message.into() });
    }

    /// The value, or its mistake on record.
    pub(super) fn note<T>(&mut self, span: Range<usize>, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.add(span, message)).ok()
    }
}

/// Gathers what is read of an event and of what holds it.
#[derive(Default)]
pub(super) struct Reads(pub(super) Vec<Trie>);

impl Reads {
    pub(super) fn place(&mut self, atom: Atom) -> Place {
        match atom {
            Atom::Header(name) => Place::Header(name),
            Atom::Query(name) => Place::Query(name),
            Atom::Derived => Place::Derived,
            Atom::Number => Place::Number,
            Atom::Pointer { up, pointer } => {
                while self.0.len() <= up {
                    self.0.push(Trie::default());
                }
                Place::Slot { up, slot: self.0[up].want(&pointer) }
            }
        }
    }

    pub(super) fn slot(&mut self, pointer: &Pointer) -> usize {
        if self.0.is_empty() {
            self.0.push(Trie::default());
        }
        self.0[0].want(pointer)
    }

    pub(super) fn readings(
        &mut self,
        texts: &Spanned<Texts>,
        flaws: &mut Flaws,
    ) -> Vec<Vec<Piece<Place>>> {
        let parsed: Vec<_> = texts
            .get_ref()
            .0
            .iter()
            .filter_map(|text| flaws.note(texts.span(), reading(text)))
            .collect();
        parsed.into_iter().map(|reading| map(reading.0, &mut |atom| self.place(atom))).collect()
    }
}

/// A place, or a text with places; a fixed text that looks like a place is taken for a mistake.
fn reading(text: &str) -> Result<Reading, String> {
    let reading = Reading::parse(text)?;
    let is_fixed = template::atoms(&reading.0).is_empty();
    if is_fixed && text.contains('/') && !text.contains(char::is_whitespace) {
        return Err(format!("`{text}` is no place but a fixed text: a pointer begins with `/`"));
    }
    Ok(reading)
}

/// Replaces every atom.
pub(super) fn map<A, B>(pieces: Vec<Piece<A>>, to: &mut impl FnMut(A) -> B) -> Vec<Piece<B>> {
    let mut out = Vec::with_capacity(pieces.len());
    for piece in pieces {
        out.push(match piece {
            Piece::Text(text) => Piece::Text(text),
            Piece::Atom(atom) => Piece::Atom(to(atom)),
            Piece::Present(atom) => Piece::Present(to(atom)),
            Piece::Optional(inner) => Piece::Optional(map(inner, to)),
        });
    }
    out
}

impl Rules {
    /// Compiles and checks a whole definition.
    pub(super) fn new(file: &Definition) -> Result<Self, Vec<Flaw>> {
        let mut flaws = Flaws::default();
        let mut reads = Reads::default();

        let mut id_texts = file.event.id.clone();
        let id_may_be_derived = match id_texts.get_ref().0.iter().position(|t| t == "derived") {
            None => false,
            Some(at) => {
                if at + 1 != id_texts.get_ref().0.len() {
                    flaws.add(id_texts.span(), "`derived` must be the last: it is always there");
                }
                id_texts.as_mut().0.truncate(at);
                true
            }
        };
        let id = reads.readings(&id_texts, &mut flaws);
        let names_nothing = id
            .iter()
            .any(|reading| template::atoms(reading).iter().all(|p| matches!(p, Place::Number)));
        if names_nothing || (id_texts.get_ref().0.is_empty() && !id_may_be_derived) {
            flaws.add(
                id_texts.span(),
                "`id` names no place: wanted a pointer, `header:name`, or `derived` for the \
                 digest of the event's bytes",
            );
        }
        let event_type = reads.readings(&file.event.event_type, &mut flaws);
        if file.event.event_type.get_ref().0.is_empty() {
            flaws.add(
                file.event.event_type.span(),
                "`type` names no place: wanted a pointer such as `/type`, or a fixed text",
            );
        }
        let subject = match &file.event.subject {
            Some(texts) => reads.readings(texts, &mut flaws),
            None => Vec::new(),
        };
        let at = times(file, &mut reads, &mut flaws);
        let kinds = kinds_of(file, &mut reads, &mut flaws);
        let only_with = file.split.only_with.as_ref().and_then(|text| {
            let pointer = flaws.note(text.span(), Pointer::parse(text.get_ref()))?;
            Some(reads.slot(&pointer))
        });

        let mut reads = reads.0;
        if reads.is_empty() {
            reads.push(Trie::default());
        }
        let paths: Vec<_> = file
            .split
            .at
            .0
            .get_ref()
            .0
            .iter()
            .filter_map(|text| {
                flaws.note(file.split.at.0.span(), path(text, file.split.single, &reads))
            })
            .collect();
        let inside = file.split.inside.as_ref().and_then(|text| {
            let mut reads = reads.get(1).cloned().unwrap_or_default();
            let pointer = flaws.note(text.span(), Pointer::parse(text.get_ref()))?;
            let slot = reads.want(&pointer);
            Some(Inside { reads, slot })
        });
        if inside.is_some() && !paths.is_empty() {
            flaws.add(
                file.split.at.0.span(),
                "`at` and `inside`: one of them says where events are",
            );
        }
        let depth = paths.iter().map(|p| p.levels.len()).max().unwrap_or(0);
        let depth = if inside.is_some() { 1 } else { depth };
        if depth + 1 < reads.len() {
            too_high(file, depth, &mut flaws);
        }

        let used: Vec<_> = file.verify.0.iter().filter(|way| way.is_used()).collect();
        let ways: Vec<_> = used.iter().filter_map(|way| Way::new(way, &id, &mut flaws)).collect();
        if used.is_empty() {
            flaws.add(0..0, "`verify` lists no way; `scheme = \"none\"` takes anything");
        }
        let handshakes =
            file.handshake.iter().filter_map(|shake| Shake::new(shake, &mut flaws)).collect();
        let reply_within = reply(&file.reply, &mut flaws);
        let listing = file.reconcile.as_ref().and_then(|list| Listing::new(list, &mut flaws));
        only_ids_have_digests(&event_type, &file.event.event_type, &mut flaws);
        if let Some(texts) = &file.event.subject {
            only_ids_have_digests(&subject, texts, &mut flaws);
        }
        if file.checked.get_ref().parse::<jiff::civil::Date>().is_err() {
            let message = format!("`{}` is no day: wanted 2026-11-24", file.checked.get_ref());
            flaws.add(file.checked.span(), message);
        }
        if !flaws.0.is_empty() {
            return Err(flaws.0);
        }

        let formats = &file.body.formats;
        Ok(Self {
            ways,
            takes: Takes {
                json: formats.is_empty() || formats.contains(&Format::Json),
                ndjson: formats.contains(&Format::Ndjson),
                form: formats.contains(&Format::Form),
                multipart: formats.contains(&Format::Multipart),
                form_json: file.body.form_json.clone(),
                form_json_only: file.body.form_json_only,
                form_xml: file.body.form_xml.clone(),
                xml: formats.contains(&Format::Xml),
            },
            paths,
            otherwise: file.split.otherwise,
            only_with,
            reads,
            id,
            id_may_be_derived,
            accepts_identical: file.event.accept_identical,
            event_type,
            subject,
            at,
            kinds,
            handshakes,
            reply: file.reply.clone(),
            reply_within,
            inside,
            listing: listing.map(Arc::new),
        })
    }

    /// Whether this provider's requests show who sends by bearing the secret.
    pub(super) fn is_open(&self) -> bool {
        self.ways.iter().any(|way| way.scheme == Scheme::None)
    }

    /// Whether the vendor brings the secret itself, in a handshake.
    pub(super) fn learns(&self) -> bool {
        self.handshakes.iter().any(|shake| shake.learns.is_some())
    }
}

/// The longest that a vendor may be said to wait.
const REPLY_WITHIN_MAX: SignedDuration = SignedDuration::from_mins(10);

/// Checks what the vendor is answered; how long it waits.
fn reply(file: &Reply, flaws: &mut Flaws) -> Option<SignedDuration> {
    if let Some(status) = file.status.as_ref().filter(|s| !(200..300).contains(s.get_ref())) {
        flaws.add(status.span(), "`reply.status` answers what was taken: wanted 200 to 299");
    }
    let is_bad = |text: &Spanned<String>| http::HeaderValue::from_str(text.get_ref()).is_err();
    if let Some(text) = file.content_type.as_ref().filter(|text| is_bad(text)) {
        flaws.add(text.span(), "`reply.content_type` cannot stand in a header");
    }
    let within = file.within.as_ref()?;
    match within.get_ref().parse::<SignedDuration>() {
        Ok(time) if time.is_positive() && time <= REPLY_WITHIN_MAX => Some(time),
        Ok(_) | Err(_) => {
            let text = within.get_ref();
            flaws.add(within.span(), format!("`{text}` is no time to wait: wanted `3s`"));
            None
        }
    }
}

/// A digest tells equal events apart from others; it says nothing about what they are.
fn only_ids_have_digests(
    readings: &[Vec<Piece<Place>>],
    texts: &Spanned<Texts>,
    flaws: &mut Flaws,
) {
    let digest = readings.iter().any(|r| template::atoms(r).contains(&&Place::Derived));
    if digest {
        flaws.add(texts.span(), "`{derived}` is for ids");
    }
}

/// Notes every place that is above what `split.at` opens.
fn too_high(file: &Definition, depth: usize, flaws: &mut Flaws) {
    let event = [Some(&file.event.id), Some(&file.event.event_type), file.event.subject.as_ref()];
    let event = event.into_iter().flatten().map(|texts| (texts.span(), texts.get_ref()));
    let times = file.event.at.0.iter().filter_map(|at| at.pointer.as_ref());
    let times = times.map(|texts| (texts.span(), texts.get_ref()));
    let rules = file.kind.values().flat_map(|rules| &rules.0);
    let attributes = rules.flat_map(|rule| rule.attributes.values());
    let attributes = attributes.map(|source| (source.span(), &source.get_ref().0.from));
    for (span, texts) in event.chain(times).chain(attributes) {
        for reading in texts.0.iter().filter_map(|text| Reading::parse(text).ok()) {
            for atom in template::atoms(&reading.0) {
                let Atom::Pointer { up, .. } = atom else { continue };
                if depth < *up {
                    let message = format!(
                        "`{}` reaches {up} up, but an event is held by {depth}, one for each `*` \
                         of `split.at`",
                        "^".repeat(*up)
                    );
                    flaws.add(span.clone(), message);
                }
            }
        }
    }
}

fn times(
    file: &Definition,
    reads: &mut Reads,
    flaws: &mut Flaws,
) -> Vec<(Vec<Piece<Place>>, Unit)> {
    let mut times = Vec::new();
    for at in &file.event.at.0 {
        if let Some(texts) = &at.pointer {
            times.extend(reads.readings(texts, flaws).into_iter().map(|r| (r, at.unit)));
        }
        if let Some(name) = &at.header
            && let Some(header) = flaws.note(name.span(), template::header(name.get_ref()))
        {
            times.push((vec![Piece::Atom(Place::Header(header))], at.unit));
        }
    }
    times
}

fn path(text: &str, single: bool, reads: &[Trie]) -> Result<Path, String> {
    let mut arrays: Vec<&str> = text.split("/*").collect();
    let tail = arrays.pop().unwrap_or_default();
    if arrays.is_empty() {
        return Err(format!("`{text}` has no `*`: wanted a pointer such as `/events/*`"));
    }
    let count = arrays.len();
    let mut levels = Vec::new();
    for (number, array) in arrays.into_iter().enumerate() {
        let mut trie = reads.get(count - number).cloned().unwrap_or_default();
        let array = trie.want(&Pointer::parse(array)?);
        levels.push(Level { reads: trie, array });
    }
    let tail = match tail {
        "" => None,
        tail => {
            let mut trie = Trie::default();
            let slot = trie.want(&Pointer::parse(tail)?);
            Some((trie, slot))
        }
    };
    Ok(Path { levels, tail, single })
}

impl Condition {
    pub(super) fn new(when: &When) -> Result<Self, String> {
        let method =
            when.method.as_ref().map(|m| m.parse().map_err(|_| format!("`{m}` is no method")));
        if when.is.is_some()
            && when.header.is_none()
            && when.query.is_none()
            && when.pointer.is_none()
        {
            return Err("`is` says what a header, parameter or pointer must be".to_owned());
        }
        Ok(Self {
            method: method.transpose()?,
            header: when.header.as_deref().map(template::header).transpose()?,
            query: when.query.clone(),
            pointer: when.pointer.as_deref().map(Pointer::parse).transpose()?,
            body: when.body,
            is: when.is.clone().unwrap_or_default().0,
        })
    }
}

/// `5m`, or `off`.
pub(super) fn tolerance(text: &str) -> Result<Option<SignedDuration>, String> {
    if text == "off" {
        return Ok(None);
    }
    match text.parse::<SignedDuration>() {
        Ok(duration) if duration.is_positive() => Ok(Some(duration)),
        Ok(_) | Err(_) => Err(format!("`{text}` is no tolerance: wanted `5m`, or `off`")),
    }
}
