//! The pure modules of sentor, as they stand in `../src`, with nothing but the libraries that they need.
//!
//! So a target for text logic builds in a minute and not with a whole server, and Miri can run the modules' own tests
//! (`make miri`). It is also the proof that they are pure: they build without tokio, files or sockets.

#[path = "../../src/text.rs"]
pub mod text;

#[path = "../../src/sentiment.rs"]
pub mod sentiment;

#[path = "../../src/language/mod.rs"]
pub mod language;

#[path = "../../src/segment/mod.rs"]
pub mod segment;

#[path = "../../src/mention/mod.rs"]
pub mod mention;

#[path = "../../src/window.rs"]
pub mod window;

#[path = "../../src/aggregate.rs"]
pub mod aggregate;

#[path = "../../src/keys/key.rs"]
pub mod key;

/// Takes what a target is given apart: the first line is one thing, the rest another.
pub fn split_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}
