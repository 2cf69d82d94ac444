"""README.md of an exported model: what the file takes and gives, how far it is from its original, how to run it elsewhere."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from agecascade.model_card import ModelCard

_USE = {
    "onnx": """
        import onnxruntime
        session = onnxruntime.InferenceSession("model.onnx")
        value, *distribution = session.run(None, {"crops": crops})
    """,
    "openvino": """
        import openvino
        model = openvino.Core().compile_model("model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        value, *distribution = model([crops]).values()
    """,
    "torchscript": """
        import torch
        value, *distribution = torch.jit.load("model.pt")(torch.from_numpy(crops))
    """,
}
_USE["int8"] = _USE["onnx"]
_NOTES = {
    "onnx": "OpenVINO reads this file as well; there ask for `INFERENCE_PRECISION_HINT: f32`, for its default is bf16 where a processor "
    "has it, which moves ages by some hundredths of a year.",
    "openvino": "Without `INFERENCE_PRECISION_HINT: f32`, OpenVINO computes in bf16 where a processor has it, which moves ages by some "
    "hundredths of a year. The weights are in model.bin; keep both files together.",
    "torchscript": "It needs torch, and none of this package's code.",
    "int8": "The file is in the QDQ form, with signed weights. OpenCV 5's own DNN module refuses it; use ONNX Runtime or OpenVINO.",
}


def text(card: ModelCard, folder: Path) -> str:
    """The README of one fold's folder, whose files are there."""
    made = card.exported
    assert made is not None
    check, size = made.check, card.image_size
    megabytes = sum((folder / name).stat().st_size for name in card.files) / 1e6
    lines = [
        f"# {card.study}, {' > '.join(card.chain)}, fold {card.fold}: {made.format}",
        "",
        f"{card.backbone} with {card.method}, {megabytes:.2f} MB in {' and '.join(card.files)}, made by `agecascade export` with "
        f"{', '.join(f'{name} {number}' for name, number in made.made_with.items())}. "
        "`agecascade predict --model FOLDER` takes this folder.",
        "",
        f"- Input `crops`: uint8, (N, {size}, {size}, 3), RGB; any N. The faces are aligned as model.json says (`crop`); "
        'docs/how_to/export.md of the project, "To a phone", makes them in 15 lines, without this package.',
        "- Output `value`: float32, (N,), label units. Mirror image, normalisation, softmax and decoding are in the graph.",
        f"- Output `distribution`, where the method has one: float32, (N, {len(card.grid)}), over `grid` of model.json.",
        "",
        f"Checked on {check['faces']}{'' if check['real'] else ' (no real ones were given: --check)'}: the values differ from the trained "
        f"model's by {check['mean_difference']:.2g} label units on average and {check['largest_difference']:.2g} at most; allowed is a "
        f"{check['of'].replace('_', ' ')} of {check['tolerance']:.2g}.",
    ]
    if "mae_exported" in check:
        lines.append(f"MAE on these faces: {check['mae_exported']:.4f}; of the trained model {check['mae_trained']:.4f}.")
    code = "\n".join(f"    {line}" for line in dedent(_USE[made.format]).strip().splitlines())
    lines += ["", code, "", _NOTES[made.format]]
    if made.calibration and made.layers:
        few = " These are few: other faces may lie beyond its ranges." if made.calibration.get("few") else ""
        lines += [
            "",
            f"Calibrated on {made.calibration['faces']}; {made.calibration['single_precision']} stays in single precision.{few}",
            "",
        ]
        lines += ["| layer | kind | signal to quantisation noise (dB) |", "| --- | --- | ---: |"]
        lines += [f"| {layer['layer']} | {layer['kind']} | {layer['sqnr_db']:.1f} |" for layer in made.layers]
    return "\n".join(lines) + "\n"
