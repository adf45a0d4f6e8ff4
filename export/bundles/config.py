"""What an export is to write, checked before anything slow starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from emo_edge import __version__
from emo_edge.assets.packaged import Sample
from emo_edge.errors import InputError
from emo_edge.export.gguf.file_types import available_file_types
from emo_edge.export.models.config import EmoLlamaConfig
from emo_edge.export.models.landmark_network import LANDMARKS_NAME
from emo_edge.export.onnx.export import PRECISIONS
from emo_edge.export.reference.tokenizer import LANGUAGE_MODEL_NAME, QUESTION_MODEL_NAME
from emo_edge.export.reference.weights import weight_files
from emo_edge.machine.versions import tool_versions
from emo_edge.media.crops import Image


@dataclass(frozen=True)
class ExportConfig:
    """Which variants to write, and on which labels to compare them."""

    vision: tuple[str, ...] = ("fp32", "fp16")
    """Precisions of the vision net and the connector."""
    face: tuple[str, ...] = ("fp32", "fp16")
    language: tuple[str, ...] = ("f16", "q8_0", "q4_k_m")
    labels: str = "rafdb7"

    def graphs(self, config: EmoLlamaConfig) -> dict[str, tuple[str, ...]]:
        """Precisions of each graph component that the checkpoint has."""
        found = {"vision": self.vision, "connector": self.vision}
        return {**found, "face": self.face} if config.face or config.landmark else found

    def check(self, config: EmoLlamaConfig) -> None:
        """Raise InputError naming everything that cannot be written of this checkpoint."""
        problems = []
        for part, names, known in (
            ("vision", self.vision, PRECISIONS),
            ("face", self.face, PRECISIONS),
            ("language", self.language, available_file_types(config.language)),
        ):
            problems += [f"--{part} {name}: choose from {', '.join(known)}" for name in names if name not in known]
            if not names:
                problems.append(f"--{part}: name at least one of {', '.join(known)}")
        if self.labels not in config.label_sets:
            problems.append(f"--labels {self.labels}: choose from {', '.join(config.label_sets)}")
        if problems:
            raise InputError("\n".join(problems))

    def fingerprint(self, directory: Path, config: EmoLlamaConfig, samples: Sequence[Sample]) -> str:
        """Hash what makes the bundle this one: the checkpoint, this plan, the pictures and the tools."""
        names = (LANGUAGE_MODEL_NAME, QUESTION_MODEL_NAME, LANDMARKS_NAME)
        files = [*weight_files(directory), *(directory / name for name in names if (directory / name).is_file())]
        stamps = [_stamp(path) for path in files]
        pictures = [(sample.name, sample.box, _stamp(sample.source)) for sample in samples]
        versions = [__version__, tool_versions()]
        whole = [versions, str(directory.absolute()), stamps, config.model_dump_json(), asdict(self), pictures]
        return hashlib.sha256(json.dumps(whole, default=str).encode()).hexdigest()


def _stamp(source: Path | Image) -> list[object]:
    """Tell a file's state, or what an array holds."""
    if isinstance(source, Path):
        return [source.name, source.stat().st_size, source.stat().st_mtime_ns]
    return [list(source.shape), hashlib.sha256(source.tobytes()).hexdigest()]
