//! Walks the tree of a file and notes every mistake, not only the first. A setting is asked for in
//! the order flag, environment, file, built-in example; what is never asked for is a misspelt key.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use toml::de::{DeArray, DeTable, DeValue};

use super::secrets;
use super::units::{self, Raw};
use crate::diagnostic::Diagnostic;
use crate::secret::Secret;
use crate::text::nearest;

/// The name of a file that is compiled in.
const BUILT_IN: &str = "<built-in>";

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    File(Range<usize>),
    /// A variable of this name.
    Env(String),
    Flag(&'static str),
    Default(Range<usize>),
    /// Nothing says it: it is as something else has it, such as `provider stripe`.
    As(String),
    /// Nothing says it, and nothing else has it.
    Unsaid,
}

/// A setting in force: `config explain` shows these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// `sources.stripe.tolerance`
    pub key: String,
    /// As written; a secret as `••• sha256:9c1f`.
    pub value: String,
    pub from: ExplainedFrom,
}

/// Where a setting in force was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExplainedFrom {
    /// In this file, on this line.
    File(String, usize),
    /// In the variable of this name.
    Env(String),
    /// As this flag.
    Flag(&'static str),
    /// As something else has it: `provider stripe`, or another setting.
    As(String),
    Default,
}

impl ExplainedFrom {
    /// Whether the setting itself was set nowhere.
    #[must_use]
    pub fn is_default(&self) -> bool {
        matches!(self, Self::Default | Self::As(_))
    }
}

impl fmt::Display for ExplainedFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file, line) => write!(f, "{file}:{line}"),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Flag(flag) => f.write_str(flag),
            Self::As(other) => write!(f, "default of {other}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The environment variable that overrides a setting: `store.url` → `RELAYFLOW_STORE__URL`.
#[must_use]
pub fn env_name(key: &str) -> String {
    format!("RELAYFLOW_{}", key.replace('.', "__").replace('-', "_").to_uppercase())
}

/// A setting that was found.
#[derive(Debug, Clone)]
pub(super) struct Setting<'t> {
    /// `sources.stripe.tolerance`
    pub(super) key: String,
    pub(super) raw: Raw<'t>,
    pub(super) from: Origin,
}

/// A table of settings, and what was asked of it.
#[derive(Debug)]
pub(super) struct Section<'t> {
    /// `sources.stripe`; empty for the whole file.
    pub(super) path: String,
    table: Option<&'t DeTable<'t>>,
    defaults: Option<&'t DeTable<'t>>,
    /// Where a setting that is missing would have stood.
    pub(super) from: Origin,
    asked: Vec<&'static str>,
    /// Keys of later versions: known, but not to be recommended.
    later: Vec<&'static str>,
}

impl Section<'_> {
    fn ask(&mut self, key: &'static str) {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
    }

    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Whether the file has it.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// `[sources.stripe]`, for messages.
    pub(super) fn title(&self) -> String {
        format!("[{}]", self.path)
    }
}

/// What is given on the command line: key, flag, value.
pub(super) type Flags = Vec<(&'static str, &'static str, String)>;

/// Everything that reading a file needs and notes.
pub(super) struct Reader<'e> {
    file: String,
    /// The file's text with secrets blotted out: what diagnostics show.
    shown: String,
    pub(super) env: &'e dyn Fn(&str) -> Option<String>,
    flags: Flags,
    /// It is read to be looked at: no secret is fetched, no file is looked for.
    pub(super) is_candidate: bool,
    pub(super) errors: Vec<Diagnostic>,
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) explained: Vec<Explained>,
    /// Every secret that was fetched.
    pub(super) fetched: Vec<Secret>,
    /// By source: the members that it masks.
    pub(super) redact: BTreeMap<String, Vec<String>>,
    /// Keys that were asked for and stand nowhere.
    pub(super) unset: Vec<String>,
}

impl<'e> Reader<'e> {
    pub(super) fn new(
        file: &str,
        shown: String,
        env: &'e dyn Fn(&str) -> Option<String>,
        flags: Flags,
    ) -> Self {
        Self {
            file: file.to_owned(),
            shown,
            env,
            flags,
            is_candidate: false,
            errors: Vec::new(),
            warnings: Vec::new(),
            explained: Vec::new(),
            fetched: Vec::new(),
            redact: BTreeMap::new(),
            unset: Vec::new(),
        }
    }

