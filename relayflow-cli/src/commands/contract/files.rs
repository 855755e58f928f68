//! Bodies that lie in files: found, told apart, and read as the vendor's.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use relayflow_core::provider::unsigned::{ReadEvent, Unreadable};
use relayflow_core::provider::{Catalog, Reader, Source};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::app::App;
use crate::args::{FileArgs, Select};
use crate::context;
use crate::failure::{Failure, chain};
use crate::vendor;

/// What a body's file may end in, where a folder is looked through.
const ENDINGS: [&str; 8] = ["json", "ndjson", "jsonl", "txt", "form", "xml", "http", "body"];
/// How deep folders are looked through.
const FOLDERS_MAX: usize = 16;

/// What to do about bodies of which nobody says what they are.
pub(super) const UNTYPED: &str =
    "some have no type in them: --type TYPE or --header 'NAME: VALUE' says which they are of";

/// Whether what stands where FILE or TERM may stand are files.
pub(super) fn are_files(terms: &[String], args: &FileArgs) -> bool {
    args.provider.is_some()
        || !args.headers.is_empty()
        || terms.iter().any(|term| Path::new(term).exists() && !term.is_empty())
}

/// The files that are named, and those in the folders that are; in order.
///
/// # Errors
///
/// One is not there, or there is none at all.
pub(super) fn find(terms: &[String]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for term in terms {
        let path = Path::new(term);
        if path.is_dir() {
            in_folder(path, FOLDERS_MAX, &mut found)?;
        } else if path.exists() {
            found.push(path.to_owned());
        } else {
            return Err(Failure::new("not_found.file", format!("there is no file '{term}'")));
        }
    }
    if found.is_empty() {
        return Err(Failure::usage("there is no file to read").why(match terms {
            [] => "name files or a folder".to_owned(),
            terms => format!("{} has none that ends in .json or the like", terms.join(" ")),
        }));
    }
    Ok(found)
}

fn in_folder(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let unreadable = |e: std::io::Error| {
        Failure::usage(format!("{} cannot be read", folder.display())).why(e.to_string())
    };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        entries.push(entry.map_err(unreadable)?.path());
    }
    entries.sort();
    for path in entries {
        let is_hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        let is_ours = path
            .extension()
            .and_then(|ending| ending.to_str())
            .is_some_and(|ending| ENDINGS.contains(&ending.to_ascii_lowercase().as_str()));
        if path.is_dir() && !is_hidden && 0 < depth {
            in_folder(&path, depth - 1, found)?;
        } else if path.is_file() && !is_hidden && is_ours {
            found.push(path);
        }
    }
    Ok(())
}

/// A request, as far as a file tells of it.
#[derive(Debug, Clone, PartialEq, Default)]
struct Letter {
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

/// Who reads, and what they know.
pub(super) struct Bodies {
    reader: Reader,
    pub(super) catalog: Catalog,
    headers: HeaderMap,
    event_type: Option<String>,
}

impl Bodies {
    /// # Errors
    ///
    /// Nobody says whose bodies they are, or there is no such source or provider.
    pub(super) fn new(app: &App, args: &FileArgs, select: &Select) -> Result<Self, Failure> {
        refuse_terms(select)?;
        let (reader, catalog) = match (&args.provider, &select.source) {
            (Some(_), Some(_)) => {
                return Err(Failure::usage("--provider and --source say the same: give one"));
            }
            (None, Some(name)) => of_source(app, name)?,
            (Some(name), None) => of_provider(app, name)?,
            (None, None) => {
                return Err(Failure::usage("whose bodies are these?")
                    .hint("--provider NAME, or --source NAME of the relayflow.toml in reach"));
            }
        };
        let mut headers = HeaderMap::new();
        for line in &args.headers {
            let (name, value) = header(line).ok_or_else(|| {
                Failure::usage(format!("`{line}` is not a header, such as 'X-GitHub-Event: push'"))
            })?;
            headers.append(name, value);
        }
        Ok(Self { reader, catalog, headers, event_type: select.event_type.clone() })
    }

    pub(super) fn provider(&self) -> &str {
        &self.reader.source().provider.name
    }

