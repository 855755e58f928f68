//! Changes to the CLI's own config file that leave a person's comments and order as they are.

use std::io::Write as _;
use std::path::Path;

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value};

use super::user::{Context, UserConfig};
use crate::failure::Failure;

const DEFAULT: &str = "default_context";
const CONTEXTS: &str = "contexts";

/// The file while it is changed.
pub(crate) struct Editor {
    path: std::path::PathBuf,
    document: DocumentMut,
}

impl Editor {
    /// # Errors
    ///
    /// The file is no TOML, or has no place.
    pub(crate) fn new(user: &UserConfig) -> Result<Self, Failure> {
        let path = user.path.clone().ok_or_else(|| Failure::usage("there is no config file"))?;
        let document = user.text.parse().map_err(|e: toml_edit::TomlError| {
            Failure::new("usage.config", format!("{} does not parse", path.display()))
                .why(e.message().to_owned())
        })?;
        Ok(Self { path, document })
    }

    /// Makes `name` the default.
    pub(crate) fn set_default(&mut self, name: &str) {
        let root = self.document.as_table_mut();
        if let Some(old) = root.get_mut(DEFAULT).and_then(Item::as_value_mut) {
            let decor = old.decor().clone();
            *old = Value::from(name);
            *old.decor_mut() = decor;
            return;
        }
        root.insert(DEFAULT, toml_edit::value(name));
    }

    pub(crate) fn remove_default(&mut self) {
        self.document.as_table_mut().remove(DEFAULT);
    }

    /// Adds a context behind those that are there.
    ///
    /// # Errors
    ///
    /// `contexts` is no table.
    pub(crate) fn add(&mut self, name: &str, context: &Context) -> Result<(), Failure> {
        let is_empty = self.document.as_table().is_empty();
        let contexts = self.contexts(true)?;
        let mut table = Table::new();
        fill(&mut table, context);
        if !is_empty {
            table.decor_mut().set_prefix("\n");
        }
        let is_inline = !contexts.is_table;
        let item = if is_inline {
            Item::Value(Value::InlineTable(table.into_inline_table()))
        } else {
            Item::Table(table)
        };
        contexts.table.insert(name, item);
        Ok(())
    }

    /// Takes a context out. What stands above it, apart from it by an empty line, stays.
    ///
    /// # Errors
    ///
    /// `contexts` is no table.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), Failure> {
        let Some(removed) = self.contexts(false)?.table.remove(name) else { return Ok(()) };
        let Some(table) = removed.as_table() else { return Ok(()) };
        let above = table.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
        let Some((kept, _)) = above.rsplit_once("\n\n") else { return Ok(()) };
        if kept.trim().is_empty() {
            return Ok(());
        }
        let kept = format!("{kept}\n");
        let after = table.position();
        match next_table(self.document.as_table_mut(), after) {
            Some(next) => {
                let own = next.decor().prefix().and_then(|p| p.as_str()).unwrap_or("\n").to_owned();
                next.decor_mut().set_prefix(format!("{kept}{own}"));
            }
            None => {
                let own = self.document.trailing().as_str().unwrap_or_default().to_owned();
                self.document.set_trailing(format!("{kept}{own}"));
            }
        }
        Ok(())
    }

    fn contexts(&mut self, make: bool) -> Result<Contexts<'_>, Failure> {
        let wrong = format!("{}: `contexts` is no table", self.path.display());
        let root = self.document.as_table_mut();
        if make && !root.contains_key(CONTEXTS) {
            let mut table = Table::new();
            table.set_implicit(true);
            root.insert(CONTEXTS, Item::Table(table));
        }
        let item = root.entry(CONTEXTS).or_insert(Item::None);
        let is_table = item.is_table();
        let table = item.as_table_like_mut();
        let table = table.ok_or_else(|| Failure::new("usage.config", wrong))?;
        Ok(Contexts { table, is_table })
    }

    /// Writes the file, whole or not at all; a link to it stays a link.
    ///
    /// # Errors
    ///
    /// It would not be read again, or cannot be written.
    pub(crate) fn write(&self) -> Result<(), Failure> {
        let text = self.document.to_string();
        UserConfig::parse(text.clone(), &self.path)?;
        let failed = |e: std::io::Error| {
            Failure::new("error.io", format!("{} cannot be written", self.path.display()))
                .why(e.to_string())
        };
        write_whole(&self.path, &text).map_err(failed)
    }
}

/// `contexts`, as it is written.
struct Contexts<'d> {
    table: &'d mut dyn TableLike,
    is_table: bool,
}

/// The table that stands first behind the place `after`.
fn next_table(root: &mut Table, after: Option<isize>) -> Option<&mut Table> {
    let mut found: Option<&mut Table> = None;
    let mut open: Vec<&mut Table> = tables(root).collect();
    while let Some(table) = open.pop() {
        let is_nearer = table.position() > after
            && found.as_ref().is_none_or(|known| table.position() < known.position());
        if table.is_implicit() || !is_nearer {
            open.extend(tables(table));
        } else {
            found = Some(table);
        }
    }
    found
}

