"""GGUF files with PyPI `gguf`, names and keys as llama.cpp writes them for GPT-2."""

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import quants

FORMATS = {"f32": Type.F32, "f16": Type.F16, "q8_0": Type.Q8_0, "q4_0": Type.Q4_0}


def tensor_type(spec, name, value, wanted):
    """Vectors stay F32, and so does the position table in llama.cpp; rows that a block does not fit stay F16."""
    if value.ndim == 1 or (name.startswith("position_embd") and not spec.quant_pos):
        return Type.F32
    fits = value.shape[-1] % gguf.GGML_QUANT_SIZES[wanted][0] == 0
    return wanted if fits else Type.F16


def write(path, spec, tensors, fmt, vocab=None):
    """Returns the types used and the weights as they come back from the file, float32."""
    w = gguf.GGUFWriter(path, "gpt2")
    w.add_name(spec.name)
    w.add_context_length(spec.n_ctx)
    w.add_embedding_length(spec.n_embd)
    w.add_block_count(spec.n_layer)
    w.add_feed_forward_length(spec.n_inner or 4 * spec.n_embd)
    w.add_head_count(spec.n_head)
    w.add_layer_norm_eps(spec.eps)
    if spec.act != "gelu_new":
        w.add_string("gpt2.activation_function", spec.act)
    if vocab:
        add_vocab(w, *vocab)
    types, back = {}, {}
    for name, value in tensors.items():
        if not spec.attn_bias and ".attn_" in name and name.endswith(("qkv.bias", "output.bias")):
            continue
        value = np.ascontiguousarray(value, np.float32)
        type = tensor_type(spec, name, value, FORMATS[fmt])
        data = quants.quantize(value, type)
        types[name], back[name] = type, quants.dequantize(data, type)
        w.add_tensor(name, data, raw_dtype=type)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return types, back


def add_vocab(w, tokens, merges):
    """GPT-2's byte-level BPE; the last token is its end-of-text mark."""
    last = len(tokens) - 1
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([1] * last + [3])
    w.add_token_merges(merges)
    w.add_bos_token_id(last)
    w.add_eos_token_id(last)
    w.add_add_bos_token(False)


def read(path):
    """(keys, types, float32 weights) of a file."""
    reader = gguf.GGUFReader(path)
    keys = {k: f.contents() for k, f in reader.fields.items() if not k.startswith("GGUF.")}
    types = {t.name: t.tensor_type for t in reader.tensors}
    return keys, types, {t.name: quants.dequantize(np.asarray(t.data), t.tensor_type) for t in reader.tensors}


def raw(path):
    """name -> (type, bytes)"""
    return {t.name: (t.tensor_type, np.asarray(t.data).tobytes()) for t in gguf.GGUFReader(path).tensors}
