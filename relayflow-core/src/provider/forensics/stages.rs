//! The search: what may have happened, one thing after another, the likeliest and cheapest first.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::bench::{Bench, Held, Miss, keys_of};
use super::words::{Sure, Told as _, cause, minutes, scheme, shown};
use super::{Standing, bodies, edits, headers, urls};
use crate::api::codes::Blame;
use crate::api::{Cause, VerifiedBy};
use crate::provider::body;
use crate::provider::definition::{KeyEncoding, Scheme};
use crate::provider::extract::Scalar;
use crate::provider::key::Key;
use crate::provider::refusal::VerifyError;
use crate::provider::source::{Source, fingerprint};
use crate::provider::verify::{Check, bears};
use crate::provider::way::{SignaturePlace, Way};
use crate::request::Request;
use crate::secret::Secret;

/// A secret, ready for the ways of one source.
pub(super) struct Entry {
    /// `secret #2 of `shop` (sha256:9c1f03ab)`
    pub(super) label: String,
    pub(super) of: Of,
    keys: Vec<(usize, Key)>,
}

/// Whose a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Of {
    Own,
    /// The same, if it were read in another way: how.
    Spelled(String),
    Other(Arc<str>),
    Spare(Standing),
    /// The vendor's own key, fetched.
    Vendor,
}

/// A way in which a request holds.
struct Hit {
    entry: usize,
    way: usize,
    held: Held,
}

pub(super) struct Search<'c> {
    pub(super) bench: Bench<'c>,
    pub(super) causes: Vec<Cause>,
    /// Why it is not verified today.
    pub(super) error: Option<VerifyError>,
    /// What a right signature over something else said: a claim, a digest.
    pub(super) beyond: Option<VerifyError>,
    /// Providers whose signature the request seems to bear, with the header.
    pub(super) shapes: Vec<(Arc<str>, String)>,
}

impl<'c> Search<'c> {
    pub(super) fn new(bench: Bench<'c>) -> Self {
        Self { bench, causes: Vec::new(), error: None, beyond: None, shapes: Vec::new() }
    }

    /// What verifies the request today; else its causes are told.
    pub(super) fn run(&mut self) -> Option<VerifiedBy> {
        let case = self.bench.case;
        let stand_in;
        let source = match case.source {
            Some(source) => source,
            None => {
                self.no_source();
                let provider = case.catalog.get(case.provider)?;
                stand_in = Source::stand_in(case.source_name, None, provider, case.catalog)?;
                &stand_in
            }
        };
        let entries = self.entries(source);
        self.bench.tried.secrets = entries.iter().filter(|e| e.is_secret()).count() as u64;
        self.bench.tried.sources = case.sources.len() as u64;
        self.bench.tried.schemes = source.rules.ways.len() as u64;
        if case.source.is_some() {
            match self.today(source, &entries) {
                Ok(verified) => {
                    if case.was_rejected {
                        self.mended(&verified);
                    }
                    return Some(verified);
                }
                Err(error) => self.error = Some(error),
            }
        }
        let found = self.as_it_came(source, &entries)
            || self.with_other_headers(source, &entries)
            || self.with_other_secrets(source, &entries)
            || self.with_other_bodies(source, &entries, true)
            || self.with_other_urls(source, &entries)
            || self.as_of_others(source)
            || self.with_other_bodies(source, &entries, false)
            || self.with_another_character(source, &entries);
        if !found {
            self.guess(source);
        }
        None
    }

    /// The secrets that may have signed: the source's own first.
    fn entries(&self, source: &Source) -> Vec<Entry> {
        let case = self.bench.case;
        let mut entries = Vec::new();
        let mut add = |label: String, of: Of, secret: &Secret| {
            let keys = keys_of(source, secret);
            if !keys.is_empty() {
                entries.push(Entry { label, of, keys });
            }
        };
        for (number, secret) in source.secrets.iter().enumerate() {
            add(label(&source.name, number, secret), Of::Own, secret);
        }
        for other in case.sources.iter().filter(|other| other.name != source.name) {
            for (number, secret) in other.secrets.iter().enumerate() {
                add(label(&other.name, number, secret), Of::Other(Arc::clone(&other.name)), secret);
            }
        }
        for spare in case.spare {
            let what = match spare.standing {
                Standing::Retired => "a former secret",
                Standing::Learned => "a secret that waits",
            };
            let label = format!("{what} of `{}` ({})", spare.source, fingerprint(&spare.secret));
            add(label, Of::Spare(spare.standing), &spare.secret);
        }
        for (number, secret) in source.secrets.iter().enumerate() {
            entries.extend(spelled(source, number, secret));
        }
        let fetched = source.rules.ways.iter().enumerate().filter(|(_, way)| way.keys_at.is_some());
        for (way, _) in fetched {
            entries.push(Entry {
                label: "the vendor's own key".to_owned(),
                of: Of::Vendor,
                keys: vec![(way, Key::Public(Vec::new()))],
            });
        }
        entries
    }

