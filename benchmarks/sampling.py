"""Error and time of a trained DAA model that compares with every n-th age, n = 1, 2, 5, 10, 20, 50 (DAA, Tables 6 and 7).

usage: uv run python benchmarks/sampling.py STEP [--row ROW] [--quick]    after `dvc repro` of a study with `head: daa`
Nothing is trained again: each fold's test pictures and their mirror images go through the backbone once, and their maps through the
stored S and T of all ages, of every second, and so on. MAE and CA(3, 5, 7) are means over the folds; milliseconds are those of the head
for one picture of a batch of 8, the shortest of many. --quick takes the first fold alone. The table goes to standard error; the last line
printed is one JSON object: {n}, and of each ages, milliseconds, MAE, CA(3), CA(5), CA(7).
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from agecascade import metrics, model_folder
from agecascade.evaluation.tables import to_markdown
from agecascade.inference import batches
from agecascade.loading import Faces, load_faces
from agecascade.models.daa import DaaHead, DaaNetwork
from step_arguments import parse_arguments

INTERVALS = (1, 2, 5, 10, 20, 50)
BATCH = 8


def main() -> None:
    arguments = parse_arguments(__doc__)
    models = Path("models", arguments.step, arguments.row)
    if not models.exists():
        sys.exit(f"error: {models} is not there; run `dvc repro`, or name another row with --row")
    faces = load_faces(Path("data/aligned", arguments.dataset), arguments.study.image_size)
    splits = pd.read_parquet(f"data/splits/{arguments.dataset}.parquet").query("role == 'test'")
    by_interval: dict[int, list[dict[str, float]]] = defaultdict(list)
    folds = sorted(models.glob("fold*"), key=lambda path: int(path.name[4:]))
    for folder in folds[:1] if arguments.quick else folds:
        tested = np.isin(faces.sample_id, splits.query(f"fold == {folder.name[4:]}")["sample_id"].to_numpy(str))
        for interval, figures in of_fold(folder, faces.take(tested)):
            by_interval[interval].append(figures)
    table = pd.DataFrame([{"n": interval, **pd.DataFrame(folds).mean().to_dict()} for interval, folds in by_interval.items()])
    print(to_markdown(table), file=sys.stderr)
    print(json.dumps({str(line.pop("n")): line for line in table.round(4).to_dict("records")}))


def of_fold(folder: Path, tested: Faces) -> Iterator[tuple[int, dict[str, float]]]:
    """The figures of one model for each interval that leaves two ages or more."""
    network, method, card = model_folder.load(folder)
    if not isinstance(network, DaaNetwork):
        sys.exit(f"error: {folder} has the head {card.head}, not daa; name a row that has it with --row")
    maps = torch.cat(
        [
            torch.stack([network.features(view) for view in (batch, batch.flip(3))])
            for batch in batches(network, tested.images, card.image_size, card.channels, 256)
        ],
        dim=1,
    )  # (2, N, C, h, w)
    head = network.head
    for interval in INTERVALS:
        if interval < len(head.ages):
            head.sampling = interval
            values = [method.predict(estimates(head, of_view))[0] for of_view in maps]
            value = torch.stack(values).mean(0).double().numpy()
            rates = {f"CA({level})": metrics.cumulative_accuracy(value, tested.label, level) for level in (3, 5, 7)}
            taken = {"ages": len(head.ages[::interval]), "milliseconds": milliseconds(head, maps[0, :BATCH])}
            yield interval, {**taken, "MAE": metrics.mae(value, tested.label), **rates}


@torch.inference_mode()
def estimates(head: DaaHead, maps: Tensor) -> Tensor:
    """The estimates of all compared ages for the pictures, (N, n)."""
    return torch.cat([head(some) for some in maps.split(256)])


@torch.inference_mode()
def milliseconds(head: DaaHead, maps: Tensor) -> float:
    """Of the head alone, for one of these pictures."""
    taken = []
    for _ in range(50):
        start = time.perf_counter()
        head(maps)
        taken.append(time.perf_counter() - start)
    return 1000 * min(taken) / len(maps)


if __name__ == "__main__":
    main()
