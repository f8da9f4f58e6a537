//! numpy's `.npz`: a zip of `.npy` files, each an ASCII header and raw numbers.
//! The format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>
#![forbid(unsafe_code)]

use super::arrays::{Array, Arrays};
use super::numbers;
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use zip::ZipArchive;

/// What one array may take unpacked: far beyond any model of this kind.
const MAX_ARRAY: u64 = 4 << 30;

/// Reads all arrays of numbers.
pub fn read(path: &Path) -> Result<Arrays> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut zip = ZipArchive::new(BufReader::new(file))
        .with_context(|| format!("{} is no npz file", path.display()))?;
    let mut arrays = Arrays::default();
    for i in 0..zip.len() {
        let entry = zip.by_index(i).with_context(|| format!("{} is damaged", path.display()))?;
        let full = entry.name()?.into_owned();
        let Some(name) = full.strip_suffix(".npy") else { continue };
        let mut bytes = Vec::new();
        entry.take(MAX_ARRAY).read_to_end(&mut bytes)?;
        let array =
            array(&bytes).with_context(|| format!("{}: the array {name}", path.display()))?;
        arrays.insert(name.into(), array)?;
    }
    Ok(arrays)
}

/// One `.npy`.
fn array(bytes: &[u8]) -> Result<Array> {
    ensure!(bytes.starts_with(b"\x93NUMPY"), "is no array of numpy");
    let version = *bytes.get(6).context("ends too early")?;
    let (start, len) = match version {
        1 => (10, u16::from_le_bytes(fixed(bytes, 8)?).into()),
        2 | 3 => (12, u32::from_le_bytes(fixed(bytes, 8)?) as usize),
        _ => bail!("has the format version {version}, and 1 to 3 are known"),
    };
    let head = bytes.get(start..start + len).context("ends too early")?;
    let head = std::str::from_utf8(head).context("has a damaged header")?;
    let data = &bytes[start + len..];
    ensure!(
        field(head, "fortran_order")?.starts_with("False"),
        "is in Fortran order; save numpy.ascontiguousarray of it"
    );
    let shape = field(head, "shape")?;
    let shape = shape.strip_prefix('(').and_then(|s| s.split_once(')')).context("has no shape")?.0;
    let shape: Vec<usize> = shape
        .split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(str::parse)
        .collect::<Result<_, _>>()
        .context("has a damaged shape")?;
    let kind = field(head, "descr")?.trim_start_matches(['\'', '"']);
    let data = match kind.get(..3) {
        Some("<f4") => numbers::f32s(data),
        Some("<f8") => numbers::f64s(data),
        Some("<f2") => numbers::f16s(data),
        _ => bail!("holds {}, and only little-endian floats are known", kind.trim_end()),
    };
    Array::new(shape, data)
}

/// What stands behind a key of the header, which is a Python dictionary.
fn field<'a>(head: &'a str, key: &str) -> Result<&'a str> {
    let at = head.split_once(&format!("'{key}':")).map(|(_, rest)| rest.trim_start());
    at.with_context(|| format!("has a header without {key}"))
}

fn fixed<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    let part = bytes.get(at..at + N).context("ends too early")?;
    Ok(part.try_into().expect("the range has this length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(head: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((head.len() as u16).to_le_bytes());
        bytes.extend(head.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn reads_what_numpy_writes() {
        let head = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }          \n";
        let data = [1.5f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat();
        let got = array(&npy(head, &data)).unwrap();
        assert_eq!(got, Array { shape: vec![2, 1], data: vec![1.5, -2.0] });
        let head = "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }\n";
        assert_eq!(array(&npy(head, &0.25f64.to_le_bytes())).unwrap().data, [0.25]);
        let head = "{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n";
        assert_eq!(array(&npy(head, &data[..4])).unwrap().shape, [0usize; 0]);
    }

    #[test]
    fn refuses_the_rest() {
        let f32s = [0; 4];
        for (head, data) in [
            ("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", &f32s[..]),
            ("{'descr': '<i4', 'fortran_order': False, 'shape': (1,), }", &f32s),
            ("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", &f32s),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", &f32s),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (x,), }", &f32s),
            ("{'descr': '<f4', 'fortran_order': False, }", &f32s),
        ] {
            assert!(array(&npy(head, data)).is_err(), "{head}");
        }
        let whole = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", &f32s);
        for len in 0..whole.len() {
            assert!(array(&whole[..len]).is_err(), "{len} bytes");
        }
    }
}
