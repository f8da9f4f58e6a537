//! The commands that run a model: their machine forms, their text, their errors.
#![forbid(unsafe_code)]

mod common;

use common::hf::{Model, byte_vocab};
use common::{Folder, fails, floats, ids, json, list, ok, pagelm, repo, run, stderr, top};
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::process::{Child, Stdio};

/// Bytes that only together are characters: a, é, €, 😀, a line's end, and an end of text.
const CYCLE: &str = "aé€😀\n";
/// The id of the token that ends a text, after those of the bytes.
const END: u32 = 11;

/// A model that counts through the bytes of [`CYCLE`] and then ends.
fn counting(folder: &Folder) -> String {
    let dir = folder.path().join("in");
    let model = Model::counting(12, 64);
    model.write(&dir);
    let mut vocab = byte_vocab(CYCLE.as_bytes());
    vocab.insert("<|endoftext|>".into(), json!(END));
    fs::write(dir.join("vocab.json"), serde_json::to_string(&vocab).unwrap()).unwrap();
    fs::write(dir.join("merges.txt"), "#version: 0.2\n").unwrap();
    let out = folder.file("counting.gguf");
    ok(&["convert", dir.to_str().unwrap(), "-o", &out, "--quantize", "f32"]);
    out
}

fn generate(model: &str, extra: &[&str]) -> Value {
    let mut args = vec!["generate", model, "--json"];
    args.extend(extra);
    json(&args)
}

