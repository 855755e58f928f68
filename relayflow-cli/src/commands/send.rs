//! `relayflow send`: a provider's event, signed as the vendor signs, posted as the vendor posts.

use std::fmt::Write as _;
use std::time::Duration;

use relayflow_core::api::Ingested;
use relayflow_core::api::codes::Exit;
use relayflow_core::config::{Config, SourceConfig};
use relayflow_core::id::RequestId;
use relayflow_core::provider::sign::{Signed, test_keys};
use relayflow_core::provider::{Catalog, Sample, Source};
use relayflow_core::secret::Secret;
use relayflow_core::text;
use tokio::time::Instant;

use super::timeline;
use crate::app::App;
use crate::args::{SendArgs, Tamper};
use crate::backend::Backend;
use crate::context::{self, reachable};
use crate::failure::{Done, Failure, chain};
use crate::output::time;
use crate::vendor::{self, Sent};

pub(crate) async fn send(app: &App, args: &SendArgs) -> Done {
    if let Some(provider) = &args.list {
        return list_types(app, provider);
    }
    let (config, _) = context::load_config(args.config.as_deref(), &|name| app.env(name))?;
    let catalog = vendor::catalog(config.providers_dir.as_deref())?;
    let mut letters = Letters::new(app, args, &config, &catalog)?;
    if args.print {
        let (_, letter) = letters.next(app)?;
        app.out.line(&curl(&letter, &letters.url))?;
        return Ok(Exit::Ok);
    }
    let timeout = Duration::try_from(app.global.request_timeout).unwrap_or(Duration::from_secs(30));
    let client = vendor::client(timeout)?;
    let pace = args.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
    let started = Instant::now();
    let mut exit = Exit::Ok;
    for number in 0..args.count {
        if let Some(pace) = pace {
            let after = pace.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
            tokio::time::sleep_until(started + after).await;
        }
        let (url, letter) = letters.next(app)?;
        let copies = if args.duplicate { 2 } else { 1 };
        for _ in 0..copies {
            let sent = vendor::post(&client, &url, &letter).await?;
            exit = report(app, args, &sent)?;
            if args.follow && sent.status < 300 {
                exit = follow(app, &sent).await?;
            }
        }
    }
    Ok(exit)
}

/// What can be sent.
fn list_types(app: &App, provider: &str) -> Done {
    let catalog = vendor::catalog(None)?;
    let mut lines = String::new();
    let mut is_known = provider.is_empty();
    for known in catalog.iter().filter(|p| provider.is_empty() || &*p.name == provider) {
        is_known = true;
        for sample in known.samples() {
            let kind = known.kind_of(&sample.event_type).map(|k| k.to_string()).unwrap_or_default();
            let mark = if known.is_confirmed { "" } else { "  (not confirmed by the vendor)" };
            let line = format!("{}  {}  {kind}{mark}", known.name, sample.event_type);
            let _ = writeln!(lines, "{}", text::line(line.trim_end()));
        }
    }
    if !is_known {
        return Err(no_provider(&catalog, provider));
    }
    app.out.print(&lines)?;
    Ok(Exit::Ok)
}

fn no_provider(catalog: &Catalog, name: &str) -> Failure {
    let known: Vec<_> = catalog.iter().map(|p| p.name.to_string()).collect();
    Failure::new("not_found.provider", format!("there is no provider '{name}'"))
        .why(format!("there are: {}", known.join(" ")))
}

enum Body<'a> {
    Given(Vec<u8>),
    Sample(&'a Sample),
}

/// One signed request after the other.
struct Letters<'a> {
    args: &'a SendArgs,
    source: Source,
    event_type: &'a str,
    secret: Secret,
    /// Given bytes, or a payload of the project's own, which has ids of its own each time.
    body: Body<'a>,
    serial: u64,
    /// What is signed, where the vendor signs the URL.
    public_url: String,
    /// Where it is posted.
    url: String,
}

impl<'a> Letters<'a> {
    fn new(
        app: &App,
        args: &'a SendArgs,
        config: &Config,
        catalog: &'a Catalog,
    ) -> Result<Self, Failure> {
        let (Some(name), Some(event_type)) = (&args.provider, &args.event_type) else {
            return Err(Failure::usage("a provider and a type are needed"));
        };
        let source = find_source(config, name, args.source.as_deref())?;
        let provider =
            catalog.get(&source.provider).ok_or_else(|| no_provider(catalog, &source.provider))?;
        let prepared = Source::new(source, config.ingest.public_url.as_deref(), catalog);
        let prepared = prepared.map_err(|e| Failure::new("usage.config", chain(&e)))?;
        let secret = signing_key(args, source, &prepared)?;
        let body = match &args.data {
            Some(data) => Body::Given(read_data(data)?),
            None => Body::Sample(vendor::sample(provider, event_type)?),
        };
        let local = format!("http://{}/in/{}", reachable(config.ingest.listen), source.name);
        let of_ingest =
            || config.ingest.public_url.as_ref().map(|url| format!("{url}/in/{}", source.name));
        let public_url =
            source.public_url.clone().or_else(of_ingest).unwrap_or_else(|| local.clone());
        let url = if app.global.context.is_some() { public_url.clone() } else { local };
        // Milliseconds since 1970: later runs have later ids.
        let serial = u64::try_from(app.now().as_millisecond()).unwrap_or(0);
        Ok(Self { args, source: prepared, event_type, secret, body, serial, public_url, url })
    }

