#!/usr/bin/env bash
# torch 2.15.0: a network on the device "meta", which computes nothing, imports torch's compiler and sympy.
#
# "meta" is for shapes without values: to count parameters, or to see whether a network can take pictures of a size. One would expect it to be the
# cheapest device. But filling a parameter with random numbers, as every layer does when it is made, goes through decompositions in Python, and
# so does a matrix product; they import torch._dynamo, torch._inductor and sympy, over a thousand modules and more time than torch itself. The same
# network on the CPU imports none of them. A mode that leaves random numbers out (TorchFunctionMode) keeps the compiler away.
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


device, mode = sys.argv[1], WithoutValues() if sys.argv[2] == "without" else nullcontext()
before, start = len(sys.modules), time.perf_counter()
with torch.device(device), mode:
    torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8, 2))
seconds = time.perf_counter() - start
print(f"{device}, {sys.argv[2]} random numbers: {len(sys.modules) - before} modules in {seconds:.2f} s,", end=" ")
print("compiler" if "torch._dynamo" in sys.modules else "no compiler")
PY
python="$folder/venv/bin/python"
"$python" -c "import torch; print('torch', torch.__version__)"
cpu=$("$python" "$folder/program.py" cpu with)
meta=$("$python" "$folder/program.py" meta with)
without=$("$python" "$folder/program.py" meta without)
printf '%s\n' "$cpu" "$meta" "$without"
[[ $cpu == *", no compiler" && $meta == *", compiler" && $without == *", no compiler" ]]
