"""The config as data: published sizes, every problem in one error, and what is written reads back equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from emo_edge.bundle.sections import LiveLabels
from emo_edge.errors import CheckpointError
from emo_edge.export.configs.action_units import SaclConfig
from emo_edge.export.configs.checkpoint import EmoLlamaConfig, FaceXFormerConfig
from emo_edge.export.configs.networks import ConnectorConfig
from emo_edge.export.reference.weights import check_layers


def problems(values: Any) -> list[str]:
    """The problems as listed, after a first line that counts them."""
    with pytest.raises(CheckpointError) as caught:
        EmoLlamaConfig.from_dict(values)
    first, *rest = str(caught.value).splitlines()
    assert first == f"config.json has {len(rest)} problem(s):"
    return [line.strip() for line in rest]


@pytest.mark.parametrize(
    ("compress_type", "face_info", "tokens"),
    [
        ("none", True, 1 + 256 + 4),
        ("mean", True, 1 + 1 + 4),
        ("grid:4", True, 1 + 16 + 4),
        ("none", False, 257),
        ("mean", False, 2),
        ("grid:4", False, 17),
    ],
)
def test_published_sizes_give_the_published_token_counts(compress_type: str, face_info: bool, tokens: int) -> None:
    config = EmoLlamaConfig(connector=ConnectorConfig(compress_type=compress_type))
    if not face_info:
        config = config.model_copy(update={"face_info": None})
    assert config.tokens_per_frame == tokens


def test_emola_has_its_patches_and_one_landmark_token() -> None:
    values = {
        "vision": {"tower": "clip", "image_size": 336, "hidden_size": 1024, "num_layers": 23, "mlp_size": 4096},
        "connector": {"compress_type": "none", "qformer": None},
        "face": None,
        "face_info": None,
        "landmark": {},
    }
    config = EmoLlamaConfig.from_dict(values)
    assert (config.visual_tokens_per_frame, config.tokens_per_frame) == (576, 577)
    listed = problems({**values, "face": {}, "connector": {"projector_type": "identity"}})
    assert listed[:2] == [
        "landmark: landmark takes the place of face: one network reads the face's crop",
        "landmark: landmark needs a projector, connector.projector_type identity is none",
    ]


def test_defaults_are_llama_vid_7b_and_swin_b() -> None:
    config = EmoLlamaConfig.from_dict({})
    vision, qformer, face, language = config.vision, config.connector.qformer, config.face, config.language
    assert face is not None and qformer is not None
    assert (vision.image_size, vision.patch_size, vision.hidden_size, vision.num_layers) == (224, 14, 1408, 39)
    assert (vision.num_heads, vision.mlp_size, vision.grid) == (16, 6144, 16)
    assert (qformer.hidden_size, qformer.num_layers, qformer.num_queries, qformer.vocab_size) == (768, 12, 32, 30523)
    assert (face.embed_dim, face.depths, face.num_heads, face.map_size) == (128, (2, 2, 18, 2), (4, 8, 16, 32), 56)
    assert (language.hidden_size, language.intermediate_size, language.num_hidden_layers) == (4096, 11008, 32)
    assert (config.connector.projector_depth, config.connector.pool_grid) == (2, 1)


def test_every_problem_of_every_part_is_in_one_error() -> None:
    listed = problems(
        {
            "vision": {"image_size": 225, "num_heads": 3},
            "connector": {"compress_type": "grid:1", "projector_type": "mlp0x_gelu", "qformer": {"heads": 4}},
            "face": None,
            "face_info": {"hidden_size": 30},
            "language": {"vocab_size": 0, "rope_theta": -1.0},
            "prompt": {"template": "USER: {question}", "classify": "Which?", "demographics": "{race} {gender} {hat}"},
            "face_labels": {"gender": ["Male"], "race": []},
            "label_sets": {"twice": ["joy", "joy"], "lonely": ["joy"], "fine": ["joy", "fear"]},
            "surprise": 1,
        }
    )
    expected = [
        "vision: vision.image_size must be a multiple of patch_size",
        "vision: vision.hidden_size must be a multiple of num_heads",
        "connector.qformer.heads: unknown key",
        "connector: connector.compress_type 'grid:1' is not one of none, mean, grid:N (N > 1)",
        "connector: connector.projector_type 'mlp0x_gelu' is not one of identity, linear, mlp{N}x_gelu, "
        "ldpnet, ldpnetv2",
        "face_info: face_info.hidden_size must be a multiple of num_heads",
        "language.vocab_size: Input should be greater than or equal to 1",
        "language.rope_theta: Input should be greater than or equal to 1",
        "prompt: prompt.template must hold <image> exactly once",
        "prompt: prompt.template lacks {demographics} after <image>",
        "prompt: prompt.classify lacks {medium}, {labels}",
        "prompt: prompt.demographics lacks {age}",
        "prompt: prompt.demographics has {hat}, which nothing fills",
        "face_labels: face_labels.gender needs 2 names, one per output row",
        "face_labels: face_labels.race needs 5 names, one per output row",
        "label_sets: label_sets.twice needs two or more different labels",
        "label_sets: label_sets.lonely needs two or more different labels",
        "surprise: unknown key",
    ]
    assert sorted(listed) == sorted(expected)


def test_problems_between_parts_join_problems_inside_parts() -> None:
    listed = problems(
        {
            "connector": {"compress_type": "grid:3", "projector_type": "identity"},
            "face": None,
            "prompt": {"colour": "red"},
        }
    )
    assert listed == [
        "connector: connector.compress_type 'grid:3' does not divide the 16x16 patch map",
        "face_info: face_info needs face: it reads the face map",
        "prompt.colour: unknown key",
    ]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"visoin": {}}, "visoin: unknown key"),
        ({"face": {"patches": 4}}, "face.patches: unknown key"),
        ({"connector": {"qformer": {"width": 4}}}, "connector.qformer.width: unknown key"),
        ({"connector": {"compress_type": "grid:1"}}, "'grid:1' is not one of none, mean, grid:N (N > 1)"),
        ({"connector": {"compress_type": "grid:5"}}, "'grid:5' does not divide the 16x16 patch map"),
        ({"connector": {"compress_type": "grid:32"}}, "'grid:32' does not divide the 16x16 patch map"),
        ({"connector": {"compress_type": "grid:02"}}, "'grid:02' is not one of none, mean, grid:N (N > 1)"),
        (
            {"connector": {"projector_type": "mlp"}},
            "'mlp' is not one of identity, linear, mlp{N}x_gelu, ldpnet, ldpnetv2",
        ),
        ({"connector": {"projector_type": "identity"}}, "needs vision.hidden_size == language.hidden_size"),
        ({"connector": {"qformer": {"max_question_tokens": 513}}}, "must not exceed max_positions"),
        ({"connector": {"qformer": {"max_question_tokens": 2}}}, "must leave room for a word"),
        ({"face": {"num_heads": [4, 8, 16, 3]}}, "face stage 4: width 1024 must be a multiple of its 3 heads"),
        ({"face": {"decoder_dim": 20, "decoder_heads": 2}}, "face.decoder_dim must be a multiple of 8"),
        ({"face": {"depths": [2, 2, 2]}}, "face.depths"),
        ({"language": {"num_attention_heads": 3, "num_key_value_heads": 1}}, "must be an even multiple of its heads"),
        ({"language": {"num_key_value_heads": 5}}, "must be a multiple of num_key_value_heads"),
        ({"language": {"eos_token_id": 32000}}, "language.eos_token_id must be below vocab_size"),
        ({"language": {"bos_token_id": True}}, "language.bos_token_id: Input should be a valid integer"),
        ({"prompt": {"template": "{demographics}<image> {question}"}}, "lacks {demographics} after <image>"),
        ({"prompt": {"template": "<image> {demographics}"}}, "prompt.template lacks {question}"),
        ({"prompt": {"template": "<image><image>{question}{demographics}"}}, "must hold <image> exactly once"),
        ({"prompt": {"classify": "{medium} {{labels}}"}}, "prompt.classify lacks {labels}"),
        ({"prompt": {"classify": "{medium} {labels} {"}}, "a literal brace is written twice"),
        (
            {"prompt": {"classify": "{medium} {labels} {labels:>99999999}"}},
            "has {labels:>99999999}, which nothing fills",
        ),
        ({"prompt": {"classify": "{medium} {labels} {labels.__class__}"}}, "which nothing fills"),
        ({"label_sets": {"none": []}}, "label_sets.none needs two or more different labels"),
        ({"vision": {"image_std": [0, 1, 1]}}, "vision.image_std.0: Input should be greater than or equal to 0.001"),
        ({"vision": {"image_mean": [0, 2, 0]}}, "vision.image_mean.1: Input should be less than or equal to 1"),
        ({"config_version": 2}, "config_version"),
        ({"model_type": "llava"}, "model_type"),
    ],
)
def test_a_problem_is_named(values: Any, named: str) -> None:
    (problem,) = problems(values)
    assert named in problem


@pytest.mark.parametrize("size", [-1, 0, (1 << 20) + 1, 10**30, True, False, 1.0, 2.5, "8", None, [8]])
@pytest.mark.parametrize(
    ("part", "name"), [("vision", "num_layers"), ("language", "vocab_size"), ("face_info", "num_tokens")]
)
def test_a_size_is_an_integer_from_one_to_a_million(part: str, name: str, size: Any) -> None:
    (problem,) = problems({part: {name: size}})
    assert problem.startswith(f"{part}.{name}: ")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("name", ["layer_norm_eps", "crop_margin"])
def test_json_that_is_not_finite_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "config.json").write_text(f'{{"vision": {{"{name}": {text}}}}}')
    with pytest.raises(CheckpointError, match=f"vision.{name}"):
        EmoLlamaConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize("values", [[], 1, None, "config", [{}]])
def test_json_that_is_not_an_object_is_refused(tmp_path: Path, values: Any) -> None:
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="config: Input should be"):
        EmoLlamaConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\x00\xff\xfe\x80garbage", b'{"vision": }', b"[" * 100_000, b'{"config_version": ' + b"1" * 5000],
    ids=["empty", "cut", "binary", "syntax", "deep", "endless number"],
)
def test_a_file_that_is_not_json_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        EmoLlamaConfig.from_pretrained(tmp_path)
    assert str(caught.value).startswith(f"{path}: not readable as JSON: ")


def test_a_missing_file_and_a_folder_in_its_place_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no such file; a checkpoint is a directory with config\.json"):
        EmoLlamaConfig.from_pretrained(tmp_path / "absent")
    (tmp_path / "config.json").mkdir()
    with pytest.raises(CheckpointError, match="not readable as JSON"):
        EmoLlamaConfig.from_pretrained(tmp_path)


def heads_and_width(multiple: int = 1) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(1, 8), st.integers(1, 8)).map(lambda pair: (pair[0], pair[0] * pair[1] * multiple))


@st.composite
def small_configs(draw: st.DrawFn) -> dict[str, Any]:
    """Valid settings of every part, as the JSON of a checkpoint would hold them."""
    patch, grid, cell = draw(st.integers(1, 16)), draw(st.integers(2, 5)), draw(st.integers(1, 3))
    heads, width = draw(heads_and_width())
    q_heads, q_width = draw(heads_and_width())
    l_heads, l_width = draw(heads_and_width(multiple=2))
    i_heads, i_width = draw(heads_and_width())
    compress = draw(st.sampled_from(["none", "mean", f"grid:{grid}"]))
    face = {"image_size": 4 * draw(st.integers(1, 64)), "num_heads": [1, 2, 4, 8], "embed_dim": draw(st.integers(1, 9))}
    with_face, with_info = draw(st.booleans()), draw(st.booleans())
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    name = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,63}", fullmatch=True)
    return {
        "vision": {
            "image_size": patch * grid * cell,
            "patch_size": patch,
            "hidden_size": width,
            "num_heads": heads,
            "crop_margin": draw(st.floats(0, 4)),
            "layer_norm_eps": draw(st.floats(1e-30, 1, exclude_min=True)),
        },
        "connector": {
            "compress_type": compress,
            "projector_type": draw(st.sampled_from(["linear", "mlp1x_gelu", "mlp2x_gelu", "mlp9x_gelu"])),
            "qformer": {"hidden_size": q_width, "num_heads": q_heads},
        },
        "face": face if with_face else None,
        "face_info": {"hidden_size": i_width, "num_heads": i_heads} if with_face and with_info else None,
        "language": {
            "hidden_size": l_width,
            "num_attention_heads": l_heads,
            "num_key_value_heads": draw(st.sampled_from([1, l_heads])),
        },
        "label_sets": draw(
            st.dictionaries(name, st.lists(text, min_size=2, max_size=4, unique=True), min_size=0, max_size=2)
        ),
        "provenance": draw(st.dictionaries(text, text, max_size=2)),
    }


@given(values=small_configs())
def test_a_valid_config_reads_back_equal(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    directory = tmp_path_factory.mktemp("config")
    config = EmoLlamaConfig.from_dict(values)
    config.save_pretrained(directory)
    assert EmoLlamaConfig.from_pretrained(directory) == config
    content = {"none": config.vision.grid**2, "mean": 1}.get(config.connector.compress_type)
    faces = config.face_info.num_tokens if config.face_info else 0
    assert config.tokens_per_frame == 1 + (content or (config.connector.pool_grid or 0) ** 2) + faces


def test_the_defaults_read_back_equal(tmp_path: Path) -> None:
    EmoLlamaConfig().save_pretrained(tmp_path)
    assert EmoLlamaConfig.from_pretrained(tmp_path) == EmoLlamaConfig()


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        EmoLlamaConfig().vision.image_size = 8


def test_an_unknown_key_hides_no_impossible_size_of_its_section() -> None:
    values = {"vision": {"hiden": 3, "num_heads": 7}, "language": {"hidden_size": -1}, "typo": 1}
    with pytest.raises(CheckpointError) as caught:
        EmoLlamaConfig.from_dict(values)
    message = str(caught.value)
    for part in ("4 problem(s)", "vision.hiden: unknown key", "num_heads", "language.hidden_size", "typo: unknown key"):
        assert part in message, message
    assert values["vision"] == {"hiden": 3, "num_heads": 7}


LARGE = {
    "vision.num_layers": 1 << 20,
    "vision.hidden_size": 1 << 20,
    "vision.image_size": 1 << 20,
    "vision.layer_norm_eps": 1e300,
    "connector.qformer.num_layers": 1 << 20,
    "connector.qformer.num_queries": 1 << 20,
    "connector.qformer.layer_norm_eps": 1e-320,
    "face.mlp_ratio": 1e300,
    "face.window_size": 1 << 20,
    "face.decoder_depth": 1 << 20,
    "face.image_std": [1e-320, 1, 1],
    "face_info.global_grid": 1 << 20,
    "landmark.image_size": 1 << 20,
    "language.num_hidden_layers": 1 << 20,
    "language.hidden_size": 1 << 20,
    "language.vocab_size": 1 << 21,
    "language.rope_theta": 1e300,
    "language.rms_norm_eps": -1.0,
}


@pytest.mark.parametrize("field", LARGE)
def test_a_size_that_nothing_could_build_is_named_at_once(field: str) -> None:
    *parts, last = field.split(".")
    values: dict[str, Any] = {}
    inner = values
    for part in parts:
        inner = inner.setdefault(part, {})
    inner[last] = LARGE[field]
    assert any(field in line and "should be" in line for line in problems(values))


def test_a_tower_of_more_patches_than_attend_to_each_other_is_refused() -> None:
    listed = problems({"vision": {"image_size": 2048, "patch_size": 8}, "face": {"image_size": 2048, "patch_size": 4}})
    assert "vision: vision.image_size must be at most 128 times patch_size" in listed
    assert "face: face.image_size must be at most 256 times patch_size" in listed


@pytest.mark.parametrize("value", [str(10**400), "NaN", '"\\ud800"', "[" * 600 + "]" * 600, "1e999"])
def test_a_value_that_no_field_holds_is_one_error_that_names_it(value: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(f'{{"face": {{"mlp_ratio": {value}}}}}', encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"not readable as JSON: .*(face\.mlp_ratio|nested deeper than)"):
        EmoLlamaConfig.from_pretrained(tmp_path)


def test_more_layers_than_there_are_weights_are_refused_before_anything_is_built(tmp_path: Path) -> None:
    config = EmoLlamaConfig.from_dict({"face": None, "face_info": None, "language": {"num_hidden_layers": 200}})
    assert config.layers == 39 + 12 + 200
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"config.json asks for 251 layers, and the weights are 1 tensors"):
        check_layers(config.layers, tmp_path)


def test_a_checkpoint_without_live_labels_is_written_as_before() -> None:
    assert EmoLlamaConfig().live is None and "live" not in EmoLlamaConfig().model_dump()
    fitted = EmoLlamaConfig(live=LiveLabels(unchanged=1.5))
    assert EmoLlamaConfig.from_dict(fitted.model_dump(mode="json")) == fitted


@pytest.mark.parametrize("kind", [EmoLlamaConfig, FaceXFormerConfig])
def test_action_units_are_written_only_where_there_are_some(kind: type[EmoLlamaConfig | FaceXFormerConfig]) -> None:
    units = SaclConfig(units=(1, 4, 12, 25), intensity=True, hidden_size=32, thresholds=(0.3, 0.5, 0.625, 0.7))
    assert "action_units" not in kind().model_dump() and "action_units" not in json.loads(kind().model_dump_json())
    config = kind(action_units=units)
    assert kind.from_dict(json.loads(config.model_dump_json())) == config


def test_action_units_need_a_face_network_and_fitting_settings() -> None:
    values = {"face": None, "face_info": None, "action_units": {"units": [1, 4, 12, 25]}}
    assert problems(values) == ["action_units: action_units needs face: it reads the face trunk"]
    (problem,) = problems({"action_units": {"units": [1, 1, 2, 4]}})
    assert problem == "action_units: units name one unit twice"
    (problem,) = problems({"action_units": {"units": [1, 2, 4, 5], "thresholds": [0.5]}})
    assert "thresholds has 1 numbers for 4 units" in problem
