"""ONNX files of labels: upstream's arithmetic from the picture's file on, the contract's options, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from emo_edge.assets.packaged import packaged_samples
from emo_edge.bundle.reader import read_manifest
from emo_edge.cli.app import main
from emo_edge.errors import CheckpointError, InputError
from emo_edge.export.configs.checkpoint import LabelNetworkConfig
from emo_edge.export.importers.labels.emotieff import LABELS, checkpoint_from_emotieff
from emo_edge.export.importers.labels.onnx_graph import GraphContract, checkpoint_from_onnx_graph
from emo_edge.export.reference.label_network import GraphLabelNetwork, open_label_network
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import Request
from emo_edge.media.images import read_image

SAMPLE = packaged_samples(5)[4]
SIDE = 64
NUMBERS = {"zero": np.array(0.0), "one": np.array([1.0]), "two": np.array([2.0])}
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def run(*arguments: object) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def network(
    outputs: int = 8,
    side: int | str = SIDE,
    *,
    channels: int = 3,
    batch: int | str = "N",
    opset: int = 14,
    last: tuple[str, ...] = (),
) -> ModelProto:
    """A small EfficientNet of random weights: swish, a depthwise convolution, squeeze and excite, one dense layer.

    Its first padding follows from the picture's size, as PyTorch's exporter writes that of timm's ``tf_efficientnet``.
    """
    rng = np.random.default_rng(outputs)
    weights = {
        "stem": rng.normal(0, 0.3, (8, channels, 3, 3)),
        "stem_bias": rng.normal(0, 0.3, 8),
        "depth": rng.normal(0, 0.4, (8, 1, 3, 3)),
        "squeeze": rng.normal(0, 0.5, (2, 8, 1, 1)),
        "excite": rng.normal(0, 0.5, (8, 2, 1, 1)),
        "point": rng.normal(0, 0.5, (16, 8, 1, 1)),
        "classifier.weight": rng.normal(0, 1.5, (outputs, 16)),
        "classifier.bias": rng.normal(0, 0.5, outputs),
    }
    node = helper.make_node
    nodes = [
        node("Shape", ["input"], ["shape"]),
        node("Gather", ["shape", "rows"], ["height"], axis=0),
        node("Cast", ["height"], ["pixels"], to=TensorProto.FLOAT),
        node("Div", ["pixels", "two"], ["half"]),
        node("Ceil", ["half"], ["outer"]),
        node("Mul", ["outer", "two"], ["even"]),
        node("Sub", ["even", "pixels"], ["odd"]),
        node("Add", ["odd", "one"], ["needed"]),
        node("Clip", ["needed", "zero"], ["clipped"]),
        node("Cast", ["clipped"], ["last"], to=TensorProto.INT64),
        node("Concat", ["none", "last", "last"], ["pads"], axis=0),
        node("Pad", ["input", "pads"], ["padded"]),
        node("Conv", ["padded", "stem", "stem_bias"], ["c1"], strides=[2, 2]),
        node("Sigmoid", ["c1"], ["s1"]),
        node("Mul", ["c1", "s1"], ["a1"]),
        node("Conv", ["a1", "depth"], ["c2"], group=8, strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["c2"], ["a2"]),
        node("ReduceMean", ["a2"], ["mean"], axes=[2, 3], keepdims=1),
        node("Conv", ["mean", "squeeze"], ["q"]),
        node("Relu", ["q"], ["qa"]),
        node("Conv", ["qa", "excite"], ["e"]),
        node("Sigmoid", ["e"], ["gate"]),
        node("Mul", ["a2", "gate"], ["gated"]),
        node("MaxPool", ["gated"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["pool", "point"], ["c3"]),
        node("GlobalAveragePool", ["c3"], ["gap"]),
        node("Flatten", ["gap"], ["flat"]),
        node("Gemm", ["flat", "classifier.weight", "classifier.bias"], ["output"], transB=1),
    ]
    for kind in last:
        nodes[-1].output[0] = "before"
        nodes.append(node(kind, ["before"], ["output"]))
    weights |= NUMBERS
    tensors = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()]
    tensors.append(numpy_helper.from_array(np.array([2]), "rows"))
    tensors.append(numpy_helper.from_array(np.zeros(6, np.int64), "none"))
    graph = helper.make_graph(
        nodes,
        "main_graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, channels, side, side])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, outputs])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def saved(path: Path, model: ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def softmax(values: NDArray[Any]) -> NDArray[Any]:
    powers = np.exp(values - values.max())
    return np.asarray(powers / powers.sum())


def upstream_scores(model: Path, picture: NDArray[np.uint8], side: int = SIDE) -> NDArray[Any]:
    """Compute what upstream's recognizer gives for a face cut out of an RGB picture."""
    values = (cv2.resize(picture, (side, side)) / 255 - MEAN) / STD
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    scores = session.run(None, {"input": values.transpose(2, 0, 1)[None].astype(np.float32)})[0]
    return np.asarray(scores)[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("emotieff") / "enet_b0_8_va_mtl.onnx", network(10))


