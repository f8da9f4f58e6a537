//! From a GGUF's metadata to a [`Tokenizer`]: counts, checks, fills the tables.
#![forbid(unsafe_code)]

use super::Kind;
use super::bpe::{self, Merges};
use super::encoder::Tokenizer;
use super::pieces::{self, MAX_PIECE};
use super::pretokenize::Pre;
use super::spelling::byte_of;
use super::unicode::first_char;
use super::vocab::{ByText, NONE, Vocab, at, kind, set};
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
    /// The tables hold no reference to the file, which may still be arriving:
    /// [`Tokenizer::with_file`] adds it, and before that no token has a text.
    ///
    /// # Errors
    /// For a vocabulary that is not usable, which one of its keys and where:
    /// [`Error::BadValue`], [`Error::MissingKey`], [`Error::Corrupt`],
    /// [`Error::Unsupported`]. From [`Reserve::take`], if memory is too small.
    pub fn lay(r: &mut Reserve<'a>, g: &Gguf<'_>) -> Result<Self> {
        let mut made = Self::none();
        made.lay_source(r, g)?;
        Ok(made)
    }

    /// The tokenizer ready for use. `file` is the one that it was made of.
    #[must_use]
    pub fn with_file(mut self, file: &'a [u8]) -> Self {
        self.vocab.file = file;
        self
    }

    /// As [`Tokenizer::lay`], from [`Tokenizer::none`]: one place, so that the
    /// whole value is made once and an error needs no room for it.
    fn lay_source(&mut self, r: &mut Reserve<'a>, g: &Gguf<'_>) -> Result<()> {
        let mut source = Source::default();
        self.read_keys(g, &mut source)?;
        if self.kind == Kind::None {
            return Ok(());
        }
        let n = self.n_vocab;
        let (offsets, kinds) = (r.take(n.saturating_add(1)), r.take(n));
        let counts = source.read_tokens(self, offsets, kinds)?;
        let (pieces, specials) = (r.take(counts.pieces), r.take(counts.specials));
        let (mut slots, mut rules, mut byte_ids) = Default::default();
        if self.kind.is_bpe() {
            // Tokens by text while loading, merges by pair from then on: at most half full.
            let n_rules = source.merges.len();
            let n_slots = n.max(n_rules).checked_mul(2).and_then(usize::checked_next_power_of_two);
            slots = r.take(n_slots.ok_or(Error::TooLarge)?);
            rules = r.take(n_rules);
            byte_ids = r.take(256);
        }
        if !r.carved()? {
            return Ok(());
        }
        self.vocab = Vocab { file: &[], offsets, kinds };
        let vocab = Vocab { file: g.file(), ..self.vocab };
        fill_lists(&vocab, pieces, specials);
        if self.kind.is_bpe() {
            let by_text = tokens_by_text(vocab, slots, byte_ids)?;
            source.resolve_merges(&by_text, rules)?;
            if !bpe::index(slots, rules) {
                return Err(Error::BadValue { key: MERGES });
            }
        }
        self.pieces = pieces::sort(pieces, &vocab);
        self.specials = pieces::sort(specials, &vocab);
        self.merges = Merges { slots, rules };
        self.byte_ids = byte_ids;
        Ok(())
    }

    /// Takes over what single keys say, and finds the lists. Without a tokenizer
    /// the kind stays [`Kind::None`].
    #[inline(never)]
    fn read_keys<'f>(&mut self, g: &Gguf<'f>, source: &mut Source<'f>) -> Result<()> {
        let mut keys = Keys { g, failed: Ok(()) };
        let Some(model) = g.get(MODEL) else { return Ok(()) };
        // The first two are llama.cpp's words for "takes ids only".
        self.kind = match model.one_of(&["none", "no_vocab", "gpt2", "pagelm.pieces"]) {
            Some(0 | 1) => return Ok(()),
            Some(2) if cfg!(feature = "bpe") => Kind::Bpe,
            Some(3) => Kind::Pieces,
            _ if model.as_str().is_none() => return Err(Error::BadValue { key: MODEL }),
            _ => {
                let what = &"this tokenizer.ggml.model; gpt2 and pagelm.pieces are";
                return Err(Error::unsupported(what));
            }
        };
        if self.kind.is_bpe() {
            self.pre = Pre::from_name(keys.text(PRE))?;
        }
        source.tokens = keys.strings(TOKENS);
        self.n_vocab = source.tokens.len();
        if source.tokens.is_empty() || u32::try_from(self.n_vocab).is_err() {
            keys.fail(TOKENS, true);
        }
        if self.kind.is_bpe() {
            source.merges = keys.strings(MERGES);
        }
        if let Some(value) = g.get(TYPES) {
            let types = value.as_array().filter(|types| types.len() >= self.n_vocab);
            source.types = keys.known(types, TYPES);
        }
        self.bos = keys.id(BOS, self.n_vocab);
        self.eos = keys.id(EOS, self.n_vocab);
        self.unknown = keys.id(UNKNOWN, self.n_vocab);
        if let Some(value) = g.get(ADD_BOS) {
            self.add_bos = keys.known(value.as_bool(), ADD_BOS);
        }
        for &byte in keys.text(WORD_BYTES) {
            pieces::add(&mut self.word_bytes, byte);
        }
        keys.failed
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

