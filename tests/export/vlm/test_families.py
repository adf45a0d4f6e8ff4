"""An mmproj of another family that has the model's width: refused by its header, or named where it is only likely."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from emo_edge.benchmarks.random_vlm.converter import SOURCE_VARIABLE
from emo_edge.bundle.gguf_header import GgufHeader, read_gguf_structure
from emo_edge.errors import BundleError
from emo_edge.export.vlm.bundle import bundle_from_gguf
from emo_edge.export.vlm.config import VlmConfig, VlmFiles
from emo_edge.export.vlm.families import BY_PROJECTOR, VISION_ALONE, check_family, family_warning, projector_of
from tests.random_vlms import written_vlm

SOURCE = os.environ.get(SOURCE_VARIABLE)
SARASHINA = {("qwen2.5vl_merger", "llama"), ("qwen2.5o", "llama")}
"""Pairs that the listing has too many: Sarashina2 inherits Qwen2-VL's tower and fixes its type to ``qwen2_vl``."""
LISTING = """
import inspect, json, re, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/gguf-py"]
import conversion, gguf
from conversion.base import ModelBase, ModelType

def projectors(cls):
    for one in cls.__mro__:
        named = re.findall(r"VisionProjectorType\\.(\\w+)", inspect.getsource(one)) if one is not object else []
        if named:
            return sorted({getattr(gguf.VisionProjectorType, name) for name in named})
    return []

conversion.load_all_models()
text, towers = (ModelBase._model_classes[kind] for kind in (ModelType.TEXT, ModelType.MMPROJ))
print(json.dumps([
    [projectors(towers[name]) if name in towers else [],
     gguf.MODEL_ARCH_NAMES[text[name].model_arch] if name in text else None]
    for name in sorted({*text, *towers})
]))
"""
"""Prints of each model that the converter knows: its projectors, and the architecture of its language model, which is
null where the checkpoint's config names it."""


@pytest.fixture(scope="module")
def headers(made_once: Callable[..., Path]) -> dict[str, tuple[GgufHeader, GgufHeader]]:
    written = [written_vlm(made_once, family) for family in ("smolvlm", "gemma3", "qwen2-vl")]
    return {one.family: (read_gguf_structure(one.model), read_gguf_structure(one.mmproj)) for one in written}


@pytest.mark.parametrize(
    ("family", "tower", "match"),
    [
        ("smolvlm", "gemma3", "'gemma3' stands beside gemma3, and the model is llama: the mmproj is another model's"),
        ("qwen2-vl", "smolvlm", "a qwen2vl reads pictures through qwen2vl_merger, .* the mmproj has 'idefics3': the"),
    ],
)
def test_an_mmproj_of_another_family_is_refused_although_the_widths_agree(
    made_once: Callable[..., Path], tmp_path: Path, family: str, tower: str, match: str
) -> None:
    own, other = written_vlm(made_once, family), written_vlm(made_once, tower)
    with pytest.raises(BundleError, match=match):
        bundle_from_gguf(VlmFiles(own.model, other.mmproj), tmp_path / "b", VlmConfig())
    assert not (tmp_path / "b").exists()


def test_an_architecture_that_is_newer_than_the_tables_is_a_warning(
    headers: dict[str, tuple[GgufHeader, GgufHeader]],
) -> None:
    header, tower = headers["gemma3"]
    assert family_warning(header, tower) is None
    newer = replace(header, metadata={**header.metadata, "general.architecture": "gemma99"})
    check_family(newer, tower)
    assert "the model is gemma99, as far as llama-cpp-python" in str(family_warning(newer, tower))


def test_the_projector_of_a_file_that_reads_sound_too_is_found(
    headers: dict[str, tuple[GgufHeader, GgufHeader]],
) -> None:
    """The converter writes its type under another key then, as for Gemma 3n and Qwen3-Omni."""
    header, tower = headers["smolvlm"]
    values = {key: value for key, value in tower.metadata.items() if key != "clip.projector_type"}
    both = replace(tower, metadata={**values, "clip.vision.projector_type": "gemma3nv"})
    assert projector_of(both) == "gemma3nv"
    with pytest.raises(BundleError, match="'gemma3nv' stands beside gemma3n, and the model is llama"):
        check_family(header, both)


@pytest.mark.parametrize("key", ["general.name", "general.basename"])
def test_names_that_differ_are_a_warning(headers: dict[str, tuple[GgufHeader, GgufHeader]], key: str) -> None:
    header, tower = (
        replace(one, metadata={**one.metadata, "general.name": "", key: name})
        for one, name in zip(headers["smolvlm"], ("SmolVLM2", "Idefics3"), strict=True)
    )
    assert family_warning(header, tower) == (
        "the model calls itself 'SmolVLM2', the mmproj 'Idefics3': make sure that they belong together"
    )


@pytest.mark.slow
@pytest.mark.skipif(not SOURCE, reason=f"waits for a source tree of llama.cpp in {SOURCE_VARIABLE}")
def test_the_tables_are_those_of_llama_cpps_converter() -> None:
    command = [sys.executable, "-c", LISTING, str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    models = json.loads(done.stdout.splitlines()[-1])
    found = {(projector, model) for projectors, model in models for projector in projectors}
    for projector, languages in BY_PROJECTOR.items():
        assert {model for one, model in found - SARASHINA if one == projector} == set(languages), projector
    for alone in VISION_ALONE:
        read = [projectors for projectors, model in models if model == alone]
        assert read and all(set(projectors) & BY_PROJECTOR.keys() for projectors in read), alone