    fn today(&mut self, source: &Source, entries: &[Entry]) -> Result<VerifiedBy, VerifyError> {
        let case = self.bench.case;
        let check = Check {
            source,
            request: case.request,
            now: case.request.received_at,
            kept: Some(case.digest_key),
            fetched: case.fetched,
            at_any_age: false,
        };
        let verified = check.run()?;
        let (way, _) = check.choose();
        let own = entries.iter().filter(|entry| entry.of == Of::Own).find(|entry| {
            entry.keys_of(source, way).any(|key| {
                let keys = std::slice::from_ref(key);
                self.bench.holds(source, way, keys, case.request).is_some()
            })
        });
        let skew = verified.skew().and_then(|skew| i64::try_from(skew.as_millis()).ok());
        Ok(VerifiedBy {
            secret: own.map(|entry| entry.label.clone()),
            scheme: scheme(way),
            skew_ms: skew,
            tolerance: source.tolerance_label(),
        })
    }

    /// The first secret and way in which a request holds.
    fn hit(
        &mut self,
        source: &Source,
        entries: &[Entry],
        which: impl Fn(&Of) -> bool,
        fits: impl Fn(&Way) -> bool,
        request: &Request,
    ) -> Option<Hit> {
        for (number, entry) in entries.iter().enumerate().filter(|(_, entry)| which(&entry.of)) {
            for (way, key) in &entry.keys {
                let compiled = &source.rules.ways[*way];
                if !fits(compiled) {
                    continue;
                }
                let keys: &[Key] =
                    if entry.of == Of::Vendor { &[] } else { std::slice::from_ref(key) };
                match self.bench.judge(source, compiled, keys, request) {
                    Ok(held) => return Some(Hit { entry: number, way: *way, held }),
                    Err(Miss::Refused(
                        error @ (VerifyError::WrongDigest { .. }
                        | VerifyError::WrongClaim { .. }
                        | VerifyError::NotCovered { .. }),
                    )) if self.beyond.is_none() && is_known(&entry.of) => self.beyond = Some(error),
                    Err(Miss::Refused(_)) => {}
                    Err(Miss::Cut) => return None,
                }
            }
        }
        None
    }

    /// The request as it is, with the source's own secrets: what is left is its time, or the way.
    fn as_it_came(&mut self, source: &Source, entries: &[Entry]) -> bool {
        let request = self.bench.case.request;
        let Some(hit) = self.hit(source, entries, is_known, |_| true, request) else {
            return false;
        };
        let entry = &entries[hit.entry];
        let way = &source.rules.ways[hit.way];
        if hit.held.is_stale {
            self.stale(source, entry, way, hit.held);
            return true;
        }
        let told = cause(
            Blame::WrongScheme,
            Sure::Certain,
            format!("it is signed as {}, and this source looks at another signature", scheme(way)),
        )
        .shown_by(format!("{} holds", entry.label))
        .elsewhere("have the vendor send one kind of signature, or this source take that one");
        self.causes.push(told);
        true
    }

    fn stale(&mut self, source: &Source, entry: &Entry, way: &Way, held: Held) {
        let Some(skew) = held.skew else { return };
        let case = self.bench.case;
        let (by, most) = (shown(skew), source.tolerance_label());
        let is_past = skew.is_positive();
        let side = if is_past { "before" } else { "after" };
        let whose = if is_past {
            "the sender's clock is behind, this one ahead, or it was on its way for that long"
        } else {
            "the sender's clock is ahead, or this one behind"
        };
        let clock = cause(
            Blame::ClockSkew,
            Sure::Certain,
            format!("its signature is right, and {by} off: it was signed {by} {side} it arrived"),
        )
        .shown_by(format!("{} holds, {}", entry.label, scheme(way)))
        .shown_by(format!("{most} is tolerated; {whose}"))
        .run("timedatectl status")
        .config(format!("[sources.{}] tolerance = \"{}\"", source.name, minutes(skew)))
        .run(readmit(case.request));
        let again = |same: &super::Same| {
            cause(
                Blame::Replayed,
                Sure::Likely,
                format!("it is an old request, sent again {by} after it was signed"),
            )
            .shown_by(format!(
                "its event was taken in before, as {} at {}",
                same.request, same.received_at
            ))
            .shown_by(format!("{} holds, {}", entry.label, scheme(way)))
            .elsewhere("nothing is lost: the event is there. Who sends old requests again?")
        };
        match case.beside.same_event.as_ref().filter(|_| is_past) {
            Some(same) => {
                let mut clock = clock;
                "possible".clone_into(&mut clock.confidence);
                self.causes.extend([again(same), clock]);
            }
            None => self.causes.push(clock),
        }
    }

