"""``emo-edge bench`` on drawings without labels: figures of a small bundle, files, refused options, made findings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from emo_edge.benchmarks.affective_tasks.prototypes import chosen, expected_units, likelihoods, similarities
from emo_edge.benchmarks.datasets.affective.synthetic import drawn_clips, synthetic_micro
from emo_edge.benchmarks.signals.micro_expressions import ClipFinding, figures_of
from emo_edge.benchmarks.signals.run import MEASURES
from emo_edge.benchmarks.synthetic.expression import PROTOTYPES
from emo_edge.cli.bench import SIGNALS, main
from emo_edge.taxonomy import ACTION_UNITS
from tests.unit_bundles import write_unit_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_unit_bundle(tmp_path_factory.mktemp("signals") / "bundle", units=(12, 1, 43))


def bench(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def figures(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "figures.json").read_text(encoding="utf-8")))


def test_the_command_knows_what_is_measured() -> None:
    assert set(SIGNALS) == set(MEASURES)


def test_action_units_of_drawn_people(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = bench(bundle, "--dataset", "synthetic-au:4", "--device", "cpu", "--out", out)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == str(out) and "| AU12 | 32 |" in done.stdout
    assert "Never drawn, and not measured: AU43" in done.stdout and "no people" in done.stdout
    stored = figures(out)
    own = stored["figures"]["precisions"]["fp32"]
    assert stored["synthetic"] and own["units"][0]["unit"] == 12 and own["subjects"] == 4
    assert stored["figures"]["profiles"] == {"fp32": ["exact"]} and own["frames"] == 32
    assert "synthetic-au:4" in (out / "figures.md").read_text(encoding="utf-8")
    assert "--dataset synthetic-au:4 --device cpu" in stored["command"]
    again = bench(bundle, "--dataset", "synthetic-au:4", "--device", "cpu", "--out", out)
    assert again.exit_code == 4 and "is there already" in again.stderr and "--overwrite" in again.stderr


def test_micro_expressions_of_drawn_faces(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = bench(bundle, "--dataset", "synthetic-micro:3", "--device", "cpu", "--out", out)
    assert done.exit_code == 0, done.output
    assert "3 clips of 2 s with a movement, 1 faces at rest" in done.stdout and "**untrained**" in done.stdout
    assert "The bundle's own task micro-expression: not there." in done.stdout
    clips = figures(out)["figures"]["precisions"]["fp32"]["clips"]
    assert [clip["truth"] is None for clip in clips] == [False, False, False, True]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--dataset", "synthetic-au"), 4, "say how many"),
        (("--dataset", "synthetic-micro:0"), 4, "say how many"),
        (("--dataset", "synthetic-au:2"), 4, "3 folds need 3 people or more"),
        (("--dataset", "synthetic-au:4", "--quick"), 4, "--quick is an option of data sets of labels"),
        (("--dataset", "synthetic-micro:4", "--samples", "3"), 4, "--samples is an option of data sets of labels"),
        (("--dataset", "synthetic-au:4", "--profile", "small"), 4, "no profile small; there are: exact"),
    ],
)
def test_what_cannot_be_measured_is_one_error(
    options: tuple[str, ...], code: int, message: str, bundle: Path, tmp_path: Path
) -> None:
    done = bench(bundle, *options, "--out", tmp_path / "out")
    assert done.exit_code == code and message in done.stderr, done.output
    assert not (tmp_path / "out").exists()


def test_a_bundle_without_units_and_one_whose_units_nobody_draws(tmp_path: Path) -> None:
    none = write_unit_bundle(tmp_path / "none", units=(), labels=("joy", "fear"))
    done = bench(none, "--dataset", "synthetic-micro:3", "--out", tmp_path / "out")
    assert done.exit_code == 4 and "gives no action units" in done.stderr
    other = write_unit_bundle(tmp_path / "other", units=(43, 45))
    done = bench(other, "--dataset", "synthetic-au:3", "--out", tmp_path / "out")
    assert done.exit_code == 4 and "none of the bundle's units is ever drawn" in done.stderr


def finding(key: str, **values: Any) -> ClipFinding:
    empty = {"truth": None, "label": None, "peak": None, "spotted": None, "score": None, "named": None}
    return ClipFinding(key, **{**empty, **values})


def test_figures_follow_from_what_was_spotted() -> None:
    clips = drawn_clips(4)
    dataset = synthetic_micro(clips)
    labels = [clip.label for clip in dataset.clips]
    truths = [(clip.onset, clip.apex, clip.offset) for clip in dataset.clips]
    true = [
        {"truth": truth, "label": label, "peak": 0.2} for truth, label in zip(truths, labels, strict=True) if truth[0]
    ]
    hit = {**true[0], "spotted": truths[0], "score": 90.0, "named": labels[0]}
    late = {**true[1], "spotted": (truths[1][0], truths[1][1] + 1, truths[1][2]), "score": 90.0, "named": "surprise"}
    away = {**true[2], "spotted": (0, 1, 3), "score": 70.0, "named": labels[2]}
    rest = [finding(clips[4].key), finding(clips[5].key, spotted=(3, 5, 9), score=61.0, named="surprise")]
    own = [finding(clip.key, **values) for clip, values in zip(clips, (hit, late, away, true[3]), strict=False)]
    given = figures_of([*own, *rest], dataset)
    assert given["hits"].value == 0.5 and given["false_alarms"].value == 0.5
    assert given["f1_spotting"].value == pytest.approx(2 * 2 / (4 + 4))
    assert given["apex_hits_frames"].value == 0.5
    apex_away = abs((truths[2][1] or 0) - 1)
    assert given["apex_frames"].value == pytest.approx((0 + 1 + apex_away) / 3)
    assert given["apex_ms"].value == pytest.approx((1 + apex_away) / 3 * 1000 / 30)
    assert given["hits"].low is not None and 0 < given["uf1"].value < 1


def test_a_prototype_is_recognised_by_its_own_units() -> None:
    names = [name for name in PROTOTYPES if name != "neutral"]
    for name, prototype in PROTOTYPES.items():
        presence = [0.9 if unit in prototype.core else 0.1 for unit in ACTION_UNITS]
        scores = likelihoods(presence, ACTION_UNITS, tuple(PROTOTYPES), lambda one: (one,))
        assert chosen(scores) == name and sum(scores.values()) == pytest.approx(1)
        if name != "neutral":
            weak = [0.01 * (unit in prototype.core) for unit in ACTION_UNITS]
            assert chosen(similarities(weak, ACTION_UNITS, names, lambda one: (one,))) == name
    assert expected_units(("happiness", "surprise"), (6, 26, 25, 4)).tolist() == [0.95, 0.95, 0.5, 0.05]
    assert set(similarities([-1.0, 0.0], (1, 2), names, lambda one: (one,)).values()) == {0.0}
