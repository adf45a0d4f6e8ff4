"""Manifests of strangers: every one is a bundle or one error that names the field, within two seconds."""

from __future__ import annotations

import copy
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from emo_edge.bundle.manifest import LARGEST_CONTEXT, LARGEST_CROP, OUTPUTS, manifest_from_json
from emo_edge.cli.inspect import described
from emo_edge.errors import BundleError
from emo_edge.utils.json_values import DEEPEST, json_values
from emo_edge.utils.text import UNPRINTABLE

SEED, MUTATIONS = 24, 400
FILE = {"size": 1, "sha256": "0" * 64}
FIGURES = {"label_agreement": 1.0, "label_agreement_low": 0.9, "label_agreement_high": 1.0, "war": 0.5, "samples": 7.0}
HEADS = {"age": 8, "gender": 2, "race": 5, "attributes": 40}


def graph(part: str) -> dict[str, Any]:
    inputs = [{"name": "image", "dtype": "uint8", "shape": ["N", 8, 8, 3]}]
    if part == "connector":
        inputs.append({"name": "question_ids", "dtype": "int64", "shape": ["N", "L"]})
    outputs = [
        {"name": name, "dtype": "float32", "shape": ["N", HEADS[name]] if name in HEADS else ["N"]}
        for name in sorted(OUTPUTS[part])
    ]
    variant = {"files": [{"path": f"{part}.onnx", **FILE}], "evidence": {"labels": dict(FIGURES)}}
    return {"inputs": inputs, "outputs": outputs, "variants": {"fp32": variant}}


def manifest() -> dict[str, Any]:
    language = {"f16": {"files": [{"path": "language.gguf", **FILE}]}}
    parts = {part: graph(part) for part in ("vision", "connector", "face")}
    profile = {"vision": "fp32", "connector": "fp32", "face": "fp32", "language": "f16", "evidence": dict(FIGURES)}
    return {
        "bundle_version": 1,
        "name": "toy",
        "components": {**parts, "language": {"context_size": 64, "embedding_size": 8, "variants": language}},
        "preprocessing": {
            "vision": {"method": "padded", "size": 8, "margin": 0.5, "fill": [0.1, 0.2, 0.3]},
            "face": {"method": "stretched", "size": 8, "margin": 0.25},
        },
        "layout": [
            {"kind": "begin"},
            {"kind": "text", "text": "USER: "},
            {"kind": "frames", "groups": [{"name": "context", "count": 1, "component": "connector"}]},
            {"kind": "text", "text": "{demographics}{question} ASSISTANT:"},
        ],
        "prompt": {},
        "label_sets": {"two": ["joy", "fear"]},
        "face_labels": {},
        "question_tokenizer": {"path": "tokenizer.json", **FILE},
        "max_question_tokens": 16,
        "scoring": {"temperature": 1.0},
        "engines": {"rows": {"likely": 1, "most": 16}},
        "profiles": {"exact": profile},
        "default_profile": "exact",
        "provenance": {"note": "toy"},
    }


def at(values: Any, path: str) -> tuple[Any, Any]:
    """Return the container of a path and the last key."""
    *parts, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parts:
        values = values[part]
    return values, last


