//! The nearest neighbours of each text.

use std::cmp::Ordering;

use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use crate::vectors::{narrow, normalise};

/// Neighbours of each text with the cosine to it, sorted by index.
pub(crate) type Neighbours = Vec<Vec<(usize, f32)>>;

/// Rows whose cosines are computed at a time. The result does not depend on it, nor on the threads that share them.
const BLOCK_ROWS: usize = 64;

/// The `count` rows of `among` with the largest cosine to each row of `rows`, nearest first. With `same`, both are the
/// same matrix, and a row is not its own neighbour.
pub(crate) fn nearest(
    rows: &ArrayView2<'_, f32>,
    among: &ArrayView2<'_, f32>,
    count: usize,
    same: bool,
) -> Neighbours {
    let blocks: Vec<usize> = (0..rows.nrows()).step_by(BLOCK_ROWS).collect();
    let found: Vec<Neighbours> = blocks
        .par_iter()
        .map(|&start| {
            let end = (start + BLOCK_ROWS).min(rows.nrows());
            let cosines = rows.slice(s![start..end, ..]).dot(&among.t());
            cosines
                .axis_iter(Axis(0))
                .enumerate()
                .map(|(offset, row)| {
                    let own = same.then_some(start + offset);
                    let mut all: Vec<(usize, f32)> =
                        row.iter().copied().enumerate().filter(|&(index, _)| Some(index) != own).collect();
                    let count = count.min(all.len());
                    if count < all.len() {
                        all.select_nth_unstable_by(count, by_nearness);
                        all.truncate(count);
                    }
                    all.sort_unstable_by(by_nearness);
                    all
                })
                .collect()
        })
        .collect();
    found.into_iter().flatten().collect()
}

fn by_nearness(a: &(usize, f32), b: &(usize, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// The graph in which two texts are joined where either is among the `count` nearest of the other. `nearest` has at least
/// as many, nearest first.
pub(crate) fn symmetric(nearest: &Neighbours, count: usize) -> Neighbours {
    let mut edges: Neighbours = vec![Vec::new(); nearest.len()];
    for (from, neighbours) in nearest.iter().enumerate() {
        for &(to, cosine) in neighbours.iter().take(count) {
            let weight = cosine.max(0.0);
            edges[from].push((to, weight));
            edges[to].push((from, weight));
        }
    }
    for neighbours in &mut edges {
        neighbours.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        neighbours.dedup_by_key(|&mut (to, _)| to);
    }
    edges
}

/// Moves each row half of the way toward the mean of its neighbours, by their weights, and back to length 1.
pub(crate) fn smooth(rows: &Array2<f32>, toward: &ArrayView2<'_, f32>, edges: &Neighbours) -> Array2<f32> {
    let width = rows.ncols();
    let moved: Vec<Vec<f32>> = (0..rows.nrows())
        .into_par_iter()
        .map(|index| {
            let mut mean = vec![0.0_f64; width];
            let mut total = 0.0;
            for &(to, weight) in &edges[index] {
                let weight = f64::from(weight);
                total += weight;
                for (sum, &value) in mean.iter_mut().zip(toward.row(to)) {
                    *sum += weight * f64::from(value);
                }
            }
            let share = if total > 0.0 { 1.0 / total } else { 0.0 };
            let mut row: Vec<f64> =
                rows.row(index).iter().zip(&mean).map(|(&own, &sum)| f64::from(own) + share * sum).collect();
            normalise(&mut row);
            row.into_iter().map(narrow).collect()
        })
        .collect();
    let mut smoothed = Array2::zeros(rows.raw_dim());
    for (mut row, values) in smoothed.outer_iter_mut().zip(moved) {
        row.iter_mut().zip(values).for_each(|(to, value)| *to = value);
    }
    smoothed
}
