"""Settings are layered in one order, and a mistake in any layer is told with key, value, what is allowed and where."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from agent import config
from agent.config import resolve
from envs.declared import declared
from envs.errors import UserError

ROOT = Path(__file__).parents[2]
PLACE = ("distractor", "reach", "harmony_dreamerv2", "smoke")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A copy of config/ to write in; returns its path."""
    shutil.copytree(config.CONFIG, tmp_path / "config")
    monkeypatch.setattr(config, "CONFIG", tmp_path / "config")
    config._load.cache_clear()
    yield tmp_path / "config"
    config._load.cache_clear()


LAYERS = [  # the file, and where in it the settings are
    ("methods/base.yaml", ()),
    ("benchmarks/distractor.yaml", ("methods", "base")),
    ("benchmarks/distractor.yaml", ("tasks", "reach")),
    ("methods/derived.yaml", ()),
    ("methods/further.yaml", ()),
    ("variants/scale.yaml", ("all",)),
    ("variants/scale.yaml", ("benchmarks", "distractor")),
]


@pytest.mark.parametrize("last", range(len(LAYERS)))
def test_later_layers_win_and_leave_other_keys_alone(files, last):
    trees = {name: {} for name, _ in LAYERS}
    trees["methods/base.yaml"] = yaml.safe_load((files / "methods/dreamerv2.yaml").read_text())
    trees["benchmarks/distractor.yaml"] = yaml.safe_load((files / "benchmarks/distractor.yaml").read_text())
    trees["benchmarks/distractor.yaml"]["methods"] = {"base": {}}
    trees["methods/derived.yaml"]["extends"] = "base"
    trees["methods/further.yaml"]["extends"] = "derived"
    for number, (name, place) in enumerate(LAYERS[: last + 1]):
        settings = trees[name]
        for part in place:
            settings = settings.setdefault(part, {})
        settings.setdefault("train", {})["steps"] = 20000 + number
        settings.setdefault("behavior", {})["horizon"] = 3 + number
    for name, tree in trees.items():
        (files / name).write_text(yaml.safe_dump(tree))

    found = resolve("distractor", "reach", "further", "scale")

    assert (found.train.steps, found.behavior.horizon) == (20000 + last, 3 + last)
    assert found.train.prefill == 10000, "a key that no later layer names is the base method's"
    overridden = resolve("distractor", "reach", "further", "scale", ["train.steps=12345", "train.steps=12346"])
    assert (overridden.train.steps, overridden.behavior.horizon) == (12346, 3 + last)


def test_the_settings_of_a_benchmark_are_for_the_base_that_a_method_builds_on():
    base, derived = (resolve("distractor", "reach", name, "paper") for name in ("dreamerv2", "harmony_dreamerv2_clean"))
    assert base.world_model.optimizer == derived.world_model.optimizer
    assert base.world_model.optimizer.lr == 1e-3
    assert (base.world_model.harmonizer.form, derived.world_model.harmonizer.form) == ("none", "rectified")
    assert (base.behavior.soft_value_target, derived.behavior.soft_value_target) == (True, False)


