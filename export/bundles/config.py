"""Configuration of an export, checked before anything slow starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from emo_edge import __version__
from emo_edge.assets.packaged import Sample
from emo_edge.errors import InputError
from emo_edge.export.bundles.visual_tokens import budget_problems
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.gguf.file_types import available_file_types, block_misfit
from emo_edge.export.onnx.export import PRECISIONS
from emo_edge.export.reference.tokenizer import LANGUAGE_JSON_NAME, LANGUAGE_MODEL_NAME, QUESTION_MODEL_NAME
from emo_edge.export.reference.weights import weight_files
from emo_edge.export.user_graphs.landmark_network import LANDMARKS_NAME
from emo_edge.machine.versions import tool_versions
from emo_edge.media.crops import Image
from emo_edge.utils.suggestions import did_you_mean


@dataclass(frozen=True)
class ExportConfig:
    """Variants to write, and the label set to compare them on."""

    vision: tuple[str, ...] = ("fp32", "fp16")
    """Precisions of the vision net and the connector."""
    face: tuple[str, ...] = ("fp32", "fp16")
    language: tuple[str, ...] = ("f16", "q8_0", "q4_k_m")
    labels: str = "rafdb7"
    visual_tokens: int | str | None = None
    """Tokens that a frame's patches are reduced to; ``auto`` chooses them, None keeps every patch."""

    def graphs(self, config: EmoLlamaConfig) -> dict[str, tuple[str, ...]]:
        """Precisions of each graph component that the checkpoint has."""
        graphs = {"vision": self.vision, "connector": self.vision}
        return {**graphs, "face": self.face} if config.face or config.landmark else graphs

    def check(self, config: EmoLlamaConfig) -> None:
        """Raise InputError naming everything that cannot be written of this checkpoint."""
        problems = [
            *choice_problems("vision", self.vision, PRECISIONS),
            *choice_problems("face", self.face, PRECISIONS),
            *self._language_problems(config),
            *choice_problems("labels", [self.labels], list(config.label_sets)),
            *budget_problems(self.visual_tokens, config),
        ]
        if problems:
            raise InputError("\n".join(problems))

    def _language_problems(self, config: EmoLlamaConfig) -> list[str]:
        known, language = available_file_types(config.language), config.language
        misfits = {name: misfit for name in self.language if (misfit := block_misfit(name, language))}
        others = [name for name in self.language if name not in misfits]
        named = [f"`language` {name}: {misfit}; choose from {', '.join(known)}" for name, misfit in misfits.items()]
        return [*named, *(choice_problems("language", others, known) if others or not named else [])]

    def fingerprint(self, directory: Path, config: EmoLlamaConfig, samples: Sequence[Sample]) -> str:
        """Hash everything that the bundle depends on: the checkpoint, this config, the pictures and the tools."""
        names = (LANGUAGE_MODEL_NAME, LANGUAGE_JSON_NAME, QUESTION_MODEL_NAME, LANDMARKS_NAME)
        files = [*weight_files(directory), *(directory / name for name in names if (directory / name).is_file())]
        stamps = [_stamp(path) for path in files]
        pictures = [(sample.name, sample.box, _stamp(sample.source)) for sample in samples]
        versions = [__version__, tool_versions()]
        whole = [versions, str(directory.absolute()), stamps, config.model_dump_json(), asdict(self), pictures]
        return hashlib.sha256(json.dumps(whole, default=str).encode()).hexdigest()


def choice_problems(field: str, names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Name every choice that is not known, and a field without any."""
    if not names:
        return [f"`{field}`: name at least one of {', '.join(known)}"]
    unknown = [name for name in names if name not in known]
    return [f"`{field}` {name}: choose from {', '.join(known)}{did_you_mean(name, known)}" for name in unknown]


def _stamp(source: Path | Image) -> list[object]:
    """Return size and time of a file, or a hash of an array."""
    if isinstance(source, Path):
        return [source.name, source.stat().st_size, source.stat().st_mtime_ns]
    return [list(source.shape), hashlib.sha256(source.tobytes()).hexdigest()]
