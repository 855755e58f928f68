//! A definition in words, for those who look one up: `providers show`.

use serde::Serialize;

use super::catalog::Provider;
use super::definition::{
    self, AlgorithmChoice, Chain, Claims, Definition, Encoding, Format, Handshake, KeyEncoding,
    KeysAt, KindWhen, Otherwise, Reply, Scheme, Unit, Verify, When,
};
use super::settings::fill_in;
use super::source;
use super::written::Texts;
use crate::api;

/// What a definition says. Where a setting decides, it is told as by default, or by example.
#[derive(Debug, Clone, Serialize)]
pub struct Description {
    pub v: u32,
    /// `provider`.
    pub object: String,
    pub name: String,
    pub title: String,
    pub category: String,
    /// `confirmed`, `partial` or `unconfirmed`: how sure the definition is of the way to sign.
    pub status: String,
    pub contract: String,
    pub built_in: bool,
    /// What it was written from, and when it was last held against that.
    pub source: String,
    pub checked: String,
    /// The ways to sign, the preferred one first.
    pub schemes: Vec<String>,
    /// Those that count only when a setting says so.
    pub schemes_by_setting: Vec<String>,
    /// What a secret of a source is.
    pub secret: String,
    pub settings: Vec<Setting>,
    pub bodies: Vec<String>,
    pub body_bytes_max: Option<usize>,
    /// Where a request holds several events; empty: it is one.
    pub batch: Vec<String>,
    pub handshakes: Vec<String>,
    pub reply: String,
    /// How long the vendor waits for it: `3s`, or `none` where it does not say.
    pub reply_within: String,
    /// Places, the first that has something counts.
    pub id: Vec<String>,
    #[serde(rename = "type")]
    pub event_type: Vec<String>,
    pub subject: Vec<String>,
    pub time: Vec<String>,
    pub kinds: Vec<Mapping>,
    /// The types of which `send` has a payload.
    pub samples: Vec<String>,
    /// The types whose events have a contract, from which drift is told.
    pub contracts: Vec<String>,
}

/// What a source may set.
#[derive(Debug, Clone, Serialize)]
pub struct Setting {
    pub name: String,
    pub about: String,
    /// Without one, a source must set it.
    pub default: Option<String>,
    pub example: Option<String>,
}

/// Which types are of a kind, and where its attributes are.
#[derive(Debug, Clone, Serialize)]
pub struct Mapping {
    pub kind: String,
    pub types: Vec<String>,
    /// The condition on the payload, if there is one.
    pub when: Option<String>,
    pub attributes: Vec<Attribute>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Attribute {
    pub name: String,
    pub from: Vec<String>,
}

impl Provider {
    /// The definition in words.
    #[must_use]
    pub fn describe(&self) -> Description {
        let file = fill_in(&self.text, None)
            .and_then(|text| definition::read(&text))
            .expect("the text was read when the provider was made");
        let of = |texts: &toml::Spanned<Texts>| texts.get_ref().0.clone();
        Description {
            v: api::V,
            object: "provider".to_owned(),
            name: self.name.to_string(),
            title: self.title.clone(),
            category: self.category.clone(),
            status: self.status.name().to_owned(),
            contract: self.contract.to_string(),
            built_in: self.built_in,
            source: self.source.clone(),
            checked: self.checked.clone(),
            schemes: file.verify.0.iter().filter(|way| way.is_used()).map(way).collect(),
            schemes_by_setting: by_setting(&file),
            secret: source::wanted(&self.rules).to_owned(),
            settings: settings(&file),
            bodies: bodies(&file),
            body_bytes_max: self.body_bytes_max,
            batch: batch(&file),
            handshakes: file.handshake.iter().map(handshake).collect(),
            reply: reply(&file.reply),
            reply_within: self.reply_within_label(),
            id: of(&file.event.id),
            event_type: of(&file.event.event_type),
            subject: file.event.subject.as_ref().map(of).unwrap_or_default(),
            time: times(&file),
            kinds: mappings(&file),
            samples: self.samples().iter().map(|s| s.event_type.clone()).collect(),
            contracts: self.contracts.types(),
        }
    }

