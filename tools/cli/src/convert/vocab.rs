//! Vocabularies of recurrent models, as JSON: a list of texts, a map from text
//! to id, or the word "bytes".
#![forbid(unsafe_code)]

use super::source::{SpecialIds, Vocab, token_type};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Tokens in the order of their ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    pub texts: Vec<Vec<u8>>,
    pub types: Vec<i32>,
}

/// Reads a vocabulary from a file.
pub fn read(path: &Path) -> Result<Tokens> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let json =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    tokens(&json).with_context(|| format!("cannot use {}", path.display()))
}

/// The tokens that the JSON lists.
pub fn tokens(json: &Value) -> Result<Tokens> {
    match json {
        Value::String(word) if word == "bytes" => {
            let texts = (0..=255).map(|b| vec![b]).collect();
            Ok(Tokens { texts, types: vec![token_type::BYTE; 256] })
        }
        Value::Array(list) => {
            let texts = list.iter().map(|t| t.as_str().map(|t| t.as_bytes().to_vec()));
            let texts: Option<Vec<_>> = texts.collect();
            let texts = texts.context("the vocabulary holds something else than texts")?;
            let types = vec![token_type::NORMAL; texts.len()];
            Ok(Tokens { texts, types })
        }
        Value::Object(map) => {
            let pairs = map.iter().map(|(text, id)| Some((text.as_str(), id.as_u64()?)));
            let pairs: Option<Vec<_>> = pairs.collect();
            from_map(&pairs.context("the vocabulary maps a text to something else than an id")?)
        }
        _ => bail!("a vocabulary is a list of texts, a map from text to id, or \"bytes\""),
    }
}

/// Ids that no text has become unused tokens.
fn from_map(pairs: &[(&str, u64)]) -> Result<Tokens> {
    let n = pairs.iter().map(|&(_, id)| id + 1).max().unwrap_or(0);
    ensure!(n <= 1 << 20, "the vocabulary has the id {}, which makes no sense", n - 1);
    let mut texts: Vec<Option<Vec<u8>>> = vec![None; n as usize];
    for &(text, id) in pairs {
        let slot = &mut texts[id as usize];
        ensure!(slot.is_none(), "the vocabulary gives the id {id} twice");
        *slot = Some(text.as_bytes().to_vec());
    }
    let kind = |t: &Option<Vec<u8>>| {
        if t.is_some() { token_type::NORMAL } else { token_type::UNUSED }
    };
    let types = texts.iter().map(kind).collect();
    let named = texts.into_iter().enumerate();
    let texts = named.map(|(id, t)| t.unwrap_or_else(|| format!("[PAD{id}]").into_bytes()));
    Ok(Tokens { texts: texts.collect(), types })
}

impl Tokens {
    pub fn id(&self, text: &str) -> Option<u32> {
        let at = self.texts.iter().position(|t| t == text.as_bytes());
        at.and_then(|id| u32::try_from(id).ok())
    }

    /// Marks a token that is no text.
    pub fn set_control(&mut self, text: &str) -> Result<()> {
        let id = self.id(text);
        let id = id.with_context(|| format!("{text:?} is not in the vocabulary"))?;
        self.types[id as usize] = token_type::CONTROL;
        Ok(())
    }

    /// The tokens that have a role, by their texts.
    pub fn special(
        &self,
        bos: Option<&str>,
        eos: Option<&str>,
        unknown: Option<&str>,
    ) -> Result<SpecialIds> {
        let id = |text: Option<&str>, role: &str| -> Result<Option<u32>> {
            let Some(text) = text else { return Ok(None) };
            let id = self.id(text);
            Ok(Some(
                id.with_context(|| format!("{role} is {text:?}, which is not in the vocabulary"))?,
            ))
        };
        Ok(SpecialIds {
            bos: id(bos, "bos")?,
            eos: id(eos, "eos")?,
            unknown: id(unknown, "unknown")?,
            add_bos: None,
        })
    }

    pub fn into_vocab(self) -> Vocab {
        Vocab::Pieces { tokens: self.texts, types: self.types, word_bytes: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_form_is_read() {
        assert_eq!(tokens(&json!("bytes")).unwrap().texts[65], b"A");
        assert_eq!(tokens(&json!(["a", "é"])).unwrap().texts[1], "é".as_bytes());
        let map = tokens(&json!({"b": 2, "a": 0})).unwrap();
        assert_eq!(map.texts, [&b"a"[..], b"[PAD1]", b"b"]);
        assert_eq!(map.types, [token_type::NORMAL, token_type::UNUSED, token_type::NORMAL]);
        let special = map.special(Some("a"), None, Some("b")).unwrap();
        assert_eq!((special.bos, special.eos, special.unknown), (Some(0), None, Some(2)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            json!("words"),
            json!(3),
            json!([1]),
            json!({"a": "b"}),
            json!({"a": 1, "b": 1}),
            json!({"a": 1u64 << 40}),
        ] {
            assert!(tokens(&bad).is_err(), "{bad}");
        }
        let mut list = tokens(&json!(["a"])).unwrap();
        assert!(list.special(None, Some("b"), None).is_err());
        assert!(list.set_control("b").is_err());
        list.set_control("a").unwrap();
        assert_eq!(list.types, [token_type::CONTROL]);
    }
}
