//! Everything that RelayFlow knows: no HTTP server, no terminal.
//!
//! Data goes one way: a [`request::Request`] is verified, split and normalized by its provider's
//! definition ([`provider`]), routed to tasks ([`route`]), and committed in one transaction
//! ([`store`]). Tasks are executed ([`execute`]), and what follows from an outcome is decided by
//! [`task::Task::after`] alone. The modules stand in reading order; each uses those of its own block
//! and of the blocks above.

// Values: data, and what can be said about it alone.
pub mod backoff;
pub mod clock;
pub mod id;
pub mod members;
pub mod patch;
pub mod secret;
pub mod text;

pub mod diagnostic;
pub mod kind;
pub mod request;
pub mod task;

pub mod event;
pub mod expr;
pub mod filter;
pub mod timeline;

// The edge that daemon and CLI share: bodies and codes, values too.
pub mod api;

// Decisions: nothing here waits, reads a clock or touches a disk (but to read configuration).
pub mod config;
pub mod contract;
pub mod provider;
pub mod route;
pub mod workflow;

// The store: the only place that knows SQL.
pub mod store;

// Motion: decisions, store and network meet here.
pub mod bundle;
pub mod drift;
pub mod egress;
pub mod execute;
pub mod in_force;
pub mod ingest;
pub mod keys;
pub mod reconcile;
pub mod replay;
pub mod verification;
pub mod view;