@pytest.fixture(scope="module")
def checkpoint(model: Path) -> Path:
    done = run("import", "emotieff", model, "--out", model.with_name("checkpoint"))
    assert done.exit_code == 0, done.output
    assert "enet_b0_8_va_mtl.onnx: pictures of 64 pixels, 8 labels, valence, arousal" in done.stderr
    return model.with_name("checkpoint")


@pytest.fixture(scope="module")
def bundle(checkpoint: Path) -> Path:
    target = checkpoint.with_name("bundle")
    done = run("export", checkpoint, "--out", target, "--limit", 14)
    assert done.exit_code == 0, done.output
    assert "reference: 14 pictures, the network's own file in ONNX Runtime" in done.stderr
    return target


@pytest.mark.parametrize(("profile", "precision", "bound"), [("exact", "fp32", 1e-4), ("balanced", "fp16", 0.01)])
def test_infer_gives_upstreams_probabilities(
    profile: str, precision: str, bound: float, model: Path, bundle: Path
) -> None:
    picture = cv2.cvtColor(cv2.imread(SAMPLE.source), cv2.COLOR_BGR2RGB)
    height, width = picture.shape[:2]
    done = run("infer", bundle, SAMPLE.source, "--whole-image", "--profile", profile, "--labels", "network", "--json")
    assert done.exit_code == 0, done.output
    reading = json.loads(done.stdout)[0]["readings"][0]
    scores = upstream_scores(model, picture)
    expected = softmax(scores[:8])
    assert np.ptp(expected) > 0.1, "weights too small to show a difference"
    assert (height, width) != (SIDE, SIDE), "the crop must be resized"
    assert list(reading["probabilities"]) == list(LABELS)
    assert list(reading["probabilities"].values()) == pytest.approx(expected.tolist(), abs=bound)
    assert reading["settings"]["variants"] == {"face": precision}
    assert (np.abs(scores[8:]) < 1).all(), "values that are cut to their scale would show no difference"
    assert list(reading["values"]) == ["valence", "arousal"]
    assert list(reading["values"].values()) == pytest.approx(scores[8:].tolist(), abs=bound)
    valence, arousal = (f"{value:+.2f}" for value in reading["values"].values())
    text = run("infer", bundle, SAMPLE.source, "--whole-image", "--profile", profile).stdout
    assert f"    valence {valence}, arousal {arousal}\n" in text
    table = run("infer", bundle, SAMPLE.source, "--whole-image", "--profile", profile, "--csv").stdout.splitlines()
    row = dict(zip(table[0].split(","), table[1].split(","), strict=True))
    assert float(row["value_valence"]) == pytest.approx(scores[8], abs=bound)
    assert float(row["value_arousal"]) == pytest.approx(scores[9], abs=bound)


