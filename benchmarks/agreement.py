"""Check that a model in use has the error of its table: `agecascade predict --aligned` on a study's test pictures, against its predictions.

usage: uv run python benchmarks/agreement.py STEP [--row ROW] [--model FOLDER] [--quick]
After `dvc repro` of a study whose data set is published as crops.
The pictures come from the publisher's archive and go through the command line, as a user's would; of a split of several folds, the
first fold's model is used, or that of --model, such as an exported one. --quick takes the first 50 test pictures. The last line printed
is one JSON object: pictures, table_mae, use_mae, difference of the two, largest_difference of a prediction, coverage.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path, PurePosixPath

import pandas as pd

from agecascade.archives import open_archives
from step_arguments import read_arguments, step_parser

QUICK = 50  # pictures


def main() -> None:
    parser = step_parser(__doc__)
    parser.add_argument("--model", type=Path)
    arguments, model = read_arguments(parser), parser.parse_args().model
    name, row = arguments.dataset, arguments.row
    table = pd.read_parquet(f"data/predictions/{arguments.step}/{row}.parquet").query("fold == 0")[: QUICK if arguments.quick else None]
    members = pd.read_parquet(f"data/manifest/{name}.parquet").set_index("sample_id")["member"].loc[table["sample_id"]]
    used = in_use(model or Path("models", arguments.step, row, "fold0"), Path("data/raw", name), set(members))
    joined = table[["label", "prediction"]].assign(member=members.to_numpy()).merge(used, on="member", validate="one_to_one")
    if len(joined) != len(table) or joined["value"].isna().any():
        sys.exit(f"error: {len(table)} test pictures, but {joined['value'].notna().sum()} predictions")
    table_mae = float((joined["prediction"] - joined["label"]).abs().mean())
    use_mae = float((joined["value"] - joined["label"]).abs().mean())
    figures = {
        "pictures": len(joined),
        "table_mae": round(table_mae, 4),
        "use_mae": round(use_mae, 4),
        "difference": round(abs(use_mae - table_mae), 4),
        "largest_difference": round(float((joined["prediction"] - joined["value"]).abs().max()), 6),
        "coverage": round(float(joined["label"].between(joined["low"], joined["high"]).mean()), 4),
    }
    print(json.dumps(figures))


def in_use(model: Path, raw: Path, members: set[str]) -> pd.DataFrame:
    """Predictions of the command line for these members: columns member, value, low, high."""
    with tempfile.TemporaryDirectory() as folder:
        paths: dict[str, str] = {}
        with open_archives(raw) as archive:
            for member in archive.members():
                if member.name in members:
                    # numbered, for folders of an archive may hold the same names
                    path = Path(folder, f"{len(paths)}{PurePosixPath(member.name).suffix}")
                    path.write_bytes(member.read())
                    paths[str(path)] = member.name
        output = Path(folder, "ages.csv")
        command = [
            str(Path(sys.executable).with_name("agecascade")),
            "predict",
            folder,
            "--model",
            str(model),
            "--output",
            str(output),
            "--aligned",
        ]
        subprocess.run(command, check=True, stdout=sys.stderr)
        predictions = pd.read_csv(output)
    return predictions.assign(member=predictions["path"].map(paths))[["member", "value", "low", "high"]]


if __name__ == "__main__":
    main()
