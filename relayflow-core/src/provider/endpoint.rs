//! A source's way to its vendor's API: what the definition says of the list, and what the config says
//! of whose list it is. No call is made here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderMap, HeaderValue, Uri};
use jiff::{SignedDuration, Timestamp};

use super::listing::{Listing, NextPage};
use super::source::SourceError;
use crate::config::ReconcileConfig;
use crate::secret::Secret;

/// Whose list it is, and how it is asked for.
pub struct Endpoint {
    pub(crate) listing: Arc<Listing>,
    base_url: String,
    token: Secret,
    params: BTreeMap<String, String>,
    types: Vec<String>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

impl Endpoint {
    pub(super) fn new(
        listing: Option<&Arc<Listing>>,
        config: &ReconcileConfig,
    ) -> Result<Self, SourceError> {
        let wrong = |message: String| SourceError::Setting(message);
        let listing = listing.ok_or_else(|| wrong(NO_LIST.to_owned()))?;
        let base_url = config.base_url.as_ref().unwrap_or(&listing.base_url);
        super::listing::base_url(base_url).map_err(wrong)?;
        for (name, value) in &config.params {
            listing.check_param(name, value).map_err(wrong)?;
        }
        if let Some((name, param)) = listing.params().find(|(n, _)| !config.params.contains_key(*n))
        {
            return Err(wrong(format!("`{name}` is missing: {}", param.about)));
        }
        let endpoint = Self {
            listing: Arc::clone(listing),
            base_url: base_url.trim_end_matches('/').to_owned(),
            token: config.token.clone(),
            params: config.params.clone(),
            types: config.types.clone(),
        };
        endpoint
            .headers()
            .map(|_| endpoint)
            .ok_or_else(|| wrong("`token` has bytes that no header can carry".to_owned()))
    }

    /// Where the calls go, without the path.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// How far back the vendor's list goes.
    #[must_use]
    pub fn goes_back(&self) -> SignedDuration {
        self.listing.goes_back
    }

    /// Which of its vendor's types the source wants, as its config has it: none are all.
    #[must_use]
    pub fn types(&self) -> &[String] {
        &self.types
    }

    /// Every header of a call; the token's is marked as one that is not shown.
    pub(crate) fn headers(&self) -> Option<HeaderMap> {
        let (name, prefix) = &self.listing.auth;
        let token = std::str::from_utf8(self.token.expose()).ok()?;
        let mut value = HeaderValue::from_str(&format!("{prefix}{token}")).ok()?;
        value.set_sensitive(true);
        let mut headers = HeaderMap::new();
        let agent = concat!("relayflow/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.extend(self.listing.headers.iter().cloned());
        headers.insert(name, value);
        Some(headers)
    }

    /// Where a page of the list is.
    pub(crate) fn page_uri(
        &self,
        window: (Timestamp, Timestamp),
        next: Option<&NextPage>,
    ) -> Option<Uri> {
        self.uri(&self.listing.page_target(&self.params, window, next))
    }

    /// Where one item's detail is.
    pub(crate) fn detail_uri(&self, item: &str) -> Option<Uri> {
        self.uri(&self.listing.detail_target(&self.params, item)?)
    }

    fn uri(&self, target: &str) -> Option<Uri> {
        format!("{}{target}", self.base_url).parse().ok()
    }

    /// `text` without the token, should an answer have shown it.
    pub(crate) fn without_token(&self, text: &str) -> String {
        match std::str::from_utf8(self.token.expose()) {
            Ok(token) if 4 <= token.len() => text.replace(token, "•••"),
            _ => text.to_owned(),
        }
    }
}

/// What is said where a definition has no `[reconcile]`.
pub(crate) const NO_LIST: &str = "this provider's definition has no `[reconcile]`: it does not say where the vendor lists what it sent";

/// Whether one of `types` is the event's type, or what it is a part of; a `*` at the end says so too.
pub(crate) fn wants(types: &[String], event_type: &str) -> bool {
    types.is_empty()
        || types.iter().any(|wanted| {
            let wanted =
                wanted.strip_suffix('*').map_or(wanted.as_str(), |w| w.trim_end_matches('.'));
            let rest = event_type.strip_prefix(wanted);
            wanted.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_itself_or_a_part_of_what_is_wanted() {
        let wanted = |types: &[&str], event_type: &str| {
            let types: Vec<_> = types.iter().map(ToString::to_string).collect();
            wants(&types, event_type)
        };
        assert!(wanted(&[], "charge.failed"));
        assert!(wanted(&["charge"], "charge.failed") && wanted(&["charge.*"], "charge.failed"));
        assert!(wanted(&["*"], "push") && wanted(&["push", "issues"], "issues.opened"));
        assert!(!wanted(&["charge"], "charges.failed") && !wanted(&["charge.failed"], "charge"));
    }
}