def test_a_benchmark_may_have_an_interpreter_of_its_own(files):
    path = files / "benchmarks" / "distractor.yaml"
    path.write_text(path.read_text() + "worker: {python: /opt/old/bin/python}\n")
    found = resolve(*PLACE)
    assert (found.worker.python, found.worker.timeout) == ("/opt/old/bin/python", 60.0)
    assert declared("distractor", files / "benchmarks").python == found.worker.python
    assert resolve(*PLACE, ["worker.python=python3.8"]).worker.python == "python3.8"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (
            ("distracter", *PLACE[1:]),
            r"unknown benchmark 'distracter'. Did you mean 'distractor'\? .*config/benchmarks",
        ),
        (
            (PLACE[0], "reech", *PLACE[2:]),
            r"unknown task of distractor 'reech'. Did you mean 'reach'\? .*distractor.yaml",
        ),
        ((*PLACE[:2], "harmony", PLACE[3]), r"unknown method 'harmony'. .*harmony_dreamerv2.*config/methods"),
        ((*PLACE[:3], "smoked"), r"unknown variant 'smoked'. Did you mean 'smoke'\? .*config/variants"),
        ((PLACE[0], "../reach", *PLACE[2:]), "unknown task"),
        (("../benchmarks/distractor", *PLACE[1:]), "unknown benchmark"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest_known_one(place, said):
    with pytest.raises(UserError, match=said):
        resolve(*place)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.stepps=4", r"unknown key 'train\.stepps'. Did you mean 'train\.steps'\?"),
        ("a=b", "unknown key 'a'. .*world_model"),
        ("world_model.encoder.depht=4", r"Did you mean 'world_model\.encoder\.depth'\?"),
        ("train.steps.most=1", r"key train\.steps: .*valid integer, got \{'most': 1\}"),
        ("train=5", r"key train: .*valid dictionary.*, got 5"),
        ("benchmark=atari100k", "key benchmark .*--benchmark"),
        ("method=dreamerv2", "key method .*--method"),
        ("train.steps=1.5", r"key train\.steps: .*valid integer, got 1\.5"),
        ("train.steps=true", r"key train\.steps: .*valid integer, got True"),
        ("batch.size=eight", r"key batch\.size: .*valid integer, got 'eight'"),
        ("batch.size=", r"key batch\.size: .*valid integer, got None"),
        ("batch.size=0", r"key batch\.size: .*greater than or equal to 1, got 0"),
        ("threads=-1", "key threads: .*greater than or equal to 1, got -1"),
        ("world_model.kl.free=-1", r"key world_model\.kl\.free: .*greater than or equal to 0, got -1"),
        ("world_model.optimizer.lr=-1e-4", r"key world_model\.optimizer\.lr: .*greater than 0, got -0\.0001"),
        ("world_model.optimizer.lr=.nan", r"key world_model\.optimizer\.lr: .*finite number, got nan"),
        ("world_model.loss_scales.kl=-1", r"key world_model\.loss_scales\.kl: .*greater than or equal to 0"),
        ("world_model.loss_scales.kl=.inf", r"key world_model\.loss_scales\.kl: .*finite number, got inf"),
        ("world_model.harmonizer.losses=[reward, images]", r"key world_model\.harmonizer\.losses\.1: .*'image'"),
        ("world_model.harmonizer.losses=[kl, kl]", r"key world_model\.harmonizer: `losses` is .*only once"),
        ("world_model.harmonizer.form=none", r"key world_model\.harmonizer: .*must be empty exactly when `form` is"),
        ("world_model.encoder.kind=vit", r"key world_model\.encoder: .*'plain', 'resnet'"),
        ("world_model.encoder.kind=resnet", r"key world_model\.encoder\.stages is missing"),
        ("world_model.reward_transform=log", r"key world_model\.reward_transform: .*'identity', 'sign' or 'tanh'"),
        ("precision=float8", "key precision: .*'bfloat16'.*, got 'float8'"),
        ("train.prefill=1000", "prefill 1000 must not exceed steps 150"),
        ("replay.max_length=4", "min_length 8 must not exceed max_length 4"),
        ("behavior.horizon=2", r"key behavior\.horizon: .*greater than or equal to 3"),
        ("env.size={a: 1}", r"key env\.size: .*, got \{'a': 1\}"),
        ("train.steps", "--set takes key=value, for example"),
        ("=3", "--set takes key=value"),
        ("batch.size=[", "--set batch.size=.*not a YAML value"),
    ],
)
def test_a_wrong_override_is_told_with_what_is_allowed_and_where(override, said):
    with pytest.raises(UserError, match=said) as caught:
        resolve(*PLACE, [override])
    assert "--set" in str(caught.value) or "is missing" in str(caught.value)


def test_a_wrong_value_in_a_file_is_told_with_the_file(files):
    (files / "variants/wrong.yaml").write_text("all: {train: {steps: many}}")
    with pytest.raises(UserError, match=r"key train\.steps: .*got 'many' \(set by .*variants/wrong\.yaml\)"):
        resolve(*PLACE[:3], "wrong")
    with pytest.raises(UserError, match=r"key batch\.size: .*\(set by --set"):
        resolve(*PLACE[:3], "smoke", ["batch.size=0"])