    /// The next one, with ids of its own, and where it goes.
    fn next(&mut self, app: &App) -> Result<(String, Signed), Failure> {
        let now = app.now() + self.args.skew.unwrap_or_default();
        self.serial += 1;
        let mut body = match &self.body {
            Body::Given(bytes) => bytes.clone(),
            Body::Sample(sample) => sample.body(self.serial, now),
        };
        for (path, value) in &self.args.set {
            body = vendor::set(&body, path, value)?;
        }
        let mut letter = vendor::signed(
            &self.source,
            &self.secret,
            self.event_type,
            body,
            &self.public_url,
            now,
        )?;
        match self.args.tamper {
            Some(Tamper::Body) => spoil_body(&mut letter),
            Some(Tamper::Signature) => spoil_signature(&mut letter),
            Some(Tamper::Secret) | None => {}
        }
        if let Body::Sample(sample) = &self.body {
            letter.headers.extend(sample.headers.clone());
        }
        Ok((vendor::with_query_of(&self.url, &letter), letter))
    }
}

/// What signs: the source's own secret, or the private half of a public key that it trusts.
fn signing_key(
    args: &SendArgs,
    source: &SourceConfig,
    prepared: &Source,
) -> Result<Secret, Failure> {
    let is_other = matches!(args.tamper, Some(Tamper::Secret));
    if let Some(path) = &args.key {
        let bytes = std::fs::read(path).map_err(|e| {
            Failure::usage(format!("{} cannot be read", path.display())).why(e.to_string())
        })?;
        let key = Secret::new(bytes);
        return Ok(if is_other { other_secret(Some(&key)) } else { key });
    }
    let Some((test_key, other_key)) = test_keys(prepared) else {
        return Ok(match (is_other, source.secrets.first()) {
            (true, secret) => other_secret(secret),
            (false, secret) => secret.cloned().unwrap_or_else(|| Secret::new("")),
        });
    };
    let public = test_key.verifying.expose().trim_ascii();
    if is_other {
        return Ok(other_key.signing);
    }
    if source.secrets.iter().any(|secret| secret.expose().trim_ascii() == public) {
        return Ok(test_key.signing);
    }
    let public = String::from_utf8_lossy(public);
    Err(Failure::new("refused.sign", format!("{} alone has the key that signs for '{}'", prepared.provider.name, source.name))
        .why("the source knows it by a public key: give the private one with --key FILE, or let the source trust RelayFlow's test key, with which anyone can sign")
        .hint(format!("secrets = [\"{public}\"]")))
}

fn find_source<'c>(
    config: &'c Config,
    name: &str,
    source: Option<&str>,
) -> Result<&'c SourceConfig, Failure> {
    let sources = &config.sources;
    let known: Vec<_> = sources.iter().map(|s| format!("{} ({})", s.name, s.provider)).collect();
    let none = |what: String| {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Failure::new("not_found.source", what)
            .why(format!("sources in the config in reach: {known}"))
            .hint(format!("add [sources.{name}] to relayflow.toml"))
    };
    if let Some(source) = source {
        return sources
            .iter()
            .find(|s| s.name == source)
            .ok_or_else(|| none(format!("there is no source '{source}'")));
    }
    let of_provider: Vec<_> = sources.iter().filter(|s| s.provider == name).collect();
    match of_provider.as_slice() {
        [only] => Ok(only),
        [] => sources
            .iter()
            .find(|s| s.name == name)
            .ok_or_else(|| none(format!("there is no source of provider '{name}'"))),
        several => several.iter().find(|s| s.name == name).copied().ok_or_else(|| {
            Failure::usage(format!("{name} has several sources")).hint("--source NAME")
        }),
    }
}

/// A secret of the same form that is not the right one.
fn other_secret(secret: Option<&Secret>) -> Secret {
    let mut bytes = secret.map(|s| s.expose().to_vec()).unwrap_or_default();
    // Before the padding of base64, which must stay what it is.
    let place = bytes.iter().rposition(u8::is_ascii_alphanumeric);
    match place.and_then(|place| bytes.get_mut(place.saturating_sub(1))) {
        Some(byte) => *byte = if *byte == b'x' { b'y' } else { b'x' },
        None => bytes.extend(b"another"),
    }
    Secret::new(bytes)
}

fn spoil_body(letter: &mut Signed) {
    let place = letter.body.iter().rposition(u8::is_ascii_alphanumeric);
    if let Some(byte) = place.and_then(|place| letter.body.get_mut(place)) {
        *byte = if *byte == b'0' { b'1' } else { b'0' };
    }
}

