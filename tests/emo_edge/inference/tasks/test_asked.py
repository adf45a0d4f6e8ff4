"""Tasks as a request asks for them: what is refused, which question is asked, how an answer is read off."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from emo_edge.bundle.manifest import Manifest, manifest_from_json
from emo_edge.bundle.tasks.gpt4affectivity import TASKS
from emo_edge.errors import InputError, TaskError
from emo_edge.inference.action_units import UnitReading
from emo_edge.inference.results import Request
from emo_edge.inference.tasks.asked import asked_task, task_answers
from emo_edge.inference.tasks.deployment import check_deployment
from emo_edge.inference.tasks.requests import TaskReader
from emo_edge.inference.tasks.sources import asks_model, check_task
from tests.emo_edge.bundle.test_manifest_bounds import manifest

EXPRESSION = {
    "questions": {
        "open": "What is in the {medium}?",
        "choice": "One of {{labels}}: {options}",
        "judgement": "Is the {medium} {label}?",
    },
    "labels": ["joy", "mild fear"],
    "judgement_by": "choice",
    "status": "trained",
    "notice": "Drawings.",
}
YES_NO = {**EXPRESSION, "judgement_by": "yes-no", "evidence": {"judgement": {"auc_yes_no": 0.95}}}
UNITS = {"AU1": UnitReading(0.2, False, 0.1), "AU12": UnitReading(0.8, True, 2.6), "AU25": UnitReading(0.7, True, None)}


def toy(**tasks: dict[str, Any]) -> Manifest:
    values = manifest()
    values |= {"bundle_version": 2, "tasks": {name.replace("_", "-"): task for name, task in tasks.items()}}
    if "au" in tasks:
        values["action_units"] = {"source": "face", "units": [1, 12, 25], "thresholds": [0.5] * 3, "network": "sacl"}
        values["components"]["face"]["outputs"].append({"name": "au_presence", "dtype": "float32", "shape": ["N", 3]})
    return manifest_from_json(json.dumps(values))


AU = {"questions": {"open": "Which units?"}, "judgement_by": "head", "status": "trained"}
MICRO = {**TASKS["micro-expression"].model_dump(mode="json"), "status": "trained", "judgement_by": "choice"}


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"name": "moods"}, "no task 'moods'; there are: au, "),
        ({"name": "expresion"}, "did you mean expression?"),
        ({"name": "deception"}, "refused: no facial sign of lying is known"),
        ({"name": "au"}, "toy lacks the task au; it has: expression"),
        ({"name": None, "answer": "choice"}, "go with a `task`"),
        ({"name": None, "label": "joy"}, "go with a `task`"),
        ({"name": "expression", "answer": "essay"}, "has the answers open, choice, judgement, not 'essay'"),
        ({"name": "expression", "label": "joy"}, "`label` goes with `answer` judgement, not choice"),
        ({"name": "expression", "answer": "judgement"}, "a judgement needs a `label`: one of joy, mild fear"),
        ({"name": "expression", "answer": "judgement", "label": "jox"}, "did you mean joy?"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(TaskError) as error:
        asked_task(toy(expression=EXPRESSION), **options)
    assert problem in str(error.value) and error.value.exit_code == 2


def test_a_bundle_without_tasks_says_so() -> None:
    with pytest.raises(TaskError, match="toy lacks the task expression; it has: none"):
        asked_task(manifest_from_json(json.dumps(manifest())), "expression")


def test_a_task_that_was_not_trained_is_not_answered() -> None:
    untrained = toy(expression=EXPRESSION, compound={**EXPRESSION, "status": "untrained"})
    with pytest.raises(InputError, match=r"status untrained.*it was for: expression") as error:
        asked_task(untrained, "compound")
    assert error.value.exit_code == 4


def test_a_task_for_research_is_refused_for_another_purpose() -> None:
    only = toy(expression={**EXPRESSION, "status": "research-only"})
    for purpose in ("", "research"):
        assert asked_task(only, "expression", purpose=purpose)
    with pytest.raises(InputError, match="for research alone, and the purpose is medical"):
        asked_task(only, "expression", purpose="medical")


def test_the_first_answer_of_a_task_is_its_choice_then_a_text() -> None:
    both = toy(expression=EXPRESSION, au=AU)
    for name, answer in (("expression", "choice"), ("au", "open")):
        task = asked_task(both, name)
        assert task is not None and task.answer == answer
    assert task_answers(TASKS["micro-expression"]) == ["open", "choice"], "nothing says where a judgement comes from"


def test_questions_are_filled_and_their_labels_scored() -> None:
    task = asked_task(toy(expression=EXPRESSION), "expression")
    assert task is not None and task.scored_labels == ("joy", "mild fear")
    assert task.question(clip=False) == "One of {joy, mild fear}: Joy? Mild fear?"
    written = asked_task(toy(expression=EXPRESSION), "expression", "open")
    assert written is not None and (written.question(clip=True), written.scored_labels) == ("What is in the video?", ())


def test_a_judgement_by_choice_asks_for_the_choice_and_reads_one_label_off() -> None:
    reader, request = (
        TaskReader(toy(expression=EXPRESSION), ""),
        Request(task="expression", answer="judgement", label="Mild fear"),
    )
    task = reader.of(request)
    assert task is not None and task.scored_labels == ("joy", "mild fear") and task.question(clip=False)[:6] == "One of"
    for probability, text in ((0.5, "yes"), (0.49, "no")):
        answer, written = reader.answer(request, {"joy": 1 - probability, "mild fear": probability}, {}, {}, clip=False)
        assert answer is not None and written == {}
        assert answer.to_dict() == {
            "name": "expression",
            "answer": "judgement",
            "status": "trained",
            "judged_by": "choice",
            "notice": "Drawings.",
            "label": "mild fear",
            "probability": probability,
            "text": text,
        }


def test_a_judgement_by_yes_and_no_scores_both() -> None:
    reader, request = (
        TaskReader(toy(expression=YES_NO), ""),
        Request(task="expression", answer="judgement", label="joy"),
    )
    task = reader.of(request)
    assert task is not None and task.by_yes_no and task.scored_labels == ("yes", "no")
    assert task.question(clip=False) == "Is the image joy?"
    answer, _ = reader.answer(request, {"yes": 0.7, "no": 0.3}, {}, {}, clip=False)
    assert answer is not None and (answer.text, answer.probability, answer.judgement_by) == ("yes", 0.7, "yes-no")


def test_action_units_answer_from_their_head() -> None:
    reader = TaskReader(toy(au=AU), "")
    asked = Request(task="au")
    assert not reader.asks_language(asked) and not asks_model(toy(au=AU), "au")
    answer, written = reader.answer(asked, {}, {}, UNITS, clip=False)
    text = "Active action units: AU12 (level C, the lip corners are pulled up); AU25 (the lips are parted)."
    assert answer is not None and written == {"Which units?": text} and answer.text == text
    for label, active, probability in (("au12", "yes", 0.8), ("AU1", "no", 0.2)):
        answer, _ = reader.answer(Request(task="au", answer="judgement", label=label), {}, {}, UNITS, clip=False)
        assert answer is not None and (answer.text, answer.probability, answer.judgement_by) == (
            active,
            probability,
            "head",
        )
    with pytest.raises(TaskError, match="no label 'AU4'; there are: AU1, AU12, AU25"):
        reader.of(Request(task="au", answer="judgement", label="AU4"))
    none, _ = reader.answer(asked, {}, {}, {"AU1": UNITS["AU1"]}, clip=False)
    assert none is not None and none.text == "No action unit is active."


@pytest.mark.parametrize("options", [{"labels": "two"}, {"describe": True}, {"ask": "Why?"}])
def test_a_task_has_its_own_question_and_labels(options: dict[str, Any]) -> None:
    with pytest.raises(TaskError, match="has its own labels and question"):
        TaskReader(toy(expression=EXPRESSION), "").of(Request(task="expression", **options))


@pytest.mark.parametrize(("frames", "fits"), [(1, False), (2, False), (3, True), (8, False)])
def test_a_micro_expression_is_three_frames(frames: int, fits: bool) -> None:
    reader, request = TaskReader(toy(micro_expression=MICRO), ""), Request(task="micro-expression")
    if fits:
        reader.require_frames(request, frames)
    else:
        with pytest.raises(TaskError, match=f"3 frames, onset, apex and offset, not {frames}"):
            reader.require_frames(request, frames)


def test_a_clip_is_no_picture_and_a_heart_rate_is_measured_first() -> None:
    pulse = {**TASKS["heart-rate"].model_dump(mode="json")}
    reader, request = TaskReader(toy(heart_rate=pulse), ""), Request(task="heart-rate")
    with pytest.raises(TaskError, match="reads a clip, not one picture"):
        reader.require_frames(request, 1)
    with pytest.raises(TaskError, match="needs a measured `heart_rate`"):
        reader.require_frames(request, 8)


@dataclass
class Files:
    """Names of one source of each kind."""

    picture: str
    video: str
    camera: str = "0"
    names: list[str] = field(default_factory=list)


@pytest.fixture
def files(tmp_path: Any) -> Files:
    picture, video = tmp_path / "a.jpg", tmp_path / "a.mp4"
    picture.write_bytes(b"\xff\xd8\xff\xe0")
    video.write_bytes(b"\0\0\0\x18ftypmp42")
    return Files(str(picture), str(video))


def test_sources_that_cannot_show_a_task_are_refused_first(files: Files) -> None:
    own = toy(micro_expression=MICRO, heart_rate=TASKS["heart-rate"].model_dump(mode="json"), expression=EXPRESSION)
    from emo_edge.inference.tasks.moments import Moments

    chosen = Moments(0, 4, 9)
    check_task(own, None, [files.picture], None)
    check_task(own, "expression", [files.picture, files.video], None)
    check_task(own, "heart-rate", [files.video], None)
    check_task(own, "micro-expression", [files.video], chosen)
    for name, source, moments in (
        ("heart-rate", files.picture, None),
        ("micro-expression", files.picture, chosen),
        ("micro-expression", files.video, None),
        ("micro-expression", files.camera, chosen),
        ("expression", files.video, chosen),
        (None, files.video, chosen),
    ):
        with pytest.raises(TaskError):
            check_task(own, name, [source], moments)


def test_frames_are_spotted_where_a_bundle_gives_action_units(files: Files) -> None:
    own = toy(micro_expression=MICRO, au=AU)
    check_task(own, "micro-expression", [files.video], None)
    with pytest.raises(TaskError, match="reads a movement: give a video"):
        check_task(own, "micro-expression", [files.picture], None)
    with pytest.raises(TaskError, match="three frames of a video file"):
        check_task(own, "micro-expression", [files.camera], None)
    with pytest.raises(TaskError, match="has no action units to spot them by"):
        check_task(toy(micro_expression=MICRO), "micro-expression", [files.video], None)


def test_a_deployment_states_one_of_the_purposes() -> None:
    own = toy(expression=EXPRESSION)
    check_deployment(own, emotions=False, purpose="research")
    with pytest.raises(InputError, match=r"no purpose 'reserch'.*did you mean research"):
        check_deployment(own, emotions=True, purpose="reserch")
    labels = own.model_copy(update={"components": own.components.model_copy(update={"face": None})})
    with pytest.raises(InputError, match="without emotions it gives nothing"):
        check_deployment(labels, emotions=False, purpose=None)
