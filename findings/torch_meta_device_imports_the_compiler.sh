#!/usr/bin/env bash
# torch 2.15.0: a network on the device "meta", which computes nothing, imports torch's compiler and sympy.
#
# "meta" is for shapes without values: to count parameters, or to see whether a network can take pictures of a size. One would expect it to be
# the cheapest device. But He's normal initialisation of a layer goes through decompositions in Python, which import torch._dynamo and sympy:
# some nine hundred modules, and as much time as torch itself. Uniform random numbers do not, nor does the same network on the CPU.
# A mode that leaves random numbers out (TorchFunctionMode) keeps the compiler away.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" "torch==2.15.0" "numpy==2.4.0"
cat > "$folder/program.py" <<'PY'
import sys
import time
from contextlib import nullcontext

import torch
from torch.overrides import TorchFunctionMode


class WithoutValues(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return args[0] if func in (torch.Tensor.normal_, torch.Tensor.uniform_) else func(*args, **(kwargs or {}))


device, numbers = sys.argv[1:]
mode = WithoutValues() if numbers == "no" else nullcontext()
fill = torch.nn.init.kaiming_uniform_ if numbers == "uniform" else torch.nn.init.kaiming_normal_
before, start = len(sys.modules), time.perf_counter()
with torch.device(device), mode:
    fill(torch.nn.Conv2d(3, 8, 3).weight)
seconds = time.perf_counter() - start
print(f"{device}, {numbers} random numbers: {len(sys.modules) - before} modules in {seconds:.2f} s,", end=" ")
print("compiler" if "torch._dynamo" in sys.modules else "no compiler")
PY
python="$folder/venv/bin/python"
"$python" -c "import torch; print('torch', torch.__version__)"
cpu=$("$python" "$folder/program.py" cpu normal)
meta=$("$python" "$folder/program.py" meta normal)
uniform=$("$python" "$folder/program.py" meta uniform)
none=$("$python" "$folder/program.py" meta no)
printf '%s\n' "$cpu" "$meta" "$uniform" "$none"
[[ $cpu == *", no compiler" && $meta == *", compiler" && $uniform == *", no compiler" && $none == *", no compiler" ]]
