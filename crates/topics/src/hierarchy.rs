//! A tree of merges, by Ward's criterion (Ward 1963): each step merges the two clusters that grow least in scatter.

use kodama::{Method, linkage};
use ndarray::{Array2, s};
use rayon::prelude::*;

/// The merges of `leaves` vectors, smallest growth first.
#[derive(Debug)]
pub(crate) struct Tree {
    leaves: usize,
    /// The two clusters of each step. A leaf has its index, and step `i` makes the cluster `leaves + i`.
    merges: Vec<(usize, usize)>,
}

impl Tree {
    /// Merges the rows of a matrix. Takes memory for a distance between any two: 50 MB for 5,000 rows.
    pub(crate) fn of(rows: &Array2<f32>) -> Self {
        let leaves = rows.nrows();
        if leaves < 2 {
            return Self { leaves, merges: Vec::new() };
        }
        let distances: Vec<Vec<f32>> = (0..leaves - 1)
            .into_par_iter()
            .map(|index| {
                let cosines = rows.slice(s![index + 1.., ..]).dot(&rows.row(index));
                // Of unit vectors.
                cosines.iter().map(|cosine| (2.0 - 2.0 * cosine).max(0.0).sqrt()).collect()
            })
            .collect();
        let mut condensed: Vec<f32> = distances.concat();
        let dendrogram = linkage(&mut condensed, leaves, Method::Ward);
        let merges = dendrogram.steps().iter().map(|step| (step.cluster1, step.cluster2)).collect();
        Self { leaves, merges }
    }

    /// The clusters of each leaf when the tree is cut into `count`, numbered by their first leaf.
    pub(crate) fn cut(&self, count: usize) -> Vec<usize> {
        let kept = self.merges.len().saturating_sub(count.max(1) - 1);
        let mut parents: Vec<usize> = (0..self.leaves + kept).collect();
        for (step, &(a, b)) in self.merges[..kept].iter().enumerate() {
            parents[a] = self.leaves + step;
            parents[b] = self.leaves + step;
        }
        // A parent stands behind its children, so one pass from behind finds each one's root.
        for node in (0..parents.len()).rev() {
            parents[node] = parents[parents[node]];
        }
        let mut numbers = vec![usize::MAX; parents.len()];
        let mut next = 0;
        let labels = (0..self.leaves).map(|leaf| {
            let number = &mut numbers[parents[leaf]];
            if *number == usize::MAX {
                *number = next;
                next += 1;
            }
            *number
        });
        labels.collect()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_tree_is_cut_into_any_number_of_clusters() {
        let rows = array![[1.0_f32, 0.0], [0.0, 1.0], [0.995, 0.0999], [0.0999, 0.995], [-1.0, 0.0]];
        let tree = Tree::of(&rows);
        assert_eq!(tree.cut(1), [0, 0, 0, 0, 0]);
        assert_eq!(tree.cut(3), [0, 1, 0, 1, 2]);
        assert_eq!(tree.cut(5), [0, 1, 2, 3, 4]);
        assert_eq!(tree.cut(9), [0, 1, 2, 3, 4]);
        assert_eq!(Tree::of(&rows.slice(s![..1, ..]).to_owned()).cut(2), [0]);
    }
}
