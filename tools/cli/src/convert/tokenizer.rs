//! Hugging Face's tokenizer files of GPT-2: `tokenizer.json`, or `vocab.json`
//! and `merges.txt` (in GPT-2's first release `encoder.json` and `vocab.bpe`).
//!
//! Token texts stay in GPT-2's printable form of bytes, as in llama.cpp's
//! files. Tokens added later are literal text: control tokens if special.
#![forbid(unsafe_code)]

use super::source::{SpecialIds, Vocab, token_type};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

/// The names under which GPT-2's two files occur.
const FILE_PAIRS: [(&str, &str); 2] = [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")];

/// What the files say, before it is put in order.
#[derive(Default)]
struct Found {
    vocab: BTreeMap<String, u64>,
    merges: Vec<Vec<u8>>,
    /// (text, id, special)
    added: Vec<(String, u64, bool)>,
}

/// Reads the tokenizer, if there is one. Ids that no file gives a text become
/// unused tokens, as llama.cpp's converter makes them.
pub fn read(
    dir: &Path,
    config: &Value,
    n_vocab: usize,
    notes: &mut Vec<String>,
) -> Result<(Vocab, SpecialIds)> {
    let settings = optional_json(&dir.join("tokenizer_config.json"))?;
    let map = optional_json(&dir.join("special_tokens_map.json"))?;
    let Some(mut found) = find(dir)? else {
        notes.push("there are no tokenizer files, so the model takes token ids only (generate --prompt-ids, logits --ids)".into());
        return Ok((Vocab::None, ids_only(config, n_vocab)));
    };
    found.add_from(&settings, &optional_json(&dir.join("added_tokens.json"))?)?;
    found.add_named(&[&settings, &map]);
    let ids = found.special_ids(&[&settings, &map], config, n_vocab)?;
    let n_texts = found.vocab.len()
        + found.added.iter().filter(|(text, ..)| !found.vocab.contains_key(text)).count();
    let vocab = found.vocab(n_vocab)?;
    if n_texts < n_vocab {
        notes.push(format!(
            "{} of the {n_vocab} ids have no text and became unused tokens",
            n_vocab - n_texts
        ));
    }
    Ok((vocab, ids))
}

/// The special ids of a model without a tokenizer.
pub fn ids_only(config: &Value, n_vocab: usize) -> SpecialIds {
    SpecialIds {
        bos: id_in(config, "bos_token_id", n_vocab),
        eos: id_in(config, "eos_token_id", n_vocab),
        unknown: None,
        add_bos: None,
    }
}

/// An id that the model's configuration names, unless it lies outside the vocabulary:
/// Hugging Face writes GPT-2's 50256 into models of every size.
fn id_in(config: &Value, key: &str, n_vocab: usize) -> Option<u32> {
    let value = config.get(key)?;
    // Several ends of text are a list; GGUF has room for one.
    let value = value.as_array().and_then(|list| list.first()).unwrap_or(value);
    value.as_u64().filter(|&id| id < n_vocab as u64).and_then(|id| u32::try_from(id).ok())
}

fn find(dir: &Path) -> Result<Option<Found>> {
    let path = dir.join("tokenizer.json");
    if path.is_file() {
        let json = optional_json(&path)?;
        return from_tokenizer_json(&json)
            .with_context(|| format!("{} (convert --no-tokenizer leaves it out)", path.display()))
            .map(Some);
    }
    for (vocab, merges) in FILE_PAIRS {
        let (vocab, merges) = (dir.join(vocab), dir.join(merges));
        match (vocab.is_file(), merges.is_file()) {
            (true, true) => return from_pair(&vocab, &merges).map(Some),
            (false, false) => {}
            (true, false) => bail!("{} lacks its companion {}", vocab.display(), merges.display()),
            (false, true) => bail!("{} lacks its companion {}", merges.display(), vocab.display()),
        }
    }
    Ok(None)
}

fn from_pair(vocab: &Path, merges: &Path) -> Result<Found> {
    let json = optional_json(vocab)?;
    let text =
        fs::read_to_string(merges).with_context(|| format!("cannot read {}", merges.display()))?;
    let lines = text.lines().filter(|l| !l.is_empty() && !l.starts_with("#version"));
    Ok(Found {
        vocab: vocab_map(&json)
            .with_context(|| format!("{} is not a map of texts to ids", vocab.display()))?,
        merges: lines.map(|l| l.as_bytes().to_vec()).collect(),
        added: Vec::new(),
    })
}

/// Takes what GPT-2's byte-level BPE uses and refuses what it cannot express.
fn from_tokenizer_json(json: &Value) -> Result<Found> {
    let model = json.get("model").context("the tokenizer has no model")?;
    let kind = model.get("type").and_then(Value::as_str).unwrap_or("BPE");
    ensure!(kind == "BPE", "the tokenizer's model.type is {kind}, and GPT-2's BPE is needed");
    refuse_if(is_set(json.get("normalizer")), "normalizer is set")?;
    check_pre_tokenizer(json.get("pre_tokenizer"))?;
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
        refuse_if(
            model.get(key).and_then(Value::as_str).is_some_and(|s| !s.is_empty()),
            &format!("model.{key} is set"),
        )?;
    }
    for key in ["byte_fallback", "ignore_merges"] {
        refuse_if(
            model.get(key).and_then(Value::as_bool) == Some(true),
            &format!("model.{key} is true"),
        )?;
    }
    let vocab = model
        .get("vocab")
        .and_then(vocab_map)
        .context("the tokenizer's model.vocab is not a map of texts to ids")?;
    let list = model
        .get("merges")
        .and_then(Value::as_array)
        .context("the tokenizer's model.merges is missing")?;
    let merges = list
        .iter()
        .map(merge_text)
        .collect::<Option<_>>()
        .context("the tokenizer's model.merges holds something else than pairs")?;
    let mut found = Found { vocab, merges, added: Vec::new() };
    for token in json.get("added_tokens").and_then(Value::as_array).into_iter().flatten() {
        let text = token.get("content").and_then(Value::as_str);
        let id = token.get("id").and_then(Value::as_u64);
        let (Some(text), Some(id)) = (text, id) else {
            bail!("the tokenizer's added_tokens holds a token without content or id")
        };
        found.add(text, id, token.get("special").and_then(Value::as_bool) == Some(true));
    }
    Ok(found)
}