/// Lists the pieces and the special tokens, in the order of their ids; what
/// there is no room for is of BPE, which has no list of pieces.
fn fill_lists(vocab: &Vocab<'_>, pieces: &mut [u32], specials: &mut [u32]) {
    let (mut pieces, mut specials) = (pieces.iter_mut(), specials.iter_mut());
    for id in 0..vocab.kinds.len() as u32 {
        let list = match role(vocab.kind(id), vocab.text(id)) {
            Role::Special => &mut specials,
            Role::Piece => &mut pieces,
            Role::Neither => continue,
        };
        if let Some(slot) = list.next() {
            *slot = id;
        }
    }
}

/// Makes `slots` find tokens by text, and lists those that spell one byte.
fn tokens_by_text<'t, 'f>(
    vocab: Vocab<'f>,
    slots: &'t mut [u32],
    byte_ids: &mut [u32],
) -> Result<ByText<'t, 'f>> {
    slots.fill(NONE);
    byte_ids.fill(NONE);
    let mut by_text = ByText { slots, vocab };
    for id in 0..vocab.kinds.len() as u32 {
        let text = vocab.text(id);
        // An empty text is no token's name: such a token has its id only.
        if !text.is_empty() && !by_text.insert(id) {
            let offset = at(vocab.offsets, id as usize) as usize;
            return Err(Error::Corrupt { offset, flaw: Flaw::TokenTwice });
        }
        let (cp, len) = first_char(text);
        if let (Some(byte), true) = (byte_of(cp), len == text.len()) {
            set(byte_ids, byte.into(), id);
        }
    }
    Ok(by_text)
}

/// Reads values by key. The first failure sticks, so that it need not be looked
/// for after each.
struct Keys<'g, 'a> {
    g: &'g Gguf<'a>,
    failed: Result<()>,
}

impl<'a> Keys<'_, 'a> {
    #[inline(never)]
    fn fail(&mut self, key: Word, there: bool) {
        let error = if there { Error::BadValue { key } } else { Error::MissingKey { key } };
        self.failed = self.failed.and(Err(error));
    }

    /// What a value was found to be; a failure and the default if it is of no use.
    fn known<T: Default>(&mut self, value: Option<T>, key: Word) -> T {
        value.unwrap_or_else(|| {
            self.fail(key, true);
            T::default()
        })
    }

    #[inline(never)]
    fn strings(&mut self, key: Word) -> Array<'a> {
        match self.g.get(key) {
            Some(value) => self.known(value.as_array().filter(Array::is_strings), key),
            None => {
                self.fail(key, false);
                Array::default()
            }
        }
    }

    /// A text, empty if there is none.
    #[inline(never)]
    fn text(&mut self, key: Word) -> &'a [u8] {
        match self.g.get(key) {
            Some(value) => self.known(value.as_str(), key),
            None => &[],
        }
    }

    /// A token id, [`NONE`] if there is none.
    #[inline(never)]
    fn id(&mut self, key: Word, n_vocab: usize) -> u32 {
        let Some(value) = self.g.get(key) else { return NONE };
        let id = value.as_u64().filter(|&id| id < n_vocab as u64);
        self.known(id, key) as u32
    }
}