/// Changes the last letter or digit of the longest header that looks like a signature.
fn spoil_signature(letter: &mut Signed) {
    let looks = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["signature", "hmac", "authorization", "token"].iter().any(|word| name.contains(word))
    };
    let header = letter.headers.iter_mut().filter(|(name, _)| looks(name));
    match header.max_by_key(|(_, value)| value.len()) {
        Some((_, value)) => *value = spoilt(value),
        None => spoil_body(letter),
    }
}

fn spoilt(signature: &str) -> String {
    let mut chars: Vec<char> = signature.chars().collect();
    // Not the last one: in base64 it may carry bits that nobody reads.
    let place = chars.iter().rposition(char::is_ascii_alphanumeric).unwrap_or(0).saturating_sub(2);
    if let Some(c) = chars.get_mut(place) {
        *c = if *c == 'a' { 'b' } else { 'a' };
    }
    chars.into_iter().collect()
}

fn read_data(data: &str) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    if data == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    match data.strip_prefix('@') {
        Some(path) => std::fs::read(path)
            .map_err(|e| Failure::usage(format!("{path} does not open")).why(e.to_string())),
        None => Ok(data.as_bytes().to_vec()),
    }
}

fn report(app: &App, args: &SendArgs, sent: &Sent) -> Done {
    let took = time::millis(sent.took_ms);
    if 300 <= sent.status {
        let asked_for = args.tamper.is_some() || args.skew.is_some();
        app.out.line(&format!("sent   {} in {took}", sent.status))?;
        if asked_for && matches!(sent.status, 400 | 401) {
            return Ok(Exit::Ok);
        }
        let code = if sent.status < 500 { "refused.rejected" } else { "unreachable.ingest" };
        return Err(Failure::new(
            code,
            format!("the request was turned away with {}", sent.status),
        )
        .why(text::line(&String::from_utf8_lossy(&sent.body)))
        .hint("relayflow requests ls status:rejected"));
    }
    if !app.out.is_for_people() {
        let text = String::from_utf8_lossy(&sent.body);
        app.out.line(&text::line(&text))?;
        return Ok(Exit::Ok);
    }
    let mut line = format!("sent   {} in {took}", sent.status);
    if let Ok(ingested) = serde_json::from_slice::<Ingested>(&sent.body) {
        for event in &ingested.events {
            let duplicate = if event.duplicate { " (duplicate)" } else { "" };
            let _ = write!(line, "   {}{duplicate}", event.id);
        }
        if let Ok(request) = ingested.request.parse::<RequestId>() {
            let _ = write!(line, "   corr {}", request.as_trace_id());
        }
    }
    app.out.line(&text::line(&line))?;
    Ok(Exit::Ok)
}

async fn follow(app: &App, sent: &Sent) -> Done {
    let Ok(ingested) = serde_json::from_slice::<Ingested>(&sent.body) else {
        return Ok(Exit::Ok);
    };
    let backend: Backend = app.connect().await?;
    let id = ingested.events.first().map_or(ingested.request.as_str(), |event| event.id.as_str());
    timeline::follow(app, &backend, id).await
}

/// The request as a shell command.
fn curl(letter: &Signed, url: &str) -> String {
    let mut command = format!("curl -sS -X {} {}", letter.method, quoted(url));
    for (name, value) in &letter.headers {
        let _ = write!(command, " \\\n  -H {}", quoted(&format!("{name}: {value}")));
    }
    let body = String::from_utf8_lossy(&letter.body);
    let _ = write!(command, " \\\n  --data-binary {}", quoted(&body));
    command
}

/// One word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", text::block(word).replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> Signed {
        Signed {
            method: http::Method::POST,
            url: "http://127.0.0.1:8787/in/stripe".into(),
            headers: vec![
                ("content-type".into(), "application/json".into()),
                ("stripe-signature".into(), "t=1,v1=abcdef0123".into()),
            ],
            body: br#"{"note":"it's"}"#.to_vec(),
        }
    }

    #[test]
    fn curl_gets_every_byte_quoted() {
        let letter = letter();
        insta::assert_snapshot!(curl(&letter, &letter.url), @r#"
        curl -sS -X POST 'http://127.0.0.1:8787/in/stripe' \
          -H 'content-type: application/json' \
          -H 'stripe-signature: t=1,v1=abcdef0123' \
          --data-binary '{"note":"it'\''s"}'
        "#);
    }

    #[test]
    fn what_is_spoilt_is_not_what_it_was() {
        let good = letter();
        let (mut body, mut signature) = (letter(), letter());
        spoil_body(&mut body);
        spoil_signature(&mut signature);
        assert!(body.body != good.body && body.headers == good.headers);
        assert!(signature.headers != good.headers && signature.body == good.body);
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw==");
        let other = other_secret(Some(&secret));
        assert!(!other.is(secret.expose()) && other.len() == secret.len());
    }
}