    fn mended(&mut self, verified: &VerifiedBy) {
        let secret = verified.secret.as_deref().unwrap_or("the vendor's own key");
        let request = self.bench.case.request;
        let told = cause(
            Blame::Mended,
            Sure::Certain,
            "it was turned away, and would be taken in today: the configuration was mended since",
        )
        .shown_by(format!("{secret} holds, {}", verified.scheme))
        .run(readmit(request));
        self.causes.push(told);
    }

    fn no_source(&mut self) {
        let case = self.bench.case;
        let name = case.source_name;
        let told =
            cause(Blame::NoSource, Sure::Certain, format!("there is no source `{name}` any more"))
                .shown_by(format!("it was one of `{}`", case.provider))
                .config(format!("[sources.{name}] provider = \"{}\"", case.provider));
        self.causes.push(told);
    }

    fn with_other_headers(&mut self, source: &Source, entries: &[Entry]) -> bool {
        let request = self.bench.case.request;
        for way in &source.rules.ways {
            for repair in headers::repairs(way, request) {
                let is_it = |other: &Way| std::ptr::eq(other, way);
                let Some(hit) = self.hit(source, entries, is_known, is_it, &repair.request) else {
                    continue;
                };
                let told = match repair.blame {
                    Blame::HeaderRenamed => "a header came under another name",
                    _ => "the signature was changed on its way",
                };
                let told =
                    cause(repair.blame, Sure::Certain, format!("{told}: {}", repair.altered))
                        .shown_by(format!("without that, {} holds", entries[hit.entry].label))
                        .elsewhere("have the proxy before RelayFlow pass headers as they come")
                        .elsewhere("then let the vendor send it again");
                self.causes.push(self.and_late(source, told, hit.held));
                return true;
            }
        }
        let own = entries.iter().filter(|entry| entry.of == Of::Own);
        for (entry, (way, key)) in own.flat_map(|e| e.keys.iter().map(move |k| (e, k))) {
            let way = &source.rules.ways[*way];
            if self.bench.spend(way, request.body.len()).is_err() {
                return false;
            }
            if let Some(differs) = headers::near(way, source, key, request) {
                let told = cause(
                    Blame::SignatureAltered,
                    Sure::Certain,
                    format!("the signature was changed on its way: {differs}"),
                )
                .shown_by(format!("{} makes the whole one", entry.label))
                .elsewhere("look at what stands between the vendor and RelayFlow")
                .elsewhere("then let the vendor send it again");
                self.causes.push(told);
                return true;
            }
        }
        false
    }

    fn with_other_secrets(&mut self, source: &Source, entries: &[Entry]) -> bool {
        let request = self.bench.case.request;
        let others = |of: &Of| !is_known(of);
        let Some(hit) = self.hit(source, entries, others, |_| true, request) else { return false };
        let entry = &entries[hit.entry];
        let told = self.of_secret(source, entry);
        let told = told.shown_by(format!(
            "{} holds, {}",
            entry.label,
            scheme(&source.rules.ways[hit.way])
        ));
        self.causes.push(self.and_late(source, told, hit.held));
        true
    }

