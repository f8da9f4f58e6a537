//! `pagelm convert`: what comes out is what went in, and what cannot be is refused by name.
#![forbid(unsafe_code)]

mod common;

use common::hf::{Model, Sizes, byte_vocab};
use common::{Folder, Tensors, fails, json, ok, repo};
use pagelm::gguf::Gguf;
use safetensors::tensor::Dtype;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// 64 wide, so that every matrix takes blocks.
const EVEN: Sizes = Sizes { n_vocab: 40, n_ctx: 24, n_embd: 64, n_head: 4, n_layer: 2, n_ff: 96 };
/// 45 wide: rows of 45 and 135 are no whole blocks; 64 in the feed-forward layer are.
const ODD: Sizes = Sizes { n_vocab: 37, n_ctx: 19, n_embd: 45, n_head: 3, n_layer: 1, n_ff: 64 };

fn convert(model: &Model, folder: &Folder, extra: &[&str]) -> String {
    let dir = folder.path().join("in");
    model.write(&dir);
    convert_dir(&dir, folder, extra)
}

fn convert_dir(dir: &Path, folder: &Folder, extra: &[&str]) -> String {
    let out = folder.file("out.gguf");
    let mut args = vec!["convert", dir.to_str().unwrap(), "-o", &out, "--json"];
    args.extend(extra);
    ok(&args);
    out
}

fn refused(model: &Model, extra: &[&str]) -> String {
    let folder = Folder::new();
    let dir = folder.path().join("in");
    model.write(&dir);
    let out = folder.file("out.gguf");
    let mut args = vec!["convert", dir.to_str().unwrap(), "-o", &out];
    args.extend(extra);
    let message = fails(1, &args);
    assert_eq!(folder.names(), ["in"], "nothing half is left");
    message
}

fn turned(shape: &[usize], numbers: &[f32]) -> Vec<f32> {
    let (rows, cols) = (shape[0], shape[1]);
    (0..rows * cols).map(|i| numbers[i % rows * cols + i / rows]).collect()
}

/// (theirs, ours, whether the matrix is turned)
fn pairs(model: &Model, n_layer: usize) -> Vec<(String, String, bool)> {
    let mut all: Vec<(String, String, bool)> = vec![
        ("wte.weight".into(), "token_embd.weight".into(), false),
        ("wpe.weight".into(), "position_embd.weight".into(), false),
        ("ln_f.weight".into(), "output_norm.weight".into(), false),
        ("ln_f.bias".into(), "output_norm.bias".into(), false),
    ];
    let layer = [
        ("ln_1", "attn_norm"),
        ("attn.c_attn", "attn_qkv"),
        ("attn.c_proj", "attn_output"),
        ("ln_2", "ffn_norm"),
        ("mlp.c_fc", "ffn_up"),
        ("mlp.c_proj", "ffn_down"),
    ];
    for l in 0..n_layer {
        for (theirs, ours) in layer {
            let weight = format!("h.{l}.{theirs}.weight");
            all.push((weight, format!("blk.{l}.{ours}.weight"), theirs.contains(".c_")));
            all.push((format!("h.{l}.{theirs}.bias"), format!("blk.{l}.{ours}.bias"), false));
        }
    }
    assert_eq!(all.len(), model.tensors.len(), "every tensor is looked at");
    all
}

/// Every tensor has its type and, within `bound` of its row's largest, its numbers.
fn check(
    model: &Model,
    n_layer: usize,
    path: &str,
    kind: impl Fn(&str, &[usize]) -> &'static str,
    bound: f32,
) {
    let tensors = Tensors::read(path);
    for (theirs, ours, turn) in pairs(model, n_layer) {
        let (shape, numbers) = &model.tensors[&format!("transformer.{theirs}")];
        let want = if turn { turned(shape, numbers) } else { numbers.clone() };
        let (_, dtype, got_shape, got) = tensors.get(&ours);
        let mut want_shape = shape.clone();
        if turn {
            want_shape.reverse();
        }
        assert_eq!(*got_shape, want_shape, "{ours}");
        assert_eq!(dtype, kind(&ours, got_shape), "{ours}");
        let bound = if dtype == "f32" { 0.0 } else { bound };
        let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= bound, "{ours}: {worst} > {bound}");
    }
    assert!(!tensors.has("output.weight"), "a tied head is not written twice");
}

