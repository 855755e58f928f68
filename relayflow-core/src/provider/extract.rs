//! Reads chosen places of a JSON text in one pass: a trie of pointers, walked by a serde visitor.
//! What nobody asked for is skipped, what is found is borrowed, and numbers keep their text.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{
    Deserialize as _, DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;

/// How deep a text may nest: serde_json's own limit, held also where it only skips.
pub(super) const DEPTH_MAX: usize = 128;

/// One step of a [`Pointer`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    /// A member's name, or an element's number.
    Name(Box<str>),
    /// `*`: the first element of an array, or the first member of an object.
    First,
    /// `@key`, last: the name of the object's first member.
    FirstKey,
}

/// A JSON Pointer with two additions: see [`Segment`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pointer(pub(super) Vec<Segment>);

impl Pointer {
    /// # Errors
    ///
    /// What is wrong with the text, as a fragment.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("the pointer `{text}` does not begin with `/`"));
        };
        let mut segments = Vec::new();
        for part in rest.split('/') {
            if segments.last() == Some(&Segment::FirstKey) {
                return Err(format!("`@key` must be the last part of `{text}`"));
            }
            segments.push(match part {
                "*" => Segment::First,
                "@key" => Segment::FirstKey,
                name => Segment::Name(unescape(name, text)?.into_boxed_str()),
            });
        }
        Ok(Self(segments))
    }
}

fn unescape(part: &str, whole: &str) -> Result<String, String> {
    let mut out = String::with_capacity(part.len());
    let mut chars = part.chars();
    while let Some(c) = chars.next() {
        match c {
            '~' => match chars.next() {
                Some('0') => out.push('~'),
                Some('1') => out.push('/'),
                _ => return Err(format!("`~` in the pointer `{whole}` must be `~0` or `~1`")),
            },
            c => out.push(c),
        }
    }
    Ok(out)
}

/// Pointers to read, merged by their common beginnings.
#[derive(Debug, Clone, Default)]
pub(super) struct Trie {
    root: Node,
    pub(super) slots: usize,
}

#[derive(Debug, Clone, Default)]
struct Node {
    /// Where the value found here goes.
    slot: Option<usize>,
    first_key: Option<usize>,
    first: Option<Box<Node>>,
    /// Sorted by name.
    children: Vec<(Box<str>, Node)>,
}

impl Trie {
    /// Asks for `pointer`; the slot in which it will be found.
    pub(super) fn want(&mut self, pointer: &Pointer) -> usize {
        let fresh = self.slots;
        let slot = self.root.want(&pointer.0, fresh);
        self.slots = self.slots.max(slot + 1);
        slot
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots == 0
    }

    /// What is asked for, by slot.
    pub(super) fn pointers(&self) -> Vec<(usize, Pointer)> {
        let mut all = Vec::new();
        self.root.collect(&mut Vec::new(), &mut all);
        all.sort_by_key(|(slot, _)| *slot);
        all
    }

    /// Reads `text`, which must be one JSON value.
    ///
    /// # Errors
    ///
    /// serde_json's, which names line and column; or a member that stands twice at a place that is
    /// read.
    pub(super) fn read<'de>(&self, text: &'de str) -> Result<Found<'de>, serde_json::Error> {
        let mut found = vec![None; self.slots];
        self.root.read(text, &mut found)?;
        Ok(Found(found))
    }
}

impl Node {
    fn want(&mut self, segments: &[Segment], fresh: usize) -> usize {
        match segments.split_first() {
            None => *self.slot.get_or_insert(fresh),
            Some((Segment::FirstKey, _)) => *self.first_key.get_or_insert(fresh),
            Some((Segment::First, rest)) => self.first.get_or_insert_default().want(rest, fresh),
            Some((Segment::Name(name), rest)) => {
                let at = match self.children.binary_search_by(|(n, _)| n.cmp(name)) {
                    Ok(at) => at,
                    Err(at) => {
                        self.children.insert(at, (name.clone(), Node::default()));
                        at
                    }
                };
                self.children[at].1.want(rest, fresh)
            }
        }
    }

