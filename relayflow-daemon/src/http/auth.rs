//! Who may do what: bearer tokens, their roles, and the names under which the API answers.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Uri};
use relayflow_core::api::codes::Code;
use relayflow_core::config::{ApiConfig, Role, Token};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::problem::Problem;
use super::server::{lock, network};

/// How many wrong tokens an address may send in a second.
const FAILURES_MAX: u32 = 10;
/// How many addresses are counted at once. Beyond, all counts begin anew: who has so many addresses
/// is not held up by one count each.
const ADDRESSES_MAX: usize = 10_000;

/// Who asks, as the timeline names them, and what they may do.
#[derive(Debug, Clone)]
pub(crate) struct Who(pub(crate) Arc<str>, pub(crate) Role);

/// The tokens in force, and what is needed to judge a request.
#[derive(Debug)]
pub(crate) struct Auth {
    tokens: RwLock<Vec<Known>>,
    failures: Mutex<HashMap<IpAddr, Failures>>,
    hosts: Vec<String>,
    behind_proxy: bool,
}

#[derive(Debug)]
struct Known {
    name: Arc<str>,
    role: Role,
    digest: [u8; 32],
}

#[derive(Debug)]
struct Failures {
    since: Instant,
    count: u32,
}

impl Auth {
    pub(crate) fn new(config: &ApiConfig, tokens: &[Token]) -> Self {
        let public = config.public_url.as_deref().and_then(|url| url.parse::<Uri>().ok());
        let auth = Self {
            tokens: RwLock::default(),
            failures: Mutex::default(),
            hosts: public.iter().filter_map(Uri::host).map(str::to_ascii_lowercase).collect(),
            behind_proxy: config.behind_proxy,
        };
        auth.set_tokens(tokens);
        auth
    }

    /// Replaces all tokens; only their digests are kept.
    pub(crate) fn set_tokens(&self, tokens: &[Token]) {
        let known = tokens.iter().map(|token| Known {
            name: token.name.as_str().into(),
            role: token.role,
            digest: Sha256::digest(token.token.expose()).into(),
        });
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = known.collect();
    }

    /// Who asks, if the token is known and its role does for `needs`.
    ///
    /// # Errors
    ///
    /// 401 without a token or with an unknown one, 403 if its role is too low, 429 after
    /// [`FAILURES_MAX`] unknown ones within a second.
    pub(crate) fn judge(
        &self,
        headers: &HeaderMap,
        ip: IpAddr,
        needs: Role,
    ) -> Result<Who, Problem> {
        let Some(given) = bearer(headers) else {
            let detail = "send `Authorization: Bearer` and a token";
            return Err(Problem::of(Code::NoToken).challenge("Bearer").detail(detail));
        };
        let ip = network(self.client(headers, ip));
        if self.has_failed_too_often(ip) {
            return Err(Problem::of(Code::TooManyFailures));
        }
        let Some(who) = self.find(given) else {
            self.count_failure(ip);
            let problem = Problem::of(Code::NoToken).challenge("Bearer error=\"invalid_token\"");
            return Err(problem.detail("this token is not known here"));
        };
        if who.1 < needs {
            let detail = format!("this takes the role {}", role_name(needs));
            return Err(Problem::of(Code::RoleTooLow).detail(detail));
        }
        Ok(who)
    }

    /// The token with this text. Every digest is compared, whole, so that the time says nothing.
    fn find(&self, given: &[u8]) -> Option<Who> {
        let digest: [u8; 32] = Sha256::digest(given).into();
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for token in tokens.iter() {
            if bool::from(token.digest.ct_eq(&digest)) {
                found = Some(Who(Arc::clone(&token.name), token.role));
            }
        }
        found
    }

    /// The client's address: behind a proxy the one that the proxy named last.
    fn client(&self, headers: &HeaderMap, ip: IpAddr) -> IpAddr {
        let forwarded = || {
            let last = headers.get_all("x-forwarded-for").iter().next_back()?;
            last.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
        };
        if self.behind_proxy { forwarded().unwrap_or(ip) } else { ip }
    }

    fn has_failed_too_often(&self, ip: IpAddr) -> bool {
        let failures = lock(&self.failures);
        failures.get(&ip).is_some_and(|f| FAILURES_MAX <= f.count && f.since.elapsed() < SECOND)
    }

    fn count_failure(&self, ip: IpAddr) {
        let mut failures = lock(&self.failures);
        if ADDRESSES_MAX <= failures.len() {
            failures.clear();
        }
        let now = Instant::now();
        let known = failures.entry(ip).or_insert(Failures { since: now, count: 0 });
        if SECOND <= now - known.since {
            *known = Failures { since: now, count: 0 };
        }
        known.count += 1;
    }

