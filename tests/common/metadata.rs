//! GGUFs of metadata alone, built in memory.
#![forbid(unsafe_code)]
#![allow(dead_code)] // each test takes its part

/// Metadata in the order it is added.
#[derive(Clone, Default)]
pub struct Metadata {
    prefix: &'static str,
    count: u64,
    bytes: Vec<u8>,
}

/// A string as a file holds it.
pub fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

/// An array likewise; `tag` is the type of its `n` elements.
pub fn array(tag: u32, n: usize, elements: &[u8]) -> Vec<u8> {
    [&tag.to_le_bytes()[..], &(n as u64).to_le_bytes(), elements].concat()
}

impl Metadata {
    /// Of keys that all begin so.
    pub fn of(prefix: &'static str) -> Self {
        Self { prefix, ..Self::default() }
    }

    /// A value of the type `tag`, as a file holds it.
    pub fn value(mut self, key: &str, tag: u32, value: &[u8]) -> Self {
        self.count += 1;
        self.bytes.extend(string(format!("{}{key}", self.prefix)));
        self.bytes.extend(tag.to_le_bytes());
        self.bytes.extend(value);
        self
    }

    pub fn u32(self, key: &str, value: u32) -> Self {
        self.value(key, 4, &value.to_le_bytes())
    }

    pub fn flag(self, key: &str, value: bool) -> Self {
        self.value(key, 7, &[value.into()])
    }

    pub fn text(self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.value(key, 8, &string(value))
    }

    pub fn texts<T: AsRef<[u8]>>(self, key: &str, values: &[T]) -> Self {
        let elements: Vec<u8> = values.iter().flat_map(string).collect();
        self.value(key, 9, &array(8, values.len(), &elements))
    }

    pub fn i32s(self, key: &str, values: &[i32]) -> Self {
        let elements: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.value(key, 9, &array(5, values.len(), &elements))
    }

    pub fn file(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3u32.to_le_bytes());
        file.extend(0u64.to_le_bytes());
        file.extend(self.count.to_le_bytes());
        file.extend(&self.bytes);
        file
    }
}