#[test]
fn every_format_holds_the_numbers() {
    let folder = Folder::new();
    let model = Model::random(EVEN, 3);
    for (name, bound) in [("f32", 0.0), ("f16", 2e-4), ("q8_0", 2.3e-3), ("q4_0", 0.07)] {
        let path = convert(&model, &folder, &["--quantize", name]);
        let kind = |tensor: &str, shape: &[usize]| match (tensor, name) {
            ("position_embd.weight", _) => "f32",
            _ if shape.len() == 1 => "f32",
            ("token_embd.weight", "q4_0") => "q8_0",
            (_, "f32") => "f32",
            (_, "f16") => "f16",
            (_, "q8_0") => "q8_0",
            _ => "q4_0",
        };
        check(&model, EVEN.n_layer, &path, kind, bound);
    }
}

#[test]
fn rows_that_are_no_whole_blocks_stay_f16_and_are_named() {
    let folder = Folder::new();
    let model = Model::random(ODD, 4);
    for format in ["q8_0", "q4_0"] {
        let path = convert(&model, &folder, &["--quantize", format]);
        let kind = |tensor: &str, shape: &[usize]| match (tensor, shape.len()) {
            ("position_embd.weight", _) | (_, 1) => "f32",
            ("blk.0.ffn_down.weight", _) => ["q8_0", "q4_0"][usize::from(format == "q4_0")],
            _ => "f16",
        };
        check(&model, ODD.n_layer, &path, kind, 0.07);
    }
    let (dir, out) = (folder.file("in"), folder.file("out.gguf"));
    let report = json(&["convert", &dir, "-o", &out, "--quantize", "q4_0", "--json"]);
    let kept = ["token_embd", "blk.0.attn_qkv", "blk.0.attn_output", "blk.0.ffn_up"]
        .map(|n| format!("{n}.weight"));
    assert_eq!(report["kept_f16"], json!(kept));
    assert_eq!(report["raised_to_q8_0"], json!([]));
    let text = ok(&["convert", &dir, "-o", &out, "--quantize", "q8_0"]);
    assert!(kept.iter().all(|name| text.contains(name.as_str())), "{text}");
    assert!(text.contains("token ids only"), "{text}");
}

#[test]
fn shards_prefixes_and_number_types_make_no_difference() {
    let folder = Folder::new();
    let mut model = Model::random(ODD, 5);
    let plain = fs::read(convert(&model, &folder, &["--quantize", "f32", "--name", "m"])).unwrap();
    let sharded = folder.path().join("sharded");
    model.write_sharded(&sharded);
    assert!(!sharded.join("model.safetensors").exists());
    assert_eq!(
        fs::read(convert_dir(&sharded, &folder, &["--quantize", "f32", "--name", "m"])).unwrap(),
        plain
    );

    model.tensors =
        model.tensors.into_iter().map(|(n, t)| (n.replace("transformer.", ""), t)).collect();
    // What older checkpoints carry along: the causal mask.
    model.set("h.0.attn.bias", &[1, 1, 19, 19], vec![1.0; 19 * 19]);
    model.set("h.0.attn.masked_bias", &[1], vec![-1e4]);
    assert_eq!(
        fs::read(convert(&model, &folder, &["--quantize", "f32", "--name", "m"])).unwrap(),
        plain
    );

    // Numbers that both halves can hold read the same from either.
    let mut coarse = Model::random(ODD, 6);
    for (_, numbers) in coarse.tensors.values_mut() {
        numbers.iter_mut().for_each(|x| *x = (*x * 64.0).round() / 64.0);
    }
    let files = [Dtype::F32, Dtype::F16, Dtype::BF16].map(|dtype| {
        coarse.dtype = dtype;
        fs::read(convert(&coarse, &folder, &["--quantize", "f32"])).unwrap()
    });
    assert!(files[0] == files[1] && files[0] == files[2]);
    coarse.dtype = Dtype::I32;
    assert!(refused(&coarse, &[]).contains("I32"));
}

fn metadata(path: &str) -> Value {
    json(&["inspect", path, "--json"])["metadata"].clone()
}