    /// The events of a file.
    ///
    /// # Errors
    ///
    /// It does not open.
    pub(super) fn read(&self, path: &Path) -> Result<Vec<Result<ReadEvent, Unreadable>>, Failure> {
        let bytes = std::fs::read(path).map_err(|e| {
            Failure::usage(format!("{} does not open", path.display())).why(e.to_string())
        })?;
        let mut letter = letter(bytes);
        for (name, value) in &self.headers {
            letter.headers.insert(name, value.clone());
        }
        let Letter { target, headers, body } = letter;
        Ok(self.reader.read(&target, headers, body, self.event_type.as_deref()))
    }
}

/// What is about stored events is not about files.
fn refuse_terms(select: &Select) -> Result<(), Failure> {
    let flags = [
        ("--status", select.status.is_some()),
        ("--workflow", select.workflow.is_some()),
        ("--since", select.since.is_some()),
        ("--until", select.until.is_some()),
    ];
    match flags.iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) => {
            Err(Failure::usage(format!("{flag} is for stored events, not for files")))
        }
        None => Ok(()),
    }
}

fn of_source(app: &App, name: &str) -> Result<(Reader, Catalog), Failure> {
    let (config, _) = context::load_config(None, &|name| app.env(name))?;
    let catalog = vendor::catalog(config.providers_dir.as_deref())?;
    let Some(source) = config.sources.iter().find(|source| source.name == name) else {
        let known: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
        return Err(Failure::new("not_found.source", format!("there is no source '{name}'"))
            .why(format!("there are: {}", known.join(" "))));
    };
    let source = Source::new(source, config.ingest.public_url.as_deref(), &catalog)
        .map_err(|e| Failure::new("usage.config", chain(&e)))?;
    Ok((Reader::new(source), catalog))
}

fn of_provider(app: &App, name: &str) -> Result<(Reader, Catalog), Failure> {
    // A config whose secrets are elsewhere must not stop a check that needs none.
    let config = context::load_config(None, &|name| app.env(name));
    let catalog = match config {
        Ok((config, _)) => vendor::catalog(config.providers_dir.as_deref())?,
        Err(failure) => {
            app.out.notice(&format!("{}: only what is built in is known", failure.message));
            vendor::catalog(None)?
        }
    };
    let Some(provider) = catalog.get(name) else {
        return Err(Failure::new("not_found.provider", format!("there is no provider '{name}'"))
            .hint("relayflow providers ls"));
    };
    let reader = Reader::of_provider(provider, &catalog)
        .map_err(|e| Failure::new("usage.provider", chain(&e)))?;
    Ok((reader, catalog))
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().parse().ok()?, HeaderValue::from_str(value.trim()).ok()?))
}

/// A captured request, such as `requests raw --headers` prints or other tools keep, or a body alone.
fn letter(bytes: Vec<u8>) -> Letter {
    if let Some(letter) = message(&bytes) {
        return letter;
    }
    if let Some(letter) = captured(&bytes) {
        return letter;
    }
    Letter { target: "/".to_owned(), headers: HeaderMap::new(), body: Bytes::from(bytes) }
}

/// `POST /in/x`, headers, an empty line, the body.
fn message(bytes: &[u8]) -> Option<Letter> {
    let (mut rest, first) = next_line(bytes)?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let is_head = !method.is_empty()
        && method.bytes().all(|b| b.is_ascii_uppercase())
        && target.starts_with('/')
        && words.all(|word| word.starts_with("HTTP/"));
    if !is_head {
        return None;
    }
    let mut headers = HeaderMap::new();
    loop {
        let (after, line) = next_line(rest)?;
        rest = after;
        if line.is_empty() {
            break;
        }
        let (name, value) = header(line)?;
        headers.append(name, value);
    }
    Some(Letter { target: target.to_owned(), headers, body: Bytes::copy_from_slice(rest) })
}

fn next_line(bytes: &[u8]) -> Option<(&[u8], &str)> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let line = std::str::from_utf8(bytes.get(..end)?).ok()?;
    Some((bytes.get(end + 1..)?, line.strip_suffix('\r').unwrap_or(line)))
}

/// `{"headers": {…}, "body": …}` and nothing that is not of a request: no vendor sends that.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Captured<'a> {
    headers: Map<String, Value>,
    #[serde(borrow)]
    body: &'a RawValue,
    #[serde(default)]
    target: Option<String>,
    #[serde(default, rename = "method")]
    _method: Option<IgnoredAny>,
    #[serde(default, rename = "url")]
    _url: Option<IgnoredAny>,
    #[serde(default, rename = "path")]
    _path: Option<IgnoredAny>,
    #[serde(default, rename = "query")]
    _query: Option<IgnoredAny>,
    #[serde(default, rename = "topic")]
    _topic: Option<IgnoredAny>,
}

