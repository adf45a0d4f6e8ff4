"""One directory of a model as transformers 4 saves it, and as transformers 5 does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from sentencepiece import sentencepiece_model_pb2

THETA = 70000.0
METASPACE: dict[str, Any] = {
    "normalizer": None,
    "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": False},
}
"""Form of the spaces of a SentencePiece model, as transformers 5 writes it."""
FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


def saved_by_4_and_5(directory: Path, folder: Path) -> tuple[Path, Path]:
    """Copy a directory twice, with `THETA`: with flat settings and with the newer ones and ``tokenizer.json`` alone."""
    four, five = (Path(shutil.copytree(directory, folder / name)) for name in ("four", "five"))
    settings = json.loads((directory / "config.json").read_text())
    (four / "config.json").write_text(json.dumps(_of_version_4(settings)))
    (five / "config.json").write_text(json.dumps(_of_version_5(settings)))
    write_tokenizer_json(five, directory)
    (five / "tokenizer.model").unlink()
    (five / "added_tokens.json").unlink(missing_ok=True)
    return four, five


def _of_version_4(settings: dict[str, Any]) -> dict[str, Any]:
    text = settings.get("text_config")
    return {**settings, "text_config": {**text, "rope_theta": THETA}} if text else {**settings, "rope_theta": THETA}


def _of_version_5(settings: dict[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in settings.items() if name not in ("rope_theta", "rope_scaling")}
    own |= {"dtype": own.pop("torch_dtype", "float32"), "transformers_version": "5.0.0"}
    text = own.get("text_config")
    rope = {"rope_parameters": {"rope_theta": THETA, "rope_type": "default"}}
    return {**own, "text_config": _of_version_5(text)} if text else {**own, **rope}


def write_tokenizer_json(target: Path, source: Path, form: dict[str, Any] = METASPACE, **model: Any) -> None:
    """Write the ``tokenizer.json`` of the SentencePiece model and the added tokens of ``source``."""
    pieces = list(sentencepiece_model_pb2.ModelProto.FromString((source / "tokenizer.model").read_bytes()).pieces)
    special = {piece.piece: number for number, piece in enumerate(pieces) if piece.type in (2, 3)}
    added = source / "added_tokens.json"
    special |= json.loads(added.read_text()) if added.is_file() else {}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": text, "special": True, **FLAGS} for text, number in special.items()],
        **form,
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": {piece.piece: number for number, piece in enumerate(pieces)},
            "merges": _merges(pieces),
            **model,
        },
    }
    (target / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")


def _merges(pieces: list[Any]) -> list[list[str]]:
    """Every pair of pieces that makes a third, the best first: as transformers converts a SentencePiece model."""
    scores = {piece.piece: piece.score for piece in pieces if piece.type == 1}
    pairs = [
        (text[:cut], text[cut:])
        for text in sorted(scores, key=lambda text: -scores[text])
        for cut in range(1, len(text))
        if text[:cut] in scores and text[cut:] in scores
    ]
    return [list(pair) for pair in pairs]
