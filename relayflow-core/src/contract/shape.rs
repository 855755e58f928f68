//! Whether a payload looks like one that was seen before: one pass over its bytes makes a number of
//! its keys and types. Equal numbers mean equal shapes, so a payload is held against its contract
//! once per shape and not once per event.
//!
//! What the contract says of values is part of the shape: whether a text is one of its place's
//! vocabulary, whether it has its place's format. Keys that are free are one key.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use super::DEPTH_MAX;
use super::schema::{Format, Schema};
use super::text;

/// Distinct elements of one array that are counted once; what comes after them counts each time.
const ELEMENTS_MAX: usize = 8;

/// What the shape of a payload depends on, besides keys and types.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    places: HashMap<u64, Mark, BuildHasherDefault<Ready>>,
    /// Words of vocabularies, and fields beside free keys; each with its place.
    known: HashSet<u64, BuildHasherDefault<Ready>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    has_free_keys: bool,
    has_words: bool,
    format: Option<Format>,
}

/// Numbers that are hashes already.
#[derive(Debug, Default)]
struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(self.0, bytes);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

const ROOT: u64 = 0x9e37_79b9_7f4a_7c15;
const ELEMENT: u64 = 0x2545_f491_4f6c_dd1d;
const FREE: u64 = 0xd6e8_feb8_6659_fd93;

fn mix(a: u64, b: u64) -> u64 {
    let wide = u128::from(a ^ 0xa076_1d64_78bd_642f) * u128::from(b ^ 0xe703_7ed1_a0b4_28db);
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    let folded = (wide as u64) ^ ((wide >> 64) as u64);
    folded
}

fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(8);
    let mut state = seed ^ (bytes.len() as u64);
    for chunk in &mut chunks {
        state = mix(state, u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
    }
    let mut last = [0_u8; 8];
    let rest = chunks.remainder();
    last[..rest.len()].copy_from_slice(rest);
    mix(state, u64::from_le_bytes(last))
}

impl Marks {
    /// What `schema` says of values.
    #[must_use]
    pub fn of(schema: &Schema) -> Self {
        let mut marks = Self::default();
        marks.add(schema, ROOT);
        marks
    }

    fn add(&mut self, schema: &Schema, place: u64) {
        let mark = Mark {
            has_free_keys: schema.free.is_some(),
            has_words: schema.words.is_some(),
            format: schema.format,
        };
        if mark.has_free_keys || mark.has_words || mark.format.is_some() {
            self.places.insert(place, mark);
        }
        for word in schema.words.iter().flatten() {
            self.known.insert(hash(place, word.as_bytes()));
        }
        for (key, field) in &schema.fields {
            let inner = hash(place, key.as_bytes());
            if mark.has_free_keys {
                self.known.insert(inner);
            }
            self.add(&field.schema, inner);
        }
        if let Some(free) = &schema.free {
            self.add(free, mix(place, FREE));
        }
        if let Some(items) = &schema.items {
            self.add(items, mix(place, ELEMENT));
        }
    }
}

/// The shape of a JSON text; `None` if it is not JSON, or nothing that is worth a number.
#[must_use]
pub fn shape_of(json: &[u8], marks: &Marks) -> Option<u64> {
    let mut scan = Scan { bytes: json, at: 0, marks };
    let shape = scan.value(ROOT, 0)?;
    scan.space();
    (scan.at == json.len()).then_some(shape)
}

struct Scan<'j> {
    bytes: &'j [u8],
    at: usize,
    marks: &'j Marks,
}

impl<'j> Scan<'j> {
    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        self.space();
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn value(&mut self, place: u64, depth: usize) -> Option<u64> {
        match self.peek()? {
            b'{' => self.object(place, depth),
            b'[' => self.array(place, depth),
            b'"' => {
                let text = self.text()?;
                Some(self.text_shape(place, text))
            }
            b't' => self.word(b"true", 2),
            b'f' => self.word(b"false", 2),
            b'n' => self.word(b"null", 1),
            b'-' | b'0'..=b'9' => {
                while let Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9') =
                    self.bytes.get(self.at)
                {
                    self.at += 1;
                }
                Some(3)
            }
            _ => None,
        }
    }

