//! Places of texts on a plane, for a picture of the clusters.

use ndarray::{Array1, Array2, Axis};

use crate::vectors::{dot, narrow, normalise};

const ROUNDS: usize = 60;

/// A place for each row, in -1 to 1: its coordinates on the two axes along which the cluster centres differ most.
pub(crate) fn places(texts: &Array2<f32>, centres: &Array2<f32>) -> Vec<[f64; 2]> {
    let Some(mean) = centres.mean_axis(Axis(0)) else { return vec![[0.0; 2]; texts.nrows()] };
    let spread = centres - &mean;
    let first = axis(&spread, None);
    let second = axis(&spread, Some(&first));
    let place = |row: ndarray::ArrayView1<'_, f32>| {
        let moved = &row - &mean;
        [dot(&moved, &first), dot(&moved, &second)]
    };
    let mut places: Vec<[f64; 2]> = texts.outer_iter().map(place).collect();
    for coordinate in 0..2 {
        let most = places.iter().map(|place| place[coordinate].abs()).fold(0.0, f64::max);
        if most > 0.0 {
            for place in &mut places {
                place[coordinate] /= most;
            }
        }
    }
    places
}

/// The direction of most variance at a right angle to `other`, by power iteration from a fixed start.
fn axis(rows: &Array2<f32>, other: Option<&Array1<f32>>) -> Array1<f32> {
    let width = rows.ncols();
    let mut direction = vec![1.0_f64; width];
    // No axis of a model's vectors is likely to be at a right angle to this.
    direction.iter_mut().enumerate().for_each(|(index, value)| *value = 1.0 + (index % 7) as f64 / 7.0);
    for _ in 0..ROUNDS {
        let mut next = vec![0.0_f64; width];
        for row in rows.outer_iter() {
            let along: f64 = row.iter().zip(&direction).map(|(&a, b)| f64::from(a) * b).sum();
            next.iter_mut().zip(row).for_each(|(sum, &value)| *sum += along * f64::from(value));
        }
        if let Some(other) = other {
            let along: f64 = other.iter().zip(&next).map(|(&a, b)| f64::from(a) * b).sum();
            next.iter_mut().zip(other).for_each(|(value, &a)| *value -= along * f64::from(a));
        }
        if next.iter().all(|value| value.abs() < 1e-12) {
            break;
        }
        normalise(&mut next);
        direction = next;
    }
    normalise(&mut direction);
    direction.into_iter().map(narrow).collect()
}
