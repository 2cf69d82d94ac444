"""`agecascade export`: a trained model as one file that runs without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agecascade.cli.command import app, one_line
from agecascade.errors import AgecascadeError, ModelError, OutputError


@app.command()
@one_line
def export(
    model: Annotated[Path, typer.Option(readable=False, help="Folder with a trained model, or its parent: then each fold is exported.")],
    output: Annotated[Path, typer.Option(readable=False, help="A new or empty folder: the file, model.json and README.md.")],
    kind: Annotated[str, typer.Option("--format", help="onnx, int8, openvino or torchscript.")] = "onnx",
    calibrate: Annotated[
        Path | None,
        typer.Option(readable=False, help="int8: faces of the training set, data/aligned/<name> or photos; by default the study's own."),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(readable=False, help="Faces on which the file and the model are compared; by default the study's, else drawn ones."),
    ] = None,
    aligned: Annotated[bool, typer.Option("--aligned", help="The photos of --calibrate and --check are face crops already.")] = False,
) -> None:
    """Write a trained model as ONNX, with integers, or for OpenVINO or TorchScript; a check runs it beside the original."""
    from agecascade.io.user_output import UserFolder

    for name, folder in (("--calibrate", calibrate), ("--check", check)):
        if folder is not None and not folder.exists():
            raise ModelError(f"{name} {folder} does not exist; give a folder of faces")
    if output.is_dir() and next(output.iterdir(), None) is not None:  # a file of another format would lie beside the new one
        raise OutputError(f"--output {output} has files in it; name a new folder")
    target = UserFolder(output, [path for path in (model, calibrate, check) if path is not None])
    from agecascade.estimator import Estimator
    from agecascade.export import FORMATS
    from agecascade.export import export as exported

    if kind not in FORMATS:
        raise ModelError(f"--format: unknown format {kind!r}; there are {', '.join(FORMATS)}")
    estimator = Estimator.load(model, "cpu")
    own = _study_faces(model, estimator.folds[0].card.step)
    with target.opened() as folder:
        for card in exported(estimator, kind, folder, calibrate or own, check or own, aligned):
            assert card.exported is not None
            said = card.exported.check
            calibration = card.exported.calibration or {}
            if calibration.get("few"):
                line = f"warning: calibrated on {calibration['faces']}: other faces may lie beyond its ranges; give 32 or more"
                typer.echo(line, err=True)
            mae = f", MAE {said['mae_exported']:.4f} (trained: {said['mae_trained']:.4f})" if "mae_exported" in said else ""
            typer.echo(f"fold {card.fold}: {said['faces']}: {said['mean_difference']:.2g} off on average, "
                       f"{said['largest_difference']:.2g} at most{mae}")  # fmt: skip
    typer.echo(f"{output}: {', '.join(card.files)}, model.json, README.md{'' if said['real'] else '; no real faces: give some (--check)'}")


def _study_faces(model: Path, step: str) -> Path | None:
    """The aligned faces of the data set that a model below models/<step>/ was trained on; None where its study is not there."""
    from agecascade.params import load

    root = next((parent.parent for parent in model.resolve().parents if parent.name == "models"), None)
    if root is None or not (root / "params.yaml").is_file():
        return None
    try:
        study = load(root / "params.yaml")
    except AgecascadeError:  # of another version; the model is whole all the same
        return None
    steps = {**study.pretrain, **study.cascade}
    faces = root / "data" / "aligned" / steps[step].dataset if step in steps else None
    return faces if faces is not None and faces.is_dir() else None