fn is_set(value: Option<&Value>) -> bool {
    value.is_some_and(|v| !v.is_null())
}

fn refuse_if(condition: bool, what: &str) -> Result<()> {
    ensure!(
        !condition,
        "the tokenizer's {what}, which GPT-2's tokenizer in a GGUF file cannot express"
    );
    Ok(())
}

fn check_pre_tokenizer(value: Option<&Value>) -> Result<()> {
    let kind = value.and_then(|v| v.get("type")).and_then(Value::as_str).unwrap_or("none");
    ensure!(
        kind == "ByteLevel",
        "the tokenizer's pre_tokenizer is {kind}, and GPT-2's ByteLevel is needed"
    );
    let flag = |key: &str| value.and_then(|v| v.get(key)).and_then(Value::as_bool);
    refuse_if(flag("use_regex") == Some(false), "pre_tokenizer.use_regex is false")?;
    refuse_if(flag("add_prefix_space") == Some(true), "pre_tokenizer.add_prefix_space is true")
}

fn vocab_map(json: &Value) -> Option<BTreeMap<String, u64>> {
    json.as_object()?.iter().map(|(text, id)| Some((text.clone(), id.as_u64()?))).collect()
}

/// A merge in either of the forms `"a b"` and `["a", "b"]`.
fn merge_text(merge: &Value) -> Option<Vec<u8>> {
    if let Some(text) = merge.as_str() {
        return Some(text.as_bytes().to_vec());
    }
    match merge.as_array().map(Vec::as_slice) {
        Some([a, b]) => Some(format!("{} {}", a.as_str()?, b.as_str()?).into_bytes()),
        _ => None,
    }
}

impl Found {
    fn add(&mut self, text: &str, id: u64, special: bool) {
        match self.added.iter_mut().find(|(t, ..)| t == text) {
            Some((.., known)) => *known |= special,
            None => self.added.push((text.to_owned(), id, special)),
        }
    }

    /// The two older places of added tokens.
    fn add_from(&mut self, settings: &Value, added: &Value) -> Result<()> {
        for (text, id) in added.as_object().into_iter().flatten() {
            let id = id
                .as_u64()
                .with_context(|| format!("added_tokens.json: the id of {text} is not a number"))?;
            self.add(text, id, false);
        }
        let decoder = settings.get("added_tokens_decoder").and_then(Value::as_object);
        for (id, token) in decoder.into_iter().flatten() {
            let text = token.get("content").and_then(Value::as_str);
            let (Some(text), Ok(id)) = (text, id.parse()) else {
                bail!(
                    "tokenizer_config.json: added_tokens_decoder holds a token without content or id"
                )
            };
            self.add(text, id, token.get("special").and_then(Value::as_bool) == Some(true));
        }
        Ok(())
    }

