//! A body of which one character is another: what a faulty machine does, or somebody who tries.

use bytes::Bytes;

use super::bench::{Bench, message, right_signature};
use crate::provider::body;
use crate::provider::claim::Claim;
use crate::provider::extract::Found;
use crate::provider::key::Key;
use crate::provider::source::Source;
use crate::provider::way::Way;
use crate::request::Request;
use crate::secret::Secret;

/// A larger body is not searched.
const BYTES_MAX: usize = 16 * 1024;
/// So many places are searched where the body is not signed in one piece.
const PLACES_MAX: usize = 32;
const LETTERS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The place of the one character that was changed and what it was, if that is all.
pub(super) fn one_character(
    bench: &mut Bench<'_>,
    source: &Source,
    way: &Way,
    key: &Key,
    request: &Request,
) -> Option<(usize, char)> {
    if BYTES_MAX < request.body.len() || way.scheme.is_shared() {
        return None;
    }
    match in_one_piece(bench, source, way, key, request) {
        Some(found) => found,
        None => in_pieces(bench, source, way, key, request),
    }
}

/// Places of letters and digits, the last first.
fn places(body: &[u8]) -> impl Iterator<Item = usize> + '_ {
    (0..body.len()).rev().filter(|at| body[*at].is_ascii_alphanumeric())
}

/// `None` where the body is not signed as it stands.
fn in_one_piece(
    bench: &mut Bench<'_>,
    source: &Source,
    way: &Way,
    key: &Key,
    request: &Request,
) -> Option<Option<(usize, char)>> {
    let parts = message(way, source, key, request, None)?;
    let body = &request.body;
    let place = parts.iter().position(|part| *part == **body).filter(|_| !body.is_empty())?;
    let signatures = signatures(way, source, request)?;
    for at in places(body) {
        for letter in LETTERS.iter().filter(|letter| **letter != body[at]) {
            if bench.spend(way, body.len()).is_err() {
                return Some(None);
            }
            let mut pieces: Vec<&[u8]> = parts[..place].iter().map(Vec::as_slice).collect();
            pieces.extend([&body[..at], std::slice::from_ref(letter), &body[at + 1..]]);
            pieces.extend(parts[place + 1..].iter().map(Vec::as_slice));
            let right = Secret::new(right_signature(key, &pieces)?);
            if signatures.iter().any(|signature| right.is(signature)) {
                return Some(Some((at, char::from(*letter))));
            }
        }
    }
    Some(None)
}

fn signatures(way: &Way, source: &Source, request: &Request) -> Option<Vec<Vec<u8>>> {
    if way.reads.is_empty() {
        return Claim::new(request, way, &Found::default()).ok().map(|claim| claim.signatures);
    }
    let opened = body::open(&source.rules.takes, &request.body).ok()?;
    let found = way.reads.read(opened.text()).ok()?;
    Claim::new(request, way, &found).ok().map(|claim| claim.signatures)
}

fn in_pieces(
    bench: &mut Bench<'_>,
    source: &Source,
    way: &Way,
    key: &Key,
    request: &Request,
) -> Option<(usize, char)> {
    // With a public key each try costs too much.
    if !super::bench::is_mac(way) {
        return None;
    }
    for at in places(&request.body).take(PLACES_MAX) {
        for letter in LETTERS.iter().filter(|letter| **letter != request.body[at]) {
            let mut edited = request.clone();
            let mut bytes = request.body.to_vec();
            bytes[at] = *letter;
            edited.body = Bytes::from(bytes);
            if bench.holds(source, way, std::slice::from_ref(key), &edited).is_some() {
                return Some((at, char::from(*letter)));
            }
            if bench.is_spent() {
                return None;
            }
        }
    }
    None
}
