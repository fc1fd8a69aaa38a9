//! How surely a text belongs to its cluster, and which texts belong to none.

use ndarray::Array2;

use crate::Outliers;

/// The probability of each text's own cluster: the posterior of a mixture of von Mises-Fisher distributions with one
/// concentration (Banerjee et al. 2005). `cosines` has a row for each text.
pub(crate) fn probabilities(cosines: &[Vec<f64>], labels: &[usize], rows: &Array2<f32>) -> Vec<f64> {
    let sizes = sizes(labels, cosines.first().map_or(0, Vec::len));
    let total = labels.len() as f64;
    let mean = cosines.iter().zip(labels).map(|(row, &label)| row[label]).sum::<f64>() / total.max(1.0);
    let concentration = concentration(mean, effective_dimensions(rows));
    let posterior = |(row, &label): (&Vec<f64>, &usize)| {
        let own = row[label];
        let odds = row.iter().zip(&sizes).map(|(cosine, &size)| {
            // At least one text: an empty cluster still attracts.
            (concentration * (cosine - own)).exp() * (size.max(1) as f64 / sizes[label].max(1) as f64)
        });
        1.0 / odds.sum::<f64>().max(1.0)
    };
    cosines.iter().zip(labels).map(posterior).collect()
}

/// The concentration of greatest likelihood, approximately, for texts whose mean cosine to their centres is `mean`.
fn concentration(mean: f64, dimensions: f64) -> f64 {
    let mean = mean.clamp(0.0, 0.999);
    mean * (dimensions - mean * mean) / (1.0 - mean * mean)
}

/// How many directions the vectors spread over. All coordinates of the model would make every probability 0 or 1, since the
/// texts of a request use few of them: the square of the sum of the covariance's eigenvalues over the sum of their squares.
fn effective_dimensions(rows: &Array2<f32>) -> f64 {
    let Some(mean) = rows.mean_axis(ndarray::Axis(0)) else { return 1.0 };
    let centred = rows - &mean;
    let covariance = centred.t().dot(&centred);
    let trace: f64 = covariance.diag().iter().map(|&value| f64::from(value)).sum();
    let squares: f64 = covariance.iter().map(|&value| f64::from(value).powi(2)).sum();
    if squares > 0.0 { (trace * trace / squares).max(2.0) } else { 2.0 }
}

/// Robust standard deviations below the median of its cluster at which a text counts as far away.
const FAR: f64 = 3.0;
/// Makes the median absolute deviation of a normal distribution its standard deviation.
const MAD_TO_DEVIATION: f64 = 1.4826;
/// A far text is no outlier where its cluster is as sure as this.
const SURE: f64 = 0.5;
/// Clusters of fewer texts have no spread to speak of.
const LEAST_TEXTS: usize = 5;

/// Whether each text belongs to no cluster: it is outside the spread of its own, and nothing else makes it certain.
pub(crate) fn outliers(
    cosines: &[Vec<f64>],
    labels: &[usize],
    probabilities: &[f64],
    choice: Outliers,
) -> Vec<bool> {
    let mut is_outlier = vec![false; labels.len()];
    if choice == Outliers::None {
        return is_outlier;
    }
    let clusters = cosines.first().map_or(0, Vec::len);
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); clusters];
    for (text, &label) in labels.iter().enumerate() {
        members[label].push(text);
    }
    for (cluster, members) in members.iter().enumerate().filter(|(_, members)| members.len() >= LEAST_TEXTS) {
        let own: Vec<f64> = members.iter().map(|&text| cosines[text][cluster]).collect();
        let centre = median(own.clone());
        let deviation = MAD_TO_DEVIATION * median(own.iter().map(|cosine| (cosine - centre).abs()).collect());
        let border = match choice {
            Outliers::Strict => centre - deviation,
            Outliers::Few | Outliers::None => centre - FAR * deviation,
        };
        for (&text, &cosine) in members.iter().zip(&own) {
            let is_unsure = choice == Outliers::Strict || probabilities[text] < SURE;
            is_outlier[text] = cosine < border - 1e-9 && is_unsure;
        }
    }
    is_outlier
}

fn median(mut values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

fn sizes(labels: &[usize], clusters: usize) -> Vec<usize> {
    let mut sizes = vec![0; clusters];
    for &label in labels {
        sizes[label] += 1;
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_between_two_clusters_is_unsure() {
        let cosines = vec![vec![0.9, 0.1], vec![0.9, 0.1], vec![0.1, 0.9], vec![0.1, 0.9], vec![0.51, 0.5]];
        let labels = [0, 0, 1, 1, 0];
        let rows = Array2::from_shape_fn((5, 8), |(row, column)| if row == column { 1.0 } else { 0.0 });
        let probabilities = probabilities(&cosines, &labels, &rows);
        assert!(probabilities[0] > 0.9 && probabilities[4] < 0.7, "{probabilities:?}");
        assert!(probabilities.iter().all(|&probability| (0.0..=1.0).contains(&probability)));
    }

    #[test]
    fn a_far_and_unsure_text_is_an_outlier() {
        let mut cosines = vec![vec![0.9, 0.0]; 8];
        cosines
            .iter_mut()
            .zip([0.01, 0.02, 0.0, 0.01, 0.03, 0.0, 0.02])
            .for_each(|(row, less)| row[0] -= less);
        cosines[7] = vec![0.2, 0.19];
        let mut sure = vec![0.99; 8];
        sure[7] = 0.4;
        let found = |choice| outliers(&cosines, &[0; 8], &sure, choice);
        assert_eq!(found(Outliers::Few).iter().filter(|&&is_outlier| is_outlier).count(), 1);
        assert!(found(Outliers::Few)[7]);
        assert!(!found(Outliers::None)[7]);
    }
}
