//! From a GGUF's metadata to a [`Tokenizer`]: counts, checks, fills the tables.
#![forbid(unsafe_code)]

use super::bpe::{self, Merges};
use super::encoder::{Kind, Tokenizer};
use super::pieces::{self, ByteSet, MAX_PIECE};
use super::pretokenize::Pre;
use super::spelling;
use super::vocab::{ByText, NONE, Vocab, kind, set};
use crate::arena::Reserve;
use crate::error::{Error, Flaw, Result, Word};
use crate::gguf::{Array, Gguf, Value};

const MODEL: Word = &"tokenizer.ggml.model";
const PRE: Word = &"tokenizer.ggml.pre";
const TOKENS: Word = &"tokenizer.ggml.tokens";
const TYPES: Word = &"tokenizer.ggml.token_type";
const MERGES: Word = &"tokenizer.ggml.merges";
const BOS: Word = &"tokenizer.ggml.bos_token_id";
const EOS: Word = &"tokenizer.ggml.eos_token_id";
const UNKNOWN: Word = &"tokenizer.ggml.unknown_token_id";
const ADD_BOS: Word = &"tokenizer.ggml.add_bos_token";
const WORD_BYTES: Word = &"tokenizer.pagelm.word_bytes";

/// The longest token, in bytes as spelled: 512 spaces.
const MAX_TOKEN: usize = 1024;

/// Some files call it a normal token; llama.cpp takes it for control in any case.
const END_OF_TEXT: &[u8] = b"<|endoftext|>";

impl<'a> Tokenizer<'a> {
    /// Lays out the tokenizer of a file: counts, or carves and fills.
    ///
    /// Read are, all under `tokenizer.ggml.`: `model` (without it, or with
    /// llama.cpp's `none` or `no_vocab`, there is no tokenizer), `tokens`, `token_type`, `bos_token_id`, `eos_token_id`,
    /// `unknown_token_id`, `add_bos_token`; for `gpt2` also `merges` and `pre`.
    /// `pagelm.pieces` has raw bytes for tokens, and may have a string
    /// `tokenizer.pagelm.word_bytes`: a piece that ends in one of its bytes is
    /// not taken if one of its bytes follows (a full stop counts only if
    /// another of them follows that), unless the piece is of type 6 (byte). Of
    /// pieces with the same text one of type 1 goes before one of
    /// type 6, then the lowest id.
    ///
    /// # Errors
    /// For a vocabulary that is not usable, which one of its keys and where:
    /// [`Error::BadValue`], [`Error::MissingKey`], [`Error::Corrupt`],
    /// [`Error::Unsupported`]. From [`Reserve::take`], if memory is too small.
    pub fn lay(r: &mut Reserve<'a>, g: &Gguf<'a>) -> Result<Self> {
        let Some(source) = Source::open(g)? else { return Ok(Self::none()) };
        let sizes = source.measure()?;
        let mut tables = Tables::take(r, &source, &sizes)?;
        let mut made = Self {
            kind: source.kind,
            pre: source.pre,
            n_vocab: source.tokens.len(),
            max_token_bytes: sizes.longest,
            bos: source.id(g, BOS)?,
            eos: source.id(g, EOS)?,
            unknown: source.id(g, UNKNOWN)?,
            add_bos: match g.get(ADD_BOS) {
                Some(value) => value.as_bool().ok_or(Error::BadValue { key: ADD_BOS })?,
                None => false,
            },
            word_bytes: word_bytes(g)?,
            special_starts: sizes.special_starts,
            ..Self::none()
        };
        if !r.carved()? {
            return Ok(made);
        }
        source.fill_vocab(&mut tables)?;
        made.vocab = Vocab { file: source.file, offsets: tables.offsets, kinds: tables.kinds };
        source.fill_lists(tables.pieces, tables.specials)?;
        if source.kind.is_bpe() {
            source.fill_merges(made.vocab, tables.slots, tables.rules, tables.byte_ids)?;
        }
        let kept = pieces::sort(tables.pieces, &made.vocab);
        made.pieces = tables.pieces.get(..kept).unwrap_or_default();
        let kept = pieces::sort(tables.specials, &made.vocab);
        made.specials = tables.specials.get(..kept).unwrap_or_default();
        made.merges = Merges { slots: tables.slots, rules: tables.rules };
        made.byte_ids = tables.byte_ids;
        Ok(made)
    }

    /// Of a model that takes ids only.
    #[must_use]
    pub fn none() -> Self {
        Self {
            kind: Kind::None,
            pre: Pre::Gpt2,
            n_vocab: 0,
            max_token_bytes: 0,
            bos: NONE,
            eos: NONE,
            unknown: NONE,
            add_bos: false,
            vocab: Vocab::default(),
            byte_ids: &[],
            merges: Merges::default(),
            pieces: &[],
            word_bytes: [0; 8],
            specials: &[],
            special_starts: [0; 8],
        }
    }
}