def test_a_missing_key_is_told(files):
    tree = yaml.safe_load((files / "methods/dreamerv2.yaml").read_text())
    del tree["behavior"]["return_lambda"]
    (files / "methods/dreamerv2.yaml").write_text(yaml.safe_dump(tree))
    with pytest.raises(UserError, match=r"^key behavior\.return_lambda is missing"):
        resolve(*PLACE)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("methods/new.yaml", "extends: dreamer_v2", "unknown method 'dreamer_v2'. Did you mean 'dreamerv2"),
        ("methods/new.yaml", "{extends: dreamerv2, world_modle: {}}", r"unknown key 'world_modle'.*methods/new\.yaml"),
        ("methods/new.yaml", "{extends: dreamerv2", r"methods/new\.yaml is not valid YAML"),
        ("methods/new.yaml", "", r"methods/new\.yaml .*keys and values"),
        ("methods/new.yaml", "- extends", r"methods/new\.yaml .*keys and values"),
        ("methods/new.yaml", "extends: new", "'new' extends itself"),
        ("methods/new.yaml", "extends: newer", "'new' extends itself through"),
        ("methods/new.yaml", "train: {steps: 5}", "'new', for which benchmark 'distractor' has no settings"),
        ("variants/smoke.yaml", "benchmark: {distractor: {}}", "unknown key 'benchmark'. Did you mean 'benchmarks'"),
        ("benchmarks/distractor.yaml", "{score: return, task: {}}", r"unknown key 'task'.*benchmarks/distractor\.yaml"),
        ("benchmarks/distractor.yaml", "{score: return}", r"key tasks is missing.*benchmarks/distractor\.yaml"),
    ],
)
def test_a_wrong_file_is_told(files, name, text, said):
    (files / "methods/newer.yaml").write_text("extends: new")
    (files / name).write_text(text)
    with pytest.raises(UserError, match=said):
        resolve("distractor", "reach", "new" if name == "methods/new.yaml" else "dreamerv2", "smoke")


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("world_model.optimizer.lr=1e-4", ("world_model", "optimizer", "lr"), 1e-4),
        ("world_model.optimizer.lr=2E3", ("world_model", "optimizer", "lr"), 2000.0),
        ("world_model.optimizer.lr=1", ("world_model", "optimizer", "lr"), 1.0),
        ("replay.one_stream=false", ("replay", "one_stream"), False),
        ("env.distraction=0.5", ("env", "distraction"), 0.5),
        ("env={size: 64}", ("env",), {"size": 64}),
        ("world_model.harmonizer={form: none, losses: []}", ("world_model", "harmonizer", "losses"), []),
        ("world_model.reward_transform=10", ("world_model", "reward_transform"), 10.0),
    ],
)
def test_an_override_is_a_yaml_value(override, path, value):
    found = resolve(*PLACE, [override]).model_dump()
    for part in path:
        found = found[part]
    assert found == value
    assert type(found) is type(value)


def test_another_kind_of_network_takes_nothing_over_from_the_last():
    text = "{kind: resnet, depth: 4, stages: 3, layers: 1, vector_layers: 1, vector_units: 8}"
    encoder = resolve(*PLACE, [f"world_model.encoder={text}"]).world_model.encoder
    assert encoder.model_dump() == yaml.safe_load(text)


def test_equal_settings_have_equal_digests_and_others_do_not():
    digest = resolve(*PLACE).digest
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert resolve(*PLACE, ["batch.size=2"]).digest == digest, "a value that is as it was"
    assert resolve(*PLACE, ["world_model.optimizer.lr=0.001"]).digest == digest
    for unimportant in ("limits.env_restarts=0", "worker.python=/opt/old/bin/python", "train.checkpoint_every=7"):
        assert resolve(*PLACE, [unimportant]).digest == digest, "no result depends on it"
    others = [
        ["batch.size=3"],
        ["env.distraction=0.5"],
        ["evaluation.env.distraction=0.5"],
        ["world_model.loss_scales.kl=2"],
    ]
    digests = {digest, *(resolve(*PLACE, other).digest for other in others)}
    assert len(digests) == 1 + len(others)
    assert (
        resolve(*PLACE, ["batch.size=3", "threads=2"]).digest == resolve(*PLACE, ["threads=2", "batch.size=3"]).digest
    )


CODE = """
import itertools, json, sys
from agent import config
from envs.errors import UserError
runs = []
for place in itertools.product(*map(config.names, ("benchmarks", "methods", "variants"))):
    try:
        runs.append(config.resolve(place[0], config.tasks(place[0])[0], *place[1:]))
    except UserError as error:
        assert "for which benchmark" in str(error), error  # each of the others is a whole preset
heavy = sorted({"torch", "ale_py", "mujoco", "metaworld", "cv2"} & set(sys.modules))
print(json.dumps([heavy, len(runs), runs[0].digest]))
"""


def test_every_combination_resolves_without_torch_or_a_simulator_and_the_same_in_another_process():
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy, count, digest = json.loads(done.stdout)
    assert heavy == []
    assert count > 3 * len(config.names("methods")) * len(config.names("variants"))
    first = (names[0] for names in map(config.names, ("methods", "variants")))
    benchmark = config.names("benchmarks")[0]
    assert digest == resolve(benchmark, config.tasks(benchmark)[0], *first).digest
