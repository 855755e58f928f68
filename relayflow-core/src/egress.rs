//! Where calls may go: every address is vetted at the moment it is dialled.
//!
//! A name is resolved once per connection, all of its answers are vetted, and the connection goes to
//! a vetted one, so that a resolver that answers differently the second time gains nothing. Literals
//! take the same way. There are no proxies here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tokio::net::TcpStream;

use crate::config::EgressConfig;

/// How long resolving and connecting may take together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How many answers of a resolver are looked at.
const ADDRESSES_MAX: usize = 32;

/// Why a connection was not made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Refused(#[from] EgressRefused),
    #[error("the URL has no host")]
    NoHost,
    #[error("`{0}` was not found")]
    NotFound(String),
    #[error("no connection within 5s")]
    TimedOut,
    #[error("no connection")]
    Io(#[from] std::io::Error),
}

/// All addresses of a destination lie where calls may not go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressRefused {
    pub host: String,
    pub address: IpAddr,
}

impl fmt::Display for EgressRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, address } = self;
        if host.trim_matches(['[', ']']) == address.to_string() {
            write!(f, "{address} is not a public address")?;
        } else {
            write!(f, "`{host}` is {address}, which is not a public address")?;
        }
        write!(f, "; `egress.allow` can open it")
    }
}

impl std::error::Error for EgressRefused {}

/// Which addresses calls may go to.
#[derive(Debug, Clone, Default)]
pub struct Egress {
    allow: Arc<[IpNet]>,
}

impl Egress {
    #[must_use]
    pub fn new(config: &EgressConfig) -> Self {
        Self { allow: config.allow.clone().into() }
    }

    /// Whether a call may go to `address`: it is global unicast or allowed by the config. A cloud's
    /// metadata address is allowed only by itself, never as part of a wider range.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if is_metadata(address) {
            let alone = IpNet::from(address);
            return self.allow.contains(&alone);
        }
        is_global(address) || self.allow.iter().any(|net| net.contains(&address))
    }

    /// Those of `addresses` that may be dialled.
    fn vet(&self, host: &str, addresses: &[IpAddr]) -> Result<Vec<IpAddr>, ConnectError> {
        let vetted: Vec<IpAddr> =
            addresses.iter().copied().filter(|address| self.allows(*address)).collect();
        match addresses.first() {
            None => Err(ConnectError::NotFound(host.to_owned())),
            Some(address) if vetted.is_empty() => {
                Err(EgressRefused { host: host.to_owned(), address: *address }.into())
            }
            Some(_) => Ok(vetted),
        }
    }
}

/// Addresses under which clouds hand credentials to whoever asks from inside. One of them (Azure's)
/// is a public address.
const METADATA_V4: [Ipv4Addr; 7] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(169, 254, 0, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => METADATA_V4.contains(&v4),
        IpAddr::V6(v6) => {
            METADATA_V6.contains(&v6) || embedded(v6).is_some_and(|v4| METADATA_V4.contains(&v4))
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}

/// IANA's special-purpose registry for IPv4: what is not a host on the Internet.
const SPECIAL_V4: [Ipv4Net; 15] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
];

/// All of IPv6's global unicast space, and what inside it is not a host: protocol assignments with
/// Teredo among them, and documentation.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 3);
const SPECIAL_V6: [Ipv6Net; 3] = [v6(0x2001, 0, 23), v6(0x2001, 0xdb8, 32), v6(0x3fff, 0, 20)];
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 96);
const SIX_TO_FOUR: Ipv6Net = v6(0x2002, 0, 16);

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !SPECIAL_V4.iter().any(|net| net.contains(&v4)),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => is_global(IpAddr::V4(v4)),
            None => GLOBAL_V6.contains(&v6) && !SPECIAL_V6.iter().any(|net| net.contains(&v6)),
        },
    }
}

/// The IPv4 address that a packet to `address` would be carried to by NAT64 or 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [_, _, b2, b3, b4, b5, _, _, _, _, _, _, b12, b13, b14, b15] = address.octets();
    if NAT64.contains(&address) {
        Some(Ipv4Addr::new(b12, b13, b14, b15))
    } else if SIX_TO_FOUR.contains(&address) {
        Some(Ipv4Addr::new(b2, b3, b4, b5))
    } else {
        None
    }
}

/// Who knows the addresses of a name.
#[derive(Clone)]
pub enum Resolver {
    /// The operating system.
    System,
    /// A function; for tests of what a hostile resolver may answer.
    Fixed(Arc<Answer>),
}

/// The addresses of a name.
type Answer = dyn Fn(&str) -> Vec<IpAddr> + Send + Sync;

impl Resolver {
    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, ConnectError> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse() {
            return Ok(vec![address]);
        }
        match self {
            Self::System => {
                let answers = tokio::net::lookup_host((literal, 0))
                    .await
                    .map_err(|_| ConnectError::NotFound(host.to_owned()))?;
                Ok(answers.map(|answer| answer.ip()).take(ADDRESSES_MAX).collect())
            }
            Self::Fixed(answer) => Ok(answer(host)),
        }
    }
}

/// Makes the TCP connections of the HTTP client.
#[derive(Clone)]
pub struct Connector {
    egress: Egress,
    resolver: Resolver,
}

impl Connector {
    #[must_use]
    pub fn new(egress: Egress, resolver: Resolver) -> Self {
        Self { egress, resolver }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, ConnectError> {
        let host = uri.host().ok_or(ConnectError::NoHost)?;
        let port = uri.port_u16().unwrap_or(match uri.scheme_str() {
            Some("https") => 443,
            Some(_) | None => 80,
        });
        let answers = self.resolver.resolve(host).await?;
        let vetted = self.egress.vet(host, &answers)?;
        let stream = dial(&vetted, port).await?;
        stream.set_nodelay(true)?;
        Ok(TokioIo::new(stream))
    }
}

/// Connects to the first address that answers. Each gets its share of the time, so that one that
/// swallows packets does not hide the next.
async fn dial(addresses: &[IpAddr], port: u16) -> Result<TcpStream, ConnectError> {
    let share = CONNECT_TIMEOUT / u32::try_from(addresses.len()).unwrap_or(1).clamp(1, 5);
    let mut last = ConnectError::TimedOut;
    for address in addresses {
        let connecting = TcpStream::connect(SocketAddr::new(*address, port));
        match tokio::time::timeout(share, connecting).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error.into(),
            Err(_) => last = ConnectError::TimedOut,
        }
    }
    Err(last)
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), ConnectError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.clone().connect(uri);
        Box::pin(async move {
            tokio::time::timeout(CONNECT_TIMEOUT, connecting)
                .await
                .unwrap_or(Err(ConnectError::TimedOut))
        })
    }
}

#[cfg(test)]
mod tests;
