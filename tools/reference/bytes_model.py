"""Writes tests/data/capi/bytes.gguf: a small random GPT-2 with a byte vocabulary, for tests of the C ABI.

    python bytes_model.py ../../tests/data/capi/bytes.gguf

Id 0 ends a text, id 1 begins one, id b + 2 is the byte b. The weights are large enough that the likeliest token is
never a near tie.
"""

import sys

import gguf
import numpy as np

N_EMBD, N_HEAD, N_CTX, N_FF = 32, 2, 96, 64
N_VOCAB = 258


def main(path):
    random = np.random.default_rng(20)
    w = gguf.GGUFWriter(path, "gpt2")
    w.add_name("bytes")
    w.add_context_length(N_CTX)
    w.add_embedding_length(N_EMBD)
    w.add_block_count(1)
    w.add_feed_forward_length(N_FF)
    w.add_head_count(N_HEAD)
    w.add_layer_norm_eps(1e-5)
    w.add_tokenizer_model("pagelm.pieces")
    w.add_token_list([b"<eos>", b"<bos>"] + [bytes([b]) for b in range(256)])
    w.add_token_types([3, 3] + [6] * 256)
    w.add_eos_token_id(0)
    w.add_bos_token_id(1)

    def matrix(name, rows, cols, scale):
        data = (random.standard_normal((rows, cols)) * scale).astype(np.float32)
        kind = gguf.GGMLQuantizationType.Q8_0
        w.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)

    def vector(name, n, mean):
        w.add_tensor(name, (mean + 0.1 * random.standard_normal(n)).astype(np.float32))

    matrix("token_embd.weight", N_VOCAB, N_EMBD, 0.6)
    matrix("position_embd.weight", N_CTX, N_EMBD, 0.6)
    for name, rows, cols in [("attn_qkv", 3 * N_EMBD, N_EMBD), ("attn_output", N_EMBD, N_EMBD),
                             ("ffn_up", N_FF, N_EMBD), ("ffn_down", N_EMBD, N_FF)]:
        matrix(f"blk.0.{name}.weight", rows, cols, 0.3)
        vector(f"blk.0.{name}.bias", rows, 0)
    for name in ["blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"]:
        vector(f"{name}.weight", N_EMBD, 1)
        vector(f"{name}.bias", N_EMBD, 0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


main(sys.argv[1])
