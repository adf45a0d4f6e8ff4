"""A checkpoint of a network of action units alone to a bundle, and everything that reads such a bundle."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

from emo_edge.assets.packaged import packaged_samples
from emo_edge.benchmarks.device_speed.rounds import SessionCache
from emo_edge.benchmarks.device_speed.stages import StageInputs
from emo_edge.benchmarks.device_speed.torch import graph_contenders
from emo_edge.bundle.face_crops import CropSettings, crop_face
from emo_edge.bundle.reader import Bundle
from emo_edge.cli.app import main
from emo_edge.console.progress import QUIET
from emo_edge.errors import AccuracyGateError, BundleError, CheckpointError, DeviceError, EmoEdgeError, InputError
from emo_edge.export.bundles.face_network import bundle_from_face_network, face_component
from emo_edge.export.bundles.run import ExportRun
from emo_edge.export.configs.checkpoint import AuNetworkConfig, EmoLlamaConfig
from emo_edge.export.reference.face_network import AuNetwork, au_network_shapes
from emo_edge.export.triton.repository import RepositorySettings, write_repository
from emo_edge.faces.registry import WholeImage
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.planning.models import BundleModel
from emo_edge.tracking.network import FaceNetwork as FollowedNetwork
from emo_edge.tracking.network import followed_part
from tests.export.models.action_units.test_auformer import random_model
from tests.spoiled_bundles import spoiled

SCHEMAS = Path(__file__).parents[3] / "emo_edge" / "schemas"
THRESHOLDS = (0.3, 0.5, 0.7)
CROP = CropSettings(method="square", size=28, margin=0.1)
Tracing = Callable[[], AbstractContextManager[None]]


def run(*words: object) -> Any:
    return CliRunner().invoke(main, [str(word) for word in words])


def au_checkpoint(directory: Path, **changes: Any) -> Path:
    model = random_model(thresholds=THRESHOLDS, **changes)
    network = AuNetwork(AuNetworkConfig(network=model.config, crop=CROP, provenance={"name": "au-toy"}))
    network.network.load_state_dict(model.state_dict())
    network.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return au_checkpoint(tmp_path_factory.mktemp("au"))


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tracing_once: Tracing, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    target = tmp_path_factory.mktemp("bundle") / "new"
    with tracing_once():
        return bundle_from_face_network(checkpoint, target, ("fp32", "fp16"), packaged_samples(7))


@pytest.fixture(scope="module")
def picture() -> Path:
    source = packaged_samples(1)[0].source
    assert isinstance(source, Path)
    return source


def test_the_manifest_has_the_component_its_crop_and_the_evidence(bundle: Bundle) -> None:
    manifest = Bundle.open(bundle.directory).manifest
    section, parts = manifest.action_units, manifest.components
    assert manifest.bundle_version == 2 and section is not None and parts.au is not None
    assert (section.source, section.units, section.thresholds) == ("au", (1, 4, 12), THRESHOLDS)
    assert "AUFormer, a reconstruction" in section.network
    assert list(parts.graphs()) == ["au"] and manifest.preprocessing.au == CROP and manifest.gives_unit_intensities
    assert {name: profile.au for name, profile in manifest.profiles.items()} == {"exact": "fp32", "balanced": "fp16"}
    for precision, variant in parts.au.variants.items():
        evidence = variant.evidence
        assert evidence["action units"]["au_agreement"] >= 0.995 and evidence["action units"]["samples"] == 7
        error = max(evidence[name]["relative_error"] for name in ("au_presence", "au_intensity"))
        assert error < (1e-4 if precision == "fp32" else 1e-2)


@pytest.mark.parametrize(
    ("output", "factor", "device", "kind", "said"),
    [
        ("au_presence", math.nan, "cpu", BundleError, "the au graph computes au_presence nan on cpu, no finite"),
        ("au_presence", math.nan, "openvino", BundleError, r"the au graph, fp32, computes .* not finite \(au_presence"),
        ("au_intensity", 1e6, "cpu", BundleError, r"the au graph computes au_intensity .* on cpu, outside of 0 to 5"),
        ("au_intensity", 1e6, "openvino", DeviceError, "computes au_intensity .* on openvino, outside of 0 to 5"),
        ("au_intensity", -1.0, "cpu", BundleError, "computes au_intensity -.* on cpu, outside of 0 to 5"),
    ],
)
def test_a_graph_that_computes_nonsense_gives_no_units(
    bundle: Bundle,
    picture: Path,
    tmp_path: Path,
    output: str,
    factor: float,
    device: str,
    kind: type[EmoEdgeError],
    said: str,
) -> None:
    wrong = spoiled(bundle.directory, tmp_path / "bundle", "au", output, factor)
    settings: dict[str, Any] = {"device": device, "profile": "exact", "detector": WholeImage(), "threads": 1}
    with pytest.raises(kind, match=said), EmotionPipeline.open(wrong, **settings) as pipeline:
        pipeline.read(picture)
    done = run("infer", wrong, picture, "--device", device, "--profile", "exact", "--json")
    assert done.exit_code == kind.exit_code and "NaN" not in done.stdout and done.stderr.count("Error: ") == 1


def test_the_pipeline_reads_what_pytorch_computes(bundle: Bundle, checkpoint: Path) -> None:
    samples = packaged_samples(3)
    network = AuNetwork.from_pretrained(checkpoint)
    with EmotionPipeline.open(bundle, device="cpu", profile="exact", detector=WholeImage()) as pipeline:
        for sample in samples:
            (result,) = pipeline.read(sample.image, boxes=[sample.box] if sample.box else None)
            outputs = network.graph_outputs(crop_face(sample.image, sample.box, CROP).pixels[None])
            assert list(result.action_units) == ["AU1", "AU4", "AU12"]
            for place, unit in enumerate(result.action_units.values()):
                probability = 1 / (1 + np.exp(-float(outputs["au_presence"][0, place])))
                assert unit.presence == pytest.approx(probability, abs=1e-4)
                assert unit.active == (unit.presence >= THRESHOLDS[place])
                assert unit.intensity == pytest.approx(float(outputs["au_intensity"][0, place]), abs=1e-3)
            assert result.label is None and result.face is None and "au" in result.stage_ms
            assert result.settings.variants == {"au": "fp32"}
        for request in (Request(labels=("joy", "rage")), Request(describe=True)):
            with pytest.raises(InputError, match="a network of action units alone: it tells action units, and answers"):
                pipeline.check(request)
        with pytest.raises(InputError, match="no network of face facts"):
            pipeline.check(Request(face_facts=True))


def test_an_output_that_is_none_is_an_error(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = packaged_samples(1)[0]
    with EmotionPipeline.open(bundle, device="cpu", detector=WholeImage()) as pipeline:
        network = pipeline.engines.au
        assert network is not None
        real = network.run
        wrong = {"au_presence": np.full((1, 3), np.nan, np.float32)}
        monkeypatch.setattr(network, "run", lambda feed: {**real(feed), **wrong})
        with pytest.raises(BundleError, match="the au graph computes au_presence nan"):
            pipeline.read(sample.image)
        wrong = {"au_intensity": np.full((1, 3), 7, np.float32)}
        with pytest.raises(BundleError, match="the au graph computes au_intensity 7"):
            pipeline.read(sample.image)


def test_infer_writes_them_in_every_form(bundle: Bundle, picture: Path) -> None:
    words = ("infer", bundle.directory, picture, "--device", "cpu", "--detector", "whole")
    shown = run(*words)
    assert shown.exit_code == 0 and "action units:" in shown.stdout, shown.output
    (result,) = json.loads(run(*words, "--json").stdout)
    jsonschema.validate(result, json.loads((SCHEMAS / "result-2.json").read_text(encoding="utf-8")))
    assert list(result["readings"][0]["action_units"]) == ["AU1", "AU4", "AU12"]
    header = run(*words, "--csv").stdout.splitlines()[0].split(",")
    assert [name for name in header if name.startswith("AU")][:3] == ["AU1", "AU1_active", "AU1_intensity"]


def test_it_tells_the_same_without_emotions(bundle: Bundle) -> None:
    image = packaged_samples(1)[0].image
    results = []
    for emotions in (True, False):
        with EmotionPipeline.open(bundle, device="cpu", detector=WholeImage(), emotions=emotions) as pipeline:
            results.append(pipeline.read(image)[0].action_units)
    assert results[0] == results[1]


def test_track_follows_it(bundle: Bundle, checkpoint: Path) -> None:
    sample = packaged_samples(1)[0]
    assert sample.box is not None
    with FollowedNetwork.open(bundle, device="cpu", profile="exact", threads=None) as network:
        crop = network.crop(sample.image, sample.box, "whole")
        (row,) = network.rows([crop])
        face = network.face(row, 0, sample.box, None)
        assert network.contents.units == (1, 4, 12) and not network.contents.geometry
        assert network.settings()["variant"] == "fp32"
    outputs = AuNetwork.from_pretrained(checkpoint).graph_outputs(crop.pixels[None])
    np.testing.assert_allclose(face.presence, 1 / (1 + np.exp(-outputs["au_presence"][0].astype(float))), atol=1e-4)
    np.testing.assert_allclose(face.intensity, outputs["au_intensity"][0], atol=1e-3)
    both = bundle.manifest.components.model_copy(update={"face": bundle.manifest.components.au})
    with pytest.raises(BundleError, match="track follows one network"):
        followed_part(replace(bundle, manifest=bundle.manifest.model_copy(update={"components": both})))


def test_label_writes_a_table(bundle: Bundle, picture: Path, tmp_path: Path) -> None:
    table = pytest.importorskip("pyarrow.parquet")
    done = run("label", bundle.directory, picture, "--out", tmp_path / "out", "--detector", "whole", "--device", "cpu")
    assert done.exit_code == 0, done.output
    (part,) = (tmp_path / "out").rglob("*.parquet")
    (row,) = table.read_table(part).to_pylist()
    (result,) = json.loads(
        run("infer", bundle.directory, picture, "--device", "cpu", "--detector", "whole", "--json").stdout
    )
    units = result["readings"][0]["action_units"]
    assert row["error"] is None and row["label"] is None
    stored = {name: row["action_units"][name]["presence"] for name in units} if "action_units" in row else row
    for name, unit in units.items():
        assert stored[name] == pytest.approx(unit["presence"], abs=1e-4)


def test_inspect_verify_and_plan_know_the_graph(bundle: Bundle) -> None:
    shown = run("inspect", bundle.directory).stdout
    assert "au         fp16" in shown and "agreement on action units" in shown
    assert "is the au graph alone" in shown and "a network of action units alone: action units, no labels" in shown
    assert "intact, 2 files" in run("verify", bundle.directory).stdout
    model = BundleModel(bundle)
    assert model.graph("au", "fp32", 1, 1).nodes and model.stored("au", "fp32") > model.stored("au", "fp16") > 0
    plan = run("plan", bundle.directory, "--device", "orin-nano-8gb", "--json")
    assert plan.exit_code == 0, plan.output
    assert '"au"' in plan.stdout


def test_a_damaged_graph_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(bundle.directory, tmp_path / "copy"))
    with (copy / "au-fp32.onnx").open("r+b") as stream:
        stream.write(b"\xff" * 8)
    done = run("verify", copy)
    assert done.exit_code == 5 and "au-fp32.onnx" in done.stderr


def test_triton_gets_it_as_a_model(bundle: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("tritonclient")
    write_repository(bundle, tmp_path / "models", RepositorySettings(profile="exact"))
    config = (tmp_path / "models" / "au" / "config.pbtxt").read_text(encoding="utf-8")
    assert "au_presence" in config and "au_intensity" in config
    assert (tmp_path / "models" / "au" / "1" / "au-fp32.onnx").is_file()


def test_device_speed_computes_the_same_in_pytorch(bundle: Bundle, checkpoint: Path) -> None:
    inputs = StageInputs(bundle, 1, None)
    assert inputs.parts == ["au"]
    feed = inputs.feed("au")
    expected = AuNetwork.from_pretrained(checkpoint).graph_outputs(feed["image"])
    with SessionCache() as models:
        eager = graph_contenders(checkpoint, "au", "cpu", feed, models, compiled=True)
        assert [one.precision for one in eager] == ["fp32", "bf16"]
        outputs = eager[0].open().compute()
    assert outputs is not None and outputs.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(outputs[name], value, atol=1e-4)


@pytest.mark.usefixtures("traced_once")
def test_a_precision_that_flips_decisions_is_left_out(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emo_edge.export.onnx import verify

    real = verify.run_in_batches

    def shifted(*arguments: Any, **options: Any) -> Any:
        outputs = real(*arguments, **options)
        return {**outputs, "au_presence": outputs["au_presence"] * np.float32(-1)}

    monkeypatch.setattr(verify, "run_in_batches", shifted)
    with pytest.raises(AccuracyGateError, match=r"au fp16: au_agreement 0\.\d+, the gate is 0\.995"):
        bundle_from_face_network(checkpoint, tmp_path / "new", ("fp16",), packaged_samples(4))


def test_a_network_without_intensities_gives_none(tracing_once: Tracing, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    plain = au_checkpoint(tmp_path / "checkpoint", intensity=False)
    with tracing_once():
        written = bundle_from_face_network(plain, tmp_path / "new", ("fp32",), packaged_samples(2))
    assert not written.manifest.gives_unit_intensities
    with EmotionPipeline.open(written, device="cpu", detector=WholeImage()) as pipeline:
        (result,) = pipeline.read(packaged_samples(1)[0].image)
    assert all(unit.intensity is None and unit.level is None for unit in result.action_units.values())


def test_it_is_no_part_of_another_model(checkpoint: Path, bundle: Bundle) -> None:
    with pytest.raises(InputError, match="a network of action units; beside a language model stands a network of face"):
        face_component(ExportRun(checkpoint, None, [], None, QUIET), ("fp32",))  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="au: unknown key"):
        EmoLlamaConfig.from_dict({**EmoLlamaConfig().model_dump(), "au": {}})


def test_the_config_is_checked(checkpoint: Path) -> None:
    values = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    assert values["model_type"] == "au_network" and values["network"]["network"] == "auformer"
    network = values["network"]
    for changed, message in (
        ({"crop": {**values["crop"], "size": 32}}, "crop.size must be network.image_size"),
        ({"network": {**network, "units": []}}, "units"),
        ({"network": {**network, "units": [1, 1, 4]}}, "units name one unit twice"),
        ({"network": {**network, "thresholds": [0.5]}}, "thresholds has 1 numbers for 3 units"),
        ({"units": [1]}, "units: unknown key"),
    ):
        with pytest.raises(CheckpointError, match=message):
            AuNetworkConfig.from_dict({**values, **changed})
    shapes = au_network_shapes(AuNetworkConfig.from_dict(values))
    assert all(name.startswith("network.") for name in shapes)
    assert shapes["network.presence.weight"] == (3, 32)


def test_weights_that_do_not_fit_are_named(checkpoint: Path, tmp_path: Path) -> None:
    values = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    values["network"]["expert_size"] = 4
    (tmp_path / "config.json").write_text(json.dumps(values), encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes((checkpoint / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"network\.experts\.0\.down"):
        AuNetwork.from_pretrained(tmp_path)
