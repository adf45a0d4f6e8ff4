"""Affective tasks as a user asks them: answers, results, exit codes, the measured number, and the purpose."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

import emo_edge
from emo_edge.assets.packaged import SAMPLES
from emo_edge.benchmarks.synthetic.micro.clips import MicroExpression, render_micro_clip
from emo_edge.benchmarks.synthetic.pulse.clips import render_pulse_clip
from emo_edge.benchmarks.synthetic.pulse.nuisances import CLEAN
from emo_edge.benchmarks.synthetic.pulse.recompression import encoded
from emo_edge.bundle.manifest import AffectiveTask
from emo_edge.bundle.reader import Bundle
from emo_edge.cli.infer import main
from emo_edge.cli.inspect import inspect
from emo_edge.errors import InputError, TaskError
from emo_edge.inference.label_scoring import LabelScorer
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.prompt_layout import Prompt
from emo_edge.inference.results import ClipSampling, Request
from emo_edge.inference.signals.heart_rate import HeartRate
from emo_edge.inference.stream import stream
from emo_edge.inference.tasks.moments import Moments
from emo_edge.media.images import read_image
from emo_edge.runtimes.llama_cpp.session import LlamaSession
from emo_edge.runtimes.loading import engines

SCHEMA = json.loads((Path(emo_edge.__file__).parent / "schemas" / "result-2.json").read_text(encoding="utf-8"))
FACE = SAMPLES / "169-happiness.jpg"
NOTICE = "Not a medical device."
PULSE_SEED = 5
RATE = HeartRate(70.3125, 70.3125, 5.5, True, None, 10.0, 30.0, "pos")


def infer(*arguments: object, env: dict[str, str] | None = None) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=env)


def reading(*arguments: object, env: dict[str, str] | None = None) -> dict[str, Any]:
    done = infer(*arguments, "--json", "--device", "cpu", env=env)
    assert done.exit_code == 0, done.output
    (result,) = json.loads(done.stdout)
    jsonschema.validate(result, SCHEMA)
    (one,) = result["readings"]
    return dict(one)


def with_task(directory: Path, name: str, **changes: Any) -> Bundle:
    """Return a bundle whose task was trained, as another checkpoint's might be."""
    opened = Bundle.open(directory)
    tasks = dict(opened.manifest.tasks or {})
    values = {**tasks[name].model_dump(), "status": "trained", **changes}
    tasks[name] = AffectiveTask.model_validate(values)
    return Bundle(opened.directory, opened.manifest.model_copy(update={"tasks": tasks}))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[Path, float | None]]:
    """A drawn face of 10 s with a pulse (True) and without one, and its rate."""
    made = {}
    for pulse in (True, False):
        clip = render_pulse_clip(PULSE_SEED, 0, pulse=pulse, nuisances=CLEAN, size=256)
        path = tmp_path_factory.mktemp("pulse") / f"{pulse}.mp4"
        path.write_bytes(encoded(clip.frames, 18))
        made[pulse] = path, clip.bpm
    return made


@pytest.fixture(scope="module")
def pipeline(tiny_bundle: Path) -> Iterator[EmotionPipeline]:
    with EmotionPipeline.open(tiny_bundle, device="cpu") as opened:
        yield opened


def test_a_choice_is_the_label_scores_of_the_tasks_own_question(tiny_bundle: Path, pipeline: EmotionPipeline) -> None:
    one = reading(tiny_bundle, FACE, "--whole-image", "--task", "expression")
    assert one["task"] == {
        "name": "expression",
        "answer": "choice",
        "status": "trained",
        "judged_by": None,
        "notice": "A facial expression is not a feeling: this is what a face shows, not what a person feels.",
        "label": "happiness",
        "probability": one["probabilities"]["happiness"],
        "text": "happiness",
    }
    plain = pipeline.read(FACE, Request(question_cache=False), boxes=[(0, 0, 224, 224)], boxes_of="whole-image")[0]
    assert one["settings"]["question"] == plain.settings.question, "emo-tiny was trained with this very question"
    assert one["probabilities"] == pytest.approx(plain.probabilities, abs=1e-4)
    assert "tool_calls" not in one and "deployment_purpose" not in one["settings"]


