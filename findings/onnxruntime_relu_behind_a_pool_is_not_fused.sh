#!/usr/bin/env bash
# onnxruntime 1.32.0: in a network of 8-bit integers, a ReLU behind a max pooling keeps the convolution before both from being fused with it.
#
# Max pooling and ReLU give the same numbers in either order, and pooling first is a quarter of the ReLU's work. After static
# quantisation (QDQ), ONNX Runtime fuses convolution and ReLU where they follow each other. With the pooling between them it computes the
# pooling in single precision: integers are turned to floats before it and back behind it, and layouts are changed for it, too. One would
# expect the optimiser to see that the order does not matter. On a small VGG at 224 pixels the other order takes a quarter less time,
# and its answers are closer to the original's, for no range of negative numbers is spent.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" "onnxruntime==1.32.0" "onnx==1.23.2" "numpy==2.4.0" "sympy"
cd "$folder"
venv/bin/python - 2> warnings <<'PY' || { cat warnings; exit 1; }
from collections import Counter
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

random = np.random.default_rng(0)


def network(order, path):
    """Two convolutions with a pooling and a ReLU between them, in this order."""
    kinds = {"MaxPool": {"kernel_shape": [2, 2], "strides": [2, 2]}, "Relu": {}}
    shapes = {"w": (16, 8, 3, 3), "v": (16, 16, 3, 3)}
    weights = [numpy_helper.from_array(random.normal(0, 0.1, shape).astype("f"), name) for name, shape in shapes.items()]
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4), helper.make_node(order[0], ["a"], ["b"], **kinds[order[0]])]
    nodes += [helper.make_node(order[1], ["b"], ["c"], **kinds[order[1]]), helper.make_node("Conv", ["c", "v"], ["y"], pads=[1] * 4)]
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 32, 32])]
    ends += [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 16, 16])]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


class Reader(CalibrationDataReader):
    def __init__(self):
        self.left = [{"x": random.normal(size=(1, 8, 32, 32)).astype("f")} for _ in range(4)]

    def get_next(self):
        return self.left.pop() if self.left else None


def optimised(order):
    network(order, "net.onnx")
    kinds = {"per_channel": True, "activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8}
    quantize_static("net.onnx", "int8.onnx", Reader(), quant_format=QuantFormat.QDQ, **kinds)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = "optimised.onnx"
    onnxruntime.InferenceSession("int8.onnx", options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load("optimised.onnx").graph.node)


behind, before = optimised(["MaxPool", "Relu"]), optimised(["Relu", "MaxPool"])
print(f"onnxruntime {version('onnxruntime')}: pooling first {dict(behind)}; ReLU first {dict(before)}")
assert before["DequantizeLinear"] == 1 and not before["Relu"], before  # at the end
assert behind["DequantizeLinear"] > 1, behind
PY
