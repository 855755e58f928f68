//! Providers: vendors' webhook dialects, as data.
//!
//! A request goes [`verify::verify`] → [`split::split`] → [`normalize::normalize`], each taking what
//! only the one before can give. Nothing here waits, reads a clock or touches a disk
//! ([`catalog::Catalog::with_dir`] apart), and no provider's name stands in the code.

pub mod again;
pub mod cases;
pub mod catalog;
pub mod contracts;
pub mod definition;
pub mod describe;
pub mod forensics;
pub mod keep;
pub mod normalize;
pub mod reply;
pub mod sign;
pub mod source;
pub mod split;
pub mod tamper;
pub mod unsigned;
pub mod verify;

mod bearer;
mod body;
mod certificate;
mod claim;
mod der;
pub(crate) mod endpoint;
mod explain;
mod extract;
mod fetched;
mod http_signature;
mod jwt;
mod key;
mod keypair;
mod kind_rules;
pub(crate) mod listing;
mod message;
mod more;
mod multipart;
mod pretend;
mod private;
mod proof;
mod prove;
mod public;
mod refusal;
mod rules;
mod seal;
mod settings;
mod shake;
mod template;
mod value;
mod visit;
mod way;
mod written;
mod xml;

pub use catalog::{Catalog, Provider, Sample};
pub use contracts::{Contract, Contracts, FieldRead};
pub use endpoint::Endpoint;
pub use fetched::{FetchedKey, FetchedKeys, KeyId, KeyWanted, UnusableKey};
pub use keep::{keep_headers, keep_renamed, keep_target};
pub(crate) use listing::base_url as check_base_url;
pub use normalize::{NormalizeError, normalize};
pub use pretend::{as_sent, sample_time};
pub use reply::{Reply, challenge, handshake, learned, reply, takes_method};
pub use source::{Source, SourceError, fingerprint};
pub use split::{RawEvent, SplitError, split};
pub use unsigned::{Reader, claimed_ids};
pub(crate) use verify::once_verified_as;
pub use verify::{
    Verified, VerifyError, once_verified, verify, verify_kept, verify_kept_with, verify_with,
    vouched,
};
pub use visit::visit;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod kinds;
#[cfg(test)]
mod lessons;
#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod refused;
#[cfg(test)]
mod shapes;