    /// As lists of the API have it.
    #[must_use]
    pub fn document(&self) -> api::Provider {
        let types = self.types().into_iter().map(|(event_type, kind)| api::ProviderType {
            event_type,
            kind: kind.map(|kind| kind.to_string()),
        });
        api::Provider {
            v: api::V,
            object: "provider".to_owned(),
            name: self.name.to_string(),
            title: self.title.clone(),
            category: self.category.clone(),
            scheme: self.scheme().to_owned(),
            contract: self.contract.to_string(),
            built_in: self.built_in,
            status: self.status.name().to_owned(),
            reply_within: self.reply_within_label(),
            types: types.collect(),
        }
    }
}

fn settings(file: &Definition) -> Vec<Setting> {
    let all = file.settings.iter().map(|(name, setting)| Setting {
        name: name.clone(),
        about: setting.about.clone(),
        default: setting.default.clone(),
        example: setting.example.clone(),
    });
    all.collect()
}

/// Ways that the defaults and examples leave out, each behind what puts it in.
fn by_setting(file: &Definition) -> Vec<String> {
    let others = file.verify.0.iter().filter(|way| !way.is_used());
    let told = others.filter_map(|other| {
        let only = other.only_if.as_ref()?;
        let of = |(_, setting): &(&String, &definition::Setting)| {
            setting.default.as_ref().or(setting.example.as_ref()) == Some(&only.value)
        };
        let named: Vec<_> = file.settings.iter().filter(of).map(|(name, _)| &**name).collect();
        // Two settings may have the same default; which one is meant, the text no longer says.
        let name = if let [name] = named.as_slice() { *name } else { "a setting" };
        Some(format!("if {name} is {}: {}", only.is.0.join(" or "), way(other)))
    });
    told.collect()
}

fn way(way: &Verify) -> String {
    let scheme = *way.scheme.get_ref();
    let mut words = vec![scheme.name().to_owned()];
    if let Some(when) = &way.when {
        words.push(format!("if {}", condition(when)));
    }
    let mut place = Vec::new();
    if let Some(names) = &way.header {
        place.push(format!("in header {}", names.get_ref().0.join(" or ")));
    }
    if let Some(pointer) = &way.pointer {
        let each = if way.each { " of every element" } else { "" };
        place.push(format!("in the body at {}{each}", pointer.get_ref()));
    }
    if let Some(name) = &way.query {
        place.push(format!("in the URL's parameter {}", name.get_ref()));
    }
    if matches!(scheme, Scheme::Bearer | Scheme::Basic) {
        place.push("in header authorization".to_owned());
    }
    if let Some(parts) = way.parts.as_ref().map(toml::Spanned::get_ref) {
        let named = parts.timestamp.iter().chain(&parts.signature.0);
        let named: Vec<_> = named.map(|name| format!("{name}{}…", parts.assign)).collect();
        place.push(format!("as {}", named.join(&parts.separator)));
    }
    if let Some(prefix) = way.prefix.as_ref().filter(|p| !p.0.is_empty()) {
        place.push(format!("behind `{}`", prefix.0.join("` or `")));
    }
    if !place.is_empty() {
        words.push(place.join(" "));
    }
    if takes_template(scheme) {
        let signed = way.signed.as_ref().map_or("{body}", |s| s.get_ref());
        words.push(format!("over `{signed}`"));
        words.push(encoding(way.encoding).to_owned());
        if let Some(key) = key(way.key) {
            words.push(format!("the secret is {key}"));
        }
        let tolerance = way.tolerance.as_ref().map_or("5m", |t| t.get_ref());
        let has_part = way.parts.as_ref().is_some_and(|p| p.get_ref().timestamp.is_some());
        if (way.timestamp.is_some() || has_part) && signed.contains('{') {
            words.push(match tolerance {
                "off" => "its time is not checked".to_owned(),
                tolerance => format!("its time within {tolerance}, where it is signed"),
            });
        }
    }
    words.extend(more(way));
    if matches!(scheme, Scheme::Jwt | Scheme::HttpSignature) {
        words.push(match way.tolerance.as_ref().map_or("5m", |t| t.get_ref()) {
            "off" => "its time is not checked".to_owned(),
            tolerance => format!("its time within {tolerance}"),
        });
    }
    words.join(", ")
}

/// What `rsa`, `jwt` and `http-signature` say beyond the others, and what must be equal.
fn more(way: &Verify) -> Vec<String> {
    let mut words = Vec::new();
    words.extend(way.algorithm.as_ref().map(|choice| algorithm(choice.get_ref())));
    words.extend(way.claims.iter().flat_map(claims));
    let components: Vec<_> = super::more::components(way).collect();
    if !components.is_empty() {
        words.push(format!("over at least {}", components.join(" ")));
    }
    let checks = way.check.iter().filter(|(_, text)| !text.is_empty());
    words.extend(checks.map(|(place, text)| format!("{} must be `{text}`", place.get_ref())));
    words.extend(way.keys.as_ref().and_then(|keys| keys_at(keys.get_ref())));
    words
}

/// Whether what is signed is composed as the definition says.
fn takes_template(scheme: Scheme) -> bool {
    !scheme.is_shared() && !matches!(scheme, Scheme::None | Scheme::Jwt | Scheme::HttpSignature)
}

fn algorithm(choice: &AlgorithmChoice) -> String {
    let names = match choice {
        AlgorithmChoice::Fixed(algorithm) => return format!("with {}", algorithm.name()),
        AlgorithmChoice::Named(names) => names,
    };
    let header = names.header.iter().map(|name| format!("header:{name}"));
    let place: Vec<_> = header.chain(names.pointer.clone()).collect();
    let words = names.words.iter();
    let words: Vec<_> = words.map(|(word, of)| format!("{} for {word}", of.name())).collect();
    format!("with what {} says ({})", place.join(" or "), words.join(", "))
}

fn claims(claims: &Claims) -> Vec<String> {
    let named = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    let mut all = Vec::new();
    all.extend(named(&claims.body).map(|name| format!("claim {name} is the body's SHA-256")));
    let query = named(&claims.query);
    all.extend(query.map(|name| format!("claim {name} is the digest of method, path and query")));
    let equal = claims.equal.iter().filter(|(_, value)| !value.is_empty());
    all.extend(equal.map(|(name, value)| format!("claim {name} must be `{value}`")));
    all
}

/// Where the vendor shows its key; `None` where a setting leaves that out.
fn keys_at(keys: &KeysAt) -> Option<String> {
    let header = keys.header.iter().map(|name| format!("header:{name}"));
    let named: Vec<_> = header.chain(keys.pointer.clone()).collect();
    let hosts: Vec<_> = keys.hosts.0.iter().map(String::as_str).filter(|h| !h.is_empty()).collect();
    let mut text = match &keys.url {
        Some(url) if url.is_empty() => return None,
        Some(url) => format!("its keys are fetched from {url}"),
        None => format!("its key is fetched from where {} says", named.join(" or ")),
    };
    if !hosts.is_empty() {
        text += &format!(", only from {}", hosts.join(" or "));
        text += &keys.path.as_ref().map(|path| format!(", path {path}")).unwrap_or_default();
    }
    text += &keys.name.as_ref().map(|name| format!(", of {name}")).unwrap_or_default();
    if keys.url.is_none() && keys.chain == Chain::Host {
        text += ", where that host vouches for it";
    }
    text += ", unless the source has one of its own";
    Some(text)
}

fn encoding(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Hex => "in hexadecimal digits",
        Encoding::Base64 => "in base 64",
        Encoding::Base64url => "in URL-safe base 64",
    }
}

