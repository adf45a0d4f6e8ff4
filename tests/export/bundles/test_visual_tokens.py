"""A budget of visual tokens, from export to labels: the same tokens in every engine, and what they cost beside all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from emo_edge.assets.packaged import packaged_samples
from emo_edge.benchmarks.peers.visual_tokens import checked_bundles
from emo_edge.bundle.manifest import MANIFEST_NAME, VisualTokens
from emo_edge.bundle.prompts import classify_question
from emo_edge.bundle.reader import Bundle
from emo_edge.cli.export import main as export
from emo_edge.cli.inspect import inspect
from emo_edge.console.progress import QUIET, Reports
from emo_edge.errors import AccuracyGateError, BundleError, CheckpointError, InputError
from emo_edge.export.bundles import visual_tokens
from emo_edge.export.bundles.config import ExportConfig
from emo_edge.export.bundles.emo_llama import bundle_from_checkpoint
from emo_edge.export.bundles.visual_tokens import candidates
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.reference.model import EmoLlamaForConditionalGeneration
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.probability import softmax
from emo_edge.inference.results import Request
from emo_edge.metrics.gates import Gate

pytestmark = pytest.mark.usefixtures("traced_once")
PATCHES, KEPT = 16, 7


@pytest.fixture(scope="module")
def llava_checkpoint(build_model: Any, toy_config: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy model of LLaVA's kind: CLIP's tower, every patch a token, no face network."""
    values = toy_config.model_dump(mode="json")
    values["vision"] |= {"tower": "clip", "num_layers": 2}
    values["connector"] |= {"compress_type": "none", "qformer": None}
    values |= {"face": None, "face_info": None}
    directory = tmp_path_factory.mktemp("llava") / "checkpoint"
    build_model(EmoLlamaConfig.from_dict(values)).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def budget_bundle(llava_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("budget") / "bundle"
    config = ExportConfig(language=("f16",), visual_tokens=KEPT)
    bundle_from_checkpoint(llava_checkpoint, target, config, packaged_samples(6))
    return target


def test_the_bundle_says_what_is_kept_and_what_it_costs(budget_bundle: Path) -> None:
    manifest = Bundle.open(budget_bundle).manifest
    budget = manifest.visual_tokens
    assert budget is not None
    assert (budget.kept, budget.patches, manifest.bundle_version) == (KEPT, PATCHES, 2)
    assert [(group.name, group.count) for group in manifest.frames_segment.groups] == [("content", KEPT)]
    assert budget.evidence["samples"] == 6
    assert budget.evidence["kl_mean"] > 0, "fewer tokens are other labels"
    shown = CliRunner().invoke(inspect, [str(budget_bundle)])
    assert f"visual tokens {KEPT} instead of {PATCHES} a frame: label agreement" in shown.stdout


def test_labels_are_those_of_the_reference_with_the_same_tokens(budget_bundle: Path, llava_checkpoint: Path) -> None:
    bundle = Bundle.open(budget_bundle)
    for part in (bundle.manifest.components.vision, bundle.manifest.components.connector):
        assert set(part.variants) == {"fp32", "fp16"}, "both hold their gate"
    model = EmoLlamaForConditionalGeneration.from_pretrained(llava_checkpoint)
    model.keep_tokens(KEPT)
    labels = model.config.label_sets["rafdb7"]
    question = classify_question(model.config.prompt, labels)
    with EmotionPipeline.open(bundle, device="cpu", profile="exact") as pipeline:
        for sample in packaged_samples(3):
            result = pipeline.read(sample.image, Request(labels=labels), boxes=[sample.box])[0]
            scores = model.label_scores(sample.image, question, labels, boxes=sample.box)
            np.testing.assert_allclose(list(result.probabilities.values()), softmax(scores[None])[0], atol=2e-3)


def test_no_shape_of_the_graphs_depends_on_the_picture(budget_bundle: Path) -> None:
    """TensorRT builds nothing else; and which tokens are chosen is computed in float32."""
    for name in ("connector-fp32.onnx", "connector-fp16.onnx"):
        graph = onnx.load(budget_bundle / name).graph
        kinds = {node.op_type for node in graph.node}
        assert not kinds & {"NonZero", "Compress", "Unique", "Loop", "If", "Where", "GatherND"}
        assert "TopK" in kinds
        made = {output: node for node in graph.node for output in node.output}
        halves = {value.name for value in graph.initializer if value.data_type == onnx.TensorProto.FLOAT16}
        for node in graph.node:
            if node.op_type in ("TopK", "ArgMax"):
                assert not ancestors(node, made) & halves, f"{name}: {node.op_type} reads float16"


def ancestors(node: onnx.NodeProto, made: dict[str, onnx.NodeProto]) -> set[str]:
    names, left = set[str](), list(node.input)
    while left:
        name = left.pop()
        if name not in names:
            names.add(name)
            left += made[name].input if name in made else []
    return names


def test_auto_takes_the_fewest_that_hold_the_gate(llava_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(visual_tokens, "GATE", Gate.parse("kl<=1e9"))
    model = EmoLlamaForConditionalGeneration.from_pretrained(llava_checkpoint)
    reports = Reports(lines.append, lambda *_: None)
    found = visual_tokens.with_budget(model, "auto", packaged_samples(6), "rafdb7", reports)
    assert found.kept == candidates(PATCHES)[0] == 2
    assert found.evidence["samples"] == 3, "measured on pictures that nothing was chosen on"
    assert model.config.connector.kept_tokens == 2
    monkeypatch.setattr(visual_tokens, "GATE", Gate.parse("agreement>=1.1"))
    with pytest.raises(AccuracyGateError, match=r"no budget of visual tokens holds agreement>=1\.1 on 3 pictures"):
        visual_tokens.with_budget(model, "auto", packaged_samples(6), "rafdb7", reports)
    assert len(lines) == 1 + len(candidates(PATCHES))


def test_a_number_that_holds_on_the_pictures_of_its_choice_alone_is_refused(
    llava_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = iter([[], ["kl"]])
    monkeypatch.setattr(visual_tokens, "GATE", type("Once", (), {"failures": lambda self, evidence: next(held)})())
    model = EmoLlamaForConditionalGeneration.from_pretrained(llava_checkpoint)
    with pytest.raises(AccuracyGateError, match="were chosen on, and not on the others"):
        visual_tokens.with_budget(model, "auto", packaged_samples(4), "rafdb7", QUIET)
    with pytest.raises(InputError, match="needs two pictures"):
        visual_tokens.with_budget(model, "auto", packaged_samples(1), "rafdb7", QUIET)


def test_only_bundles_of_one_checkpoint_are_timed(
    budget_bundle: Path, llava_checkpoint: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    config = ExportConfig(language=("f16",))
    bundle_from_checkpoint(llava_checkpoint, tmp_path / "every", config, packaged_samples(2))
    checked_bundles([tmp_path / "every", budget_bundle])
    with pytest.raises(InputError, match="is not of the checkpoint of"):
        checked_bundles([tiny_bundle, budget_bundle])
    for order in ([budget_bundle, budget_bundle], [tmp_path / "every", tiny_bundle]):
        with pytest.raises(InputError, match="give the bundle with every token first"):
            checked_bundles(order)


def test_candidates_of_the_true_size() -> None:
    assert candidates(576) == [16, 32, 64, 128, 192, 288, 384]


@pytest.mark.parametrize(
    ("value", "code", "part"),
    [
        ("17", 4, "--visual-tokens 17: keep 2 to 16 tokens"),
        ("1", 4, "--visual-tokens 1: keep 2 to 16 tokens"),
        ("-4", 2, "'-4' is neither a number nor auto"),
        ("few", 2, "'few' is neither a number nor auto"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    llava_checkpoint: Path, tmp_path: Path, value: str, code: int, part: str
) -> None:
    options = [str(llava_checkpoint), "--visual-tokens", value, "--out", str(tmp_path / "new")]
    done = CliRunner().invoke(export, options)
    assert done.exit_code == code, done.output
    assert part in done.output
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("checkpoint", ["emo-tiny", "au-tiny"])
def test_a_model_that_reads_no_patches_has_no_budget(tmp_path: Path, checkpoint: str) -> None:
    done = CliRunner().invoke(export, [checkpoint, "--visual-tokens", "8", "--out", str(tmp_path / "new")])
    assert done.exit_code == 4
    assert "--visual-tokens" in done.output


def test_a_budget_of_the_checkpoint_itself_is_checked(toy_config: Any, llava_checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"connector\.kept_tokens needs compress_type none"):
        toy_config.with_kept_tokens(4)
    config = EmoLlamaConfig.from_pretrained(llava_checkpoint)
    with pytest.raises(CheckpointError, match=r"connector\.kept_tokens 40 are more than the 16 patches"):
        config.with_kept_tokens(40)
    assert config.with_kept_tokens(4).visual_tokens_per_frame == 4
    assert "kept_tokens" not in config.model_dump(mode="json")["connector"], "older programs read what has none"


def test_a_checkpoint_that_was_trained_with_a_budget_keeps_it(llava_checkpoint: Path, tmp_path: Path) -> None:
    model = EmoLlamaForConditionalGeneration.from_pretrained(llava_checkpoint)
    model.keep_tokens(KEPT)
    model.save_pretrained(tmp_path / "tuned")
    assert EmoLlamaForConditionalGeneration.from_pretrained(tmp_path / "tuned").config == model.config
    bundle = bundle_from_checkpoint(
        tmp_path / "tuned", tmp_path / "new", ExportConfig(language=("f16",)), packaged_samples(2)
    )
    assert bundle.manifest.visual_tokens == VisualTokens(kept=KEPT, patches=PATCHES)
    shown = CliRunner().invoke(inspect, [str(tmp_path / "new")]).stdout
    assert f"visual tokens {KEPT} instead of {PATCHES} a frame: as the checkpoint was trained" in shown
    refused = CliRunner().invoke(
        export, [str(tmp_path / "tuned"), "--visual-tokens", "4", "--out", str(tmp_path / "no")]
    )
    assert refused.exit_code == 4
    assert f"--visual-tokens: the checkpoint itself reduces a picture to {KEPT} tokens" in refused.output


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda values: values.pop("visual_tokens"), "components.vision gives"),
        (lambda values: values["visual_tokens"].update(kept=6), "visual_tokens.kept is not the layout's"),
        (lambda values: values["visual_tokens"].update(patches=3), "visual_tokens.kept is more than"),
        (
            lambda values: values["components"]["connector"]["inputs"].pop(),
            "components.connector reads class_attention to",
        ),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    budget_bundle: Path, tmp_path: Path, change: Any, part: str
) -> None:
    shutil.copytree(budget_bundle, tmp_path / "bundle")
    path = tmp_path / "bundle" / MANIFEST_NAME
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(BundleError, match=part):
        Bundle.open(tmp_path / "bundle")
