"""Evidence of the affective tasks: areas under the curve, blends, answers with a number, the config they go into."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.benchmarks.affective_tasks.__main__ import blend_table
from emo_edge.benchmarks.affective_tasks.blends import blended_face, parts_of, prototype_evidence
from emo_edge.benchmarks.affective_tasks.checkpoint_tasks import write_tasks
from emo_edge.benchmarks.affective_tasks.judgements import Judgements, label_areas
from emo_edge.benchmarks.affective_tasks.pulse_answers import holds_the_number, skin_colours
from emo_edge.benchmarks.emo_tiny.tasks import own_tasks
from emo_edge.benchmarks.synthetic.expression import AU_INDEX, PROTOTYPES
from emo_edge.bundle.reader import Bundle
from emo_edge.bundle.tasks.gpt4affectivity import TASKS
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.inference.results import EmotionResult, Settings
from emo_edge.inference.signals.heart_rate import HeartRate, heart_rate
from emo_edge.inference.tasks.answers import TaskAnswer
from emo_edge.taxonomy import ACTION_UNITS, LABEL_SETS
from tests.unit_bundles import write_unit_bundle

RATE = HeartRate(70.3125, 70.3125, 5.5, True, None, 10.0, 30.0, "pos")


def test_a_label_that_no_sample_has_has_no_area() -> None:
    areas = label_areas(np.array([[0.1, 0.9, 0.2], [0.7, 0.3, 0.1]]), np.array([1, 0]))
    assert areas[:2].tolist() == [1.0, 1.0] and np.isnan(areas[2])


def test_the_figures_are_those_of_both_ways() -> None:
    truth = np.tile([0, 1, 0, 1], 10)
    choice = np.tile([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]], (10, 1))
    evidence = Judgements(("joy", "fear"), truth, choice, 1 - choice).evidence()
    assert evidence["choice"]["accuracy"] == 0.75 and evidence["judgement"]["correct_choice"] == 0.75
    assert evidence["judgement"]["auc_choice"] == 0.75 and evidence["judgement"]["auc_yes_no"] == 0.25
    assert evidence["judgement"]["auc_yes_no_low"] <= 0.25 <= evidence["judgement"]["auc_yes_no_high"]


def test_a_blend_has_the_units_of_both_expressions() -> None:
    labels = LABEL_SETS["rafdb-compound11"]
    assert parts_of("fearfully surprised") == ("fear", "surprise")
    assert {part for label in labels for part in parts_of(label)} <= set(LABEL_SETS["rafdb7"])
    strongest = []
    for index in range(4 * len(labels)):
        sample, label = blended_face(index, size=64)
        core = {unit for part in parts_of(label) for unit in PROTOTYPES[part].core}
        strongest.append(np.mean([sample.action_units[AU_INDEX[unit]] for unit in core]))
    assert np.mean(strongest) > 0.5
    again, _ = blended_face(3, size=64)
    assert np.array_equal(again.image, blended_face(3, size=64)[0].image)


def test_the_rule_names_a_blend_by_the_units_that_were_drawn(tmp_path: Path) -> None:
    bundle = Bundle.open(write_unit_bundle(tmp_path / "units", units=ACTION_UNITS))
    evidence = prototype_evidence(bundle, None, 33)
    drawn, given = evidence["prototypes_of_drawn_units"], evidence["prototypes"]
    assert drawn["samples"] == given["samples"] == 33 and drawn["chance"] == pytest.approx(1 / 11, abs=1e-4)
    assert drawn["accuracy"] > 0.9 > given["accuracy"], "the small bundle's units follow from a mean colour"
    lines = blend_table(evidence).splitlines()
    assert len(lines) == 4 and lines[3].startswith("| the same rule, off the units that were drawn")
    without = Bundle.open(write_unit_bundle(tmp_path / "none", units=(), labels=("joy", "fear")))
    with pytest.raises(ValueError, match="no action units"):
        prototype_evidence(without, None, 3)


def test_traces_have_the_pulse_that_is_asked_for() -> None:
    rng = np.random.default_rng(3)
    assert heart_rate(skin_colours(rng, 72.0), 30.0).bpm == pytest.approx(72, abs=1)
    assert not heart_rate(skin_colours(rng, None), 30.0).reliable


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("The heart rate is 70.31 BPM. Not a medical device.", True),
        ("The heart rate is 70.31 BPM. Not a medical device. A smile.", True),
        ("The heart rate is 70.31 BPM. Not a medical device. Or 71.", False),
        ("The heart rate is 70.31 BPM.", False),
        ("The heart rate is 70.32 BPM. Not a medical device.", False),
        ("no reliable pulse", False),
    ],
)
def test_an_answer_carries_the_number_and_no_other(text: str, holds: bool) -> None:
    settings = Settings("toy", "exact", {}, "cpu", "haar", (), "", False, 1.0, False, "", "0")
    result = EmotionResult((0.0, 0.0, 9.0, 9.0), None, 2, {}, None, {}, {}, settings)
    answer = TaskAnswer("heart-rate", "open", "research-only", None, "", None, None, text)
    assert holds_the_number(replace(result, task=answer), RATE) is holds


@pytest.mark.parametrize(("auc", "way"), [(0.89, "choice"), (0.9, "yes-no")])
def test_yes_and_no_are_believed_from_their_area_on(auc: float, way: str) -> None:
    prompt = EmoLlamaConfig.from_pretrained(packaged_checkpoint()).prompt
    tasks = own_tasks(prompt, {"expression": {"judgement": {"auc_yes_no": auc}}}, gives_units=auc > 0.895)
    assert tasks["expression"].judgement_by == way and tasks["expression"].status == "trained"
    assert tasks["compound"] == TASKS["compound"]
    assert tasks["au"].status == ("trained" if auc > 0.895 else "untrained")


def test_the_packaged_config_is_what_the_command_writes(tmp_path: Path) -> None:
    config, before = tmp_path / "config.json", packaged_checkpoint() / "config.json"
    shutil.copy(before, config)
    packaged = EmoLlamaConfig.from_pretrained(packaged_checkpoint())
    assert packaged.tasks is not None
    evidence = {name: task.evidence for name, task in packaged.tasks.items()}
    write_tasks(config, own_tasks(packaged.prompt, evidence, gives_units=packaged.tasks["au"].status == "trained"))
    assert config.read_bytes() == before.read_bytes()
    assert json.loads(config.read_text(encoding="utf-8"))["tasks"]["deception"]["status"] == "untrained"
