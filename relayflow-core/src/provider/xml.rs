//! XML as the JSON that definitions point into. Only what vendors' notifications are made of: elements,
//! attributes, text and CDATA. A document type is refused, and with it every entity of one's own.

use std::collections::{HashMap, HashSet};

use super::extract::DEPTH_MAX;
use crate::event::push_json;

/// An element, read.
#[derive(Debug, Default)]
struct Element<'x> {
    name: &'x str,
    /// Name and value, without declarations of name spaces.
    attributes: Vec<(&'x str, String)>,
    children: Vec<Element<'x>>,
    text: String,
}

/// Turns a document into an object of one member, the root.
///
/// An element with elements in it is an object of them, then of its attributes as `@name`; elements
/// of one name are an array. One with text alone is that text, its attributes left out; an empty one
/// that says that it is `nil` is null. Prefixes of name spaces are taken off.
///
/// # Errors
///
/// What is wrong with it, and from which byte on.
pub(super) fn to_json(text: &str) -> Result<String, String> {
    let root = Reader { text, at: 0 }.document()?;
    let mut out = String::from("{");
    push_json(&mut out, root.name);
    out.push(':');
    root.push(&mut out);
    out.push('}');
    Ok(out)
}

impl Element<'_> {
    fn push(&self, out: &mut String) {
        if self.children.is_empty() {
            let text = self.text.trim();
            let is_nil =
                self.attributes.iter().any(|(name, value)| *name == "nil" && value == "true");
            if text.is_empty() && is_nil {
                out.push_str("null");
            } else {
                push_json(out, text);
            }
            return;
        }
        let mut groups: Vec<(&str, Vec<&Self>)> = Vec::new();
        let mut places = HashMap::new();
        for child in &self.children {
            let place = *places.entry(child.name).or_insert(groups.len());
            match groups.get_mut(place) {
                Some((_, group)) => group.push(child),
                None => groups.push((child.name, vec![child])),
            }
        }
        out.push('{');
        for (number, (name, group)) in groups.iter().enumerate() {
            if 0 < number {
                out.push(',');
            }
            push_json(out, name);
            out.push(':');
            match group.as_slice() {
                [only] => only.push(out),
                several => {
                    for (number, element) in several.iter().enumerate() {
                        out.push(if number == 0 { '[' } else { ',' });
                        element.push(out);
                    }
                    out.push(']');
                }
            }
        }
        let mut seen = HashSet::new();
        for (name, value) in &self.attributes {
            // Attributes that differ by their prefix alone: the first stands.
            if !seen.insert(name) {
                continue;
            }
            out.push(',');
            push_json(out, &format!("@{name}"));
            out.push(':');
            push_json(out, value);
        }
        out.push('}');
    }
}

struct Reader<'x> {
    text: &'x str,
    at: usize,
}