def error_of(text: str | bytes) -> str:
    with pytest.raises(BundleError) as raised:
        manifest_from_json(text)
    return str(raised.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("preprocessing.vision.size", 25_000),
        ("preprocessing.face.size", LARGEST_CROP + 1),
        ("components.language.context_size", 1 << 20),
        ("components.language.context_size", LARGEST_CONTEXT + 1),
        ("components.language.embedding_size", 10**18),
        ("components.vision.inputs.0.shape", ["N", 1 << 19, 1 << 19, 3]),
        ("components.vision.inputs.0.shape", ["N"] * 9),
        ("components.vision.variants.fp32.files.0.size", 10**18),
        ("components.vision.variants.fp32.evidence.labels.war", "NaN"),
        ("components.vision.variants.fp32.evidence.labels.war", "inf"),
        ("components.vision.variants.fp32.evidence.labels.war", 1.5),
        ("components.vision.variants.fp32.evidence.labels.samples", -1.0),
        ("components.vision.variants.fp32.evidence.labels.label_agreement_high", 1e300),
        ("components.vision.variants.fp32.evidence.labels.kl_mean", -1.0),
        ("components.vision.variants.fp32.evidence.labels.cosine", 2.0),
        ("components.vision.variants.fp32.evidence.labels.anything", -1e300),
        ("components.vision.variants.fp32.evidence.labels.\x1b[2J", 1e300),
        ("components.vision.variants.fp32.files.0.path", "a\x1b[31m.onnx"),
        ("layout.3.text", "{question}" * 700_000),
        ("layout.3.text", "{question}" * 9),
        ("layout.2.groups.0.count", 1 << 20),
        ("prompt.classify", "{medium}{labels}" * 700_000),
        ("prompt.classify", "{medium}{labels}" * 5),
        ("prompt.template", "<image>{demographics}" + "{question}" * 9),
        ("label_sets.two", [f"label {number}" for number in range(513)]),
        ("label_sets.two", ["joy", "fear\x1b]0;x\x07"]),
        ("label_sets.two", ["joy", "\u202eraef"]),
        ("label_sets.two", ["joy", "two\nlines"]),
        ("label_sets.two", ["joy", ""]),
        ("face_labels.gender", ["a", "\x9b31m"]),
        ("name", "x" * 257),
        ("name", "\x1b[2J"),
        ("provenance.note", "\x1b[2J"),
        ("max_question_tokens", 1 << 20),
        ("scoring.temperature", 1e-320),
        ("engines.rows.most", 1 << 20),
    ],
)
def test_a_value_out_of_bounds_is_one_error_that_names_it(path: str, value: Any) -> None:
    values = manifest()
    container, key = at(values, path)
    container[key] = value
    message = error_of(json.dumps(values))
    assert path.split(".")[0] in message
    assert not UNPRINTABLE.search(message)
    assert len(message) < 2000


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"a": {"b": NaN}}', "a.b: NaN"),
        ('{"a": [0, -Infinity]}', "a.1: -Infinity"),
        ('{"a": 1e400}', "a: '1e400'"),
        (f'{{"a": {10**400}}}', "a: a number of 401 digits"),
        (f'{{"a": {"9" * 5000}}}', "a: a number of 5000 digits"),
        ('{"a": {"b": 1, "b": 2}}', "a.b: this key is there twice"),
        ('{"a": "\\ud800"}', "a: half a surrogate pair"),
        ('{"\\udfff": 1}', "half a surrogate pair"),
        ('{"a": ' + "[" * 65 + "]" * 65 + "}", f"more than {DEEPEST} levels"),
        ('{"a": ' + '{"a": ' * 600 + "1" + "}" * 601, f"more than {DEEPEST} levels"),
        ("[" * 100_000 + "]" * 100_000, f"more than {DEEPEST} levels"),
        ('{"layout": [' + "0, " * 70_000 + "0]}", "layout: too many values"),
        ("NaN", "the file: NaN"),
        ("", "not readable as JSON"),
        (b"\xff\xfe\x00", "not readable as JSON"),
    ],
)
def test_what_json_has_not_is_one_error_that_names_it(text: str | bytes, named: str) -> None:
    assert named in error_of(text)


@pytest.mark.parametrize("text", ["1", '"a"', "[]", "null", "true", "{}"])
def test_another_value_is_no_manifest(text: str) -> None:
    assert "manifest.json has" in error_of(text)


@pytest.mark.parametrize("missing", ["label_agreement", "label_agreement_low", "label_agreement_high"])
def test_an_interval_needs_its_partners(missing: str) -> None:
    values = manifest()
    del values["profiles"]["exact"]["evidence"][missing]
    assert f"profiles.exact.evidence: an interval without {missing}" in error_of(json.dumps(values))


