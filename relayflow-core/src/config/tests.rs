use std::collections::HashMap;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::diagnostic::Diagnostic;
use crate::provider::Catalog;
use crate::workflow::{Action, On};

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::built_in);
const NO_ENV: &[(&str, &str)] = &[];

fn parse(text: &str, env: &[(&str, &str)]) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    let env: HashMap<String, String> =
        env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let dir = std::path::Path::new("/srv/relayflow");
    Config::parse(text, "relayflow.toml", dir, &CATALOG, &|name| env.get(name).cloned())
}

#[track_caller]
fn good(text: &str) -> Config {
    parse(text, NO_ENV).map_err(|errors| show(&errors)).unwrap().0
}

fn show(diagnostics: &[Diagnostic]) -> String {
    let shown: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
    shown.join("\n")
}

/// Every mistake of `text`.
#[track_caller]
fn bad(text: &str) -> String {
    show(&parse(text, NO_ENV).expect_err(text))
}

/// The example with every setting that it has as a comment.
fn uncommented() -> String {
    let setting = regex::Regex::new(r"^# (\[|[a-z_]+ = )").unwrap();
    let line = |line: &str| {
        let is_setting = setting.is_match(line);
        if is_setting { line.trim_start_matches("# ").to_owned() } else { line.to_owned() }
    };
    EXAMPLE.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_defaults_are_the_example() {
    let (defaults, example) = (good(""), good(EXAMPLE));
    assert_eq!(defaults.retry, crate::backoff::Backoff::default());
    assert_eq!(defaults.ingest.listen.to_string(), "127.0.0.1:8787");
    assert_eq!(defaults.api.listen.to_string(), "127.0.0.1:8788");
    assert_eq!(defaults.store.url, "sqlite:/srv/relayflow/relayflow.db");
    assert_eq!(defaults.ingest.body_bytes_max, 1024 * 1024);
    let values = |config: &Config| -> Vec<_> {
        config.explained.iter().map(|e| (e.key.clone(), e.value.clone())).collect()
    };
    assert_eq!(values(&defaults), values(&example));
}

#[test]
fn the_example_shows_what_a_source_and_a_step_have_unless_they_say_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("providers")).unwrap();
    for file in ["cert.pem", "key.pem"] {
        std::fs::write(dir.path().join(file), "").unwrap();
    }
    let read = |text: &str| {
        let env = |name: &str| {
            let is_known = [
                "STRIPE_WEBHOOK_SECRET",
                "STRIPE_API_KEY",
                "RELAYFLOW_TOKEN_ANA",
                "CRM_AUTHORIZATION",
            ]
            .contains(&name);
            is_known.then(|| format!("a long secret for {name}"))
        };
        let read = Config::parse(text, "x.toml", dir.path(), &CATALOG, &env);
        read.map_err(|errors| show(&errors)).unwrap().0
    };
    let full = read(&uncommented());
    let source = &full.sources[0];
    let bare = read(
        "[sources.stripe]\nprovider = 'stripe'\nsecrets = ['a long enough secret']\n\
         [workflows.w]\non = ['*']\n[[workflows.w.steps]]\nname = 's'\nhttp = { url = 'https://x.example' }",
    );
    assert_eq!(source.accept_identical, bare.sources[0].accept_identical);
    assert_eq!(source.derived_window, bare.sources[0].derived_window);
    let (of_full, of_bare) = (&full.workflows.list[0].steps[0], &bare.workflows.list[0].steps[0]);
    assert_eq!(of_full.timeout, of_bare.timeout);
    assert_eq!(of_full.backoff, of_bare.backoff);
    let (Action::Http(of_full), Action::Http(of_bare)) = (&of_full.action, &of_bare.action) else {
        panic!("both are http");
    };
    assert_eq!(of_full.method, of_bare.method);
    assert_eq!(of_full.dynamic_host, of_bare.dynamic_host);
    assert_eq!(full.api.tokens[0].role, Role::Operator);
    assert_eq!(full.workflows.list[0].steps.len(), 2);
}

