"""Maps of networks whose cues lie at known places: a painted square, and drawn faces before a background."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from agecascade.augmentation import plain
from agecascade.explain.grad_cam import grad_cam
from agecascade.explain.maps import enlarged
from agecascade.explain.occlusion import SQUARES, occlude, windows
from agecascade.explain.score_map import score_maps
from agecascade.runtimes.torch_runtime import TorchModel
from agecascade.synthetic.camera import Style, develop, placement, take
from agecascade.synthetic.curves import moved, pose
from agecascade.synthetic.drawing import draw
from agecascade.synthetic.geometry import FIVE, face_curves, landmarks
from agecascade.synthetic.people import looks
from agecascade.synthetic.plan import Seeds
from fold_models import random_model

SIDE = 64


def trained(images: np.ndarray, ages: np.ndarray, epochs: int, rate: float = 4e-3) -> TorchModel:
    """A TinyAgeNet with ages 0 to 80, trained on pictures (N, S, S, 3) and their mirror images."""
    torch.set_num_threads(1)
    model = random_model(size=images.shape[1], grid=81)
    network, batch = model.network.train(), plain(images, model.card.channels)
    label, random = torch.tensor(ages, dtype=torch.float32), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(network.parameters())
    steps = -(-len(images) // 32)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(images), generator=random).split(32):
            views = batch[rows].flip(3) if torch.rand((), generator=random) < 0.5 else batch[rows]
            optimiser.zero_grad()
            model.method.loss(network(views), label[rows], torch.full((len(rows),), 3.0)).backward()
            optimiser.step()
            schedule.step()
    network.eval()
    return model


def squares(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise whose brightness tells the age in the second row of squares alone, columns 2 to 4 of 0 to 6."""
    random = np.random.default_rng(seed)
    ages = random.uniform(0, 80, count)
    images = random.integers(60, 200, (count, 32, 32, 3))
    images[:, 5:9, 9:23] = (60 + 1.6 * ages).astype(int)[:, None, None, None]
    return images.astype(np.uint8), ages


def test_a_painted_square_is_what_lights_up() -> None:
    model = trained(*squares(256, 0), epochs=16)
    images, ages = squares(32, 1)
    result = occlude(model, images)
    assert np.abs(result.value - ages).mean() < 10  # it has learned: the median errs by 20
    loss = result.relative_loss(ages)
    assert loss is not None
    by_square = loss[:SQUARES].reshape(7, 7)
    cue = by_square[1, 2:5].mean()
    assert cue > 0.1
    assert cue > 10 * np.abs(by_square[4:]).mean()
    assert loss[SQUARES:].argmax() == 1  # the stripe of the cue
    maps = enlarged(np.concatenate([grad_cam(model, images, "block2")]), 32).mean(0)
    assert maps[5:9, 9:23].mean() > 2 * maps[16:].mean()


def faces(count: int, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drawn people before a background: pictures, ages, and masks (N, S, S) of heads with their hair, where all cues of age are."""
    seeds, style = Seeds(0, "explain"), Style(sides=(SIDE, SIDE), margin=0.5)
    images, ages, heads = [], [], []
    for number in range(first, first + count):
        who, rng = seeds.person(number), seeds.picture(number)
        view, age = take(style, rng), float(rng.uniform(2, 80))
        drawing, _ = draw(who, age, view, rng)
        images.append(develop(drawing, view, rng))
        ages.append(age)
        again = seeds.picture(number)  # the same draws, for the outlines of the same look
        take(style, again), again.uniform(2, 80)
        seen = face_curves(looks(who, age, again), who).through(lambda points, view=view: pose(points, view.yaw, view.pitch))
        outline = moved(placement(landmarks(seen)[FIVE], view) * SIDE, np.concatenate([seen["head"], seen["cap"]]))
        mask = np.zeros((SIDE, SIDE), np.uint8)
        cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(outline).astype(np.int32)), 1)
        heads.append(mask)
    return np.stack(images), np.array(ages), np.stack(heads)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_on_drawn_faces_the_head_lights_up_and_not_the_background() -> None:
    images, ages, _ = faces(700, 0)
    model = trained(images, ages, epochs=8)
    images, ages, heads = faces(100, 5000)
    result = occlude(model, images)
    assert np.abs(result.value - ages).mean() < 14  # it has learned: the median errs by 20
    places = windows(SIDE)[:SQUARES]
    share = np.stack([heads[:, place.top : place.bottom, place.left : place.right].mean((1, 2)) for place in places], axis=1)  # (N, 49)
    change = np.abs(result.change[:, :SQUARES])
    assert change[share > 0.5].mean() > 3 * change[share == 0].mean()
    assert (
        np.mean(share[np.arange(len(change)), change.argmax(1)] > 0.25) > 0.75
    )  # the square that moves a prediction most; 0.88 when written
    maps = enlarged(score_maps(model, images), SIDE)
    standard = (maps - maps.mean((1, 2), keepdims=True)) / maps.std((1, 2), keepdims=True)
    assert standard[heads == 1].mean() > standard[heads == 0].mean() + 0.5
    highest = [head.flat[single.argmax()] for head, single in zip(heads, maps, strict=True)]
    assert np.mean(highest) > heads.mean() + 0.2  # more often on a head than by chance