def test_figures_of_a_task_have_the_bounds_of_all_others() -> None:
    task = {"status": "trained", "evidence": {"judgement": {"auc_yes_no": 1e300}}}
    values = manifest() | {"bundle_version": 2, "tasks": {"expression": task}}
    assert "tasks.expression: 'auc_yes_no' 1e+300 is not from 0 to 1" in error_of(json.dumps(values))


def test_what_rounding_leaves_beside_a_bound_is_allowed() -> None:
    values = manifest()
    figures = values["components"]["face"]["variants"]["fp32"]["evidence"]["labels"]
    figures |= {"cosine": 1.0000002, "kl_mean": -1e-17, "relative_error": 3e29, "perplexity": 1e26, "nll_raw": 6000.0}
    assert (
        manifest_from_json(json.dumps(values)).components.graph("face").variants["fp32"].evidence["labels"] == figures
    )


def test_a_difference_needs_its_interval() -> None:
    values = manifest()
    values["components"]["face"]["variants"]["fp32"]["evidence"]["labels"]["war_delta"] = 0.1
    assert "evidence.labels: an interval without war_delta_low" in error_of(json.dumps(values))


def test_a_head_has_a_name_for_each_row() -> None:
    values = manifest()
    next(one for one in values["components"]["face"]["outputs"] if one["name"] == "age")["shape"] = ["N", 9]
    assert "components.face: age has 9 rows, not 8" in error_of(json.dumps(values))


def test_an_error_names_some_of_many_problems_and_no_escapes() -> None:
    values = manifest() | {f"\x1b[{number}m": 1 for number in range(1000)}
    message = error_of(json.dumps(values))
    assert "1000 problem(s)" in message
    assert len(message.splitlines()) == 52
    assert not UNPRINTABLE.search(message)


def places(values: Any) -> Iterator[tuple[Any, Any]]:
    for key, inner in list(values.items() if isinstance(values, dict) else enumerate(values)):
        yield values, key
        if isinstance(inner, dict | list):
            yield from places(inner)


def nested(value: Any) -> Any:
    for _ in range(100):
        value = [value]
    return value


CHANGES: tuple[Callable[[Any], Any], ...] = (
    *(
        lambda old, new=new: new
        for new in (None, 0, -1, 1, 2**63, 10**400, 0.5, -0.0, math.nan, math.inf, True, "", "x")
    ),
    *(lambda old, new=new: new for new in ("\ud800", "\x1b[31m", "é" * 300, "{question}" * 50, "{", "{0}", [], {})),
    lambda old: [old] * 200,
    lambda old: {"x": old},
    lambda old: {f"k{number}": old for number in range(200)},
    lambda old: str(old),
    nested,
    lambda old: old * 1000 if isinstance(old, str) else old,
)


def test_mutated_manifests_are_bundles_or_one_error() -> None:
    draw, plain = random.Random(SEED), manifest()
    read = slowest = 0.0
    for _ in range(MUTATIONS):
        values = copy.deepcopy(plain)
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            container, key = draw.choice(list(places(values)))
            if draw.random() < 0.15:
                del container[key]
            else:
                container[key] = draw.choice(CHANGES)(container[key])
        started = time.perf_counter()
        try:
            described(manifest_from_json(json.dumps(values)))
            read += 1
        except BundleError as error:
            assert not UNPRINTABLE.search(str(error))
        slowest = max(slowest, time.perf_counter() - started)
    assert 0 < read < MUTATIONS
    assert slowest < 2


def test_values_of_a_file_come_back_as_they_are() -> None:
    values = {"a": [1, -2.5, True, None, "é\n"], "b": {"c": {}}, "d": 2**62}
    assert json_values(json.dumps(values)) == values
