//! One way to sign, compiled.

use http::HeaderName;
use jiff::SignedDuration;
use toml::Spanned;

use super::definition::{
    Algorithm, BodyForm, Claims, Digest, Encoding, KeyEncoding, Scheme, SignatureForm,
    TimestampPlace, Unit, UrlForm, Verify,
};
use super::extract::{Pointer, Segment, Trie};
use super::fetched::KeyForm;
use super::more;
use super::rules::{Condition, Flaws, Place, tolerance};
use super::template::{self, Piece, Signed, SignedAtom};

/// How far a signed time may lie from ours where a definition does not say.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(300);

/// One way to sign.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) scheme: Scheme,
    pub(super) when: Option<Condition>,
    pub(super) place: SignaturePlace,
    /// Every element of a batch is signed on its own.
    pub(super) is_each: bool,
    pub(super) shape: Shape,
    pub(super) signed: Vec<Piece<SignedPlace>>,
    /// What of the body is read before it is verified.
    pub(super) reads: Trie,
    pub(super) encoding: Encoding,
    pub(super) form: SignatureForm,
    pub(super) key: KeyEncoding,
    pub(super) id: Option<HeaderName>,
    pub(super) timestamp: Option<Moment>,
    /// `None`: the time is not checked.
    pub(super) tolerance: Option<SignedDuration>,
    pub(super) urls: Vec<UrlForm>,
    pub(super) bodies: Vec<BodyForm>,
    pub(super) digest: Option<Digest>,
    /// Whether an event's id is outside of what is signed, so that the signed bytes must be
    /// remembered too.
    pub(super) id_is_open: bool,
    /// Of `rsa`, `jwt` and `http-signature`.
    pub(super) algorithm: Option<AlgorithmOf>,
    pub(super) keys_at: Option<KeyPlace>,
    /// What is signed and must be as the source's settings say.
    pub(super) checks: Vec<(ValuePlace, String)>,
    pub(super) claims: Claims,
    pub(super) components: Vec<String>,
}

/// The algorithm, or which of several a word in the request stands for.
#[derive(Debug)]
pub(super) enum AlgorithmOf {
    Fixed(Algorithm),
    Named { at: ValuePlace, words: Vec<(String, Algorithm)> },
}

/// A value of a request that is read before it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ValuePlace {
    Header(HeaderName),
    Slot(usize),
}

/// Where the vendor shows its key.
#[derive(Debug)]
pub(super) struct KeyPlace {
    pub(super) url: UrlOf,
    pub(super) hosts: Vec<String>,
    pub(super) path: Option<String>,
    pub(super) form: KeyForm,
}

#[derive(Debug)]
pub(super) enum UrlOf {
    Fixed(String),
    Named(ValuePlace),
}

#[derive(Debug)]
pub(super) enum SignaturePlace {
    Nowhere,
    /// Any of these headers, each at most once.
    Headers(Vec<HeaderName>),
    Slot(usize),
    Query(String),
}

/// How signatures stand in their place.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub(super) separator: Option<String>,
    /// Empty: nothing stands before a signature.
    pub(super) prefixes: Vec<String>,
    /// The names of the parts that are signatures; empty: there are no parts.
    pub(super) signature_parts: Vec<String>,
    pub(super) timestamp_part: Option<String>,
    pub(super) timestamp_item: Option<usize>,
    pub(super) assign: String,
}

#[derive(Debug)]
pub(super) struct Moment {
    pub(super) place: MomentPlace,
    pub(super) unit: Unit,
    /// Only a signed time proves anything.
    pub(super) is_signed: bool,
}

#[derive(Debug)]
pub(super) enum MomentPlace {
    /// In the signature's own header.
    Shape,
    Header(HeaderName),
    Slot(usize),
}

/// A [`SignedAtom`] whose pointer is a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SignedPlace {
    Slot(usize),
    Other(SignedAtom),
}