    /// Whether `Host` is a name under which the API may be asked: a loopback one, the configured
    /// one, or the very address that was connected to. Any other is how a web page makes a browser
    /// talk to it (DNS rebinding).
    pub(crate) fn serves_host(&self, headers: &HeaderMap, local: IpAddr) -> bool {
        let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else {
            return false;
        };
        let Some(name) = host_name(host) else { return false };
        let ip = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let is_ours = |ip: IpAddr| ip.is_loopback() || ip == local.to_canonical();
        name.eq_ignore_ascii_case("localhost")
            || ip.is_ok_and(is_ours)
            || self.hosts.iter().any(|known| name.eq_ignore_ascii_case(known))
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (only, None) = (values.next()?.as_bytes(), values.next()) else { return None };
    let (scheme, token) = only.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii()).filter(|t| !t.is_empty())
}

/// The host of `Host` without its port, which must be one.
fn host_name(host: &str) -> Option<&str> {
    let end = if host.starts_with('[') {
        host.find(']')? + 1
    } else {
        host.find(':').unwrap_or(host.len())
    };
    let (name, port) = host.split_at(end);
    let port = port.strip_prefix(':').unwrap_or(port);
    port.bytes().all(|b| b.is_ascii_digit()).then_some(name)
}

pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}

/// Whether only this machine can reach what listens at `ip`.
pub(crate) fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip == Ipv4Addr::LOCALHOST || ip.is_loopback(),
        IpAddr::V6(ip) => ip == Ipv6Addr::LOCALHOST,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use relayflow_core::secret::Secret;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn auth() -> Auth {
        let config = ApiConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            public_url: Some("https://Relay.example.com:8443/x".into()),
            behind_proxy: false,
            tls: None,
            tokens: vec![],
        };
        let token = |name: &str, role| Token {
            name: name.into(),
            role,
            token: Secret::new(format!("token-of-{name}")),
        };
        Auth::new(&config, &[token("vera", Role::Viewer), token("adam", Role::Admin)])
    }

    fn with(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_token_is_who_and_what() {
        let auth = auth();
        for (header, needs, expected) in [
            ("Bearer token-of-vera", Role::Viewer, Ok("vera")),
            ("bearer  token-of-adam", Role::Admin, Ok("adam")),
            ("Bearer token-of-vera", Role::Operator, Err(Code::RoleTooLow)),
            ("Bearer token-of-ver", Role::Viewer, Err(Code::NoToken)),
            ("Bearer token-of-vera2", Role::Viewer, Err(Code::NoToken)),
            ("Bearer ", Role::Viewer, Err(Code::NoToken)),
            ("Basic token-of-vera", Role::Viewer, Err(Code::NoToken)),
            ("token-of-vera", Role::Viewer, Err(Code::NoToken)),
        ] {
            let answer = auth.judge(&with("authorization", header), HERE, needs);
            let answer = answer.as_ref().map(|who| &*who.0).map_err(|problem| problem.code);
            assert_eq!(answer, expected, "{header}");
        }
    }

    #[test]
    fn two_tokens_in_one_request_are_none() {
        let mut headers = with("authorization", "Bearer token-of-vera");
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer token-of-adam"));
        assert_eq!(auth().judge(&headers, HERE, Role::Viewer).unwrap_err().code, Code::NoToken);
    }

    #[test]
    fn an_address_that_guesses_is_held_up_and_others_are_not() {
        let auth = auth();
        let wrong = with("authorization", "Bearer guess");
        for _ in 0..FAILURES_MAX {
            assert_eq!(auth.judge(&wrong, HERE, Role::Viewer).unwrap_err().code, Code::NoToken);
        }
        let right = with("authorization", "Bearer token-of-vera");
        let held = auth.judge(&right, HERE, Role::Viewer).unwrap_err();
        assert_eq!(held.code, Code::TooManyFailures);
        auth.judge(&right, [192, 0, 2, 7].into(), Role::Viewer).unwrap();
    }

    #[test]
    fn only_known_hosts_are_served() {
        let auth = auth();
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST:8788", true),
            ("127.0.0.1:8788", true),
            ("127.9.9.9", true),
            ("[::1]:8788", true),
            ("relay.example.com", true),
            ("relay.example.com:1", true),
            ("10.1.2.3:8788", true),
            ("10.1.2.4", false),
            ("evil.example", false),
            ("localhost.evil.example", false),
            ("localhost:8788.evil.example", false),
            ("127.0.0.1@evil.example", false),
            ("[::1", false),
            ("", false),
        ] {
            let served = auth.serves_host(&with("host", host), [10, 1, 2, 3].into());
            assert_eq!(served, expected, "{host}");
        }
    }
}
