//! Keys that vendors show on hosts of their own. Verification is pure: it says which key it needs
//! ([`KeyWanted`]), somebody fetches it (`keys.rs`), and it is handed in ([`FetchedKeys`]).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;

use super::certificate;
use super::definition::Chain;
use super::public::PublicKey;
use super::way::KeyPlace;

/// How long a fetched key is used before it is asked for again.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24);
/// How soon a set is asked for again that lacks a token's key.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// A key that a request needs, and that only the vendor's host has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWanted {
    /// An `https` address on a host that the provider's definition lists.
    pub url: String,
    /// Whose budget it is fetched on.
    pub source: Arc<str>,
    pub(super) form: KeyForm,
    /// What a source pins: the only ends that a chain may have.
    pub(super) authorities: Vec<CertificateDer<'static>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum KeyForm {
    Certificate { chain: Chain, name: Option<String> },
    Set,
}

/// What tells one fetched key from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyId {
    url: String,
    form: KeyForm,
    authorities: Vec<Vec<u8>>,
}

impl KeyWanted {
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId {
            url: self.url.clone(),
            form: self.form.clone(),
            authorities: self.authorities.iter().map(|a| a.to_vec()).collect(),
        }
    }

    /// What was fetched, read and held against `roots` (the system's, where the source pins none).
    ///
    /// # Errors
    ///
    /// Why it is no key that may be used.
    pub fn read(
        &self,
        bytes: &[u8],
        roots: &[CertificateDer<'static>],
        now: Timestamp,
    ) -> Result<FetchedKey, UnusableKey> {
        let keys = match &self.form {
            KeyForm::Certificate { chain, name } => {
                let pins = !self.authorities.is_empty();
                let (roots, chain) =
                    if pins { (&*self.authorities, Chain::Root) } else { (roots, *chain) };
                certificate::trusted_key(bytes, roots, chain, name.as_deref(), now)
                    .map(|key| vec![key])
            }
            KeyForm::Set => std::str::from_utf8(bytes)
                .map_err(|_| "it is not UTF-8".to_owned())
                .and_then(|text| PublicKey::of_json(text.trim())),
        };
        let keys = keys.map_err(UnusableKey)?;
        Ok(FetchedKey { keys: keys.into(), fetched_at: now })
    }
}

/// What was fetched is no key that may be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnusableKey(String);

/// A vendor's keys, read and trusted.
#[derive(Debug, Clone)]
pub struct FetchedKey {
    pub(super) keys: Arc<[PublicKey]>,
    fetched_at: Timestamp,
}

impl FetchedKey {
    /// Whether it is used at `now`. For a request of the past it is.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.fetched_at + KEPT_FOR
    }

    /// Whether a set may be asked for again because a key is missing.
    pub(super) fn may_lack(&self, now: Timestamp) -> bool {
        self.fetched_at + AGAIN_AFTER <= now
    }
}

/// The fetched keys that there are.
#[derive(Clone, Default)]
pub struct FetchedKeys(HashMap<KeyId, FetchedKey>);

impl FetchedKeys {
    #[must_use]
    pub fn get(&self, id: &KeyId) -> Option<&FetchedKey> {
        self.0.get(id)
    }

    /// The same with one more, at most `keys_max` of them: the oldest goes.
    #[must_use]
    pub fn with(&self, id: KeyId, key: FetchedKey, keys_max: usize) -> Self {
        let mut keys = self.0.clone();
        keys.insert(id, key);
        while keys_max < keys.len() {
            let oldest = keys.iter().min_by_key(|(_, key)| key.fetched_at);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else { break };
            keys.remove(&oldest);
        }
        Self(keys)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for FetchedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FetchedKeys({})", self.0.len())
    }
}

/// Whether `url` is on one of the vendor's own hosts, and nothing about it is odd.
pub(super) fn is_allowed(url: &str, hosts: &[String], path: Option<&str>) -> bool {
    let Ok(parsed) = url::Url::parse(url) else { return false };
    let Some(host) = parsed.host_str() else { return false };
    let host = match parsed.port() {
        None => host.to_owned(),
        Some(port) => format!("{host}:{port}"),
    };
    parsed.scheme() == "https"
        && parsed.username().is_empty()
        && parsed.password().is_none()
        && parsed.fragment().is_none()
        // What is asked for is what was looked at.
        && parsed.as_str() == url
        && hosts.iter().any(|pattern| matches(pattern, &host, is_label))
        && path.is_none_or(|pattern| {
            parsed.query().is_none() && matches(pattern, parsed.path(), is_path_part)
        })
}

fn is_label(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

fn is_path_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// Whether all of `text` is what `pattern` says; `*` is one or more characters that `is_any` takes.
fn matches(pattern: &str, text: &str, is_any: fn(char) -> bool) -> bool {
    let Some((before, behind)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    let longest = rest.find(|c| !is_any(c)).unwrap_or(rest.len());
    (1..=longest).any(|taken| rest.get(taken..).is_some_and(|rest| matches(behind, rest, is_any)))
}

impl KeyPlace {
    /// Whether a key may be fetched from `url`.
    pub(super) fn allows(&self, url: &str) -> bool {
        is_allowed(url, &self.hosts, self.path.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: bool) {
        let hosts = ["sns.*.amazonaws.com", "sns.*.amazonaws.com.cn"].map(str::to_owned);
        let path = "/SimpleNotificationService-*.pem";
        assert_eq!(is_allowed(url, &hosts, Some(path)), expected, "{url}");
    }

    #[test]
    fn a_key_is_on_a_host_of_its_vendor_or_nowhere() {
        check("https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0a1b.pem", true);
        check("https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-0a1b.pem", true);
        for bad in [
            "http://sns.us-east-1.amazonaws.com/SimpleNotificationService-0a1b.pem",
            "https://sns.us-east-1.amazonaws.com:444/SimpleNotificationService-0a1b.pem",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0a1b.pem?x",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0a1b.pem#x",
            "https://sns.us-east-1.amazonaws.com/a/SimpleNotificationService-0a1b.pem",
            "https://sns.us-east-1.amazonaws.com/../SimpleNotificationService-0a1b.pem",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0/1b.pem",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-.pem",
            "https://sns.us-east-1.amazonaws.com/other.pem",
            "https://sns.evil.com/.amazonaws.com/SimpleNotificationService-0a1b.pem",
            "https://sns.evil.example.amazonaws.com/SimpleNotificationService-0a1b.pem",
            "https://sns.us-east-1.amazonaws.com.evil.com/SimpleNotificationService-0a1b.pem",
            "https://sns.us-east-1.amazonaws.com@evil.com/SimpleNotificationService-0a1b.pem",
            "https://x@sns.us-east-1.amazonaws.com/SimpleNotificationService-0a1b.pem",
            "https://evil.com/sns.us-east-1.amazonaws.com/SimpleNotificationService-0a1b.pem",
            "https://SNS.us-east-1.amazonaws.com/SimpleNotificationService-0a1b.pem",
            "https://sns.us-east-1.amazonaws.com\\@evil.com/SimpleNotificationService-0a1b.pem",
            "https://127.0.0.1/SimpleNotificationService-0a1b.pem",
            "https:///SimpleNotificationService-0a1b.pem",
            "",
        ] {
            check(bad, false);
        }
    }
}
