//! Sentiment toward named entities, in English and Dutch text.
//!
//! A document goes through these steps; [`analysis`] is the one place that spells them out:
//!
//! ```text
//! document ─▶ language ─▶ sentences ─▶ mentions ─▶ tokens ─▶ windows ─▶ rows ─▶ engine ─▶ aggregate
//!            language::   segment::    mention::   encode::  window::   encode:: engine::  aggregate::
//! ```
//!
//! The modules below stand in the order in which they are best read, and each imports only from those
//! above it (`tests/architecture.rs` holds that direction):
//!
//! - the words of the domain: [`text`], [`sentiment`], [`language`];
//! - text logic, pure functions from strings to spans: [`segment`], [`mention`], [`pronoun`], [`names`], [`window`],
//!   [`aggregate`];
//! - models: [`registry`] (what is on disk), [`encode`] (text to tensors), [`engine`] (tensors to logits);
//! - the use case: [`analysis`], and [`bulk`] (where the work of large requests is done);
//! - services: [`clock`], [`keys`], [`metering`] (plans, limits, usage), [`store`] (where both are kept), [`audit`],
//!   [`config`], [`telemetry`];
//! - delivery: [`http`], [`cli`].

pub mod text;

pub mod sentiment;

pub mod language;

pub mod segment;

pub mod mention;

pub mod pronoun;

pub mod names;

pub mod window;

pub mod aggregate;

pub mod registry;

pub mod encode;

pub mod engine;

pub mod bulk;

pub mod analysis;

pub mod clock;

pub mod keys;

pub mod metering;

pub mod store;

pub mod audit;

pub mod config;

pub mod telemetry;

pub mod http;

pub mod cli;
