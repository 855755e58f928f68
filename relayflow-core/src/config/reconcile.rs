//! `[sources.NAME.reconcile]`: access to a vendor's API.

use std::collections::BTreeMap;

use super::ReconcileConfig;
use super::reader::{Reader, Section};
use super::secrets::Known;
use super::settings::Dirs;
use super::units;
use crate::provider::endpoint::NO_LIST;
use crate::provider::{self, Provider};

impl Reader<'_> {
    /// `None` where the source has no such section, or beside an error.
    pub(super) fn reconcile(
        &mut self,
        of: &mut Section<'_>,
        dirs: &Dirs,
        provider: Option<&Provider>,
    ) -> Option<ReconcileConfig> {
        let mut section = self.section(of, "reconcile");
        if !section.is_there() {
            return None;
        }
        let base_url = self.get(&mut section, "base_url", |raw| {
            let url = units::text(raw)?;
            provider::check_base_url(&url)?;
            Ok(url)
        });
        let types = self.get(&mut section, "types", units::texts).unwrap_or_default();
        let params = self.params(&mut section, provider);
        let token = self.setting(&mut section, "token");
        if token.is_none() {
            let message = format!("{} has no `token`", section.title());
            let fix = r#"token = { env = "NAME" }"#.to_owned();
            self.error(&section.from.clone(), message, Some(fix));
        }
        let token =
            token.and_then(|setting| self.secret(&setting, dirs.of(&setting), Known::Secret));
        self.finish(&section);
        Some(ReconcileConfig { base_url, token: token?, params: params?, types })
    }

    fn params(
        &mut self,
        of: &mut Section<'_>,
        provider: Option<&Provider>,
    ) -> Option<BTreeMap<String, String>> {
        let section = self.section(of, "params");
        // An unknown provider is a mistake of its own.
        let listing = provider?.listing();
        let Some(listing) = listing else {
            self.error(&of.from.clone(), NO_LIST.to_owned(), None);
            return None;
        };
        let errors = self.errors.len();
        let mut params = BTreeMap::new();
        for (name, setting) in self.free(&section) {
            let value = self.read(&setting, |raw| {
                let value = units::scalar(raw)?;
                listing.check_param(&name, &value)?;
                Ok(value)
            });
            self.explain(&setting, units::shown(&setting.raw));
            params.extend(value.map(|value| (name, value)));
        }
        if errors == self.errors.len() {
            for (name, param) in listing.params().filter(|(name, _)| !params.contains_key(*name)) {
                let message = format!("{} has no `params.{name}`: {}", of.title(), param.about);
                let fix =
                    param.forms.first().map(|form| format!("params = {{ {name} = \"{form}\" }}"));
                self.error(&of.from.clone(), message, fix);
            }
        }
        (errors == self.errors.len()).then_some(params)
    }
}