def test_a_box_is_cut_and_stretched_as_upstream_does(model: Path, bundle: Path) -> None:
    picture = read_image(SAMPLE.source)
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = box = (width // 5, height // 6, width // 2, height - 9)
    with EmotionPipeline.open(bundle, device="cpu", profile="exact") as pipeline:
        given = pipeline.read(picture, Request(labels="network"), boxes=[box])[0].probabilities
    expected = softmax(upstream_scores(model, picture[y0:y1, x0:x1])[:8])
    assert list(given.values()) == pytest.approx(expected.tolist(), abs=1e-4)


def test_the_bundle_says_what_it_is(checkpoint: Path, model: Path, bundle: Path) -> None:
    assert {path.name for path in checkpoint.iterdir()} == {"config.json", "network.onnx"}
    assert (checkpoint / "network.onnx").read_bytes() == model.read_bytes()
    inspected, verified = run("inspect", bundle), run("verify", bundle)
    assert inspected.exit_code == verified.exit_code == 0
    assert "a network of labels: probabilities, no language model; detector mtcnn" in inspected.stdout
    assert f"label set network: {', '.join(LABELS)}" in inspected.stdout
    assert "distance from the imported ONNX file in ONNX Runtime" in inspected.stdout
    assert "label set affectnet8: neutral, happiness" in inspected.stdout
    assert "purpose: not for decisions about people" in inspected.stdout
    assert "value valence: -1 to 1\nvalue arousal: -1 to 1\n" in inspected.stdout


def test_values_that_the_user_names_are_those_of_upstream(bundle: Path, tmp_path: Path) -> None:
    """The general contract gives what `import emotieff` gives, whatever the length of a scale."""
    path = saved(tmp_path / "net.onnx", network(10))
    options = ("--labels", ",".join(LABELS), "--values", "valence:-2:2,arousal:-1:1")
    numbers = ("--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD)))
    done = run("import", "onnx", path, *options, *numbers, "--out", tmp_path / "new")
    assert done.exit_code == 0, done.output
    done = run("export", tmp_path / "new", "--out", tmp_path / "own", "--face", "fp32", "--limit", 2)
    assert done.exit_code == 0, done.output
    given = []
    for one in (bundle, tmp_path / "own"):
        with EmotionPipeline.open(one, device="cpu", profile="exact") as pipeline:
            given.append(pipeline.read(SAMPLE.source, boxes=[(0, 0, 90, 90)])[0])
    assert given[1].values == pytest.approx(given[0].values, abs=1e-6)
    assert given[1].probabilities == pytest.approx(given[0].probabilities, abs=1e-6)


def test_a_clips_values_are_the_mean_over_its_frames(bundle: Path) -> None:
    pictures = [read_image(sample.source) for sample in packaged_samples(3)]
    with EmotionPipeline.open(bundle, device="cpu", profile="exact") as pipeline:
        box = (0.0, 0.0, 64.0, 64.0)
        single = [pipeline.read(picture, boxes=[box])[0].values for picture in pictures]
        clip = pipeline.read_clip(pictures, boxes=[box])
    assert clip is not None and set(clip.values) == {"valence", "arousal"}
    for name in clip.values:
        assert clip.values[name] == pytest.approx(np.mean([values[name] for values in single]), abs=1e-6)


def test_values_go_through_calibration_and_bench(checkpoint: Path, bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    sizes = ("--samples", "synthetic:32", "--collect", 16, "--measure", 16)
    gate = "agreement>=0.5,kl<=1,cosine>=0.5"
    done = run("calibrate", copy, "--checkpoint", checkpoint, *sizes, "--int8-gate", gate)
    assert done.exit_code == 0, done.output
    evidence = read_manifest(copy).components.graph("face").variants["int8"].evidence
    assert 0 < evidence["values"]["mean_error"] < evidence["values"]["max_error"] < 1
    assert evidence["values"]["cosine"] > 0.9
    report = tmp_path / "report"
    options = ("--dataset", "synthetic:14", "--quick", "--cold", 0, "--profile", "int8", "--out", report)
    done = run("bench", copy, "--checkpoint", checkpoint, *options)
    assert done.exit_code == 0, done.output
    row = json.loads((report / "report.json").read_text())["rows"][1]
    for value in ("valence", "arousal"):
        assert 0 < row["against_reference"]["values"][value]["mean_error"] < 1
    assert "Values beside the labels, compared with full precision" in (report / "report.md").read_text()


@pytest.mark.parametrize(
    ("channels", "layout", "scale", "mean", "std"),
    [
        ("bgr", "nchw", 1.0, "103.9,116.8,123.7", "1"),
        ("grey", "nchw", 255.0, "0.5", "0.25"),
        ("rgb", "nhwc", 127.5, "1", "1"),
    ],
)
def test_the_contract_says_how_pictures_are_read(
    channels: str, layout: str, scale: float, mean: str, std: str, tmp_path: Path
) -> None:
    graph = network(3, "side", channels=1 if channels == "grey" else 3, opset=17)
    if layout == "nhwc":
        graph.graph.node.insert(0, helper.make_node("Transpose", ["nhwc"], ["input"], perm=[0, 3, 1, 2]))
        graph.graph.ClearField("input")
        graph.graph.input.append(helper.make_tensor_value_info("nhwc", TensorProto.FLOAT, ["N", None, None, 3]))
    path = saved(tmp_path / "net.onnx", graph)
    options = ("--channels", channels, "--layout", layout, "--scale", scale, "--mean", mean, "--std", std)
    done = run("import", "onnx", path, "--labels", "calm, fear,joy", "--size", 48, *options, "--out", tmp_path / "new")
    assert done.exit_code == 0, done.output
    opened = open_label_network(tmp_path / "new")
    assert isinstance(opened, GraphLabelNetwork) and opened.config.labels == ("calm", "fear", "joy")
    crops = np.random.default_rng(3).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    values = crops.astype(np.float64)
    if channels == "grey":
        values = values @ np.array([[0.299], [0.587], [0.114]])
    values = values[..., ::-1] if channels == "bgr" else values
    values = (values / scale - np.array(json.loads(f"[{mean}]"))) / np.array(json.loads(f"[{std}]"))
    feed = (values if layout == "nhwc" else values.transpose(0, 3, 1, 2)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = session.run(None, {session.get_inputs()[0].name: np.ascontiguousarray(feed)})[0]
    joined = onnxruntime.InferenceSession(opened.graph.model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.allclose(opened.graph_outputs(crops)["label_logits"], expected, atol=1e-4)
    assert np.allclose(joined.run(None, {"image": crops})[0], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "labels", "mean"),
    [("enet_b2_7", 7, 0.485), ("enet_b0_8_best_afew", 8, 0.485), ("mbf_va_mtl", 10, 0.5)],
)
def test_upstreams_name_decides(name: str, labels: int, mean: float, tmp_path: Path) -> None:
    checkpoint_from_emotieff(saved(tmp_path / f"{name}.onnx", network(labels)), tmp_path / "new")
    config = LabelNetworkConfig.from_pretrained(tmp_path / "new")
    assert config.labels == tuple(label for label in LABELS if labels != 7 or label != "contempt")
    assert config.network.model_dump()["image_mean"][0] == mean
    assert (config.crop.method, config.crop.resample, config.crop.margin) == ("stretched", "opencv_linear", 0)
    assert ("affectnet8" in config.label_sets) == (labels != 7) and "rafdb7" in config.label_sets


def test_an_open_size_is_upstreams(tmp_path: Path) -> None:
    lines: list[str] = []
    path = saved(tmp_path / "enet_b2_8.onnx", network(8, "side"))
    checkpoint_from_emotieff(path, tmp_path / "new", report=lines.append)
    assert lines == ["enet_b2_8.onnx: pictures of 260 pixels, 8 labels"]


@pytest.mark.parametrize("opset", [11, 12, 17])
def test_a_batch_of_one_and_old_operators_are_opened(opset: int, tmp_path: Path) -> None:
    path = saved(tmp_path / "net.onnx", network(8, batch=1, opset=opset))
    checkpoint_from_emotieff(path, tmp_path / "new")
    crops = np.random.default_rng(3).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    assert open_label_network(tmp_path / "new").graph_outputs(crops)["label_logits"].shape == (3, 8)


def changed(change: Callable[[ModelProto], object], **options: Any) -> Callable[[Path], bytes]:
    def content(folder: Path) -> bytes:
        model = network(**options)
        change(model)
        return bytes(model.SerializeToString())

    return content


def second_input(model: ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["N", 8]))


def second_output(model: ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("flat", TensorProto.FLOAT, ["N", 16]))


def control_flow(model: ModelProto) -> None:
    body = helper.make_graph([], "body", [], [helper.make_tensor_value_info("flat", TensorProto.FLOAT, None)])
    model.graph.node.append(helper.make_node("If", ["output"], ["x"], then_branch=body, else_branch=body))


def baked_batch(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 16]), "one_row"))
    next(node for node in model.graph.node if node.op_type == "Flatten").CopyFrom(
        helper.make_node("Reshape", ["gap", "one_row"], ["flat"])
    )