/// What is done to a secret's text, if anything.
fn key(key: KeyEncoding) -> Option<&'static str> {
    match key {
        KeyEncoding::Text => None,
        KeyEncoding::Hex => Some("hexadecimal digits"),
        KeyEncoding::Base64 => Some("base 64"),
        KeyEncoding::Whsec => Some("base 64 behind `whsec_`"),
        KeyEncoding::WhsecOrText => Some("base 64 behind `whsec_`, or a text"),
        KeyEncoding::Sha1 => Some("hashed with SHA-1 first"),
        KeyEncoding::Sha256 => Some("hashed with SHA-256 first"),
    }
}

fn condition(when: &When) -> String {
    let mut words = Vec::new();
    words.extend(when.method.iter().map(|method| format!("the method is {method}")));
    words.extend(when.body.map(|format| format!("the body is {}", name(format))));
    let is = match &when.is {
        Some(texts) => format!("is {}", texts.0.join(" or ")),
        None => "is there".to_owned(),
    };
    words.extend(when.header.iter().map(|name| format!("header {name} {is}")));
    words.extend(when.query.iter().map(|name| format!("parameter {name} {is}")));
    words.extend(when.pointer.iter().map(|at| format!("{at} {is}")));
    words.join(" and ")
}

fn name(format: Format) -> &'static str {
    match format {
        Format::Json => "JSON",
        Format::Ndjson => "one JSON value a line",
        Format::Form => "a form",
        Format::Multipart => "a multipart form",
        Format::Xml => "XML",
    }
}