#[test]
fn metadata_is_what_llama_cpp_reads() {
    let folder = Folder::new();
    let mut model = Model::random(EVEN, 7);
    model.config.insert("activation_function".into(), json!("gelu"));
    model.config.insert("layer_norm_epsilon".into(), json!(1e-6));
    let path = convert(&model, &folder, &["--quantize", "q8_0", "--name", "a name"]);
    let meta = metadata(&path);
    let want = [
        ("general.architecture", json!("gpt2")),
        ("general.name", json!("a name")),
        ("general.file_type", json!(7)),
        ("general.quantization_version", json!(2)),
        ("gpt2.block_count", json!(2)),
        ("gpt2.context_length", json!(24)),
        ("gpt2.embedding_length", json!(64)),
        ("gpt2.feed_forward_length", json!(96)),
        ("gpt2.attention.head_count", json!(4)),
        ("gpt2.vocab_size", json!(40)),
        ("gpt2.attention.layer_norm_epsilon", json!(1e-6)),
        ("gpt2.activation_function", json!("gelu")),
        ("tokenizer.ggml.model", json!("none")),
    ];
    for (key, value) in want {
        assert_eq!(meta[key], value, "{key}");
    }
    // 50256 lies outside a vocabulary of 40.
    assert_eq!(meta["tokenizer.ggml.eos_token_id"], Value::Null);
    let bytes = fs::read(&path).unwrap();
    let gguf = Gguf::parse(&bytes).unwrap();
    assert!(gguf.tensors().all(|t| t.offset % 32 == 0));
    assert_eq!(bytes.len(), gguf.file_size().next_multiple_of(32));
    for (name, number) in [("f32", 0), ("f16", 1), ("q4_0", 2)] {
        let path = convert(&model, &folder, &["--quantize", name]);
        assert_eq!(metadata(&path)["general.file_type"], json!(number));
    }
}

#[test]
fn heads_are_tied_untied_or_refused() {
    let folder = Folder::new();
    let mut model = Model::random(ODD, 8);
    let wte = model.numbers("transformer.wte.weight").to_vec();
    model.set("lm_head.weight", &[37, 45], wte.clone());
    let path = convert(&model, &folder, &["--quantize", "f32"]);
    assert!(!Tensors::read(&path).has("output.weight"), "equal to wte, so tied");

    let other: Vec<f32> = wte.iter().map(|x| x + 1.0).collect();
    model.set("lm_head.weight", &[37, 45], other.clone());
    assert!(refused(&model, &[]).contains("tie_word_embeddings"));

    model.config.insert("tie_word_embeddings".into(), json!(false));
    model.set("lm_head.bias", &[37], vec![0.5; 37]);
    let path = convert(&model, &folder, &["--quantize", "f32"]);
    let tensors = Tensors::read(&path);
    assert_eq!(tensors.get("output.weight").3, other);
    assert_eq!(tensors.get("output.bias").3, vec![0.5; 37]);

    model.tensors.remove("lm_head.weight");
    assert!(refused(&model, &[]).contains("lm_head.weight"));
}

#[test]
fn attention_scaling_goes_into_the_query() {
    let folder = Folder::new();
    let sizes = Sizes { n_layer: 2, ..ODD };
    let mut model = Model::random(sizes, 9);
    let plain = Tensors::read(convert(&model, &folder, &["--quantize", "f32"]));
    model.config.insert("scale_attn_weights".into(), json!(false));
    model.config.insert("scale_attn_by_inverse_layer_idx".into(), json!(true));
    let scaled = Tensors::read(convert(&model, &folder, &["--quantize", "f32"]));
    for layer in 0..2 {
        let factor = (15.0f64.sqrt() / (layer + 1) as f64) as f32;
        for what in ["weight", "bias"] {
            let name = format!("blk.{layer}.attn_qkv.{what}");
            let (before, after) = (&plain.get(&name).3, &scaled.get(&name).3);
            let third = before.len() / 3;
            assert!(before[..third].iter().zip(after).all(|(a, b)| a * factor == *b), "{name}");
            assert_eq!(before[third..], after[third..], "{name}: keys and values are left alone");
        }
    }
    assert_eq!(plain.get("blk.1.ffn_up.weight").3, scaled.get("blk.1.ffn_up.weight").3);
}

#[test]
fn biases_may_be_absent() {
    let folder = Folder::new();
    let mut model = Model::random(ODD, 10);
    model.tensors.retain(|name, _| !name.ends_with(".bias"));
    let tensors = Tensors::read(convert(&model, &folder, &["--quantize", "f32"]));
    assert!(tensors.0.iter().all(|t| t.0.ends_with(".weight")));
}