def wide(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 96


def unknown_type(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = 65


def halved(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    model.graph.node.insert(0, helper.make_node("Cast", ["input"], ["as_float"], to=TensorProto.FLOAT))
    for node in model.graph.node[1:]:
        node.input[:] = ["as_float" if name == "input" else name for name in node.input]


def channels_last(model: ModelProto) -> None:
    sizes = model.graph.input[0].type.tensor_type.shape.dim
    sizes[1].dim_value, sizes[3].dim_value = 64, 3
    model.graph.node.insert(0, helper.make_node("Transpose", ["input"], ["turned"], perm=[0, 3, 1, 2]))
    for node in model.graph.node[1:]:
        node.input[:] = ["turned" if name == "input" else name for name in node.input]


def infinite(model: ModelProto) -> None:
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "classifier.bias")
    bias.CopyFrom(numpy_helper.from_array(np.full(8, np.inf, np.float32), "classifier.bias"))


def nothing(model: ModelProto) -> None:
    pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(second_input), "has 2 inputs; a network of labels has one, the picture"),
        (changed(second_output), "has 2 outputs; a network of labels has one, its logits"),
        (changed(nothing, outputs=9), "gives 9 numbers a picture, and there are 8 labels"),
        (changed(nothing, outputs=5), "gives 5 numbers a picture, and there are 8 labels"),
        (lambda folder: b"what a text file holds\n", "net.onnx: no usable ONNX graph"),
        (lambda folder: b"<!DOCTYPE html>", "an HTML page, not the file"),
        (lambda folder: b"", "net.onnx: no usable ONNX graph"),
        (changed(nothing, side="side"), "leaves the size of its pictures open; give --size"),
        (changed(control_flow), "net.onnx: no usable ONNX graph"),
        (changed(baked_batch, batch=1), "reads one picture at a time; export it with a batch axis that varies"),
        (changed(wide), "reads pictures of 64x96 pixels; a network of labels reads squares"),
        (changed(nothing, channels=1), "give --size, --channels and --layout that fit it"),
        (changed(unknown_type), "reads type 65;"),
        (changed(halved), "reads float16; a network of labels reads float32: export it in that type, before"),
        (changed(channels_last), "reads ['N', 64, 64, 3], not ['N', 3, 64, 64]; --layout nhwc fits it"),
        (changed(infinite), "gives numbers that are not finite"),
        (changed(nothing, last=("Softmax",)), "gives probabilities, not logits; export it without its last Softmax"),
        (
            changed(nothing, last=("Sigmoid",)),
            "gives a Sigmoid of each label, not logits; export it without",
        ),
    ],
)
def test_what_does_not_hold_the_contract_is_one_error(
    content: Callable[[Path], bytes], message: str, tmp_path: Path
) -> None:
    (tmp_path / "net.onnx").write_bytes(content(tmp_path))
    done = run("import", "onnx", tmp_path / "net.onnx", "--labels", "affectnet8", "--out", tmp_path / "new")
    assert (done.exit_code, message in done.stderr) == (5, True), done.output
    assert len(done.stderr.strip().splitlines()) == 1 and not (tmp_path / "new").exists()


