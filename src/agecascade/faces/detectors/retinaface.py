"""RetinaFace (Deng et al. 2020), the network of retinaface-pytorch, many pictures in one forward pass.

Its body is a ResNet-50, or a MobileNet with a quarter of the channels: a hundredth of the weights.
"""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import numpy as np

from agecascade.errors import FaceError
from agecascade.faces.detectors.weights import RETINAFACE, RETINAFACE_MOBILENET, model_file
from agecascade.faces.face import Annotation, Face, Image
from agecascade.io.places import Source

if TYPE_CHECKING:
    import torch
    from torch import Tensor

STRIDES = [8, 16, 32]  # pixels, of the three feature maps
VARIANCE = [0.1, 0.2]  # by which offsets and logarithms of sizes are scaled

OVERLAP = 0.4  # of the boxes of one face, in non-maximum suppression, as in the package
GPU_BATCH = 16


@dataclass(frozen=True, eq=False)
class Design:
    """A published network and how it was trained."""

    source: Source
    anchors: list[list[int]]  # pixels, at each of STRIDES
    mean: tuple[float, float, float]  # of the channels in their order
    std: tuple[float, float, float]
    white: float  # the pixel value of which mean and std are shares
    bgr: bool  # the order of the channels: blue first
    maps: int  # channels of the first of the three maps of the body, halved
    features: int  # channels of the feature pyramid


