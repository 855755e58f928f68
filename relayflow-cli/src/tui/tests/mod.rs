//! The TUI without a terminal: messages in, effects and frames out.

mod load;
mod random;
mod states;
mod support;
mod update;
mod views;
