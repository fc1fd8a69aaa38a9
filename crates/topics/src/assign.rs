//! Spherical k-means (Dhillon and Modha 2001): each text to the centre with the largest cosine, each centre to the mean
//! direction of its texts, until no text moves.

use ndarray::Array2;
use rayon::prelude::*;

use crate::vectors::{dot, narrow, normalise};

/// A text rarely moves after twenty rounds.
const MOST_ROUNDS: usize = 100;

/// Clusters as centres and the texts that belong to each.
#[derive(Debug)]
pub(crate) struct Assignment {
    /// Unit vectors, a row for each cluster.
    pub(crate) centres: Array2<f32>,
    /// The cluster of each text.
    pub(crate) labels: Vec<usize>,
}

/// Improves an assignment of the rows to clusters 0, 1, 2 and so on. A cluster that loses its last text keeps its centre.
/// A text counts as often as its weight says.
pub(crate) fn improve(rows: &Array2<f32>, weights: &[f64], mut labels: Vec<usize>) -> Assignment {
    let clusters = labels.iter().max().map_or(0, |most| most + 1);
    let mut centres = Array2::zeros((clusters, rows.ncols()));
    for _ in 0..MOST_ROUNDS {
        move_centres(&mut centres, rows, weights, &labels);
        let next = nearest_centres(rows, &centres);
        if next == labels {
            break;
        }
        labels = next;
    }
    Assignment { centres, labels }
}

/// The nearest centre of each row; the first of several that are equally near.
pub(crate) fn nearest_centres(rows: &Array2<f32>, centres: &Array2<f32>) -> Vec<usize> {
    let nearest = |index: usize| {
        let cosines = centres.dot(&rows.row(index));
        let best = |best: (usize, f32), (index, &cosine): (usize, &f32)| {
            if cosine > best.1 { (index, cosine) } else { best }
        };
        cosines.iter().enumerate().fold((0, f32::NEG_INFINITY), best).0
    };
    (0..rows.nrows()).into_par_iter().map(nearest).collect()
}

fn move_centres(centres: &mut Array2<f32>, rows: &Array2<f32>, weights: &[f64], labels: &[usize]) {
    let mut sums = vec![vec![0.0_f64; rows.ncols()]; centres.nrows()];
    for ((row, &label), &weight) in rows.outer_iter().zip(labels).zip(weights) {
        sums[label].iter_mut().zip(row).for_each(|(sum, &value)| *sum += weight * f64::from(value));
    }
    for (mut centre, mut sum) in centres.outer_iter_mut().zip(sums) {
        normalise(&mut sum);
        if sum.iter().any(|&value| value != 0.0) {
            centre.iter_mut().zip(sum).for_each(|(to, value)| *to = narrow(value));
        }
    }
}

/// Cosine of each row to each centre, `[row][cluster]`.
pub(crate) fn cosines(rows: &Array2<f32>, centres: &Array2<f32>) -> Vec<Vec<f64>> {
    let of = |index: usize| centres.outer_iter().map(|centre| dot(rows.row(index), centre)).collect();
    (0..rows.nrows()).into_par_iter().map(of).collect()
}
