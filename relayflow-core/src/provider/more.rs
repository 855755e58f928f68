//! What `rsa`, `jwt` and `http-signature` say beyond the other schemes, compiled and checked: the
//! algorithm, where the vendor's key is, and what must be equal.

use http::HeaderName;
use toml::Spanned;

use super::definition::{Algorithm, AlgorithmChoice, KeysAt, Scheme, Verify};
use super::extract::{Pointer, Trie};
use super::fetched::{self, KeyForm};
use super::rules::Flaws;
use super::template::{self, Atom, Piece, Signed, SignedAtom};
use super::way::{AlgorithmOf, KeyPlace, UrlOf, ValuePlace, Way};

/// The two fields of RFC 9421, and that of RFC 9530.
pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("signature");
pub(super) const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

pub(super) struct More {
    pub(super) algorithm: Option<AlgorithmOf>,
    pub(super) keys_at: Option<KeyPlace>,
    pub(super) checks: Vec<(ValuePlace, String)>,
}

impl More {
    pub(super) fn new(
        file: &Verify,
        scheme: Scheme,
        signed: &Signed,
        reads: &mut Trie,
        flaws: &mut Flaws,
    ) -> Self {
        check_fields(file, scheme, flaws);
        let algorithm = algorithm(file, scheme, reads, flaws);
        let keys_at = file.keys.as_ref().and_then(|keys| key_place(keys, scheme, reads, flaws));
        let mut checks = Vec::new();
        for (place, text) in file.check.iter().filter(|(_, text)| !text.is_empty()) {
            let Some(atom) = flaws.note(place.span(), Atom::parse(place.get_ref())) else {
                continue;
            };
            let atoms = template::atoms(signed);
            let has = |wanted: SignedAtom| atoms.contains(&&wanted);
            let (at, is_signed) = match atom {
                Atom::Pointer { up: 0, pointer } => {
                    let is_signed =
                        has(SignedAtom::Body) || has(SignedAtom::Pointer(pointer.clone()));
                    (ValuePlace::Slot(reads.want(&pointer)), is_signed)
                }
                Atom::Header(name) => {
                    (ValuePlace::Header(name.clone()), has(SignedAtom::Header(name)))
                }
                Atom::Pointer { .. } | Atom::Query(_) | Atom::Derived | Atom::Number => {
                    flaws.add(place.span(), "`check` reads the body and headers");
                    continue;
                }
            };
            if !is_signed && !scheme.is_shared() {
                flaws.add(place.span(), "`check` reads what is not signed: anyone could write it");
            }
            checks.push((at, text.clone()));
        }
        Self { algorithm, keys_at, checks }
    }
}

/// What a token or a message signature covers, in the words of `signed`, so that all that follows
/// from those follows here too.
pub(super) fn signed(file: &Verify) -> Signed {
    let mut atoms = Vec::new();
    let is_set = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
    if let Some(claims) = &file.claims {
        if is_set(&claims.body) {
            atoms.push(SignedAtom::Body);
        }
        if is_set(&claims.query) {
            atoms.push(SignedAtom::Url);
        }
    }
    for component in components(file) {
        match component {
            "content-digest" => atoms.push(SignedAtom::Body),
            "@target-uri" | "@authority" | "@path" | "@query" | "@request-target" => {
                atoms.push(SignedAtom::Url);
            }
            name => atoms.extend(name.parse().ok().map(SignedAtom::Header)),
        }
    }
    atoms.into_iter().map(Piece::Atom).collect()
}

/// What a message signature must cover; several may stand in one text.
pub(super) fn components(file: &Verify) -> impl Iterator<Item = &str> {
    file.components.iter().flat_map(|c| &c.get_ref().0).flat_map(|text| text.split_whitespace())
}

impl Way {
    /// Headers that these fields name.
    pub(super) fn named_headers(&self) -> Vec<&HeaderName> {
        let mut places: Vec<&ValuePlace> = self.checks.iter().map(|(at, _)| at).collect();
        if let Some(AlgorithmOf::Named { at, .. }) = &self.algorithm {
            places.push(at);
        }
        if let Some(KeyPlace { url: UrlOf::Named(at), .. }) = &self.keys_at {
            places.push(at);
        }
        let named = places.into_iter().filter_map(|place| match place {
            ValuePlace::Header(name) => Some(name),
            ValuePlace::Slot(_) => None,
        });
        let is_message = self.scheme == Scheme::HttpSignature;
        let own: &[&HeaderName] = if is_message { &[&INPUT, &DIGEST] } else { &[] };
        named.chain(own.iter().copied()).collect()
    }
}

static INPUT: HeaderName = SIGNATURE_INPUT;
static DIGEST: HeaderName = CONTENT_DIGEST;

