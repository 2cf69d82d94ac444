#!/usr/bin/env bash
# timm 1.0.31: a padding that does not exist is taken for the default, without a word, and the network computes something else.
#
# MobileNets that come from TensorFlow need pad_type="same". One would expect a name that is none ("sam", "same_padding") to raise an
# error, as an unknown keyword does. get_padding_value returns the default padding for it: create_model succeeds, weights fit, and at 224
# pixels the same weights give other features than with "same". An unknown keyword is a TypeError.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" "timm==1.0.31" "torch==2.15.0" "numpy==2.4.0"
"$folder/venv/bin/python" - <<'PY'
import timm
import torch

torch.manual_seed(0)
networks = {name: timm.create_model("mobilenetv1_100", num_classes=0, pad_type=name).eval() for name in ("", "same", "sam")}
for network in networks.values():
    network.load_state_dict(networks[""].state_dict())
picture = torch.randn(1, 3, 224, 224)
with torch.inference_mode():
    features = {name: network(picture)[0] for name, network in networks.items()}
off = {name: float((features[name] - features[""]).abs().max()) for name in ("same", "sam")}
try:
    timm.create_model("mobilenetv1_100", num_classes=0, padding_type="same")
    unknown = "taken"
except TypeError:
    unknown = "TypeError"
print(f"timm {timm.__version__}: features beside the default padding's: 'same' {off['same']:.3f} off, 'sam' {off['sam']:.3f} off; unknown keyword: {unknown}")
assert off["sam"] == 0, off
assert off["same"] > 0.001, off
assert unknown == "TypeError", unknown
PY
