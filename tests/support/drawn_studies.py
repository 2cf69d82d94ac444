"""Studies drawn at random: the small sample with changes that a user may make, and one fault in such a study that makes it invalid.

Whether a study is valid is known by how it was made, not by asking the code under test.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from places import sample_params
from repository import shrunk

Content = dict[str, Any]
Path = tuple[str | int, ...]

COUNTING = ("ranking", "coral", "corn")  # methods with decoding `count`
METHODS = ("dldl_v2", "dldl", "er", "dex", "mr_l1", "mr_l2", "smooth_l1", *COUNTING, "mean_variance", "sord", "unimodal", "daa")
SOFTMAX = ("dldl_v2", "dldl", "er", "dex", "mean_variance", "sord", "unimodal")  # with a score for each age
LAYERS = {"tinyagenet": "block3", "thinagenet:0.25": "block3", "mobilenet_v2": "block4", "resnet18": "layer2", "c3ae": "block3"}

# key: values that each make a valid study, of which one is taken
KEYS: dict[str, list[Any]] = {
    "study": ["soak", "2nd.study-x"],
    "seed": [1, 7, 2**32 - 1],
    "lambda": [0.0, 0.5, 10],
    "kl_reduction": ["batch_and_bins"],
    "decoding": ["median", "mode", "count"],
    "method": list(METHODS),
    "method_options": [{"unimodal": {"weight": 100.0}}, {"sord": {"scale": 2.0}}, {"dldl_v2": {"lambda": 2.0}}, {"daa": {"beta": 3.0}}],
    "backbone": list(LAYERS),
    "daa.templates": ["decimal", "multi_channel", "single_channel"],
    "daa.width": [8],
    "daa.variance": ["unbiased"],
    "daa.sampling": [5],
    "pooling": ["average", "max"],
    "image_size": [40, 48],
    "sigma": [0.5, 5.0],
    "compute.workers": [1, 3],
    "compute.threads": [2],
    "compute.cache_gib": [0.0],
    "align.size": [24, 48],
    "align.crop": ["box"],
    "align.margin": [0.3, -0.1],
    "align.encoding": ["png", "webp"],
    "align.quality": [40, 100],
    "align.part_mib": [1],
    "align.part_pictures": [7, 33],
    "align.choose": ["central", "annotated"],
    "align.max_faces": [1],
    "align.if_no_face": ["whole"],
    "normalisation.mean": [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]],
    "normalisation.std": [[1.0, 1.0, 1.0], [0.2, 0.3, 0.2]],
    "augment": ["none", "dldl_v2", "daa", "cascade", {"preset": "dldl_v2", "flip": 0.0}, {"erase": 1.0, "erase_area": 0.1, "crop": 0.5}],
    "compare.methods": [["dex"], ["coral", "mr_l1"], ["dldl_v2", "unimodal"]],
    "compare.backbones": [["thinagenet:0.25"], ["mobilenet_v2"]],
    "compare.seeds": [[1], [0, 2]],
    "evaluate.levels": [[], [1.0], [0, 2.5, 30]],
    "evaluate.confidence": [0.5, 0.999],
    "evaluate.coverage": [0.1, 0.5, 0.99],
    "evaluate.interval": ["split"],
    "evaluate.bands": [[0], [0, 18, 65], [30.5, 40]],
    "evaluate.groups": [[], [{"name": "a & <b>", "low": 0, "high": 20}, {"name": "old", "low": 21, "high": 90}]],
    "evaluate.legal_age": [None, 13.0, 25],
    "evaluate.most_minors": [0.5, 0.0001],
    "evaluate.published": [{"DEX": 3.09, "ours, µ": 200.0}],
    "tracking.params": [["align.size", "augment"], ["seed"]],
    "tracking.models": ["logged", "champion"],
    "tracking.system_metrics": [True],
}
OF_DATASET: dict[str, list[Any]] = {
    "draw.pictures": [60, 120],
    "draw.subjects": [6, 12],
    "draw.seed": [3],
    "clean.require_gender": [False],
    "clean.min_images_per_identity": [2],
    "clean.max_megapixels": [5.0],
    "duplicates": ["exact", "near"],
    "train_pictures": [20, 10_000],
    "detector": ["whole"],
    "validation": [0.0, 0.3],
}
GRIDS = [{"low": 0, "high": 100, "step": 0.5}, {"low": 0, "high": 100, "step": 4}, {"values": [0, 5, 12, 40, 101]}, {"present": True}]
TESTED = [  # of evaluate.target
    {"protocol": "random", "folds": 1, "test": 0.3},
    {"protocol": "random", "folds": 3},
    {"protocol": "subject_exclusive", "folds": 1, "test": 0.3},
    {"protocol": "subject_kfold", "folds": 3},
    {"protocol": "leave_one_subject_out"},
]
OF_TRAINING: dict[str, list[Any]] = {
    "epochs": [0, 2],
    "batch_size": [2, 7, 64, 100_000],
    "learning_rate": [1e-5, 0.004],
    "weight_decay": [0.01],
    "optimizer": ["adamw", "sgd"],
    "momentum": [0.0, 0.5],
    "gradient_clip": [0.1, 5.0],
    "ema": [0.9],
    "class_weights": ["inverse", "inverse_sqrt"],
    "label_smoothing": [0.1],
    "schedule": [
        {"name": "constant"},
        {"name": "step", "every": 1, "factor": 0.5},
        {"name": "plateau", "patience": 0},
        {"name": "one_cycle", "rise": 0.5},
    ],
    "trainable": ["head", "from:block4"],
    "select": ["best"],
    "early_stopping": [1],
    "augment": ["none", {"preset": "daa"}],
}
OF_STEP: dict[str, list[Any]] = {
    "method": ["er", "dex", "coral", "dldl"],
    "lambda": [0.0, 3.0],
    "by_backbone": [{"tinyagenet": {"epochs": 2}, "resnet18": {"learning_rate": 0.0005}}],
}
REGRESSORS = [
    {"regressor": "svr_rbf", "options": {"C": [1.0, 10.0]}},
    {"regressor": "knn", "options": {"n_neighbors": [3], "weights": "distance"}},
    {"regressor": "ridge", "options": {"standardise": False, "folds": 1}},
    {"regressor": "ohrank", "options": {"cost": "none", "C": [0.001]}},
    {"regressor": "bfgs_ldl", "options": {"penalty": [0], "max_iter": 50}},
]
FEATURES = [
    {"dataset": "sample_fgnet", "step": "scratch", "extractor": "bif", "normalise": "l2"},
    {"dataset": "sample_fgnet", "step": "scratch", "extractor": "bif", "pooling": "std"},
    {"dataset": "sample_fgnet", "step": "faces", "layer": "first"},
    {"dataset": "sample_agedb", "step": "scratch", "layer": "global_max"},
    {"dataset": "sample_fgnet", "step": "imdb", "layer": "flattened", "normalise": "l2"},
]


def small() -> Content:
    """The small sample, with fewer pictures of what networks look at."""
    content = shrunk(sample_params())
    content["explain"]["target"]["pictures"] = 8
    return content


def valid(chance: random.Random) -> Content:
    """The small sample with some changes; valid."""
    content = small()
    for key in chance.sample(list(KEYS), chance.randint(2, 7)):
        put(content, key, deepcopy(chance.choice(KEYS[key])))
    for change in chance.sample(CHANGES, chance.randint(2, len(CHANGES))):
        change(content, chance)
    fit(content)
    return content


def invalid(chance: random.Random) -> tuple[Content, str]:
    """A study with one fault, and the key that an error must name."""
    content = valid(chance)
    content.setdefault("screen", {})
    return content, chance.choice(FAULTS)(content, chance)


def put(content: Any, key: str, value: Any) -> None:
    """Set a key whose parts are joined by dots; blocks that are not there are made."""
    *blocks, last = key.split(".")
    for block in blocks:
        content = content.setdefault(block, {})
    content[last] = value


def of_dataset(content: Content, chance: random.Random) -> None:
    name = chance.choice(list(content["datasets"]))
    for key in chance.sample(list(OF_DATASET), 2):
        if key == "detector" and name == "sample_imdb":
            continue  # its pictures show more than the face
        put(content["datasets"][name], key, chance.choice(OF_DATASET[key]))


def of_grid(content: Content, chance: random.Random) -> None:
    content["datasets"][chance.choice(["sample_imdb", "sample_agedb", "sample_fgnet"])]["grid"] = dict(chance.choice(GRIDS))


def of_target(content: Content, chance: random.Random) -> None:
    content["datasets"]["sample_fgnet"] |= chance.choice(TESTED)
    if chance.random() < 0.3:
        content["datasets"]["sample_fgnet"]["apart_from"] = ["sample_agedb"]


def of_training(content: Content, chance: random.Random) -> None:
    block = chance.choice(["pretrain", "cascade", "cascade"])
    if not content[block]:
        return
    settings = OF_TRAINING if block == "pretrain" else OF_TRAINING | OF_STEP
    training = content[block][chance.choice(list(content[block]))]
    for key in chance.sample(list(settings), 3):
        training[key] = deepcopy(chance.choice(settings[key]))


def of_steps(content: Content, chance: random.Random) -> None:
    """A step more, or one less."""
    cascade, kind = content["cascade"], chance.randrange(5)
    if kind == 0 and "target" in cascade:
        cascade["again"] = {**deepcopy(cascade["target"]), "init": "target"}
    elif kind == 1:
        del cascade["target_from_scratch"]
    elif kind == 2:
        if cascade["agedb"]["init"] == "imdb":
            cascade["agedb"]["init"] = "faces"
        del cascade["imdb"]
        remove_features_of(content, "imdb")
    elif kind == 3:
        cascade["imdb"]["init"] = "scratch"
        content["pretrain"] = {}
        remove_features_of(content, "faces")
    else:
        del cascade["target"]
        content["explain"] = {}


def remove_features_of(content: Content, step: str) -> None:
    gone = {name for name, entry in content["features"].items() if entry["step"] == step}
    for block in ("features", "regressors", "screen"):
        content[block] = {key: entry for key, entry in content[block].items() if not {key, entry.get("features")} & gone}


def of_features(content: Content, chance: random.Random) -> None:
    steps = ("scratch", *content["cascade"], *content["pretrain"])
    entry = dict(chance.choice([entry for entry in FEATURES if entry["step"] in steps]))
    content["features"]["more"] = entry
    content["regressors"]["more"] = {"features": "more", **deepcopy(chance.choice(REGRESSORS))}


def of_regressors(content: Content, chance: random.Random) -> None:
    for name in chance.sample(list(content["regressors"]), min(3, len(content["regressors"]))):
        del content["regressors"][name]
    content["regressors"]["other"] = {"features": "agedb", **deepcopy(chance.choice(REGRESSORS))}


def of_screen(content: Content, chance: random.Random) -> None:
    content["screen"] = {"doubts": {"features": "agedb", "folds": chance.choice([2, 3, 5]), "share": chance.choice([0.02, 0.5])}}


def of_search(content: Content, chance: random.Random) -> None:
    step = content["cascade"]["agedb"]
    content["search"] = {"recipe": {"step": "agedb", "dataset": "sample_agedb", "init": step["init"], "epochs": 1, "folds": 1}}
    content["search"]["recipe"] |= {"learning_rates": [0.01, 0.001], "batch_sizes": [chance.choice([8, 16])]}
    step |= {"init": "recipe", "learning_rate": "search", "batch_size": chance.choice([16, "search"])}


def of_explain(content: Content, chance: random.Random) -> None:
    if "target" not in content["explain"]:
        return
    kinds = chance.choice([None, ["occlusion"], ["grad_cam", "score_map"]])
    entry = {"dataset": "sample_fgnet", "step": "target", "pictures": chance.choice([1, 5, 30]), "kinds": kinds}
    entry |= {"bands": chance.choice([[], [[0, 3]], [[20, 60], [0, 100]]]), "extremes": chance.choice([0, 3])}
    entry["shown"] = chance.choice([1, 6])
    content["explain"]["target"] = entry


CHANGES = [of_dataset, of_dataset, of_grid, of_target, of_training, of_training, of_steps, of_features, of_regressors, of_screen]
CHANGES += [of_search, of_explain]


def fit(content: Content) -> None:
    """What must go together, as docs/reference says."""
    main, steps = content["method"], content["cascade"].values()
    content["head"] = "daa" if main == "daa" else "pooled"
    content["daa"]["nearest"] = True
    methods = {main, *content["compare"]["methods"], *(step["method"] for step in steps if step.get("method"))}
    if main == "daa":
        for step in steps:
            step.pop("method", None)
    if content["decoding"] == "count" and not methods <= set(COUNTING):
        content["decoding"] = "expectation"
    backbones = {content["backbone"], *content["compare"]["backbones"]}
    if backbones != {"tinyagenet"}:
        content["image_size"] = 64  # what all can take
    trainings = [*content["pretrain"].values(), *steps]
    for training in trainings:
        if training.get("trainable") == "from:block4" and backbones & {"resnet18"}:
            training["trainable"] = "from:layer3"
            if backbones != {"resnet18"}:
                training["trainable"] = "all"
        if content["datasets"][training["dataset"]]["validation"] == 0:
            training |= {"select": "last", "early_stopping": None}
            if training["schedule"]["name"] == "plateau":
                training["schedule"] = {"name": "constant"}
    for search in content["search"].values():
        step = content["cascade"][search["step"]]
        if "search" not in (step["learning_rate"], step["batch_size"]):
            step["learning_rate"] = "search"
        search["init"] = search["init"] if search["init"] in {"scratch", *content["pretrain"], *content["cascade"]} else "scratch"
        dataset = content["datasets"][search["dataset"]]
        dataset["validation"] = dataset["validation"] or 0.1
    for entry in content["explain"].values():
        if "layer" in entry:
            entry["layer"] = LAYERS[content["backbone"]]
        target = content["cascade"]["target"]
        if "score_map" in (entry.get("kinds") or []) and (target.get("method") or main) not in SOFTMAX:
            entry["kinds"] = ["grad_cam"]
        if entry.get("before") not in content["cascade"]:
            entry.pop("before", None)


# --- faults: each makes a valid study invalid, and returns the key that the error must name


def leaves(content: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that is neither a mapping nor among the named options of nobody in particular."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


def replace(content: Any, path: Path, value: Any) -> str:
    for part in path[:-1]:
        content = content[part]
    content[path[-1]] = value
    return ".".join(map(str, path))


def mistyped(content: Content, chance: random.Random) -> str:
    """Text for a number, a number for text, a nested list for nothing."""
    path, value = chance.choice([(path, value) for path, value in leaves(content) if "published" not in path])
    wrong: Any = [[]] if value is None else 7
    if isinstance(value, bool):
        wrong = chance.choice(["yes", 1])
    elif isinstance(value, int | float):
        wrong = chance.choice(["twelve", "1e-4", [value], None if path[-1] in ("seed", "lambda", "image_size", "epochs") else "0.1"])
    return replace(content, path, wrong)


def endless(content: Content, chance: random.Random) -> str:
    """A number that is none, or beyond all sense."""
    numbers = [path for path, value in leaves(content) if isinstance(value, int | float) and not isinstance(value, bool)]
    return replace(content, chance.choice(numbers), chance.choice([float("nan"), float("inf"), -float("inf"), 1e300, -(10**400)]))


def unknown_key(content: Content, chance: random.Random) -> str:
    blocks: list[Path] = [(), ("align",), ("align", "detection"), ("evaluate",), ("compute",), ("compare",), ("tracking",), ("daa",)]
    blocks += [(block, name) for block in ("datasets", "cascade", "pretrain", "features", "regressors") for name in content[block]]
    blocks += [("datasets", name, "clean") for name in content["datasets"]]
    blocks += [("cascade", name, "schedule") for name in content["cascade"]]
    blocks += [("datasets", name, "options") for name in content["datasets"]]
    blocks += [("regressors", name, "options") for name in content["regressors"]]
    block, wrong = chance.choice(blocks), chance.choice(["lerning_rate", "Seed", "x y", "größe"])
    replace(content, (*block, wrong), 1)
    return ".".join(map(str, block)) or wrong


def missing_key(content: Content, chance: random.Random) -> str:
    step = chance.choice(list(content["cascade"]))
    name = chance.choice(list(content["datasets"]))
    keys = ["seed", "lambda", "method", "backbone", "pooling", "datasets", "cascade", "evaluate", "regressors", "evaluate.target"]
    keys += [f"cascade.{step}.{key}" for key in ("dataset", "init", "epochs", "schedule", "schedule.name", "learning_rate")]
    keys += [f"datasets.{name}.{key}" for key in ("reader", "origin", "detector", "protocol")]
    key = chance.choice(keys)
    block: Any = content
    *blocks, last = key.split(".")
    for part in blocks:
        block = block[part]
    del block[last]
    return key


BAD: dict[str, list[Any]] = {
    "seed": [-1, 2**32, 1.5],
    "study": ["", "a/b", "x" * 65, "-x"],
    "lambda": [-1.0],
    "method": ["dldlv2", "DLDL_V2", ""],
    "backbone": ["tinyagent", "timm/no_such_network", "thinagenet:9", ""],
    "head": ["pooledd"],
    "head_options": [{"width": 3}],
    "method_options": [{"dldl_v9": {}}, {"sord": {"scales": 2.0}}, {"sord": {"scale": -1.0}}, {"sord": {"scale": "2"}}],
    "decoding": ["mean"],
    "kl_reduction": ["sum"],
    "pooling": ["min"],
    "precision": ["fp16"],
    "image_size": [0, 15, 4097],
    "sigma": [0.0, -1.0],
    "daa.templates": ["octal"],
    "daa.width": [0],
    "compute.workers": [0, -2],
    "compute.backend": ["slurm"],
    "align.size": [8, 5000],
    "align.crop": ["circle"],
    "align.quality": [0, 101],
    "align.margin": [-1.0, 5.0],
    "align.encoding": ["bmp"],
    "align.max_reject_rate": [1.5, -0.1],
    "align.detection.scales": [[0.0], [9.0]],
    "normalisation.mean": [[0.5], []],
    "normalisation.std": [[0.0, 1.0, 1.0]],
    "normalisation.by_backbone": [{"resnet999": {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}}],
    "augment": ["strong", {"flip": 2.0}, {"preset": "strong"}, {"downscale": 0.0}],
    "compare.methods": [["dldl_v3"]],
    "compare.backbones": [["resnet19"]],
    "compare.seeds": [[-1], ["one"]],
    "evaluate.target": ["fgnet", "sample_faces", ""],
    "evaluate.levels": [[-1.0], ["3"]],
    "evaluate.confidence": [0.0, 1.0, 95],
    "evaluate.coverage": [0.0, 1.0],
    "evaluate.interval": ["mondrian"],
    "evaluate.bands": [[], [3.0, 1.0], [1.0, 1.0]],
    "evaluate.groups": [[{"name": "a", "low": 0, "high": 5}], [{"name": "a", "low": 5, "high": 0}, {"name": "b", "low": 6, "high": 7}]],
    "evaluate.legal_age": [0.0],
    "evaluate.most_minors": [0.0, 1.0],
    "evaluate.published": [{"": 3.0}, {"DEX": 0.0}, {"DEX": "3"}],
    "tracking.models": ["all"],
    "datasets.sample_fgnet.reader": ["fg_net", "csv", ""],
    "datasets.sample_fgnet.origin": ["publisher", "drawn"],
    "datasets.sample_fgnet.detector": ["retina"],
    "datasets.sample_fgnet.protocol": ["kfold", "held_out_subjects"],
    "datasets.sample_fgnet.folds": [0, -1],
    "datasets.sample_fgnet.test": [1.0, -0.1],
    "datasets.sample_fgnet.validation": [1.0],
    "datasets.sample_fgnet.test_subjects": [["001"]],
    "datasets.sample_fgnet.apart_from": [["nowhere"], ["sample_fgnet"]],
    "datasets.sample_fgnet.train_exclude": ["exclusions/none.csv"],
    "datasets.sample_fgnet.clean.exclude": ["exclusions/none.csv"],
    "datasets.sample_fgnet.draw.pictures": [0],
    "datasets.sample_fgnet.clean.low": [70, 69],
    "datasets.sample_fgnet.grid": [None, {"low": 0}, {"low": 5, "high": 5}, {"low": 9, "high": 0}, {"values": [1.0]}, {"values": [2, 1]}],
    "cascade.agedb.init": ["nowhere", "agedb", "target_from_scratch2"],
    "cascade.agedb.dataset": ["nowhere", "sample_faces"],
    "cascade.agedb.trainable": ["from:block9", "tail", "from:"],
    "cascade.agedb.epochs": [-1],
    "cascade.agedb.batch_size": [0, 1],
    "cascade.agedb.learning_rate": [0.0, -0.1],
    "cascade.agedb.optimizer": ["adamm"],
    "cascade.agedb.momentum": [1.0],
    "cascade.agedb.ema": [0.0, 1.0],
    "cascade.agedb.gradient_clip": [0.0],
    "cascade.agedb.label_smoothing": [1.0],
    "cascade.agedb.schedule.name": ["linear"],
    "cascade.agedb.schedule.every": [0],
    "cascade.agedb.early_stopping": [0],
    "cascade.agedb.method": ["dldl_v9"],
    "cascade.agedb.by_backbone": [{"resnet999": {}}, {"tinyagenet": {"init": "scratch"}}, {"tinyagenet": {"epoch": 3}}],
    "cascade.agedb.teacher": [{"file": "none.parquet", "sha256": "0" * 64}],
    "features.agedb.layer": ["block9"],
    "features.agedb.step": ["nowhere"],
    "features.agedb.dataset": ["nowhere"],
    "features.agedb.extractor": ["bif"],
    "features.agedb.reduce": ["mean"],
    "regressors.forest": [{"features": "agedb"}, {"features": "nowhere", "regressor": "svr"}],
    "regressors.mine": [{"features": "agedb", "regressor": "forest"}, {"features": "agedb", "regressor": "svr", "options": {"C": []}}],
    "regressors.ours": [{"features": "agedb", "regressor": "knn", "options": {"n_neighbors": [0]}}],
    "screen.doubts": [{"features": "nowhere"}, {"features": "agedb", "folds": 1}, {"features": "agedb", "share": 0.0}],
    "search.recipe": [{"step": "nowhere", "dataset": "sample_agedb", "init": "scratch"}],
    "explain.faces": [{"dataset": "sample_agedb", "step": "nowhere"}, {"dataset": "sample_fgnet", "step": "agedb"}],
    "explain.age": [
        {"dataset": "sample_agedb", "step": "agedb", "kinds": []},
        {"dataset": "sample_agedb", "step": "agedb", "layer": "block99"},
        {"dataset": "sample_agedb", "step": "agedb", "before": "agedb"},
        {"dataset": "sample_agedb", "step": "agedb", "bands": [[5, 1]]},
    ],
}


def bad(content: Content, chance: random.Random) -> str:
    """A value out of range, or a name of nothing."""
    key = chance.choice(list(BAD))
    put(content, key, deepcopy(chance.choice(BAD[key])))
    return key


def name(content: Content, chance: random.Random) -> str:
    """A step whose name is none, or another's."""
    wrong = chance.choice(["scratch", "regress", "a b", "1st", "x" * 65, "ä", "AGEDB", "../up", "", "a.b", "Scratch"])
    content["cascade"][wrong] = deepcopy(content["cascade"]["agedb"])
    content["cascade"][wrong] |= {"init": "scratch", "learning_rate": 0.001, "batch_size": 16}
    return "cascade"