    fn collect(&self, path: &mut Vec<Segment>, all: &mut Vec<(usize, Pointer)>) {
        all.extend(self.slot.map(|slot| (slot, Pointer(path.clone()))));
        let mut below = |segment: Segment, node: &Self| {
            path.push(segment);
            node.collect(path, all);
            path.pop();
        };
        if let Some(node) = &self.first {
            below(Segment::First, node);
        }
        for (name, node) in &self.children {
            below(Segment::Name(name.clone()), node);
        }
    }

    fn is_leaf(&self) -> bool {
        self.first_key.is_none() && self.first.is_none() && self.children.is_empty()
    }

    fn child(&self, name: &str) -> Option<usize> {
        self.children.binary_search_by(|(n, _)| (**n).cmp(name)).ok()
    }

    fn read<'de>(
        &self,
        text: &'de str,
        found: &mut [Option<Capture<'de>>],
    ) -> Result<(), serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        Walk { node: self, found }.deserialize(&mut json)?;
        json.end()
    }
}

/// What a [`Trie`] found, by slot.
#[derive(Debug, Clone, Default)]
pub(super) struct Found<'de>(Vec<Option<Capture<'de>>>);

#[derive(Debug, Clone)]
enum Capture<'de> {
    Value(&'de RawValue),
    /// The name of an object's first member.
    Key(Cow<'de, str>),
}

impl<'de> Found<'de> {
    /// Whether there is anything but null at `slot`.
    pub(super) fn is_there(&self, slot: usize) -> bool {
        match self.0.get(slot) {
            Some(Some(Capture::Value(raw))) => raw.get() != "null",
            Some(Some(Capture::Key(_))) => true,
            Some(None) | None => false,
        }
    }

    /// The JSON text at `slot`.
    pub(super) fn raw(&self, slot: usize) -> Option<&'de str> {
        match self.0.get(slot) {
            Some(Some(Capture::Value(raw))) => Some(raw.get()),
            Some(Some(Capture::Key(_)) | None) | None => None,
        }
    }

    /// The scalar at `slot` as text: a string's content, a number's or a boolean's own text.
    pub(super) fn scalar(&self, slot: usize) -> Scalar<'de> {
        match self.0.get(slot) {
            None | Some(None) => Scalar::Missing,
            Some(Some(Capture::Value(raw))) => scalar(raw.get()),
            Some(Some(Capture::Key(text))) => Scalar::Text(text.clone()),
        }
    }
}

/// A value at a place where a scalar is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scalar<'de> {
    Missing,
    Text(Cow<'de, str>),
    /// An object, an array, or a string that is not Unicode.
    Other,
}

impl<'de> Scalar<'de> {
    pub(super) fn text(self) -> Option<Cow<'de, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Missing | Self::Other => None,
        }
    }
}

/// Reads one JSON value as a scalar.
pub(super) fn scalar(text: &str) -> Scalar<'_> {
    match text.as_bytes().first() {
        Some(b'{' | b'[') => Scalar::Other,
        Some(b'"') => match string(text) {
            Some(text) => Scalar::Text(text),
            None => Scalar::Other,
        },
        Some(b'n') | None => Scalar::Missing,
        Some(_) => Scalar::Text(Cow::Borrowed(text)),
    }
}

