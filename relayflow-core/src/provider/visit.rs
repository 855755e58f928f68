//! Addresses that a vendor wants to be asked for, to learn that somebody listens.

use super::fetched::is_allowed;
use super::reply::signed_shake;
use super::source::Source;
use super::verify::Verified;

/// The address that must be visited before this verified request is answered, if it is a handshake of
/// that kind and the address is on a host of the vendor's own.
#[must_use]
pub fn visit(source: &Source, verified: &Verified<'_>) -> Option<String> {
    let (shake, text) = signed_shake(source, verified)?;
    let visit = shake.visit.as_ref()?;
    let found = visit.reads.read(text).ok()?;
    let url = found.scalar(visit.slot).text()?;
    is_allowed(&url, &visit.hosts, None).then(|| url.into_owned())
}