def circle(content: Content, chance: random.Random) -> str:
    first = next(iter(content["cascade"]))
    content["cascade"][first]["init"] = chance.choice(["agedb" if first == "imdb" else first, first])
    return "cascade"


def no_tests(content: Content, chance: random.Random) -> str:
    content["datasets"]["sample_fgnet"] |= {"protocol": chance.choice(["random", "subject_exclusive"]), "folds": 1, "test": 0.0}
    return "datasets.sample_fgnet.test"


def no_validation(content: Content, chance: random.Random) -> str:
    content["datasets"]["sample_agedb"]["validation"] = 0.0
    content["cascade"]["agedb"] |= chance.choice([{"select": "best"}, {"early_stopping": 2}, {"schedule": {"name": "plateau"}}])
    return "cascade.agedb"


def no_step_on_target(content: Content, chance: random.Random) -> str:
    for block in ("regressors", "explain", "features", "screen"):
        content[block] = {}
    content["cascade"] = {key: step for key, step in content["cascade"].items() if step["dataset"] != "sample_fgnet"}
    return "evaluate.target"


def folds(content: Content, chance: random.Random) -> str:
    """A protocol with a number of folds that it cannot have."""
    dataset, wrong = chance.choice(
        [
            ("sample_fgnet", {"protocol": "subject_kfold", "folds": 1}),
            ("sample_fgnet", {"protocol": "subject_exclusive", "folds": 2, "test": 0.2}),
            ("sample_faces", {"protocol": "random", "folds": 2}),
        ]
    )
    content["datasets"][dataset] |= wrong
    return f"datasets.{dataset}.folds"