    fn word(&mut self, word: &[u8], shape: u64) -> Option<u64> {
        let end = self.at + word.len();
        (self.bytes.get(self.at..end)? == word).then(|| self.at = end)?;
        Some(shape)
    }

    fn text_shape(&self, place: u64, text: &[u8]) -> u64 {
        let Some(mark) = self.marks.places.get(&place) else { return 4 };
        let mut shape = 4;
        if mark.has_words && !text.is_empty() {
            let word = hash(place, text);
            if !self.marks.known.contains(&word) {
                shape = mix(shape, word);
            }
        }
        if let Some(format) = mark.format {
            let keeps = std::str::from_utf8(text).is_ok_and(|text| text::has_format(text, format));
            shape = mix(shape, u64::from(keeps));
        }
        shape
    }

    /// The bytes between quotes, as they are written.
    fn text(&mut self) -> Option<&'j [u8]> {
        let from = self.at + 1;
        let mut at = from;
        loop {
            at += next_special(self.bytes.get(at..)?)?;
            if self.bytes.get(at) == Some(&b'"') {
                break;
            }
            // A backslash, and what it escapes.
            at += 2;
        }
        self.at = at + 1;
        self.bytes.get(from..at)
    }

    fn object(&mut self, place: u64, depth: usize) -> Option<u64> {
        if DEPTH_MAX <= depth {
            return self.skip();
        }
        self.at += 1;
        let mut shape = 5_u64;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(shape);
        }
        let has_free_keys = self.marks.places.get(&place).is_some_and(|m| m.has_free_keys);
        let mut free = Elements::default();
        loop {
            if self.peek()? != b'"' {
                return None;
            }
            let mut inner = hash(place, self.text()?);
            self.take(b':')?;
            if has_free_keys && !self.marks.known.contains(&inner) {
                inner = mix(place, FREE);
                free.add(mix(inner, self.value(inner, depth + 1)?));
            } else {
                // A sum: the order of keys is no part of the shape.
                shape = shape.wrapping_add(mix(inner, self.value(inner, depth + 1)?));
            }
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return None,
            }
        }
        self.at += 1;
        Some(mix(shape.wrapping_add(free.sum), 5))
    }

    fn array(&mut self, place: u64, depth: usize) -> Option<u64> {
        if DEPTH_MAX <= depth {
            return self.skip();
        }
        self.at += 1;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(6);
        }
        let inner = mix(place, ELEMENT);
        let mut elements = Elements::default();
        loop {
            elements.add(mix(inner, self.value(inner, depth + 1)?));
            match self.peek()? {
                b',' => self.at += 1,
                b']' => break,
                _ => return None,
            }
        }
        self.at += 1;
        Some(mix(elements.sum, 6))
    }

    /// Passes over what is too deep.
    fn skip(&mut self) -> Option<u64> {
        let mut open = 0_usize;
        loop {
            match self.bytes.get(self.at)? {
                b'"' => {
                    self.text()?;
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => {
                    open = open.checked_sub(1)?;
                    if open == 0 {
                        self.at += 1;
                        return Some(7);
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
    }
}

/// Where the first quote or backslash is. Eight bytes at a time: texts are most of a payload.
fn next_special(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // The high bit of each byte of `chunk` that is `byte`, exact up to the first of them.
    let is = |chunk: u64, byte: u8| {
        let zero = chunk ^ (ONES * u64::from(byte));
        zero.wrapping_sub(ONES) & !zero & HIGH
    };
    let mut chunks = bytes.chunks_exact(8);
    let mut at = 0;
    for chunk in &mut chunks {
        let chunk = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        let found = is(chunk, b'"') | is(chunk, b'\\');
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = chunks.remainder().iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    Some(at + rest)
}

/// The shapes of elements, each counted once: how many there are is no part of a shape.
#[derive(Default)]
struct Elements {
    seen: [u64; ELEMENTS_MAX],
    count: usize,
    sum: u64,
}

impl Elements {
    fn add(&mut self, shape: u64) {
        if self.seen[..self.count].contains(&shape) {
            return;
        }
        if let Some(place) = self.seen.get_mut(self.count) {
            *place = shape;
            self.count += 1;
        }
        self.sum = self.sum.wrapping_add(shape);
    }
}
