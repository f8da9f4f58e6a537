//! `pagelm convert` of recurrent and dense models, and `predict` and `eval` on
//! what comes out: held to numbers that Keras, TensorFlow.js and numpy gave.
#![forbid(unsafe_code)]

mod common;

use common::{Folder, Rng, Tensors, fails, floats, json, list, ok, repo};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn data(name: &str) -> PathBuf {
    repo("tools/cli/tests/data").join(name)
}

fn convert(input: &Path, folder: &Folder, extra: &[&str]) -> String {
    let out = folder.file("out.gguf");
    let mut args = vec!["convert", input.to_str().unwrap(), "-o", &out, "-q", "f32", "--json"];
    args.extend(extra);
    ok(&args);
    out
}

fn refused(input: &Path, extra: &[&str]) -> String {
    let folder = Folder::new();
    let out = folder.file("out.gguf");
    let mut args = vec!["convert", input.to_str().unwrap(), "-o", &out];
    args.extend(extra);
    let message = fails(1, &args);
    assert!(folder.names().is_empty(), "nothing half is left");
    message
}

/// All outputs, one row after the other.
fn outputs(value: &Value) -> Vec<f32> {
    match value["output"][0] {
        Value::Array(_) => value["output"].as_array().unwrap().iter().flat_map(floats).collect(),
        _ => floats(&value["output"]),
    }
}

fn predict(model: &str, case: &Value) -> Vec<f32> {
    let mut args = vec!["predict".to_owned(), model.to_owned()];
    match case.get("ids") {
        Some(ids) => args.extend(["--ids".into(), list(&common::ids(ids))]),
        None => {
            let numbers = floats(&case["input"]).iter().map(f32::to_string).collect::<Vec<_>>();
            args.push(format!("--input={}", numbers.join(",")));
        }
    }
    if case["every_step"] == true {
        args.push("--every-step".into());
    }
    outputs(&json(&args))
}

fn near(got: &[f32], want: &[f32], bound: f32, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= bound, "{what}: {worst}");
}

/// Converts every model of a folder and compares what it gives.
fn goldens(dir: &Path, at_least: usize) {
    let text = fs::read_to_string(dir.join("goldens.json")).unwrap();
    let cases: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() >= at_least);
    for (file, case) in &cases {
        let folder = Folder::new();
        let model = convert(&dir.join(file), &folder, &[]);
        let want = floats(&case["output"]);
        near(&predict(&model, case), &want, 1e-5, file);
    }
}

#[test]
fn keras_files_give_what_keras_gave() {
    goldens(&data("keras"), 14);
}

#[test]
fn tensorflow_js_models_give_what_it_gave() {
    let dir = repo("tests/data/tfjs");
    goldens(&dir, 7);
    // The loader's tests run these files.
    for name in ["dense", "lstm", "words"] {
        let folder = Folder::new();
        let made = convert(&dir.join(name), &folder, &["--name", name]);
        let kept = fs::read(dir.join(name).join("model.gguf")).unwrap();
        assert!(fs::read(made).unwrap() == kept, "{name}");
    }
}

#[test]
fn a_packed_file_gives_the_same_bits() {
    let (folder, input) = (Folder::new(), data("keras/steps-keras3.keras"));
    let plain = convert(&input, &folder, &[]);
    let case = json!({"input": vec![0.25; 15]});
    let want = predict(&plain, &case);
    assert_eq!(predict(&convert(&input, &folder, &["--packed"]), &case), want);
}

/// A Keras description in TensorFlow.js' file, with weights of one number each.
fn tfjs(folder: &Folder, layers: &Value, weights: &[(&str, Vec<usize>)]) -> PathBuf {
    let list: Vec<Value> = weights
        .iter()
        .map(|(name, shape)| json!({"name": name, "shape": shape, "dtype": "float32"}))
        .collect();
    let n: usize = weights.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    let model = json!({
        "format": "layers-model",
        "modelTopology": {"class_name": "Sequential", "config": {"name": "s", "layers": layers}},
        "weightsManifest": [{"paths": ["w.bin"], "weights": list}],
    });
    fs::write(folder.path().join("w.bin"), [0u8, 0, 0, 63].repeat(n)).unwrap();
    let path = folder.path().join("model.json");
    fs::write(&path, model.to_string()).unwrap();
    path
}

fn layer(class: &str, config: Value) -> Value {
    json!({"class_name": class, "config": config})
}

