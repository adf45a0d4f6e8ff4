"""Plans against sums by hand, their order under more of everything, and the sizes that they rest on."""

from __future__ import annotations

import inspect
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_edge.assets.packaged import packaged_checkpoint
from emo_edge.bundle.gguf_header import read_gguf_header
from emo_edge.bundle.manifest import QuestionCache
from emo_edge.bundle.model_shape import ModelShape, QFormerShape, UnitsShape, known_shape
from emo_edge.errors import CheckpointError, DeviceError, InputError
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.importers.random_weights import random_config
from emo_edge.planning.advice import require_choice
from emo_edge.planning.capacity_plan import PlanRequest
from emo_edge.planning.cost.stages import language_work
from emo_edge.planning.cost.work import KINDS, Node, Work, linear
from emo_edge.planning.models import ShapeModel, open_subject
from emo_edge.planning.planner import make_plan
from emo_edge.planning.profile_estimate import kv_cache_bytes
from emo_edge.planning.roofline import Curve, Device, Engine, Interval, Speed, constant
from emo_edge.runtimes.llama_cpp.session import FORK_CELLS, FORKS, LlamaSession


def device(flops: float = 1e12, bandwidth: float = 1e11, left: float = 1e12, call_s: float = 0.0) -> Device:
    speed = Speed({"fp32": constant(flops)}, dict.fromkeys(KINDS, constant(bandwidth)), 0.0, call_s)
    engine = Engine(speed, speed)
    return Device(
        "fake", "a fake", 2 * left, left, 0.0, engine, {"": engine}, 0.0, 0.0, half_is_native=True, measured=True
    )


def test_the_attention_cache_of_vicuna_takes_half_a_mebibyte_a_position() -> None:
    vicuna = ModelShape().language
    cells = 4096 + FORKS * FORK_CELLS
    assert kv_cache_bytes(vicuna, 4096, exact=False) == cells * 2 * 32 * 4096 * 2 == cells * 512 * 1024
    assert kv_cache_bytes(vicuna, 4096, exact=True) == 2 * kv_cache_bytes(vicuna, 4096, exact=False)


def test_grouped_keys_take_their_share_of_the_cache() -> None:
    grouped = replace(ModelShape().language, kv_heads=8)
    assert kv_cache_bytes(grouped, 100, exact=False) * 4 == kv_cache_bytes(ModelShape().language, 100, exact=False)


def test_the_branches_that_a_plan_counts_are_those_that_a_session_sets_aside() -> None:
    assert inspect.signature(LlamaSession).parameters["max_branches"].default == FORKS


def test_the_weights_of_seven_billion_parameters() -> None:
    subject = ShapeModel("emo-llama-7b")
    assert subject.stored("language", "f16") == pytest.approx(13.48e9, rel=0.001)
    assert subject.stored("language", "q4_k_m") == pytest.approx(4.08e9, rel=0.005)
    assert subject.stored("vision", "fp16") == pytest.approx(1.97e9, rel=0.005)


def test_a_roofline_takes_the_slower_of_its_two_sides() -> None:
    speed = device(flops=1e9, bandwidth=1e8).graphs.fast
    compute, memory = linear(1000, 100, 100), Node("matmul", 1.0, 1e6, 1e6)
    assert speed.seconds(Work((compute,))) == pytest.approx(2e7 / 1e9)
    assert speed.seconds(Work((memory,))) == pytest.approx(2e6 / 1e8)
    assert (speed.bound(Work((compute,))), speed.bound(Work((memory,)))) == ("compute", "memory")
    late = replace(speed, call_s=1.0)
    assert late.seconds(Work((compute, memory))) == pytest.approx(1.0 + 0.02 + 0.02)
    assert late.bound(Work((compute,))) == "overhead"


def test_a_curve_keeps_the_smallest_time_and_the_largest_rate() -> None:
    curve = Curve(((100.0, 10.0), (10000.0, 1000.0)))
    assert curve.seconds(0.0) == curve.seconds(1.0) == curve.seconds(100.0) == 10.0
    assert curve.seconds(10000.0) == 10.0
    assert curve.seconds(20000.0) == 20.0
    assert curve.seconds(1000.0) == pytest.approx(1000.0 / 100.0)


def test_a_token_reads_every_weight_once() -> None:
    shape = ModelShape().language
    work = language_work(shape, 1, 0, layer_bytes=100.0, output_bytes=7.0)
    assert work.weight_bytes == 32 * 100 + 7
    assert work.flops == 2 * (32 * shape.layer_parameters + 32000 * 4096)