fn tables(of: &mut Table) -> impl Iterator<Item = &mut Table> {
    of.iter_mut().filter_map(|(_, item)| item.as_table_mut())
}

fn fill(table: &mut Table, context: &Context) {
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            table.insert(key, Item::Value(value));
        }
    };
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    put("endpoint", text(&context.endpoint));
    put("db", text(&context.db));
    let argv = context.token_cmd.as_ref();
    put("token_cmd", argv.map(|argv| Value::Array(argv.iter().collect::<Array>())));
    put("token_env", text(&context.token_env));
    let file = context.token_file.as_ref().map(|path| path.display().to_string());
    put("token_file", text(&file));
    put("protected", context.protected.then(|| Value::from(true)));
    put("label", text(&context.label));
    put("accent", text(&context.accent));
    let max = context.max_bulk.and_then(|max| i64::try_from(max).ok());
    put("max_bulk", max.map(Value::from));
}

/// Through a file beside it, so that nobody ever reads half of it.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = real.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    if let Ok(meta) = std::fs::metadata(&real) {
        file.as_file().set_permissions(meta.permissions())?;
    }
    file.persist(&real).map_err(|e| e.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"# my RelayFlows
default_context = "local"   # at home

# here
[contexts.local]
endpoint = "http://127.0.0.1:8788"

# these are all of the team

# ask ana first
[contexts.prod]
endpoint  = "https://relayflow.example.com"
protected = true          # careful

[tui]
theme = "mono"
"#;

    fn edited(text: &str, change: impl FnOnce(&mut Editor)) -> String {
        let user = UserConfig::parse(text.to_owned(), Path::new("config.toml")).unwrap();
        let mut editor = Editor::new(&user).unwrap();
        change(&mut editor);
        let text = editor.document.to_string();
        UserConfig::parse(text.clone(), Path::new("config.toml")).unwrap();
        text
    }

    fn stage() -> Context {
        Context {
            endpoint: Some("https://stage.example.com".into()),
            token_cmd: Some(vec!["op".into(), "read".into()]),
            protected: true,
            max_bulk: Some(50),
            ..Context::default()
        }
    }

    #[test]
    fn another_default_changes_one_word() {
        let text = edited(FILE, |editor| editor.set_default("prod"));
        assert_eq!(text, FILE.replace("\"local\"", "\"prod\""));
    }

    #[test]
    fn a_new_context_stands_behind_the_others_and_nothing_else_changes() {
        let text = edited(FILE, |editor| editor.add("stage", &stage()).unwrap());
        insta::assert_snapshot!(text, @r#"
        # my RelayFlows
        default_context = "local"   # at home

        # here
        [contexts.local]
        endpoint = "http://127.0.0.1:8788"

        # these are all of the team

        # ask ana first
        [contexts.prod]
        endpoint  = "https://relayflow.example.com"
        protected = true          # careful

        [contexts.stage]
        endpoint = "https://stage.example.com"
        token_cmd = ["op", "read"]
        protected = true
        max_bulk = 50

        [tui]
        theme = "mono"
        "#);
        let text = edited("", |editor| {
            editor.add("stage", &stage()).unwrap();
            editor.set_default("stage");
        });
        insta::assert_snapshot!(text, @r#"
        default_context = "stage"

        [contexts.stage]
        endpoint = "https://stage.example.com"
        token_cmd = ["op", "read"]
        protected = true
        max_bulk = 50
        "#);
        let text = edited("contexts = { a = { endpoint = \"http://a\" } }\n", |editor| {
            editor.add("b", &stage()).unwrap();
        });
        insta::assert_snapshot!(text, @r#"
        contexts = { a = { endpoint = "http://a" } , b = { endpoint = "https://stage.example.com", token_cmd = ["op", "read"], protected = true, max_bulk = 50 } }
        "#);
    }

    #[test]
    fn a_context_that_goes_leaves_the_comments_of_others() {
        let text = edited(FILE, |editor| editor.remove("prod").unwrap());
        insta::assert_snapshot!(text, @r#"
        # my RelayFlows
        default_context = "local"   # at home

        # here
        [contexts.local]
        endpoint = "http://127.0.0.1:8788"

        # these are all of the team

        [tui]
        theme = "mono"
        "#);
        let text = edited(FILE, |editor| editor.remove("local").unwrap());
        insta::assert_snapshot!(text, @r#"
        # my RelayFlows
        default_context = "local"   # at home

        # these are all of the team

        # ask ana first
        [contexts.prod]
        endpoint  = "https://relayflow.example.com"
        protected = true          # careful

        [tui]
        theme = "mono"
        "#);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_the_file_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real.toml"), dir.path().join("config.toml"));
        std::fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write_whole(&link, "x = 1\n").unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "x = 1\n");
    }
}
