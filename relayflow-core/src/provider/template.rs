//! The two small languages of a definition: where a value is ([`Reading`]), and what is signed
//! ([`Signed`]). Both are text with `{…}`; this parses them, and knows nothing of requests.

use http::HeaderName;

use super::extract::Pointer;

/// One place where a value may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Atom {
    /// `/a/b`: in the event, `.` the event itself; `^/a/b`: in what holds the event, one `^` for each `*` of the split.
    Pointer { up: usize, pointer: Pointer },
    /// `header:name`
    Header(HeaderName),
    /// `query:name`: a parameter of the URL, decoded.
    Query(String),
    /// `derived`: the digest of the event's bytes.
    Derived,
    /// `number`: the event's number in its batch, from 0; missing where the body is one event.
    Number,
}

/// How a value is made: from one place, or composed from several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading(pub(super) Vec<Piece<Atom>>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece<A> {
    Text(String),
    Atom(A),
    /// `{place?}`: adds nothing, but must be there.
    Present(A),
    /// `[…]`: left out as a whole if something in it is missing.
    Optional(Vec<Piece<A>>),
}

/// One part of what is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SignedAtom {
    Body,
    /// The body's CRC-32, as a decimal number.
    Crc32,
    /// The timestamp's text, as it came.
    Timestamp,
    /// The header that `id` names.
    Id,
    Method,
    Url,
    Path,
    /// The secret itself, where a plain hash is used.
    Secret,
    /// A form's parameters, sorted by name, each as name and value with nothing between; equal ones
    /// once.
    Form,
    Header(HeaderName),
    Query(String),
    /// A scalar of the body (a form's field is `/name`); nothing if it is missing.
    Pointer(Pointer),
}

/// What is signed.
pub(super) type Signed = Vec<Piece<SignedAtom>>;

impl Atom {
    /// # Errors
    ///
    /// What is wrong with the text, as a fragment.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("header:") {
            return header(name).map(Self::Header);
        }
        if let Some(name) = text.strip_prefix("query:") {
            return Ok(Self::Query(name.to_owned()));
        }
        match text {
            "derived" => return Ok(Self::Derived),
            "number" => return Ok(Self::Number),
            _ => {}
        }
        let rest = text.trim_start_matches('^');
        if rest == "." {
            return Ok(Self::Pointer { up: text.len() - 1, pointer: Pointer::parse("")? });
        }
        if !rest.starts_with('/') {
            return Err(format!(
                "`{text}` is no place: wanted a pointer such as `/data/id`, `header:name` or \
                 `query:name`"
            ));
        }
        Ok(Self::Pointer { up: text.len() - rest.len(), pointer: Pointer::parse(rest)? })
    }
}

impl Reading {
    /// `/pointer`, `header:name`, or text with such places in `{…}` and optional parts in `[…]`.
    ///
    /// # Errors
    ///
    /// What is wrong with the text, as a fragment.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let is_place = ["/", "^", "header:", "query:"].iter().any(|p| text.starts_with(p));
        if is_place && !text.contains('{') {
            return Ok(Self(vec![Piece::Atom(Atom::parse(text)?)]));
        }
        let pieces = pieces(text, Atom::parse)?;
        if pieces.is_empty() {
            return Err("an empty text says nothing".to_owned());
        }
        Ok(Self(pieces))
    }
}

/// Parses what is signed.
///
/// # Errors
///
/// What is wrong with the text, as a fragment.
pub(super) fn signed(text: &str) -> Result<Signed, String> {
    pieces(text, |atom| {
        Ok(match atom {
            "body" => SignedAtom::Body,
            "crc32" => SignedAtom::Crc32,
            "timestamp" => SignedAtom::Timestamp,
            "id" => SignedAtom::Id,
            "method" => SignedAtom::Method,
            "url" => SignedAtom::Url,
            "path" => SignedAtom::Path,
            "secret" => SignedAtom::Secret,
            "form" => SignedAtom::Form,
            other => match Atom::parse(other) {
                Ok(Atom::Header(name)) => SignedAtom::Header(name),
                Ok(Atom::Query(name)) => SignedAtom::Query(name),
                Ok(Atom::Pointer { up: 0, pointer }) => SignedAtom::Pointer(pointer),
                Ok(Atom::Pointer { .. } | Atom::Derived | Atom::Number) | Err(_) => {
                    return Err(format!(
                        "`{{{other}}}` cannot be signed: wanted body, timestamp, id, method, url, \
                         path, secret, form, crc32, header:…, query:… or a pointer"
                    ));
                }
            },
        })
    })
}