def test_the_stages_of_a_description_add_up() -> None:
    plan = make_plan(ShapeModel("emo-llama-7b"), device(), PlanRequest(faces=2, describe_tokens=11), ["small"])
    (part,) = plan.profiles
    ms = {stage.name: stage.ms.least for stage in part.stages}
    assert list(ms) == ["vision", "face", "connector", "prefill", "score", "first token", "per token"]
    assert part.description_ms is not None and part.first_token_ms is not None
    assert part.description_ms.least == pytest.approx(ms["first token"] + 10 * ms["per token"])
    each = ms["connector"] + ms["prefill"] + ms["score"]
    assert part.label_ms.least == pytest.approx(ms["vision"] + ms["face"] + 2 * each)
    assert plan.prompt_positions is not None and 80 < plan.prompt_positions < 120


def test_a_longer_clip_is_computed_in_full_batches() -> None:
    subject = ShapeModel("emola-7b")
    one, two = (make_plan(subject, device(), PlanRequest(frames=count), ["small"]).profiles[0] for count in (1, 2))
    first, second = ({stage.name: stage for stage in part.stages}["prefill"] for part in (one, two))
    # 577 embeddings are two calls and the text a third; 1,154 are three and a fourth. Each reads the weights.
    assert second.weight_bytes > 1.25 * first.weight_bytes


def test_a_question_cache_takes_two_calls_of_fewer_positions() -> None:
    """Picture and head in one, the tail in another, and each reads the layers' weights."""
    subject = ShapeModel("emo-llama-7b")
    plain = make_plan(subject, device(), PlanRequest(), ["small"]).profiles[0]
    subject.question_caches = {"small": QuestionCache(head=7, tail=2)}
    cached = make_plan(subject, device(), PlanRequest(), ["small"]).profiles[0]
    before, after = plain.stages[-4], cached.stages[-4]
    assert before.name == after.name == "prefill"
    shape, frame = ModelShape().language, subject.tokens_per_frame
    layers, output = subject.language_bytes("q4_k_m")
    assert after.weight_bytes == pytest.approx(2 * shape.layers * layers + output)
    assert before.weight_bytes == pytest.approx(shape.layers * layers + output)
    products = 2.0 * shape.layers * shape.layer_parameters
    assert after.flops == pytest.approx(products * (frame + 9) + 2.0 * shape.output_parameters, rel=0.01)
    assert [stage.flops for stage in plain.stages[:-4]] == [stage.flops for stage in cached.stages[:-4]]
    assert plain.stages[-2:] == cached.stages[-2:]
    subject.question_caches = {"small": QuestionCache(head=4000, tail=2)}
    assert make_plan(subject, device(), PlanRequest(), ["small"]).profiles[0] == plain


@given(st.integers(200, 2048), st.integers(0, 2000))
def test_more_context_never_needs_less_memory(context: int, more: int) -> None:
    subject = ShapeModel("emo-llama-7b")
    first, second = (
        make_plan(subject, device(), PlanRequest(context=size)).profiles for size in (context, context + more)
    )
    for low, high in zip(first, second, strict=True):
        assert low.memory.total <= high.memory.total


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 3), st.integers(1, 3))
def test_more_faces_and_frames_never_take_less(faces: int, frames: int, more: int, longer: int) -> None:
    subject, place = ShapeModel("emo-tiny"), device(call_s=1e-4)
    low, high = (
        make_plan(subject, place, PlanRequest(faces=count, frames=length), ["small"]).profiles[0]
        for count, length in ((faces, frames), (faces * more, frames * longer))
    )
    assert low.label_ms.least <= high.label_ms.least + 1e-9
    assert low.memory.total <= high.memory.total


@given(st.floats(1e9, 1e15), st.floats(1.0, 100.0))
def test_a_faster_device_is_never_slower(flops: float, factor: float) -> None:
    subject = ShapeModel("emo-tiny")
    slow, fast = (
        make_plan(subject, device(flops * part), PlanRequest(), ["small"]).profiles[0] for part in (1.0, factor)
    )
    assert fast.label_ms.least <= slow.label_ms.least


def test_the_most_precise_profile_that_meets_the_limits_is_chosen() -> None:
    subject = ShapeModel("emo-llama-7b")
    plan = make_plan(subject, device(), PlanRequest())
    needs = {part.profile: part.memory.total for part in plan.profiles}
    assert plan.chosen == "exact" and needs["exact"] > needs["balanced"] > needs["small"]
    assert make_plan(subject, device(), PlanRequest(max_memory=needs["exact"] - 1)).chosen == "balanced"
    assert make_plan(subject, device(left=needs["small"]), PlanRequest()).chosen == "small"
    fastest = min(part.label_ms.most for part in plan.profiles)
    assert make_plan(subject, device(), PlanRequest(max_latency_ms=fastest * 0.99)).chosen is None