#[test]
fn a_file_says_what_differs() {
    let config = good(
        r#"
        context = "prod"
        [store]
        url = "sqlite:data/x.db"
        [ingest]
        public_url = "https://hooks.example.com/"
        body_bytes_max = "64KiB"
        [egress]
        allow = ["127.0.0.0/8", "10.0.0.1"]
        [retry]
        attempts = 3
        [sources.shop-1]
        provider = "generic"
        secrets = ["sixteen bytes ok", "another one of them"]
        tolerance = "off"
        settings = { header = "x-sig", algorithm = "sha512" }
        [workflows.w]
        on = ["payment.failed", "stripe:charge.failed", "*"]
        when = 'event.attributes.amount_minor > 1'
        [[workflows.w.steps]]
        name = "crm"
        timeout = "1m"
        retry = { attempts = 5, first = "2s" }
        http = { method = "PUT", url = "https://API.example.com:8443/c/{{ event.subject }}", headers = { "X-Team" = "{{ event.kind }}" }, body = '{"id": event.external_id}' }
        [[workflows.w.steps]]
        name = "notify"
        needs = ["crm"]
        command = { argv = ["./bin/notify.sh", "{{ steps.crm.response.id }}"], env = ["PATH"] }
        "#,
    );
    assert_eq!(config.context.as_deref(), Some("prod"));
    assert_eq!(config.store.url, "sqlite:/srv/relayflow/data/x.db");
    assert_eq!(config.ingest.public_url.as_deref(), Some("https://hooks.example.com"));
    assert_eq!(config.ingest.body_bytes_max, 65536);
    assert_eq!(config.egress.allow[1].to_string(), "10.0.0.1/32");
    let source = config.source("shop-1").unwrap();
    assert_eq!(source.tolerance, Some(Tolerance::Off));
    assert_eq!(source.secrets.len(), 2);
    assert_eq!(source.settings["algorithm"], "sha512");
    let workflow = config.workflows.get("w").unwrap();
    assert_eq!(workflow.on[0], On::Kind("payment.failed".to_owned()));
    let (_, crm) = config.workflows.step("w", "crm").unwrap();
    assert_eq!(crm.destination.as_deref(), Some("api.example.com:8443"));
    assert_eq!((crm.backoff.attempts, crm.backoff.first.as_secs()), (5, 2));
    assert_eq!(crm.backoff.longest.as_hours(), 2);
    let (_, notify) = config.workflows.step("w", "notify").unwrap();
    assert_eq!(notify.destination.as_deref(), Some("command:notify.sh"));
    assert_eq!(notify.backoff.attempts, 3);
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("relayflow.toml");
    let file = "[ingest]\nlisten = '127.0.0.1:1'\n[api]\nlisten = '127.0.0.1:2'\n[retry]\nattempts = 4\n\
        [sources.my-shop]\nprovider = 'stripe'\nsecrets = ['sixteen bytes ok']\n\
        [workflows.w]\non = ['*']\n[[workflows.w.steps]]\nname = 's'\nhttp = { url = 'https://x.example' }";
    std::fs::write(&path, file).unwrap();
    let env = |name: &str| match name {
        "RELAYFLOW_INGEST__LISTEN" => Some("127.0.0.1:3".to_owned()),
        "RELAYFLOW_API__LISTEN" => Some("localhost:4".to_owned()),
        "RELAYFLOW_SOURCES__MY_SHOP__TOLERANCE" => Some("1m".to_owned()),
        "RELAYFLOW_SOURCES__MY_SHOP__SECRETS" => Some("a secret from a variable".to_owned()),
        "RELAYFLOW_EGRESS__ALLOW" => Some("10.0.0.0/8, 127.0.0.1".to_owned()),
        "RELAYFLOW_WORKFLOWS__W__STEPS__S__TIMEOUT" => Some("3s".to_owned()),
        _ => None,
    };
    let flags = Overrides { listen: Some("127.0.0.1:5".to_owned()), ..Overrides::default() };
    let (config, _) = Config::load(Some(&path), &flags, &env).map_err(|e| show(&e)).unwrap();
    assert_eq!(config.ingest.listen.port(), 5);
    assert_eq!(config.api.listen.port(), 4);
    assert_eq!(config.retry.attempts, 4);
    assert_eq!(config.path.as_deref(), Some(path.as_path()));
    assert_eq!(config.egress.allow.len(), 2);
    let source = &config.sources[0];
    assert_eq!(source.tolerance, Some(Tolerance::Within(SignedDuration::from_secs(60))));
    assert!(source.secrets[0].is(b"a secret from a variable"));
    assert_eq!(config.workflows.step("w", "s").unwrap().1.timeout.as_secs(), 3);
    let from = |key: &str| {
        let found = config.explained.iter().find(|e| e.key == key).unwrap();
        format!("{} from {}", found.value, found.from)
    };
    assert_eq!(from("ingest.listen"), "127.0.0.1:5 from --listen");
    assert_eq!(from("api.listen"), "localhost:4 from env RELAYFLOW_API__LISTEN");
    assert_eq!(from("retry.attempts"), format!("4 from {}:6", path.display()));
    assert_eq!(from("retry.first"), "1s from default");
    // What nothing says is in force too, with what it is taken from.
    assert_eq!(from("sources.my-shop.accept_identical"), "false from default");
    assert_eq!(
        from("workflows.w.steps.s.timeout"),
        "3s from env RELAYFLOW_WORKFLOWS__W__STEPS__S__TIMEOUT"
    );
    assert_eq!(from("workflows.w.steps.s.retry.attempts"), "4 from default of retry.attempts");
    assert_eq!(from("workflows.w.steps.s.http.method"), "POST from default");
    assert_eq!(
        from("sources.my-shop.secrets"),
        "••• sha256:0f23 from env RELAYFLOW_SOURCES__MY_SHOP__SECRETS"
    );
}

