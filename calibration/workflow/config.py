"""Configuration of a calibration, checked before anything slow starts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from emo_edge.bundle.gguf_types import UNWEIGHTED
from emo_edge.bundle.manifest import GRAPHS, LanguageComponent, Manifest
from emo_edge.bundle.reader import Bundle
from emo_edge.calibration.int8.ranges import LEAST_SAMPLES
from emo_edge.calibration.workflow.profiles import takes_int8
from emo_edge.errors import InputError
from emo_edge.export.configs.checkpoint import AuNetworkConfig, EmoLlamaConfig, LabelNetworkConfig
from emo_edge.export.gguf.file_types import available_file_types, block_misfit
from emo_edge.faces.limits import NO_LIMITS, FaceLimits
from emo_edge.inference.detectors import DetectorFiles
from emo_edge.metrics.gates import FIGURES, GRAPH_FIGURES, INT8_GATE, INT8_UNITS_GATE, PROFILE_FIGURES, UNITS_WORD, Gate
from emo_edge.utils.suggestions import did_you_mean


@dataclass(frozen=True)
class CalibrationConfig:
    """Variants to make, and the samples to make and measure them on."""

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
    """Precision of what stays out of INT8; one that the bundle does not have is replaced by the one it has."""
    int8_gate: Gate = INT8_GATE
    """Of each graph in INT8, all else in full precision."""
    target_size: int | None = None
    """Bytes of a searched mixture."""
    target_kl: float | None = None
    """Or the mean KL that the smallest mixture may have; None of both searches none."""
    question_cache: bool = True
    """Search the positions of each profile's question that can be those about a grey picture."""
    profile: str | None = None
    """The one profile to calibrate; None takes all."""
    gate: Gate | None = None
    """For every profile; None gives each its own."""
    strict: bool = False
    detector: DetectorFiles | None = None
    """For the bundle, and for the samples without a box; None keeps the bundle's own."""
    limits: FaceLimits = NO_LIMITS
    """On the faces of the samples."""

    @property
    def target(self) -> int | float | None:
        """Limit of a searched mixture: bytes (int), a mean KL (float), or None for no search."""
        if self.target_size is not None:
            return self.target_size
        return None if self.target_kl is None else float(self.target_kl)

    def checked_labels(self, bundle: Bundle, config: LabelNetworkConfig) -> CalibrationConfig:
        """Fill in what follows from a bundle of a network of labels; raise InputError for what it does not have."""
        self._check_names(bundle.manifest, config)
        if self.types or self.target is not None:
            raise InputError("`types` and `target_size` quantize a language model, and this bundle has none")
        graphs = self._requested_graphs(bundle.manifest)
        if not graphs:
            raise InputError("`int8` names none: the network of labels is the only graph to calibrate")
        return replace(self._checked_graphs(graphs)._with_units(bundle.manifest), types=(), int8=graphs)

    def checked_units(self, bundle: Bundle, config: AuNetworkConfig) -> CalibrationConfig:
        """Fill in what follows from a bundle of action units alone; raise InputError for what it does not have."""
        self._check_profile(bundle.manifest)
        if self.types or self.target_size is not None or self.target_kl is not None:
            raise InputError("`types` and `target_size` quantize a language model, and this bundle has none")
        graphs = self._requested_graphs(bundle.manifest)
        if not graphs:
            raise InputError("`int8` names none: the network of action units is the only graph to calibrate")
        _require_figures("gate", self.gate, [word for word in FIGURES if word != UNITS_WORD])
        own = Gate(()) if self.int8_gate == INT8_GATE else self.int8_gate
        _require_figures("int8_gate", own, [word for word in FIGURES if word not in GRAPH_FIGURES])
        gate = own.with_default(INT8_GATE, "cosine").with_default(INT8_UNITS_GATE, UNITS_WORD)
        self._require_collected(graphs)
        return replace(self, types=(), int8=graphs, int8_gate=gate)

    def checked(self, bundle: Bundle, config: EmoLlamaConfig) -> CalibrationConfig:
        """Fill in what follows from the bundle; raise InputError for what it or its model does not have."""
        self._check_names(bundle.manifest, config)
        known = available_file_types(config.language, importance=True)
        types = self._requested_types(bundle, known)
        graphs = self._requested_graphs(bundle.manifest)
        checked = self._checked_graphs(graphs)._with_units(bundle.manifest)
        for name in types:
            if misfit := block_misfit(name, config.language):
                raise InputError(f"`types` {name}: {misfit}; choose from {', '.join(known)}")
        self._require_work(types, graphs, known)
        return replace(checked, types=types, int8=graphs)

    def _checked_graphs(self, graphs: Sequence[str]) -> CalibrationConfig:
        """Raise InputError for too few samples or a gate on what is not measured; return the whole INT8 gate."""
        self._require_collected(graphs)
        _require_figures("gate", self.gate, GRAPH_FIGURES)
        _require_figures("int8_gate", self.int8_gate, PROFILE_FIGURES)
        return replace(self, int8_gate=self.int8_gate.with_default(INT8_GATE, "cosine"))

    def _require_collected(self, graphs: Sequence[str]) -> None:
        if graphs and self.collect < LEAST_SAMPLES:
            raise InputError(f"`collect` {self.collect}: INT8 ranges need at least {LEAST_SAMPLES}; or `int8` none")

    def _with_units(self, manifest: Manifest) -> CalibrationConfig:
        """Return the INT8 gate with the bound on action units; raise InputError for one where there are none."""
        if manifest.action_units is not None:
            return replace(self, int8_gate=self.int8_gate.with_default(INT8_UNITS_GATE, UNITS_WORD))
        if any(bound.word == UNITS_WORD for bound in self.int8_gate.bounds):
            raise InputError(f"`int8_gate` {UNITS_WORD}: this bundle gives no action units; leave that out")
        return self

    def _check_names(self, manifest: Manifest, config: EmoLlamaConfig | LabelNetworkConfig) -> None:
        """Raise InputError for two targets, and for a profile or label set that is not there."""
        if self.target_size is not None and self.target_kl is not None:
            raise InputError("a mixture is searched for a size or for a quality: `target_size` or `target_kl`")
        if self.target_kl is not None and not 0 < self.target_kl < math.inf:
            raise InputError(f"`target_kl` {self.target_kl}: a mean KL is above 0 and finite")
        self._check_profile(manifest)
        if self.labels not in config.label_sets:
            raise InputError(f"`labels` {self.labels}: {_choice(self.labels, config.label_sets)}")

    def _check_profile(self, manifest: Manifest) -> None:
        if self.profile is not None and self.profile not in manifest.profiles:
            raise InputError(f"`profile` {self.profile}: {_choice(self.profile, manifest.profiles)}")

    def _requested_types(self, bundle: Bundle, known: Sequence[str]) -> tuple[str, ...]:
        """Return the GGUF types to make: by default the bundle's own, or the profile's, where they are quantized."""
        if self.types is not None:
            return self.types
        profiles, variants = bundle.manifest.profiles, language_of(bundle).variants
        own = [str(profiles[self.profile].language)] if self.profile else list(variants)
        return tuple(name for name in own if name in known and name not in UNWEIGHTED)

    def _requested_graphs(self, manifest: Manifest) -> tuple[str, ...]:
        """Return the graphs to make in INT8: those that the bundle has, and none for a profile that takes none."""
        if self.profile is not None and not takes_int8(self.profile, manifest.profiles[self.profile]):
            return ()
        return tuple(part for part in self.int8 if manifest.components.get(part) is not None)

    def _require_work(self, types: Sequence[str], graphs: Sequence[str], known: Sequence[str]) -> None:
        """Raise InputError for an unknown type, or if there is nothing to make."""
        idle = not (types or graphs or self.target is not None)
        if idle and self.profile and self.types is None:
            raise InputError(
                f"`profile` {self.profile} takes nothing that calibration changes: name `types`, or another profile"
            )
        unknown = [name for name in types if name not in known]
        if unknown or idle:
            raise InputError(f"`types` {', '.join(unknown) or 'names none'}: {_choice(''.join(unknown[:1]), known)}")


def _choice(word: str, known: Iterable[str]) -> str:
    names = list(known)
    return f"choose from {', '.join(names)}{did_you_mean(word, names)}"


def _require_figures(field: str, gate: Gate | None, foreign: Sequence[str]) -> None:
    """Raise InputError for a bound that nothing could exceed: one on a figure that is not measured there."""
    unmeasured = [bound.word for bound in gate.bounds if bound.word in foreign] if gate else []
    if unmeasured:
        raise InputError(f"`{field}` {', '.join(unmeasured)}: not measured there, so that nothing could miss it")


def language_of(bundle: Bundle) -> LanguageComponent:
    """Return the language component; raise InputError for a bundle of one network alone."""
    language = bundle.manifest.components.language
    if language is None:
        raise InputError(
            f"{bundle.directory}: {bundle.manifest.network_alone}; there is no language model to calibrate"
        )
    return language
