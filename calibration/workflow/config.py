"""What a calibration is to make, checked before anything slow starts. Of the command line's layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from emo_edge.bundle.gguf_types import UNWEIGHTED
from emo_edge.bundle.manifest import GRAPHS, LanguageComponent
from emo_edge.bundle.reader import Bundle
from emo_edge.calibration.int8.ranges import LEAST_SAMPLES
from emo_edge.calibration.workflow.profiles import takes_int8
from emo_edge.errors import InputError
from emo_edge.export.gguf.file_types import available_file_types
from emo_edge.export.models.config import EmoLlamaConfig
from emo_edge.metrics.gates import GRAPH_FIGURES, INT8_GATE, PROFILE_FIGURES, Gate


@dataclass(frozen=True)
class CalibrationConfig:
    """What to make, and on what."""

    collect: int = 128
    """Samples for statistics, ranges and searches."""
    measure: int = 500
    """Other samples, on which everything is measured."""
    sensitivity: int = 32
    """Of the first ones, those that each block's INT8 cost is measured on."""
    seed: int = 0
    labels: str = "rafdb7"
    types: tuple[str, ...] | None = None
    """GGUF types; None means the bundle's own quantized ones."""
    int8: tuple[str, ...] = GRAPHS
    """Graphs to make in INT8, of those that the bundle has."""
    int8_base: str = "fp32"
    """Precision of what stays out of INT8; one that the bundle has not is replaced by the one it has."""
    int8_gate: Gate = INT8_GATE
    """Of each graph in INT8, all else in full precision."""
    target_size: int | None = None
    """Bytes of a searched mixture."""
    target_kl: float | None = None
    """Or the mean KL that the smallest mixture may have; None of both searches none."""
    profile: str | None = None
    """Make and measure what this one profile takes; None takes all."""
    gate: Gate | None = None
    """For every profile; None gives each its own."""
    strict: bool = False

    @property
    def target(self) -> int | float | None:
        """What a mixture is searched for: bytes (int), a mean KL (float), or nothing."""
        if self.target_size is not None:
            return self.target_size
        return None if self.target_kl is None else float(self.target_kl)

    def checked(self, bundle: Bundle, config: EmoLlamaConfig) -> CalibrationConfig:
        """Fill in what follows from the bundle; raise InputError for what it or its model has not."""
        manifest, language = bundle.manifest, language_of(bundle)
        if self.target_size is not None and self.target_kl is not None:
            raise InputError("a mixture is searched for a size or for a quality: --target-size or --target-kl")
        if self.profile is not None and self.profile not in manifest.profiles:
            raise InputError(f"--profile {self.profile}: choose from {', '.join(manifest.profiles)}")
        if self.labels not in config.label_sets:
            raise InputError(f"--labels {self.labels}: choose from {', '.join(config.label_sets)}")
        known = available_file_types(config.language, importance=True)
        held = [str(manifest.profiles[self.profile].language)] if self.profile else list(language.variants)
        own = tuple(name for name in held if name in known and name not in UNWEIGHTED)
        wanted = own if self.types is None else self.types
        there = tuple(part for part in self.int8 if manifest.components.get(part) is not None)
        if self.profile is not None and not takes_int8(self.profile, manifest.profiles[self.profile]):
            there = ()
        if there and self.collect < LEAST_SAMPLES:
            raise InputError(f"--collect {self.collect}: INT8 ranges need at least {LEAST_SAMPLES}; or --int8 none")
        _require_figures("--gate", self.gate, GRAPH_FIGURES)
        _require_figures("--int8-gate", self.int8_gate, PROFILE_FIGURES)
        unknown = [name for name in wanted if name not in known]
        if self.profile and self.types is None and not (wanted or there or self.target is not None):
            raise InputError(
                f"--profile {self.profile} takes nothing that calibration changes: name --types, or another profile"
            )
        if unknown or not (wanted or there or self.target is not None):
            raise InputError(f"--types {', '.join(unknown) or 'names none'}: choose from {', '.join(known)}")
        return replace(self, types=wanted, int8=there, int8_gate=self.int8_gate.with_default(INT8_GATE, "cosine"))


def _require_figures(option: str, gate: Gate | None, foreign: Sequence[str]) -> None:
    """Refuse a bound that nothing could miss: one on a figure that is not measured there."""
    asked = [bound.word for bound in gate.bounds if bound.word in foreign] if gate else []
    if asked:
        raise InputError(f"{option} {', '.join(asked)}: not measured there, so that nothing could miss it")


def language_of(bundle: Bundle) -> LanguageComponent:
    """Return the language component; raise InputError for a bundle of a face network alone."""
    language = bundle.manifest.components.language
    if language is None:
        raise InputError(f"{bundle.directory}: a face network alone; there is no language model to calibrate")
    return language
