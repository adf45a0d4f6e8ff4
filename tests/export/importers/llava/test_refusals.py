"""Files as people bring them: under other names and in other wrappings they are read, the rest is refused."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from emo_edge.cli.app import main
from emo_edge.export.importers.llava.llava import LlavaPieces, checkpoint_from_llava
from tests.export.importers.llava.conftest import Llava, State

WRAPPED: dict[str, Callable[[State], Any]] = {
    "DataParallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "compiled": lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
    "peft, compiled": lambda state: {f"base_model.model._orig_mod.{name}": value for name, value in state.items()},
    "DataParallel, compiled": lambda state: {f"module._orig_mod.{name}": value for name, value in state.items()},
    "state_dict, DataParallel": lambda state: {"state_dict": {f"module.{name}": one for name, one in state.items()}},
    "model": lambda state: {"model": state, "epoch": 3},
    "state_dict": lambda state: {"state_dict": state, "optimizer": {"lr": 0.1}},
    "model_state_dict": lambda state: {"model_state_dict": state},
    "one in the other": lambda state: {"model": {"state_dict": state, "epoch": 3}, "args": {"lr": 0.1}},
    "DeepSpeed": lambda state: {"module": state, "global_steps": 3},
    "DeepSpeed, compiled": lambda state: {"module": {f"_orig_mod.{name}": value for name, value in state.items()}},
}
PREFIXED = [kind for kind in WRAPPED if "compiled" in kind or "DataParallel" in kind]


@pytest.mark.parametrize("kind", list(WRAPPED))
def test_wrappings_are_taken_off(kind: str, llava: Llava, original: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(original, tmp_path / "copy"))
    torch.save(WRAPPED[kind](llava.original()), model / "pytorch_model.bin")
    lines: list[str] = []
    checkpoint_from_llava(LlavaPieces(model), tmp_path / "wrapped", report=lines.append)
    checkpoint_from_llava(LlavaPieces(original), tmp_path / "plain")
    wrapped, plain = (load_file(tmp_path / name / "model.safetensors") for name in ("wrapped", "plain"))
    assert wrapped.keys() == plain.keys() and all(torch.equal(wrapped[name], plain[name]) for name in plain)
    said = next((line for line in lines if line.startswith("  left out before every name: ")), None)
    found = WRAPPED[kind]({"": torch.ones(1)})
    prefix = next(iter(found.get("state_dict", found.get("module", found)))) if kind in PREFIXED else None
    assert said == (prefix and f"  left out before every name: {prefix}")


def set_config(**settings: Any) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        path = model / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))

    return change


def set_file(name: str, content: bytes, *gone: str) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        for one in gone:
            (model / one).unlink()
        (model / name).write_bytes(content)

    return change


def set_weights(change: Callable[[State], Any]) -> Callable[[Path], None]:
    def changed(model: Path) -> None:
        path = model / "pytorch_model.bin"
        torch.save(change(torch.load(path, weights_only=True)), path)

    return changed


def projector_alone(model: Path) -> None:
    state = torch.load(model / "pytorch_model.bin", weights_only=True)
    (model / "pytorch_model.bin").unlink()
    torch.save({name: value for name, value in state.items() if "projector" in name}, model / "mm_projector.bin")


POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258d\nsize 9\n"
)
PAGE = b"\n<!DOCTYPE html>\n<html><body>Sign in to continue</body></html>\n"
BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "an unknown part hides nothing": (
        set_weights(
            lambda state: {name.replace("vision_tower.vision_tower", "tower"): value for name, value in state.items()}
        ),
        "lacks whole parts; give --vision\n  55 unknown in pytorch_model.bin: model.tower.vision_model.embeddings",
    ),
    "no projector": (
        set_weights(lambda state: {name: value for name, value in state.items() if "projector" not in name}),
        "lacks whole parts; give --projector",
    ),
    "a projector alone": (projector_alone, "holds mm_projector.bin alone; give the language model"),
    "an unknown tensor": (
        set_weights(lambda state: {**state, "model.image_newline": torch.ones(64)}),
        "unknown: model.image_newline in",
    ),
    "a pointer for weights": (set_file("pytorch_model.bin", POINTER), "pytorch_model.bin: a Git LFS pointer, not"),
    "a pointer for safetensors": (
        set_file("model.safetensors", POINTER, "pytorch_model.bin"),
        "model.safetensors: a Git LFS pointer, not the file; run `git lfs pull`",
    ),
    "a pointer for the tokenizer": (set_file("tokenizer.model", POINTER), "tokenizer.model: a Git LFS pointer"),
    "a page for weights": (set_file("pytorch_model.bin", PAGE), "pytorch_model.bin: an HTML page, not the file"),
    "a page for the config": (set_file("config.json", PAGE), "config.json: an HTML page, not the file; fetch it"),
    "a page for the tokenizer": (set_file("tokenizer.model", PAGE), "tokenizer.model: an HTML page, not the file"),
    "a page for the tokenizer's JSON": (
        set_file("tokenizer.json", PAGE, "tokenizer.model"),
        "tokenizer.json: an HTML page, not the file",
    ),
    "a server's answer for weights": (
        set_file("pytorch_model.bin", b"Entry not found"),
        "pytorch_model.bin: the error message of a server, not the file",
    ),
    "a server's XML for the config": (
        set_file("config.json", b"\xef\xbb\xbf<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"),
        "config.json: the error message of a server, not the file",
    ),
    "code beside the weights": (
        set_weights(lambda state: {"model": state, "args": Path("x")}),
        "needs more than tensors to be read, and code in a file is never run: pathlib",
    ),
    "a function beside the weights": (
        set_weights(lambda state: {"state_dict": state, "collate": print}),
        "needs more than tensors to be read, and code in a file is never run: print",
    ),
    "a page for the index": (
        set_file("model.safetensors.index.json", PAGE, "pytorch_model.bin"),
        "model.safetensors.index.json: an HTML page, not the file",
    ),
    "a pointer for the config": (set_file("config.json", POINTER), "config.json: a Git LFS pointer, not the file"),
    "an empty file of weights": (set_file("pytorch_model.bin", b""), "pytorch_model.bin: "),
    "a plain pickle": (set_file("pytorch_model.bin", pickle.dumps({"a": 1}, 4)), "not readable as a torch file"),
    "tiles": (set_config(image_aspect_ratio="anyres_max_9"), "image_aspect_ratio 'anyres_max_9': pictures cut into"),
    "tiles, in Qwen2's LLaVA": (
        set_config(model_type="llava_qwen", image_aspect_ratio="anyres"),
        "image_aspect_ratio 'anyres': pictures cut into",
    ),
    "tiles without padding, and a limit": (
        set_config(mm_patch_merge_type="spatial_unpad_anyres_max_9"),
        "mm_patch_merge_type 'spatial_unpad_anyres_max_9': tiles",
    ),
    "tiles without padding": (
        set_config(mm_patch_merge_type="spatial_unpad"),
        "mm_patch_merge_type 'spatial_unpad': tiles without padding are not supported",
    ),
    "a kind that is none": (
        set_config(model_type=["llava"], mm_projector_type=["x"]),
        "mm_projector_type \"['x']\": only",
    ),
    "LLaVA-NeXT": (set_config(model_type="llava_next"), "model_type llava_next: LLaVA-NeXT, whose pictures are cut"),
    "LLaVA-OneVision": (set_config(model_type="llava_onevision"), "model_type llava_onevision: LLaVA-OneVision"),
    "the class token": (
        set_config(mm_vision_select_feature="cls_patch"),
        "mm_vision_select_feature 'cls_patch': only 'patch' is known",
    ),
    "an unknown projector": (set_config(mm_projector_type="qformer"), "mm_projector_type 'qformer': only identity, "),
    "another scaling": (
        set_config(rope_scaling={"type": "dynamic", "factor": 2.0}),
        "rope_scaling {'type': 'dynamic', 'factor': 2.0}: only linear scaling",
    ),
    "another scaling, as transformers 5 writes it": (
        set_config(rope_parameters={"rope_type": "yarn", "factor": 2.0, "rope_theta": 10000.0}),
        "rope_scaling {'rope_type': 'yarn', 'factor': 2.0}: only linear scaling",
    ),
    "another language model": (
        set_config(text_config={"model_type": "gemma"}),
        "text_config.model_type 'gemma': only llama and qwen2",
    ),
    "no tokenizer": (lambda model: (model / "tokenizer.model").unlink(), "tokenizer.model: no such file; copy it"),
}


@pytest.mark.parametrize("kind", list(BAD))
def test_each_kind_is_one_error_with_its_exit_code(kind: str, original: Path, tmp_path: Path) -> None:
    change, message = BAD[kind]
    model = Path(shutil.copytree(original, tmp_path / "copy"))
    change(model)
    done = CliRunner().invoke(main, ["import", "llava", "--model", str(model), "--out", str(tmp_path / "checkpoint")])
    assert done.exit_code == 5, done.output
    assert message in done.stderr
    advice = ("weights_only", "safe_globals", "arbitrary code", "trust")
    assert not any(word in done.stderr for word in advice), done.stderr
    assert not (tmp_path / "checkpoint").exists()


def test_a_tower_of_another_kind_is_refused_by_its_own_config(original: Path, tmp_path: Path) -> None:
    tower = tmp_path / "tower"
    tower.mkdir()
    (tower / "config.json").write_text(json.dumps({"model_type": "dinov2", "hidden_act": "gelu"}))
    arguments = ["import", "llava", "--model", str(original), "--vision", str(tower), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 5 and "model_type 'dinov2' with hidden_act 'gelu': of towers only CLIP's" in done.stderr
    (tower / "config.json").write_text(json.dumps({"model_type": "instructblip_vision_model", "hidden_act": "gelu"}))
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 5 and "import it with emo-edge import instructblip" in done.stderr
