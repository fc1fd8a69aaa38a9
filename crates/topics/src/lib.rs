//! Groups texts by subject, and finds words for each group.
//!
//! 1. `vectors` puts equal texts together and sorts them, so that their order in the request does not matter.
//! 2. `graph` finds the nearest texts of each, and moves each vector toward them.
//! 3. `hierarchy` merges the vectors into a tree, and `number` picks the height at which to cut it.
//! 4. `assign` moves texts to the nearest cluster until none moves, and `confidence` says how sure that is and which texts
//!    belong to none.
//! 5. `terms` and `label` find the words that tell a cluster from the others, and its name.
//!
//! Nothing here has state, time or chance: the same texts and vectors give the same clusters on every run, in any order,
//! with any number of threads. Each sum runs in the order of the sorted texts, and threads share out whole rows.

mod vectors;

mod graph;

mod hierarchy;
mod number;

mod assign;
mod confidence;
mod map;

mod label;
mod terms;

mod cluster;

pub use cluster::{Alternative, Cluster, Clustering, Document, Member, Options, Outliers, cluster};
pub use label::{NameCandidate, Namer, choose_name};
pub use terms::{TermOptions, top_words};
