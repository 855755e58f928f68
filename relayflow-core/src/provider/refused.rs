//! What is wrong in a definition or a source is told with its line and what was wanted.

use jiff::SignedDuration;

use super::formats::{EVENT, HEAD, mistakes};
use super::{Catalog, Source};
use crate::config::SourceConfig;
use crate::secret::Secret;

#[track_caller]
fn is_mistake(definition: &str, parts: &[&str]) {
    let shown = mistakes(definition);
    for part in parts {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
}

#[test]
fn a_misspelt_key_names_itself_its_line_and_the_alternatives() {
    let shown = mistakes(&format!("[verify]\nscheme = 'none'\nheeder = 'x'\n{EVENT}"));
    insta::assert_snapshot!(shown, @r"
    error: there is no key `heeder` here: wanted scheme, only_if, when, header, pointer, query, each, separator, prefix, parts, signed, encoding, form, key, id, timestamp, tolerance, url, body, digest, algorithm, keys, check, claims, components
      …/mine.toml:7:1
      heeder = 'x'
      ^^^^^^
      fix: did you mean `header`?
    ");
}

#[test]
fn a_mistake_names_the_line_and_what_was_wanted() {
    let way = |way: &str| format!("[verify]\n{way}\n{EVENT}");
    let hmac = |more: &str| way(&format!("scheme = 'hmac-sha256'\nheader = 'x'\n{more}"));
    is_mistake(
        &way("scheme = 'hmac-md5'\nheader = 'x'"),
        &["mine.toml:6:10", "`hmac-md5` is not known here: wanted hmac-sha1"],
    );
    is_mistake(
        &hmac("signed = '{tmestamp}.{body}'"),
        &["mine.toml:8:10", "`{tmestamp}` cannot be signed: wanted body, timestamp"],
    );
    is_mistake(&hmac("signed = '{timestamp}.{body}'"), &["mine.toml:8:10", "nothing says where"]);
    is_mistake(&hmac("tolerance = '5m'"), &["no time is signed"]);
    is_mistake(&hmac("id = 'x-id'\nsigned = '{secret}{body}'"), &["`{secret}` stands in"]);
    is_mistake(&hmac("when = { pointer = '/type' }"), &["nothing else is read of what is not"]);
    is_mistake(&way("scheme = 'hmac-sha256'"), &["needs one of `header`, `pointer` and `query`"]);
    is_mistake(&way("scheme = 'basic'\nheader = 'x'"), &["`basic` needs no `header`"]);
    is_mistake(&way("scheme = 'bearer'\nsigned = '{body}'"), &["`bearer` signs nothing"]);
    is_mistake(
        &way("scheme = 'token'\nheader = 'x'\nprefix = '{setting:p}'"),
        &["mine.toml:8:11", "the setting `p` is not declared"],
    );
    let open = "[verify]\nscheme = 'none'\n";
    is_mistake(
        &format!("{open}[event]\nid = 'id'\ntype = '/a~b'"),
        &["mine.toml:8:6", "`id` names no place", "mine.toml:9:8", "must be `~0` or `~1`"],
    );
    is_mistake(
        &format!("{open}[event]\nid = ['derived', '/id']\ntype = '/t'"),
        &["must be the last"],
    );
    is_mistake(
        &format!("{open}[event]\nid = '^/id'\ntype = '/t'"),
        &["`^` reaches 1 up, but an event is held by 0"],
    );
    is_mistake(&format!("{open}[split]\nat = '/items'\n{EVENT}"), &["`/items` has no `*`"]);
    is_mistake(
        &format!("{open}{EVENT}[kind.'payment.failled']\ntypes = ['x']"),
        &["mine.toml:10:7", "wanted", "payment.failed"],
    );
    is_mistake(
        &format!(
            "{open}{EVENT}[kind.'user.deleted']\ntypes = ['x']\nattributes = {{ usr = '/id' }}"
        ),
        &["mine.toml:12:16", "`usr` is no attribute of `user.deleted`: wanted user, email"],
    );
    is_mistake(
        &format!("{open}{EVENT}[kind.'user.deleted']\ntypes = ['x', 'x']"),
        &["`x` has two kinds"],
    );
    let when =
        |when: &str| format!("{open}{EVENT}[kind.'user.deleted']\ntypes = ['x']\nwhen = {when}");
    is_mistake(&when("{ is = 'x' }"), &["mine.toml:12:8", "one of `pointer`, `all` and `any`"]);
    is_mistake(&when("{ all = [{ pointer = '/a' }], is = 'x' }"), &["`is` says what"]);
    is_mistake(&when("{ pointer = 'a' }"), &["`a` is no place"]);
    is_mistake(&when("{ pointer = 'derived' }"), &["no condition can be made on this"]);
    let deep = format!("{}{{ pointer = '/a' }}{}", "{ all = [".repeat(5), "] }".repeat(5));
    is_mistake(&when(&deep), &["too deep in each other"]);
    is_mistake(&format!("{open}[event]\nid = '{{number}}'\ntype = '/t'"), &["names no place"]);
    is_mistake(
        &format!("{open}[event]\nid = '/id'\ntype = '{{derived}}'"),
        &["`{derived}` is for ids"],
    );
    is_mistake(&format!("{open}{EVENT}[reply]\nwithin = 'soon'"), &["wanted `3s`"]);
    is_mistake(&format!("{open}{EVENT}[reply]\nwithin = '1h'"), &["wanted `3s`"]);
    is_mistake(&format!("{open}{EVENT}[reply]\nstatus = 500"), &["wanted 200 to 299"]);
    let shake = |more: &str| format!("{open}{EVENT}[[handshake]]\nwhen = {{}}\n{more}");
    is_mistake(&shake("learns = 'header:x'"), &["needs `signed = false`"]);
    is_mistake(&shake("signed = false\nlearns = 'query:x'"), &["a header or the body"]);
    is_mistake(&shake("text = '{number}'"), &["is of an event"]);
    is_mistake(
        &format!(
            "{open}{EVENT}[kind.'meeting.started']\ntypes = ['x']\nattributes = {{ starts_at = '/at' }}"
        ),
        &["a time, and nothing else, has a `unit`"],
    );
}

#[test]
fn a_folder_of_definitions_replaces_and_adds() {
    let folder = tempfile::tempdir().unwrap();
    let mine = format!("{HEAD}[verify]\nscheme = 'none'\n{EVENT}");
    std::fs::write(folder.path().join("mine.toml"), &mine).unwrap();
    std::fs::write(folder.path().join("stripe.toml"), &mine).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "not a definition").unwrap();
    let catalog = Catalog::with_dir(folder.path()).unwrap();
    assert!(!catalog.get("mine").unwrap().built_in && !catalog.get("stripe").unwrap().built_in);
    assert!(catalog.get("github").unwrap().built_in);
    assert!(Catalog::with_dir(&folder.path().join("none")).is_err());
}

#[test]
fn a_source_that_cannot_work_is_refused_with_what_to_do() {
    let catalog = Catalog::built_in();
    let config = |provider: &str, secrets: &[&str]| SourceConfig {
        name: "test".to_owned(),
        provider: provider.to_owned(),
        secrets: secrets.iter().map(|s| Secret::new(*s)).collect(),
        tolerance: None,
        public_url: None,
        settings: std::collections::BTreeMap::new(),
        accept_identical: false,
        derived_window: SignedDuration::from_hours(24),
        reconcile: None,
    };
    let refused = |config: &SourceConfig, part: &str| {
        let error = Source::new(config, None, &catalog).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(&config("strip", &["x"]), "there is no provider `strip`; did you mean stripe?");
    refused(&config("stripe", &[]), "`stripe` needs a secret");
    refused(&config("stripe", &[""]), "a secret is empty");
    refused(&config("stripe", &["a", "b", "c", "d", "e"]), "there are 5 secrets");
    refused(&config("discord", &["not a key"]), "wanted an Ed25519 public key");
    refused(&config("sendgrid", &["abc"]), "wanted a P-256 public key");
    refused(&config("postmark", &["no colon"]), "wanted `user:password`");
    let mut odd = config("generic", &["a secret of the test"]);
    odd.settings.insert("hedder".to_owned(), "x".to_owned());
    refused(&odd, "there is no setting `hedder`: wanted algorithm, encoding, header");
    odd.settings.clear();
    odd.settings.insert("algorithm".to_owned(), "md5".to_owned());
    refused(&odd, "`hmac-md5` is not known here");
    odd.settings.clear();
    odd.settings.insert("scheme".to_owned(), "none".to_owned());
    refused(&odd, "it takes no secret");

    let short = Source::new(&config("stripe", &["short"]), None, &catalog).unwrap();
    assert!(short.warnings[0].contains("fewer than 16 bytes"));
    assert_eq!(short.secret_fingerprints()[0].len(), "sha256:".len() + 8);
    assert_eq!((short.tolerance_label().as_str(), &*short.scheme_label), ("5m", "hmac-sha256"));
    let url = Source::new(&config("twilio", &["a secret of the test"]), None, &catalog).unwrap();
    assert!(url.warnings[0].contains("public_url"), "{:?}", url.warnings);
    let url =
        Source::new(&config("twilio", &["a secret of the test"]), Some("https://h/"), &catalog);
    assert_eq!(url.unwrap().public_url.as_deref(), Some("https://h/in/test"));
}