#[test]
fn what_is_not_supported_is_named_with_what_is() {
    let input = json!([null, 4, 3]);
    let lstm = |extra: &Value| {
        let mut config = json!({"name": "memory", "units": 2, "activation": "tanh", "recurrent_activation": "sigmoid", "batch_input_shape": input});
        config.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        layer("LSTM", config)
    };
    let arrays = [("memory/k", vec![3, 8]), ("memory/r", vec![2, 8]), ("memory/b", vec![8])];
    for (layers, words) in [
        (
            json!([layer("Conv1D", json!({"name": "c", "batch_input_shape": input}))]),
            "the layer c: layers of the class Conv1D are not supported; supported are Dense, ",
        ),
        (
            json!([lstm(&json!({"activation": "swish"}))]),
            "the activation swish is not supported; supported are linear, ",
        ),
        (json!([lstm(&json!({"go_backwards": true}))]), "go_backwards"),
        (json!([lstm(&json!({"return_state": true}))]), "return_state"),
        (json!([lstm(&json!({"use_bias": false}))]), "its bias is missing or too many"),
        (
            json!([lstm(&json!({})), lstm(&json!({"name": "memory"}))]),
            "the layer memory cannot be converted: a recurrent layer needs a sequence",
        ),
        (
            json!([layer(
                "Bidirectional",
                json!({"name": "memory", "merge_mode": "mul", "batch_input_shape": input, "layer": lstm(&json!({}))})
            )]),
            "the merge_mode \"mul\" is not supported",
        ),
    ] {
        let folder = Folder::new();
        let message = refused(&tfjs(&folder, &layers, &arrays), &[]);
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn broken_containers_are_refused() {
    let folder = Folder::new();
    let whole = fs::read(data("keras/lstm-keras3.h5")).unwrap();
    let path = folder.path().join("cut.h5");
    for len in [4, 100, 2048, 9000, whole.len() / 2] {
        fs::write(&path, &whole[..len]).unwrap();
        let message = refused(&path, &[]);
        assert!(message.contains("cut.h5"), "{len}: {message}");
    }
    let zip = fs::read(data("keras/dense-keras3.keras")).unwrap();
    fs::write(&path, &zip[..zip.len() / 2]).unwrap();
    assert!(refused(&path, &[]).contains("zip"));
}

/// A folder with a description and random tensors.
struct Described {
    folder: Folder,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Described {
    fn new(shapes: &[(&str, &[usize])]) -> Self {
        let mut rng = Rng(9);
        let tensors = shapes.iter().map(|(name, shape)| {
            ((*name).to_owned(), (shape.to_vec(), rng.floats(shape.iter().product())))
        });
        Self { folder: Folder::new(), tensors: tensors.collect() }
    }

    fn write(&self, description: &Value) -> PathBuf {
        let bytes: BTreeMap<&String, (Vec<usize>, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(n, (s, x))| (n, (s.clone(), x.iter().flat_map(|v| v.to_le_bytes()).collect())))
            .collect();
        let views = bytes
            .iter()
            .map(|(n, (s, b))| (n.as_str(), TensorView::new(Dtype::F32, s.clone(), b).unwrap()));
        let file = safetensors::serialize(views, None).unwrap();
        fs::write(self.folder.path().join("model.safetensors"), file).unwrap();
        fs::write(self.folder.path().join("pagelm.json"), description.to_string()).unwrap();
        self.folder.path().to_path_buf()
    }
}

const GRU: [(&str, &[usize]); 8] = [
    ("embed.weight", &[5, 3]),
    ("rnn.weight_ih_l0", &[12, 3]),
    ("rnn.weight_hh_l0", &[12, 4]),
    ("rnn.bias_ih_l0", &[12]),
    ("rnn.bias_hh_l0", &[12]),
    ("rnn.weight_ih_l1", &[12, 4]),
    ("rnn.weight_hh_l1", &[12, 4]),
    ("head.weight", &[5, 4]),
];

fn gru() -> Value {
    json!({
        "name": "small",
        "layers": [
            {"type": "embedding", "module": "embed"},
            {"type": "gru", "module": "rnn"},
            {"type": "dense", "module": "head"},
        ],
        "vocabulary": ["<s>", "a", "b", "é", "\n"], "control": ["<s>"], "bos": "<s>", "eos": "\n",
    })
}

#[test]
fn a_described_module_keeps_its_numbers() {
    let model = Described::new(&GRU);
    let folder = Folder::new();
    let out = convert(&model.write(&gru()), &folder, &[]);
    let tensors = Tensors::read(&out);
    for (theirs, ours) in [
        ("embed.weight", "token_embd.weight"),
        ("rnn.weight_ih_l0", "blk.0.rnn_ih.weight"),
        ("rnn.bias_hh_l0", "blk.0.rnn_hh.bias"),
        ("rnn.weight_hh_l1", "blk.1.rnn_hh.weight"),
        ("head.weight", "dense.0.weight"),
    ] {
        assert_eq!(tensors.get(ours).3, model.tensors[theirs].1, "{ours}");
    }
    assert!(!tensors.has("dense.0.bias") && !tensors.has("blk.1.rnn_ih.bias"));
    let text = json(&["tokenize", &out, "--text", "ab\u{e9}", "--json"]);
    assert_eq!(common::ids(&text["ids"]), [1, 2, 3]);
    let shown = ok(&["inspect", &out]);
    for words in ["gru.gate_order", "\"rzn\"", "gru.reset_after", "\"small\""] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

#[test]
fn other_gate_orders_are_put_in_ours() {
    let model = Described::new(&GRU);
    let folder = Folder::new();
    let case = json!({"ids": [1, 2, 3], "every_step": true});
    let want = predict(&convert(&model.write(&gru()), &folder, &[]), &case);
    let mut turned = Described::new(&GRU);
    for (name, (_, data)) in &mut turned.tensors {
        if name.starts_with("rnn") {
            // r, z, n -> z, n, r
            let n = data.len() / 3;
            data.rotate_left(n);
        }
    }
    let mut description = gru();
    description["layers"][1]["gate_order"] = json!("znr");
    let got = predict(&convert(&turned.write(&description), &folder, &[]), &case);
    assert_eq!(got, want);
}

#[test]
fn descriptions_that_do_not_fit_are_refused() {
    let model = Described::new(&GRU);
    for (path, value, words) in [
        ("/layers/1/type", json!("conv"), "unknown variant `conv`"),
        ("/layers/1/module", json!("memory"), "lacks the tensor memory.weight_ih_l0"),
        ("/layers/1/type", json!("lstm"), "which is no lstm"),
        ("/layers/2/activation", json!("swish"), "swish is not supported; supported are"),
        (
            "/layers/2",
            json!({"type": "activation", "function": "tanh"}),
            "no place in the described model: head.weight",
        ),
        ("/vocabulary", json!(["<s>", "\n"]), "has 2 texts and the embedding 5 rows"),
        ("/bos", json!("x"), "bos is \"x\", which is not in the vocabulary"),
        ("/weights", json!("../model.safetensors"), "a file of the same folder"),
        ("/colour", json!(1), "unknown field `colour`"),
    ] {
        let mut description = gru();
        let (parent, key) = path.rsplit_once('/').unwrap();
        match description.pointer_mut(parent).unwrap() {
            Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
            object => object[key] = value,
        }
        let message = refused(&model.write(&description), &[]);
        assert!(message.contains(words), "{path}: {message}");
    }
}

#[test]
fn one_hot_input_becomes_tokens() {
    let model = Described::new(&[
        ("rnn.weight_ih_l0", &[4, 3]),
        ("rnn.weight_hh_l0", &[4, 4]),
        ("fc.weight", &[3, 4]),
    ]);
    let dir = model.write(
        &json!({"layers": [{"type": "rnn", "module": "rnn"}, {"type": "dense", "module": "fc"}]}),
    );
    let folder = Folder::new();
    let vectors = convert(&dir, &folder, &[]);
    let want = predict(&vectors, &json!({"input": [0, 1, 0, 1, 0, 0], "every_step": true}));
    let file = folder.file("vocabulary.json");
    fs::write(&file, "{\"x\": 0, \"y\": 1, \"z\": 2}").unwrap();
    let tokens = convert(&dir, &folder, &["--vocabulary", &file]);
    assert_eq!(predict(&tokens, &json!({"ids": [1, 0], "every_step": true})), want);
    let out = json(&["predict", &tokens, "--text", "yx", "--every-step"]);
    assert_eq!(outputs(&out), want);
    fs::write(&file, "[\"x\"]").unwrap();
    assert!(refused(&dir, &["--vocabulary", &file]).contains("has 1 texts"));
}

#[test]
fn predict_tells_the_state_and_what_is_wrong() {
    let folder = Folder::new();
    let model = convert(&data("keras/lstm-keras3.h5"), &folder, &[]);
    let out = json(&["predict", &model, "--input", "1,2,3,-1,-2,-3", "--state"]);
    assert_eq!(out["n_output"], 2);
    // Two layers of 6 and 5, of each h and c.
    assert_eq!(out["state"].as_array().unwrap().len(), 22);
    let file = folder.file("x.json");
    fs::write(&file, "[[1, 2, 3], [-1, -2, -3]]").unwrap();
    assert_eq!(json(&["predict", &model, "--input-file", &file, "--state"]), out);
    for (args, words) in [
        (["--input", "1,2"], "3"),
        (["--ids", "1,2"], "predict"),
        (["--text", "ab"], "no tokenizer"),
        (["--input-file", "/nonexistent"], "cannot read"),
    ] {
        let message = fails(1, &["predict", &model, args[0], args[1]]);
        assert!(message.to_lowercase().contains(words), "{message}");
    }
}

/// -log2 of a token's probability, from its row of logits.
fn cost(row: &Value, id: u32) -> f64 {
    let row: Vec<f64> = floats(row).iter().map(|&x| x.into()).collect();
    let sum: f64 = row.iter().map(|x| x.exp()).sum();
    (sum.ln() - row[id as usize]) / std::f64::consts::LN_2
}

#[test]
fn eval_counts_what_it_says() {
    let model = Described::new(&GRU);
    let folder = Folder::new();
    let path = convert(&model.write(&gru()), &folder, &[]);
    let text = folder.file("text.txt");
    fs::write(&text, "abéab\nba").unwrap();
    let got = json(&["eval", &path, &text, "--json"]);
    assert_eq!((got["tokens"].as_u64(), got["bytes"].as_u64()), (Some(8), Some(9)));
    // The same from the logits behind <s> and each token but the last.
    let ids = [0, 1, 2, 3, 1, 2, 4, 2, 1];
    let rows = json(&["logits", &path, "--ids", &list(&ids[..8]), "--all"]);
    let rows = rows["logits"].as_array().unwrap();
    let bits: f64 = rows.iter().zip(&ids[1..]).map(|(row, &id)| cost(row, id)).sum();
    assert!((got["bits_per_token"].as_f64().unwrap() - bits / 8.0).abs() < 1e-6);
    assert!((got["bits_per_byte"].as_f64().unwrap() - bits / 9.0).abs() < 1e-6);
    fs::write(&text, "abxba").unwrap();
    assert!(fails(1, &["eval", &path, &text]).contains("vocabulary"));
    let got = json(&["eval", &path, &text, "--json", "--drop-unknown"]);
    assert_eq!(
        (got["characters"].as_u64(), got["dropped_characters"].as_u64()),
        (Some(4), Some(1))
    );
    let cut = json(&["eval", &path, &text, "--json", "--max-bytes", "2"]);
    assert_eq!(cut["bytes"], 2);
}

#[test]
fn eval_reads_a_transformer_in_windows() {
    const WINDOW: usize = 192;
    let folder = Folder::new();
    let file = folder.file("text.txt");
    let text = "The model runs in memory. ".repeat(16);
    fs::write(&file, &text).unwrap();
    let path = repo("examples/models/gpt2-basic-bytes.gguf");
    let path = path.to_str().unwrap();
    let got = json(&["eval", path, &file, "--json"]);
    // The model's own first token, and a byte is its number and two.
    let ids: Vec<u32> = [0].into_iter().chain(text.bytes().map(|b| u32::from(b) + 2)).collect();
    let (mut bits, mut counted, mut start) = (0.0, 1, 0);
    while counted < ids.len() {
        let end = ids.len().min(start + WINDOW);
        let rows = json(&["logits", path, "--ids", &list(&ids[start..end - 1]), "--all"]);
        let rows = rows["logits"].as_array().unwrap();
        bits += (counted..end).map(|at| cost(&rows[at - 1 - start], ids[at])).sum::<f64>();
        (counted, start) = (end, end - WINDOW / 2);
    }
    let want = bits / text.len() as f64;
    assert!((got["bits_per_byte"].as_f64().unwrap() - want).abs() < 1e-6);
}
