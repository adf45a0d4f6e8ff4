"""A repository's configs are Triton's own and those of the manifest; it is whole or not there, and replaces nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from google.protobuf import text_format

from emo_edge.bundle.manifest import GraphComponent, TensorContract, Variant
from emo_edge.bundle.reader import Bundle
from emo_edge.cli.app import main
from emo_edge.errors import BundleError, DeviceError, InputError
from emo_edge.export.triton import plans, repository
from emo_edge.export.triton.config import TYPES, config_text, graph_config
from emo_edge.export.triton.repository import RepositorySettings, write_repository
from emo_edge.runtimes.tensorrt import engine_cache
from emo_edge.runtimes.tensorrt.builder import Built
from emo_edge.runtimes.tensorrt.engine_cache import EngineCache
from emo_edge.utils.files import sha256_of

MACHINE = {"library": "tensorrt 10.3.0", "gpu": "Orin"}


def parsed(folder: Path) -> Any:
    from tritonclient.grpc import model_config_pb2

    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


@pytest.fixture(scope="module")
def opened(tiny_bundle: Path) -> Bundle:
    return Bundle.open(tiny_bundle)


@pytest.fixture(scope="module")
def models(opened: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("triton") / "models"
    write_repository(opened, target, RepositorySettings(profile="exact", labels=("joy", "rage")))
    return target


@pytest.mark.parametrize("part", ["vision", "connector", "face"])
def test_a_graphs_config_has_the_tensors_of_the_manifest_and_of_its_file(
    models: Path, opened: Bundle, part: str
) -> None:
    from tritonclient.grpc import model_config_pb2

    config, graph = parsed(models / part), opened.manifest.components.graphs()[part]
    assert (config.name, config.platform, config.backend) == (part, "onnxruntime_onnx", "onnxruntime")
    assert config.max_batch_size == 16
    assert config.HasField("dynamic_batching")
    file = models / part / "1" / config.default_model_filename
    assert sha256_of(file) == graph.variants["fp32"].files[0].sha256
    shown = {one.name: one for one in (*config.input, *config.output)}
    in_file = onnx.load(file, load_external_data=False).graph
    assert set(shown) == {one.name for one in (*in_file.input, *in_file.output)}
    for contract in (*graph.inputs, *graph.outputs):
        dims = [-1 if isinstance(size, str) else size for size in contract.shape[1:]]
        tensor = shown[contract.name]
        kind = model_config_pb2.DataType.Name(tensor.data_type)
        assert kind == TYPES[contract.dtype]
        assert (list(tensor.dims) or [1]) == (dims or [1])


def test_the_pipeline_is_one_python_model_around_the_whole_bundle(models: Path, opened: Bundle) -> None:
    config = parsed(models / "emo_edge")
    assert config.backend == "python"
    assert {one.name: list(one.dims) for one in config.input} == {"image": [-1, -1, 3], "encoded": [1]}
    assert {one.name: list(one.dims) for one in config.output} == {
        "probabilities": [-1, 2], "label": [-1], "boxes": [-1, 4], "json": [1]
    }  # fmt: skip
    assert {name: value.string_value for name, value in config.parameters.items()} == {
        "profile": "exact", "device": "auto", "labels": "joy,rage"
    }  # fmt: skip
    assert Bundle.open(models / "emo_edge" / "1" / "bundle").manifest == opened.manifest


def test_a_graph_whose_tensors_have_no_common_rows_is_not_batched() -> None:
    graph = GraphComponent(
        inputs=(TensorContract(name="x", dtype="float16", shape=(1, "L")),),
        outputs=(TensorContract(name="y", dtype="int64", shape=("N", 3)),),
        variants={"fp32": Variant(files=({"path": "a", "size": 0, "sha256": "0" * 64},))},
    )
    config = graph_config("one", graph, 16, "a", "onnxruntime_onnx")
    assert config["max_batch_size"] == 0
    assert "dynamic_batching" not in config
    assert [one["dims"] for one in (*config["input"], *config["output"])] == [[1, -1], [-1, 3]]
    assert 'name: "one"' in config_text(config)


def test_a_scalar_a_row_has_triton_s_least_dimension() -> None:
    row = TensorContract(name="x", dtype="float32", shape=("N",))
    graph = GraphComponent(
        inputs=(row,), outputs=(row,), variants={"fp32": Variant(files=({"path": "a", "size": 0, "sha256": "0" * 64},))}
    )
    tensor = graph_config("one", graph, 4, "a", "onnxruntime_onnx")["input"][0]
    assert (tensor["dims"], tensor["reshape"]) == ([1], {"shape": []})


def test_external_weights_come_along(opened: Bundle, tmp_path: Path) -> None:
    model = onnx.load(opened.directory / "vision-fp32.onnx")
    copy = tmp_path / "bundle"
    shutil.copytree(opened.directory, copy)
    graph = copy / "vision-fp32.onnx"
    onnx.save(model, graph, save_as_external_data=True, location="vision.weights", size_threshold=4096)
    files = [
        {"path": name, "size": (copy / name).stat().st_size, "sha256": sha256_of(copy / name)}
        for name in ("vision-fp32.onnx", "vision.weights")
    ]
    values = opened.manifest.model_dump(mode="json")
    values["components"]["vision"]["variants"]["fp32"]["files"] = files
    changed = type(opened.manifest).model_validate(values)
    (copy / "manifest.json").write_text(changed.model_dump_json())
    write_repository(Bundle.open(copy), tmp_path / "models", RepositorySettings("exact"))
    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "models" / "vision" / "1" / "vision-fp32.onnx")
    (one,) = session.get_inputs()
    side = one.shape[1]
    assert session.run(None, {one.name: np.zeros((1, side, side, 3), np.uint8)})[0].shape[0] == 1


def test_a_file_that_changed_since_the_bundle_was_opened_is_refused(opened: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(opened.directory, copy)
    bundle, graph = Bundle.open(copy), copy / "face-fp32.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match="its content is not what"):
        write_repository(bundle, tmp_path / "models", RepositorySettings("exact"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]


def test_nothing_is_replaced(opened: Bundle, tmp_path: Path) -> None:
    taken = tmp_path / "models"
    taken.mkdir()
    (taken / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="already there; give another name, or remove it"):
        write_repository(opened, taken, RepositorySettings())
    assert [path.name for path in tmp_path.rglob("*")] == ["models", "mine.txt"]
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="already there"):
        write_repository(opened, link, RepositorySettings())


def test_what_appears_meanwhile_is_not_replaced(opened: Bundle, tmp_path: Path) -> None:
    target = tmp_path / "models"

    def report(line: str) -> None:
        target.mkdir(exist_ok=True)
        (target / "mine.txt").write_text("mine")

    with pytest.raises(InputError, match="cannot be written"):
        write_repository(opened, target, RepositorySettings(), report)
    assert [path.name for path in tmp_path.rglob("*")] == ["models", "mine.txt"]


def test_a_repository_of_ours_is_replaced_if_it_is_asked_for(opened: Bundle, tmp_path: Path) -> None:
    target = tmp_path / "models"
    write_repository(opened, target, RepositorySettings(labels=("joy", "rage")))
    cached = target / "emo_edge/1/__pycache__/model.cpython-310.pyc"
    cached.parent.mkdir()
    cached.write_bytes(b"of the server")
    with pytest.raises(InputError, match=r"already there; .* or `overwrite`"):
        write_repository(opened, target, RepositorySettings())
    write_repository(opened, target, RepositorySettings(labels=("joy", "fear")), overwrite=True)
    assert parsed(target / "emo_edge").parameters["labels"].string_value == "joy,fear"
    assert not cached.exists() and [path.name for path in tmp_path.iterdir()] == ["models"]


def change_folder(folder: Path, change: str) -> None:
    if change == "git":
        (folder / ".git").mkdir()
        (folder / ".git/HEAD").write_text("ref")
    elif change == "empty file":
        (folder / "notes").write_text("")
    elif change == "empty folder":
        (folder / "mine").mkdir()
    elif change == "config":
        (folder / "vision/config.pbtxt").write_text("mine")
    elif change == "link":
        (folder / "link").symlink_to("/etc")
    else:
        (folder / "emo_edge/1/model.py").unlink()
        (folder / "emo_edge/1/model.py").symlink_to("/dev/zero")


@pytest.mark.parametrize("change", ["git", "empty file", "empty folder", "config", "link", "device"])
def test_nothing_of_the_users_is_replaced(opened: Bundle, tmp_path: Path, change: str) -> None:
    target = tmp_path / "models"
    write_repository(opened, target, RepositorySettings())
    change_folder(target, change)
    before = sorted(target.rglob("*"))
    with pytest.raises(
        InputError, match=r"models: (holds files that are not|was changed since).*; move or remove them"
    ):
        write_repository(opened, target, RepositorySettings(), overwrite=True)
    assert sorted(target.rglob("*")) == before and [path.name for path in tmp_path.iterdir()] == ["models"]


@pytest.mark.parametrize("listing", [None, "{}", "[", '{"files": []}'])
def test_a_folder_without_our_list_is_foreign(opened: Bundle, tmp_path: Path, listing: str | None) -> None:
    target = tmp_path / "models"
    (target / "emo_edge/1").mkdir(parents=True)
    (target / "emo_edge/config.pbtxt").write_text("mine")
    if listing is not None:
        (target / "emo_edge/1/written.json").write_text(listing)
    with pytest.raises(InputError, match="no repository of ours; give another name"):
        write_repository(opened, target, RepositorySettings(), overwrite=True)
    link = tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(InputError, match="already there; give another name"):
        write_repository(opened, link, RepositorySettings(), overwrite=True)


def test_plans_are_those_of_this_machine_s_cache(
    opened: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(recipe: Any, target: Path, **_: Any) -> Built:
        target.write_bytes(recipe.name.encode())
        return Built("tensorrt 10.3.0", target.stat().st_size, 1.0, timing_cache=False)

    monkeypatch.setattr(engine_cache, "engine_from_onnx", built)
    monkeypatch.setattr(repository, "this_machine", lambda: MACHINE)
    cache = EngineCache(tmp_path / "engines")
    monkeypatch.setattr(repository, "EngineCache", lambda: cache)
    with pytest.raises(DeviceError, match=r"vision fp32: no engine .* run emo-edge engines build"):
        write_repository(opened, tmp_path / "models", RepositorySettings("exact", plans=True))
    for part, graph in opened.manifest.components.graphs().items():
        cache.engine(plans.engine_recipe(opened, part, graph, "fp32"), MACHINE)
    write_repository(opened, tmp_path / "models", RepositorySettings("exact", plans=True))
    for part in ("vision", "connector", "face"):
        config = parsed(tmp_path / "models" / part)
        assert (config.platform, config.backend, config.max_batch_size) == ("tensorrt_plan", "tensorrt", 16)
        plan = tmp_path / "models" / part / "1" / config.default_model_filename
        assert plan.read_bytes() == f"{part} fp32".encode()


def test_plans_of_the_rtx_edition_are_refused(opened: Bundle, tmp_path: Path) -> None:
    graph = opened.manifest.components.graphs()["face"]
    machine = {"library": "tensorrt_rtx 1.5"}
    with pytest.raises(DeviceError, match="none that Triton loads"):
        plans.cached_plan(opened, "face", graph, "fp32", machine, EngineCache(tmp_path))


def test_the_command_says_what_it_wrote(opened: Bundle, tmp_path: Path) -> None:
    target = tmp_path / "models"
    run = CliRunner().invoke(main, ["export-triton", str(opened.directory), "--out", str(target)])
    assert (run.exit_code, run.stdout) == (0, f"{target}\n")
    assert run.stderr.splitlines() == [
        "vision: fp32, onnxruntime_onnx",
        "connector: fp32, onnxruntime_onnx",
        "face: fp32, onnxruntime_onnx",
        "emo_edge: exact, python",
    ]


def test_a_label_set_that_is_not_there_is_refused(opened: Bundle, tmp_path: Path) -> None:
    run = CliRunner().invoke(
        main, ["export-triton", str(opened.directory), "--out", str(tmp_path / "m"), "--labels", "nothing"]
    )
    assert run.exit_code == 4
    assert "nothing" in run.stderr
    assert not list(tmp_path.iterdir())


def test_a_missing_extra_is_named(opened: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tritonclient.grpc", None)
    run = CliRunner().invoke(main, ["export-triton", str(opened.directory), "--out", str(tmp_path / "m")])
    assert run.exit_code == 3
    assert 'pip install "emo-edge[triton]"' in run.stderr
    assert not list(tmp_path.iterdir())