impl<'x> Reader<'x> {
    fn rest(&self) -> &'x str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn wrong<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("{what} at byte {}", self.at))
    }

    /// Goes past `wanted`, if it is next.
    fn takes(&mut self, wanted: &str) -> bool {
        let is_next = self.rest().starts_with(wanted);
        if is_next {
            self.at += wanted.len();
        }
        is_next
    }

    /// Everything up to `end`, going past it.
    fn until(&mut self, end: &str) -> Result<&'x str, String> {
        match self.rest().split_once(end) {
            Some((before, _)) => {
                self.at += before.len() + end.len();
                Ok(before)
            }
            None => self.wrong(&format!("`{end}` is missing")),
        }
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_ascii_start().len();
    }

    /// A name without its prefix, and with it.
    fn name(&mut self) -> Result<(&'x str, &'x str), String> {
        let rest = self.rest();
        let is_end = |c: char| c.is_ascii_whitespace() || "/>=<\"'&".contains(c);
        let whole = rest.split(is_end).next().unwrap_or_default();
        if whole.is_empty() {
            return self.wrong("a name is missing");
        }
        self.at += whole.len();
        Ok((whole.rsplit(':').next().unwrap_or(whole), whole))
    }

    /// Comments, instructions and white space outside of the root.
    fn skip_outside(&mut self) -> Result<(), String> {
        loop {
            self.skip_space();
            if self.takes("<?") {
                self.until("?>")?;
            } else if self.takes("<!--") {
                self.until("-->")?;
            } else {
                return Ok(());
            }
        }
    }

    fn document(mut self) -> Result<Element<'x>, String> {
        self.skip_outside()?;
        let mut open: Vec<(Element<'x>, &'x str)> = Vec::new();
        loop {
            let mut done = None;
            if self.takes("<!--") {
                self.until("-->")?;
            } else if self.takes("<?") {
                self.until("?>")?;
            } else if self.takes("<![CDATA[") {
                let text = self.until("]]>")?;
                match open.last_mut() {
                    Some((element, _)) => element.text.push_str(text),
                    None => return self.wrong("there is text outside of the root"),
                }
            } else if self.rest().starts_with("<!") {
                return self.wrong("a document type is not taken");
            } else if self.takes("</") {
                let (_, whole) = self.name()?;
                self.skip_space();
                if !self.takes(">") {
                    return self.wrong("`>` is missing");
                }
                match open.pop() {
                    Some((element, name)) if name == whole => done = Some(element),
                    Some(_) | None => return self.wrong(&format!("`</{whole}>` ends nothing")),
                }
            } else if self.takes("<") {
                let (element, whole, is_empty) = self.tag()?;
                if DEPTH_MAX <= open.len() {
                    return self.wrong("it nests too deep");
                }
                if is_empty {
                    done = Some(element);
                } else {
                    open.push((element, whole));
                }
            } else {
                let text = self.rest().split('<').next().unwrap_or_default();
                if text.is_empty() {
                    return self.wrong("the end is missing");
                }
                match open.last_mut() {
                    Some((element, _)) => element.text.push_str(&unescape(text)?),
                    None => return self.wrong("there is text outside of the root"),
                }
                self.at += text.len();
            }
            let Some(element) = done else { continue };
            match open.last_mut() {
                Some((parent, _)) => parent.children.push(element),
                None => {
                    self.skip_outside()?;
                    if !self.rest().is_empty() {
                        return self.wrong("there is something after the root");
                    }
                    return Ok(element);
                }
            }
        }
    }

    /// A beginning tag behind its `<`: the element, its whole name, and whether it ends itself.
    fn tag(&mut self) -> Result<(Element<'x>, &'x str, bool), String> {
        let (name, whole) = self.name()?;
        let mut element = Element { name, ..Element::default() };
        loop {
            self.skip_space();
            if self.takes("/>") {
                return Ok((element, whole, true));
            }
            if self.takes(">") {
                return Ok((element, whole, false));
            }
            let (name, prefixed) = self.name()?;
            self.skip_space();
            if !self.takes("=") {
                return self.wrong("`=` is missing");
            }
            self.skip_space();
            let quote = if self.takes("\"") {
                "\""
            } else if self.takes("'") {
                "'"
            } else {
                return self.wrong("a quotation mark is missing");
            };
            let value = unescape(self.until(quote)?)?;
            if prefixed != "xmlns" && !prefixed.starts_with("xmlns:") {
                element.attributes.push((name, value));
            }
        }
    }
}

/// Text with its five entities, and characters by number.
fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let Some((name, after)) = after.split_once(';') else {
            return Err("`&` begins no entity".to_owned());
        };
        let number =
            |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32);
        let character = match name {
            "lt" => Some('<'),
            "gt" => Some('>'),
            "amp" => Some('&'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            name => match (name.strip_prefix("#x"), name.strip_prefix('#')) {
                (Some(digits), _) => number(digits, 16),
                (None, Some(digits)) => number(digits, 10),
                (None, None) => None,
            },
        };
        match character {
            Some(character) => out.push(character),
            None => return Err("there is an entity that nothing defines".to_owned()),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(xml: &str, json: &str) {
        assert_eq!(to_json(xml).as_deref(), Ok(json));
    }

    #[test]
    fn elements_become_members() {
        check(
            "<?xml version=\"1.0\"?>\n<!-- c --><a>\n <b type='integer'>1</b> <c nil=\"true\"/><d/>\n</a>\n",
            r#"{"a":{"b":"1","c":null,"d":""}}"#,
        );
        check("<l type=\"array\"><i>1</i><i>2</i></l>", r#"{"l":{"i":["1","2"],"@type":"array"}}"#);
        check(
            r#"<s:E xmlns:s="urn:x"><s:o xsi:type="sf:Account"><s:Id>1</s:Id></s:o></s:E>"#,
            r#"{"E":{"o":{"Id":"1","@type":"sf:Account"}}}"#,
        );
        check("<a>x &lt;&#233;&#x41; <![CDATA[<&]]></a>", r#"{"a":"x <\u00e9A <&"}"#);
        check("<unknown />", r#"{"unknown":""}"#);
    }

    #[test]
    fn what_is_no_plain_document_is_refused() {
        let deep = format!("{}{}", "<a>".repeat(200), "</a>".repeat(200));
        for bad in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a b></a>",
            "<a>&own;</a>",
            "<!DOCTYPE a [<!ENTITY own 'x'>]><a>&own;</a>",
            "<a>&#xD800;</a>",
            &deep,
        ] {
            assert!(to_json(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_comes_out_is_json(text in "[<>/a-c:=\"'& ;#x!?\\[\\]-]{0,60}", any: String) {
            for text in [text.clone(), any, format!("<a>{text}</a>")] {
                if let Ok(json) = to_json(&text) {
                    prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{}", json);
                }
            }
        }
    }
}