#[test]
fn a_source_has_the_tolerance_of_its_provider_unless_it_says_otherwise() {
    let text = "[sources.s]\nprovider = 'stripe'\nsecrets = ['sixteen bytes ok']";
    let config = good(text);
    let found = config.explained.iter().find(|e| e.key == "sources.s.tolerance").unwrap();
    assert_eq!(
        (found.value.as_str(), &*found.from.to_string()),
        ("5m", "default of provider stripe")
    );
}

#[test]
fn no_password_of_a_url_is_explained() {
    let shown = |url: &str| super::secrets::without_password(url.to_owned());
    assert_eq!(shown("postgres://ana:hunter2@db.example/a@b"), "postgres://ana:•••@db.example/a@b");
    assert_eq!(shown("postgres://ana:a:b@db"), "postgres://ana:•••@db");
    assert_eq!(shown("https://x.example/a:b@c"), "https://x.example/a:b@c");
}

#[test]
fn what_is_known_and_said_nowhere_is_named() {
    let config = good("[sources.s]\nprovider = 'stripe'\nsecrets = ['sixteen bytes ok']");
    let is_unset = |key: &str| config.unset.iter().any(|known| known == key);
    assert!(is_unset("context") && is_unset("ingest.public_url"), "{:?}", config.unset);
    assert!(is_unset("sources.s.public_url") && is_unset("providers.dir"), "{:?}", config.unset);
    let is_both = |key: &&String| config.explained.iter().any(|e| e.key == **key);
    assert_eq!(config.unset.iter().find(is_both), None);
}