def test_a_judgement_says_where_it_comes_from(tiny_bundle: Path) -> None:
    asked = [tiny_bundle, FACE, "--whole-image", "--task", "expression", "--answer", "judgement"]
    for label, text in (("happiness", "yes"), ("Anger", "no")):
        one = reading(*asked, "--label", label)
        task, name = one["task"], label.lower()
        assert (task["judged_by"], task["label"], task["text"]) == ("choice", name, text)
        assert task["probability"] == one["probabilities"][name] and len(one["probabilities"]) == 7
    shown = infer(*asked, "--label", "happiness", "--device", "cpu").stdout
    assert "happiness? yes" in shown and "read off the choice between all labels" in shown
    assert "A facial expression is not a feeling" in shown


def test_an_open_answer_is_a_text(tiny_bundle: Path) -> None:
    asked = [tiny_bundle, FACE, "--whole-image", "--task", "expression", "--answer", "open"]
    one = reading(*asked)
    assert one["probabilities"] == {} and one["label"] is None
    assert one["answers"] == {"What is the facial expression of the person?": one["task"]["text"]}
    assert "happy" in one["task"]["text"] and one["task"]["judged_by"] is None
    (row,) = csv.DictReader(infer(*asked, "--csv", "--device", "cpu").stdout.splitlines())
    assert row["answer_1"] == one["task"]["text"]
    head = json.loads(infer(*asked, "--jsonl", "--device", "cpu").stdout.splitlines()[0])
    assert head["result_version"] == 2


def test_action_units_are_answered_by_their_own_network(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "open_language", lambda *_: pytest.fail("a language model is opened"))
    asked = [tiny_bundle, FACE, "--whole-image", "--task", "au"]
    one = reading(*asked)
    assert one["label"] is None and one["task"]["judged_by"] is None
    assert one["task"]["text"].startswith("Active action units: AU6 (") and "AU12 (" in one["task"]["text"]
    assert list(one["answers"].values()) == [one["task"]["text"]]
    for label, text in (("au12", "yes"), ("AU4", "no")):
        answer = reading(*asked, "--answer", "judgement", "--label", label)
        unit = answer["action_units"][label.upper()]
        assert answer["task"]["probability"] == pytest.approx(unit["presence"], abs=1e-4)
        assert (answer["task"]["text"], answer["task"]["judged_by"]) == (text, "head")
    done = infer(*asked, "--answer", "judgement", "--label", "AU13")
    assert done.exit_code == 2 and "has no label 'AU13'; there are: AU1, AU2" in done.stderr


