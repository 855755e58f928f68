//! Providers: vendors' webhook dialects, as data.

pub mod definition;
pub mod normalize;
pub mod reply;
pub mod sign;
pub mod split;
pub mod verify;
