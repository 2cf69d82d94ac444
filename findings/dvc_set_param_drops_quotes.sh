#!/usr/bin/env bash
# dvc 3.67.1: `dvc exp run -S seed=1` can write a params.yaml that DVC itself refuses to read.
#
# DVC changes the file by ruamel.yaml's round trip, which keeps comments but not quotes: {trainable: "from:fc6"} becomes
# {trainable: from:fc6}. ruamel reads that; DVC's reading of params uses another parser, which takes the second colon between braces for
# a mapping and ends with "YAML file structure is corrupted". The file is the user's own, and the changed key was another one. In block
# style the same text survives.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" "dvc==3.67.1" "ruamel.yaml==0.18.17"
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version
from pathlib import Path

from dvc.utils.serialize import YAMLFileCorruptedError, load_yaml, modify_yaml

results = {}
for style, text in {"between braces": 'seed: 0\nvgg16: {trainable: "from:fc6"}\n', "block": 'seed: 0\nvgg16:\n  trainable: "from:fc6"\n'}.items():
    path = Path(f"{style.split()[0]}.yaml")
    path.write_text(text)
    before = load_yaml(path)
    with modify_yaml(path) as content:
        content["seed"] = 1
    try:
        results[style] = load_yaml(path) == {**before, "seed": 1}
    except YAMLFileCorruptedError as error:
        results[style] = str(error)
    print(f"{style}: {path.read_text().splitlines()[-1].strip()} -> {results[style]}")
print(f"dvc {version('dvc')}, ruamel.yaml {version('ruamel.yaml')}")
assert "corrupted" in str(results["between braces"]), results
assert results["block"] is True, results
PY
