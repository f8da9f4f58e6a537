//! The tokenizer itself: encode, decode, and what the file says about its tokens.
#![forbid(unsafe_code)]

use super::Kind;
use super::bpe::{Merges, WORK_PER_BYTE, merge};
use super::pieces::{ByteSet, has, longest};
use super::pretokenize::Pre;
use super::spelling::byte_of;
use super::unicode::first_char;
use super::vocab::{NONE, Vocab, at, kind, set};
use crate::error::{Error, Result};

impl Kind {
    /// Whether it is byte pair encoding; a build without it knows that it never is.
    pub(super) fn is_bpe(self) -> bool {
        cfg!(feature = "bpe") && self == Self::Bpe
    }
}

/// A vocabulary, ready to use. See [`Tokenizer::lay`] for what it reads.
#[derive(Clone, Copy)]
pub struct Tokenizer<'a> {
    pub(super) kind: Kind,
    pub(super) pre: Pre,
    pub(super) n_vocab: usize,
    pub(super) max_token_bytes: usize,
    /// Ids, or [`NONE`].
    pub(super) bos: u32,
    pub(super) eos: u32,
    pub(super) unknown: u32,
    pub(super) add_bos: bool,
    pub(super) vocab: Vocab<'a>,
    /// (256) of BPE: the token of each byte, or [`NONE`].
    pub(super) byte_ids: &'a [u32],
    pub(super) merges: Merges<'a>,
    /// Sorted: all that `pagelm.pieces` matches, but for the special ones.
    pub(super) pieces: &'a [u32],
    /// A piece that ends in one of these is not followed by one of these.
    pub(super) word_bytes: ByteSet,
    /// Sorted: control, unknown and user-defined tokens.
    pub(super) specials: &'a [u32],
    /// What they begin with.
    pub(super) special_starts: ByteSet,
}