    /// The whole file as a section.
    pub(super) fn root<'t>(
        &self,
        table: &'t DeTable<'t>,
        defaults: &'t DeTable<'t>,
    ) -> Section<'t> {
        Section {
            path: String::new(),
            table: Some(table),
            defaults: Some(defaults),
            from: Origin::File(0..0),
            asked: Vec::new(),
            later: Vec::new(),
        }
    }

    /// The section `key`, whether the file has it or not.
    pub(super) fn section<'t>(&mut self, of: &mut Section<'t>, key: &'static str) -> Section<'t> {
        of.ask(key);
        let path = of.key(key);
        let defaults = of.defaults.and_then(|t| t.get(key)).and_then(|v| v.get_ref().as_table());
        let found = of.table.and_then(|t| t.get_key_value(key));
        let (table, from) = match found {
            None => (None, of.from.clone()),
            Some((name, value)) => {
                let setting = Setting {
                    key: path.clone(),
                    raw: Raw::Toml(value.get_ref()),
                    from: Origin::File(value.span()),
                };
                (self.read(&setting, units::table), Origin::File(name.span()))
            }
        };
        Section { path, table, defaults, from, asked: Vec::new(), later: Vec::new() }
    }

    /// The tables inside the section `key`, by name: `[sources.NAME]`.
    pub(super) fn named<'t>(
        &mut self,
        of: &mut Section<'t>,
        key: &'static str,
    ) -> Vec<(String, Section<'t>)> {
        let section = self.section(of, key);
        let mut found = Vec::new();
        for (name, value) in section.table.into_iter().flatten() {
            let from = Origin::File(name.span());
            let path = section.key(name.get_ref());
            let setting =
                Setting { key: path.clone(), raw: Raw::Toml(value.get_ref()), from: from.clone() };
            if let Some(table) = self.read(&setting, units::table) {
                let (defaults, asked, later) = (None, Vec::new(), Vec::new());
                let table = Some(table);
                let inner = Section { path, table, defaults, from: from.clone(), asked, later };
                self.check_name(name.get_ref(), &from);
                found.push((name.get_ref().to_string(), inner));
            }
        }
        found
    }

    /// The tables of the list `key`: `[[workflows.NAME.steps]]`.
    pub(super) fn list<'t>(&mut self, of: &mut Section<'t>, key: &'static str) -> Vec<Section<'t>> {
        let Some(setting) = self.setting(of, key) else { return Vec::new() };
        let Raw::Toml(DeValue::Array(items)) = setting.raw else {
            self.error(
                &setting.from,
                format!("wanted a list of tables: `[[{}]]`", setting.key),
                None,
            );
            return Vec::new();
        };
        let mut found = Vec::new();
        for (number, item) in iter(items).enumerate() {
            let from = Origin::File(head(&item.span(), &self.shown));
            let DeValue::Table(table) = item.get_ref() else {
                self.error(&from, "wanted a table".to_owned(), None);
                continue;
            };
            found.push(Section {
                path: format!("{}.{number}", setting.key),
                table: Some(table),
                defaults: None,
                from,
                asked: Vec::new(),
                later: Vec::new(),
            });
        }
        found
    }

    /// The setting `key` from the first place that has it.
    pub(super) fn setting<'t>(
        &mut self,
        of: &mut Section<'t>,
        key: &'static str,
    ) -> Option<Setting<'t>> {
        of.ask(key);
        self.find(of, key)
    }

    fn find<'t>(&self, of: &Section<'t>, key: &str) -> Option<Setting<'t>> {
        let path = of.key(key);
        let flag = self.flags.iter().find(|(name, _, _)| *name == path);
        if let Some((_, flag, value)) = flag {
            let raw = Raw::Text(value.clone());
            return Some(Setting { key: path, raw, from: Origin::Flag(flag) });
        }
        let name = env_name(&path);
        // Names without `__` are the CLI's own.
        let value = if name.contains("__") { (self.env)(&name) } else { None };
        if let Some(value) = value {
            return Some(Setting { key: path, raw: Raw::Text(value), from: Origin::Env(name) });
        }
        if let Some(value) = of.table.and_then(|t| t.get(key)) {
            let from = Origin::File(value.span());
            return Some(Setting { key: path, raw: Raw::Toml(value.get_ref()), from });
        }
        let value = of.defaults.and_then(|t| t.get(key))?;
        let from = Origin::Default(value.span());
        Some(Setting { key: path, raw: Raw::Toml(value.get_ref()), from })
    }

    /// The value of `key`, if it is set and right.
    pub(super) fn get<T>(
        &mut self,
        of: &mut Section<'_>,
        key: &'static str,
        read: impl FnOnce(&Raw<'_>) -> Result<T, String>,
    ) -> Option<T> {
        let Some(setting) = self.setting(of, key) else {
            self.unset.push(of.key(key));
            return None;
        };
        let value = match read(&setting.raw) {
            Ok(value) => value,
            Err(message) => {
                self.error(&setting.from, format!("`{}`: {message}", setting.key), None);
                return None;
            }
        };
        self.explain(&setting, units::shown(&setting.raw));
        Some(value)
    }

    /// The value of `key`, or what holds where nothing says it.
    pub(super) fn get_or<T>(
        &mut self,
        of: &mut Section<'_>,
        key: &'static str,
        read: impl FnOnce(&Raw<'_>) -> Result<T, String>,
        (value, shown): (T, String),
    ) -> T {
        if self.setting(of, key).is_none() {
            self.explain_unsaid(of, key, shown, Origin::Unsaid);
        }
        self.get(of, key, read).unwrap_or(value)
    }

    /// Notes what holds for a setting that nothing says.
    pub(super) fn explain_unsaid(
        &mut self,
        of: &Section<'_>,
        key: &str,
        shown: String,
        from: Origin,
    ) {
        let setting = Setting { key: of.key(key), raw: Raw::Text(String::new()), from };
        self.explain(&setting, shown);
    }

    /// The value of `key`; that it is missing is a mistake.
    pub(super) fn require<T>(
        &mut self,
        of: &mut Section<'_>,
        key: &'static str,
        read: impl FnOnce(&Raw<'_>) -> Result<T, String>,
    ) -> Option<T> {
        if self.find(of, key).is_none() {
            of.ask(key);
            self.error(&of.from.clone(), format!("{} has no `{key}`", of.title()), None);
            return None;
        }
        self.get(of, key, read)
    }

    /// Reads a found setting without listing it.
    pub(super) fn read<'t, T>(
        &mut self,
        setting: &Setting<'t>,
        read: impl FnOnce(&Raw<'t>) -> Result<T, String>,
    ) -> Option<T> {
        match read(&setting.raw) {
            Ok(value) => Some(value),
            Err(message) => {
                self.error(&setting.from, format!("`{}`: {message}", setting.key), None);
                None
            }
        }
    }

    /// Every setting of a section whose keys are free, such as a source's `settings`.
    pub(super) fn free<'t>(&self, of: &Section<'t>) -> Vec<(String, Setting<'t>)> {
        let names = of.table.into_iter().flat_map(|t| t.keys());
        names
            .filter_map(|name| {
                let setting = self.find(of, name.get_ref())?;
                Some((name.get_ref().to_string(), setting))
            })
            .collect()
    }

    /// A key that a later version takes: refused, not ignored.
    pub(super) fn not_yet(&mut self, of: &mut Section<'_>, keys: &[&'static str]) {
        for key in keys {
            of.later.push(key);
            if let Some((name, _)) = of.table.and_then(|t| t.get_key_value(*key)) {
                let message = format!("`{key}` is not there yet in this version");
                self.error(&Origin::File(name.span()), message, Some("remove it".to_owned()));
            }
        }
    }

    /// Notes every key that was not asked for. To be called when a section was read.
    pub(super) fn finish(&mut self, section: &Section<'_>) {
        for (name, _) in section.table.into_iter().flatten() {
            let given: &str = name.get_ref();
            if section.asked.contains(&given) || section.later.contains(&given) {
                continue;
            }
            let place = if section.path.is_empty() {
                "in this file".to_owned()
            } else {
                format!("in {}", section.title())
            };
            let fix = nearest(given, section.asked.iter().copied()).map_or_else(
                || format!("known keys are {}", section.asked.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            let message = format!("unknown key `{given}` {place}");
            self.error(&Origin::File(name.span()), message, Some(fix));
        }
    }

    /// Names of sources, workflows, steps and tokens, which stand in paths, filters and variables.
    pub(super) fn check_name(&mut self, name: &str, from: &Origin) {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let starts = name.bytes().next().is_some_and(plain);
        let goes_on = name.bytes().all(|b| plain(b) || b == b'_' || b == b'-');
        if !starts || !goes_on || 64 < name.len() {
            let message =
                format!("`{}` cannot be a name", name.chars().take(80).collect::<String>());
            let fix = "up to 64 of a-z, 0-9, `_` and `-`, a letter or digit first".to_owned();
            self.error(from, message, Some(fix));
        }
    }

    pub(super) fn explain(&mut self, setting: &Setting<'_>, value: String) {
        let from = match &setting.from {
            Origin::File(span) => {
                let before = self.shown.get(..span.start).unwrap_or_default();
                ExplainedFrom::File(self.file.clone(), before.matches('\n').count() + 1)
            }
            Origin::Env(name) => ExplainedFrom::Env(name.clone()),
            Origin::Flag(flag) => ExplainedFrom::Flag(flag),
            Origin::As(other) => ExplainedFrom::As(other.clone()),
            Origin::Default(_) | Origin::Unsaid => ExplainedFrom::Default,
        };
        let value = secrets::without_password(value);
        self.explained.push(Explained { key: setting.key.clone(), value, from });
    }

    pub(super) fn error(&mut self, from: &Origin, message: String, fix: Option<String>) {
        let diagnostic = self.diagnostic(from, message, fix, false);
        self.errors.push(diagnostic);
    }

    pub(super) fn warn(&mut self, from: &Origin, message: String, fix: Option<String>) {
        let diagnostic = self.diagnostic(from, message, fix, true);
        self.warnings.push(diagnostic);
    }

    fn diagnostic(
        &self,
        from: &Origin,
        message: String,
        fix: Option<String>,
        is_warning: bool,
    ) -> Diagnostic {
        let (file, text, span) = match from {
            Origin::File(span) => (self.file.clone(), self.shown.clone(), span.clone()),
            Origin::Default(span) => (BUILT_IN.to_owned(), super::EXAMPLE.to_owned(), span.clone()),
            Origin::Env(name) => {
                let shown = |value: &String| {
                    !secrets::is_secret_name(name) && !secrets::has_password(value)
                };
                let value = (self.env)(name).filter(shown);
                let text = format!("{name}={}", value.as_deref().unwrap_or("…"));
                ("environment".to_owned(), text.clone(), name.len() + 1..text.len())
            }
            Origin::Flag(flag) => {
                let given = self.flags.iter().find(|(_, name, _)| name == flag);
                let shown = given.filter(|(_, _, value)| !secrets::has_password(value));
                let value = shown.map_or("…", |(_, _, value)| value.as_str());
                let text = format!("{flag} {value}");
                ("command line".to_owned(), text.clone(), flag.len() + 1..text.len())
            }
            // Nothing is written anywhere that could be wrong.
            Origin::As(_) | Origin::Unsaid => (self.file.clone(), String::new(), 0..0),
        };
        Diagnostic { file, text, span, message, fix, is_warning }
    }

    /// Where bytes of a text that a value holds stand in the file: inside the quotes, where nothing
    /// in the text was escaped; else the whole value.
    pub(super) fn within(&self, from: &Origin, text: &str, span: &Range<usize>) -> Origin {
        let Origin::File(whole) = from else { return from.clone() };
        let written = self.shown.get(whole.clone()).unwrap_or_default();
        match written.find(text) {
            Some(at) if !text.is_empty() => {
                let start = whole.start + at;
                Origin::File(start + span.start..start + span.end.max(span.start))
            }
            _ => from.clone(),
        }
    }
}

fn iter<'t>(items: &'t DeArray<'t>) -> impl Iterator<Item = &'t toml::Spanned<DeValue<'t>>> {
    items.iter()
}

/// The first line of a span: a table's may go on for many.
fn head(span: &Range<usize>, text: &str) -> Range<usize> {
    let length = text.get(span.clone()).and_then(|t| t.lines().next()).map_or(0, str::len);
    span.start..span.start + length
}