def test_a_small_graph_that_int8_makes_larger_is_not_the_most_precise() -> None:
    class Toy(ShapeModel):
        """Scales and names of its INT8 graphs take more than the weights that they replace."""

        def stored(self, component: str, variant: str) -> float:
            return 900 if variant == "int8" else super().stored(component, variant) and 700

        def graph(self, component: str, variant: str, batch: int, question: int) -> Work:
            return super().graph(component, "fp16" if variant == "int8" else variant, batch, question)

    subject = Toy("emo-tiny")
    exact = subject.profiles["exact"]
    subject.profiles = {"small": {**exact, "vision": "int8", "face": "int8"}, "exact": exact}
    assert make_plan(subject, device(), PlanRequest()).chosen == "exact"


def test_what_would_help_is_named_when_nothing_fits() -> None:
    subject, place = ShapeModel("emo-llama-7b"), device(left=8e9)
    plan = make_plan(subject, place, PlanRequest(context=4096))
    with pytest.raises(DeviceError, match=r"nothing fits fake: .*small, needs .*`context` 2048.*`device` orin-nx-16gb"):
        require_choice(subject, place, plan)
    small = device(left=5.2e9)
    with pytest.raises(
        DeviceError, match=r"do: a smaller language model: 2\.34 GB are left for its weights, these are"
    ):
        require_choice(subject, small, make_plan(subject, small, PlanRequest()))
    limited = make_plan(subject, device(), PlanRequest(max_memory=1e9))
    with pytest.raises(DeviceError, match=r"1\.00 GB may be used\. What would do: `max_memory` \d+\.\d\dGB$"):
        require_choice(subject, device(), limited)
    require_choice(subject, device(), make_plan(subject, device(), PlanRequest()))


def test_the_context_is_what_the_prompts_need() -> None:
    subject = ShapeModel("emo-llama-7b")
    plan = make_plan(subject, device(), PlanRequest())
    assert (plan.context, plan.prompt_positions) == (256, 95)
    exact, *_, small = plan.profiles
    assert small.memory.kv_cache == (256 + FORKS * FORK_CELLS) * 512 * 1024 == exact.memory.kv_cache / 2
    assert make_plan(subject, device(), PlanRequest(describe_tokens=400)).context == 512
    assert make_plan(ShapeModel("emola-7b"), device(), PlanRequest(frames=6, describe_tokens=550)).context == 4096


def test_the_device_changes_last() -> None:
    subject, place = ShapeModel("emo-llama-7b"), device(left=8.5e9)
    with pytest.raises(DeviceError, match=r"What would do: `profile` small") as error:
        require_choice(subject, place, make_plan(subject, place, PlanRequest(), ["balanced"]), ["balanced"])
    assert str(error.value).rpartition("; or ")[2].startswith("another device, `device` ")


def test_what_would_help_is_named_when_nothing_is_fast_enough() -> None:
    subject, place = ShapeModel("emo-llama-7b"), device()
    one = make_plan(subject, place, PlanRequest(), ["small"]).profiles[0].label_ms.most
    asked = PlanRequest(frames=8, max_latency_ms=1.5 * one)
    with pytest.raises(DeviceError, match=r"fast enough: small, the fastest, takes .* most of it vision.*`frames` 2"):
        require_choice(subject, place, make_plan(subject, place, asked))
    alone = make_plan(subject, place, PlanRequest(max_memory=12e9), ["exact"])
    with pytest.raises(DeviceError, match="`profile` small"):
        require_choice(subject, place, alone, ["exact"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"context": 0}, "`context` 0"),
        ({"faces": 0, "frames": -1}, "`faces` 0, `frames` -1"),
        ({"max_latency_ms": math.nan}, "`max_latency_ms` nan"),
        ({"max_memory": math.inf}, "`max_memory` inf"),
        ({"max_memory": 0.0}, "`max_memory` 0.0"),
    ],
)
def test_counts_and_limits_of_nothing_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=f"cannot be made for {words}:"):
        PlanRequest(**values)


