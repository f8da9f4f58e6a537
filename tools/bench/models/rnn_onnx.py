"""LSTM and GRU as ONNX graphs: ids in, the state in and out, logits of the last step."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def state(kind):
    return ("h", "c") if kind == "lstm" else ("h",)


def graph(weights, shape):
    kind, hidden = shape["kind"], shape["hidden"]
    constants = {"emb": weights["emb"], "out.w": weights["out.w"], "out.b": weights["out.b"],
                 "axis0": np.array([0], np.int64), "axis1": np.array([1], np.int64)}
    value = helper.make_tensor_value_info
    inputs = [value("input_ids", TensorProto.INT64, ["S", 1])]
    outputs = [value("logits", TensorProto.FLOAT, [1, shape["vocab"]])]
    nodes = [helper.make_node("Gather", ["emb", "input_ids"], ["x0"], name="emb")]  # [S, 1, E]
    for i in range(shape["layers"]):
        for name in ("W", "R", "B"):
            constants[f"{name}{i}"] = weights[f"{name}{i}"][None]
        names = [f"{part}{i}" for part in state(kind)]
        inputs += [value(name, TensorProto.FLOAT, [1, 1, hidden]) for name in names]
        outputs += [value(f"{name}_out", TensorProto.FLOAT, [1, 1, hidden]) for name in names]
        options = {"linear_before_reset": 1} if kind == "gru" else {}
        nodes.append(helper.make_node(kind.upper(), [f"x{i}", f"W{i}", f"R{i}", f"B{i}", "", *names],
                                      [f"y{i}", *(f"{name}_out" for name in names)],
                                      hidden_size=hidden, name=f"{kind}{i}", **options))
        nodes.append(helper.make_node("Squeeze", [f"y{i}", "axis1"], [f"x{i + 1}"]))
    last = f"h{shape['layers'] - 1}_out"
    nodes += [helper.make_node("Squeeze", [last, "axis0"], ["last"]),
              helper.make_node("MatMul", ["last", "out.w"], ["product"], name="out"),
              helper.make_node("Add", ["product", "out.b"], ["logits"])]
    tensors = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()]
    g = helper.make_graph(nodes, kind, inputs, outputs, tensors)
    return helper.make_model(g, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
