//! The operator API over HTTP.

use std::time::Duration;

use relayflow_core::api::{Health, List, Problem};
use relayflow_core::secret::Secret;
use relayflow_core::view::Page;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::failure::{Failure, chain, root};
use crate::output::Out;

/// How often a read is tried again where the daemon answers 5xx or drops the connection.
const RETRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// A daemon's API.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
    base: Url,
    token: Option<Secret>,
    timeout: Duration,
    out: Out,
}

impl Api {
    /// # Errors
    ///
    /// The endpoint is no http or https URL.
    pub(crate) fn new(
        endpoint: &str,
        token: Option<Secret>,
        timeout: Duration,
        out: Out,
    ) -> Result<Self, Failure> {
        let base = Url::parse(endpoint)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| Failure::usage(format!("`{endpoint}` is not the URL of an API")))?;
        let mut builder =
            Client::builder().user_agent(concat!("relayflow/", env!("CARGO_PKG_VERSION")));
        if base.scheme() == "http" {
            // No certificates are read where none are needed: that is most of a start.
            builder = builder.tls_certs_only([]);
        }
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        // An error only says that a provider is set already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = builder.build().map_err(|e| Failure::error(chain(&e)))?;
        Ok(Self { client, base, token, timeout, out })
    }

    pub(crate) fn endpoint(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// A document at `/api/v1/…`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Failure> {
        self.read(self.url(path)).await
    }

    /// The same with a query.
    pub(crate) async fn get_with<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, Failure> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.read(url).await
    }

    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        noun: &str,
        page: &Page,
    ) -> Result<List<T>, Failure> {
        self.list_by(noun, page, None).await
    }

    /// The list below something else.
    pub(crate) async fn list_of<T: DeserializeOwned>(
        &self,
        path: &[&str],
        page: &Page,
    ) -> Result<List<T>, Failure> {
        self.page(self.url(path), page, None).await
    }

    pub(crate) async fn list_by<T: DeserializeOwned>(
        &self,
        noun: &str,
        page: &Page,
        by: Option<&str>,
    ) -> Result<List<T>, Failure> {
        self.page(self.url(&[noun]), page, by).await
    }

    async fn page<T: DeserializeOwned>(
        &self,
        mut url: Url,
        page: &Page,
        by: Option<&str>,
    ) -> Result<List<T>, Failure> {
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("limit", &page.limit.to_string());
            if let Some(q) = &page.q {
                query.append_pair("q", q);
            }
            if let Some(cursor) = &page.cursor {
                query.append_pair("cursor", cursor);
            }
            if let Some(sort) = &page.sort {
                query.append_pair("sort", sort);
            }
            if let Some(by) = by {
                query.append_pair("by", by);
            }
        }
        self.read(url).await
    }

    /// What the daemon says of itself; needs no token.
    pub(crate) async fn health(&self) -> Result<Health, Failure> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("healthz");
        }
        self.read(url).await
    }

    /// A body that is no document.
    pub(crate) async fn bytes(&self, path: &[&str]) -> Result<Vec<u8>, Failure> {
        let response = self.read_response(self.url(path)).await?;
        Ok(response.bytes().await.map_err(|e| self.lost(&e))?.to_vec())
    }

    /// A body that is no document, of any length: it goes where it is wanted as it comes.
    pub(crate) async fn download<B: Serialize + Sync>(
        &self,
        path: &[&str],
        body: &B,
        first_byte: Duration,
        to: &mut impl std::io::Write,
        told: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), Failure> {
        let broken = |why: String| {
            Failure::new("unreachable.daemon", "the answer broke off")
                .why(format!("{why}; nothing was written"))
        };
        let request = self.request(Method::POST, self.url(path)).json(body);
        let response = self.send(request).await?;
        let mut response = self.check(response).await?;
        let mut received = 0;
        loop {
            let wait = if received == 0 { first_byte } else { self.timeout };
            let chunk = match tokio::time::timeout(wait, response.chunk()).await {
                Err(_) => return Err(broken("nothing came for too long".to_owned())),
                Ok(Err(e)) => return Err(broken(chain(&e))),
                Ok(Ok(None)) => return Ok(()),
                Ok(Ok(Some(chunk))) => chunk,
            };
            to.write_all(&chunk)?;
            received += chunk.len() as u64;
            told(received);
        }
    }

    pub(crate) async fn post<T: DeserializeOwned, B: Serialize + Sync>(
        &self,
        path: &[&str],
        body: &B,
    ) -> Result<T, Failure> {
        let request = self.request(Method::POST, self.url(path)).timeout(self.timeout).json(body);
        let response = self.send(request).await?;
        document(self.check(response).await?).await
    }

    /// The live timeline, from behind `after` where something was seen already.
    pub(crate) async fn tail(
        &self,
        query: &[(&str, String)],
        after: Option<&str>,
    ) -> Result<Response, Failure> {
        let mut url = self.url(&["tail"]);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.request(Method::GET, url).header("accept", "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = self.send(request).await?;
        self.check(response).await
    }

    /// Each part becomes one segment of the path, escaped: an id can never be another path.
    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        url
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.out.detail(2, &format!("> {method} {url}"));
        let request = self.client.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(String::from_utf8_lossy(token.expose())),
            None => request,
        }
    }

    async fn read<T: DeserializeOwned>(&self, url: Url) -> Result<T, Failure> {
        document(self.read_response(url).await?).await
    }

    /// A read, tried again where that may help.
    async fn read_response(&self, url: Url) -> Result<Response, Failure> {
        let mut wait = FIRST_WAIT;
        for _ in 0..RETRIES {
            let request = self.request(Method::GET, url.clone()).timeout(self.timeout);
            match request.send().await {
                Ok(response) if response.status().is_server_error() => {
                    self.out.detail(1, &format!("the daemon answered {}", response.status()));
                }
                Ok(response) => {
                    self.out.detail(2, &format!("< {}", response.status()));
                    return self.check(response).await;
                }
                Err(e) if e.is_connect() || e.is_timeout() => return Err(self.lost(&e)),
                Err(e) => self.out.detail(1, &chain(&e)),
            }
            tokio::time::sleep(wait).await;
            wait *= 2;
        }
        let request = self.request(Method::GET, url).timeout(self.timeout);
        let response = self.send(request).await?;
        self.check(response).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|e| self.lost(&e))?;
        self.out.detail(2, &format!("< {}", response.status()));
        Ok(response)
    }

    fn lost(&self, error: &reqwest::Error) -> Failure {
        let what = if error.is_timeout() { "does not answer in time" } else { "does not answer" };
        let failure =
            Failure::new("unreachable.daemon", format!("the daemon at {} {what}", self.endpoint()))
                .why(root(error));
        if error.is_connect() && is_loopback(&self.base) {
            failure.hint("relayflow up")
        } else {
            failure
        }
    }

    async fn check(&self, response: Response) -> Result<Response, Failure> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response.bytes().await.unwrap_or_default();
        if let Ok(problem) = serde_json::from_slice::<Problem>(&bytes) {
            return Err(self.explain(Failure::of_problem(problem)));
        }
        Err(Failure::new(code_of(status), format!("the daemon answered {status}"))
            .why(format!("{} may not be RelayFlow's API", self.endpoint())))
    }

    /// Says where a token comes from to one who has none.
    fn explain(&self, failure: Failure) -> Failure {
        if failure.code != "auth.token" || failure.hint.is_some() {
            return failure;
        }
        let hint = "set RELAYFLOW_TOKEN, or run where the daemon's config is";
        match self.token {
            Some(_) => failure.hint(hint),
            None => failure.why("no token was found here").hint(hint),
        }
    }
}

