//! Contracts: the schema that a provider's event type is expected to keep, and drift: how a payload
//! differs from it. Pure: nothing here knows a store, a clock or a network.
//!
//! - [`schema`]: a contract, read from and written as JSON Schema (2020-12).
//! - [`observe`]: what payloads had in common, from which a contract is learned.
//! - [`mod@compare`]: one payload held against a contract.
//! - [`shape`]: whether a payload's shape was seen before, in one pass over its bytes.
//! - [`profile`]: what is expected of one source's events of one type.

pub mod compare;
pub mod observe;
pub mod print;
pub mod profile;
pub mod schema;
pub mod shape;
mod text;

pub use compare::{Change, Difference, Grade, compare};
pub use observe::Observed;
pub use print::print;
pub use profile::Profile;
pub use schema::{Format, Schema, SchemaError, Types};

/// Objects and arrays deeper than this are not looked into: a contract is about what people read.
pub const DEPTH_MAX: usize = 24;
/// What a contract may name in all: fields, elements and maps.
pub const NODES_MAX: usize = 4_000;

#[cfg(test)]
mod tests;