/// The content of a JSON string; borrowed if it has no escapes.
fn string(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(text).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

struct Walk<'t, 'f, 'de> {
    node: &'t Node,
    found: &'f mut [Option<Capture<'de>>],
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        let Some(slot) = self.node.slot else {
            if self.node.is_leaf() {
                return IgnoredAny::deserialize(json).map(drop);
            }
            return json.deserialize_any(self);
        };
        let raw = <&RawValue>::deserialize(json)?;
        self.found[slot] = Some(Capture::Value(raw));
        if self.node.is_leaf() {
            return Ok(());
        }
        // Both the whole and a part of it are wanted: what was captured is read once more.
        let inner = Walk { node: self.node, found: self.found };
        let mut json = serde_json::Deserializer::from_str(raw.get());
        json.deserialize_any(inner).map_err(D::Error::custom)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { node, found } = self;
        let first = node.first.as_deref();
        // One bit for each child. A definition that reads more than 64 members of one object loses
        // only the check of the rest for being there twice.
        let mut seen = 0_u64;
        let mut is_first = true;
        loop {
            let wants_text = is_first && node.first_key.is_some();
            let Some((child, text)) = map.next_key_seed(Key { node, wants_text })? else {
                return Ok(());
            };
            let was_first = std::mem::take(&mut is_first);
            if let (Some(slot), Some(text)) = (node.first_key, text) {
                found[slot] = Some(Capture::Key(text));
            }
            match child {
                Some(child) => {
                    let bit = u32::try_from(child).ok().and_then(|c| 1_u64.checked_shl(c));
                    let bit = bit.unwrap_or(0);
                    let (name, node) = &node.children[child];
                    if seen & bit != 0 {
                        return Err(A::Error::custom(format!("`{name}` is there twice")));
                    }
                    seen |= bit;
                    match first {
                        Some(first) if was_first => {
                            let raw = map.next_value::<&RawValue>()?;
                            walk_both(raw, [node, first], found).map_err(A::Error::custom)?;
                        }
                        Some(_) | None => {
                            map.next_value_seed(Walk { node, found: &mut *found })?;
                        }
                    }
                }
                None => match &node.first {
                    Some(node) if was_first => {
                        map.next_value_seed(Walk { node, found: &mut *found })?;
                    }
                    Some(_) | None => {
                        map.next_value::<IgnoredAny>()?;
                    }
                },
            }
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { node, found } = self;
        let numbered: Vec<(usize, &Node)> = node
            .children
            .iter()
            .filter_map(|(name, node)| Some((name.parse().ok()?, node)))
            .collect();
        for number in 0.. {
            let child = numbered.iter().find(|(n, _)| *n == number).map(|(_, node)| *node);
            let went_on = match (child, &node.first) {
                (Some(node), Some(first)) if number == 0 => {
                    let raw = seq.next_element::<&RawValue>()?;
                    raw.map(|raw| walk_both(raw, [node, first], found))
                        .transpose()
                        .map_err(A::Error::custom)?
                }
                (Some(node), _) => seq.next_element_seed(Walk { node, found: &mut *found })?,
                (None, Some(node)) if number == 0 => {
                    seq.next_element_seed(Walk { node, found: &mut *found })?
                }
                (None, _) => seq.next_element::<IgnoredAny>()?.map(drop),
            };
            if went_on.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// What is asked for by its name and as the first is read for each.
fn walk_both<'de>(
    raw: &'de RawValue,
    nodes: [&Node; 2],
    found: &mut [Option<Capture<'de>>],
) -> Result<(), serde_json::Error> {
    for node in nodes {
        let mut json = serde_json::Deserializer::from_str(raw.get());
        Walk { node, found: &mut *found }.deserialize(&mut json)?;
    }
    Ok(())
}

/// A member's name: which child of `node` it is, and its text where that is wanted.
struct Key<'t> {
    node: &'t Node,
    wants_text: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = (Option<usize>, Option<Cow<'de, str>>);

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = (Option<usize>, Option<Cow<'de, str>>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok((self.node.child(name), self.wants_text.then_some(Cow::Borrowed(name))))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok((self.node.child(name), self.wants_text.then(|| Cow::Owned(name.to_owned()))))
    }
}

/// Whether `text` nests deeper than [`DEPTH_MAX`]. serde_json does not count where it skips.
pub(super) fn is_too_deep(text: &str) -> bool {
    let opening = |b: &&u8| matches!(b, b'{' | b'[');
    // Nearly every text has fewer opening brackets than that in all.
    if text.as_bytes().iter().filter(opening).count() <= DEPTH_MAX {
        return false;
    }
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if DEPTH_MAX < depth {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, pointers: &[&str]) -> Result<Vec<Option<String>>, String> {
        let mut trie = Trie::default();
        let slots: Vec<_> =
            pointers.iter().map(|p| trie.want(&Pointer::parse(p).unwrap())).collect();
        let found = trie.read(text).map_err(|e| e.to_string())?;
        Ok(slots.iter().map(|s| found.scalar(*s).text().map(Cow::into_owned)).collect())
    }

    #[track_caller]
    fn check(text: &str, pointer: &str, expected: Option<&str>) {
        assert_eq!(read(text, &[pointer]), Ok(vec![expected.map(str::to_owned)]), "{pointer}");
    }

    #[test]
    fn a_pointer_reads_its_place() {
        check(r#"{"id":"evt_1"}"#, "/id", Some("evt_1"));
        check(r#"{"a":{"b":[1,{"c":true}]}}"#, "/a/b/1/c", Some("true"));
        check(r#"{"a~b":{"c/d":7}}"#, "/a~0b/c~1d", Some("7"));
        check(
            r#"{"n":123456789012345678901234567890}"#,
            "/n",
            Some("123456789012345678901234567890"),
        );
        check(r#"{"n":1e400}"#, "/n", Some("1e400"));
        check(r#"{"s":"\u00e9\n"}"#, "/s", Some("é\n"));
        check(r#"{"i\u0064":"x"}"#, "/id", Some("x"));
        check(r#"{"a":null}"#, "/a", None);
        check(r#"{"a":1}"#, "/a/b", None);
        check(r#"{"a":{}}"#, "/a", None);
        check(r#"{"msys":{"track_event":{"type":"click"}}}"#, "/msys/@key", Some("track_event"));
        check(r#"{"msys":{"track_event":{"type":"click"}}}"#, "/msys/*/type", Some("click"));
        check(r#"[{"id":1},{"id":2}]"#, "/*/id", Some("1"));
        check("7", "", Some("7"));
    }

    #[test]
    fn a_whole_and_its_part_are_both_read() {
        let both = read(r#"{"a":{"b":1}}"#, &["/a", "/a/b"]).unwrap();
        assert_eq!(both, [None, Some("1".to_owned())]);
    }

    #[test]
    fn the_first_may_also_be_asked_for_by_its_name() {
        let text = r#"{"in":{"b":{"id":1},"a":{"id":2}},"list":[{"id":3}]}"#;
        let wanted = ["/in/*/id", "/in/a/id", "/in/b/id", "/list/*/id", "/list/0/id"];
        let found = read(text, &wanted).unwrap();
        assert_eq!(found.into_iter().flatten().collect::<Vec<_>>(), ["1", "2", "1", "3", "3"]);
    }

    #[test]
    fn a_member_that_is_read_must_be_there_once() {
        assert!(read(r#"{"id":1,"id":2}"#, &["/id"]).unwrap_err().contains("`id` is there twice"));
        assert!(read(r#"{"x":1,"x":2,"id":3}"#, &["/id"]).is_ok());
    }

    #[test]
    fn what_is_not_one_json_value_is_refused() {
        for bad in ["", "{", "{} {}", "{'a':1}", "[1,]", r#"{"a":}"#, "nul"] {
            assert!(read(bad, &["/id"]).is_err(), "{bad}");
        }
    }

    #[test]
    fn depth_is_counted_outside_of_strings() {
        let nested = |n| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(!is_too_deep(&nested(DEPTH_MAX)));
        assert!(is_too_deep(&nested(DEPTH_MAX + 1)));
        assert!(!is_too_deep(&format!("{:?}", "[".repeat(1000))));
        assert!(!is_too_deep(&"[],".repeat(1000)));
    }

    proptest! {
        #[test]
        fn nothing_panics(text: String, pointer in "(/[a~*@0-9key/]{0,8})?") {
            let _ = is_too_deep(&text);
            if let Ok(pointer) = Pointer::parse(&pointer) {
                let mut trie = Trie::default();
                trie.want(&pointer);
                let _ = trie.read(&text);
            }
        }
    }
}