    fn of_secret(&self, source: &Source, entry: &Entry) -> Cause {
        let case = self.bench.case;
        let (name, request) = (&source.name, case.request);
        match &entry.of {
            Of::Other(other) => {
                let url = |of: &str| {
                    let of = case.sources.iter().find(|s| *s.name == *of);
                    of.and_then(|s| s.public_url.clone()).unwrap_or_else(|| "…".to_owned())
                };
                cause(
                    Blame::WrongSecret,
                    Sure::Certain,
                    format!("it is signed with the secret of the source `{other}`, and came to `{name}`"),
                )
                .elsewhere(format!(
                    "if it belongs to `{other}`: let the vendor call {}",
                    url(other).replace('…', &format!("/in/{other}"))
                ))
                .config(format!("[sources.{name}] secrets = [ … ]   # if it belongs here: that secret"))
                .run("relayflow config check")
                .run(readmit(request))
            }
            Of::Spare(Standing::Retired) => cause(
                Blame::RotatedSecret,
                Sure::Certain,
                "it is signed with a secret that was in force before: the vendor still uses it",
            )
            .config(format!("[sources.{name}] secrets = [ …, the former one ]   # until the vendor has changed over"))
            .run("relayflow config check")
            .run(readmit(request)),
            Of::Spare(Standing::Learned) => cause(
                Blame::RotatedSecret,
                Sure::Certain,
                "it is signed with the secret that the vendor brought in a handshake, and that is not in force",
            )
            .elsewhere(format!("compare the file `learned/{name}…` beside the store with what the vendor shows, and move it to where the source's `secrets` name it"))
            .run("relayflow config check")
            .run(readmit(request)),
            Of::Spelled(how) => cause(
                Blame::SecretSpelling,
                Sure::Certain,
                format!("the secret is right and written in another way: {how}"),
            )
            .config(format!("[sources.{name}] secrets = [ … ]   # as the vendor shows it"))
            .run("relayflow config check")
            .run(readmit(request)),
            Of::Own | Of::Vendor => cause(Blame::WrongSecret, Sure::Likely, "another secret signed it"),
        }
    }