fn code_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "auth.token",
        404 => "not_found.route",
        409 => "refused.state_changed",
        502..=504 | 429 => "unreachable.daemon",
        400..=499 => "usage.request",
        _ => "error.internal",
    }
}

async fn document<T: DeserializeOwned>(response: Response) -> Result<T, Failure> {
    let bytes = response
        .bytes()
        .await
        .map_err(|e| Failure::new("unreachable.daemon", "the answer broke off").why(chain(&e)))?;
    serde_json::from_slice(&bytes).map_err(|e| {
        Failure::new("error.version", "the daemon's answer is not understood")
            .why(e.to_string())
            .hint("relayflow version")
    })
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;

    fn api(endpoint: &str) -> Result<Api, Failure> {
        Api::new(endpoint, None, Duration::from_secs(1), Out::test(Format::Table, None))
    }

    #[test]
    fn an_id_is_one_segment_of_the_path() {
        let api = api("http://127.0.0.1:8788").unwrap();
        let url = api.url(&["events", "../stats?x=é#"]);
        assert_eq!(url.as_str(), "http://127.0.0.1:8788/api/v1/events/..%2Fstats%3Fx=%C3%A9%23");
        assert!(is_loopback(&url));
    }

    #[test]
    fn an_endpoint_may_have_a_path() {
        let api = api("https://example.com/relayflow/").unwrap();
        assert_eq!(api.url(&["stats"]).as_str(), "https://example.com/relayflow/api/v1/stats");
        for bad in ["", "127.0.0.1:8788", "ftp://x", "unix:/x"] {
            assert_eq!(self::api(bad).err().unwrap().exit().code(), 2, "{bad}");
        }
    }
}
