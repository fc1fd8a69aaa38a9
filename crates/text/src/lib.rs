//! Text logic of sentor: pure functions from strings to spans, and from probabilities to probabilities.
//!
//! ```text
//! text ─▶ language ─▶ segment (sentences) ─▶ mention ─▶ window ─▶ … model … ─▶ aggregate
//! ```
//!
//! Nothing here reads a file, opens a socket or starts a thread.

pub mod span;

pub mod sentiment;

pub mod language;

mod languages;

pub mod segment;

pub mod mention;

pub mod pronoun;

pub mod discover;

pub mod masking;

pub mod window;

pub mod aggregate;

mod blank;

pub use blank::is_blank;
