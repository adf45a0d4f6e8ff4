"""The files of a random VLM as llama.cpp's own converter writes them, from a source tree of llama.cpp.

``convert_hf_to_gguf.py`` writes both files of most families. It does not know the mmproj of LLaVA-1.5, which
``tools/mtmd/legacy-models/convert_image_encoder_to_gguf.py`` writes, from CLIP and the projector in separate files.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from emo_edge.benchmarks.random_vlm.checkpoint import write_checkpoint
from emo_edge.benchmarks.random_vlm.files import NAME, RandomVlm
from emo_edge.console.children import module_command
from emo_edge.errors import InputError
from emo_edge.utils.files import write_json

CONVERTER = "convert_hf_to_gguf.py"
LEGACY = "tools/mtmd/legacy-models/convert_image_encoder_to_gguf.py"
SOURCE_VARIABLE = "EMO_EDGE_LLAMA_CPP"
"""Names a source tree of llama.cpp in the environment."""
SECONDS = 300
SHOWN_LINES = 12
LLAVA = "mlp"
"""Projector of LLaVA-1.5."""


def require_source(source: Path) -> Path:
    """Return a source tree of llama.cpp; raise InputError where its converter is not there."""
    if not (source / CONVERTER).is_file():
        raise InputError(
            f"{source}: no {CONVERTER}; give a source tree of llama.cpp, which is vendor/llama.cpp in "
            "llama-cpp-python's source distribution"
        )
    return source


def convert_random_vlm(
    vlm: RandomVlm, source: Path, work: Path, model: Path, mmproj: Path, *, file_type: str = "f32"
) -> None:
    """Write both files with the scripts of a source tree of llama.cpp.

    Args:
        vlm: the model.
        source: the tree; see `require_source`.
        work: a folder that is not there yet, for the checkpoint.
        model: the language model's file.
        mmproj: the vision tower's file, in float32.
        file_type: of the language model's matrices, f32 or f16.

    Raises InputError where a script fails, with its last lines.
    """
    require_source(source)
    write_checkpoint(vlm, work)
    text = ["--outtype", file_type, "--outfile", str(model)]
    tower = ["--mmproj", "--outtype", "f32", "--outfile", str(mmproj)]
    options = [text] if vlm.projector == LLAVA else [text, tower]
    named = [str(work), "--model-name", NAME]
    _run(source / CONVERTER, vlm.vocabulary.pre, *([*named, *one] for one in options))
    if vlm.projector == LLAVA:
        _convert_clip(vlm, source, work / "clip", mmproj)


def _convert_clip(vlm: RandomVlm, source: Path, folder: Path, mmproj: Path) -> None:
    """Take the model apart as upstream's page about LLaVA says, and let the older script write the tower."""
    tower, projector = vlm.model.model.vision_tower, vlm.model.model.multi_modal_projector
    tower.save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    layer, size = vlm.model.config.vision_feature_layer, vlm.model.config.text_config.hidden_size
    pinpoints = {"image_grid_pinpoints": vlm.pinpoints} if vlm.pinpoints else {}
    write_json(path, {**config, **pinpoints, "vision_feature_layer": layer, "projection_dim": size})
    weights = {f"multi_modal_projector.{name}": tensor for name, tensor in projector.state_dict().items()}
    torch.save(weights, folder / "llava.projector")
    _run(source / LEGACY, "", list(_clip_options(vlm, folder)))
    (folder / "mmproj-model-f32.gguf").replace(mmproj)


def _clip_options(vlm: RandomVlm, folder: Path) -> Iterator[str]:
    yield from ("-m", str(folder), "--use-f32", "--clip-model-is-vision", "--projector-type", vlm.projector)
    yield from ("--llava-projector", str(folder / "llava.projector"))
    for option, value in (("--image-mean", vlm.mean), ("--image-std", vlm.deviation)):
        yield from (option, *[str(value)] * 3)


def _run(script: Path, pre: str, *arguments: Sequence[str]) -> None:
    runs = [json.dumps(one, allow_nan=False) for one in arguments]
    command = module_command("emo_edge.benchmarks.random_vlm.converter_child", str(script), pre, *runs)
    done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    if done.returncode:
        lines = (done.stderr + done.stdout).decode("utf-8", "replace").strip().splitlines()
        raise InputError(f"{script.name} ended with {done.returncode}:\n" + "\n".join(lines[-SHOWN_LINES:]))