impl Tokenizer<'_> {
    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The number of tokens; a model may have more rows than that, not fewer.
    #[must_use]
    pub fn n_vocab(&self) -> usize {
        self.n_vocab
    }

    /// The token that begins a text (`tokenizer.ggml.bos_token_id`).
    #[must_use]
    pub fn bos(&self) -> Option<u32> {
        some(self.bos)
    }

    /// The token that ends a text (`tokenizer.ggml.eos_token_id`).
    #[must_use]
    pub fn eos(&self) -> Option<u32> {
        some(self.eos)
    }

    /// Whether the file asks for [`Tokenizer::bos`] before every prompt;
    /// [`Tokenizer::encode`] adds nothing by itself.
    #[must_use]
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// No token decodes to more bytes than this.
    #[must_use]
    pub fn max_token_bytes(&self) -> usize {
        self.max_token_bytes
    }

    /// Whether a token is no text of its own (control and unknown tokens), so
    /// that [`Tokenizer::decode`] gives nothing for it.
    #[must_use]
    pub fn is_control(&self, id: u32) -> bool {
        matches!(self.vocab.kind(id), kind::CONTROL | kind::UNKNOWN)
    }

    /// The `u32`s of scratch that [`Tokenizer::encode`] needs for a text of so
    /// many bytes.
    #[must_use]
    pub fn work_size(text_len: usize) -> usize {
        text_len.saturating_mul(WORK_PER_BYTE)
    }

    /// Gives the ids of a text to `out`, in order. The text may be any bytes.
    ///
    /// User-defined tokens are recognised anywhere in the text, control and
    /// unknown tokens only if `parse_special` is set: the leftmost first, of
    /// those that begin at one place the longest. (llama.cpp takes the longest
    /// of the whole text first, which differs only where two overlap; Hugging
    /// Face's tokenizers do as this does.) What lies between them is encoded
    /// piece by piece as if it were the whole text.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`]; [`Error::Unencodable`] if the vocabulary lacks a
    /// byte and names no unknown token; [`Error::OutOfMemory`] if `work` is
    /// shorter than [`Tokenizer::work_size`]; whatever `out` returns. The ids
    /// given until then are not a tokenization of anything.
    pub fn encode(
        &self,
        text: &[u8],
        parse_special: bool,
        work: &mut [u32],
        out: &mut dyn FnMut(u32) -> Result<()>,
    ) -> Result<()> {
        let need = Self::work_size(text.len());
        match self.kind {
            Kind::None => return Err(Error::NoTokenizer),
            _ if u32::try_from(text.len()).is_err() => return Err(Error::TooLarge),
            kind if kind.is_bpe() && work.len() < need => {
                let bytes = |n: usize| n.saturating_mul(4);
                return Err(Error::OutOfMemory { need: bytes(need) });
            }
            _ => {}
        }
        let mut from = 0;
        loop {
            let special = self.next_special(text, from, parse_special);
            let (start, len, id) = special.unwrap_or((text.len(), 0, NONE));
            let plain = text.get(..start).unwrap_or(text);
            match self.kind {
                kind if kind.is_bpe() => self.encode_words(plain, from, work, out)?,
                _ => self.encode_pieces(plain, from, out)?,
            }
            if len == 0 {
                return Ok(());
            }
            out(id)?;
            from = start + len;
        }
    }

    /// The next special token from `from` on: where, how long, which.
    fn next_special(&self, text: &[u8], from: usize, all: bool) -> Option<(usize, usize, u32)> {
        if self.specials.is_empty() {
            return None;
        }
        let accept = |id, _| all || self.vocab.kind(id) == kind::USER_DEFINED;
        for (start, &byte) in text.iter().enumerate().skip(from) {
            if has(&self.special_starts, byte) {
                let rest = text.get(start..).unwrap_or_default();
                if let Some((id, len)) = longest(self.specials, &self.vocab, rest, &accept) {
                    return Some((start, len, id));
                }
            }
        }
        None
    }

    /// Byte pair encoding of `text` from `from` on.
    fn encode_words(
        &self,
        text: &[u8],
        mut from: usize,
        work: &mut [u32],
        out: &mut dyn FnMut(u32) -> Result<()>,
    ) -> Result<()> {
        while let Some(rest @ [_, ..]) = text.get(from..) {
            let n = self.pre.first_word(rest).max(1);
            for (i, &byte) in rest.iter().take(n).enumerate() {
                set(work, i, self.byte_id(byte, from + i)?);
            }
            merge(&self.merges, n, work, &mut || {}, out)?;
            from += n;
        }
        Ok(())
    }

    fn byte_id(&self, byte: u8, offset: usize) -> Result<u32> {
        let id = some(at(self.byte_ids, usize::from(byte))).or(some(self.unknown));
        id.ok_or(Error::Unencodable { offset })
    }

    /// The longest piece, again and again, of `text` from `from` on.
    fn encode_pieces(
        &self,
        text: &[u8],
        mut from: usize,
        out: &mut dyn FnMut(u32) -> Result<()>,
    ) -> Result<()> {
        while let Some(rest @ [_, ..]) = text.get(from..) {
            let accept = |id, len| self.vocab.kind(id) == kind::BYTE || !self.cuts_word(rest, len);
            match longest(self.pieces, &self.vocab, rest, &accept) {
                Some((id, len)) => {
                    out(id)?;
                    from += len.max(1);
                }
                None if self.unknown != NONE => {
                    out(self.unknown)?; // one for each character that is not known
                    from += first_char(rest).1.max(1);
                }
                None => return Err(Error::Unencodable { offset: from }),
            }
        }
        Ok(())
    }

    /// Whether a piece of this length would end inside a word of `text`. A full
    /// stop is part of a word only if the word goes on after it.
    fn cuts_word(&self, text: &[u8], len: usize) -> bool {
        let in_word = |i: usize| text.get(i).is_some_and(|&byte| has(&self.word_bytes, byte));
        let stops = text.get(len) == Some(&b'.') && !in_word(len + 1);
        in_word(len.wrapping_sub(1)) && in_word(len) && !stops
    }

    /// Gives the bytes of one token to `out`, in as many parts as it likes.
    /// Text made of many tokens is the bytes one after the other; a character
    /// may begin in one token and end in the next.
    ///
    /// Control, unknown and unused tokens have no bytes, as in llama.cpp's
    /// `llama_token_to_piece` with `special` false.
    ///
    /// # Errors
    /// [`Error::BadToken`], [`Error::NoTokenizer`].
    pub fn decode(&self, id: u32, out: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.bytes_of(id, false, out)
    }

    /// As [`Tokenizer::decode`], but control and unknown tokens give their text,
    /// `<|endoftext|>` for example: for showing tokens to people.
    ///
    /// # Errors
    /// [`Error::BadToken`], [`Error::NoTokenizer`].
    pub fn decode_special(&self, id: u32, out: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.bytes_of(id, true, out)
    }

    #[inline(never)]
    fn bytes_of(&self, id: u32, special: bool, out: &mut dyn FnMut(&[u8])) -> Result<()> {
        if self.kind == Kind::None {
            return Err(Error::NoTokenizer);
        }
        if id as usize >= self.n_vocab {
            return Err(Error::BadToken { id });
        }
        let text = self.vocab.text(id);
        match self.vocab.kind(id) {
            kind::UNUSED => {}
            kind::CONTROL | kind::UNKNOWN if !special => {}
            kind::NORMAL if self.kind.is_bpe() => unspell(text, out),
            _ => out(text),
        }
        Ok(())
    }

    /// The token that stands for exactly these bytes, control tokens by their
    /// text; the lowest id if there are several. Looks through the whole
    /// vocabulary: meant for setting up, not for every token.
    #[must_use]
    pub fn id_of(&self, text: &[u8]) -> Option<u32> {
        (0..self.n_vocab as u32).find(|&id| {
            // A byte is spelled with one or two; most tokens end here.
            let spelled = self.vocab.text(id).len();
            if text.is_empty() || spelled < text.len() || spelled / 2 > text.len() {
                return false;
            }
            let mut left = Some(text);
            let done = self.bytes_of(id, true, &mut |part| {
                left = left.and_then(|left| left.strip_prefix(part));
            });
            done.is_ok() && left.is_some_and(<[u8]>::is_empty)
        })
    }
}

/// Gives the bytes that a byte-level spelling stands for. A character that is
/// no byte's spelling stands for itself.
fn unspell(mut text: &[u8], out: &mut dyn FnMut(&[u8])) {
    while let (cp, len @ 1..) = first_char(text) {
        let (char, rest) = text.split_at_checked(len).unwrap_or((text, &[]));
        match byte_of(cp) {
            Some(byte) => out(&[byte]),
            None => out(char),
        }
        text = rest;
    }
}

fn some(id: u32) -> Option<u32> {
    (id != NONE).then_some(id)
}
