"""The manifest's section of affective tasks: what it requires of itself, of the bundle and of the version."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.bundle.manifest import manifest_from_json
from emo_edge.bundle.tasks.gpt4affectivity import MICRO_GESTURES, TASKS
from emo_edge.bundle.tasks.section import filled
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.taxonomy import TASKS as NAMES
from tests.emo_edge.bundle.test_manifest_bounds import error_of, manifest

EXPRESSION = {
    "questions": {"choice": "Which one? {labels}", "judgement": "Is it {label}?"},
    "labels": ["joy", "fear"],
    "judgement_by": "choice",
    "status": "trained",
}


def with_tasks(edit: Callable[[dict[str, Any]], object] = lambda tasks: None) -> str:
    values = manifest()
    values["bundle_version"] = 2
    values["tasks"] = {"expression": json.loads(json.dumps(EXPRESSION))}
    edit(values["tasks"])
    return json.dumps(values)


def test_a_manifest_with_tasks_is_version_2_and_reads_back_equal() -> None:
    read = manifest_from_json(with_tasks())
    assert read.tasks is not None and read.tasks["expression"].labels == ("joy", "fear")
    assert manifest_from_json(read.model_dump_json()) == read


def test_a_manifest_without_tasks_is_written_as_before() -> None:
    read = manifest_from_json(json.dumps(manifest()))
    assert read.bundle_version == 1 and '"tasks"' not in read.model_dump_json()


def test_tasks_need_version_2() -> None:
    values = json.loads(with_tasks())
    assert "bundle_version must be 2" in error_of(json.dumps({**values, "bundle_version": 1}))


def test_every_task_of_gpt4affectivity_fits_a_manifest() -> None:
    assert tuple(TASKS) == NAMES and len(MICRO_GESTURES) == 32
    dumped = {name: task.model_dump(mode="json") for name, task in TASKS.items()}
    read = manifest_from_json(with_tasks(lambda tasks: tasks.update(dumped)))
    assert read.tasks == TASKS


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda tasks: tasks.update(lying=tasks["expression"]), "tasks.lying"),
        (lambda tasks: tasks["expression"].update(mood=1), "tasks.expression.mood: unknown key"),
        (lambda tasks: tasks["expression"].update(status="good"), "tasks.expression.status"),
        (lambda tasks: tasks["expression"].update(labels=["joy", "joy"]), "two or more different labels"),
        (lambda tasks: tasks["expression"].update(labels=["joy"]), "two or more different labels"),
        (lambda tasks: tasks["expression"]["questions"].pop("choice"), "needs labels and questions.choice"),
        (lambda tasks: tasks["expression"]["questions"].update(choice="{label}?"), "{label}, which nothing fills"),
        (lambda tasks: tasks["expression"]["questions"].update(judgement="Is it joy?"), "lacks {label}"),
        (lambda tasks: tasks["expression"]["questions"].update(choice="{labels}" * 9), "more than 8 places"),
        (lambda tasks: tasks["expression"].update(judgement_by="yes-no"), "auc_yes_no of at least 0.90, not 0"),
        (
            lambda tasks: tasks["expression"].update(
                judgement_by="yes-no", evidence={"judgement": {"auc_yes_no": 0.899}}
            ),
            "of at least 0.90, not 0.899",
        ),
        (lambda tasks: tasks["expression"].update(judgement_by="head", labels=[]), "judgement_by head is that"),
        (lambda tasks: tasks.update(au={**EXPRESSION}), "judgement_by head is that"),
        (
            lambda tasks: tasks.update(au={"judgement_by": "head", "status": "trained"}),
            "tasks.au needs action_units",
        ),
        (
            lambda tasks: tasks.update(deception={"labels": ["true", "false"], "status": "trained"}),
            "never trained: no facial sign of lying is known",
        ),
        (
            lambda tasks: tasks.update({"heart-rate": {"questions": {"open": "Pulse?"}, "status": "research-only"}}),
            "needs frames clip, and a place for {measurement}",
        ),
    ],
)
def test_what_does_not_fit_is_refused(edit: Callable[[dict[str, Any]], object], problem: str) -> None:
    assert problem in error_of(with_tasks(edit))


def test_yes_and_no_are_believed_with_their_evidence() -> None:
    evidence = {"judgement": {"auc_yes_no": 0.9}}
    text = with_tasks(lambda tasks: tasks["expression"].update(judgement_by="yes-no", evidence=evidence))
    read = manifest_from_json(text).tasks
    assert read is not None and read["expression"].judgement_by == "yes-no"


def test_a_task_of_words_needs_a_language_model() -> None:
    values = json.loads(with_tasks())
    values |= {"layout": [], "label_sets": {}, "question_tokenizer": None, "max_question_tokens": None}
    values["components"] = {"face": values["components"]["face"], "vision": None, "connector": None, "language": None}
    values["preprocessing"] = {**values["preprocessing"], "vision": None}
    values["profiles"] = {"exact": {"vision": None, "connector": None, "face": "fp32", "language": None}}
    assert "tasks.expression needs components.language" in error_of(json.dumps(values))
    values["tasks"] = {"heart-rate": TASKS["heart-rate"].model_dump(mode="json")}
    assert manifest_from_json(json.dumps(values)).tasks == {"heart-rate": TASKS["heart-rate"]}


def test_places_are_filled_at_once() -> None:
    assert (
        filled("{labels} in {{medium}}, {other}", labels="{medium}", medium="image") == "{medium} in {image}, {other}"
    )


def test_the_packaged_checkpoint_states_what_it_was_trained_for() -> None:
    config = EmoLlamaConfig.from_pretrained(packaged_checkpoint())
    assert config.tasks is not None and tuple(config.tasks) == NAMES
    assert {name for name, task in config.tasks.items() if task.status == "trained"} <= {"expression", "au"}
    evidence = config.tasks["expression"].evidence["judgement"]
    assert config.tasks["expression"].judgement_by == "choice"
    assert evidence["auc_choice"] >= 0.9 > evidence["auc_yes_no"]
    answers = config.tasks["heart-rate"].evidence["open"]
    assert answers["answers"] == answers["with_the_number"] == 500