#[test]
fn what_gguf_cannot_say_is_refused_by_its_key() {
    let model = || Model::random(ODD, 11);
    for (key, value) in [
        ("model_type", json!("llama")),
        ("activation_function", json!("silu")),
        ("add_cross_attention", json!(true)),
        ("n_head", json!(7)),
        ("n_embd", json!(0)),
        ("n_layer", json!("two")),
        ("layer_norm_epsilon", json!("small")),
        ("scale_attn_weights", json!(3)),
    ] {
        let mut model = model();
        model.config.insert(key.into(), value);
        assert!(refused(&model, &[]).contains(key), "{key}");
    }
    let mut more = model();
    more.set("transformer.score.weight", &[2, 45], vec![0.0; 90]);
    assert!(refused(&more, &[]).contains("score.weight"));
    let mut less = model();
    less.tensors.remove("transformer.h.0.mlp.c_fc.weight");
    assert!(refused(&less, &[]).contains("h.0.mlp.c_fc.weight"));
    let mut shape = model();
    shape.config.insert("n_inner".into(), json!(65));
    assert!(refused(&shape, &[]).contains("h.0.mlp.c_fc.weight"));
}

#[test]
fn numbers_that_do_not_fit_are_refused_by_their_tensor() {
    let name = "transformer.h.0.mlp.c_proj.weight";
    for (bad, format, says) in [
        (f32::NAN, "f32", "NaN"),
        (f32::INFINITY, "q8_0", "inf"),
        (7e4, "f16", "--quantize f32"),
        (1e8, "q8_0", "--quantize f32"),
        (1e8, "q4_0", "--quantize f32"),
    ] {
        let mut model = Model::random(ODD, 12);
        model.tensors.get_mut(name).unwrap().1[70] = bad;
        let message = refused(&model, &["--quantize", format]);
        assert!(message.contains("h.0.mlp.c_proj.weight") && message.contains(says), "{message}");
    }
    let mut large = Model::random(ODD, 12);
    large.tensors.get_mut(name).unwrap().1[70] = 7e4;
    convert(&large, &Folder::new(), &["--quantize", "f32"]);
}

#[test]
fn damaged_checkpoints_are_refused() {
    let folder = Folder::new();
    let dir = folder.path().join("in");
    Model::random(ODD, 13).write(&dir);
    let weights = dir.join("model.safetensors");
    let whole = fs::read(&weights).unwrap();
    let out = folder.file("out.gguf");
    let args = ["convert", dir.to_str().unwrap(), "-o", &out];
    for cut in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&weights, &whole[..cut]).unwrap();
        assert!(fails(1, &args).contains("model.safetensors"), "{cut}");
    }
    let mut huge = whole.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    fs::write(&weights, &huge).unwrap();
    fails(1, &args);
    fs::remove_file(&weights).unwrap();
    assert!(fails(1, &args).contains("model.safetensors"));
    fs::write(dir.join("pytorch_model.bin"), b"x").unwrap();
    assert!(fails(1, &args).contains("pytorch_model.bin"));
    // An index that points out of its folder.
    let index = json!({ "weight_map": { "wte.weight": "../in/model.safetensors" } });
    fs::write(dir.join("model.safetensors.index.json"), index.to_string()).unwrap();
    assert!(fails(1, &args).contains("outside"));
    fs::write(dir.join("config.json"), "{").unwrap();
    assert!(fails(1, &args).contains("config.json"));
    assert_eq!(folder.names(), ["in"]);
}

/// GPT-2's files for a vocabulary of a few bytes, two merges and one special token.
fn vocab_files() -> (serde_json::Map<String, Value>, Vec<[String; 2]>) {
    let mut vocab = byte_vocab(b"ab \n\xc3\xa9");
    vocab.insert("ab".into(), json!(6));
    vocab.insert("\u{120}ab".into(), json!(7));
    vocab.insert("<|endoftext|>".into(), json!(8));
    let merges = [["a", "b"], ["\u{120}", "ab"]].map(|pair| pair.map(String::from));
    (vocab, merges.into())
}

fn write_pair(dir: &Path, names: [&str; 2]) {
    let (vocab, merges) = vocab_files();
    let lines: Vec<String> = merges.iter().map(|pair| pair.join(" ")).collect();
    fs::write(dir.join(names[0]), serde_json::to_string(&vocab).unwrap()).unwrap();
    fs::write(dir.join(names[1]), format!("#version: 0.2\n{}\n", lines.join("\n"))).unwrap();
}