#[test]
fn every_mistake_is_told_with_its_place_and_what_to_type() {
    insta::assert_snapshot!(bad(r#"
[store]
ulr = "sqlite:x.db"
[ingest]
listen = "8787"
body_bytes_max = "1MB"
[retry]
attempts = 0
first = 5
[sources.Stripe]
provider = "strpe"
secrets = ["sixteen bytes ok"]
[workflows.w]
on = ["payment.faild", "strip:x", "charge.failed"]
when = "event.atributes.x == 1"
[[workflows.w.steps]]
name = "crm"
needs = ["cmr"]
delay = "5m"
http = { url = "https://{{ event.subject }}.example.com/x", method = "post", headers = { Host = "x", "X-A" = "{{ 1" } }
"#), @r#"
    error: unknown key `ulr` in [store]
      relayflow.toml:3:1
      ulr = "sqlite:x.db"
      ^^^
      fix: did you mean `url`?
    error: `ingest.listen`: `8787` is not an address: wanted such as 127.0.0.1:8787
      relayflow.toml:5:10
      listen = "8787"
               ^^^^^^
    error: `ingest.body_bytes_max`: this is `1MB`, wanted a size such as "64KiB" or "1MiB"
      relayflow.toml:6:18
      body_bytes_max = "1MB"
                       ^^^^^
    error: `retry.attempts`: this is the number 0, wanted a whole number from 1 to 1000000
      relayflow.toml:8:12
      attempts = 0
                 ^
    error: `retry.first`: this is the number 5, wanted a duration such as "10s" or "5m"
      relayflow.toml:9:9
      first = 5
              ^
    error: `Stripe` cannot be a name
      relayflow.toml:10:10
      [sources.Stripe]
               ^^^^^^
      fix: up to 64 of a-z, 0-9, `_` and `-`, a letter or digit first
    error: unknown provider `strpe`
      relayflow.toml:11:12
      provider = "strpe"
                 ^^^^^^^
      fix: did you mean `stripe`?
    error: unknown kind `payment.faild`
      relayflow.toml:14:8
      on = ["payment.faild", "strip:x", "charge.failed"]
             ^^^^^^^^^^^^^
      fix: did you mean `payment.failed`?
    error: unknown provider `strip`
      relayflow.toml:14:25
      on = ["payment.faild", "strip:x", "charge.failed"]
                              ^^^^^^^
      fix: did you mean `stripe:x`?
    error: unknown kind `charge.failed`
      relayflow.toml:14:36
      on = ["payment.faild", "strip:x", "charge.failed"]
                                         ^^^^^^^^^^^^^
      fix: did you mean the type `stripe:charge.failed`?
    error: `workflows.w.when`: unknown name `event.atributes`: did you mean `event.attributes`?
      relayflow.toml:15:9
      when = "event.atributes.x == 1"
              ^^^^^^^^^^^^^^^
    error: `crm` needs the unknown step `cmr`
      relayflow.toml:18:11
      needs = ["cmr"]
                ^^^
      fix: did you mean `crm`?
    error: `delay` is not there yet in this version
      relayflow.toml:19:1
      delay = "5m"
      ^^^^^
      fix: remove it
    error: an event may not choose the host of a call
      relayflow.toml:20:17
      http = { url = "https://{{ event.subject }}.example.com/x", method = "post", headers = { Host = "x", "X-A" = "{{ 1" } }
                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      fix: write the host out, or set `dynamic_host = true` beside `url`
    error: `workflows.w.steps.crm.http.method`: `post` is no method: wanted one of POST, PUT, PATCH, DELETE, GET, HEAD, OPTIONS
      relayflow.toml:20:70
      http = { url = "https://{{ event.subject }}.example.com/x", method = "post", headers = { Host = "x", "X-A" = "{{ 1" } }
                                                                           ^^^^^^
    error: the header `Host` cannot be set
      relayflow.toml:20:97
      http = { url = "https://{{ event.subject }}.example.com/x", method = "post", headers = { Host = "x", "X-A" = "{{ 1" } }
                                                                                                      ^^^
    error: `workflows.w.steps.crm.http.headers.X-A`: unexpected end of input, expected end of variable block
      relayflow.toml:20:114
      http = { url = "https://{{ event.subject }}.example.com/x", method = "post", headers = { Host = "x", "X-A" = "{{ 1" } }
                                                                                                                       ^
    "#);
}

#[test]
fn what_would_be_unsafe_is_refused() {
    let source = |rest: &str| format!("[sources.s]\nprovider = 'stripe'\n{rest}");
    let step = |rest: &str| {
        format!("[workflows.w]\non = ['*']\n[[workflows.w.steps]]\nname = 's'\n{rest}")
    };
    for (text, message) in [
        (source(""), "has no secret"),
        (source("secrets = []"), "has no secret"),
        (source("secrets = ['']"), "is empty"),
        (source("secrets = [{ env = 'NOT_THERE' }]"), "the environment has no `NOT_THERE`"),
        (source("secrets = [{ file = 'not-there' }]"), "cannot read `/srv/relayflow/not-there`"),
        (source("secrets = [{ fiel = 'x' }]"), "unknown key `fiel` in a secret"),
        (source("secrets = [1]"), "is no secret"),
        (source("secrets = ['1','2','3','4','5']"), "more than 4"),
        ("[sources.s]\nsecrets = ['sixteen bytes ok']".to_owned(), "has no `provider`"),
        ("[api]\nlisten = '0.0.0.0:8788'".to_owned(), "tokens in the clear"),
        ("[api]\nlisten = '127.0.0.1:8787'".to_owned(), "are both"),
        ("[api.tls]\ncert = 'x'".to_owned(), "wants both"),
        ("[api.tokens.a]\nrole = 'root'\ntoken = 'a token of enough length'".to_owned(), "no role"),
        ("[api.tokens.a]\nrole = 'admin'".to_owned(), "has no `token`"),
        ("[store]\nurl = 'postgres://x/y'".to_owned(), "not there yet"),
        ("[store]\nurl = 'sqlite::memory:'".to_owned(), "a file"),
        ("[retry]\nfirst = '1d'".to_owned(), "`longest` is shorter"),
        ("[ingest]\nbody_bytes_max = '65MiB'".to_owned(), "is less than"),
        ("[workflows.w]\non = []".to_owned(), "is on nothing"),
        ("[workflows.w]\non = ['*']".to_owned(), "wants 1 to 64 steps"),
        (step(""), "wants one action"),
        (step("command = { argv = ['{{ event.subject }}'] }"), "may not choose the program"),
        (step("command = { argv = [] }"), "names no program"),
        (step("command = 'rm -rf x'"), "wanted a table"),
        (step("http = { url = 'ftp://x.example' }"), "neither http nor https"),
        (step("http = { url = 'https://u:p@x.example' }"), "user name or password"),
        (step("http = { url = '{{ event.payload.url }}' }"), "may not choose the host"),
        (
            step("http = { url = 'https://x.example{{ event.subject }}/' }"),
            "may not choose the host",
        ),
        (
            step("http = { url = 'https://x.example', body = 'steps.crm.response' }"),
            "does not need",
        ),
        (
            step("http = { url = 'https://x.example', headers = { 'idempotency-key' = 'x' } }"),
            "cannot be set",
        ),
        (
            step("http = { url = 'https://x.example', headers = { 'Proxy-Authorization' = 'x' } }"),
            "cannot be set",
        ),
        (
            step("http = { url = 'https://x.example', headers = { a = \"x\\ny\" } }"),
            "may not stand here",
        ),
        (step("needs = ['s']\nhttp = { url = 'https://x.example' }"), "needs itself"),
        (step("email = { to = 'x' }\nhttp = { url = 'https://x.example' }"), "not there yet"),
        (step("timeout = '2d'\nhttp = { url = 'https://x.example' }"), "too long"),
        ("[workflows.w]\non = ['*']\nwhen = 'steps.x.response'\n".to_owned(), "none has run yet"),
        ("[workflows.w]\non = ['*']\nwhen = '1 +'\n".to_owned(), "expected"),
        ("[a\nb".to_owned(), "relayflow.toml:1"),
    ] {
        let told = bad(&text);
        assert!(told.contains(message), "{text}\n{told}");
    }
}

#[test]
fn what_is_weak_is_a_warning() {
    let (_, warnings) =
        parse("[sources.s]\nprovider = 'stripe'\nsecrets = ['short']", NO_ENV).unwrap();
    assert!(warnings[0].is_warning && warnings[0].message.contains("has 5 bytes"));
    let text = "[workflows.w]\non = ['stripe:charge.faled']\n[[workflows.w.steps]]\nname = 's'\n\
        http = { url = 'https://x.example' }";
    let (_, warnings) = parse(text, NO_ENV).unwrap();
    assert!(warnings[0].to_string().contains("did you mean `stripe:charge.failed`?"));
}

#[test]
fn a_source_without_a_secret_is_unsigned_by_name_alone() {
    let text = "[sources.s]\nprovider = 'generic'\nsettings = { scheme = 'none' }";
    assert!(good(text).sources[0].secrets.is_empty());
    assert!(bad("[sources.s]\nprovider = 'generic'").contains("anyone could send"));
}

#[test]
fn a_header_may_be_a_secret_and_braces_in_it_are_itself() {
    let text = "[workflows.w]\non = ['*']\n[[workflows.w.steps]]\nname = 's'\n\
        http = { url = 'https://x.example', headers = { Authorization = { env = 'CRM' } } }";
    let (config, _) = parse(text, &[("CRM", "Bearer {{ canary }}")]).unwrap();
    let Action::Http(http) = &config.workflows.list[0].steps[0].action else { panic!("http") };
    assert!(http.headers[0].1.is_static() && !format!("{config:?}").contains("canary"));
    assert!(bad(text).contains("the environment has no `CRM`"));
    let errors = parse(text, &[("CRM", "a long one with a line\nend")]).unwrap_err();
    assert!(errors[0].message.contains("cannot be the value of a header"));
}

#[test]
fn a_tree_without_end_is_refused() {
    for text in
        ["a = ".to_owned() + &"[".repeat(100_000), "a = ".to_owned() + &"{a=".repeat(100_000)]
    {
        assert!(parse(&text, NO_ENV).is_err());
    }
    assert!(parse(&format!("{} = 1", vec!["a"; 50_000].join(".")), NO_ENV).is_err());
}

#[test]
fn a_later_key_is_refused_and_not_recommended() {
    let told = bad("[workflows.w]\non = ['*']\ndelay = '1h'\ndelya = 1");
    assert!(told.contains("`delay` is not there yet") && !told.contains("did you mean `delay`"));
}

#[test]
fn an_order_is_told_before_any_step_has_run() {
    let step = |more: &str| {
        format!(
            "[workflows.w]\non = ['*']\n[[workflows.w.steps]]\nname = 'a'\n{more}\n\
             http = {{ url = 'https://a.example/' }}"
        )
    };
    let config = parse(&step("order_by = 'event.subject'\nafter_dead = 'hold'"), NO_ENV).unwrap().0;
    assert!(config.workflows.list[0].steps[0].order.as_ref().is_some_and(|order| order.holds_dead));
    for (more, told) in [
        ("order_by = 'steps.b.response'", "cannot see steps"),
        ("order_by = 'event.'", "order_by"),
        ("after_dead = 'hold'", "has `after_dead` and no `order_by`"),
        ("order_by = 'event.subject'\nafter_dead = 'wait'", "wanted \"go_on\" or \"hold\""),
    ] {
        let text = bad(&step(more));
        assert!(text.contains(told), "{more}: {text}");
    }
}

#[cfg(unix)]
#[test]
fn a_secret_file_that_others_may_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, "a secret in a file\n").unwrap();
    let read = |mode: u32| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let text = "[sources.s]\nprovider = 'stripe'\nsecrets = [{ file = 'secret' }]";
        Config::parse(text, "x.toml", dir.path(), &CATALOG, &|_| None)
            .map_err(|e| show(&e))
            .unwrap()
    };
    let (config, warnings) = read(0o600);
    assert!(config.sources[0].secrets[0].is(b"a secret in a file") && warnings.is_empty());
    let (_, warnings) = read(0o644);
    assert!(warnings[0].message.contains("others may read"));
}

