//! Secrets: where they stand, how they are fetched, and that no message shows one.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use toml::de::{DeTable, DeValue};

use super::reader::{Origin, Reader, Setting};
use super::units::{self, Raw};
use crate::secret::Secret;

/// Shorter ones can be guessed.
const SECRET_BYTES_MIN: usize = 16;
/// A chain of certificates is the longest secret there is.
const SECRET_BYTES_MAX: u64 = 64 * 1024;
const WORDS: [&str; 9] = [
    "secret",
    "token",
    "password",
    "passwd",
    "private_key",
    "credential",
    "authorization",
    "api-key",
    "api_key",
];

/// Whether a key or variable of this name holds a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// The text of a file with every secret in it blotted out, byte for byte, so that spans still hold.
pub(super) fn blot(text: &str, tree: &DeTable<'_>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    blot_table(&mut bytes, tree, false);
    String::from_utf8(bytes).unwrap_or_default()
}

fn blot_table(bytes: &mut [u8], table: &DeTable<'_>, is_secret: bool) {
    for (name, value) in table {
        let name: &str = name.get_ref();
        // Where a secret is found is none itself.
        let is_place = name == "env" || name == "file";
        let inner = (is_secret || is_secret_name(name)) && !is_place;
        blot_value(bytes, value, inner);
    }
}

fn blot_value(bytes: &mut [u8], value: &toml::Spanned<DeValue<'_>>, is_secret: bool) {
    match value.get_ref() {
        DeValue::Table(table) => blot_table(bytes, table, is_secret),
        DeValue::Array(items) => items.iter().for_each(|item| blot_value(bytes, item, is_secret)),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) if is_secret => {
            let span = value.span();
            let inner = bytes.get_mut(span).unwrap_or_default();
            // Quotes and line ends stay: the line still reads as what it is.
            let hide = |b: &&mut u8| !matches!(**b, b'"' | b'\'' | b'\n' | b'\r');
            inner.iter_mut().filter(hide).for_each(|b| *b = b'*');
        }
        DeValue::String(text) if has_password(text) => {
            let inner = bytes.get_mut(value.span()).unwrap_or_default();
            inner.iter_mut().filter(|b| b.is_ascii_alphanumeric()).for_each(|b| *b = b'*');
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
}

/// Whether a text is a URL with a password in it.
pub(super) fn has_password(text: &str) -> bool {
    let authority = text.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or(rest));
    authority.and_then(|a| a.rsplit_once('@')).is_some_and(|(user, _)| user.contains(':'))
}

/// The same URL with `•••` where its password stands.
pub(super) fn without_password(text: String) -> String {
    if !has_password(&text) {
        return text;
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("", &text));
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let name = user.split(':').next().unwrap_or_default();
    format!("{scheme}://{name}:•••@{host}{path}")
}

/// The text of a file that does not parse: whatever follows a secret's name on its line is blotted.
pub(super) fn blot_lines(text: &str) -> String {
    let mut is_open = false;
    let blotted = text.split_inclusive('\n').map(|line| {
        let names_one = is_secret_name(line.split('=').next().unwrap_or(line));
        let from = if names_one { line.find('=').map_or(line.len(), |at| at + 1) } else { 0 };
        // A list of secrets may go on over lines.
        let hides = names_one || is_open || has_password(line);
        is_open = hides
            && (is_open || line.contains('[') || line.contains("\"\"\""))
            && !line.contains(']');
        if !hides {
            return line.to_owned();
        }
        let hide = |c: char| if c.is_ascii_graphic() && c != '"' && c != '\'' { '*' } else { c };
        line.char_indices().map(|(at, c)| if at < from { c } else { hide(c) }).collect()
    });
    blotted.collect()
}

/// `••• sha256:9c1f`: tells two secrets apart, and neither of them.
#[must_use]
pub fn fingerprint(secret: &[u8]) -> String {
    let digest = Sha256::digest(secret);
    format!("••• sha256:{}", hex::encode(&digest[..2]))
}

/// Whether others may know a value that is written as a secret is: a public key may be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Secret,
    Public,
}

