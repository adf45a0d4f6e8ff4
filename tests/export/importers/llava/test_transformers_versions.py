"""A directory that transformers 5 saved becomes the checkpoint of the same model that transformers 4 saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file

from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.importers.llama_vid import LlamaVidPieces, checkpoint_from_llama_vid
from emo_edge.export.importers.llava.instructblip import InstructBlipPieces, checkpoint_from_instructblip
from emo_edge.export.importers.llava.llava import EMOLA, LlavaPieces, checkpoint_from_llava
from tests.export.importers.llava.conftest import InstructBlip, Llava
from tests.export.importers.llava.test_mobilevlm import mobilevlm
from tests.transformers_versions import THETA, saved_by_4_and_5

TEXT = "USER: \nWhat is it? It is 1 naïve 情感 test,  with  spaces. ASSISTANT:"
Importer = Callable[[Path, Path], None]
IMPORTERS: dict[str, Importer] = {
    "llama-vid": lambda model, target: checkpoint_from_llama_vid(LlamaVidPieces(model), target),
    "llava": lambda model, target: checkpoint_from_llava(LlavaPieces(model), target),
    "llava, original names": lambda model, target: checkpoint_from_llava(LlavaPieces(model), target),
    "emola": lambda model, target: checkpoint_from_llava(LlavaPieces(model), target, family=EMOLA),
    "mobilevlm": lambda model, target: checkpoint_from_llava(LlavaPieces(model), target),
    "instructblip": lambda model, target: checkpoint_from_instructblip(InstructBlipPieces(model), target),
}


@pytest.fixture
def directory(kind: str, upstream: Any, llava: Llava, original: Path, blip: InstructBlip, tmp_path: Path) -> Path:
    if kind == "mobilevlm":
        mobilevlm("ldpnet", llava, original, tmp_path / "mobilevlm")
        return tmp_path / "mobilevlm"
    named = {"llama-vid": upstream.model, "llava": llava.directory, "instructblip": blip.directory}
    return Path(named.get(kind, original))


@pytest.mark.parametrize("kind", list(IMPORTERS))
def test_both_give_one_checkpoint(kind: str, directory: Path, tmp_path: Path) -> None:
    saved = saved_by_4_and_5(directory, tmp_path / "saved")
    targets = [tmp_path / "checkpoint-4", tmp_path / "checkpoint-5"]
    for model, target in zip(saved, targets, strict=True):
        IMPORTERS[kind](model, target)
    four, five = (load_file(target / "model.safetensors") for target in targets)
    assert four.keys() == five.keys() and all(torch.equal(four[name], five[name]) for name in four)
    configs = [without_provenance(EmoLlamaConfig.from_pretrained(target)) for target in targets]
    assert configs[0] == configs[1] and configs[1].language.rope_theta == THETA
    pieces = [sentencepiece.SentencePieceProcessor(model_file=str(target / "tokenizer.model")) for target in targets]
    assert pieces[0].encode(TEXT) == pieces[1].encode(TEXT)
    assert pieces[0].get_piece_size() == pieces[1].get_piece_size()


def without_provenance(config: EmoLlamaConfig) -> EmoLlamaConfig:
    return config.model_copy(update={"provenance": {}})
