"""README.md of a trained row in the form of Hugging Face: what the model is, learned from, and is for; figures where they are known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agecascade.model_folder import ModelCard

NAME = "README.md"
CALIBRATED = {"validation": "validation pictures", "other_folds": "the test pictures of the other folds"}
_HEAD = """---
library_name: agecascade
pipeline_tag: image-classification
tags:
- age-estimation
- face
- {method}
datasets:
{datasets}
{results}---
"""
_USE = """## Intended use

Research on the estimation of age from faces: comparing methods, networks and data under one protocol. Not for decisions about a person,
such as access, insurance, asylum or policing, and not for finding out who somebody is. Licences of most face data sets allow research only,
and hold for models trained on them; so none is named above.
"""


@dataclass(frozen=True)
class Tested:
    """Figures of a row on test pictures: {name: value} for the front matter, and lines of text; limits that only the data tell."""

    figures: Mapping[str, float]
    text: Sequence[str]
    limits: Sequence[str] = field(default_factory=tuple)


def model_card(name: str, folds: Sequence[ModelCard], dataset: str, recipe: Mapping[str, Any], tested: Tested | None = None) -> str:
    """The text of a row's README.md.

    folds: the cards of its folds; dataset: what it learned from last; recipe: the settings of that training.
    """
    card = folds[0]
    head = _HEAD.format(method=card.method, datasets=f"- {dataset}", results=_results(name, dataset, tested))
    parts = [
        head,
        f"# {name}\n",
        f"{_model(card, len(folds))}\n",
        f"## Training\n\n{_training(card, dataset, recipe)}\n",
        f"## Validation\n\n{_validation(folds)}\n",
        *([] if tested is None else ["## Test\n\n" + "\n".join(tested.text) + "\n"]),
        _limits(card, tested),
        _USE,
        f"## Use\n\n    agecascade predict photos/ --model models/{card.step}/{name} --output ages.csv\n",
    ]
    return "\n".join(parts)


def _model(card: ModelCard, folds: int) -> str:
    grid = f"{card.grid[0]:g} to {card.grid[-1]:g} ({len(card.grid)} values)"
    trained = "one network" if folds == 1 else f"{folds} networks, one for each fold; `predict` averages them"
    return (
        f"`{card.backbone}` with head `{card.head}` and method `{card.method}`: estimates a label of {grid} from one aligned face of "
        f"{card.image_size} pixels. Study `{card.study}`, step `{card.step}`; {trained}."
    )


def _training(card: ModelCard, dataset: str, recipe: Mapping[str, Any]) -> str:
    given = {key: value for key, value in recipe.items() if value is not None and not isinstance(value, Mapping) and key != "dataset"}
    options = {**given, **card.method_options}
    lines = [
        f"- steps: {' > '.join(card.chain)}",
        f"- data set: {dataset}",
        *([] if card.trained_on is None else [f"- learned from: {_learned(card)}"]),
        f"- seed: {card.seed}",
        f"- face detector: {card.crop.detector}",
    ]
    return "\n".join([*lines, *(f"- {key}: {_plain(value)}" for key, value in options.items())])


def _validation(folds: Sequence[ModelCard]) -> str:
    errors = [card.validation["validation_mae"] for card in folds if card.validation]
    pictures = sum(card.validation["validation_pictures"] for card in folds if card.validation)
    text = "There were no validation pictures."
    if errors:
        mean = f", the mean of {len(errors)} folds" if len(errors) > 1 else ""
        text = f"MAE {sum(errors) / len(errors):.2f} over {pictures} validation pictures{mean}."
    interval = folds[0].interval
    if interval is None:
        return f"{text} The model has no calibrated interval."
    kind = "a quantile for each band of labels" if interval.edges else "one quantile for all labels"
    return (
        f"{text} Intervals are conformal, with {kind}, and are to hold {interval.coverage:.0%} of the labels. They are calibrated on "
        f"{CALIBRATED[interval.calibrated_on]}."
    )


def _limits(card: ModelCard, tested: Tested | None) -> str:
    limits = [
        f"It says nothing outside of {card.grid[0]:g} to {card.grid[-1]:g}, and whatever face it is given gets a label.",
        "Errors differ between ages, groups and cameras: an average promises nothing for one person.",
        "Intervals hold for pictures like those that they were calibrated on.",
        *(tested.limits if tested else ["The full card with test figures is written by the stage `report`."]),
    ]
    return "## Limits\n\n" + "\n".join(f"- {text}" for text in limits) + "\n"


def _results(name: str, dataset: str, tested: Tested | None) -> str:
    """The front matter's model-index, which Hugging Face shows as a table."""
    if tested is None or not tested.figures:
        return ""
    lines = [
        "model-index:",
        f"- name: {name}",
        "  results:",
        "  - task: {type: image-classification, name: age estimation}",
        f"    dataset: {{name: {dataset}, type: {dataset}}}",
        "    metrics:",
        *(f"    - {{type: {key}, value: {value:g}}}" for key, value in tested.figures.items()),
    ]
    return "\n".join(lines) + "\n"


def _learned(card: ModelCard) -> str:
    """The data sets of the chain, with the pictures of this fold, and which were drawn."""
    texts = []
    for learned in card.trained_on or []:
        facts = [] if learned.pictures is None else [f"{learned.pictures:,} pictures"]
        facts += ["drawn by a program"] * learned.drawn
        texts.append(learned.dataset + (f" ({', '.join(facts)})" if facts else ""))
    return "; ".join(texts) or "nothing yet"


def _plain(value: Any) -> str:
    return (
        json.dumps(value) if isinstance(value, list | bool) or value is None else f"{value:g}" if isinstance(value, float) else str(value)
    )
