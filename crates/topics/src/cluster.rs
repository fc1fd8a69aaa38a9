//! Documents in, clusters out.

use ndarray::{Array2, s};

use crate::assign::{cosines, improve, nearest_centres};
use crate::confidence::{outliers, probabilities};
use crate::graph::{nearest, smooth, symmetric};
use crate::hierarchy::Tree;
use crate::map::places;
pub use crate::number::Alternative;
use crate::number::{alternatives, best};
use crate::vectors::Distinct;

/// A text with its vector.
#[derive(Clone, Copy, Debug)]
pub struct Document<'d> {
    /// The text. Equal texts have equal vectors.
    pub text: &'d str,
    /// A vector of length 1. All documents have vectors of one length.
    pub vector: &'d [f32],
}

/// What a caller may choose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Number of clusters; `None` finds it.
    pub clusters: Option<usize>,
    /// Which texts belong to no cluster.
    pub outliers: Outliers,
}

/// Which texts belong to no cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outliers {
    /// None.
    None,
    /// Those far outside the spread of their cluster that no other cluster is sure of either.
    #[default]
    Few,
    /// All that are outside the usual spread of their cluster.
    Strict,
}

/// The clusters of a request, largest first, and the texts that belong to none.
#[derive(Clone, Debug, PartialEq)]
pub struct Clustering {
    /// The clusters.
    pub clusters: Vec<Cluster>,
    /// Documents that belong to no cluster, each with how near it is to the nearest one.
    pub outliers: Vec<Member>,
    /// Numbers of clusters that were compared, fewest first; empty where the caller gave the number.
    pub alternatives: Vec<Alternative>,
}

/// Documents of one subject, the most typical first.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Its documents.
    pub members: Vec<Member>,
}

/// A document's place in a cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Member {
    /// Index of the document in the request.
    pub document: usize,
    /// How sure it is that the document belongs to this cluster rather than another, 0 to 1.
    pub probability: f64,
    /// Place on a plane on which clusters lie apart, each coordinate from -1 to 1.
    pub place: [f64; 2],
}

/// Distinct texts that are compared each with each. The others join the cluster that is nearest to them.
const COMPARED: usize = 5000;
/// Neighbours toward which a text moves, and how often.
const SMOOTHED_OVER: usize = 5;
const SMOOTHING_ROUNDS: usize = 2;
/// So many texts for each of those neighbours: among few texts the nearest ones are of other subjects.
const TEXTS_PER_NEIGHBOUR: usize = 12;
/// Neighbours in the graph that the number of clusters is judged on.
const JUDGED_OVER: usize = 15;

/// Groups documents by their vectors.
pub fn cluster(documents: &[Document<'_>], options: &Options) -> Clustering {
    let distinct = Distinct::of(documents);
    if distinct.len() == 0 {
        return Clustering { clusters: Vec::new(), outliers: Vec::new(), alternatives: Vec::new() };
    }
    let compared = distinct.len().min(COMPARED);
    let sample = distinct.rows.slice(s![..compared, ..]);
    let neighbours = nearest(&sample, &sample, JUDGED_OVER.min(compared.saturating_sub(1)), true);
    let smoothed_over = SMOOTHED_OVER.min(compared / TEXTS_PER_NEIGHBOUR);
    let edges = symmetric(&neighbours, smoothed_over);
    let mut rows = sample.to_owned();
    for _ in 0..SMOOTHING_ROUNDS {
        rows = smooth(&rows, &rows.view(), &edges);
    }
    let tree = Tree::of(&rows);
    let compared_numbers = match options.clusters {
        Some(_) => Vec::new(),
        None => alternatives(&tree, &judged(&rows, compared), compared),
    };
    let count = options.clusters.or_else(|| best(&compared_numbers).map(|best| best.clusters)).unwrap_or(1);
    let weights: Vec<f64> = distinct.documents[..compared].iter().map(|texts| texts.len() as f64).collect();
    let assignment = improve(&rows, &weights, tree.cut(count.clamp(1, compared)));
    let rest = distinct.rows.slice(s![compared.., ..]);
    let (rows, labels) = if rest.is_empty() {
        (rows, assignment.labels)
    } else {
        let near = nearest(&rest, &sample, smoothed_over, false);
        let rest = smooth(&rest.to_owned(), &rows.view(), &near);
        let labels = [assignment.labels, nearest_centres(&rest, &assignment.centres)].concat();
        (stacked(&rows, &rest), labels)
    };
    let cosines = cosines(&rows, &assignment.centres);
    let probabilities = probabilities(&cosines, &labels, &rows);
    let is_outlier = outliers(&cosines, &labels, &probabilities, options.outliers);
    let places = places(&rows, &assignment.centres);

    // The most typical first; among equals, and among equal texts, the first in the request.
    let mut members: Vec<Vec<(f64, usize, Member)>> = vec![Vec::new(); assignment.centres.nrows()];
    let mut outside = Vec::new();
    for text in 0..distinct.len() {
        let label = labels[text];
        for &document in &distinct.documents[text] {
            let member = Member { document, probability: probabilities[text], place: places[text] };
            if is_outlier[text] {
                outside.push(member);
            } else {
                members[label].push((cosines[text][label], text, member));
            }
        }
    }
    // The first text of a cluster breaks ties between clusters of one size.
    let mut clusters: Vec<(usize, Cluster)> = Vec::new();
    for mut own in members.into_iter().filter(|own| !own.is_empty()) {
        let first = own.iter().map(|&(_, text, _)| text).min().unwrap_or_default();
        own.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.document.cmp(&b.2.document)));
        clusters.push((first, Cluster { members: own.into_iter().map(|(_, _, member)| member).collect() }));
    }
    clusters.sort_by(|a, b| b.1.members.len().cmp(&a.1.members.len()).then(a.0.cmp(&b.0)));
    let clusters = clusters.into_iter().map(|(_, cluster)| cluster).collect();
    outside.sort_by_key(|member| member.document);
    Clustering { clusters, outliers: outside, alternatives: compared_numbers }
}

/// The graph that a number of clusters is judged on.
fn judged(rows: &Array2<f32>, texts: usize) -> crate::graph::Neighbours {
    // Among few texts, a third of them: a graph that joins all says nothing.
    let count = JUDGED_OVER.min((texts / 3).max(1));
    symmetric(&nearest(&rows.view(), &rows.view(), count, true), count)
}

fn stacked(a: &Array2<f32>, b: &Array2<f32>) -> Array2<f32> {
    let mut all = Array2::zeros((a.nrows() + b.nrows(), a.ncols()));
    all.slice_mut(s![..a.nrows(), ..]).assign(a);
    all.slice_mut(s![a.nrows().., ..]).assign(b);
    all
}