DESIGNS = {
    "resnet50": Design(RETINAFACE, [[16, 32], [64, 128], [256, 512]], (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 255, False, 256, 256),
    "mobilenet0.25": Design(
        RETINAFACE_MOBILENET, [[10, 20], [32, 64], [128, 256]], (104.0, 117.0, 123.0), (1.0, 1.0, 1.0), 1, True, 32, 64
    ),
}


class RetinaFace:
    """Box, five points and score of each face; one forward pass for all pictures of about one size, on CUDA where there is one.

    A picture is padded to a square at its right and bottom by the mean colour. The square's side is the longer one of the picture
    rounded up to quarters of `max_side`, so that the faces of a picture do not depend on the other pictures of the call.
    network: one of DESIGNS. Raises FaceError where the package or the weights are missing.
    """

    def __init__(
        self, min_score: float, max_side: int, weights: Path | None = None, device: str | None = None, network: str = "resnet50"
    ) -> None:
        design = DESIGNS[network]
        empty = _empty_network(network)
        path = weights or model_file(design.source)
        import torch

        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._network = _load_weights(empty, path, network).eval().to(self._device).to(memory_format=torch.channels_last)
        self._mean, self._std = (
            torch.tensor(values, device=self._device)[:, None, None] * design.white for values in (design.mean, design.std)
        )
        self._design = design
        self._min_score = min_score
        self._quarter = max_side / 4
        self._priors: dict[int, Tensor] = {}
        self.batch = GPU_BATCH if self._device.type == "cuda" else 1

    def __call__(self, images: Sequence[Image], annotations: Sequence[Annotation]) -> list[list[Face]]:
        results: list[list[Face]] = [[] for _ in images]
        sides = [self._side(max(image.shape[:2])) for image in images]
        for side in sorted(set(sides)):
            of_side = [i for i, other in enumerate(sides) if other == side]
            for i, faces in zip(of_side, self._faces([images[i] for i in of_side], side), strict=True):
                results[i] = faces
        return results

    def _side(self, longest: int) -> int:
        """The side of the square for a picture, a multiple of 32: the network halves it five times."""
        return STRIDES[-1] * math.ceil(math.ceil(longest / self._quarter) * self._quarter / STRIDES[-1])

    def _faces(self, images: list[Image], side: int) -> list[list[Face]]:
        """The faces of B pictures that fit into a square of `side` pixels."""
        import torch
        from torchvision.ops import nms

        with torch.inference_mode():
            boxes, classes, points = self._network(self._pad(images, side))  # (B, P, 4), (B, P, 2), (B, P, 10)
            scores = torch.softmax(classes.float(), dim=-1)[:, :, 1]  # (B, P)
            picture, prior = torch.nonzero(scores > self._min_score, as_tuple=True)  # (F,)
            priors = self._prior_boxes(side)[prior]  # (F, 4)
            places = _decode_predictions(boxes[picture, prior].float(), points[picture, prior].float(), priors)  # (F, 14)
            # few are left, so one transfer from the device for all of them
            rows = torch.column_stack([picture.to(places.dtype), scores[picture, prior], places * side]).cpu()  # (F, 16)
            faces = [part[nms(part[:, 2:6], part[:, 1], OVERLAP)] for part in (rows[rows[:, 0] == i] for i in range(len(images)))]
        return [[_face(row) for row in part.numpy().astype(np.float64)] for part in faces]

    def _pad(self, images: list[Image], side: int) -> Tensor:
        """Pictures as (B, 3, side, side), normalised; the padding is zero, the mean colour."""
        import torch

        batch = torch.zeros(len(images), 3, side, side, device=self._device).contiguous(memory_format=torch.channels_last)
        for square, image in zip(batch, images, strict=True):
            ordered = image[..., ::-1] if self._design.bgr else image
            pixels = torch.from_numpy(np.ascontiguousarray(ordered)).to(self._device).permute(2, 0, 1)  # (3, h, w)
            square[:, : image.shape[0], : image.shape[1]] = (pixels - self._mean) / self._std
        return batch

    def _prior_boxes(self, side: int) -> Tensor:
        """(P, 4) centre and size of the anchors, in shares of the square."""
        from retinaface.prior_box import priorbox

        if side not in self._priors:
            anchors = self._design.anchors
            self._priors[side] = priorbox(anchors, STRIDES, clip=False, image_size=(side, side)).to(self._device)
        return self._priors[side]


def _decode_predictions(boxes: Tensor, points: Tensor, priors: Tensor) -> Tensor:
    """Boxes and points (F, 14) in shares of the square, from the network's outputs (F, 4), (F, 10) at its anchors (F, 4)."""
    import torch
    from retinaface.box_utils import decode, decode_landm

    return torch.column_stack([decode(boxes, priors, VARIANCE), decode_landm(points, priors, VARIANCE)])


def _face(row: Any) -> Face:
    """One row (16,): picture, score, box, and five points, the eye at the left of the picture first, as in the template."""
    return Face(row[2:6], row[6:].reshape(5, 2), float(row[1]))


def _empty_network(name: str) -> torch.nn.Module:
    """The network without weights, which takes no memory; raises FaceError where the package is missing."""
    try:
        import torch
        from retinaface.network import RetinaFace as Network
        from torchvision import ops  # noqa: F401  # a torchvision of another torch fails here
    except (ImportError, RuntimeError) as error:
        raise FaceError(
            f"the detector retinaface needs the packages retinaface-pytorch and torchvision ({' '.join(str(error).split())}); "
            "install them with `uv sync`, or choose the detector yunet"
        ) from None
    design = DESIGNS[name]
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package calls torchvision by names of its year
        layers = {"layer2": 1, "layer3": 2, "layer4": 3}
        network = Network("Resnet50", pretrained=False, return_layers=layers, in_channels=design.maps, out_channels=design.features)
        if name == "mobilenet0.25":
            network.body = _mobilenet_body()
            _without_leaks(network)
        return network


def _mobilenet_body() -> torch.nn.Module:
    """MobileNet (Howard et al. 2017) with a quarter of its channels: pictures (B, 3, S, S) -> maps of 64, 128 and 256 channels.

    The package has its layers and knows no network of them.
    """
    from retinaface.net import conv_bn, conv_dw
    from torch import nn
    from torchvision.models._utils import IntermediateLayerGetter

    widths = {"stage1": [(8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]}  # channels in and out, stride
    widths["stage2"] = [(64, 128, 2), *[(128, 128, 1)] * 5]
    widths["stage3"] = [(128, 256, 2), (256, 256, 1)]
    stages = nn.Sequential()
    for stage, layers in widths.items():
        first = [conv_bn(3, 8, 2)] if stage == "stage1" else []  # (B, 8, S / 2, S / 2)
        stages.add_module(stage, nn.Sequential(*first, *(conv_dw(*layer, leaky=0) for layer in layers)))
    return IntermediateLayerGetter(stages, {"stage1": "1", "stage2": "2", "stage3": "3"})


def _without_leaks(network: torch.nn.Module) -> None:
    """Make every activation a ReLU, with which the weights were trained: the package's small networks leak a tenth.

    Other published weights of this network, of Pytorch_Retinaface, do want the tenth, and larger anchors. Names and shapes are the
    same, so that the checksum alone tells them apart.
    """
    from torch import nn

    for module in network.modules():
        if isinstance(module, nn.LeakyReLU):
            module.negative_slope = 0.0


def _load_weights(network: torch.nn.Module, path: Path, name: str) -> torch.nn.Module:
    """The network with the weights of a file; raises FaceError where they are no weights or do not fit."""
    import torch

    try:
        state = {key.removeprefix("module."): tensor for key, tensor in _state(path).items()}  # which DataParallel puts before
        network.load_state_dict(state, assign=True)
    except (OSError, EOFError, AttributeError, RuntimeError, TypeError, ValueError, UnpicklingError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise FaceError(f"{path} holds no weights of RetinaFace with {name} ({reason}); fetch {DESIGNS[name].source.url}") from None
    return network.to(torch.float32)


def _state(path: Path) -> Mapping[str, Tensor]:
    """A state dict that torch.save wrote, or a zip with one such file, which torch.hub takes as well; runs no code of the file."""
    import torch

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) == 1:
                with archive.open(members[0]) as file:
                    return torch.load(file, map_location="cpu", weights_only=True)
    return torch.load(path, map_location="cpu", weights_only=True)