/// The lists of a file, types checked, contents not.
#[derive(Default)]
struct Source<'a> {
    tokens: Array<'a>,
    /// Empty: all tokens are normal.
    types: Array<'a>,
    merges: Array<'a>,
}

/// What decides the size of the lists.
#[derive(Default)]
struct Counts {
    pieces: usize,
    specials: usize,
}

/// What a token is there for.
#[derive(PartialEq)]
enum Role {
    Special,
    Piece,
    Neither,
}

fn role(kind: u8, text: &[u8]) -> Role {
    match kind {
        _ if text.is_empty() => Role::Neither,
        kind::CONTROL | kind::UNKNOWN | kind::USER_DEFINED => Role::Special,
        kind::NORMAL | kind::BYTE => Role::Piece,
        _ => Role::Neither,
    }
}

impl Source<'_> {
    /// Checks, counts and measures the tokens, and fills their two tables
    /// unless these are empty.
    #[inline(never)]
    fn read_tokens(
        &self,
        made: &mut Tokenizer<'_>,
        offsets: &mut [u32],
        kinds: &mut [u8],
    ) -> Result<Counts> {
        let mut counts = Counts::default();
        let is_bpe = made.kind.is_bpe();
        let mut types = self.types.iter();
        for (i, (offset, text)) in self.tokens.iter_strings_at().enumerate() {
            let given = match types.next() {
                _ if self.types.is_empty() => u64::from(kind::NORMAL),
                Some(Value::U64(given)) => given,
                Some(Value::I64(given)) => given as u64,
                _ => return Err(Error::BadValue { key: TYPES }),
            };
            let kind = match u8::try_from(given).unwrap_or(kind::UNUSED) {
                _ if is_bpe && text == END_OF_TEXT && given <= 255 => kind::CONTROL,
                // Byte-level vocabularies spell their bytes like all else.
                kind::BYTE if is_bpe => kind::NORMAL,
                known @ kind::NORMAL..=kind::BYTE => known,
                _ => kind::UNUSED,
            };
            let mut limit = MAX_PIECE;
            match (role(kind, text), text.first()) {
                (Role::Special, Some(&first)) => {
                    counts.specials += 1;
                    pieces::add(&mut made.special_starts, first);
                }
                (Role::Piece, _) if !is_bpe => counts.pieces += 1,
                _ => limit = MAX_TOKEN,
            }
            if text.len() > limit {
                return Err(Error::Corrupt { offset, flaw: Flaw::TokenLength });
            }
            made.max_token_bytes = made.max_token_bytes.max(text.len());
            let start = u32::try_from(offset).map_err(|_| Error::TooLarge)?;
            // As if another string followed: see Vocab::offsets.
            let next = start.checked_add(text.len() as u32 + 8).ok_or(Error::TooLarge)?;
            set(offsets, i, start);
            set(offsets, i + 1, next);
            if let Some(slot) = kinds.get_mut(i) {
                *slot = kind;
            }
        }
        Ok(counts)
    }

    /// Resolves the merges' texts to ids.
    fn resolve_merges(&self, by_text: &ByText<'_, '_>, rules: &mut [[u32; 3]]) -> Result<()> {
        for (rule, (offset, text)) in rules.iter_mut().zip(self.merges.iter_strings_at()) {
            let flaw = Flaw::Merge;
            *rule = resolve(by_text, text).ok_or(Error::Corrupt { offset, flaw })?;
        }
        Ok(())
    }
}

/// "left right" as ids: left, right, both together. The space is the first one
/// that is not the first character.
fn resolve(by_text: &ByText<'_, '_>, merge: &[u8]) -> Option<[u32; 3]> {
    let space = merge.iter().skip(1).position(|&byte| byte == b' ')? + 1;
    let (left, right) = (merge.get(..space)?, merge.get(space + 1..)?);
    Some([by_text.find(left, &[])?, by_text.find(right, &[])?, by_text.find(left, right)?])
}