    fn with_other_bodies(&mut self, source: &Source, entries: &[Entry], own: bool) -> bool {
        let request = self.bench.case.request;
        let mut found = None;
        bodies::forms(&request.body, &mut |form| {
            if own {
                self.bench.tried.bodies += 1;
            }
            let mut before = request.clone();
            before.body = Bytes::from(form.bytes);
            let which = |of: &Of| is_known(of) == own;
            found = self
                .hit(source, entries, which, |way| !way.scheme.is_shared(), &before)
                .map(|hit| (hit, form.altered, before.body.len()));
            if found.is_some() || self.bench.is_spent() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        let Some((hit, altered, bytes)) = found else { return false };
        let entry = &entries[hit.entry];
        let told = cause(
            Blame::BodyAltered,
            Sure::Certain,
            format!("its body was changed on its way: {altered}"),
        )
        .shown_by(format!(
            "over the {bytes} bytes before that {} holds; {} came",
            entry.label,
            request.body.len()
        ))
        .elsewhere("have what stands before RelayFlow pass bodies byte for byte: no JSON, charset or compression middleware")
        .elsewhere("then let the vendor send it again: these bytes were not signed");
        let told = self.and_late(source, told, hit.held);
        self.causes.push(told);
        if !own {
            let second = self.of_secret(source, entry);
            self.causes.push(second);
        }
        true
    }

    fn with_other_urls(&mut self, source: &Source, entries: &[Entry]) -> bool {
        let case = self.bench.case;
        let signs = |way: &Way| way.signs_target() || way.scheme == Scheme::HttpSignature;
        if !source.rules.ways.iter().any(signs) {
            return false;
        }
        let others = case.sources.iter().filter(|other| other.name != source.name);
        let known = urls::Known {
            request: case.request,
            public_url: source.public_url.as_deref(),
            others: others.filter_map(|other| other.public_url.clone()).collect(),
        };
        for called in urls::called(&known) {
            self.bench.tried.urls += 1;
            let mut request = case.request.clone();
            request.url.clone_from(&called.url);
            request.target.clone_from(&called.target);
            let Some(hit) = self.hit(source, entries, |_| true, signs, &request) else {
                if self.bench.is_spent() {
                    return false;
                }
                continue;
            };
            let entry = &entries[hit.entry];
            let bare = called.url.split('?').next().unwrap_or_default();
            let told = cause(
                Blame::WrongUrl,
                Sure::Certain,
                format!(
                    "the vendor signed another URL than this source takes for its own: {}",
                    urls::differs(&case.request.url, &called.url)
                ),
            )
            .shown_by(format!("over `{}` {} holds", called.url, entry.label))
            .config(format!("[sources.{}] public_url = \"{bare}\"", source.name))
            .run("relayflow config check")
            .run(readmit(case.request));
            self.causes.push(self.and_late(source, told, hit.held));
            return true;
        }
        false
    }

    /// The request as another provider's.
    fn as_of_others(&mut self, source: &Source) -> bool {
        let case = self.bench.case;
        let own = &source.provider.name;
        for provider in case.catalog.iter().filter(|provider| provider.name != *own) {
            let configured: Vec<&Source> = case
                .sources
                .iter()
                .map(|s| &**s)
                .filter(|other| other.provider.name == provider.name)
                .collect();
            let stand_in;
            let all: Vec<&Source> = if configured.is_empty() {
                let url = source.public_url.as_deref();
                match Source::stand_in(&source.name, url, provider, case.catalog) {
                    Some(source) => {
                        stand_in = source;
                        vec![&stand_in]
                    }
                    None => continue,
                }
            } else {
                configured
            };
            for other in all {
                if self.as_of(source, other) {
                    return true;
                }
            }
        }
        false
    }

    fn as_of(&mut self, own: &Source, other: &Source) -> bool {
        let case = self.bench.case;
        let ways = other.rules.ways.iter().enumerate();
        let borne: Vec<usize> = ways
            .filter(|(_, way)| way.scheme != Scheme::None && shows(other, way, case.request))
            .map(|(number, _)| number)
            .collect();
        self.bench.tried.schemes += borne.len() as u64;
        for number in &borne {
            if let Some(header) = telling_header(own, &other.rules.ways[*number], case.request) {
                let known = self.shapes.iter().any(|(name, _)| *name == other.provider.name);
                if !known {
                    self.shapes.push((Arc::clone(&other.provider.name), header));
                }
            }
        }
        if borne.is_empty() {
            return false;
        }
        let mut request = case.request.clone();
        if let Some(url) = &other.public_url {
            let query = request.query();
            request.url = if query.is_empty() { url.clone() } else { format!("{url}?{query}") };
        }
        let mut all: Vec<(String, &Secret)> = Vec::new();
        for known in case.sources {
            let secrets = known.secrets.iter().enumerate();
            all.extend(secrets.map(|(n, secret)| (label(&known.name, n, secret), secret)));
        }
        for (label, secret) in all {
            for (number, key) in keys_of(other, secret) {
                if !borne.contains(&number) {
                    continue;
                }
                let way = &other.rules.ways[number];
                let keys = std::slice::from_ref(&key);
                if let Some(held) = self.bench.holds(other, way, keys, &request) {
                    let told = self.of_other(own, other, way, &label);
                    self.causes.push(self.and_late(other, told, held));
                    return true;
                }
            }
        }
        false
    }

    fn of_other(&self, own: &Source, other: &Source, way: &Way, label: &str) -> Cause {
        let provider = &other.provider.name;
        let told = cause(
            Blame::WrongProvider,
            Sure::Certain,
            format!(
                "it is a request of `{provider}`, and the source `{}` is one of `{}`",
                own.name, own.provider.name
            ),
        )
        .shown_by(format!("{label} holds as {}", scheme(way)));
        let is_configured = self.bench.case.sources.iter().any(|s| s.name == other.name);
        if is_configured && other.name != own.name {
            let url = other.public_url.clone().unwrap_or_else(|| format!("/in/{}", other.name));
            return told
                .elsewhere(format!("let the vendor call the source `{}`: {url}", other.name));
        }
        told.config(format!("[sources.{}] provider = \"{provider}\"", own.name))
            .run("relayflow config check")
            .run(readmit(self.bench.case.request))
    }

    fn with_another_character(&mut self, source: &Source, entries: &[Entry]) -> bool {
        let request = self.bench.case.request;
        let own = entries.iter().filter(|entry| entry.of == Of::Own);
        for (entry, (way, key)) in own.flat_map(|e| e.keys.iter().map(move |k| (e, k))) {
            let way = &source.rules.ways[*way];
            if !bears(way, request) {
                continue;
            }
            let found = edits::one_character(&mut self.bench, source, way, key, request);
            if let Some((at, was)) = found {
                let is = request.body.get(at).copied().map_or('?', char::from);
                let told = cause(
                    Blame::BodyAltered,
                    Sure::Certain,
                    format!("its body was changed on its way: one character, at byte {at}, is `{is}` and was `{was}`"),
                )
                .shown_by(format!("with `{was}` there {} holds", entry.label))
                .elsewhere("let the vendor send it again: these bytes were not signed");
                self.causes.push(told);
                return true;
            }
        }
        false
    }

    /// The same cause, where the time is wrong too.
    #[expect(clippy::unused_self, reason = "all causes are told by the search")]
    fn and_late(&self, source: &Source, told: Cause, held: Held) -> Cause {
        match held.skew.filter(|_| held.is_stale) {
            Some(skew) => told.shown_by(format!(
                "its time is {} away as well, and {} is tolerated",
                shown(skew),
                source.tolerance_label()
            )),
            None => told,
        }
    }
}

impl Entry {
    /// Whether it is one of its own, and no other spelling of another.
    fn is_secret(&self) -> bool {
        matches!(self.of, Of::Own | Of::Other(_) | Of::Spare(_))
    }

    fn keys_of<'e>(&'e self, source: &'e Source, way: &'e Way) -> impl Iterator<Item = &'e Key> {
        self.keys
            .iter()
            .filter(move |(number, _)| std::ptr::eq(&source.rules.ways[*number], way))
            .map(|(_, key)| key)
    }
}

