//! The requests to send: a payload, changed as asked, signed as the vendor signs.

use std::path::Path;

use relayflow_core::config::{Config, SourceConfig};
use relayflow_core::provider::sign::{Signed, key_pair_for, sign_salted, test_keys};
use relayflow_core::provider::{Catalog, Sample, Source, again, tamper};
use relayflow_core::secret::Secret;

use super::no_provider;
use crate::app::App;
use crate::args::{SendArgs, Tamper};
use crate::context::reachable;
use crate::failure::{Failure, chain};
use crate::vendor;

enum Body<'a> {
    /// A payload of the project's own, which has ids of its own each time.
    Sample(&'a Sample),
    /// Given bytes: the first goes as it is, those after it under other ids.
    Given(Vec<u8>),
    /// A stored event, which always goes under another id.
    Stored { body: Vec<u8>, headers: Vec<(String, String)> },
}

/// A stored event, to be sent again as a new one.
pub(super) struct Stored {
    pub(super) source: String,
    pub(super) event_type: String,
    pub(super) body: Vec<u8>,
    /// The kept headers of its request.
    pub(super) headers: Vec<(String, String)>,
}

/// One signed request after the other.
pub(super) struct Letters<'a> {
    args: &'a SendArgs,
    source: Source,
    event_type: String,
    key: Secret,
    body: Body<'a>,
    /// What a person made of the first payload.
    edited: Option<Vec<u8>>,
    serial: u64,
    count: u64,
    /// What is signed, where the vendor signs the URL.
    public_url: String,
    /// Where it is posted.
    url: String,
}

impl<'a> Letters<'a> {
    pub(super) fn new(
        app: &App,
        args: &'a SendArgs,
        config: &Config,
        catalog: &'a Catalog,
        stored: Option<Stored>,
    ) -> Result<Self, Failure> {
        let source = match (&stored, &args.source, &args.provider) {
            (_, Some(name), _) => named(config, name)?,
            (Some(stored), None, _) => named(config, &stored.source)?,
            (None, None, Some(provider)) => find_source(config, provider)?,
            (None, None, None) => return Err(Failure::usage("a provider and a type are needed")),
        };
        let provider =
            catalog.get(&source.provider).ok_or_else(|| no_provider(catalog, &source.provider))?;
        let prepared = Source::new(source, config.ingest.public_url.as_deref(), catalog);
        let prepared = prepared.map_err(|e| Failure::new("usage.config", chain(&e)))?;
        let event_type = match (&stored, &args.event_type) {
            (_, Some(event_type)) => event_type.clone(),
            (Some(stored), None) => stored.event_type.clone(),
            (None, None) => return Err(Failure::usage("a provider and a type are needed")),
        };
        let body = match (stored, &args.data) {
            (_, Some(data)) => Body::Given(read_data(data)?),
            (Some(stored), None) => Body::Stored { body: stored.body, headers: stored.headers },
            (None, None) => Body::Sample(vendor::sample(provider, &event_type)?),
        };
        let local = format!("http://{}/in/{}", reachable(config.ingest.listen), source.name);
        let of_ingest =
            || config.ingest.public_url.as_ref().map(|url| format!("{url}/in/{}", source.name));
        let public_url =
            source.public_url.clone().or_else(of_ingest).unwrap_or_else(|| local.clone());
        let url = if app.global.context.is_some() { public_url.clone() } else { local };
        // Milliseconds since 1970: later runs have later ids.
        let serial = u64::try_from(app.now().as_millisecond()).unwrap_or(0);
        Ok(Self {
            args,
            key: key(app, args, source, &prepared)?,
            source: prepared,
            event_type,
            body,
            edited: None,
            serial,
            count: 0,
            public_url,
            url,
        })
    }

    /// The source that the requests are for.
    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Lets a person change the payload before anything is sent.
    pub(super) fn edit(
        &mut self,
        app: &App,
        edit: impl Fn(Vec<u8>) -> Result<Vec<u8>, Failure>,
    ) -> Result<(), Failure> {
        self.edited = Some(edit(self.payload(app)?)?);
        self.count = 0;
        Ok(())
    }

