//! Statuses: their names, texts, the header's constants, the documentation.

use pagelm::capi::*;
use std::ffi::{CStr, c_char};
use std::fs;

fn words(p: *const c_char) -> &'static str {
    unsafe { CStr::from_ptr(p) }.to_str().unwrap()
}

/// The statuses that the header defines: name and number.
fn defined() -> Vec<(String, i32)> {
    let header = concat!(env!("CARGO_MANIFEST_DIR"), "/include/pagelm.h");
    let header = fs::read_to_string(header).unwrap();
    let defines = header.lines().filter_map(|line| line.strip_prefix("#define PAGELM_"));
    let pairs = defines.filter_map(|line| line.split_once(' '));
    let is_status = |name: &str| {
        name.starts_with("ERROR_") || ["OK", "TOKEN", "MORE", "FINISHED"].contains(&name)
    };
    pairs
        .filter(|(name, _)| is_status(name))
        .map(|(name, number)| (name.to_owned(), number.parse().unwrap()))
        .collect()
}

#[test]
fn every_status_of_the_header_has_its_name_in_words() {
    let defined = defined();
    assert_eq!(defined.len(), 39);
    for (name, number) in &defined {
        let short = name.strip_prefix("ERROR_").unwrap_or(name);
        let words = words(pagelm_status_text(*number));
        assert_eq!(words.to_uppercase().replace(' ', "_"), short);
    }
    let mut numbers: Vec<i32> = defined.iter().map(|(_, number)| *number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (-35..=3).collect::<Vec<_>>(), "no number twice, none left out");
}

#[test]
fn other_numbers_are_unknown() {
    for number in [i32::MIN, -36, 4, i32::MAX] {
        assert_eq!(words(pagelm_status_text(number)), "unknown");
    }
}

#[test]
fn every_status_is_documented_with_its_number() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ABI.md");
    let page = fs::read_to_string(page).unwrap();
    for (name, number) in defined() {
        assert!(page.contains(&format!("| `PAGELM_{name}` | {number} | ")), "{name}");
    }
}

#[test]
fn the_core_s_errors_have_the_header_s_numbers() {
    use pagelm::error::{Error, Flaw};
    let name = &"x";
    let pairs = [
        (Error::Truncated { need: 0 }, PAGELM_ERROR_TRUNCATED),
        (Error::BadMagic, PAGELM_ERROR_BAD_MAGIC),
        (Error::BadVersion { version: 0 }, PAGELM_ERROR_BAD_VERSION),
        (Error::Corrupt { offset: 0, flaw: Flaw::Alignment }, PAGELM_ERROR_CORRUPT),
        (Error::UnsupportedArch { offset: 0 }, PAGELM_ERROR_UNSUPPORTED_ARCH),
        (Error::UnsupportedType { offset: 0, ggml_type: 0 }, PAGELM_ERROR_UNSUPPORTED_TYPE),
        (Error::Unsupported { what: name }, PAGELM_ERROR_UNSUPPORTED),
        (Error::MissingKey { key: name }, PAGELM_ERROR_MISSING_KEY),
        (Error::BadValue { key: name }, PAGELM_ERROR_BAD_VALUE),
        (Error::MissingTensor { name, layer: 0 }, PAGELM_ERROR_MISSING_TENSOR),
        (Error::BadShape { name, layer: 0 }, PAGELM_ERROR_BAD_SHAPE),
        (Error::NotFinite { offset: 0 }, PAGELM_ERROR_NOT_FINITE),
        (Error::Overflow, PAGELM_ERROR_OVERFLOW),
        (Error::OutOfMemory { need: 0 }, PAGELM_ERROR_OUT_OF_MEMORY),
        (Error::TooLarge, PAGELM_ERROR_TOO_LARGE),
        (Error::Misaligned, PAGELM_ERROR_MISALIGNED),
        (Error::BadToken { id: 0 }, PAGELM_ERROR_BAD_TOKEN),
        (Error::NoTokenizer, PAGELM_ERROR_NO_TOKENIZER),
        (Error::Unencodable { offset: 0 }, PAGELM_ERROR_UNENCODABLE),
        (Error::TextTooLong { max: 0 }, PAGELM_ERROR_TEXT_TOO_LONG),
        (Error::PromptTooLong { len: 0 }, PAGELM_ERROR_PROMPT_TOO_LONG),
        (Error::NothingFed, PAGELM_ERROR_NOTHING_FED),
        (Error::NoLogits, PAGELM_ERROR_NO_LOGITS),
        (Error::BadParam { name }, PAGELM_ERROR_BAD_PARAM),
        (Error::BadSnapshot { what: name }, PAGELM_ERROR_BAD_SNAPSHOT),
        (Error::NotLoaded, PAGELM_ERROR_NOT_LOADED),
        (Error::Full { what: name, max: 0 }, PAGELM_ERROR_FULL),
        (Error::Null { name }, PAGELM_ERROR_NULL),
        (Error::DeadHandle { name }, PAGELM_ERROR_DEAD_HANDLE),
        (Error::BadStruct { name }, PAGELM_ERROR_BAD_STRUCT),
        (Error::BufferTooSmall { need: 0 }, PAGELM_ERROR_BUFFER_TOO_SMALL),
        (Error::Internal, PAGELM_ERROR_INTERNAL),
        (Error::Overlap { name }, PAGELM_ERROR_OVERLAP),
        (Error::BadRange { name }, PAGELM_ERROR_BAD_RANGE),
        (Error::BadInput { need: 0 }, PAGELM_ERROR_BAD_INPUT),
    ];
    for (error, number) in pairs {
        assert_eq!(error.code(), number, "{error:?}");
    }
    assert_eq!(pairs.len(), 35);
}

#[test]
fn the_version_is_the_header_s() {
    assert_eq!(pagelm_abi_version(), PAGELM_ABI_VERSION);
}
