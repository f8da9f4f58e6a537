"""Builds every model file that the engines of ../jobs.mjs read, each once.

    python build.py FOLDER MODEL... --vocabulary FOLDER --pagelm PROGRAM

A file is written beside its place and moved there when it is whole, so a run that was ended goes on where it was.
"""

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic

import gguf_files
import gpt_onnx
import rnn_onnx
import weights

FLOAT = {"DefaultTensorType": onnx.TensorProto.FLOAT}


def gpt_files(name, w, args):
    shape, folder = weights.SHAPES[name], args.folder / name

    def plain(path):
        onnx.save(gpt_onnx.graph(w(), shape, fused=False, tied=True), path)

    def fused(path):
        onnx.save(gpt_onnx.graph(w(), shape, fused=True, tied=True), path)

    def quantized(path, is_fused, kind):
        graph = gpt_onnx.graph(w(), shape, fused=is_fused, tied=False)
        # Of the look-ups only the two embeddings hold weights.
        lookups = [n.name for n in graph.graph.node if n.op_type == "Gather" and not n.name.startswith("/w")]
        whole = folder / "whole.onnx"
        onnx.save(graph, whole)
        quantize_dynamic(whole, path, weight_type=kind, op_types_to_quantize=["MatMul", "Gather"],
                         nodes_to_exclude=lookups, extra_options=FLOAT | {"MatMulConstBOnly": True})
        whole.unlink()

    files = {
        "plain.fp32.onnx": plain,
        "fp32.onnx": fused,
        "plain.uint8.onnx": lambda path: quantized(path, False, QuantType.QUInt8),
        "uint8.onnx": lambda path: quantized(path, True, QuantType.QUInt8),
        "int8.onnx": lambda path: quantized(path, True, QuantType.QInt8),
    }
    for dtype in ("f32", "q8_0", "q4_0"):
        files[f"{dtype}.gguf"] = lambda path, d=dtype: gguf_files.gpt(path, w(), shape, d, args.vocabulary)
    return files


def rnn_files(name, w, args):
    shape, folder = weights.SHAPES[name], args.folder / name

    def int8(path):
        quantize_dynamic(folder / "fp32.onnx", path, weight_type=QuantType.QInt8)

    files = {"fp32.onnx": lambda path: onnx.save(rnn_onnx.graph(w(), shape), path), "int8.onnx": int8}
    for dtype in ("f32", "q8_0", "q4_0"):
        files[f"{dtype}.gguf"] = lambda path, d=dtype: gguf_files.recurrent(path, w(), shape, d, args.pagelm)
    return files


def blob(path, w):
    """For TensorFlow.js: all numbers in a row; the index is written first, so the blob stands for both."""
    index, at = {}, 0
    for name, array in w.items():
        index[name] = {"shape": array.shape, "at": at}
        at += array.nbytes
    (path.parent / "weights.json").write_text(json.dumps(index))
    with open(path, "wb") as out:
        for array in w.values():
            out.write(np.ascontiguousarray(array).tobytes())


def reference(path, name):
    """The first greedy tokens by onnxruntime in float32, which every exact engine should repeat."""
    shape = weights.SHAPES[name]
    source = "plain.fp32.onnx" if shape["kind"] == "gpt" else "fp32.onnx"
    session = onnxruntime.InferenceSession(path.parent / source, providers=["CPUExecutionProvider"])
    ids = weights.prompt(16, shape["vocab"])
    feeds, tokens = {}, []
    for put in session.get_inputs():
        if put.type == "tensor(float)":
            feeds[put.name] = np.zeros([0 if d == "P" else d for d in put.shape], np.float32)
    names, length = [o.name for o in session.get_outputs()], 0
    for _ in range(9):
        if shape["kind"] == "gpt":
            feeds["position_ids"] = np.arange(length, length + len(ids))[None]
            length += len(ids)
            feeds |= {"input_ids": np.array([ids]), "attention_mask": np.ones((1, length), np.int64)}
        else:
            feeds["input_ids"] = np.array(ids)[:, None]
        out = dict(zip(names, session.run(names, feeds)))
        ids = [int(out.pop("logits").argmax())]
        tokens += ids
        for key, array in out.items():
            feeds[key.replace("present", "past_key_values").replace("_out", "")] = array
    path.write_text(json.dumps({"tokens": tokens}))


def build(name, args):
    folder = args.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    cache = []

    def w():
        if not cache:
            cache.append(weights.of(name))
        return cache[0]

    files = (gpt_files if weights.SHAPES[name]["kind"] == "gpt" else rnn_files)(name, w, args)
    files["weights.bin"] = lambda path: blob(path, w())
    files["reference.json"] = lambda path: reference(path, name)
    for file, write in files.items():
        place = folder / file
        if place.exists():
            continue
        print(f"  building {name}/{file}", flush=True)
        part = folder / f"part.{file}"
        write(part)
        part.rename(place)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("models", nargs="+", choices=weights.SHAPES)
    parser.add_argument("--vocabulary", type=Path, required=True, help="with GPT-2's encoder.json and vocab.bpe")
    parser.add_argument("--pagelm", type=Path, required=True, help="the command line program")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    for name in args.models:
        build(name, args)


if __name__ == "__main__":
    main()