/// The bytes of which words are made, if the file restricts pieces to whole words.
fn word_bytes(g: &Gguf<'_>) -> Result<ByteSet> {
    let mut set = [0; 8];
    if let Some(value) = g.get(WORD_BYTES) {
        let bytes = value.as_str().ok_or(Error::BadValue { key: WORD_BYTES })?;
        bytes.iter().for_each(|&byte| pieces::add(&mut set, byte));
    }
    Ok(set)
}

/// What the file holds, types checked, contents not.
struct Source<'a> {
    file: &'a [u8],
    kind: Kind,
    pre: Pre,
    tokens: Array<'a>,
    types: Option<Array<'a>>,
    merges: Option<Array<'a>>,
}

/// What decides the size of the tables.
#[derive(Default)]
struct Sizes {
    pieces: usize,
    specials: usize,
    special_starts: ByteSet,
    longest: usize,
}

/// The tables; empty while counting.
struct Tables<'a> {
    offsets: &'a mut [u32],
    kinds: &'a mut [u8],
    byte_ids: &'a mut [u32],
    slots: &'a mut [u32],
    rules: &'a mut [[u32; 3]],
    pieces: &'a mut [u32],
    specials: &'a mut [u32],
}

impl<'a> Tables<'a> {
    fn take(r: &mut Reserve<'a>, source: &Source<'a>, sizes: &Sizes) -> Result<Self> {
        let n = source.tokens.len();
        let n_rules = source.merges.map_or(0, |merges| merges.len());
        // Tokens by text while loading, merges by pair from then on: at most half full.
        let n_slots = n.max(n_rules).checked_mul(2).and_then(usize::checked_next_power_of_two);
        let (n_slots, n_bytes) = match source.kind {
            kind if kind.is_bpe() => (n_slots.ok_or(Error::TooLarge)?, 256),
            _ => (0, 0),
        };
        Ok(Self {
            offsets: r.take(n.saturating_add(1)),
            kinds: r.take(n),
            byte_ids: r.take(n_bytes),
            slots: r.take(n_slots),
            rules: r.take(n_rules),
            pieces: r.take(sizes.pieces),
            specials: r.take(sizes.specials),
        })
    }
}

/// One token of the file.
struct Token<'a> {
    id: u32,
    /// Where its text stands in the file.
    offset: usize,
    text: &'a [u8],
    kind: u8,
}

impl<'a> Token<'a> {
    fn is_special(&self) -> bool {
        let special = matches!(self.kind, kind::CONTROL | kind::UNKNOWN | kind::USER_DEFINED);
        special && !self.text.is_empty()
    }

    fn is_piece(&self) -> bool {
        matches!(self.kind, kind::NORMAL | kind::BYTE) && !self.text.is_empty()
    }
}

impl<'a> Source<'a> {
    /// `None` if the file has no tokenizer.
    fn open(g: &Gguf<'a>) -> Result<Option<Self>> {
        let Some(model) = g.get(MODEL) else { return Ok(None) };
        let kind = match model.as_str().ok_or(Error::BadValue { key: MODEL })? {
            // llama.cpp's words for "takes ids only"
            b"none" | b"no_vocab" => return Ok(None),
            b"gpt2" if cfg!(feature = "bpe") => Kind::Bpe,
            b"pagelm.pieces" => Kind::Pieces,
            _ => {
                let what = &"this tokenizer.ggml.model; gpt2 and pagelm.pieces are";
                return Err(Error::Unsupported { what });
            }
        };
        let pre = match g.get(PRE) {
            Some(value) if kind.is_bpe() => {
                Pre::from_name(Some(value.as_str().ok_or(Error::BadValue { key: PRE })?))?
            }
            _ => Pre::from_name(None)?,
        };
        let tokens = strings(g, TOKENS)?;
        let merges = if kind.is_bpe() { Some(strings(g, MERGES)?) } else { None };
        let types = match g.get(TYPES) {
            Some(value) => Some(value.as_array().ok_or(Error::BadValue { key: TYPES })?),
            None => None,
        };
        if tokens.is_empty() || u32::try_from(tokens.len()).is_err() {
            return Err(Error::BadValue { key: TOKENS });
        }
        if types.is_some_and(|types| types.len() < tokens.len()) {
            return Err(Error::BadValue { key: TYPES });
        }
        Ok(Some(Self { file: g.file(), kind, pre, tokens, types, merges }))
    }

    /// The token id under `key`, [`NONE`] if there is none.
    fn id(&self, g: &Gguf<'_>, key: Word) -> Result<u32> {
        let Some(value) = g.get(key) else { return Ok(NONE) };
        let id = value.as_u64().filter(|&id| id < self.tokens.len() as u64);
        id.and_then(|id| u32::try_from(id).ok()).ok_or(Error::BadValue { key })
    }