/// Splits text with `{…}` and `[…]`. `{{`, `}}`, `[[` and `]]` stand for themselves.
pub(super) fn pieces<A>(
    text: &str,
    atom: impl Fn(&str) -> Result<A, String>,
) -> Result<Vec<Piece<A>>, String> {
    let mut outer: Option<Vec<Piece<A>>> = None;
    let mut done: Vec<Piece<A>> = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        if "{}[]".contains(c) && after.starts_with(c) {
            literal.push(c);
            rest = after.get(1..).unwrap_or_default();
            continue;
        }
        if "{[]".contains(c) && !literal.is_empty() {
            done.push(Piece::Text(std::mem::take(&mut literal)));
        }
        rest = after;
        match c {
            '{' => {
                let (inner, behind) =
                    after.split_once('}').ok_or_else(|| format!("`{text}` lacks a `}}`"))?;
                done.push(match inner.strip_suffix('?') {
                    Some(inner) => Piece::Present(atom(inner)?),
                    None => Piece::Atom(atom(inner)?),
                });
                rest = behind;
            }
            '}' => return Err(format!("`{text}` has a `}}` too many")),
            '[' if outer.is_some() => return Err(format!("`[` inside `[` in `{text}`")),
            '[' => outer = Some(std::mem::take(&mut done)),
            ']' => {
                let inner = std::mem::take(&mut done);
                done = outer.take().ok_or_else(|| format!("`{text}` has a `]` too many"))?;
                done.push(Piece::Optional(inner));
            }
            c => literal.push(c),
        }
    }
    if outer.is_some() {
        return Err(format!("`{text}` lacks a `]`"));
    }
    if !literal.is_empty() {
        done.push(Piece::Text(literal));
    }
    Ok(done)
}

/// Every atom, those in optional parts too.
pub(super) fn atoms<A>(pieces: &[Piece<A>]) -> Vec<&A> {
    let mut all = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(_) => {}
            Piece::Atom(atom) | Piece::Present(atom) => all.push(atom),
            Piece::Optional(inner) => all.extend(atoms(inner)),
        }
    }
    all
}

/// # Errors
///
/// That the text is no header's name.
pub(super) fn header(name: &str) -> Result<HeaderName, String> {
    name.parse().map_err(|_| format!("`{name}` is no name of a header"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn refused(text: &str, why: &str) {
        let error = Reading::parse(text).map(drop).and_then(|()| signed(text).map(drop));
        assert!(error.as_ref().is_err_and(|e| e.contains(why)), "{text}: {error:?}");
    }

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let id = Pointer::parse("/id").unwrap();
        let one = |atom| Ok(Reading(vec![Piece::Atom(atom)]));
        assert_eq!(Reading::parse("/id"), one(Atom::Pointer { up: 0, pointer: id.clone() }));
        assert_eq!(Reading::parse("^^/id"), one(Atom::Pointer { up: 2, pointer: id.clone() }));
        let header = HeaderName::from_static("x-event");
        assert_eq!(Reading::parse("header:X-Event"), one(Atom::Header(header.clone())));
        let present = Piece::Present(Atom::Pointer { up: 0, pointer: id.clone() });
        let text = Piece::Text("thing".to_owned());
        assert_eq!(Reading::parse("thing{/id?}"), Ok(Reading(vec![text, present])));
        assert_eq!(
            Reading::parse("{header:x-event}[.{/id}]"),
            Ok(Reading(vec![
                Piece::Atom(Atom::Header(header)),
                Piece::Optional(vec![
                    Piece::Text(".".to_owned()),
                    Piece::Atom(Atom::Pointer { up: 0, pointer: id }),
                ]),
            ]))
        );
    }

    #[test]
    fn what_is_signed_is_a_row_of_parts() {
        assert_eq!(
            signed("v0:{timestamp}:{body}"),
            Ok(vec![
                Piece::Text("v0:".to_owned()),
                Piece::Atom(SignedAtom::Timestamp),
                Piece::Text(":".to_owned()),
                Piece::Atom(SignedAtom::Body),
            ])
        );
    }

    #[test]
    fn a_mistake_says_what_was_wanted() {
        refused("{id", "lacks a `}`");
        refused("id}", "a `}` too many");
        refused("[{/id}", "lacks a `]`");
        refused("{/a}]", "a `]` too many");
        refused("{bodyy}", "wanted a pointer");
        refused("header:a b", "no name of a header");
        refused("", "says nothing");
        assert!(signed("{bodyy}").unwrap_err().contains("wanted body, timestamp"));
    }

    proptest! {
        #[test]
        fn nothing_panics(text: String, braces in "[{}\\[\\]/a~é]{0,12}") {
            for text in [text, braces] {
                let _ = Reading::parse(&text);
                let _ = signed(&text);
            }
        }
    }
}