#[test]
fn generate_tells_everything_in_json() {
    let folder = Folder::new();
    let model = counting(&folder);
    let out = generate(&model, &["--prompt", "a", "--tokens", "100"]);
    assert_eq!(out["text"], "é€😀\n");
    assert_eq!(ids(&out["prompt_ids"]), [0]);
    assert_eq!(ids(&out["ids"])[..10], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(out["finish"], "stop");
    assert!(
        out["memory_bytes"].as_u64().unwrap() > 0
            && out["tokens_per_second"].as_f64().unwrap() >= 0.0
    );
    assert_eq!(out["ids_fnv1a64"].as_str().unwrap().len(), 16);
    // FNV-1a of four zero bytes: the offset basis times the prime four times.
    let zero = generate(&model, &["--prompt-ids", "11", "--tokens", "1", "--ignore-eos"]);
    assert_eq!(ids(&zero["ids"]), [0]);
    assert_eq!(zero["ids_fnv1a64"], "4d25767f9dce13f5");
}

#[test]
fn generation_ends_for_its_four_reasons() {
    let folder = Folder::new();
    let model = counting(&folder);
    let ends = |extra: &[&str]| {
        let out = generate(&model, extra);
        (out["finish"].as_str().unwrap().to_owned(), out["text"].as_str().unwrap().to_owned())
    };
    let is = |finish: &str, text: &str| (finish.to_owned(), text.to_owned());
    assert_eq!(ends(&["--prompt", "a", "-n", "3"]), is("length", "é\u{fffd}"));
    assert_eq!(ends(&["--prompt", "a", "-n", "0"]), is("length", ""));
    assert_eq!(ends(&["--prompt", "a"]), is("stop", "é€😀\n"));
    assert_eq!(ends(&["--prompt", "a", "--stop", "😀"]), is("stop_string", "é€"));
    assert_eq!(ends(&["--prompt", "a", "--stop", "x", "--stop", "€"]), is("stop_string", "é"));
    // What only looked like a stop string is text after all.
    assert_eq!(ends(&["--prompt", "a", "--stop", "€x", "-n", "5"]), is("length", "é€"));
    assert_eq!(ends(&["--prompt", "a", "--stop", "\nx", "-n", "10"]), is("length", "é€😀\n"));
    let full = generate(&model, &["--prompt", "a", "--ignore-eos", "--context", "7"]);
    assert_eq!(full["finish"], "context");
    let n = full["ids"].as_array().unwrap().len();
    assert!((6..=7).contains(&n), "{n}");
    let slid = generate(
        &model,
        &["--prompt", "a", "--ignore-eos", "--context", "7", "--when-full", "slide", "-n", "40"],
    );
    assert_eq!(slid["finish"], "length");
    let want: Vec<u32> = (1..=40).map(|i| i % 12).collect();
    assert_eq!(
        ids(&slid["ids"]),
        want,
        "the window does not disturb a model that looks at one token"
    );
}

#[test]
fn an_empty_prompt_begins_with_the_models_own_token() {
    let folder = Folder::new();
    let model = counting(&folder);
    let out = generate(&model, &["-n", "3"]);
    assert_eq!(ids(&out["prompt_ids"]), [END]);
    assert_eq!(ids(&out["ids"]), [0, 1, 2]);
    // Special tokens are read as themselves only if asked for.
    assert_eq!(
        ids(
            &generate(&model, &["--prompt", "a<|endoftext|>", "--special", "-n", "1"])["prompt_ids"]
        ),
        [0, END]
    );
    let plain = fails(1, &["generate", &model, "--prompt", "a<|endoftext|>"]);
    assert!(plain.contains("prompt"), "{plain}");
}

#[test]
fn streamed_text_is_whole_at_every_moment() {
    let folder = Folder::new();
    let model = counting(&folder);
    let mut child = pagelm()
        .args(["generate", &model, "--prompt", "a", "--ignore-eos", "-n", "50"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdout.take().unwrap();
    let mut all = Vec::new();
    let mut buffer = [0; 1 << 16];
    // A pipe hands over whole writes, several perhaps, as long as they fit.
    loop {
        let n = pipe.read(&mut buffer).unwrap();
        if n == 0 {
            break;
        }
        assert!(std::str::from_utf8(&buffer[..n]).is_ok(), "{:?}", &buffer[..n]);
        all.extend_from_slice(&buffer[..n]);
    }
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success());
    let text = String::from_utf8(all).unwrap();
    assert_eq!(
        text,
        format!(
            "{}\n",
            generate(&model, &["--prompt", "a", "--ignore-eos", "-n", "50"])["text"]
                .as_str()
                .unwrap()
        )
    );
    assert!(text.starts_with("é€😀\na"));
    let statistics = stderr(&out);
    assert!(
        statistics.contains("50 generated") && statistics.contains("ids_fnv1a64"),
        "{statistics}"
    );
}

/// A `generate` under way that does not end before `tokens` tokens.
fn write_on(model: &str, tokens: &str) -> Child {
    let args = ["--prompt", "a", "--ignore-eos", "-n", tokens, "--when-full", "slide"];
    let mut command = pagelm();
    command.args(["generate", model]).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let folder = Folder::new();
    let model = counting(&folder);
    let mut child = write_on(&model, "2000");
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success() && stderr(&out).is_empty(), "{}", stderr(&out));
}

/// A bundled model that takes text.
fn bundled() -> String {
    repo("examples/models/gpt2-basic-bytes.gguf").to_str().unwrap().to_owned()
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_the_output_is_an_error_and_no_panic() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (folder, model) = (Folder::new(), bundled());
    let packed = folder.file("packed.plm");
    let commands: [&[&str]; 4] = [
        &["inspect", &model],
        &["tokenize", &model, "--text", "a"],
        &["pack", &model, "-o", &packed],
        &["generate", &model, "--prompt", "a", "--tokens", "2", "--json"],
    ];
    for args in commands {
        let out = pagelm().args(args).stdout(full()).output().unwrap();
        assert_eq!(out.status.code(), Some(1), "{args:?}");
        assert!(!stderr(&out).contains("panicked"), "{args:?}");
    }
    let silent = pagelm().args(["inspect", "no-such-file"]).stderr(full()).status().unwrap();
    assert_eq!(silent.code(), Some(1));
}

#[cfg(target_os = "linux")]
#[test]
fn what_stands_behind_the_last_tensor_is_not_read() {
    let (folder, model) = (Folder::new(), bundled());
    let long = folder.file("long.gguf");
    fs::copy(&model, &long).unwrap();
    // A hole of 40 GB: nothing is written.
    fs::OpenOptions::new().write(true).open(&long).unwrap().set_len(40 << 30).unwrap();
    let written = |model: &str| generate(model, &["--prompt", "What", "--tokens", "4"]);
    assert_eq!(written(&long)["ids"], written(&model)["ids"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_with_what_is_written() {
    let folder = Folder::new();
    let model = counting(&folder);
    let mut child = write_on(&model, "4000000000");
    let mut pipe = child.stdout.take().unwrap();
    let mut first = [0; 1];
    pipe.read_exact(&mut first).unwrap();
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let mut rest = String::new();
    pipe.read_to_string(&mut rest).unwrap_or_default();
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(130));
    assert!(stderr(&out).contains("interrupted"), "{}", stderr(&out));
}

#[test]
fn a_seed_is_a_text() {
    let model = repo("examples/models/gpt2-basic-bytes.gguf");
    let model = model.to_str().unwrap();
    let with = |seed: &str| {
        let args = [
            "--prompt",
            "What",
            "--temperature",
            "1",
            "--top-k",
            "40",
            "--top-p",
            "0.95",
            "--min-p",
            "0.01",
            "-n",
            "24",
        ];
        let out = generate(model, &[&args[..], &["--seed", seed]].concat());
        (out["text"].as_str().unwrap().to_owned(), out["ids_fnv1a64"].clone())
    };
    assert_eq!(with("1"), with("1"));
    assert_ne!(with("1").1, with("2").1);
    let args = ["generate", model, "--prompt", "What", "-n", "24", "--json"];
    let greedy = json(&args);
    for isa in ["scalar", "auto"] {
        let out = json(&[&args[..], &["--isa", isa, "--batch", "1"]].concat());
        assert_eq!(out["ids_fnv1a64"], greedy["ids_fnv1a64"], "{isa}");
    }
    let penalised = json(
        &[
            &args[..],
            &[
                "--repetition-penalty",
                "1.3",
                "--presence-penalty",
                "0.5",
                "--frequency-penalty",
                "0.5",
            ],
        ]
        .concat(),
    );
    assert_ne!(penalised["ids_fnv1a64"], greedy["ids_fnv1a64"]);
}

#[test]
fn logits_read_back_to_the_bit_whatever_the_batch_and_kernels() {
    let model = repo("tests/data/gpt2/odd45.f32.gguf");
    let model = model.to_str().unwrap();
    let seq: Vec<u32> = (0..17).map(|i| i * 7 % 67).collect();
    let all = json(&["logits", model, "--ids", &list(&seq), "--all"]);
    assert_eq!(all["n_vocab"], 67);
    assert_eq!(ids(&all["ids"]), seq);
    let rows: Vec<Vec<f32>> = all["logits"].as_array().unwrap().iter().map(floats).collect();
    assert_eq!((rows.len(), rows[0].len()), (17, 67));
    for extra in [
        &["--batch", "1"][..],
        &["--batch", "5"],
        &["--batch", "17"],
        &["--isa", "scalar", "--batch", "3"],
    ] {
        let other = json(&[&["logits", model, "--ids", &list(&seq), "--all"], extra].concat());
        assert_eq!(other["logits"], all["logits"], "{extra:?}");
    }
    for n in [1, 9, 17] {
        let last = json(&["logits", model, "--ids", &list(&seq[..n])]);
        assert_eq!(floats(&last["logits"]), rows[n - 1], "{n}");
    }
    // The shortest decimal that reads back: no number has more than nine digits.
    let text = ok(&["logits", model, "--ids", "1"]);
    let longest =
        text.split([',', '[', ']']).map(|n| n.trim_start_matches(['-', '0', '.']).len()).max();
    assert!(longest.unwrap() <= 24, "{text}");
}

#[test]
fn tokenize_goes_there_and_back() {
    let folder = Folder::new();
    let model = counting(&folder);
    let text = "é😀a\n€";
    let line = ok(&["tokenize", &model, "--text", text]);
    assert_eq!(line, "1,2,6,7,8,9,0,10,3,4,5\n");
    assert_eq!(ok(&["tokenize", &model, "--decode", line.trim()]), text);
    let file = folder.file("text");
    fs::write(&file, text).unwrap();
    assert_eq!(ok(&["tokenize", &model, "--file", &file]), line);
    let both = json(&["tokenize", &model, "--file", &file, "--json"]);
    assert_eq!((list(&ids(&both["ids"])), &both["text"]), (line.trim().to_owned(), &json!(text)));
    // Half a character comes out as the byte it is.
    assert_eq!(run(&["tokenize", &model, "--decode", "1"]).stdout, b"\xc3");
    assert_eq!(json(&["tokenize", &model, "--decode", "1", "--json"])["text"], "\u{fffd}");
    assert_eq!(ok(&["tokenize", &model, "--text", ""]), "\n");
    assert_eq!(
        ok(&["tokenize", &model, "--text", "<|endoftext|>", "--special"]),
        format!("{END}\n")
    );
    assert!(fails(1, &["tokenize", &model, "--text", "b"]).contains("byte 0"));
    assert!(fails(1, &["tokenize", &model, "--decode", "12"]).contains("12"));
}

#[test]
fn models_without_a_tokenizer_take_ids_only() {
    let model = repo("tests/data/gpt2/tiny.q8_0.gguf");
    let model = model.to_str().unwrap();
    for args in [
        &["tokenize", model, "--text", "a"][..],
        &["generate", model, "--prompt", "a"],
        &["generate", model],
    ] {
        fails(1, args);
    }
    let out = generate(model, &["--prompt-ids", "1,2,3", "-n", "4"]);
    assert_eq!(out["ids"].as_array().unwrap().len(), 4);
    assert_eq!(out["text"], "");
    let logits = json(&["logits", model, "--ids", "1,2,3"]);
    assert_eq!(top(&floats(&logits["logits"])) as u64, out["ids"][0].as_u64().unwrap());
}

#[test]
fn inspect_measures_to_the_byte() {
    let folder = Folder::new();
    let model = counting(&folder);
    let out = json(&["inspect", &model, "--json"]);
    let size = fs::metadata(&model).unwrap().len();
    assert_eq!(out["file_bytes"], size);
    assert_eq!(out["packed"], false);
    assert_eq!(out["metadata"]["tokenizer.ggml.tokens"]["length"], 12);
    assert_eq!(out["metadata"]["tokenizer.ggml.tokens"]["first"].as_array().unwrap().len(), 6);
    let first = &out["tensors"][0];
    assert_eq!(
        (&first["name"], &first["type"], &first["shape"]),
        (&json!("token_embd.weight"), &json!("f32"), &json!([12, 12]))
    );
    assert_eq!(first["offset"], out["header_bytes"]);
    let memory = |context: &str| {
        let m = json(&["inspect", &model, "--json", "--context", context])["memory"].clone();
        let part = |key: &str| m[key].as_u64().unwrap();
        assert_eq!(part("total"), part("file") + part("model") + part("session"));
        (part("context"), part("session"), part("total"))
    };
    assert_eq!(memory("64").1, out["memory"]["session"].as_u64().unwrap());
    assert!(memory("32").1 < memory("64").1);
    // It is the memory that generating takes with the engine's own batch: there the whole file is held.
    let ran = generate(&model, &["--prompt", "a", "-n", "1", "--context", "32", "--batch", "16"]);
    let file = out["memory"]["file"].as_u64().unwrap();
    assert_eq!(ran["memory_bytes"].as_u64().unwrap() - size, memory("32").2 - file);
    let text = ok(&["inspect", &model]);
    for part in [
        "gpt2.block_count",
        "blk.0.attn_qkv.weight",
        "36 x 12",
        "parameters",
        "total",
        "12 of [\"a\"",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let packed = folder.file("packed");
    ok(&["pack", &model, "-o", &packed]);
    let after = json(&["inspect", &packed, "--json"]);
    assert_eq!((&after["packed"], &after["tensors"]), (&json!(true), &out["tensors"]));
}

#[test]
fn bad_files_are_told_by_name_and_place() {
    let folder = Folder::new();
    let model = counting(&folder);
    let whole = fs::read(&model).unwrap();
    let header = json(&["inspect", &model, "--json"])["header_bytes"].as_u64().unwrap() as usize;
    let bad = folder.file("bad.gguf");
    let each = |says: &[&str]| {
        for args in [
            &["generate", &bad, "--prompt", "a"][..],
            &["logits", &bad, "--ids", "1"],
            &["tokenize", &bad, "--text", "a"],
            &["pack", &bad, "-o", &folder.file("packed")],
        ] {
            let message = fails(1, args);
            assert!(message.contains("bad.gguf"), "{message}");
            for word in says {
                assert!(message.contains(word), "{args:?}: {message}");
            }
        }
        let out = run(&["inspect", &bad]);
        assert_eq!(out.status.code(), Some(1));
        assert!(stderr(&out).contains("bad.gguf"));
    };
    for cut in [0, 3, 4, 20, header / 2, header - 1, header, whole.len() / 2] {
        fs::write(&bad, &whole[..cut]).unwrap();
        each(&["cut short"]);
    }
    fs::write(&bad, b"PK\x03\x04 something else").unwrap();
    each(&["not a GGUF file"]);
    let mut version = whole.clone();
    version[4] = 9;
    fs::write(&bad, &version).unwrap();
    each(&["version 9"]);
    let at = |needle: &[u8]| whole.windows(needle.len()).position(|w| w == needle).unwrap();
    let mut arch = whole.clone();
    let name = at(b"general.architecture") + 20 + 4 + 8;
    arch[name..name + 4].copy_from_slice(b"gptx");
    fs::write(&bad, &arch).unwrap();
    each(&["architecture", &name.to_string()]);
    let mut kind = whole.clone();
    let entry = at(b"blk.0.ffn_up.weight") - 8;
    kind[entry + 8 + 19 + 4 + 16] = 12; // Q4_K
    fs::write(&bad, &kind).unwrap();
    each(&["type 12", &entry.to_string()]);
    let mut tensor = whole.clone();
    tensor[entry + 8] = b'x';
    fs::write(&bad, &tensor).unwrap();
    each(&["ffn_up.weight"]);
    let mut nan = whole.clone();
    let n = nan.len() - 96;
    nan[n..].copy_from_slice(&[0xff; 96]);
    fs::write(&bad, &nan).unwrap();
    // In the tensors, which inspect does not read.
    assert!(fails(1, &["logits", &bad, "--ids", "1"]).contains("not numbers"));

    let gone = folder.file("gone.gguf");
    assert!(fails(1, &["logits", &gone, "--ids", "1"]).contains("gone.gguf"));
    assert!(fails(1, &["inspect", folder.path().to_str().unwrap()]).contains("folder"));
}

#[test]
fn a_header_of_any_bytes_never_hurts() {
    let folder = Folder::new();
    let model = counting(&folder);
    let whole = fs::read(&model).unwrap();
    let header = json(&["inspect", &model, "--json"])["header_bytes"].as_u64().unwrap() as usize;
    let bad = folder.file("bad.gguf");
    let mut rng = common::Rng(5);
    for _ in 0..60 {
        let mut bytes = whole.clone();
        for _ in 0..3 {
            let at = rng.next() as usize % header;
            bytes[at] = rng.next() as u8;
        }
        fs::write(&bad, &bytes).unwrap();
        let out = run(&["inspect", &bad, "--json"]);
        assert!(matches!(out.status.code(), Some(0 | 1)), "{:?} {}", out.status, stderr(&out));
        let out = run(&["logits", &bad, "--ids", "1,2"]);
        assert!(matches!(out.status.code(), Some(0 | 1)), "{:?} {}", out.status, stderr(&out));
    }
}

#[test]
fn what_a_model_cannot_do_is_an_error_of_one_sentence() {
    let folder = Folder::new();
    let model = counting(&folder);
    assert!(fails(1, &["logits", &model, "--ids", "1,12"]).contains("12"));
    assert!(fails(1, &["logits", &model, "--ids", ""]).contains("--ids"));
    assert!(fails(1, &["generate", &model, "--prompt-ids", "99"]).contains("99"));
    let long = list(&vec![1; 65]);
    assert!(fails(1, &["logits", &model, "--ids", &long]).contains("64"));
    assert!(fails(1, &["generate", &model, "--prompt", &"a".repeat(65)]).contains("64"));
    assert!(fails(1, &["generate", &model, "--prompt", "aaa", "--context", "2"]).contains('2'));
    // More context than positions were learned.
    fails(1, &["generate", &model, "--prompt", "a", "--context", "65"]);
    let stops: Vec<&str> = std::iter::repeat_n(["--stop", "x"], 9).flatten().collect();
    assert!(
        fails(1, &[&["generate", &model, "--prompt", "a"], &stops[..]].concat()).contains("stop")
    );
}

#[test]
fn bad_use_is_exit_2() {
    let model = repo("examples/models/gpt-nano-sort.gguf");
    let model = model.to_str().unwrap();
    for args in [
        &[][..],
        &["frobnicate"],
        &["generate"],
        &["generate", model, "--temperature", "hot"],
        &["generate", model, "--temperature", "-1"],
        &["generate", model, "--temperature", "inf"],
        &["generate", model, "--top-p", "1.5"],
        &["generate", model, "--tokens", "-1"],
        &["generate", model, "--prompt", "0", "--prompt-ids", "0"],
        &["generate", model, "--prompt-ids", "0,x"],
        &["generate", model, "--when-full", "explode"],
        &["generate", model, "--isa", "mmx"],
        &["generate", model, "--batch", "0"],
        &["generate", model, "--context", "0"],
        &["logits", model],
        &["logits", model, "--ids", "1;2"],
        &["logits", model, "--ids", "-1"],
        &["tokenize", model],
        &["tokenize", model, "--text", "a", "--decode", "1"],
        &["inspect", model, "--context", "many"],
        &["pack", model],
    ] {
        assert!(!fails(2, args).is_empty(), "{args:?}");
    }
    for args in [&["--help"][..], &["generate", "--help"], &["--version"]] {
        assert!(!ok(args).is_empty());
    }
}

#[test]
fn bench_measures_a_random_model() {
    let folder = Folder::new();
    let file = folder.file("random.gguf");
    let small = ["--random", "q8_0", "--shape", "2x64x96", "-p", "8", "-n", "4", "-r", "2"];
    let out = json(&[&["bench", &file, "--isa", "scalar", "--json"], &small[..]].concat());
    assert_eq!((&out["isa"], &out["threads"]), (&json!("scalar"), &json!(1)));
    for (runs, median) in
        [("prompt_runs", "prompt_tokens_per_second"), ("runs", "tokens_per_second")]
    {
        assert_eq!(floats(&out[runs]).len(), 2);
        assert!(out[median].as_f64().unwrap() > 0.0);
    }
    // The file stays, and is a model like any other.
    assert!(ok(&["bench", &file, "-p", "1", "-n", "1", "-r", "1"]).contains("1 thread"));
}
