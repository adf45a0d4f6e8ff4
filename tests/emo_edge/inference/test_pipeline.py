"""The way of the data on a real bundle of emo-tiny, against the PyTorch reference on the same pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_edge.assets.packaged import Sample, packaged_samples
from emo_edge.bundle.prompts import PromptConfig, classify_question
from emo_edge.bundle.reader import Bundle
from emo_edge.errors import BundleError, DeviceError, InputError
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.probability import softmax
from emo_edge.inference.results import EmotionResult, Request
from emo_edge.runtimes.base.sessions import Sampling
from emo_edge.runtimes.llama_cpp.session import LlamaSession

EXACT = 0.01
"""Largest difference of a probability that the exact profile may show."""


@pytest.fixture(scope="module")
def model() -> Any:
    from emo_edge.assets.packaged import packaged_checkpoint
    from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration

    return EmoLlamaForConditionalGeneration.from_pretrained(packaged_checkpoint())


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return packaged_samples(14)


@pytest.fixture(scope="module")
def exact(tiny_bundle: Path) -> Iterator[EmotionPipeline]:
    with EmotionPipeline.open(tiny_bundle, device="cpu", profile="exact") as pipeline:
        yield pipeline


def read_at_box(pipeline: EmotionPipeline, sample: Sample, request: Request | None = None) -> EmotionResult:
    assert sample.box is not None
    return pipeline.read(sample.image, request, boxes=[sample.box])[0]


def reference(model: Any, sample: Sample, labels: tuple[str, ...], **options: Any) -> np.ndarray:
    question = classify_question(model.config.prompt, labels)
    return softmax(model.label_scores(sample.image, question, labels, boxes=sample.box, **options))


@pytest.mark.parametrize("labels", ["rafdb7", "rafdb-compound11", "mafw11"])
def test_probabilities_are_the_references(
    exact: EmotionPipeline, model: Any, samples: list[Sample], labels: str
) -> None:
    for sample in samples[:7]:
        reading = read_at_box(exact, sample, Request(labels=labels))
        names = exact.manifest.label_sets[labels]
        assert tuple(reading.probabilities) == names
        assert sum(reading.probabilities.values()) == pytest.approx(1, abs=1e-9)
        found = np.array(list(reading.probabilities.values()))
        np.testing.assert_allclose(found, reference(model, sample, names), atol=EXACT)


def test_a_question_in_front_of_the_frames_is_computed_once(
    tiny_bundle: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    from emo_edge.assets.packaged import packaged_checkpoint
    from emo_edge.export.bundles.manifest import _layout
    from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration

    model = EmoLlamaForConditionalGeneration.from_pretrained(packaged_checkpoint())
    template = "USER: {question} <image>\n{demographics} ASSISTANT:"
    model.config = model.config.model_copy(update={"prompt": PromptConfig(template=template)})
    opened = Bundle.open(tiny_bundle)
    manifest = opened.manifest.model_copy(update={"layout": _layout(model.config), "prompt": model.config.prompt})
    computed: list[int] = []
    real = LlamaSession.prefill

    def prefill(self: LlamaSession, *arguments: Any) -> int:
        computed.append(real(self, *arguments))
        return computed[-1]

    monkeypatch.setattr(LlamaSession, "prefill", prefill)
    with EmotionPipeline.open(Bundle(opened.directory, manifest), device="cpu", profile="exact") as pipeline:
        for sample in samples[:3]:
            reading = read_at_box(pipeline, sample)
            expected = reference(model, sample, tuple(reading.probabilities))
            np.testing.assert_allclose(list(reading.probabilities.values()), expected, atol=EXACT)
    assert computed[0] - max(computed[1:]) > 30, "the question's positions"


def test_own_labels_are_scored(exact: EmotionPipeline, model: Any, samples: list[Sample]) -> None:
    own = ("joy", "utter bewilderment", "rage")
    reading = read_at_box(exact, samples[0], Request(labels=own))
    np.testing.assert_allclose(list(reading.probabilities.values()), reference(model, samples[0], own), atol=EXACT)


def test_without_demographics_neither_prompt_nor_reading_has_them(
    exact: EmotionPipeline, model: Any, samples: list[Sample]
) -> None:
    reading = read_at_box(exact, samples[1], Request(demographics=False))
    labels = exact.manifest.label_sets["rafdb7"]
    expected = reference(model, samples[1], labels, demographics=False)
    np.testing.assert_allclose(list(reading.probabilities.values()), expected, atol=EXACT)
    assert reading.face is not None and reading.face.demographics == {}
    assert not reading.settings.demographics


def test_attributes_age_gender_and_race_are_returned_where_a_request_asks(
    exact: EmotionPipeline, samples: list[Sample]
) -> None:
    plain, facts, people = (
        read_at_box(exact, samples[1], request)
        for request in (Request(), Request(face_facts=True), Request(demographics=False, show_demographics=True))
    )
    assert plain.face and facts.face and people.face
    assert plain.face.attributes == plain.face.demographics == {} and len(plain.face.landmarks) == 68
    assert len(facts.face.attributes) == 38 and not {"Male", "Young"} & facts.face.attributes.keys()
    assert people.face.demographics.keys() == {"age", "gender", "race"} and people.face.attributes == {}
    assert plain.probabilities == facts.probabilities != people.probabilities
    assert (plain.settings.demographics, people.settings.demographics) == (True, False)


def test_settings_are_known_before_anything_is_read(exact: EmotionPipeline, samples: list[Sample]) -> None:
    request = Request(labels="affectnet8", temperature=2.0, face_facts=True)
    read = read_at_box(exact, samples[1], request).settings
    assert replace(exact.settings(request), detector=read.detector) == read
    with pytest.raises(InputError, match="no label set"):
        exact.settings(Request(labels="moods"))


def test_face_facts_are_the_networks_in_people_units(exact: EmotionPipeline, model: Any, samples: list[Sample]) -> None:
    facts = read_at_box(exact, samples[2], Request(face_facts=True, show_demographics=True)).face
    assert facts is not None
    _, crop = model.crops(samples[2].image, samples[2].box)
    outputs = model.face_outputs(crop.pixels[None], with_segmentation=False)
    np.testing.assert_allclose(facts.landmarks, crop.to_frame(outputs.landmarks[0].numpy()), atol=0.05)
    np.testing.assert_allclose(list(facts.pose_degrees.values()), np.degrees(outputs.pose[0].numpy()), atol=0.05)
    np.testing.assert_allclose(list(facts.attributes.values()), outputs.attributes[0].sigmoid().numpy(), atol=1e-3)
    for name in ("age", "gender", "race"):
        expected = getattr(outputs, name)[0].softmax(-1).numpy()
        np.testing.assert_allclose(list(facts.demographics[name].values()), expected, atol=1e-3)


def test_a_clip_is_one_prompt_of_all_its_frames(exact: EmotionPipeline, model: Any) -> None:
    from emo_edge.benchmarks.synthetic.generator import render_clip

    frames = render_clip(77, 0, frame_indices=[20, 40, 60]).frames
    boxes = [tuple(frame.box.tolist()) for frame in frames]
    reading = exact.read_clip([frame.image for frame in frames], boxes=boxes)
    labels = exact.manifest.label_sets["rafdb7"]
    question = classify_question(model.config.prompt, labels, clip=True)
    expected = softmax(model.label_scores([frame.image for frame in frames], question, labels, boxes=boxes))
    assert reading is not None and reading.frames == 3
    assert reading.settings.question == question
    np.testing.assert_allclose(list(reading.probabilities.values()), expected, atol=EXACT)


def test_a_frame_without_a_face_borrows_the_nearest_box(exact: EmotionPipeline, samples: list[Sample]) -> None:
    blank = np.zeros_like(samples[0].image)
    reading = exact.read_clip([blank, samples[0].image, blank], boxes=[None, samples[0].box, None])
    assert reading is not None and reading.box == samples[0].box
    assert exact.read_clip([blank, blank], boxes=[None, None]) is None


def test_no_face_is_an_empty_list(exact: EmotionPipeline) -> None:
    grey = np.full((50, 60, 3), 90, np.uint8)
    assert exact.read(grey) == exact.read(grey, boxes=[]) == []
    assert exact.read_clip([grey, grey]) is None


def test_several_faces_are_each_read_as_if_alone(exact: EmotionPipeline, samples: list[Sample]) -> None:
    side_by_side = np.concatenate([sample.image for sample in samples[:2]], axis=1)
    boxes = [samples[0].box, tuple(np.add(samples[1].box, (224, 0, 224, 0)).tolist())]

    together = exact.read(side_by_side, boxes=boxes)
    for reading, box in zip(together, boxes, strict=True):
        alone = exact.read(side_by_side, boxes=[box])[0]
        assert reading.probabilities == pytest.approx(alone.probabilities, abs=1e-4)


def test_answers_are_the_references(exact: EmotionPipeline, model: Any, samples: list[Sample]) -> None:
    pieces: list[str] = []
    question = "Which facial cues are visible?"
    request = Request(describe=True, ask=question, sampling=Sampling(max_new_tokens=40), on_piece=pieces.append)
    reading = read_at_box(exact, samples[3], request)
    assert list(reading.answers) == [exact.manifest.prompt.describe, question]
    for asked, said in reading.answers.items():
        options = {"boxes": samples[3].box, "sampling": Sampling(max_new_tokens=40)}
        assert said == model.generate(samples[3].image, asked, **options)
    assert "".join(pieces).splitlines() == list(reading.answers.values())


def test_prior_correction_and_temperature_reshape_the_distribution(
    exact: EmotionPipeline, samples: list[Sample]
) -> None:
    plain = read_at_box(exact, samples[4])
    corrected = read_at_box(exact, samples[4], Request(prior_correction=True))
    warm = read_at_box(exact, samples[4], Request(temperature=100.0))
    assert corrected.probabilities != plain.probabilities
    assert sum(corrected.probabilities.values()) == pytest.approx(1)
    assert max(warm.probabilities.values()) < 0.3
    blank = np.full((112, 112, 3), 127, np.uint8)
    even = exact.read(blank, Request(prior_correction=True, demographics=False), boxes=[(0, 0, 112, 112)])[0]
    assert list(even.probabilities.values()) == pytest.approx([1 / 7] * 7, abs=1e-3)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), 1e7, float("inf")])
def test_a_temperature_of_nothing_is_refused(exact: EmotionPipeline, samples: list[Sample], temperature: float) -> None:
    with pytest.raises(InputError, match="must be above 0"):
        read_at_box(exact, samples[0], Request(temperature=temperature))


@pytest.mark.parametrize("labels", ["nothing", ("one",), ("a", "a"), ("a", " ")])
def test_labels_that_cannot_be_scored_are_refused(exact: EmotionPipeline, samples: list[Sample], labels: Any) -> None:
    with pytest.raises(InputError):
        read_at_box(exact, samples[0], Request(labels=labels))


def test_too_many_frames_say_so(exact: EmotionPipeline, samples: list[Sample]) -> None:
    with pytest.raises(InputError, match="use fewer frames"):
        exact.read_clip([samples[0].image] * 120, boxes=[(0, 0, 224, 224)])


def test_times_and_settings_travel_with_the_reading(exact: EmotionPipeline, samples: list[Sample]) -> None:
    reading = read_at_box(exact, samples[0])
    assert {"detect", "crop", "vision", "face", "connector", "prefill", "score"} <= set(reading.stage_ms)
    assert reading.settings.profile == "exact"
    assert reading.settings.variants == {"vision": "fp32", "connector": "fp32", "face": "fp32", "language": "f16"}
    assert reading.to_dict()["label"] == reading.label


def test_the_first_reading_of_a_pipeline_is_marked_cold(tiny_bundle: Path, samples: list[Sample]) -> None:
    image, box = samples[0].image, samples[0].box
    with EmotionPipeline.open(tiny_bundle, device="cpu", profile="small", threads=1) as pipeline:
        assert pipeline.read(image, boxes=[]) == [], "no face: nothing was computed"
        both = pipeline.read(image, boxes=[box, box])
        assert [face.cold for face in both] == [True, True] and both[0].to_dict()["cold"] is True
        clip = pipeline.read_clip([image], boxes=[box])
        assert clip is not None and not clip.cold and not pipeline.read(image, boxes=[box])[0].cold


def test_the_reference_runs_behind_the_same_pipeline(
    tiny_bundle: Path, exact: EmotionPipeline, model: Any, samples: list[Sample]
) -> None:
    from emo_edge.export.reference.engines import reference_engines

    bundle = Bundle.open(tiny_bundle)
    with EmotionPipeline(bundle, reference_engines(model, bundle.manifest), WholeImage()) as torch_pipeline:
        expected = read_at_box(torch_pipeline, samples[5])
    found = read_at_box(exact, samples[5])
    assert found.probabilities == pytest.approx(expected.probabilities, abs=EXACT)
    assert expected.settings.variants["language"] == "torch"


def test_what_is_missing_is_named(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are: exact, small"):
        EmotionPipeline.open(tiny_bundle, device="cpu", profile="fast")
    with pytest.raises(DeviceError, match="cuda cannot be used"):
        EmotionPipeline.open(tiny_bundle, device="cuda")
    with pytest.raises(BundleError):
        EmotionPipeline.open(tmp_path)


def test_the_manifest_says_how_scores_become_probabilities(
    tiny_bundle: Path, exact: EmotionPipeline, samples: list[Sample]
) -> None:
    from emo_edge.bundle.manifest import Scoring

    asked = read_at_box(exact, samples[4], Request(prior_correction=True, temperature=3.0))
    plain = Bundle.open(tiny_bundle)
    scoring = Scoring(temperature=3.0, prior_correction=True)
    told = Bundle(plain.directory, plain.manifest.model_copy(update={"scoring": scoring}))
    with EmotionPipeline.open(told, device="cpu", profile="exact") as pipeline:
        reading = read_at_box(pipeline, samples[4])
    assert reading.probabilities == pytest.approx(asked.probabilities, abs=1e-4)
    assert reading.settings.temperature == 3.0 and reading.settings.prior_correction


def test_texts_are_tokenised_as_the_checkpoint_does(exact: EmotionPipeline, model: Any, texts: list[str]) -> None:
    language = exact.engines.chain.language
    assert {text: language.tokenize(text) for text in texts} == {text: model.tokenizer.encode(text) for text in texts}