    fn each_token(&self, visit: &mut dyn FnMut(Token<'a>) -> Result<()>) -> Result<()> {
        let mut types = self.types.map(|types| types.iter());
        for (id, (offset, text)) in (0u32..).zip(self.tokens.iter_strings_at()) {
            let given = match types.as_mut().map(Iterator::next) {
                None => u64::from(kind::NORMAL),
                Some(Some(Value::U64(given))) => given,
                Some(Some(Value::I64(given))) => given as u64,
                Some(_) => return Err(Error::BadValue { key: TYPES }),
            };
            let is_bpe = self.kind.is_bpe();
            let kind = match given as u8 {
                _ if given > u64::from(u8::MAX) => kind::UNUSED,
                _ if is_bpe && text == END_OF_TEXT => kind::CONTROL,
                // Byte-level vocabularies spell their bytes like all else.
                kind::BYTE if is_bpe => kind::NORMAL,
                known @ kind::NORMAL..=kind::BYTE => known,
                _ => kind::UNUSED,
            };
            visit(Token { id, offset, text, kind })?;
        }
        Ok(())
    }

    fn measure(&self) -> Result<Sizes> {
        let mut sizes = Sizes::default();
        self.each_token(&mut |token| {
            let is_piece = self.kind == Kind::Pieces && token.is_piece();
            let limit = if is_piece || token.is_special() { MAX_PIECE } else { MAX_TOKEN };
            if token.text.len() > limit {
                let (offset, flaw) = (token.offset, Flaw::TokenLength);
                return Err(Error::Corrupt { offset, flaw });
            }
            sizes.pieces += usize::from(is_piece);
            if let (true, Some(&first)) = (token.is_special(), token.text.first()) {
                sizes.specials += 1;
                pieces::add(&mut sizes.special_starts, first);
            }
            sizes.longest = sizes.longest.max(token.text.len());
            Ok(())
        })?;
        Ok(sizes)
    }

    fn fill_vocab(&self, tables: &mut Tables<'_>) -> Result<()> {
        self.each_token(&mut |token| {
            let offset = u32::try_from(token.offset).map_err(|_| Error::TooLarge)?;
            let i = token.id as usize;
            // As if another string followed: see Vocab::offsets.
            let next = offset.checked_add(token.text.len() as u32 + 8).ok_or(Error::TooLarge)?;
            set(tables.offsets, i, offset);
            set(tables.offsets, i + 1, next);
            if let Some(slot) = tables.kinds.get_mut(i) {
                *slot = token.kind;
            }
            Ok(())
        })
    }

    /// Lists the pieces and the special tokens, in the order of their ids.
    fn fill_lists(&self, pieces: &mut [u32], specials: &mut [u32]) -> Result<()> {
        let (mut pieces, mut specials) = (pieces.iter_mut(), specials.iter_mut());
        self.each_token(&mut |token| {
            let list = if token.is_special() { &mut specials } else { &mut pieces };
            if token.is_special() || token.is_piece() {
                // Of BPE there is no list of pieces.
                if let Some(slot) = list.next() {
                    *slot = token.id;
                }
            }
            Ok(())
        })
    }

    /// Resolves the merges' texts to ids. `slots` finds tokens by text until
    /// that is done, and rules by pair from then on.
    fn fill_merges(
        &self,
        vocab: Vocab<'a>,
        slots: &mut [u32],
        rules: &mut [[u32; 3]],
        byte_ids: &mut [u32],
    ) -> Result<()> {
        let by_text = self.tokens_by_text(vocab, slots)?;
        for (byte, slot) in (0u8..=255).zip(byte_ids) {
            let (len, spelled) = spelling::of_byte(byte);
            let spelled = spelled.get(..len).unwrap_or_default();
            *slot = by_text.find(spelled, &[]).unwrap_or(NONE);
        }
        let merges = self.merges.into_iter().flat_map(|merges| merges.iter_strings_at());
        for (rule, (offset, text)) in rules.iter_mut().zip(merges) {
            let flaw = Flaw::Merge;
            *rule = resolve(&by_text, text).ok_or(Error::Corrupt { offset, flaw })?;
        }
        if !bpe::index(slots, rules) {
            return Err(Error::BadValue { key: MERGES });
        }
        Ok(())
    }

    fn tokens_by_text<'t>(&self, vocab: Vocab<'a>, slots: &'t mut [u32]) -> Result<ByText<'t, 'a>> {
        slots.fill(NONE);
        let mut by_text = ByText { slots, vocab };
        self.each_token(&mut |token| {
            // An empty text is no token's name: such a token has its id only.
            if token.text.is_empty() || by_text.insert(token.id) {
                return Ok(());
            }
            Err(Error::Corrupt { offset: token.offset, flaw: Flaw::TokenTwice })
        })?;
        Ok(by_text)
    }
}

/// "left right" as ids: left, right, both together. The space is the first one
/// that is not the first character.
fn resolve(by_text: &ByText<'_, '_>, merge: &[u8]) -> Option<[u32; 3]> {
    let space = merge.iter().skip(1).position(|&byte| byte == b' ')? + 1;
    let (left, right) = (merge.get(..space)?, merge.get(space + 1..)?);
    Some([by_text.find(left, &[])?, by_text.find(right, &[])?, by_text.find(left, right)?])
}

fn strings<'a>(g: &Gguf<'a>, key: Word) -> Result<Array<'a>> {
    let value = g.get(key).ok_or(Error::MissingKey { key })?;
    let array = value.as_array().filter(Array::is_strings);
    array.ok_or(Error::BadValue { key })
}