def heads(content: Content, chance: random.Random) -> str:
    content["method"], content["head"] = chance.choice([("daa", "pooled"), ("dldl_v2", "daa")])
    return "head"


def decodings(content: Content, chance: random.Random) -> str:
    content["decoding"], content["method"], content["head"] = "count", "dex", "pooled"
    return "decoding"


def several_folds(content: Content, chance: random.Random) -> str:
    content["datasets"]["sample_fgnet"] |= {"protocol": "subject_kfold", "folds": 2}
    content["cascade"]["folded"] = {**deepcopy(content["cascade"]["agedb"]), "dataset": "sample_fgnet", "init": "scratch"}
    content["cascade"]["folded"] |= {"learning_rate": 0.001, "batch_size": 16}
    content["features"]["folded"] = {"dataset": "sample_agedb", "step": "folded"}
    return "features.folded"


def no_search(content: Content, chance: random.Random) -> str:
    content["search"] = {}
    content["cascade"]["agedb"] |= {"init": "scratch", "learning_rate": "search"}
    return "cascade.agedb"


FAULTS = [mistyped, mistyped, mistyped, endless, unknown_key, unknown_key, missing_key, bad, bad, bad, bad, bad, bad, name, circle]
FAULTS += [no_tests, no_validation, no_step_on_target, folds, heads, decodings, several_folds, no_search]