fn check_fields(file: &Verify, scheme: Scheme, flaws: &mut Flaws) {
    let span = file.scheme.span();
    let name = scheme.name();
    let is_new = matches!(scheme, Scheme::Rsa | Scheme::Jwt | Scheme::HttpSignature);
    if is_new != file.algorithm.is_some() {
        let message = match is_new {
            true => format!("`{name}` needs an `algorithm`: the request never chooses it"),
            false => format!("`{name}` has no use for `algorithm`"),
        };
        flaws.add(span.clone(), message);
    }
    if !matches!(scheme, Scheme::Rsa | Scheme::Jwt) && file.keys.is_some() {
        flaws.add(span.clone(), format!("`{name}` has no use for `keys`"));
    }
    if scheme != Scheme::Jwt && file.claims.is_some() {
        flaws.add(span.clone(), format!("`{name}` has no use for `claims`"));
    }
    if scheme == Scheme::Jwt && file.header.is_none() {
        flaws.add(span.clone(), "`jwt` needs a `header`: where the token is");
    }
    if scheme == Scheme::HttpSignature && components(file).next().is_none() {
        flaws.add(span, "`http-signature` needs `components`: what must be signed at least");
    } else if scheme != Scheme::HttpSignature && file.components.is_some() {
        flaws.add(span, format!("`{name}` has no use for `components`"));
    }
}

fn algorithm(
    file: &Verify,
    scheme: Scheme,
    reads: &mut Trie,
    flaws: &mut Flaws,
) -> Option<AlgorithmOf> {
    let choice = file.algorithm.as_ref()?;
    let is_of_scheme = |algorithm: Algorithm| {
        if scheme == Scheme::Rsa {
            matches!(algorithm, Algorithm::RsaSha1 | Algorithm::RsaSha256)
        } else if scheme == Scheme::Jwt {
            super::jwt::name(algorithm).is_some()
        } else {
            algorithm != Algorithm::RsaSha1
        }
    };
    let found = match choice.get_ref() {
        AlgorithmChoice::Fixed(algorithm) => AlgorithmOf::Fixed(*algorithm),
        AlgorithmChoice::Named(names) => {
            if scheme != Scheme::Rsa {
                flaws.add(choice.span(), "only `rsa` may have several algorithms");
            }
            let at =
                value_place(choice, names.header.as_ref(), names.pointer.as_ref(), reads, flaws)?;
            let words = names.words.iter().map(|(word, a)| (word.clone(), *a)).collect();
            AlgorithmOf::Named { at, words }
        }
    };
    let all_fit = match &found {
        AlgorithmOf::Fixed(algorithm) => is_of_scheme(*algorithm),
        AlgorithmOf::Named { words, .. } => words.iter().all(|(_, a)| is_of_scheme(*a)),
    };
    if !all_fit {
        flaws.add(choice.span(), format!("`{}` has no such algorithm", scheme.name()));
    }
    Some(found)
}

fn value_place<T>(
    of: &Spanned<T>,
    header: Option<&String>,
    pointer: Option<&String>,
    reads: &mut Trie,
    flaws: &mut Flaws,
) -> Option<ValuePlace> {
    match (header, pointer) {
        (Some(name), None) => flaws.note(of.span(), template::header(name)).map(ValuePlace::Header),
        (None, Some(text)) => {
            let pointer = flaws.note(of.span(), Pointer::parse(text))?;
            Some(ValuePlace::Slot(reads.want(&pointer)))
        }
        (None, None) | (Some(_), Some(_)) => {
            flaws.add(of.span(), "wanted one of `header` and `pointer`");
            None
        }
    }
}

fn key_place(
    keys: &Spanned<KeysAt>,
    scheme: Scheme,
    reads: &mut Trie,
    flaws: &mut Flaws,
) -> Option<KeyPlace> {
    let file = keys.get_ref();
    if file.url.as_ref().is_some_and(String::is_empty) {
        return None;
    }
    let hosts: Vec<String> = file.hosts.0.iter().filter(|h| !h.is_empty()).cloned().collect();
    if hosts.is_empty() {
        flaws.add(keys.span(), "`keys` needs `hosts`: a key comes from its vendor or from nobody");
    }
    for host in &hosts {
        // A pattern that reaches over a registrable name would let others in.
        let tail: Vec<&str> = host.rsplit('.').take(2).collect();
        if tail.iter().any(|label| label.contains('*')) {
            flaws.add(keys.span(), format!("`{host}` would be anybody's host"));
        }
    }
    let url = match &file.url {
        Some(url) => {
            if !fetched::is_allowed(url, &hosts, file.path.as_deref()) {
                flaws.add(keys.span(), format!("`{url}` is not on one of `hosts`"));
            }
            UrlOf::Fixed(url.clone())
        }
        None => UrlOf::Named(value_place(
            keys,
            file.header.as_ref(),
            file.pointer.as_ref(),
            reads,
            flaws,
        )?),
    };
    let form = if scheme == Scheme::Rsa {
        KeyForm::Certificate { chain: file.chain, name: file.name.clone() }
    } else {
        KeyForm::Set
    };
    Some(KeyPlace { url, hosts, path: file.path.clone(), form })
}