    /// The next body: with ids of its own, and what `--set` says.
    fn payload(&mut self, app: &App) -> Result<Vec<u8>, Failure> {
        self.serial += 1;
        self.count += 1;
        let given = match (&self.edited, &self.body) {
            (Some(bytes), _) | (None, Body::Given(bytes)) => Some(bytes),
            (None, Body::Sample(_) | Body::Stored { .. }) => None,
        };
        if let Some(bytes) = given {
            let is_first = self.count == 1;
            let new = || again::with_new_ids(&self.source, bytes, self.serial);
            let body = if is_first { None } else { new() };
            let body = body.unwrap_or_else(|| bytes.clone());
            // What was edited has it already.
            return if self.edited.is_some() { Ok(body) } else { self.changed(body) };
        }
        let body = match &self.body {
            Body::Sample(sample) => {
                sample.body(self.serial, app.now() + self.args.skew.unwrap_or_default())
            }
            Body::Given(bytes) => bytes.clone(),
            Body::Stored { body, .. } => {
                let new = again::with_new_ids(&self.source, body, self.serial);
                let is_new = new.is_some() || !self.args.set.is_empty() || self.args.edit;
                if !is_new {
                    return Err(Failure::new(
                        "refused.same_event",
                        "the event has no id that could be another",
                    )
                    .why("what tells it apart is its bytes")
                    .hint("change one with --set PATH=VALUE, or --edit"));
                }
                new.unwrap_or_else(|| body.clone())
            }
        };
        self.changed(body)
    }

    /// As `--set` says.
    fn changed(&self, mut body: Vec<u8>) -> Result<Vec<u8>, Failure> {
        for (path, value) in &self.args.set {
            body = vendor::set(&body, path, value)?;
        }
        Ok(body)
    }

    /// The next one, and where it goes.
    pub(super) fn next(&mut self, app: &App) -> Result<(String, Signed), Failure> {
        let now = app.now() + self.args.skew.unwrap_or_default();
        let body = self.payload(app)?;
        let salt = match self.body {
            Body::Sample(_) => String::new(),
            Body::Given(_) if self.count == 1 => String::new(),
            Body::Given(_) | Body::Stored { .. } => self.serial.to_string(),
        };
        let signed = sign_salted(
            &self.source,
            &self.key,
            &self.event_type,
            body,
            &salt,
            &self.public_url,
            now,
        );
        let mut letter = signed.map_err(|e| vendor::cannot_sign(&self.source, &e))?;
        match &self.body {
            Body::Sample(sample) => {
                for (name, value) in &sample.headers {
                    letter.headers.retain(|(n, _)| n != name);
                    letter.headers.push((name.clone(), value.clone()));
                }
            }
            Body::Stored { headers, .. } => {
                let is_new =
                    |(name, _): &&(String, String)| letter.headers.iter().all(|(n, _)| n != name);
                let more: Vec<_> = headers.iter().filter(is_new).cloned().collect();
                letter.headers.extend(more);
            }
            Body::Given(_) => {}
        }
        let is_spoilt = match self.args.tamper {
            Some(Tamper::Body) => tamper::spoil_body(&self.source, &mut letter),
            Some(Tamper::Signature) => tamper::spoil_signature(&self.source, &mut letter),
            Some(Tamper::Secret) | None => true,
        };
        if !is_spoilt {
            let what = "there is nothing to tamper with: anyone may send to this source";
            return Err(Failure::new("refused.tamper", what));
        }
        Ok((vendor::with_query_of(&self.url, &letter), letter))
    }
}