fn captured(bytes: &[u8]) -> Option<Letter> {
    // To serde, an array may be a struct's members in their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let captured: Captured<'_> = serde_json::from_slice(bytes).ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in &captured.headers {
        let one = std::slice::from_ref(value);
        for value in value.as_array().map_or(one, Vec::as_slice) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            // A header that HTTP could not carry is none that a definition reads.
            if let (Ok(name), Ok(value)) =
                (name.parse::<HeaderName>(), HeaderValue::from_str(&text))
            {
                headers.append(name, value);
            }
        }
    }
    let is_form = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
    let body: Value = serde_json::from_str(captured.body.get()).ok()?;
    let body = match (body.as_str(), body.as_object()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(fields)) if is_form => form(fields),
        (None, _) => captured.body.get().to_owned(),
    };
    let target = captured.target.unwrap_or_else(|| "/".to_owned());
    Some(Letter { target, headers, body: Bytes::from(body) })
}

/// Fields as a form's, those within others as `a[b][0]`.
fn form(fields: &Map<String, Value>) -> String {
    fn add(form: &mut url::form_urlencoded::Serializer<'_, String>, name: &str, value: &Value) {
        match value {
            Value::Object(members) => {
                for (key, member) in members {
                    add(form, &format!("{name}[{key}]"), member);
                }
            }
            Value::Array(elements) => {
                for (number, element) in elements.iter().enumerate() {
                    add(form, &format!("{name}[{number}]"), element);
                }
            }
            Value::String(text) => drop(form.append_pair(name, text)),
            Value::Null => drop(form.append_pair(name, "")),
            other @ (Value::Bool(_) | Value::Number(_)) => {
                form.append_pair(name, &other.to_string());
            }
        }
    }
    let mut out = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        add(&mut out, name, value);
    }
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let letter = letter(text.as_bytes().to_vec());
        let headers: Vec<_> = letter
            .headers
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect();
        let body = String::from_utf8_lossy(&letter.body).into_owned();
        format!("{} {} | {body}", letter.target, headers.join(","))
    }

    #[test]
    fn a_request_is_told_from_a_body() {
        for (text, wanted) in [
            (r#"{"id":1}"#, r#"/  | {"id":1}"#),
            (r#"[{"a":1},{"b":2}]"#, r#"/  | [{"a":1},{"b":2}]"#),
            // A vendor's own `headers` stand beside other things.
            (r#"{"headers":{},"body":1,"id":1}"#, r#"/  | {"headers":{},"body":1,"id":1}"#),
            (r#"{"headers":{"X-A":"1"},"body":{"n":1.10}}"#, r#"/ x-a=1 | {"n":1.10}"#),
            (
                r#"{"headers":{"X-A":["1","2"]},"body":"a=b","method":"POST"}"#,
                "/ x-a=1,x-a=2 | a=b",
            ),
            (
                r#"{"headers":{"content-type":"application/x-www-form-urlencoded"},"body":{"a":{"b":["x y"]},"n":1}}"#,
                "/ content-type=application/x-www-form-urlencoded | a%5Bb%5D%5B0%5D=x+y&n=1",
            ),
            (
                "POST /in/x?a=1\r\nX-Event: push\r\n\r\n{\"id\":1}",
                "/in/x?a=1 x-event=push | {\"id\":1}",
            ),
            ("POST /in/x HTTP/1.1\nx-event: push\n\na=1", "/in/x x-event=push | a=1"),
            ("POST nothing\n\n", "/  | POST nothing\n\n"),
            ("", "/  | "),
        ] {
            assert_eq!(shown(text), wanted, "{text}");
        }
    }

    #[test]
    fn folders_are_looked_through_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(path("b/c")).unwrap();
        for name in ["z.json", "a.txt", "b/c/x.JSON", "README.md", ".hidden.json"] {
            std::fs::write(path(name), "{}").unwrap();
        }
        let found = find(&[dir.path().display().to_string()]).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|f| f.strip_prefix(dir.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["a.txt", "b/c/x.JSON", "z.json"]);
        assert_eq!(find(&[]).unwrap_err().exit().code(), 2);
        let nowhere = path("nowhere").display().to_string();
        assert_eq!(find(&[nowhere]).unwrap_err().exit().code(), 3);
    }
}