impl Way {
    /// Compiles and checks one way; `ids` are the event's, to know which of them it does not sign.
    pub(super) fn new(file: &Verify, ids: &[Vec<Piece<Place>>], flaws: &mut Flaws) -> Option<Self> {
        let before = flaws.0.len();
        let scheme = *file.scheme.get_ref();
        check_fields(file, scheme, flaws);

        let mut reads = Trie::default();
        let signed = match &file.signed {
            Some(text) => flaws.note(text.span(), template::signed(text.get_ref()))?,
            None if matches!(scheme, Scheme::Jwt | Scheme::HttpSignature) => more::signed(file),
            None if scheme.is_shared() || scheme == Scheme::None => Vec::new(),
            None => vec![Piece::Atom(SignedAtom::Body)],
        };
        let timestamp = moment(file, &signed, &mut reads, flaws);
        check_signed(file, scheme, &signed, timestamp.as_ref(), flaws);
        let id = header(file.id.as_ref(), flaws);
        let place = signature_place(file, scheme, &mut reads, flaws)?;
        let more = more::More::new(file, scheme, &signed, &mut reads, flaws);
        let id_is_open = !scheme.is_shared()
            && scheme != Scheme::None
            // A token that says nothing of the request is shown again with the next one.
            && (scheme != Scheme::Jwt || !signed.is_empty())
            && ids.iter().any(|reading| {
                let body_is_signed = file.digest.is_some();
                !covers(&signed, body_is_signed, id.as_ref(), timestamp.as_ref(), reading)
            });
        let signed = super::rules::map(signed, &mut |atom| {
            if let SignedAtom::Pointer(pointer) = &atom {
                return SignedPlace::Slot(reads.want(pointer));
            }
            SignedPlace::Other(atom)
        });
        let given = file.tolerance.as_ref().map(|t| flaws.note(t.span(), tolerance(t.get_ref())));
        let when = match &file.when {
            Some(when) if when.pointer.is_some() || when.method.is_some() => {
                flaws.add(
                    file.scheme.span(),
                    "`when` of `verify` reads headers, parameters and the body's format: nothing \
                     else is read of what is not verified",
                );
                None
            }
            Some(when) => Some(flaws.note(file.scheme.span(), Condition::new(when))?),
            None => None,
        };
        if before < flaws.0.len() {
            return None;
        }
        Some(Self {
            scheme,
            when,
            place,
            is_each: file.each,
            shape: shape(file),
            signed,
            reads,
            encoding: file.encoding,
            form: file.form,
            key: file.key,
            id,
            timestamp,
            tolerance: given.map_or(Some(TOLERANCE), Option::flatten),
            urls: if file.url.is_empty() { vec![UrlForm::Received] } else { file.url.clone() },
            bodies: file.body.clone(),
            digest: file.digest.clone(),
            id_is_open,
            algorithm: more.algorithm,
            keys_at: more.keys_at,
            checks: more.checks,
            claims: file.claims.clone().unwrap_or_default(),
            components: more::components(file).map(str::to_owned).collect(),
        })
    }

    /// Whether the URL is part of what is signed.
    pub(super) fn signs_url(&self) -> bool {
        template::atoms(&self.signed).contains(&&SignedPlace::Other(SignedAtom::Url))
    }

    /// Whether the URL, or its path, is part of what is signed.
    pub(super) fn signs_target(&self) -> bool {
        let has = |atom| template::atoms(&self.signed).contains(&&SignedPlace::Other(atom));
        self.signs_url() || has(SignedAtom::Path)
    }

    /// Whether every byte of the body is part of what is signed, if a form's by what they say.
    pub(super) fn signs_body(&self) -> bool {
        let has = |atom| template::atoms(&self.signed).contains(&&SignedPlace::Other(atom));
        self.digest.is_some()
            || self.signs_form()
            || has(SignedAtom::Body)
            || has(SignedAtom::Crc32)
    }

    /// Whether a form's fields are what is signed.
    pub(super) fn signs_form(&self) -> bool {
        template::atoms(&self.signed).contains(&&SignedPlace::Other(SignedAtom::Form))
    }

    /// The pointer that a slot of `reads` stands for.
    pub(super) fn pointer_text(&self, slot: usize) -> String {
        let pointer = self.reads.pointers().into_iter().find(|(other, _)| *other == slot);
        let segments = pointer.map(|(_, pointer)| pointer.0).unwrap_or_default();
        segments
            .iter()
            .map(|segment| match segment {
                Segment::Name(name) => format!("/{name}"),
                Segment::First => "/*".to_owned(),
                Segment::FirstKey => "/@key".to_owned(),
            })
            .collect()
    }

