//! Headers made for the purpose: values of the wrong type, sizes that lie, two
//! faults at once. The first fault is named, and nothing overflows on the way.
#![forbid(unsafe_code)]
#![cfg(all(feature = "gpt2", feature = "rnn", feature = "messages"))]

mod common;

use common::Aligned;
use common::metadata::Metadata;
use pagelm::Model;

/// A value as a GGUF file holds it: its type's number, and its bytes.
type Value = (u32, Vec<u8>);

const U32: u32 = 4;
const BOOL: u32 = 7;
const ARRAY: u32 = 9;

fn text(text: &str) -> Value {
    (8, common::metadata::string(text))
}

fn number(n: u32) -> Value {
    (U32, n.to_le_bytes().to_vec())
}

fn array(tag: u32, n: usize, bytes: Vec<u8>) -> Value {
    (ARRAY, common::metadata::array(tag, n, &bytes))
}

/// A file of metadata alone.
fn file(values: Vec<(&str, Value)>) -> Vec<u8> {
    let add = |made: Metadata, (key, (tag, value)): (&str, Value)| made.value(key, tag, &value);
    values.into_iter().fold(Metadata::default(), add).file()
}

/// What loading it says.
fn fault(values: Vec<(&str, Value)>) -> String {
    let bytes = file(values);
    let mut mem = Aligned::zeroed(pagelm::probe(&bytes).map_or(0, |info| info.model_mem_size));
    let result = Model::load(Aligned::from(bytes).bytes_mut(), mem.bytes_mut()).map(|_| ());
    result.map_or_else(|error| error.to_string(), |()| "loaded".to_string())
}

fn refuses(values: Vec<(&str, Value)>, words: &str) {
    let fault = fault(values);
    assert!(fault.contains(words), "{fault:?} has no {words:?}");
}

/// An LSTM of vectors, with more or other values.
fn lstm(n_layer: u32, more: Vec<(&str, Value)>) -> Vec<(&str, Value)> {
    let first = vec![
        ("general.architecture", text("lstm")),
        ("lstm.block_count", number(n_layer)),
        ("lstm.input_length", number(1)),
        ("lstm.gate_order", text("ifgo")),
    ];
    first.into_iter().chain(more).collect()
}

#[test]
fn the_largest_sizes_that_a_header_may_state_overflow_nothing() {
    let widths = (1u32 << 24).to_le_bytes().repeat(64);
    let most = vec![
        ("lstm.hidden_lengths", array(U32, 64, widths)),
        ("lstm.bidirectional", array(BOOL, 64, vec![1; 64])),
    ];
    refuses(lstm(64, most), "lacks the tensor rnn_ih.weight of layer 0");
    let steps = vec![("lstm.dense_count", number(1)), ("lstm.flatten_steps", number(1 << 24))];
    refuses(lstm(0, steps), "lacks the tensor dense.weight of layer 0");
}

#[test]
fn a_value_of_another_type_is_not_an_absent_one() {
    for other in [text("foo"), number(5), array(U32, 1, vec![0; 4])] {
        refuses(lstm(0, vec![("lstm.hidden_lengths", other)]), "key hidden_lengths has");
    }
    refuses(lstm(0, vec![("lstm.bidirectional", number(1))]), "key bidirectional has");
    refuses(lstm(0, vec![("lstm.dense_activations", number(1))]), "key dense_activations has");
    assert_eq!(fault(lstm(0, vec![])), "loaded");
    let sizes = ["block_count", "context_length", "embedding_length", "feed_forward_length"];
    let sizes = sizes.map(|key| format!("gpt2.{key}"));
    let mut gpt2: Vec<_> = sizes.iter().map(|key| (key.as_str(), number(8))).collect();
    gpt2.push(("general.architecture", text("gpt2")));
    gpt2.push(("gpt2.attention.head_count", number(2)));
    gpt2.push(("gpt2.attention.layer_norm_epsilon", (6, 1e-5f32.to_le_bytes().to_vec())));
    refuses(gpt2.clone(), "lacks the tensor token_embd.weight");
    gpt2.push(("gpt2.activation_function", number(1)));
    refuses(gpt2, "key activation_function has");
}

#[test]
fn of_two_faults_the_first_is_named() {
    let two = vec![("lstm.hidden_lengths", number(1)), ("lstm.context_length", number(0))];
    refuses(lstm(1, two), "key context_length has");
    let three =
        vec![("lstm.recurrent_activation", text("none")), ("lstm.bidirectional", number(1))];
    refuses(lstm(1, three), "key recurrent_activation has");
    refuses(lstm(65, vec![("lstm.context_length", number(0))]), "key block_count has");
}