fn bodies(file: &Definition) -> Vec<String> {
    if file.body.formats.is_empty() {
        return vec![name(Format::Json).to_owned()];
    }
    let mut all: Vec<_> = file.body.formats.iter().map(|f| name(*f).to_owned()).collect();
    let only = if file.body.form_json_only { ", and nothing else of it" } else { "" };
    all.extend(file.body.form_json.iter().map(|name| format!("JSON in the form's {name}{only}")));
    all.extend(file.body.form_xml.iter().map(|field| format!("XML in the form's {field}")));
    all
}

fn batch(file: &Definition) -> Vec<String> {
    let at = &file.split.at.0.get_ref().0;
    let mut all: Vec<_> = at.iter().map(|at| format!("one event for each {at}")).collect();
    if !all.is_empty() {
        all.extend(
            file.split.only_with.iter().map(|at| format!("only those with {}", at.get_ref())),
        );
        all.push(match file.split.otherwise {
            Otherwise::OneEvent => "without it, the body is one event".to_owned(),
            Otherwise::Unreadable => "without it, the body is unreadable".to_owned(),
        });
        if file.split.single {
            all.push("one object in place of a list is a list of one".to_owned());
        }
    }
    all.extend(
        file.split
            .inside
            .iter()
            .map(|at| format!("the event is the JSON in the text at {}", at.get_ref())),
    );
    all
}

