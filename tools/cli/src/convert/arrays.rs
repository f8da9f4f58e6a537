//! Named arrays of numbers, all in memory: recurrent models are small.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail, ensure};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Numbers in the order of C, and their shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

impl Array {
    /// Checks that the numbers are as many as the shape says.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Result<Self> {
        let want = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        ensure!(
            want == Some(data.len()),
            "it has {} numbers where its shape {shape:?} asks for others",
            data.len()
        );
        Ok(Self { shape, data })
    }
}

/// The arrays of a checkpoint by name, and which of them have been asked for.
#[derive(Default)]
pub struct Arrays {
    map: BTreeMap<String, Array>,
    used: RefCell<BTreeSet<String>>,
}

impl Arrays {
    /// Adds an array; names are unique.
    pub fn insert(&mut self, name: String, array: Array) -> Result<()> {
        ensure!(!self.map.contains_key(&name), "the tensor {name} occurs twice");
        self.map.insert(name, array);
        Ok(())
    }

    pub fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.map.keys().map(String::as_str)
    }

    /// An array that must be there.
    pub fn get(&self, name: &str) -> Result<&Array> {
        let array = self
            .map
            .get(name)
            .with_context(|| format!("the checkpoint lacks the tensor {name}"))?;
        self.used.borrow_mut().insert(name.into());
        Ok(array)
    }

    /// A matrix as it stands.
    pub fn matrix(&self, name: &str) -> Result<Matrix> {
        let array = self.get(name)?;
        match array.shape[..] {
            [rows, cols] => Ok(Matrix { rows, cols, data: array.data.clone() }),
            _ => bail!("the tensor {name} has the shape {:?}, and a matrix is needed", array.shape),
        }
    }

    /// A vector.
    pub fn vector(&self, name: &str) -> Result<Vec<f32>> {
        let array = self.get(name)?;
        ensure!(
            array.shape.len() == 1,
            "the tensor {name} has the shape {:?}, and a vector is needed",
            array.shape
        );
        Ok(array.data.clone())
    }

    /// Refuses a checkpoint with tensors that nobody asked for: they would be lost.
    pub fn check_all_used(&self) -> Result<()> {
        let used = self.used.borrow();
        let left: Vec<&str> = self.names().filter(|n| !used.contains(*n)).collect();
        ensure!(
            left.is_empty(),
            "the checkpoint holds tensors that have no place in the described model: {}",
            left.join(", ")
        );
        Ok(())
    }
}

/// A matrix, row after row; a product is W x, so rows are outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    pub rows: usize,
    pub cols: usize,
    pub data: Vec<f32>,
}

impl Matrix {
    /// Ones on the diagonal.
    pub fn identity(n: usize) -> Self {
        let data = (0..n * n).map(|i| if i % (n + 1) == 0 { 1.0 } else { 0.0 }).collect();
        Self { rows: n, cols: n, data }
    }

    /// Rows for columns.
    pub fn transposed(&self) -> Self {
        let data = super::source::transpose(&self.data, self.rows, self.cols);
        Self { rows: self.cols, cols: self.rows, data }
    }

    /// The rows `from..to`.
    pub fn rows(&self, from: usize, to: usize) -> Self {
        let data = self.data[from * self.cols..to * self.cols].to_vec();
        Self { rows: to - from, cols: self.cols, data }
    }

    /// The columns `from..to`.
    pub fn cols(&self, from: usize, to: usize) -> Self {
        let data = self.data.chunks_exact(self.cols).flat_map(|row| &row[from..to]).copied();
        Self { rows: self.rows, cols: to - from, data: data.collect() }
    }

    /// Blocks of rows in another order: `order[i]` is where block i comes from.
    pub fn blocks(&self, order: &[usize]) -> Self {
        Self { data: blocks(&self.data, order), ..*self }
    }

    /// A matrix that takes `[a, b]` and gives what this one gives for `scale (a + b)`,
    /// where its input is made of pieces of `piece` numbers.
    pub fn split_sum(&self, piece: usize, scale: f32) -> Self {
        let twice = |part: &[f32]| -> Vec<f32> {
            let scaled: Vec<f32> = part.iter().map(|x| x * scale).collect();
            [scaled.clone(), scaled].concat()
        };
        let data = self.data.chunks_exact(piece).flat_map(twice).collect();
        Self { rows: self.rows, cols: 2 * self.cols, data }
    }
}

/// Equal parts of a list in another order: `order[i]` is where part i comes from.
pub fn blocks(data: &[f32], order: &[usize]) -> Vec<f32> {
    let n = data.len() / order.len();
    order.iter().flat_map(|&at| &data[at * n..(at + 1) * n]).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: usize, cols: usize, data: &[f32]) -> Matrix {
        Matrix { rows, cols, data: data.to_vec() }
    }

    #[test]
    fn cuts_and_turns() {
        let m = matrix(2, 3, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(m.transposed(), matrix(3, 2, &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
        assert_eq!(m.rows(1, 2), matrix(1, 3, &[4.0, 5.0, 6.0]));
        assert_eq!(m.cols(1, 3), matrix(2, 2, &[2.0, 3.0, 5.0, 6.0]));
        assert_eq!(m.blocks(&[1, 0]), matrix(2, 3, &[4.0, 5.0, 6.0, 1.0, 2.0, 3.0]));
        assert_eq!(Matrix::identity(2), matrix(2, 2, &[1.0, 0.0, 0.0, 1.0]));
    }

    #[test]
    fn a_sum_of_inputs_becomes_a_wider_matrix() {
        // two steps of width 1: inputs a0 b0 a1 b1
        let m = matrix(1, 2, &[2.0, 6.0]).split_sum(1, 0.5);
        assert_eq!(m, matrix(1, 4, &[1.0, 1.0, 3.0, 3.0]));
        let m = matrix(1, 2, &[2.0, 6.0]).split_sum(2, 1.0);
        assert_eq!(m, matrix(1, 4, &[2.0, 6.0, 2.0, 6.0]));
    }

    #[test]
    fn what_is_not_asked_for_is_named() {
        let mut arrays = Arrays::default();
        for name in ["a", "b"] {
            arrays.insert(name.into(), Array::new(vec![1], vec![1.0]).unwrap()).unwrap();
        }
        assert!(arrays.insert("a".into(), Array::new(vec![0], vec![]).unwrap()).is_err());
        arrays.vector("a").unwrap();
        assert!(arrays.check_all_used().unwrap_err().to_string().ends_with(": b"));
        assert!(arrays.get("c").is_err());
        assert!(arrays.matrix("a").is_err());
    }
}
