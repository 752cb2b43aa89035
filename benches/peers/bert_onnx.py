"""Writes a BERT sentence embedder as an ONNX graph for ONNX Runtime.

The graph is the one that ONNX Runtime's own transformer optimiser arrives at: fused attention, bias with gelu, and
residual with normalisation. Mean pooling and the unit length are part of it, so that texts go in and vectors come out.
"""

import json

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

FUSED = "com.microsoft"


class Graph:
    """Nodes and weights, named as they come."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def weight(self, name, value):
        """A constant by its name."""
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def node(self, kind, inputs, domain="", **attributes):
        """One operation; the name of its output comes back."""
        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output


def build(directory):
    """The graph of a model directory with config.json and model.safetensors."""
    config = json.loads((directory / "config.json").read_text())
    tensors = load_file(directory / "model.safetensors")
    tensors = {name.removeprefix("bert."): np.ascontiguousarray(value) for name, value in tensors.items()}
    epsilon, heads = config["layer_norm_eps"], config["num_attention_heads"]
    assert config["hidden_act"] == "gelu" and config.get("position_embedding_type", "absolute") == "absolute"
    g = Graph()

    def transposed(*names):
        joined = np.concatenate([tensors[f"{name}.weight"] for name in names])
        return g.weight(names[0] + ".w", np.ascontiguousarray(joined.T))

    def bias(*names):
        return g.weight(names[0] + ".b", np.concatenate([tensors[f"{name}.bias"] for name in names]))

    def norm(kind, inputs, name, more=(), domain=""):
        gamma = g.weight(name + ".gamma", tensors[f"{name}.weight"])
        beta = g.weight(name + ".beta", tensors[f"{name}.bias"])
        return g.node(kind, [*inputs, gamma, beta, *more], domain, epsilon=epsilon)

    words = g.node("Gather", [g.weight("words", tensors["embeddings.word_embeddings.weight"]), "input_ids"])
    # All tokens are of type 0, so its embedding goes into the positions'.
    positions = tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
    length = g.node("Shape", ["input_ids"], start=1, end=2)
    zero, axis = g.weight("zero", np.array([0])), g.weight("axis", np.array([0]))
    positions = g.node("Slice", [g.weight("positions", positions), zero, length, axis])
    stream = norm("LayerNormalization", [g.node("Add", [words, positions])], "embeddings.LayerNorm")
    mask = g.node("Cast", ["attention_mask"], to=TensorProto.INT32)
    for index in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{index}"
        parts = [f"{at}.attention.self.{part}" for part in ("query", "key", "value")]
        attended = g.node("Attention", [stream, transposed(*parts), bias(*parts), mask], FUSED, num_heads=heads)
        attended = g.node("MatMul", [attended, transposed(f"{at}.attention.output.dense")])
        more = [bias(f"{at}.attention.output.dense")]
        name = f"{at}.attention.output.LayerNorm"
        stream = norm("SkipLayerNormalization", [attended, stream], name, more, FUSED)
        hidden = g.node("MatMul", [stream, transposed(f"{at}.intermediate.dense")])
        hidden = g.node("BiasGelu", [hidden, bias(f"{at}.intermediate.dense")], FUSED)
        hidden = g.node("MatMul", [hidden, transposed(f"{at}.output.dense")])
        more = [bias(f"{at}.output.dense")]
        stream = norm("SkipLayerNormalization", [hidden, stream], f"{at}.output.LayerNorm", more, FUSED)

    weights = g.node("Cast", ["attention_mask"], to=TensorProto.FLOAT)
    weights = g.node("Unsqueeze", [weights, g.weight("last", np.array([2]))])
    tokens = g.weight("tokens", np.array([1]))
    total = g.node("ReduceSum", [g.node("Mul", [stream, weights]), tokens], keepdims=0)
    mean = g.node("Div", [total, g.node("ReduceSum", [weights, tokens], keepdims=0)])
    length = g.node("ReduceL2", [mean, g.weight("width", np.array([1]))], keepdims=1)
    g.nodes.append(helper.make_node("Div", [mean, length], ["vectors"], name="vectors"))

    ids = [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"]) for name in ("input_ids", "attention_mask")]
    vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["texts", config["hidden_size"]])
    graph = helper.make_graph(g.nodes, "bert", ids, [vectors], g.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(FUSED, 1)], ir_version=10)
