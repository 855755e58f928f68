//! Handshakes, compiled.

use toml::Spanned;

use super::definition::Handshake;
use super::extract::{Pointer, Trie};
use super::rules::{Condition, Flaws, Place, Reads, map};
use super::template::{self, Atom, Piece};

/// A handshake.
#[derive(Debug)]
pub(super) struct Shake {
    pub(super) when: Condition,
    pub(super) is_signed: bool,
    pub(super) reads: Trie,
    /// Where the secret is that the vendor will sign with.
    pub(super) learns: Option<Place>,
    pub(super) when_slot: Option<usize>,
    pub(super) check: Vec<(Vec<Piece<ShakePlace>>, String)>,
    pub(super) status: u16,
    pub(super) content_type: Option<String>,
    pub(super) headers: Vec<(String, Vec<Piece<ShakePlace>>)>,
    pub(super) answer: Answer,
    pub(super) visit: Option<VisitOf>,
}

/// Where the address is that is visited before it is answered.
#[derive(Debug)]
pub(super) struct VisitOf {
    pub(super) reads: Trie,
    pub(super) slot: usize,
    pub(super) hosts: Vec<String>,
}

impl VisitOf {
    fn new(file: &Handshake, flaws: &mut Flaws) -> Option<Self> {
        let visit = file.visit.as_ref()?;
        if !file.signed {
            flaws.add(
                visit.pointer.span(),
                "`visit`: only what a signed handshake names is visited",
            );
        }
        let mut reads = Trie::default();
        let slot =
            reads.want(&flaws.note(visit.pointer.span(), Pointer::parse(visit.pointer.get_ref()))?);
        Some(Self { reads, slot, hosts: visit.hosts.0.clone() })
    }
}

/// What a handshake's text is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ShakePlace {
    Plain(Place),
    /// The place's HMAC under the source's first secret.
    Hmac(Place),
}

#[derive(Debug)]
pub(super) enum Answer {
    Empty,
    Text(Vec<Piece<ShakePlace>>),
    Json(Vec<(String, Vec<Piece<ShakePlace>>)>),
}

impl Shake {
    pub(super) fn new(file: &Handshake, flaws: &mut Flaws) -> Option<Self> {
        let when = flaws.note(file.when.span(), Condition::new(file.when.get_ref()))?;
        let mut reads = Reads(vec![Trie::default()]);
        let when_slot = when.pointer.as_ref().map(|pointer| reads.slot(pointer));
        let check = file
            .check
            .iter()
            .filter_map(|(place, value)| {
                Some((shake_text(place, &mut reads, flaws)?, value.clone()))
            })
            .collect();
        let headers = file
            .headers
            .iter()
            .filter_map(|(name, text)| {
                flaws.note(name.span(), template::header(name.get_ref()))?;
                Some((name.get_ref().clone(), shake_text(text, &mut reads, flaws)?))
            })
            .collect();
        let answer = match (&file.text, &file.json) {
            (None, None) => Answer::Empty,
            (Some(text), _) => Answer::Text(shake_text(text, &mut reads, flaws)?),
            (None, Some(members)) => Answer::Json(
                members
                    .iter()
                    .filter_map(|(name, text)| {
                        Some((name.clone(), shake_text(text, &mut reads, flaws)?))
                    })
                    .collect(),
            ),
        };
        if let (Some(_), Some(members)) = (&file.text, &file.json) {
            let span = members.values().next().map_or(file.when.span(), Spanned::span);
            flaws.add(span, "a handshake is answered with `text` or with `json`, not with both");
        }
        let learns = file.learns.as_ref().and_then(|text| learned(file, text, &mut reads, flaws));
        Some(Self {
            when,
            is_signed: file.signed,
            learns,
            reads: reads.0.swap_remove(0),
            when_slot,
            check,
            status: status(file.status.as_ref(), flaws).unwrap_or(200),
            content_type: file.content_type.clone(),
            headers,
            answer,
            visit: VisitOf::new(file, flaws),
        })
    }
}

/// A status that an answer can have.
fn status(status: Option<&Spanned<u16>>, flaws: &mut Flaws) -> Option<u16> {
    let status = status?;
    let number = *status.get_ref();
    if !(200..=599).contains(&number) {
        flaws.add(status.span(), format!("{number} is no status of an answer: wanted 200 to 599"));
    }
    Some(number)
}

/// The place of a secret that is learned. What is signed already has nothing to learn.
fn learned(
    file: &Handshake,
    text: &Spanned<String>,
    reads: &mut Reads,
    flaws: &mut Flaws,
) -> Option<Place> {
    if file.signed {
        flaws.add(text.span(), "`learns` needs `signed = false`: who signs has the secret");
        return None;
    }
    match flaws.note(text.span(), Atom::parse(text.get_ref()))? {
        atom @ (Atom::Header(_) | Atom::Pointer { up: 0, .. }) => Some(reads.place(atom)),
        Atom::Query(_) | Atom::Pointer { .. } | Atom::Derived | Atom::Number => {
            flaws.add(text.span(), "a secret is learned from a header or the body");
            None
        }
    }
}

fn shake_text(
    text: &Spanned<String>,
    reads: &mut Reads,
    flaws: &mut Flaws,
) -> Option<Vec<Piece<ShakePlace>>> {
    let pieces = template::pieces(text.get_ref(), |atom| {
        let (is_hmac, place) = match atom.strip_prefix("hmac:") {
            Some(place) => (true, place),
            None => (false, atom),
        };
        match Atom::parse(place)? {
            Atom::Pointer { up, .. } if 0 < up => {
                Err(format!("`{place}`: nothing holds a request"))
            }
            Atom::Derived | Atom::Number => Err(format!("`{place}` is of an event")),
            atom @ (Atom::Pointer { .. } | Atom::Header(_) | Atom::Query(_)) => Ok((is_hmac, atom)),
        }
    });
    let pieces = flaws.note(text.span(), pieces)?;
    Some(map(pieces, &mut |(is_hmac, atom)| {
        let place = reads.place(atom);
        if is_hmac { ShakePlace::Hmac(place) } else { ShakePlace::Plain(place) }
    }))
}