#[test]
fn no_message_shows_a_secret() {
    for text in [
        "[sources.s]\nprovider = 'strpe'\nsecrets = ['whsec_canary', \"whsec_canary\"]",
        "[sources.s]\nprovider = 'stripe'\nsecret = 'whsec_canary'",
        "[sources.s]\nprovider = 'stripe'\nsecrets = 'whsec_canary\n",
        "[sources.s]\nprovider = 'stripe'\nsecrets = [\n'whsec_canary',\n= ]",
        "[sources.s]\nprovider = 'stripe'\nsecrets = ['''\nwhsec_canary''', 1]",
        "[api.tokens.a]\nrole = 'x'\ntoken = 'whsec_canary'",
        "[api.tokens]\na = 'whsec_canary'",
        "[sources.s]\nprovider = 'stripe'\nsecrets = ['x']\nsettings = { verify_token = 'whsec_canary', x = [] }",
        "[store]\nurl = 'postgres://user:whsec_canary@host/x'",
    ] {
        let told = bad(text);
        assert!(!told.contains("canary"), "{told}");
    }
    let step = "[workflows.w]\non = ['*']\n[[workflows.w.steps]]\nname = 's'\n";
    for headers in [
        "{ Authorization = 'Bearer canary', Host = 'x' }",
        "{ X-Api-Key = 'canary', Host = 'x' }",
        "{ X = { env = 'CANARY' }, Host = 'x' }",
    ] {
        let text = format!("{step}http = {{ url = 'https://x.example', headers = {headers} }}");
        let told = bad(&text);
        assert!(!told.contains("canary"), "{told}");
    }
    let flags =
        Overrides { db: Some("postgres://u:canary@host/x".to_owned()), ..Overrides::default() };
    let file = tempfile::NamedTempFile::new().unwrap();
    let errors = Config::load(Some(file.path()), &flags, &|_| None).unwrap_err();
    assert!(!show(&errors).contains("canary"));
    let env = [
        ("RELAYFLOW_SOURCES__S__SECRETS", "canary"),
        ("RELAYFLOW_API__TOKENS__A__TOKEN", "canary"),
    ];
    let text = "[sources.s]\nprovider = 'stripe'\n[api.tokens.a]\nrole = 'x'";
    let errors = parse(text, &env).unwrap_err();
    assert!(!show(&errors).contains("canary"));
    let (config, _) =
        parse("[sources.s]\nprovider = 'stripe'\nsecrets = ['whsec_canary']", NO_ENV).unwrap();
    assert!(!format!("{config:?}").contains("canary"));
}

#[test]
fn a_file_that_is_not_there_is_a_mistake_and_none_is_not() {
    let none = |_: &str| None;
    let errors =
        Config::load(Some("/not/there.toml".as_ref()), &Overrides::default(), &none).unwrap_err();
    assert!(errors[0].message.contains("`/not/there.toml` cannot be read"));
    let named = |name: &str| (name == CONFIG_VARIABLE).then(|| "/not/here.toml".to_owned());
    let errors = Config::load(None, &Overrides::default(), &named).unwrap_err();
    assert!(errors[0].message.contains("/not/here.toml"));
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,300}") {
        let _ = parse(&text, NO_ENV).map_err(|errors| show(&errors));
    }

    #[test]
    fn no_mangled_example_panics(cuts in proptest::collection::vec((0_usize..4000, 0_usize..30), 1..6), insert in "[ -~é\n]{0,3}") {
        let mut text = uncommented();
        for (at, length) in cuts {
            let at = (0..=at.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap();
            let end = (at + length).min(text.len());
            let end = (at..=end).rev().find(|i| text.is_char_boundary(*i)).unwrap();
            text.replace_range(at..end, &insert);
        }
        let _ = parse(&text, NO_ENV).map_err(|errors| show(&errors));
    }
}
