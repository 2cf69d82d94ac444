#!/usr/bin/env bash
# OpenCV 5.0.0.93's DNN module runs an ONNX file at sizes that the file rules out; ONNX Runtime 1.26.0 refuses those sizes.
#
# YuNet's file declares an input of 320 x 320, and OpenCV's detector is used with pictures of any size. One would guess that the file
# leaves its sizes open. It does not: OpenCV ignores the sizes that an input declares, and computes for the array that it is given.
# ONNX Runtime, given the same file and the same array, ends with an error. So a detector that is moved from one to the other works at
# its declared size alone, until the file's sizes are made symbolic.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" "opencv-python-headless==5.0.0.93" "onnxruntime==1.26.0" "onnx==1.22.0" "numpy==2.4.0"
"$folder/venv/bin/python" - "$folder/net.onnx" <<'PY'
import sys
from importlib.metadata import version

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

FLOAT = TensorProto.FLOAT
kernel = helper.make_tensor("kernel", FLOAT, [1, 1, 3, 3], np.ones(9))
node = helper.make_node("Conv", ["picture", "kernel"], ["map"], pads=[1, 1, 1, 1])
sizes = [helper.make_tensor_value_info(name, FLOAT, [1, 1, 32, 32]) for name in ("picture", "map")]
graph = helper.make_graph([node], "net", sizes[:1], sizes[1:], [kernel])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), sys.argv[1])

picture = np.ones((1, 1, 48, 64), np.float32)
network = cv2.dnn.readNetFromONNX(sys.argv[1])
network.setInput(picture)
by_opencv = network.forward()
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
try:
    session.run(None, {"picture": picture})
    refused = ""
except Exception as error:
    refused = str(error).splitlines()[0]
print(f"declared 32 x 32, given 48 x 64: OpenCV {cv2.__version__} answers {by_opencv.shape}")
print(f"ONNX Runtime {version('onnxruntime')}: {refused}")
assert by_opencv.shape == (1, 1, 48, 64), by_opencv.shape
assert by_opencv[0, 0, 24, 32] == 9, by_opencv[0, 0, 24, 32]
assert "invalid dimensions" in refused, refused
PY