def test_yes_and_no_are_corrected_by_a_blank_picture(tiny_bundle: Path) -> None:
    bundle = with_task(tiny_bundle, "expression", judgement_by="yes-no", evidence={"judgement": {"auc_yes_no": 0.95}})
    scores: list[tuple[str, np.ndarray]] = []
    real = LabelScorer.label_scores

    def label_scores(self: LabelScorer, visual: Any, prompt: Prompt, labels: tuple[str, ...], *rest: Any) -> Any:
        assert labels == ("yes", "no")
        scores.append((prompt.question, real(self, visual, prompt, labels, *rest)))
        return scores[-1][1]

    with pytest.MonkeyPatch.context() as patch, EmotionPipeline.open(bundle, device="cpu") as opened:
        patch.setattr(LabelScorer, "label_scores", label_scores)
        request = Request(task="expression", answer="judgement", label="happiness")
        (result,) = opened.read(FACE, request, boxes=[(0, 0, 224, 224)])
    question = "Please describe the image, and determine if the person's expression is happiness?"
    assert [asked for asked, _ in scores] == [question] * 2, "about the face, and about a blank picture"
    (_, face), (_, blank) = scores
    gap = (face - blank) / bundle.manifest.scoring.temperature
    assert result.task is not None and result.task.judgement_by == "yes-no"
    assert result.task.probability == pytest.approx(1 / (1 + np.exp(gap[1] - gap[0])), abs=1e-9)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--task", "deception"], 2, "the task deception is refused: no facial sign of lying is known"),
        (["--task", "compound"], 4, "emo-tiny was not trained for the task compound (status untrained)"),
        (["--task", "micro-gesture"], 2, "one picture, and the task micro-gesture reads a movement: give a video"),
        (["--task", "micro-expression"], 2, "one picture, and the task micro-expression reads a movement"),
        (["--task", "heart-rate"], 2, "one picture, and the task heart-rate reads a movement: give a video"),
        (["--task", "expressions"], 2, "did you mean expression?"),
        (["--task", "expression", "--answer", "judgement"], 2, "a judgement needs a --label: one of surprise"),
        (["--task", "expression", "--labels", "rafdb7"], 2, "leave --labels, --describe and --ask out"),
        (["--label", "happiness"], 2, "--answer and --label go with a --task"),
        (["--onset", "1", "--apex", "2", "--offset", "3"], 2, "options of the task micro-expression"),
        (["--task", "expression", "--no-emotions"], 4, "emo-tiny is opened without emotions"),
        (["--no-emotions", "--labels", "rafdb7"], 4, "emo-tiny is opened without emotions"),
        (["--purpose", "work"], 2, "'work' is not one of"),
    ],
)
def test_what_cannot_be_answered_is_one_clear_error(
    tiny_bundle: Path, options: list[str], code: int, message: str
) -> None:
    done = infer(tiny_bundle, FACE, "--whole-image", "--device", "cpu", *options)
    assert (done.exit_code, done.stdout) == (code, "") and message in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("frames", "code", "message"),
    [
        (("9", "5", "12"), 2, "--onset 9, --apex 5 and --offset 12 are no movement"),
        (("1", "/", "12"), 2, "--apex / means that nobody annotated it"),
        (("1", "5", "12"), 4, "not trained for the task micro-expression (status untrained)"),
    ],
)
def test_frames_of_a_movement_are_checked_before_the_task(
    tiny_bundle: Path, clips: dict[bool, tuple[Path, float]], frames: tuple[str, ...], code: int, message: str
) -> None:
    options = [
        part for name, one in zip(("--onset", "--apex", "--offset"), frames, strict=True) for part in (name, one)
    ]
    done = infer(tiny_bundle, clips[True][0], "--task", "micro-expression", *options)
    assert (done.exit_code, done.stdout) == (code, "") and message in done.stderr, done.stderr


def test_deception_is_refused_before_a_bundle_is_opened(tmp_path: Path) -> None:
    done = infer(tmp_path / "no-bundle", FACE, "--task", "deception")
    assert done.exit_code == 2 and "no facial sign of lying is known" in done.stderr


def test_the_heart_rate_of_a_rendered_clip_is_printed_within_1_bpm(
    tiny_bundle: Path, clips: dict[bool, tuple[Path, float]]
) -> None:
    path, truth = clips[True]
    one = reading(tiny_bundle, path, "--task", "heart-rate")
    (call,) = one["tool_calls"]
    bpm = call["result"]["bpm"]
    assert call["name"] == "heart_rate" and bpm == pytest.approx(truth, abs=1) and call["result"]["notice"] == NOTICE
    assert one["task"]["text"].startswith(f"The heart rate is {bpm:.2f} BPM. {NOTICE}")
    question = f"What is the heart rate of the person in the video? The measured heart rate is {bpm:.2f} BPM."
    assert one["answers"] == {question: one["task"]["text"]} and one["settings"]["question"] == question
    shown = infer(tiny_bundle, path, "--task", "heart-rate").stdout
    assert f"{bpm:.2f} BPM. {NOTICE}" in shown and "(research-only)" in shown


