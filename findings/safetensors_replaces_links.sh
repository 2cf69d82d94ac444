#!/usr/bin/env bash
# safetensors 0.8.0: save_file leaves a file that only its owner can read, and a plain file in the place of a link.
#
# safetensors.torch.save_file(weights, path) writes through a temporary file of mode 0600 and renames it, whatever the umask says, so that
# a model on a shared disk cannot be read by colleagues although the model.json beside it can. A path that is a symbolic link, such as one
# to a larger disk, becomes a plain file, and the file behind the link keeps its old weights. torch.save and numpy.save write through the
# link and leave the umask's rights.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" "safetensors==0.8.0" "numpy==2.4.6"
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import os
from pathlib import Path

import numpy as np
import safetensors
from safetensors.numpy import save_file

os.umask(0o022)
weights = {"bias": np.zeros(3, np.float32)}
save_file(weights, "model.safetensors")
np.save("model.npy", weights["bias"])
rights = [oct(Path(name).stat().st_mode & 0o777) for name in ("model.safetensors", "model.npy")]

Path("disk").mkdir()
links = []
for name, write in (("a.safetensors", lambda path: save_file(weights, path)), ("a.npy", lambda path: np.save(path, weights["bias"]))):
    behind = Path("disk", name)
    behind.write_bytes(b"old")
    Path(name).symlink_to(behind)
    write(name)
    links.append((Path(name).is_symlink(), behind.read_bytes() == b"old"))

print(f"safetensors {safetensors.__version__}: rights {rights[0]}, of numpy.save {rights[1]}")
print(f"a link: still one {links[0][0]}, file behind it unchanged {links[0][1]}; numpy.save: {links[1][0]}, {links[1][1]}")
assert rights == ["0o600", "0o644"], rights
assert links == [(False, True), (True, False)], links
PY
