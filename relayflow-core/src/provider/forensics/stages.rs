//! The search: what may have happened, one thing after another, the likeliest and cheapest first.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use super::bench::{Bench, Held, Miss};
use super::secrets::{Entry, Of, entries, is_known};
use super::words::{Sure, Told as _, cause, minutes, scheme, shown};
use super::{Standing, bodies, edits, headers, urls};
use crate::api::codes::Blame;
use crate::api::{Cause, VerifiedBy};
use crate::provider::definition::Scheme;
use crate::provider::key::Key;
use crate::provider::refusal::VerifyError;
use crate::provider::source::Source;
use crate::provider::verify::{Check, bears};
use crate::provider::way::Way;
use crate::request::Request;

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
        let entries = entries(case, source);
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
            // Where our own secret made the signature, nobody else sent it.
            || (self.beyond.is_none() && self.as_of_others(source))
            || self.with_other_bodies(source, &entries, false)
            || self.with_another_character(source, &entries);
        if !found {
            self.guess(source);
        }
        None
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
                let told = if repair.blame == Blame::HeaderRenamed {
                    "a header came under another name"
                } else {
                    "the signature was changed on its way"
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
                    of.and_then(|s| s.public_url.clone()).unwrap_or_else(|| "...".to_owned())
                };
                cause(
                    Blame::WrongSecret,
                    Sure::Certain,
                    format!("it is signed with the secret of the source `{other}`, and came to `{name}`"),
                )
                .elsewhere(format!(
                    "if it belongs to `{other}`: let the vendor call {}",
                    url(other).replace("...", &format!("/in/{other}"))
                ))
                .config(format!("[sources.{name}] secrets = [ ... ]   # if it belongs here: that secret"))
                .run("relayflow config check")
                .run(readmit(request))
            }
            Of::Spare(Standing::Retired) => cause(
                Blame::RotatedSecret,
                Sure::Certain,
                "it is signed with a secret that was in force before: the vendor still uses it",
            )
            .config(format!("[sources.{name}] secrets = [ ..., the former one ]   # until the vendor has changed over"))
            .run("relayflow config check")
            .run(readmit(request)),
            Of::Spare(Standing::Learned) => cause(
                Blame::RotatedSecret,
                Sure::Certain,
                "it is signed with the secret that the vendor brought in a handshake, and that is not in force",
            )
            .elsewhere(format!("compare the file `learned/{name}...` beside the store with what the vendor shows, and move it to where the source's `secrets` name it"))
            .run("relayflow config check")
            .run(readmit(request)),
            Of::Spelled(how) => cause(
                Blame::SecretSpelling,
                Sure::Certain,
                format!("the secret is right and written in another way: {how}"),
            )
            .config(format!("[sources.{name}] secrets = [ ... ]   # as the vendor shows it"))
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
    pub(super) fn and_late(&self, source: &Source, told: Cause, held: Held) -> Cause {
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

pub(super) fn readmit(request: &Request) -> String {
    format!("relayflow requests replay {}", request.id)
}
