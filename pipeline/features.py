"""Write the pooled features of the main row of a step, over a data set."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from agecascade import model_folder, params
from agecascade.files import write_table
from agecascade.schema import FEATURES
from agecascade.training.cascade import find_model
from agecascade.training.inference import pooled_features
from common import aligned_faces, run


def main(step: str) -> None:
    study = params.load("params.yaml")
    faces = aligned_faces(study, study.features[step].dataset)
    # a step with several folds saw some of these pictures in training: find_model accepts it only fold by fold
    network, _, card = model_folder.load(find_model(Path("models") / step, study.rows[0], fold=-1))
    feature = pooled_features(network, faces.images, card.image_size, card.channels)
    columns = {
        "sample_id": faces.sample_id,
        "feature": list(feature),
        "label": faces.label,
        "label_sigma": pa.array(faces.sigma, from_pandas=True),
    }
    write_table(f"data/features/{step}.parquet", pa.table(columns, schema=FEATURES))


if __name__ == "__main__":
    run(main)
