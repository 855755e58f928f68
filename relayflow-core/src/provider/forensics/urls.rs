//! The URLs that a vendor may have called: what is signed may be another one than this source thinks.

use std::collections::HashSet;

use crate::request::Request;

/// So many URLs are tried on one request.
pub(super) const URLS_MAX: usize = 400;

/// A URL with its path and query, as a vendor may have called it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Called {
    pub(super) url: String,
    /// Path and query.
    pub(super) target: String,
}

/// Where the pieces of such URLs come from.
pub(super) struct Known<'k> {
    pub(super) request: &'k Request,
    /// The source's own URL, if it has one.
    pub(super) public_url: Option<&'k str>,
    /// Where other sources of the configuration are.
    pub(super) others: Vec<String>,
}

/// Every URL that is made of the known pieces, the likeliest first; each once, without the one that was
/// verified against.
pub(super) fn called(known: &Known<'_>) -> Vec<Called> {
    let request = known.request;
    let own = known.public_url.and_then(parts);
    let mut hosts: Vec<String> = Vec::new();
    let host_header = request.header("host").unwrap_or_default();
    for host in [own.map(|(_, host, _)| host), Some(host_header), Some("localhost")] {
        let Some(host) = host.filter(|host| !host.is_empty()) else { continue };
        let bare = without_port(host);
        hosts.extend([
            host.to_owned(),
            bare.to_owned(),
            format!("{bare}:443"),
            format!("{bare}:80"),
            host.to_ascii_lowercase(),
        ]);
    }
    let target_path = request.target.split('?').next().unwrap_or_default();
    let mut paths: Vec<String> = Vec::new();
    for path in
        [own.map(|(_, _, path)| path.split('?').next().unwrap_or_default()), Some(target_path)]
            .into_iter()
            .flatten()
    {
        paths.push(path.to_owned());
        paths.push(slash_changed(path));
        paths.push(without_first_segment(path));
    }
    paths.push("/".to_owned());
    paths.push(String::new());
    let queries = queries(request.query());
    let mut out = Vec::new();
    let mut seen = HashSet::from([request.url.clone()]);
    let mut add = |url: String| {
        if out.len() < URLS_MAX && seen.insert(url.clone()) {
            let target = match parts(&url) {
                Some((_, _, rest)) if rest.starts_with('/') => rest.to_owned(),
                Some((_, _, rest)) => format!("/{rest}"),
                None => request.target.clone(),
            };
            out.push(Called { url, target });
        }
    };
    // What differs in one thing comes before what differs in several.
    for path in &paths {
        for host in &hosts {
            for scheme in ["https", "http"] {
                add(format!("{scheme}://{host}{path}{}", queries[0]));
            }
        }
    }
    for other in &known.others {
        add(format!("{other}{}", queries[0]));
    }
    for query in queries.iter().skip(1) {
        for path in paths.iter().take(2) {
            for host in &hosts {
                for scheme in ["https", "http"] {
                    add(format!("{scheme}://{host}{path}{query}"));
                }
            }
        }
    }
    out
}

