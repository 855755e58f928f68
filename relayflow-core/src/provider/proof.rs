//! The part of a provider file, as written, that certificates, tokens and message signatures need.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, MapAccess, Visitor};
use toml::Spanned;

use super::written::Texts;

/// How a signature of `rsa`, `jwt` or `http-signature` is made. The request never chooses beyond what
/// its definition lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    #[serde(alias = "hs256")]
    HmacSha256,
    /// PKCS #1 v1.5. No new vendor should use it.
    RsaSha1,
    /// PKCS #1 v1.5.
    #[serde(alias = "rs256", alias = "rsa-v1_5-sha256")]
    RsaSha256,
    RsaPssSha512,
    /// The two numbers one behind the other.
    #[serde(alias = "es256", alias = "ecdsa-p256-sha256")]
    EcdsaP256,
    #[serde(alias = "es384", alias = "ecdsa-p384-sha384")]
    EcdsaP384,
    Ed25519,
}

impl Algorithm {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::RsaSha1 => "rsa-sha1",
            Self::RsaSha256 => "rsa-sha256",
            Self::RsaPssSha512 => "rsa-pss-sha512",
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Ed25519 => "ed25519",
        }
    }
}

/// The algorithm, or which of several a word in the request stands for.
#[derive(Debug, Clone)]
pub enum AlgorithmChoice {
    Fixed(Algorithm),
    Named(AlgorithmNames),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlgorithmNames {
    pub header: Option<String>,
    pub pointer: Option<String>,
    pub words: BTreeMap<String, Algorithm>,
}

/// Where the vendor shows the key that it signs with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysAt {
    /// One address; else the header or the member of the body that has it.
    pub url: Option<String>,
    pub header: Option<String>,
    pub pointer: Option<String>,
    /// The hosts that it may be on, with their port if it is not 443; `*` is a part of one label.
    pub hosts: Texts,
    /// What the path must be; `*` is anything but `/`.
    pub path: Option<String>,
    /// The host that the certificate must be of.
    pub name: Option<String>,
    #[serde(default)]
    pub chain: Chain,
}

/// What shows that a fetched certificate is the vendor's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chain {
    /// Its chain ends at a root that this system trusts, or at the authority that the source pins.
    #[default]
    Root,
    /// The same; but a file that has nothing above the certificate is taken as what the vendor's
    /// host, over TLS, says that it is.
    Host,
}

/// What a token must claim.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The claim with the body's SHA-256, in hexadecimal digits.
    pub body: Option<String>,
    /// The claim with the digest of method, path and query that Connect apps know as `qsh`.
    pub query: Option<String>,
    /// Claims that must have this value; an empty one is not asked for.
    #[serde(default)]
    pub equal: BTreeMap<String, String>,
}

/// An address in a signed request that is asked for once.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Visit {
    pub pointer: Spanned<String>,
    /// As of `keys`.
    pub hosts: Texts,
}

impl<'de> Deserialize<'de> for AlgorithmChoice {
    fn deserialize<D: Deserializer<'de>>(toml: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = AlgorithmChoice;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an algorithm, or a table with `words` and where the word is")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Algorithm::deserialize(StrDeserializer::new(text)).map(AlgorithmChoice::Fixed)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                AlgorithmNames::deserialize(MapAccessDeserializer::new(map))
                    .map(AlgorithmChoice::Named)
            }
        }
        toml.deserialize_any(Reader)
    }
}