/// What signs: the file or variable that was named, else the source's first secret.
fn key(
    app: &App,
    args: &SendArgs,
    source: &SourceConfig,
    prepared: &Source,
) -> Result<Secret, Failure> {
    let given = match (&args.key_file, &args.key_env) {
        (Some(path), _) => Some(read_key(path)?),
        (None, Some(name)) => Some(Secret::new(app.env(name).ok_or_else(|| {
            Failure::usage(format!("the environment has no {name}, which --key-env names"))
        })?)),
        (None, None) => None,
    };
    match (args.tamper, given) {
        (Some(Tamper::Secret), Some(given)) => loop {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed)
                .map_err(|e| Failure::error(format!("no randomness: {e}")))?;
            // Of some schemes there are only two: this one may be the given one.
            let other = key_pair_for(prepared, seed).signing;
            if other.expose().trim_ascii() != given.expose() {
                break Ok(other);
            }
        },
        (tamper, None) => own_key(tamper, source, prepared),
        (Some(Tamper::Body | Tamper::Signature) | None, Some(given)) => Ok(given),
    }
}

/// Of a shared secret, that; else the published test key, if the source trusts it.
fn own_key(
    tamper: Option<Tamper>,
    source: &SourceConfig,
    prepared: &Source,
) -> Result<Secret, Failure> {
    let is_other = matches!(tamper, Some(Tamper::Secret));
    let Some((test_key, other_key)) = test_keys(prepared) else {
        return Ok(match (is_other, source.secrets.first()) {
            (true, secret) => other_secret(secret),
            (false, secret) => secret.cloned().unwrap_or_else(|| Secret::new("")),
        });
    };
    if is_other {
        return Ok(other_key.signing);
    }
    let public = test_key.verifying.expose().trim_ascii();
    if source.secrets.iter().any(|secret| secret.expose().trim_ascii() == public) {
        return Ok(test_key.signing);
    }
    let public = String::from_utf8_lossy(public);
    let (provider, name) = (&prepared.provider.name, &source.name);
    let what = format!("{provider} alone has the key that signs for '{name}'");
    Err(Failure::new("refused.sign", what)
        .why(
            "the source knows it by a public key: give the private one with --key-file FILE, or let \
             the source trust RelayFlow's test key, with which anyone can sign",
        )
        .hint(format!("secrets = [\"{public}\"]")))
}

fn read_key(path: &Path) -> Result<Secret, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        Failure::usage(format!("{} does not open", path.display())).why(e.to_string())
    })?;
    Ok(Secret::new(text.trim()))
}

fn none(config: &Config, what: String, hint: String) -> Failure {
    let known: Vec<_> =
        config.sources.iter().map(|s| format!("{} ({})", s.name, s.provider)).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Failure::new("not_found.source", what)
        .why(format!("sources in the config in reach: {known}"))
        .hint(hint)
}

fn named<'c>(config: &'c Config, name: &str) -> Result<&'c SourceConfig, Failure> {
    config.source(name).ok_or_else(|| {
        let what = format!("there is no source '{name}'");
        none(config, what, format!("add [sources.{name}] to relayflow.toml"))
    })
}

fn find_source<'c>(config: &'c Config, provider: &str) -> Result<&'c SourceConfig, Failure> {
    let sources = &config.sources;
    let of_provider: Vec<_> = sources.iter().filter(|s| s.provider == provider).collect();
    match of_provider.as_slice() {
        [only] => Ok(only),
        [] => config.source(provider).ok_or_else(|| {
            let what = format!("there is no source of provider '{provider}'");
            none(config, what, format!("add [sources.{provider}] to relayflow.toml"))
        }),
        several => several.iter().find(|s| s.name == provider).copied().ok_or_else(|| {
            Failure::usage(format!("{provider} has several sources")).hint("--source NAME")
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

/// What `--data` gives: a file's bytes, those of stdin, or the text itself.
pub(crate) fn read_data(data: &str) -> Result<Vec<u8>, Failure> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_secret_has_the_same_form() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw==");
        let other = other_secret(Some(&secret));
        assert!(!other.is(secret.expose()) && other.len() == secret.len());
    }
}