def test_without_a_pulse_there_is_a_reason_and_no_number(
    tiny_bundle: Path, clips: dict[bool, tuple[Path, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LlamaSession, "generate", lambda *_: pytest.fail("the model is not asked"))
    one = reading(tiny_bundle, clips[False][0], "--task", "heart-rate")
    assert one["task"]["text"].startswith("no reliable pulse: ") and "BPM" not in one["task"]["text"]
    assert one["tool_calls"][0]["result"]["bpm"] is None and one["tool_calls"][0]["result"]["reason"]


def test_a_model_cannot_change_the_number_and_nothing_of_it_is_run(
    pipeline: EmotionPipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sign = tmp_path / "run"
    written = ["```python\nopen(", f"'{sign}', 'w')", "\n``` The person smiles. It is 99 ", "BPM, or ninety."]
    monkeypatch.setattr(LlamaSession, "generate", lambda *_: iter(written))
    image = read_image(FACE)
    (result,) = pipeline.read_clip_faces(
        [image, image], Request(task="heart-rate", heart_rate=RATE), boxes=[(0, 0, 224, 224)]
    )
    assert result.task is not None and "The heart rate is 70.31 BPM. Not a medical device." in result.task.text
    assert "99" not in result.task.text and "ninety" not in result.task.text and not sign.exists()


def test_the_forced_sentence_is_part_of_the_models_own_prompt(
    pipeline: EmotionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts: list[list[int]] = []
    real = LlamaSession.prefill

    def prefill(self: LlamaSession, chunks: Any, *rest: Any) -> int:
        prompts.append([token for chunk in chunks if isinstance(chunk, list) for token in chunk])
        return real(self, chunks, *rest)

    monkeypatch.setattr(LlamaSession, "prefill", prefill)
    image = read_image(FACE)
    request = Request(task="heart-rate", heart_rate=RATE)
    pipeline.read_clip([image, image], request, boxes=[(0, 0, 224, 224)])
    assert pipeline.label_scorer is not None
    language = pipeline.label_scorer.chain.language
    question = pipeline.settings(request, clip=True).question
    begun = Prompt(pipeline.manifest, question).branches(language, [f"The heart rate is 70.31 BPM. {NOTICE}"])[0]
    assert prompts[-1][-len(begun) :] == begun and "70.31 BPM" in question


def test_the_heart_rate_is_that_of_one_face(tiny_bundle: Path, clips: dict[bool, tuple[Path, float]]) -> None:
    done = infer(tiny_bundle, clips[True][0], "--task", "heart-rate", "--faces", "all", "--device", "cpu")
    assert done.exit_code == 2 and "answers about one face: leave --faces out" in done.stderr


def test_without_emotions_no_language_model_is_opened(
    tiny_bundle: Path, clips: dict[bool, tuple[Path, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "open_language", lambda *_: pytest.fail("a language model is opened"))
    one = reading(tiny_bundle, clips[True][0], "--task", "heart-rate", "--no-emotions", "--purpose", "research")
    assert one["task"]["text"] == f"The heart rate is {one['tool_calls'][0]['result']['bpm']:.2f} BPM. {NOTICE}"
    done = infer(tiny_bundle, FACE, "--whole-image", "--no-emotions", "--json", "--device", "cpu")
    face = json.loads(done.stdout)[0]["readings"][0]
    assert face["label"] is None and face["probabilities"] == {} and face["face"]["pose_degrees"]
    assert set(face["settings"]["variants"]) == {"face"}


def test_a_stated_purpose_is_in_every_result(tiny_bundle: Path) -> None:
    for options, env in ((["--purpose", "safety"], {}), ([], {"EMO_EDGE_PURPOSE": "safety"})):
        settings = reading(tiny_bundle, FACE, "--whole-image", *options, env=env)["settings"]
        assert settings["deployment_purpose"] == "safety"
        assert settings["purpose"].startswith("demonstration and tests"), "the checkpoint's own"


def test_a_task_for_research_is_refused_for_another_purpose(
    tiny_bundle: Path, clips: dict[bool, tuple[Path, float]]
) -> None:
    done = infer(tiny_bundle, clips[True][0], "--task", "heart-rate", "--purpose", "medical")
    assert done.exit_code == 4 and "for research alone, and the purpose is medical" in done.stderr


def test_a_micro_expression_is_read_in_its_three_frames(
    tiny_bundle: Path, clips: dict[bool, tuple[Path, float]]
) -> None:
    question = "Which better describes this expression? {options}"
    own = with_task(tiny_bundle, "micro-expression", questions={"choice": question}, judgement_by="choice")
    request = Request(task="micro-expression", answer="judgement", label="sadness")
    with EmotionPipeline.open(own, device="cpu") as opened:
        (result,) = stream(opened, clips[True][0], request, ClipSampling(moments=Moments(3, 8, 14)))
        assert result.error is None and result.seconds == pytest.approx((3 / 30, 14 / 30), abs=1e-3)
        (face,) = result.faces
        assert face.frames == 3 and face.task is not None and face.task.label == "sadness"
        assert face.settings.question.endswith("Disgust? Fear? Happiness? Repression? Sadness? Surprise?")
        image = read_image(FACE)
        for frames in ([image], [image, image]):
            with pytest.raises(TaskError, match="3 frames"):
                opened.read_clip(frames, request)


@pytest.fixture(scope="module")
def micro(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, MicroExpression]:
    """A drawn face with a micro-expression, the same face at rest, and the movement."""
    folder, movement = tmp_path_factory.mktemp("micro"), None
    for moves in (False, True):
        clip = render_micro_clip(4100, 5, moves=moves)
        (folder / f"{moves}.mp4").write_bytes(encoded([frame.image for frame in clip.frames], 12))
        movement = clip.movement
    assert movement is not None
    return folder / "True.mp4", folder / "False.mp4", movement


def test_the_frames_of_a_micro_expression_are_spotted_where_none_are_named(
    tiny_bundle: Path, micro: tuple[Path, Path, MicroExpression]
) -> None:
    video, still, movement = micro
    own = with_task(tiny_bundle, "micro-expression", judgement_by="choice")
    with EmotionPipeline.open(own, device="cpu") as opened:
        (result,) = stream(opened, video, Request(task="micro-expression"))
        assert result.error is None and result.seconds is not None
        (face,) = result.faces
        assert face.frames == 3 and face.task is not None and face.task.label in face.probabilities
        (call,) = face.task.tool_calls
        given = call.result
        assert given["apex"] == pytest.approx(movement.apex, abs=1)
        assert given["onset"] == pytest.approx(movement.onset, abs=3)
        assert given["offset"] == pytest.approx(movement.offset, abs=3)
        assert result.seconds == pytest.approx((given["onset"] / 30, given["offset"] / 30), abs=1e-3)
        jsonschema.validate(result.to_dict(), SCHEMA)
        named = ClipSampling(moments=Moments(given["onset"], given["apex"], given["offset"]))
        (again,) = stream(opened, video, Request(task="micro-expression"), named)
        assert again.faces[0].probabilities == pytest.approx(face.probabilities)
        assert again.faces[0].task is not None and again.faces[0].task.tool_calls == ()
        (rest,) = stream(opened, still, Request(task="micro-expression"))
        assert isinstance(rest.error, InputError) and "no brief movement is spotted" in str(rest.error)


def test_a_label_that_was_not_trained_is_not_answered_whatever_is_spotted(
    tiny_bundle: Path, micro: tuple[Path, Path, MicroExpression]
) -> None:
    done = infer(tiny_bundle, micro[0], "--task", "micro-expression", "--device", "cpu")
    assert done.exit_code == 4 and "status untrained" in done.stderr


def test_a_gesture_is_read_in_the_whole_picture(tiny_bundle: Path) -> None:
    own, image = with_task(tiny_bundle, "micro-gesture", judgement_by="choice"), read_image(FACE)
    with EmotionPipeline.open(own, device="cpu") as opened:
        result = opened.read_clip([image, image], Request(task="micro-gesture"))
        assert result is not None and result.box == (0, 0, image.shape[1], image.shape[0])
        assert result.settings.detector == "whole-image" and len(result.probabilities) == 32
        run = opened.settings(Request(task="micro-gesture"), clip=True)
        assert run.detector == "whole-image" and not result.whole_image, "it was asked for"


def test_a_task_of_a_pipeline_is_checked_before_anything_is_read(pipeline: EmotionPipeline) -> None:
    with pytest.raises(InputError, match="status untrained"):
        pipeline.check(Request(task="compound"))
    with pytest.raises(TaskError, match="refused"):
        pipeline.settings(Request(task="deception"))
    with pytest.raises(TaskError, match="one picture"):
        pipeline.read(FACE, Request(task="heart-rate", heart_rate=RATE), boxes=[(0, 0, 224, 224)])


def test_inspect_lists_the_tasks_with_their_evidence(tiny_bundle: Path) -> None:
    lines = CliRunner().invoke(inspect, [str(tiny_bundle)]).stdout.splitlines()
    tasks = [line for line in lines if line.startswith("task ")]
    assert len(tasks) == 7
    assert "task deception: untrained, not answered" in tasks
    expression = next(line for line in tasks if line.startswith("task expression: "))
    assert "trained, open, choice, judgement about a picture, judgement by choice; choice samples" in expression