fn handshake(shake: &Handshake) -> String {
    let status = shake.status.as_ref().map_or(200, |status| *status.get_ref());
    let signed = if shake.signed { "signed" } else { "not signed" };
    let body = match (&shake.text, &shake.json) {
        (Some(text), _) => format!(" `{}`", text.get_ref()),
        (None, Some(members)) => {
            let members = members.iter().map(|(name, text)| format!("{name}: {}", text.get_ref()));
            format!(" {{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        (None, None) => " without a body".to_owned(),
    };
    let checks = shake.check.keys().map(|place| format!(", {} is checked", place.get_ref()));
    let checks: String = checks.collect();
    let learns = shake.learns.iter();
    let learns = learns.map(|place| format!(", {} is learned as the secret", place.get_ref()));
    let visit = shake.visit.iter().map(|visit| {
        let hosts = visit.hosts.0.join(" or ");
        format!(", {} is visited if it is on {hosts}", visit.pointer.get_ref())
    });
    let more: String = learns.chain(visit).collect();
    format!("if {} ({signed}{checks}{more}): {}{body}", condition(shake.when.get_ref()), status)
}

fn reply(reply: &Reply) -> String {
    let status = reply.status.as_ref().map_or(200, |status| *status.get_ref());
    match &reply.body {
        None => format!("{status} and RelayFlow's own JSON"),
        Some(body) if body.is_empty() => format!("{status} without a body"),
        Some(body) => format!("{status} `{body}`"),
    }
}

fn times(file: &Definition) -> Vec<String> {
    let mut all = Vec::new();
    for at in &file.event.at.0 {
        let unit = match at.unit {
            Unit::Seconds => "seconds",
            Unit::Milliseconds => "milliseconds",
            Unit::SecondsOrMilliseconds => "seconds or milliseconds",
            Unit::Rfc3339 => "RFC 3339",
            Unit::HttpDate => "a date as in HTTP",
        };
        let pointers = at.pointer.iter().flat_map(|texts| texts.get_ref().0.clone());
        let headers = at.header.iter().map(|name| format!("header:{}", name.get_ref()));
        all.extend(pointers.chain(headers).map(|place| format!("{place} ({unit})")));
    }
    all
}

fn mappings(file: &Definition) -> Vec<Mapping> {
    let mut all = Vec::new();
    for (kind, rules) in &file.kind {
        all.extend(rules.0.iter().map(|rule| {
            Mapping {
                kind: kind.get_ref().clone(),
                types: rule.types.get_ref().0.clone(),
                when: rule.when.as_ref().map(|when| kind_condition(when.get_ref())),
                attributes: rule
                    .attributes
                    .iter()
                    .map(|(name, source)| Attribute {
                        name: name.get_ref().clone(),
                        from: source.get_ref().0.from.0.clone(),
                    })
                    .collect(),
            }
        }));
    }
    all
}

fn kind_condition(when: &KindWhen) -> String {
    if let Some(pointer) = &when.pointer {
        let place = pointer.get_ref().0.join(" or ");
        return match &when.is {
            Some(is) => format!("{place} is {}", is.0.join(" or ")),
            None => format!("{place} is there"),
        };
    }
    let (list, word) = match when.all.as_slice() {
        [] => (&when.any, " or "),
        _ => (&when.all, " and "),
    };
    let each = list.iter().map(|one| match (one.all.is_empty(), one.any.is_empty()) {
        (true, true) => kind_condition(one),
        _ => format!("({})", kind_condition(one)),
    });
    each.collect::<Vec<_>>().join(word)
}

#[cfg(test)]
mod tests {
    use crate::provider::Catalog;

    #[test]
    fn every_definition_can_be_told_in_words() {
        for provider in Catalog::built_in().iter() {
            let told = provider.describe();
            assert!(!told.schemes.is_empty() && !told.event_type.is_empty(), "{told:?}");
            assert!(!told.id.is_empty() && !told.secret.is_empty(), "{told:?}");
        }
    }

    #[test]
    fn a_way_to_sign_is_one_sentence() {
        let catalog = Catalog::built_in();
        let told = catalog.get("stripe").unwrap().describe();
        insta::assert_snapshot!(told.schemes.join("\n"), @"hmac-sha256, in header stripe-signature as t=…,v1=…, over `{timestamp}.{body}`, in hexadecimal digits, its time within 5m, where it is signed");
        let told = catalog.get("paypal").unwrap().describe();
        insta::assert_snapshot!(told.schemes.join("\n"), @"rsa, in header paypal-transmission-sig, over `{id}|{timestamp}|1JE4291016473214C|{crc32}`, in base 64, its time within 96h, where it is signed, with what header:paypal-auth-algo says (rsa-sha256 for SHA256withRSA), its key is fetched from where header:paypal-cert-url says, only from api.paypal.com or api-m.paypal.com or api.sandbox.paypal.com or api-m.sandbox.paypal.com, path /v1/notifications/certs/*, where that host vouches for it, unless the source has one of its own");
        let told = catalog.get("jira").unwrap().describe();
        insta::assert_snapshot!(told.schemes_by_setting.join("\n"), @"if signing is app: jwt, in header authorization behind `JWT `, with hmac-sha256, claim qsh is the digest of method, path and query, its time within 5m");
        let told = catalog.get("plaid").unwrap().describe();
        insta::assert_snapshot!(told.schemes.join("\n"), @"jwt, in header plaid-verification, with ecdsa-p256, claim request_body_sha256 is the body's SHA-256, its time within 5m");
        let told = catalog.get("http-message-signatures").unwrap().describe();
        insta::assert_snapshot!(told.schemes.join("\n"), @"http-signature, with hmac-sha256, over at least @method @target-uri content-digest, its time within 5m");
        let told = catalog.get("slack").unwrap().describe();
        insta::assert_snapshot!(told.handshakes.join("\n"), @r"
        if /type is url_verification (signed): 200 `{/challenge}`
        if /ssl_check is 1 (signed): 200 without a body
        ");
    }
}
