//! The few moves of slices that the standard library does with a panic in reach.
#![forbid(unsafe_code)]

/// Copies as much as both hold. In wasm a call is smaller than the loop's checks.
#[cfg_attr(target_arch = "wasm32", inline(never))]
pub(crate) fn copy<T: Copy>(dst: &mut [T], src: &[T]) {
    for (dst, src) in dst.iter_mut().zip(src) {
        *dst = *src;
    }
}

#[cfg(feature = "text")]
/// Moves all but the first `n` elements to the front; what is behind them stays.
pub(crate) fn shift_left<T: Copy>(x: &mut [T], n: usize) {
    let cells = core::cell::Cell::from_mut(x).as_slice_of_cells();
    for (to, from) in cells.iter().zip(cells.get(n..).unwrap_or_default()) {
        to.set(from.get());
    }
}

#[cfg(feature = "text")]
/// Moves all to the back by `n`, from the last on; what falls off the end is lost.
pub(crate) fn shift_right<T: Copy>(x: &mut [T], n: usize) {
    let cells = core::cell::Cell::from_mut(x).as_slice_of_cells();
    for (to, from) in cells.iter().skip(n).zip(cells).rev() {
        to.set(from.get());
    }
}

#[cfg(feature = "text")]
/// Exchanges two elements; places outside are left alone.
pub(crate) fn swap<T: Copy>(x: &mut [T], a: usize, b: usize) {
    let cells = core::cell::Cell::from_mut(x).as_slice_of_cells();
    if let (Some(a), Some(b)) = (cells.get(a), cells.get(b)) {
        a.swap(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "text")]
    #[test]
    fn shifts_keep_the_order() {
        let mut x = [1, 2, 3, 4, 5];
        shift_left(&mut x, 2);
        assert_eq!(x[..3], [3, 4, 5]);
        let mut x = [1, 2, 3, 4, 5];
        shift_right(&mut x, 2);
        assert_eq!(x[2..], [1, 2, 3]);
        shift_left(&mut x, 9);
        shift_right(&mut x, 9);
        swap(&mut x, 2, 9);
        swap(&mut x, 2, 3);
        assert_eq!(x[2..], [2, 1, 3]);
    }

    #[test]
    fn copies_stop_at_the_shorter() {
        let mut x = [0; 3];
        copy(&mut x, &[1, 2]);
        copy(&mut x[2..], &[7, 8]);
        assert_eq!(x, [1, 2, 7]);
    }
}
