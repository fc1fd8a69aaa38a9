//! The number of clusters, where the caller does not say it.

use rayon::prelude::*;

use crate::graph::Neighbours;
use crate::hierarchy::Tree;

/// A number of clusters, and how well the texts fall into so many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alternative {
    /// The number of clusters.
    pub clusters: usize,
    /// The share of the graph's weight that joins texts of one cluster, plus `ENTROPY_WEIGHT` times the entropy of the
    /// clusters' sizes in nats. The first falls and the second grows with more clusters.
    pub score: f64,
}

/// Worth of a nat of entropy. Modularity (Newman and Girvan 2004), which takes the sum of squared sizes in place of the
/// entropy, joins small clusters where there are many.
const ENTROPY_WEIGHT: f64 = 0.1;

/// Most clusters, as a multiple of the root of the number of texts.
const MOST_PER_ROOT: f64 = 2.2;

/// All numbers of clusters that come into question for `texts` distinct texts, with their scores; fewest first.
pub(crate) fn alternatives(tree: &Tree, edges: &Neighbours, texts: usize) -> Vec<Alternative> {
    let most = most_clusters(texts);
    let numbers: Vec<usize> = (2.min(texts)..=most).collect();
    let judge = |&clusters: &usize| Alternative { clusters, score: score(&tree.cut(clusters), edges) };
    numbers.par_iter().map(judge).collect()
}

/// The alternative with the best score; among equals the one with the fewest clusters.
pub(crate) fn best(alternatives: &[Alternative]) -> Option<Alternative> {
    alternatives
        .iter()
        .copied()
        .reduce(|best, next| if next.score > best.score + 1e-12 { next } else { best })
}

/// At most half as many clusters as texts, and at least two where there are two texts.
fn most_clusters(texts: usize) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    let by_root = (MOST_PER_ROOT * (texts as f64).sqrt()) as usize;
    by_root.min(texts / 2).max(2).min(texts)
}

fn score(labels: &[usize], edges: &Neighbours) -> f64 {
    let clusters = labels.iter().max().map_or(0, |most| most + 1);
    let mut inside = vec![0.0; clusters];
    let mut ends = vec![0.0; clusters];
    for (from, neighbours) in edges.iter().enumerate() {
        for &(to, weight) in neighbours {
            let weight = f64::from(weight);
            ends[labels[from]] += weight;
            if labels[from] == labels[to] {
                inside[labels[from]] += weight;
            }
        }
    }
    let total: f64 = ends.iter().sum();
    if total <= 0.0 {
        return 0.0;
    }
    let share = inside.iter().sum::<f64>() / total;
    let sizes = ends.iter().map(|ends| ends / total).filter(|&size| size > 0.0);
    share - ENTROPY_WEIGHT * sizes.map(|size| size * size.ln()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cliques_are_two_clusters() {
        let clique = |members: &[usize]| -> Vec<(usize, Vec<(usize, f32)>)> {
            let others =
                |own: usize| members.iter().filter(move |&&other| other != own).map(|&other| (other, 1.0));
            members.iter().map(|&own| (own, others(own).collect())).collect()
        };
        let mut edges: Neighbours = vec![Vec::new(); 6];
        for (own, neighbours) in [clique(&[0, 1, 2]), clique(&[3, 4, 5])].concat() {
            edges[own] = neighbours;
        }
        let together = score(&[0, 0, 0, 1, 1, 1], &edges);
        assert!((together - 1.0 - ENTROPY_WEIGHT * 2_f64.ln()).abs() < 1e-9, "{together}");
        assert!((score(&[0; 6], &edges) - 1.0).abs() < 1e-9);
        assert!(score(&[0, 1, 2, 0, 1, 2], &edges) < 0.5);
    }

    #[test]
    fn the_range_fits_the_number_of_texts() {
        assert_eq!([1, 2, 3, 5, 9, 100, 3080].map(most_clusters), [1, 2, 2, 2, 4, 22, 122]);
    }
}
