//! End to end: the real binaries, met from outside over sockets, processes and files.
//!
//! `tests/run` builds the binaries first. Nothing here sleeps for luck: what has to happen is waited for,
//! with a bound ([`harness::until`]).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![expect(clippy::print_stderr, reason = "seeds, and what was left out, are said loudly")]

mod harness;
mod receiver;
mod vendor;
mod wire;

mod answers;
mod api;
mod badinput;
mod bigstore;
mod bundle;
mod cli;
mod corpus;
mod crash;
mod delivery;
mod demo;
mod direct;
mod doctor;
mod drift;
mod exit_codes;
mod explain;
mod hostile;
mod incident;
mod lifecycle;
mod manners;
mod operating;
mod providers;
mod quarantine;
mod recipes;
mod reconcile;
mod replay;
mod replay_control;
mod replay_edit;
mod replay_effect;
mod replay_filters;
mod replay_mend;
mod replay_modes;
mod replay_report;
mod replay_trust;
mod retries;
mod send;
mod tui;
mod vendor_keys;

mod docs;
mod docs_catalogue;
mod docs_guide;
mod tidy;
