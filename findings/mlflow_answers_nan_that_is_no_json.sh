#!/usr/bin/env bash
# mlflow 3.17.2: the scoring server answers a missing number as NaN, which is no JSON.
#
# A model that finds no face in a picture has no age for it: NaN in its data frame. `mlflow models serve` writes such an answer with the
# bare word NaN. Python reads that by default; JSON.parse of browsers and node, Go, Rust and strict readers do not, and one picture
# without a face makes the answer for the whole batch unreadable. One would expect null, as pandas' own to_json writes. Where the column holds
# objects, with None in place of NaN, the same server writes null.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" "mlflow==3.17.2" "pandas==2.3.3"
cd "$folder"
venv/bin/python - 2> warnings <<'PY' || { cat warnings; exit 1; }
import io
import json
from importlib.metadata import version

import pandas as pd
from mlflow.pyfunc.scoring_server import predictions_to_json


def answered(frame):
    text = io.StringIO()
    predictions_to_json(frame, text)
    return text.getvalue()


def refused(word):
    raise ValueError(word)


frame = pd.DataFrame({"age": [31.5, float("nan")]})
numbers, objects = answered(frame), answered(frame.astype(object).where(frame.notna(), None))
print(f"mlflow {version('mlflow')}: {numbers}; with objects {objects}; pandas {frame.to_json(orient='records')}")
assert json.loads(objects, parse_constant=refused)["predictions"][1]["age"] is None
try:
    json.loads(numbers, parse_constant=refused)
except ValueError as error:
    assert str(error) == "NaN", error
else:
    raise SystemExit("the answer is strict JSON now")
PY
