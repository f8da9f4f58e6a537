//! Real models through the program: gpt-nano-sort sorts, gpt2-basic continues as upstream does.
#![forbid(unsafe_code)]

mod common;

use common::{Folder, Rng, floats, ids, json, list, ok, repo, top};
use std::fs;

fn model(name: &str) -> String {
    repo(&format!("examples/models/{name}.gguf")).to_str().unwrap().to_owned()
}

#[test]
fn gpt_nano_sort_sorts_200_of_200() {
    let model = model("gpt-nano-sort");
    let mut rng = Rng(2024);
    let mut sorted = 0;
    for i in 0..200 {
        let mut input: Vec<u32> = (0..6).map(|_| rng.next() % 3).collect();
        // Every other one as text, which its vocabulary of digits allows.
        let prompt: String =
            if i % 2 == 0 { list(&input) } else { input.iter().map(u32::to_string).collect() };
        let flag = if i % 2 == 0 { "--prompt-ids" } else { "--prompt" };
        let out = json(&["generate", &model, flag, &prompt, "--tokens", "6", "--json"]);
        assert_eq!(ids(&out["prompt_ids"]), input);
        input.sort_unstable();
        let text: String = input.iter().map(u32::to_string).collect();
        sorted += usize::from(ids(&out["ids"]) == input && out["text"] == *text);
    }
    assert_eq!(sorted, 200);
}

/// The stage called `name` of tests/data/nano-sort/partials.bin, and the inputs:
/// see tools/reference/nano_sort_data.py.
fn published(name: &str) -> (Vec<Vec<u32>>, usize, Vec<f32>) {
    let bytes = fs::read(repo("tests/data/nano-sort/partials.bin")).unwrap();
    let mut at = 0;
    let mut take = |n: usize| {
        at += n;
        &bytes[at - n..at]
    };
    let word = |b: &[u8]| u32::from_le_bytes(b.try_into().unwrap());
    let (n_inputs, n_pos) = (word(take(4)) as usize, word(take(4)) as usize);
    let inputs = (0..n_inputs).map(|_| (0..n_pos).map(|_| word(take(4))).collect()).collect();
    loop {
        let len = word(take(4)) as usize;
        let found = take(len) == name.as_bytes();
        let width = word(take(4)) as usize;
        let values = take(n_inputs * n_pos * width * 4);
        if found {
            return (inputs, width, values.chunks(4).map(|b| f32::from_bits(word(b))).collect());
        }
    }
}

#[test]
fn gpt_nano_sort_has_the_published_logits() {
    let (inputs, width, want) = published("logits");
    assert_eq!((inputs.len(), width), (3, 3));
    for (input, want) in inputs.iter().zip(want.chunks(11 * 3)) {
        let out = json(&["logits", &model("gpt-nano-sort"), "--ids", &list(input), "--all"]);
        let got: Vec<f32> = out["logits"].as_array().unwrap().iter().flat_map(floats).collect();
        assert_eq!(got.len(), want.len());
        let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{worst}");
    }
}

#[test]
fn a_hugging_face_model_has_pytorchs_logits() {
    let folder = Folder::new();
    let out = folder.file("odd45.gguf");
    let dir = repo("tests/data/gpt2/hf-odd45");
    ok(&["convert", dir.to_str().unwrap(), "-o", &out, "--quantize", "f32"]);
    // u32 n_pos, n_vocab, n_tables; ids; the first table: see tools/reference/gpt2_goldens.py.
    let bytes = fs::read(repo("tests/data/gpt2/odd45.f32.bin")).unwrap();
    let words: Vec<u32> =
        bytes.chunks(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
    let (n_pos, n_vocab) = (words[0] as usize, words[1] as usize);
    let (seq, rest) = words[3..].split_at(n_pos);
    let want: Vec<f32> = rest[..n_pos * n_vocab].iter().map(|&w| f32::from_bits(w)).collect();
    let all = json(&["logits", &out, "--ids", &list(seq), "--all"]);
    let got: Vec<f32> = all["logits"].as_array().unwrap().iter().flat_map(floats).collect();
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= 1e-5 * largest, "{worst} of {largest}");
}

/// A line `V|name|length|ids|count|token:logit,...` of upstream's vectors; the
/// logits are fixed-point numbers with 12 bits after the point.
struct Vector {
    ids: Vec<u32>,
    top: Vec<(usize, f32)>,
}

fn vectors(name: &str) -> Vec<Vector> {
    let text = fs::read_to_string(repo(&format!("tests/data/gpt2-basic/{name}.vec.txt"))).unwrap();
    let lines = text.lines().filter(|l| l.starts_with("V|"));
    let vector = |line: &str| {
        let fields: Vec<&str> = line.split('|').collect();
        let pair = |p: &str| {
            let (token, logit) = p.split_once(':').unwrap();
            (token.parse().unwrap(), logit.parse::<f32>().unwrap() / 4096.0)
        };
        Vector {
            ids: fields[3].split(',').map(|id| id.parse().unwrap()).collect(),
            top: fields[5].split(',').map(pair).collect(),
        }
    };
    lines.map(vector).collect()
}

/// Upstream computes in fixed point; `bound` is how far that strays.
fn check_gpt2_basic(name: &str, bound: f32) {
    let vectors = vectors(name);
    assert_eq!(vectors.len(), 3);
    let model = model(&format!("gpt2-basic-{name}"));
    for v in vectors {
        let out = json(&["logits", &model, "--ids", &list(&v.ids)]);
        let logits = floats(&out["logits"]);
        assert_eq!(top(&logits), v.top[0].0);
        for (token, logit) in v.top {
            let off = (logits[token] - logit).abs();
            assert!(off < bound, "{token}: {off}");
        }
        let next = json(&[
            "generate",
            &model,
            "--prompt-ids",
            &list(&v.ids),
            "-n",
            "1",
            "--ignore-eos",
            "--json",
        ]);
        assert_eq!(ids(&next["ids"]), [top(&logits) as u32]);
    }
}

#[test]
fn gpt2_basic_with_a_lexicon_gives_upstreams_top_tokens() {
    check_gpt2_basic("lexicon", 0.06);
}

#[test]
fn gpt2_basic_with_bytes_gives_upstreams_top_tokens() {
    check_gpt2_basic("bytes", 0.5);
}

#[test]
fn gpt2_basic_reads_text_as_upstream_does() {
    // The texts behind the first vectors, as the vectors' ids spell them.
    for name in ["lexicon", "bytes"] {
        let model = model(&format!("gpt2-basic-{name}"));
        for v in vectors(name) {
            let text = ok(&["tokenize", &model, "--decode", &list(&v.ids)]);
            let back = ok(&["tokenize", &model, "--text", &text]);
            assert_eq!(back.trim(), list(&v.ids), "{text:?}");
        }
    }
}