    /// Every header that this way reads.
    pub(super) fn headers(&self) -> Vec<&HeaderName> {
        let mut headers: Vec<&HeaderName> = Vec::new();
        if let SignaturePlace::Headers(names) = &self.place {
            headers.extend(names);
        }
        headers.extend(&self.id);
        headers.extend(self.when.iter().filter_map(|w| w.header.as_ref()));
        if let Some(Moment { place: MomentPlace::Header(name), .. }) = &self.timestamp {
            headers.push(name);
        }
        for place in template::atoms(&self.signed) {
            if let SignedPlace::Other(SignedAtom::Header(name)) = place {
                headers.push(name);
            }
        }
        headers.extend(self.named_headers());
        headers
    }
}

/// Refuses fields that a scheme has no use for, and asks for those that it needs.
fn check_fields(file: &Verify, scheme: Scheme, flaws: &mut Flaws) {
    let span = file.scheme.span();
    let places = [file.header.is_some(), file.pointer.is_some(), file.query.is_some()]
        .iter()
        .filter(|p| **p)
        .count();
    let name = scheme.name();
    let has_own_place =
        matches!(scheme, Scheme::None | Scheme::Basic | Scheme::Bearer | Scheme::HttpSignature);
    if has_own_place {
        if 0 < places {
            let message = format!("`{name}` needs no `header`, `pointer` or `query`");
            flaws.add(span.clone(), message);
        }
    } else if 1 < places {
        let message = format!(
            "`{name}` has {places} places for a signature: wanted one of `header`, `pointer` and \
             `query`"
        );
        flaws.add(span.clone(), message);
    } else if places == 0 {
        let message = format!(
            "`{name}` needs one of `header`, `pointer` and `query`: where the signature is"
        );
        flaws.add(span.clone(), message);
    } else if scheme != Scheme::Token && file.query.is_some() {
        flaws.add(span.clone(), format!("`{name}`: only a token can be in a `query`"));
    }
    let takes_template = !matches!(scheme, Scheme::None | Scheme::Jwt | Scheme::HttpSignature)
        && !scheme.is_shared();
    if !takes_template
        && (file.signed.is_some() || file.timestamp.is_some() || file.parts.is_some())
    {
        flaws.add(
            span.clone(),
            format!("`{name}` signs nothing that is composed: `signed`, `timestamp` and `parts` have no use"),
        );
    }
    if file.each && file.pointer.is_none() {
        flaws.add(span, "`each` needs a `pointer`: where an element's signature is");
    }
}

fn check_signed(
    file: &Verify,
    scheme: Scheme,
    signed: &Signed,
    timestamp: Option<&Moment>,
    flaws: &mut Flaws,
) {
    let span = file.signed.as_ref().map_or(file.scheme.span(), Spanned::span);
    let atoms = template::atoms(signed);
    let has = |wanted: &SignedAtom| atoms.contains(&wanted);
    if has(&SignedAtom::Timestamp) && timestamp.is_none() {
        flaws.add(span.clone(), "`{timestamp}` is signed, but nothing says where it is");
    }
    if has(&SignedAtom::Id) && file.id.is_none() {
        flaws.add(span.clone(), "`{id}` is signed, but `id` names no header");
    }
    if has(&SignedAtom::Secret) != (scheme == Scheme::Sha256) {
        flaws.add(span, "`{secret}` stands in what is hashed by `sha256`, and only there");
    }
    let has_time = has(&SignedAtom::Timestamp)
        || timestamp.is_some_and(|t| t.is_signed)
        || matches!(scheme, Scheme::Jwt | Scheme::HttpSignature);
    if let Some(tolerance) = file.tolerance.as_ref().filter(|_| !has_time) {
        flaws.add(tolerance.span(), "there is a `tolerance`, but no time is signed");
    }
}