/// Whether a secret is in force for the source as it is configured.
fn is_known(of: &Of) -> bool {
    matches!(of, Of::Own | Of::Vendor)
}

fn label(source: &str, number: usize, secret: &Secret) -> String {
    format!("secret #{} of `{source}` ({})", number + 1, fingerprint(secret))
}

pub(super) fn readmit(request: &Request) -> String {
    format!("relayflow requests replay {}", request.id)
}

/// The secret as somebody may have meant it.
fn spelled(source: &Source, number: usize, secret: &Secret) -> Vec<Entry> {
    let bytes = secret.expose();
    let mut entries = Vec::new();
    let mut add = |how: &str, keys: Vec<(usize, Key)>| {
        if !keys.is_empty() {
            let label = label(&source.name, number, secret);
            entries.push(Entry { label, of: Of::Spelled(how.to_owned()), keys });
        }
    };
    let trimmed = bytes.trim_ascii();
    let unquoted = match trimmed {
        [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => Some(inner),
        _ => None,
    };
    if trimmed != bytes {
        add("without the white space around it", keys_of(source, &Secret::new(trimmed)));
    }
    if let Some(inner) = unquoted {
        add("without the quotes around it", keys_of(source, &Secret::new(inner)));
    }
    if let Some(at) = bytes.iter().rposition(|byte| *byte == b'_') {
        let bare = Secret::new(&bytes[at + 1..]);
        if !bare.is_empty() {
            add("without what stands before its last `_`", keys_of(source, &bare));
        }
    }
    for prefix in ["whsec_", "\n"] {
        let with = if prefix == "\n" {
            [bytes, prefix.as_bytes()].concat()
        } else {
            [prefix.as_bytes(), bytes].concat()
        };
        let how = if prefix == "\n" { "with a line end" } else { "with `whsec_` before it" };
        add(how, keys_of(source, &Secret::new(with)));
    }
    for (encoding, how) in [
        (KeyEncoding::Text, "its text itself is the key"),
        (KeyEncoding::Hex, "the key is what it says in hexadecimal digits"),
        (KeyEncoding::Base64, "the key is what it says in base 64"),
        (KeyEncoding::Whsec, "the key is what it says in base 64 behind `whsec_`"),
    ] {
        let ways = source.rules.ways.iter().enumerate();
        let keys = ways.filter(|(_, way)| super::bench::is_mac(way) && way.key != encoding);
        let keys = keys.filter_map(|(number, way)| {
            Some((number, Key::new(way.scheme, encoding, secret).ok()??))
        });
        add(how, keys.collect());
    }
    entries
}

/// Whether a request bears this way's signature, in the body too.
fn shows(source: &Source, way: &Way, request: &Request) -> bool {
    if !bears(way, request) {
        return false;
    }
    let SignaturePlace::Slot(slot) = &way.place else {
        return !matches!(way.place, SignaturePlace::Nowhere);
    };
    if way.is_each {
        return false;
    }
    body::open(&source.rules.takes, &request.body).is_ok_and(|opened| {
        way.reads
            .read(opened.text())
            .is_ok_and(|found| matches!(found.scalar(*slot), Scalar::Text(_)))
    })
}

/// The header that shows whose a request is: one that the source's own provider does not know.
fn telling_header(own: &Source, way: &Way, request: &Request) -> Option<String> {
    let SignaturePlace::Headers(names) = &way.place else { return None };
    let is_own = |name: &http::HeaderName| {
        *name == http::header::AUTHORIZATION
            || own.rules.ways.iter().any(|way| way.headers().contains(&name))
    };
    let name = names.iter().find(|name| request.headers.contains_key(*name) && !is_own(name));
    name.map(ToString::to_string)
}