/// What differs between the URL that was thought and the one that was signed.
pub(super) fn differs(thought: &str, signed: &str) -> String {
    let (Some((scheme, host, rest)), Some((s_scheme, s_host, s_rest))) =
        (parts(thought), parts(signed))
    else {
        return "no `public_url` says what the vendor calls".to_owned();
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (s_path, s_query) = s_rest.split_once('?').unwrap_or((s_rest, ""));
    let mut all: Vec<String> = Vec::new();
    if scheme != s_scheme {
        all.push(format!("{s_scheme} in place of {scheme}"));
    }
    if without_port(host) != without_port(s_host) {
        all.push(format!("host `{s_host}` in place of `{host}`"));
    } else if host != s_host {
        all.push(format!("the port: `{s_host}` in place of `{host}`"));
    }
    if path.trim_end_matches('/') != s_path.trim_end_matches('/') {
        all.push(format!("path `{s_path}` in place of `{path}`"));
    } else if path != s_path {
        all.push("the slash at the end of the path".to_owned());
    }
    if query != s_query {
        all.push(if s_query.is_empty() {
            "the query is not signed".to_owned()
        } else {
            "the order or the escapes of the query".to_owned()
        });
    }
    all.join(", ")
}

fn parts(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    Some((scheme, rest.get(..end)?, rest.get(end..)?))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((bare, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => bare,
        Some(_) | None => host,
    }
}

fn slash_changed(path: &str) -> String {
    match path.strip_suffix('/') {
        Some(bare) => bare.to_owned(),
        None => format!("{path}/"),
    }
}

/// What is left where a proxy took the first segment away, or the vendor never knew of it.
fn without_first_segment(path: &str) -> String {
    let rest = path.strip_prefix('/').unwrap_or(path);
    rest.find('/').map_or_else(String::new, |at| rest[at..].to_owned())
}

/// The query with its `?`: as received, left out, sorted, decoded and with `%20` for `+`.
fn queries(query: &str) -> Vec<String> {
    if query.is_empty() {
        return vec![String::new()];
    }
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.sort_unstable();
    let decoded: Vec<String> = form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    vec![
        format!("?{query}"),
        String::new(),
        format!("?{}", pairs.join("&")),
        format!("?{}", decoded.join("&")),
        format!("?{}", query.replace('+', "%20")),
        format!("?{}", query.replace("%20", "+")),
    ]
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Method};

    use super::*;
    use crate::id::RequestId;

    fn request(url: &str, target: &str, host: &str) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert("host", host.parse().unwrap());
        Request {
            id: RequestId::next(),
            method: Method::POST,
            target: target.to_owned(),
            url: url.to_owned(),
            headers,
            body: Bytes::new(),
            received_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_a_vendor_may_have_called_is_found_and_told_apart() {
        let public = "https://hooks.example.com/hooks/in/sms";
        let request = request(&format!("{public}?b=2&a=1"), "/in/sms?b=2&a=1", "10.0.0.7:8787");
        let others = vec!["https://hooks.example.com/hooks/in/calls".to_owned()];
        let known = Known { request: &request, public_url: Some(public), others };
        let all = called(&known);
        assert!(all.len() <= URLS_MAX);
        for (signed, difference) in [
            ("http://hooks.example.com/hooks/in/sms?b=2&a=1", "http in place of https"),
            (
                "https://hooks.example.com:443/hooks/in/sms?b=2&a=1",
                "the port: `hooks.example.com:443` in place of `hooks.example.com`",
            ),
            ("https://hooks.example.com/hooks/in/sms/?b=2&a=1", "the slash at the end of the path"),
            (
                "https://hooks.example.com/in/sms?b=2&a=1",
                "path `/in/sms` in place of `/hooks/in/sms`",
            ),
            (
                "https://hooks.example.com/hooks/in/calls?b=2&a=1",
                "path `/hooks/in/calls` in place of `/hooks/in/sms`",
            ),
            ("https://hooks.example.com/hooks/in/sms", "the query is not signed"),
            (
                "https://hooks.example.com/hooks/in/sms?a=1&b=2",
                "the order or the escapes of the query",
            ),
            (
                "http://10.0.0.7:8787/in/sms?b=2&a=1",
                "http in place of https, host `10.0.0.7:8787` in place of `hooks.example.com`, path `/in/sms` in place of `/hooks/in/sms`",
            ),
        ] {
            assert!(all.iter().any(|c| c.url == signed), "{signed} is not tried");
            assert_eq!(differs(&request.url, signed), difference);
        }
    }

    #[test]
    fn a_source_without_a_url_is_tried_with_the_host_that_was_called() {
        let request = request("", "/in/sms", "hooks.example.com");
        let known = Known { request: &request, public_url: None, others: vec![] };
        let all = called(&known);
        assert_eq!(all[0].url, "https://hooks.example.com/in/sms");
        assert_eq!(all[0].target, "/in/sms");
        assert_eq!(differs("", &all[0].url), "no `public_url` says what the vendor calls");
    }
}
