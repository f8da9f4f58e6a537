"""GPT-2 as an ONNX graph with its past as inputs and outputs, logits for the last position only.

`fused` graphs are made of com.microsoft's GroupQueryAttention, SkipLayerNormalization and FastGelu, as the ready-made
models on the hub are; `plain` ones of the operators that torch.onnx and optimum emit.
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"


class Builder:
    """Collects nodes and constants; every method returns the name of what it adds."""

    def __init__(self, weights):
        self.weights, self.nodes, self.constants = weights, [], {}

    def constant(self, name, array):
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def weight(self, name):
        return self.constant(name, self.weights[name])

    def ints(self, *values):
        return self.constant("i" + "_".join(map(str, values)), np.array(values, np.int64))

    def op(self, kind, inputs, outputs=1, name=None, domain="", **attributes):
        names = outputs if isinstance(outputs, list) else [f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        node = helper.make_node(kind, inputs, names, name=name or f"{kind}_{len(self.nodes)}", domain=domain, **attributes)
        self.nodes.append(node)
        return names[0] if len(names) == 1 else names

    def product(self, x, module):
        return self.op("MatMul", [x, self.weight(f"{module}.weight")], name=f"/{module}/MatMul")

    def linear(self, x, module):
        return self.op("Add", [self.product(x, module), self.weight(f"{module}.bias")])

    def norm(self, x, module):
        return self.op("LayerNormalization", [x, self.weight(f"{module}.weight"), self.weight(f"{module}.bias")],
                       epsilon=1e-5, axis=-1)


class Fused(Builder):
    def __init__(self, weights, shape):
        super().__init__(weights)
        self.shape = shape
        past = self.op("Sub", [self.op("ReduceSum", ["attention_mask", self.ints(1)], keepdims=0), self.ints(1)])
        self.lengths = self.op("Cast", [past], to=TensorProto.INT32)
        one = self.constant("one", np.array(1, np.int64))
        total = self.op("Gather", [self.op("Shape", ["attention_mask"]), one])
        self.total = self.op("Cast", [total], to=TensorProto.INT32)

    def attention(self, qkv, layer):
        heads, past = self.shape["heads"], f"past_key_values.{layer}"
        inputs = [qkv, "", "", f"{past}.key", f"{past}.value", self.lengths, self.total]
        outputs = [f"attention{layer}", f"present.{layer}.key", f"present.{layer}.value"]
        return self.op("GroupQueryAttention", inputs, outputs, domain=MICROSOFT, num_heads=heads, kv_num_heads=heads)[0]

    def gelu(self, x, module):
        return self.op("FastGelu", [self.product(x, module), self.weight(f"{module}.bias")], domain=MICROSOFT)

    def add_and_norm(self, x, y, module):
        name = f"t{len(self.nodes)}"
        inputs = [x, y, self.weight(f"{module}.weight"), self.weight(f"{module}.bias")]
        outputs = [f"{name}_norm", "", "", f"{name}_sum"]
        self.op("SkipLayerNormalization", inputs, outputs, domain=MICROSOFT, epsilon=1e-5)
        return outputs[3], outputs[0]


class Plain(Builder):
    def __init__(self, weights, shape):
        super().__init__(weights)
        heads, width = shape["heads"], shape["width"]
        total = self.op("Gather", [self.op("Shape", ["attention_mask"]), self.ints(1)])
        zero, one = (self.constant(f"n{n}", np.array(n, np.int64)) for n in (0, 1))
        columns = self.op("Range", [zero, self.op("Squeeze", [total]), one])  # [T]
        rows = self.op("Unsqueeze", [self.op("Squeeze", ["position_ids", self.ints(0)]), self.ints(1)])  # [S, 1]
        allowed = self.op("LessOrEqual", [columns, rows])  # [S, T]
        zero = self.constant("allowed", np.array(0, np.float32))
        masked = self.constant("masked", np.array(-3.4e38, np.float32))
        self.mask = self.op("Where", [allowed, zero, masked])
        self.split = self.constant("split", np.array([0, 0, heads, width // heads], np.int64))
        self.join = self.constant("join", np.array([0, 0, width], np.int64))
        self.scale = self.constant("scale", np.array(1 / np.sqrt(width // heads), np.float32))

    def attention(self, qkv, layer):
        parts = self.op("Split", [qkv], 3, axis=-1, num_outputs=3)
        q, k, v = (self.op("Transpose", [self.op("Reshape", [part, self.split])], perm=[0, 2, 1, 3]) for part in parts)
        past, present = f"past_key_values.{layer}", f"present.{layer}"
        k = self.op("Concat", [f"{past}.key", k], [f"{present}.key"], axis=2)
        v = self.op("Concat", [f"{past}.value", v], [f"{present}.value"], axis=2)
        scores = self.op("MatMul", [q, self.op("Transpose", [k], perm=[0, 1, 3, 2])])
        scores = self.op("Add", [self.op("Mul", [scores, self.scale]), self.mask])
        mixed = self.op("MatMul", [self.op("Softmax", [scores], axis=-1), v])
        return self.op("Reshape", [self.op("Transpose", [mixed], perm=[0, 2, 1, 3]), self.join])

    def gelu(self, x, module):
        return self.op("Gelu", [self.linear(x, module)], approximate="tanh")

    def add_and_norm(self, x, y, module):
        x = self.op("Add", [x, y])
        return x, self.norm(x, module)


def graph(weights, shape, fused, tied):
    """`tied` multiplies by the embedding, transposed; quantising needs a matrix of its own for the head."""
    b = (Fused if fused else Plain)(weights, shape)
    tokens = b.op("Gather", [b.weight("wte.weight"), "input_ids"], name="/wte/Gather")
    positions = b.op("Gather", [b.weight("wpe.weight"), "position_ids"], name="/wpe/Gather")
    x = b.op("Add", [tokens, positions])
    y = b.norm(x, "h.0.ln_1")
    for i in range(shape["layers"]):
        mixed = b.attention(b.linear(y, f"h.{i}.attn.c_attn"), i)
        x, y = b.add_and_norm(x, b.linear(mixed, f"h.{i}.attn.c_proj"), f"h.{i}.ln_2")
        inner = b.gelu(y, f"h.{i}.mlp.c_fc")
        following = f"h.{i + 1}.ln_1" if i + 1 < shape["layers"] else "ln_f"
        x, y = b.add_and_norm(x, b.linear(inner, f"h.{i}.mlp.c_proj"), following)
    last = b.op("Slice", [y, b.ints(-1), b.ints(2**62), b.ints(1)])
    head = b.op("Transpose", ["wte.weight"], perm=[1, 0]) if tied else b.constant("head", weights["wte.weight"].T)
    b.op("MatMul", [last, head], ["logits"], name="/lm_head/MatMul")
    return model(b, shape)


def model(b, shape):
    heads, size = shape["heads"], shape["width"] // shape["heads"]

    def value(name, kind, dims):
        return helper.make_tensor_value_info(name, kind, dims)

    inputs = [value(name, TensorProto.INT64, [1, length])
              for name, length in (("input_ids", "S"), ("attention_mask", "T"), ("position_ids", "S"))]
    outputs = [value("logits", TensorProto.FLOAT, [1, 1, shape["vocab"]])]
    for i in range(shape["layers"]):
        for part in ("key", "value"):
            inputs.append(value(f"past_key_values.{i}.{part}", TensorProto.FLOAT, [1, heads, "P", size]))
            outputs.append(value(f"present.{i}.{part}", TensorProto.FLOAT, [1, heads, "T", size]))
    g = helper.make_graph(b.nodes, "gpt2", inputs, outputs, list(b.constants.values()))
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(g, opset_imports=opsets, ir_version=9)
