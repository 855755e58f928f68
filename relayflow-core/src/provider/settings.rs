//! A definition's settings, put into its text before that is read.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::definition::{Flaw, Setting};
use super::explain;

/// The settings of a file, read before `{setting:…}` is filled in.
#[derive(Deserialize)]
struct SettingsOnly {
    #[serde(default)]
    settings: BTreeMap<String, Setting>,
}

/// The file's text with every `{setting:name}` filled in: what the source set, else the default,
/// else (in a check of the file alone) the example.
///
/// # Errors
///
/// A setting that is not declared, or must be set and is not.
pub(super) fn fill_in(
    text: &str,
    given: Option<&BTreeMap<String, String>>,
) -> Result<String, Flaw> {
    if given.is_none_or(BTreeMap::is_empty) && !text.contains(PLACEHOLDER) {
        return Ok(text.to_owned());
    }
    let whole = |message| Flaw { span: 0..0, message };
    let settings = match explain::read_all::<SettingsOnly>(text) {
        (Some(SettingsOnly { settings }), flaws) if flaws.is_empty() => settings,
        (_, flaws) => {
            let first = flaws.into_iter().next();
            return Err(first.unwrap_or_else(|| whole("`settings` cannot be read".to_owned())));
        }
    };
    if let Some(unknown) =
        given.into_iter().flatten().map(|(k, _)| k).find(|k| !settings.contains_key(*k))
    {
        let known: Vec<_> = settings.keys().map(String::as_str).collect();
        return Err(whole(match known.as_slice() {
            [] => format!("there is no setting `{unknown}`: this provider has none"),
            known => format!("there is no setting `{unknown}`: wanted {}", known.join(", ")),
        }));
    }
    let mut out = text.to_owned();
    // A default may name another setting; deeper nesting has no use.
    for _ in 0..2 {
        for (name, setting) in &settings {
            let placeholder = format!("{{setting:{name}}}");
            if !out.contains(&placeholder) {
                continue;
            }
            let value = match given.and_then(|g| g.get(name)).or(setting.default.as_ref()) {
                Some(value) => value,
                None if given.is_none() => setting.example.as_ref().unwrap_or(name),
                None => {
                    let message = format!("the setting `{name}` is missing: {}", setting.about);
                    return Err(whole(message));
                }
            };
            let value = setting.means.get(value).unwrap_or(value);
            out = out.replace(&placeholder, &escaped(value));
        }
    }
    match out.split_once(PLACEHOLDER).and_then(|(_, rest)| rest.split_once('}')) {
        Some((unknown, _)) => {
            let placeholder = format!("{PLACEHOLDER}{unknown}}}");
            let start = text.find(&placeholder).unwrap_or(0);
            let message = match settings.keys().map(String::as_str).collect::<Vec<_>>().as_slice() {
                [] => format!("the setting `{unknown}` is not declared in `settings`"),
                known => format!(
                    "the setting `{unknown}` is not declared in `settings`: wanted {}",
                    known.join(", ")
                ),
            };
            Err(Flaw { span: start..start + placeholder.len(), message })
        }
        None => Ok(out),
    }
}

/// What a setting's place in a file begins with.
pub(super) const PLACEHOLDER: &str = "{setting:";

/// `value` as it stands inside a basic TOML string.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}