fn moment(file: &Verify, signed: &Signed, reads: &mut Trie, flaws: &mut Flaws) -> Option<Moment> {
    let atoms = template::atoms(signed);
    let has = |wanted: &SignedAtom| atoms.contains(&wanted);
    let in_parts = file.parts.as_ref().is_some_and(|p| p.get_ref().timestamp.is_some());
    let Some(spanned) = &file.timestamp else {
        return in_parts.then(|| Moment {
            place: MomentPlace::Shape,
            unit: Unit::default(),
            is_signed: has(&SignedAtom::Timestamp),
        });
    };
    let TimestampPlace { header, pointer, item, unit } = spanned.get_ref();
    let (place, is_signed) = match (header, pointer, item) {
        (Some(name), None, None) => {
            let name = flaws.note(spanned.span(), template::header(name))?;
            let is_signed = has(&SignedAtom::Header(name.clone()));
            (MomentPlace::Header(name), is_signed)
        }
        (None, Some(text), None) => {
            let pointer = flaws.note(spanned.span(), Pointer::parse(text))?;
            let is_signed = has(&SignedAtom::Body) || has(&SignedAtom::Pointer(pointer.clone()));
            (MomentPlace::Slot(reads.want(&pointer)), is_signed)
        }
        (None, None, Some(_)) => (MomentPlace::Shape, false),
        (None, None, None) if in_parts => (MomentPlace::Shape, false),
        _ => {
            flaws.add(spanned.span(), "a timestamp is in one of `header`, `pointer`, `item`");
            return None;
        }
    };
    Some(Moment { place, unit: *unit, is_signed: is_signed || has(&SignedAtom::Timestamp) })
}

fn signature_place(
    file: &Verify,
    scheme: Scheme,
    reads: &mut Trie,
    flaws: &mut Flaws,
) -> Option<SignaturePlace> {
    if matches!(scheme, Scheme::Basic | Scheme::Bearer) {
        return Some(SignaturePlace::Headers(vec![http::header::AUTHORIZATION]));
    }
    if scheme == Scheme::HttpSignature {
        return Some(SignaturePlace::Headers(vec![more::SIGNATURE]));
    }
    if let Some(names) = &file.header {
        let names: Vec<_> = names
            .get_ref()
            .0
            .iter()
            .filter_map(|name| flaws.note(names.span(), template::header(name)))
            .collect();
        return Some(SignaturePlace::Headers(names));
    }
    if let Some(pointer) = &file.pointer {
        let parsed = flaws.note(pointer.span(), Pointer::parse(pointer.get_ref()))?;
        return Some(SignaturePlace::Slot(reads.want(&parsed)));
    }
    Some(match &file.query {
        Some(name) => SignaturePlace::Query(name.get_ref().clone()),
        None => SignaturePlace::Nowhere,
    })
}

fn shape(file: &Verify) -> Shape {
    let filled = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    let prefixes = file.prefix.clone().unwrap_or_default().0;
    let timestamp_item = file.timestamp.as_ref().and_then(|t| t.get_ref().item);
    match file.parts.as_ref().map(Spanned::get_ref) {
        None => Shape {
            separator: filled(&file.separator),
            prefixes,
            timestamp_item,
            ..Shape::default()
        },
        Some(parts) => Shape {
            separator: Some(parts.separator.clone()),
            prefixes,
            signature_parts: parts.signature.0.clone(),
            timestamp_part: parts.timestamp.clone(),
            timestamp_item,
            assign: parts.assign.clone(),
        },
    }
}

fn header(name: Option<&Spanned<String>>, flaws: &mut Flaws) -> Option<HeaderName> {
    let name = name.filter(|n| !n.get_ref().is_empty())?;
    flaws.note(name.span(), template::header(name.get_ref()))
}

/// Whether all of `reading` is within what is signed.
fn covers(
    signed: &Signed,
    body_is_signed: bool,
    id: Option<&HeaderName>,
    timestamp: Option<&Moment>,
    reading: &[Piece<Place>],
) -> bool {
    let atoms = template::atoms(signed);
    let has = |wanted: &SignedAtom| atoms.contains(&wanted);
    template::atoms(reading).into_iter().all(|place| match place {
        Place::Slot { .. } | Place::Derived | Place::Number => {
            body_is_signed || has(&SignedAtom::Body) || has(&SignedAtom::Form)
        }
        Place::Query(_) => has(&SignedAtom::Url),
        Place::Header(name) => {
            has(&SignedAtom::Header(name.clone()))
                || (has(&SignedAtom::Id) && id == Some(name))
                || (has(&SignedAtom::Timestamp)
                    && matches!(timestamp, Some(Moment { place: MomentPlace::Header(n), .. }) if n == name))
        }
    })
}