@pytest.mark.parametrize(
    ("impossible", "words"),
    [
        (PlanRequest(context=5000), "trained with 4096 positions: `context` 5000 is too large"),
        (PlanRequest(context=120), "need .* the context has 120: use fewer `frames`"),
        (PlanRequest(frames=900), "use fewer `frames`"),
        (PlanRequest(labels="moods"), "no label set 'moods'; there are: rafdb7"),
    ],
)
def test_what_the_model_cannot_hold_is_refused(impossible: PlanRequest, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_plan(ShapeModel("emo-llama-7b"), device(), impossible)


def test_an_unknown_profile_or_model_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no profile 'tiny' in emo-tiny; there are: exact, balanced, small"):
        make_plan(ShapeModel("emo-tiny"), device(), PlanRequest(), ["tiny"])
    with pytest.raises(InputError, match=r"neither a bundle, .* nor a known shape: emo-llama-7b, emola-7b, emo-tiny"):
        open_subject("nothing")
    with pytest.raises(CheckpointError, match=r"manifest\.json: no such file"):
        open_subject(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("emo-llama-7b", EmoLlamaConfig()),
        ("emola-7b", random_config("emola-7b")),
        ("emo-tiny", EmoLlamaConfig.from_pretrained(packaged_checkpoint())),
    ],
)
def test_shapes_are_those_of_the_configs(name: str, config: EmoLlamaConfig) -> None:
    shape, vision, language, former = known_shape(name), config.vision, config.language, config.connector.qformer
    sizes = (
        vision.image_size,
        vision.patch_size,
        vision.hidden_size,
        vision.num_layers,
        vision.num_heads,
        vision.mlp_size,
    )
    assert tuple(vars(shape.vision).values()) == sizes
    assert shape.connector.content_tokens == (config.connector.pool_grid or vision.grid) ** 2
    assert shape.connector.projector_depth == config.connector.projector_depth
    assert shape.tokens_per_frame == config.tokens_per_frame
    found = (language.vocab_size, language.hidden_size, language.intermediate_size, language.num_hidden_layers)
    heads = (language.num_attention_heads, language.num_key_value_heads, language.max_position_embeddings)
    assert tuple(vars(shape.language).values()) == (*found, *heads)
    assert (shape.connector.qformer is None) == (former is None)
    if former:
        values = (former.vocab_size, former.hidden_size, former.num_layers, former.num_heads, former.mlp_size)
        assert shape.connector.qformer == QFormerShape(
            *values, former.max_positions, former.num_queries, former.cross_attention_every
        )
    assert shape.landmark_outputs == (config.landmark.outputs if config.landmark else None)
    if config.face and shape.face:
        face = config.face
        trunk = (face.image_size, face.patch_size, face.embed_dim, face.depths, face.num_heads, face.window_size)
        decoder = (face.mlp_ratio, face.decoder_dim, face.decoder_depth, face.decoder_heads, face.decoder_mlp_size)
        assert tuple(vars(shape.face).values()) == (*trunk, *decoder)
    if config.face_info and shape.face_info:
        info = config.face_info
        mined = (info.num_tokens, info.hidden_size, info.num_heads, info.global_grid, info.mlp_size)
        assert tuple(vars(shape.face_info).values()) == mined
    units = config.action_units
    assert shape.units == (UnitsShape(len(units.units), units.hidden_size, units.intensity) if units else None)


def test_a_bundle_and_its_shape_give_the_same_plan(tiny_bundle: Path) -> None:
    bundle, shape = open_subject(str(tiny_bundle)), ShapeModel("emo-tiny")
    assert bundle.language == shape.language
    for clip in (False, True):
        told, guessed = (subject.prompts("rafdb7", clip=clip) for subject in (bundle, shape))
        assert (told.branch_rows, told.labels) == (guessed.branch_rows, guessed.labels)
        sizes = [prompt.label.before + prompt.label.after for prompt in (told, guessed)]
        assert sizes[0] == pytest.approx(sizes[1], rel=0.05)
    plans = [make_plan(subject, device(), PlanRequest(), ["exact"]).profiles[0] for subject in (bundle, shape)]
    assert plans[0].memory.total == pytest.approx(plans[1].memory.total, rel=0.05)
    assert plans[0].label_ms.least == pytest.approx(plans[1].label_ms.least, rel=0.1)
    assert {stage.name for stage in plans[0].stages} == {stage.name for stage in plans[1].stages}


def test_a_gguf_header_tells_sizes_and_bytes(tiny_bundle: Path) -> None:
    path = tiny_bundle / "language-f16.gguf"
    header = read_gguf_header(path)
    assert header.shape() == known_shape("emo-tiny").language
    assert header.layer_bytes == 2 * header.shape().layer_parameters + 2 * 4 * 256
    assert header.output_bytes == 2 * 768 * 256
    assert header.metadata["general.file_type"] == 1
    assert sum(header.tensor_bytes.values()) < path.stat().st_size


@pytest.mark.parametrize("cut", [3, 20, 400, 5000])
def test_a_broken_gguf_is_one_error(tiny_bundle: Path, tmp_path: Path, cut: int) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes((tiny_bundle / "language-f16.gguf").read_bytes()[:cut])
    with pytest.raises(CheckpointError, match=r"broken\.gguf: no language model in GGUF, or truncated"):
        read_gguf_header(broken)


def test_intervals_add_and_scale() -> None:
    assert Interval(1, 2) + Interval(3, 5) == Interval(4, 7)
    assert Interval(1, 2) * 3 == Interval(3, 6)
