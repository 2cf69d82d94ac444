"""From a trained model to one file: ONNX in single precision or with integers, OpenVINO, TorchScript; checked beside the original."""

from agecascade.export.exporting import FORMATS, export

__all__ = ["FORMATS", "export"]