    /// A token that has a role is special, wherever its text is listed.
    fn add_named(&mut self, files: &[&Value]) {
        for role in ["bos_token", "eos_token", "unk_token", "pad_token"] {
            if let Some((text, id)) = self.role(files, role) {
                self.add(&text, id, true);
            }
        }
    }

    /// The token that the files give a role. GPT-2's own files name none, and
    /// mean `<|endoftext|>`.
    fn role(&self, files: &[&Value], role: &str) -> Option<(String, u64)> {
        let value = files.iter().find_map(|f| f.get(role));
        let text = match value {
            Some(Value::Object(token)) => token.get("content").and_then(Value::as_str),
            Some(value) => value.as_str(),
            None if role == "pad_token" => None,
            None => Some("<|endoftext|>"),
        }?;
        let id = self.vocab.get(text).copied();
        let id =
            id.or_else(|| self.added.iter().find(|(t, ..)| t == text).map(|(_, id, _)| *id))?;
        Some((text.to_owned(), id))
    }

    fn special_ids(&self, files: &[&Value], config: &Value, n_vocab: usize) -> Result<SpecialIds> {
        let id = |role: &str, key: &str| -> Option<u32> {
            let stated = files.iter().any(|f| f.get(role).is_some_and(|v| !v.is_null()));
            let named = self.role(files, role).and_then(|(_, id)| u32::try_from(id).ok());
            // The configuration before the mere habit of GPT-2, after what is stated.
            if stated { named } else { id_in(config, key, n_vocab).or(named) }
        };
        let add_bos = files.iter().find_map(|f| f.get("add_bos_token")).and_then(Value::as_bool);
        Ok(SpecialIds {
            bos: id("bos_token", "bos_token_id"),
            eos: id("eos_token", "eos_token_id"),
            unknown: None,
            add_bos,
        })
    }

    /// Puts everything in the order of ids.
    fn vocab(self, n_vocab: usize) -> Result<Vocab> {
        let mut tokens: Vec<Option<(Vec<u8>, i32)>> = vec![None; n_vocab];
        let mut place = |text: &str, id: u64, kind: i32| -> Result<()> {
            let slot = usize::try_from(id).ok().and_then(|id| tokens.get_mut(id));
            let slot = slot.with_context(|| format!("the tokenizer gives {text:?} the id {id}, and config.json's vocab_size is {n_vocab}"))?;
            if let Some((other, _)) = slot.as_ref().filter(|(other, _)| other != text.as_bytes()) {
                bail!(
                    "the tokenizer gives the id {id} to {text:?} and to {:?}",
                    String::from_utf8_lossy(other)
                );
            }
            *slot = Some((text.as_bytes().to_vec(), kind));
            Ok(())
        };
        for (text, id) in &self.vocab {
            place(text, *id, token_type::NORMAL)?;
        }
        for (text, id, special) in &self.added {
            place(
                text,
                *id,
                if *special { token_type::CONTROL } else { token_type::USER_DEFINED },
            )?;
        }
        self.check_merges()?;
        let named = tokens.into_iter().enumerate();
        let named = named.map(|(id, t)| {
            t.unwrap_or_else(|| (format!("[PAD{id}]").into_bytes(), token_type::UNUSED))
        });
        let (tokens, types) = named.unzip();
        Ok(Vocab::Bpe { tokens, types, merges: self.merges })
    }

    /// Every merge is of two tokens and makes a third.
    fn check_merges(&self) -> Result<()> {
        let known: HashSet<&[u8]> = self.vocab.keys().map(String::as_bytes).collect();
        for merge in &self.merges {
            let text = String::from_utf8_lossy(merge);
            let parts: Vec<&[u8]> = merge.split(|&b| b == b' ').collect();
            let [a, b] = parts[..] else { bail!("the tokenizer's merge {text:?} is not a pair") };
            let whole = [a, b].concat();
            ensure!(
                [a, b, &whole].iter().all(|t| known.contains(t)),
                "the tokenizer's merge {text:?} uses or makes a text that is not in its vocabulary"
            );
        }
        Ok(())
    }
}

/// A JSON file's content; null if there is no such file.
pub fn optional_json(path: &Path) -> Result<Value> {
    if !path.is_file() {
        return Ok(Value::Null);
    }
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}