def test_options_that_do_not_fit_are_refused(model: Path, tmp_path: Path) -> None:
    for options, code, message in (
        (["--labels", "fear"], 4, "--labels fear: choose from rafdb7"),
        (["--labels", "fear,fear"], 4, "give two or more different labels"),
        (["--labels", "fear,joy"], 5, "there are 2 labels; name the labels' columns with --labels, and numbers"),
        (["--labels", "fear,joy", "--values", "valence:-1:1"], 5, "there are 2 labels and 1 values"),
        (["--labels", "fear,joy", "--values", "valence"], 4, "give NAME:LOW:HIGH with commas, such as valence:-1:1"),
        (["--labels", "fear,joy", "--values", "valence:1:-1"], 4, "--values valence:1:-1: give NAME:LOW:HIGH"),
        (["--labels", "fear,joy", "--values", "a:0:1,a:0:2"], 4, "--values has a twice"),
        (["--labels", "fear,joy", "--size", "48"], 5, "reads pictures of 64 pixels, not 48; leave --size out"),
        (["--labels", "fear,joy", "--mean", "1,2"], 4, "--mean has 2 numbers: give one, or 3 for rgb"),
        (["--labels", "fear,joy", "--std", "a"], 2, "is no list of numbers"),
        (["--labels", "fear,joy", "--std", "1,0,1"], 4, "--std 1, 0, 1: it divides, so give numbers above 0"),
    ):
        done = run("import", "onnx", model, *options, "--out", tmp_path / "new")
        assert (done.exit_code, message in done.stderr) == (code, True), done.output
    with pytest.raises(CheckpointError, match="no such file"):
        checkpoint_from_emotieff(tmp_path / "none.onnx", tmp_path / "new")
    with pytest.raises(CheckpointError, match="no plain file; it is the ONNX file"):
        checkpoint_from_emotieff(tmp_path, tmp_path / "new")
    with pytest.raises(InputError, match="two or more different labels"):
        checkpoint_from_onnx_graph(model, tmp_path / "new", GraphContract(("fear", "")))


def test_a_checkpoint_whose_parts_do_not_fit_is_refused(model: Path, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    with pytest.raises(CheckpointError, match="no such file; it is the network of this checkpoint"):
        open_label_network(tmp_path)
    saved(tmp_path / "network.onnx", network(8))
    with pytest.raises(CheckpointError, match="gives 8 numbers a picture, and there are 8 labels and 2 values"):
        open_label_network(tmp_path)
    saved(tmp_path / "network.onnx", network(11))
    with pytest.raises(CheckpointError, match="has 11 outputs, the config says 10"):
        open_label_network(tmp_path)
    values = json.loads((checkpoint / "config.json").read_text())
    for name, message in (
        ("resnet", "network.architecture must be mini_xception or onnx_graph"),
        ("mini_xception", ""),
    ):
        with pytest.raises(CheckpointError, match=message or r"network\.layout: unknown key"):
            LabelNetworkConfig.from_dict(values | {"network": values["network"] | {"architecture": name}})