impl Reader<'_> {
    /// One secret: a text, `{ env = "NAME" }` or `{ file = "PATH" }`.
    pub(super) fn secret(
        &mut self,
        setting: &Setting<'_>,
        dir: &Path,
        known: Known,
    ) -> Option<Secret> {
        if self.is_candidate {
            return Some(Secret::new(b"not fetched".to_vec()));
        }
        let found = if let Raw::Toml(DeValue::Table(table)) = &setting.raw {
            self.secret_elsewhere(setting, table, dir, known)?
        } else if let Ok(text) = units::text(&setting.raw) {
            text.into_bytes()
        } else {
            let message = format!("`{}` is no secret", setting.key);
            self.error(&setting.from, message, Some(FORMS.to_owned()));
            return None;
        };
        if found.is_empty() {
            let message = format!("the secret `{}` is empty", setting.key);
            self.error(&setting.from, message, None);
            return None;
        }
        if found.len() < SECRET_BYTES_MIN && known == Known::Secret {
            let message = format!(
                "the secret `{}` has {} bytes: fewer than {SECRET_BYTES_MIN} can be guessed",
                setting.key,
                found.len()
            );
            self.warn(&setting.from, message, None);
        }
        self.explain(setting, fingerprint(&found));
        let secret = Secret::new(found);
        if known == Known::Secret {
            self.fetched.push(secret.clone());
        }
        Some(secret)
    }

    fn secret_elsewhere(
        &mut self,
        setting: &Setting<'_>,
        table: &DeTable<'_>,
        dir: &Path,
        known: Known,
    ) -> Option<Vec<u8>> {
        let mut entries = table.iter();
        let (Some((name, value)), None) = (entries.next(), entries.next()) else {
            let message = format!("`{}` is no secret", setting.key);
            self.error(&setting.from, message, Some(FORMS.to_owned()));
            return None;
        };
        let place = Setting {
            from: Origin::File(value.span()),
            raw: Raw::Toml(value.get_ref()),
            ..setting.clone()
        };
        let text = self.read(&place, units::text)?;
        let from = if matches!(setting.from, Origin::Env(_)) { &setting.from } else { &place.from };
        match name.get_ref().as_ref() {
            "env" => match (self.env)(&text) {
                Some(value) => Some(value.into_bytes()),
                None => {
                    let message = format!("`{}`: the environment has no `{text}`", setting.key);
                    self.error(from, message, Some(format!("export {text}=…")));
                    None
                }
            },
            "file" => self.secret_file(setting, &dir.join(&text), from, known),
            other => {
                let message = format!("unknown key `{other}` in a secret");
                self.error(&Origin::File(name.span()), message, Some(FORMS.to_owned()));
                None
            }
        }
    }

    fn secret_file(
        &mut self,
        setting: &Setting<'_>,
        path: &Path,
        from: &Origin,
        known: Known,
    ) -> Option<Vec<u8>> {
        let read = std::fs::metadata(path).and_then(|meta| {
            if SECRET_BYTES_MAX < meta.len() {
                return Err(std::io::Error::other("it is larger than 64 KiB"));
            }
            Ok((std::fs::read(path)?, is_open_to_others(&meta)))
        });
        match read {
            Ok((mut bytes, is_open)) => {
                if is_open && known == Known::Secret {
                    let message = format!("others may read `{}`", path.display());
                    self.warn(from, message, Some(format!("chmod 600 {}", path.display())));
                }
                // Editors end a file with a line feed; no secret does.
                while bytes.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
                    bytes.pop();
                }
                Some(bytes)
            }
            Err(e) => {
                let message = format!("`{}`: cannot read `{}`: {e}", setting.key, path.display());
                self.error(from, message, None);
                None
            }
        }
    }

    /// A file that must be there, such as a certificate.
    pub(super) fn file(&mut self, setting: &Setting<'_>, dir: &Path) -> Option<PathBuf> {
        let text = self.read(setting, units::text)?;
        let path = dir.join(&text);
        self.explain(setting, text);
        if self.is_candidate || path.is_file() {
            return Some(path);
        }
        let message = format!("`{}`: there is no file `{}`", setting.key, path.display());
        self.error(&setting.from, message, None);
        None
    }
}

const FORMS: &str = r#"a text, { env = "NAME" } or { file = "PATH" }"#;

#[cfg(unix)]
fn is_open_to_others(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    meta.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn is_open_to_others(_: &std::fs::Metadata) -> bool {
    false
}