fn tokenizer_json(merges: Value) -> Value {
    let (vocab, _) = vocab_files();
    json!({
        "version": "1.0",
        "added_tokens": [
            { "id": 8, "content": "<|endoftext|>", "special": true },
            { "id": 9, "content": "<user>", "special": false },
        ],
        "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "use_regex": true },
        "model": { "type": "BPE", "unk_token": null, "continuing_subword_prefix": "", "vocab": vocab, "merges": merges },
    })
}

fn arrays(path: &str) -> (Vec<String>, Vec<i64>, Vec<String>) {
    let bytes = fs::read(path).unwrap();
    let gguf = Gguf::parse(&bytes).unwrap();
    let strings = |key: &str| -> Vec<String> {
        let list = gguf.get(key).unwrap().as_array().unwrap();
        list.iter_strings().map(|s| String::from_utf8(s.to_vec()).unwrap()).collect()
    };
    let types = gguf.get("tokenizer.ggml.token_type").unwrap().as_array().unwrap();
    let types = types.iter().map(|v| v.as_u64().unwrap() as i64).collect();
    (strings("tokenizer.ggml.tokens"), types, strings("tokenizer.ggml.merges"))
}

#[test]
fn both_forms_of_tokenizer_files_give_the_same_vocabulary() {
    let folder = Folder::new();
    let model = Model::random(Sizes { n_vocab: 12, ..ODD }, 14);
    let dir = folder.path().join("in");
    model.write(&dir);
    let mut seen = Vec::new();
    for names in [["vocab.json", "merges.txt"], ["encoder.json", "vocab.bpe"]] {
        write_pair(&dir, names);
        fs::write(dir.join("added_tokens.json"), r#"{"<user>": 9}"#).unwrap();
        seen.push(arrays(&convert_dir(&dir, &folder, &[])));
        names.iter().for_each(|name| fs::remove_file(dir.join(name)).unwrap());
    }
    fs::remove_file(dir.join("added_tokens.json")).unwrap();
    for merges in [json!([["a", "b"], ["\u{120}", "ab"]]), json!(["a b", "\u{120} ab"])] {
        fs::write(dir.join("tokenizer.json"), tokenizer_json(merges).to_string()).unwrap();
        seen.push(arrays(&convert_dir(&dir, &folder, &[])));
    }
    assert!(seen.iter().all(|s| *s == seen[0]), "{seen:?}");
    let (tokens, types, merges) = &seen[0];
    assert_eq!(
        tokens[4..],
        ["\u{c3}", "\u{a9}", "ab", "\u{120}ab", "<|endoftext|>", "<user>", "[PAD10]", "[PAD11]"]
    );
    assert_eq!(types[..], [1, 1, 1, 1, 1, 1, 1, 1, 3, 4, 5, 5]);
    assert_eq!(merges[..], ["a b", "\u{120} ab"]);
    let out = folder.file("out.gguf");
    let meta = metadata(&out);
    assert_eq!(meta["tokenizer.ggml.pre"], "gpt-2");
    assert_eq!(
        (&meta["tokenizer.ggml.bos_token_id"], &meta["tokenizer.ggml.eos_token_id"]),
        (&json!(8), &json!(8))
    );
    // And it works.
    let ids = ok(&["tokenize", &out, "--text", "ab ab\né<|endoftext|><user>", "--special"]);
    assert_eq!(ids.trim(), "6,7,3,4,5,8,9");
    assert_eq!(ok(&["tokenize", &out, "--decode", "6,7,3,4,5,9"]), "ab ab\né<user>");
}

#[test]
fn the_special_tokens_are_those_the_files_name() {
    let folder = Folder::new();
    let mut model = Model::random(Sizes { n_vocab: 12, ..ODD }, 15);
    model.config.insert("eos_token_id".into(), json!([3, 4]));
    model.config.insert("bos_token_id".into(), json!(2));
    let dir = folder.path().join("in");
    model.write(&dir);
    let path = convert_dir(&dir, &folder, &[]);
    assert_eq!(metadata(&path)["tokenizer.ggml.eos_token_id"], json!(3), "ids only: config.json's");
    fs::write(dir.join("tokenizer.json"), tokenizer_json(json!(["a b"])).to_string()).unwrap();
    let special = |path: &str| {
        let meta = metadata(path);
        ["bos", "eos"].map(|t| meta[format!("tokenizer.ggml.{t}_token_id")].as_u64().unwrap())
    };
    assert_eq!(special(&convert_dir(&dir, &folder, &[])), [2, 3]);
    fs::write(dir.join("generation_config.json"), r#"{"eos_token_id": 5}"#).unwrap();
    assert_eq!(special(&convert_dir(&dir, &folder, &[])), [2, 5], "generation's before config's");
    let settings = json!({ "bos_token": { "content": "<user>" }, "eos_token": "<|endoftext|>", "add_bos_token": true });
    fs::write(dir.join("tokenizer_config.json"), settings.to_string()).unwrap();
    let path = convert_dir(&dir, &folder, &[]);
    assert_eq!(special(&path), [9, 8]);
    assert_eq!(metadata(&path)["tokenizer.ggml.add_bos_token"], json!(true));
    assert_eq!(arrays(&path).1[8..10], [3, 3], "a token with a role is special");
}

#[test]
fn tokenizers_that_are_not_gpt_2s_are_refused() {
    let folder = Folder::new();
    let dir = folder.path().join("in");
    Model::random(Sizes { n_vocab: 12, ..ODD }, 16).write(&dir);
    let out = folder.file("out.gguf");
    let args = ["convert", dir.to_str().unwrap(), "-o", &out];
    let good = tokenizer_json(json!(["a b"]));
    for (pointer, value, says) in [
        ("/normalizer", json!({ "type": "NFC" }), "normalizer"),
        ("/pre_tokenizer", json!({ "type": "Metaspace" }), "Metaspace"),
        ("/pre_tokenizer/add_prefix_space", json!(true), "add_prefix_space"),
        ("/pre_tokenizer/use_regex", json!(false), "use_regex"),
        ("/model/type", json!("WordPiece"), "WordPiece"),
        ("/model/continuing_subword_prefix", json!("##"), "continuing_subword_prefix"),
        ("/model/merges", json!(["a b c"]), "a b c"),
        ("/model/merges", json!(["b a"]), "b a"),
        ("/added_tokens/1/id", json!(12), "vocab_size"),
        ("/added_tokens/1/id", json!(3), "<user>"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        fs::write(dir.join("tokenizer.json"), bad.to_string()).unwrap();
        let message = fails(1, &args);
        assert!(message.contains(says), "{pointer}: {message}");
        // Without it the model itself is fine.
        ok(&[&args[..], &["--no-tokenizer"]].concat());
        fs::remove_file(&out).unwrap();
    }
    fs::remove_file(dir.join("tokenizer.json")).unwrap();
    fs::write(dir.join("vocab.json"), "{}").unwrap();
    assert!(fails(1, &args).contains("merges.txt"));
}

#[test]
fn llm_viz_json_gives_the_same_tensors_as_another_converter() {
    let folder = Folder::new();
    let out = folder.file("sort.gguf");
    let input = repo("tests/data/nano-sort/gpt-nano-sort-model.json");
    ok(&["convert", input.to_str().unwrap(), "-o", &out, "--quantize", "f32"]);
    let ours = Tensors::read(&out);
    // Made from the same JSON by tools/reference, with PyPI gguf.
    let theirs = Tensors::read(repo("tests/data/nano-sort/nano-sort.f32.gguf"));
    assert_eq!(ours.0.len(), theirs.0.len());
    for tensor in &theirs.0 {
        assert_eq!(ours.get(&tensor.0), tensor);
    }
    // What is bundled is what the program makes.
    ok(&[
        "convert",
        input.to_str().unwrap(),
        "-o",
        &out,
        "--quantize",
        "f32",
        "--name",
        "gpt-nano-sort",
    ]);
    assert!(
        fs::read(&out).unwrap() == fs::read(repo("examples/models/gpt-nano-sort.gguf")).unwrap()
    );
}

/// A folder of gpt2-basic with numbers that tell where they came from.
fn gpt2_basic(dir: &Path, n_vocab: usize) -> Vec<f32> {
    let config = format!(
        "# c\nvocab_size={n_vocab}\nn_positions=5\nn_embd=4\nn_head=2\nn_layer=2\nhidden_dim=8\n"
    );
    let (d, f, l) = (4, 8, 2);
    let per_layer = 4 * (d * d + d) + 4 * d + 2 * d * f + f + d;
    let n = n_vocab * d + 5 * d + l * per_layer + 2 * d + d * n_vocab + n_vocab;
    let numbers: Vec<f32> = (0..n).map(|i| i as f32).collect();
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("GPT2CFG.TXT"), config).unwrap();
    fs::write(
        dir.join("GPT2WT.BIN"),
        numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>(),
    )
    .unwrap();
    numbers
}

#[test]
fn gpt2_basic_tensors_come_from_their_places() {
    let folder = Folder::new();
    let dir = folder.path().join("in");
    let numbers = gpt2_basic(&dir, 258);
    let path = convert_dir(&dir, &folder, &["--quantize", "f32"]);
    let tensors = Tensors::read(&path);
    let mut at = 0;
    let mut next = |n: usize| {
        at += n;
        &numbers[at - n..at]
    };
    assert_eq!(tensors.get("token_embd.weight").3, next(258 * 4));
    assert_eq!(tensors.get("position_embd.weight").3, next(5 * 4));
    let both = |name: &str, want: &[f32]| {
        let layers = [0, 1].map(|l| tensors.get(&format!("blk.{l}.{name}")).3.clone());
        assert_eq!(layers.concat(), want, "{name}");
    };
    // `inputs` x `outputs` twice, each turned
    let twice = |inputs: usize, all: &[f32]| -> Vec<f32> {
        all.chunks(all.len() / 2).flat_map(|m| turned(&[inputs, m.len() / inputs], m)).collect()
    };
    both("attn_norm.weight", next(8));
    both("attn_norm.bias", next(8));
    let qkv: Vec<(Vec<f32>, Vec<f32>)> =
        (0..3).map(|_| (twice(4, next(32)), next(8).to_vec())).collect();
    for l in 0..2 {
        let weight: Vec<f32> = qkv.iter().flat_map(|(w, _)| w[l * 16..][..16].to_vec()).collect();
        let bias: Vec<f32> = qkv.iter().flat_map(|(_, b)| b[l * 4..][..4].to_vec()).collect();
        assert_eq!(tensors.get(&format!("blk.{l}.attn_qkv.weight")).3, weight);
        assert_eq!(tensors.get(&format!("blk.{l}.attn_qkv.bias")).3, bias);
    }
    both("attn_output.weight", &twice(4, next(32)));
    both("attn_output.bias", next(8));
    both("ffn_norm.weight", next(8));
    both("ffn_norm.bias", next(8));
    both("ffn_up.weight", &twice(4, next(64)));
    both("ffn_up.bias", next(16));
    both("ffn_down.weight", &twice(8, next(64)));
    both("ffn_down.bias", next(8));
    assert_eq!(tensors.get("output_norm.weight").3, next(4));
    assert_eq!(tensors.get("output_norm.bias").3, next(4));
    assert_eq!(tensors.get("output.weight").3, turned(&[4, 258], next(4 * 258)));
    assert_eq!(tensors.get("output.bias").3, next(258));
    assert_eq!(at, numbers.len());
    assert_eq!(
        ok(&["tokenize", &path, "--text", "Az\u{e9}"]).trim(),
        "67,124,197,171",
        "id = byte + 2"
    );
}

#[test]
fn gpt2_basic_vocabularies_are_read_and_checked() {
    let folder = Folder::new();
    let dir = folder.path().join("in");
    gpt2_basic(&dir, 260);
    let out = folder.file("out.gguf");
    let args = ["convert", dir.to_str().unwrap(), "-o", &out, "--quantize", "f32"];
    assert!(fails(1, &args).contains("VOCAB.BIN"));
    let record = |text: &[u8], id: u32| {
        let mut bytes = (text.len() as u32).to_le_bytes().to_vec();
        bytes.extend(text);
        bytes.resize(20, 0);
        bytes.extend(id.to_le_bytes());
        bytes
    };
    let mut vocab = 260u32.to_le_bytes().to_vec();
    vocab.extend(record(b"<|endoftext|>", 0));
    vocab.extend(record(b"<|unk|>", 1));
    (0..=255u8).for_each(|b| vocab.extend(record(&[b], u32::from(b) + 2)));
    vocab.extend(record(b" the", 258));
    vocab.extend(record(b" there", 259));
    vocab.extend(0u32.to_le_bytes());
    let file = dir.join("VOCAB.BIN");
    fs::write(&file, &vocab).unwrap();
    ok(&args);
    // " the" is not taken inside "them", and " there" before " the".
    let ids = |text: &str| ok(&["tokenize", &out, "--text", text]).trim().to_owned();
    assert_eq!(ids(" there the."), "259,258,48");
    assert_eq!(ids(" them"), "34,118,106,103,111");
    assert_eq!(ok(&["tokenize", &out, "--decode", "259,258,48"]), " there the.");

    let end = vocab.len();
    let mut twice = vocab.clone();
    twice[end - 8..end - 4].copy_from_slice(&258u32.to_le_bytes());
    let mut long = vocab.clone();
    long[4] = 17;
    let mut merges = vocab.clone();
    merges[end - 4] = 1;
    for (bytes, says) in [
        (twice, "258"),
        (long, "17"),
        (merges, "merges"),
        (vocab[..end - 30].to_vec(), "ends"),
        (vec![1, 0, 0, 0], "260"),
    ] {
        fs::write(&file, bytes).unwrap();
        let message = fails(1, &args);
        assert!(message.contains("VOCAB.BIN") && message.contains(says), "{message}");
    }
    fs::write(dir.join("GPT2WT.BIN"), [0; 100]).unwrap();
    assert!(fails(1, &args).contains("GPT2WT.BIN"));
    fs::write(dir.join("GPT2CFG.TXT"), "n_embd=4\n").unwrap();
    assert!(fails(1, &args).contains("vocab_size"));
}

#[test]
fn packed_files_run_and_are_the_same_model() {
    let folder = Folder::new();
    let model = Model::random(EVEN, 17);
    let plain = convert(&model, &folder, &["--quantize", "q8_0"]);
    let packed = folder.file("packed.gguf");
    ok(&["pack", &plain, "-o", &packed]);
    let direct = folder.file("direct.gguf");
    let dir = folder.file("in");
    ok(&["convert", &dir, "-o", &direct, "--quantize", "q8_0", "--packed"]);
    let bytes = fs::read(&packed).unwrap();
    assert!(bytes.starts_with(b"PLM1") && bytes == fs::read(&direct).unwrap());
    assert_eq!(bytes.len(), fs::read(&plain).unwrap().len());
    let logits = [&plain, &packed].map(|m| ok(&["logits", m, "--ids", "1,2,3"]));
    assert_eq!(logits[0], logits[1]);
    assert!(fails(1, &["pack", &packed, "-o", &direct]).contains("packed already"));
    assert_eq!(folder.names(), ["direct.gguf", "in", "out.gguf", "packed.gguf"]);
}

#[test]
fn what_is_no_checkpoint_is_said_so() {
    let folder = Folder::new();
    let out = folder.file("out.gguf");
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    for (name, bytes) in
        [("a.gguf", &b"GGUF...."[..]), ("b.json", b"{\"x\": 1}"), ("c.bin", b"\0\0\0"), ("d", b"")]
    {
        fs::write(folder.file(name), bytes).unwrap();
        let message = fails(1, &["convert", &folder.file(name), "-o", &out]);
        assert!(message.contains(name), "{message}");
    }
    assert!(fails(1, &["convert", empty.to_str().unwrap(), "-o", &out]).contains("Hugging Face"));
    assert!(fails(1, &["convert", &folder.file("none"), "-o", &out]).contains("does not exist"));
    let text = "{\"config\": {\"n_layer\": 1, \"n_head\": 1, \"n_embd\": 2, \"vocab_size\": 2, \"block_size\": 2},
        \"transformer.wte.weight\": {\"shape\": [2, 2], \"dtype\": \"torch.float32\", \"data\": \"AAAA\"}}";
    fs::write(folder.file("e.json"), text).unwrap();
    assert!(
        fails(1, &["convert", &folder.file("e.json"), "-o", &out]).contains("lacks the tensor")
    );
    fails(2, &["convert", &folder.file("e.json"), "-o", &out, "--quantize", "q5_1"]);
    fails(2, &["convert", &folder.file("e.json")]);
    // A target that cannot be.
    let input = repo("tests/data/nano-sort/gpt-nano-sort-model.json");
    assert!(
        fails(1, &["convert", input.to_str().unwrap(), "-o", empty.to_str().unwrap()])
            .contains("folder")
    );
    assert!(
        fails(1, &["convert", input.to_str().unwrap(), "-o", &folder.file("no/such/x.gguf")])
            .contains("cannot write")
    );
}
