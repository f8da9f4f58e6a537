//! Embeddings: what a text's hidden states come to.
#![forbid(unsafe_code)]

/// How the hidden states of a text are made one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    #[default]
    Mean,
    /// The last one.
    Last,
}

/// Numbers to keep for vectors of `width`: how many there were, their mean, the
/// last, their sum.
pub(super) fn len(width: usize) -> usize {
    width.saturating_mul(3).saturating_add(1)
}

/// Adds vectors, one after the other, so that it is all one how they come in batches.
pub(super) fn add(pool: &mut [f32], width: usize, rows: &[f32]) {
    let Some((count, rest)) = pool.split_first_mut() else { return };
    let mut vectors = rest.chunks_exact_mut(width.max(1));
    let (Some(mean), Some(last), Some(sum)) = (vectors.next(), vectors.next(), vectors.next())
    else {
        return;
    };
    for row in rows.chunks_exact(width.max(1)) {
        *count += 1.0;
        for (((mean, last), sum), new) in mean.iter_mut().zip(&mut *last).zip(&mut *sum).zip(row) {
            *last = *new;
            *sum += *new;
            *mean = *sum / *count;
        }
    }
}
