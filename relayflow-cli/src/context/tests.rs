use clap::Parser as _;

use super::*;
use crate::args::Cli;

fn chosen(line: &str, env: &[(&str, &str)], folder: Option<&str>) -> layer::Choice {
    let cli = Cli::try_parse_from(line.split(' ')).unwrap();
    let env = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
    let user = UserConfig::parse("default_context = \"default\"".into(), Path::new("c.toml"));
    let dir = tempfile::tempdir().unwrap();
    if let Some(name) = folder {
        let text = format!("# here\ncontext = \"{name}\"\n");
        std::fs::write(dir.path().join("relayflow.toml"), text).unwrap();
    }
    choose(&cli.global, &env, dir.path(), &user.unwrap())
}

#[test]
fn what_is_nearer_to_the_command_wins() {
    let all = [
        ("RELAYFLOW_URL", "http://ci"),
        ("RELAYFLOW_DB", "sqlite:env.db"),
        ("RELAYFLOW_CONTEXT", "env"),
    ];
    let won = |line: &str, env: &[(&str, &str)], folder| chosen(line, env, folder).won;
    let line = "relayflow stats --db sqlite:flag.db -c flag";
    assert_eq!(won(line, &all, Some("folder")), Chosen::Store("sqlite:flag.db".into()));
    let line = "relayflow stats -c flag";
    assert_eq!(won(line, &all, Some("folder")), Chosen::Context("flag".into()));
    let line = "relayflow stats";
    assert_eq!(won(line, &all, Some("folder")), Chosen::Url("http://ci".into()));
    assert_eq!(won(line, &all[1..], None), Chosen::Store("sqlite:env.db".into()));
    assert_eq!(won(line, &all[2..], Some("folder")), Chosen::Context("env".into()));
    assert_eq!(won(line, &[], Some("folder")), Chosen::Context("folder".into()));
    assert_eq!(won(line, &[], None), Chosen::Context("default".into()));
}

#[test]
fn what_won_and_what_it_won_over_is_told() {
    let choice = chosen("relayflow stats -c flag", &[("RELAYFLOW_DB", "sqlite:x")], Some("folder"));
    assert_eq!(choice.from, "--context");
    assert_eq!(choice.over, ["env RELAYFLOW_DB", "relayflow.toml:2", "c.toml:1"]);
    // An empty variable says nothing.
    let choice = chosen("relayflow stats", &[("RELAYFLOW_DB", "")], None);
    assert_eq!((choice.from.as_str(), choice.over.len()), ("c.toml:1", 0));
}

fn user(text: &str) -> UserConfig {
    UserConfig::parse(text.to_owned(), Path::new("config.toml")).unwrap()
}

#[test]
fn a_context_has_its_token_from_one_of_three_places() {
    let user = user(
        r#"
        [contexts.prod]
        endpoint = "https://relayflow.example.com"
        token_env = "T"
        protected = true
        label = "PROD"
        accent = "red"
        max_bulk = 5000
        [contexts.cmd]
        endpoint = "http://localhost"
        token_cmd = ["printf", "secret\n"]
        "#,
    );
    let env = |name: &str| (name == "T").then(|| "token".to_owned());
    let of = |name: &str| of_context(name, &user, &env, TokenFrom::Anywhere);
    let prod = of("prod").unwrap();
    assert!(prod.is_protected && prod.shown() == "prod (PROD)" && prod.max_bulk == Some(5000));
    let Way::Api { token: Some(token), .. } = prod.way else { panic!("no token") };
    assert!(token.is(b"token"));
    let Way::Api { token: Some(token), .. } = of("cmd").unwrap().way else { panic!("no token") };
    assert!(token.is(b"secret"));
    let still = of_context("cmd", &user, &env, TokenFrom::Still).unwrap();
    assert!(matches!(still.way, Way::Api { token: None, .. }), "no command is run");
    let bare = of_context("prod", &user, &|_| None, TokenFrom::Anywhere);
    assert_eq!(bare.unwrap_err().exit().code(), 4);
}

#[test]
fn an_unknown_context_is_not_found_and_the_nearest_is_named() {
    let known = user("[contexts.prod]\nendpoint = \"http://x\"\n[contexts.stage]\ndb = \"y\"\n");
    let failure = unknown("pord", &known);
    assert_eq!(failure.exit().code(), 3);
    assert_eq!(failure.why.as_deref(), Some("contexts: prod stage"));
    assert_eq!(failure.hint.as_deref(), Some("--context prod"));
    assert_eq!(unknown("else", &known).hint.as_deref(), Some("relayflow context ls"));
    let none = unknown("prod", &user(""));
    assert_eq!(none.hint.as_deref(), Some("relayflow context add prod --endpoint URL"));
}

#[test]
fn a_mistake_in_the_file_is_told_with_its_line() {
    let text = "default_context = \"a\"\n[contexts.a]\nendpoit = \"x\"\n";
    let failure = UserConfig::parse(text.into(), Path::new("config.toml")).unwrap_err();
    assert_eq!(failure.exit().code(), 2);
    assert!(failure.message.starts_with("config.toml:3"), "{}", failure.message);
    assert!(failure.why.unwrap().contains("endpoit"));
}

#[test]
fn the_keys_of_a_context_are_those_that_are_told() {
    let wrong = UserConfig::parse("[contexts.a]\nx = 1\n".into(), Path::new("c.toml"));
    let said = wrong.unwrap_err().why.unwrap();
    let known: Vec<_> = said.split('`').skip(3).step_by(2).collect();
    assert_eq!(known, CONTEXT_FIELDS.map(|(name, _)| name), "{said}");
}
