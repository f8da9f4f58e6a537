//! From spelling to sound: g2p_en, a GRU encoder and a GRU decoder, each a
//! model file of its own. The encoder's state behind the word is what the
//! decoder begins with; it then says one phoneme after the other.
//!
//! ```text
//! cargo run --release --example g2p -- elephant browser
//! cargo run --release --example g2p -- --models DIR < words.txt
//! ```
//! Without words on the command line they are read from standard input, one on
//! a line. Stress is the number behind a vowel.
#![forbid(unsafe_code)]

use pagelm::session::Predict;
use pagelm::{Model, Session, SessionParams, probe};
use std::error::Error;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// No English word has more.
const MOST_PHONEMES: usize = 20;

/// Memory for the engine, which asks for multiples of eight bytes.
pub struct Block(Vec<u64>);

impl Block {
    fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(8)])
    }

    fn bytes(&mut self, len: usize) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.0)[..len]
    }
}

/// A model file in memory, and the memory for its model.
pub struct File {
    bytes: Block,
    len: usize,
    mem: Block,
    mem_len: usize,
}

impl File {
    fn read(path: &Path) -> Result<Self> {
        let data = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut bytes = Block::new(data.len());
        bytes.bytes(data.len()).copy_from_slice(&data);
        let mem_len = probe(&data)?.model_mem_size;
        Ok(Self { bytes, len: data.len(), mem: Block::new(mem_len), mem_len })
    }

    fn load(&mut self) -> Result<Model<'_>> {
        Ok(Model::load(self.bytes.bytes(self.len), self.mem.bytes(self.mem_len))?)
    }
}

/// A model and the memory of a session with it.
struct Part<'a> {
    model: Model<'a>,
    mem: Block,
    mem_len: usize,
}

impl<'a> Part<'a> {
    fn load(file: &'a mut File) -> Result<Self> {
        let model = file.load()?;
        let mem_len = Session::mem_size(&model, &SessionParams::default())?;
        Ok(Self { model, mem: Block::new(mem_len), mem_len })
    }

    fn session(&mut self) -> Result<(&Model<'a>, Session<'_>)> {
        let mem = self.mem.bytes(self.mem_len);
        Ok((&self.model, Session::new(&self.model, mem, &SessionParams::default())?))
    }
}

/// Says words: gives each and its phonemes to `tell`.
pub fn say(
    dir: &Path,
    words: impl Iterator<Item = Result<String>>,
    mut tell: impl FnMut(&str, &str) -> Result<()>,
) -> Result<()> {
    let mut files =
        [File::read(&dir.join("g2p-encoder.gguf"))?, File::read(&dir.join("g2p-decoder.gguf"))?];
    let [first, second] = &mut files;
    let (mut first, mut second) = (Part::load(first)?, Part::load(second)?);
    let (mut ear, mut mouth) = (first.session()?, second.session()?);
    for word in words {
        let word = word?.trim().to_lowercase();
        if !word.is_empty() {
            tell(&word, &pronounce(&mut ear, &mut mouth, &word)?)?;
        }
    }
    Ok(())
}

/// A word's letters as the encoder's ids, its end behind them.
fn spell(model: &Model<'_>, word: &str) -> Result<Vec<u32>> {
    let mut work = vec![0; pagelm::tokenizer::Tokenizer::work_size(word.len())];
    let mut ids = Vec::new();
    let mut push = |id| {
        ids.push(id);
        Ok(())
    };
    model.tokenizer().encode(word.as_bytes(), false, &mut work, &mut push)?;
    ids.extend(model.tokenizer().eos());
    Ok(ids)
}

/// The place of the largest number.
fn likeliest(numbers: &[f32]) -> u32 {
    let best = numbers.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(id, _)| id as u32)
}

/// The phonemes of a word.
fn pronounce(
    (encoder, ear): &mut (&Model<'_>, Session<'_>),
    (decoder, mouth): &mut (&Model<'_>, Session<'_>),
    word: &str,
) -> Result<String> {
    let ids = spell(encoder, word)?;
    // The encoder's outputs are its state: 256 numbers.
    let mut state = vec![0.0; ear.predict_len(1, false)?];
    ear.predict_ids(&ids, Predict::default(), &mut state)?;
    mouth.write_state(&state)?;
    let words = decoder.tokenizer();
    let (mut last, end) = (words.bos().ok_or("the decoder names no first token")?, words.eos());
    let mut scores = vec![0.0; mouth.predict_len(1, false)?];
    let mut said = Vec::new();
    for _ in 0..MOST_PHONEMES {
        mouth.predict_ids(&[last], Predict { stateful: true, every_step: false }, &mut scores)?;
        last = likeliest(&scores);
        if Some(last) == end {
            break;
        }
        if !said.is_empty() {
            said.push(b' ');
        }
        words.decode(last, &mut |bytes| said.extend_from_slice(bytes))?;
    }
    Ok(String::from_utf8(said)?)
}

fn main() -> Result<()> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/g2p"));
    if args.first().is_some_and(|a| a == "--models") {
        dir = args.get(1).ok_or("--models needs a folder")?.into();
        args.drain(..2);
    }
    let tell = |word: &str, sound: &str| Ok(writeln!(io::stdout(), "{word}\t{sound}")?);
    if args.is_empty() {
        say(&dir, io::stdin().lock().lines().map(|line| Ok(line?)), tell)
    } else {
        say(&dir, args.into_iter().map(Ok), tell)
    }
}
