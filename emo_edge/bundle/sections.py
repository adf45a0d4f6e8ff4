"""Sections of the manifest, each a closed set of keys that is checked by itself.

`emo_edge.bundle.manifest_checks` compares one with another.
"""

from __future__ import annotations

import re
from math import prod
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from emo_edge.bundle.engine_settings import EngineSettings
from emo_edge.bundle.face_crops import Preprocessing
from emo_edge.bundle.prompts import (
    FaceLabels,
    FramesSegment,
    PromptConfig,
    Segment,
)
from emo_edge.bundle.tasks.section import AffectiveTask, TaskName
from emo_edge.errors import BundleError
from emo_edge.metrics.figure_bounds import figure_checks
from emo_edge.metrics.label_agreement import interval_checks
from emo_edge.taxonomy import FACS_UNITS
from emo_edge.tensors import TensorSpec
from emo_edge.utils.settings import Figures, GrowingSection, Line, Name, Section, Size, Text, require
from emo_edge.utils.text import NAME_BREAKS

GRAPHS = ("vision", "connector", "face", "au")
"""The components that are graphs, in the order they are computed."""
PARTS = (*GRAPHS, "language")
"""All components."""
UNIT_PRESENCE, UNIT_INTENSITY = "au_presence", "au_intensity"
"""Outputs of action units, [N, units] each: logits, and intensities from 0 to 5, which may be absent."""
OUTPUTS = {
    "vision": {"features"},
    "connector": {"visual_tokens"},
    "face": {"landmarks", "pose", "attributes", "visibility", "age", "gender", "race"},
    "au": {UNIT_PRESENCE},
}
"""Outputs of each graph that the pipeline reads; a face graph of nothing but tokens or labels has no attributes."""
SELECTION = {"class_attention", "keys"}
"""Further outputs of the vision graph where the connector chooses tokens: what it chooses them by."""
FACE_TOKENS = "face_tokens"
LABEL_LOGITS = "label_logits"
"""Output of a face graph that gives the labels itself, [N, labels], where there is no language model."""
VALUES = "values"
"""Output of such a graph beside the labels, [N, values]: numbers on a scale, such as valence and arousal."""
ALONE = ({FACE_TOKENS}, {LABEL_LOGITS}, {LABEL_LOGITS, VALUES})
"""Outputs of a face graph that has no attributes."""
QUESTION_INPUT = "question_ids"
"""Input of a connector whose tokens depend on the question."""
LARGEST_CONTEXT, LARGEST_CROP, LARGEST_TENSOR = 1 << 17, 2048, 1 << 28
"""Positions; pixels of a side; values of one row of a graph's input or output."""
UNPLAIN = re.compile(rf'[\\:"]|{NAME_BREAKS.pattern}')
Dtype = Literal["uint8", "int64", "float16", "float32"]
Detector = Literal["haar", "mtcnn", "whole-image", "yunet"]
DETECTOR_FILES = {"mtcnn": 3, "yunet": 1}
"""Number of files that a detector needs, where it needs any."""


def _whole_intervals(figures: dict[str, float]) -> dict[str, float]:
    require(*interval_checks(figures), *figure_checks(figures))
    return figures


Evidence = Annotated[Figures, AfterValidator(_whole_intervals)]
"""Measured figures by name, inside their bounds; an interval has both its ends."""


class BundleFile(Section):
    """One file: where it lies below the bundle, and how to know that it is intact."""

    path: Annotated[str, Field(max_length=255)]
    size: Annotated[int, Field(ge=0, le=1 << 44, strict=True)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        parts = PurePosixPath(path).parts
        plain = bool(parts) and not path.startswith("/") and ".." not in parts and not UNPLAIN.search(path)
        require((plain and str(PurePosixPath(path)) == path, f"{path!r} is no plain path inside the bundle"))
        return path


class TensorContract(Section):
    """Name, dtype and shape of a graph's input or output; a name in the shape is an axis that varies."""

    name: Line
    dtype: Dtype
    shape: Annotated[tuple[Size | Line, ...], Field(max_length=8)]

    @model_validator(mode="after")
    def _fits_memory(self) -> TensorContract:
        values = prod(size for size in self.shape if isinstance(size, int))
        require((values <= LARGEST_TENSOR, f"shape of {values} values, more than {LARGEST_TENSOR}"))
        return self

    def spec(self) -> TensorSpec:
        """Return it as sessions use it."""
        return TensorSpec(self.name, self.dtype, self.shape)


class Variant(Section):
    """One precision of one component: its files, the one to open first, and its measured distance."""

    files: Annotated[tuple[BundleFile, ...], Field(min_length=1, max_length=64)]
    evidence: Annotated[dict[Line, Evidence], Field(max_length=64)] = Field(default_factory=dict)
    """Per output, the distance from the PyTorch reference: see `emo_edge.metrics.tensor_parity`."""


Variants = Annotated[dict[Name, Variant], Field(min_length=1, max_length=64)]


class GraphComponent(Section):
    """A portable graph (ONNX) in one or more precisions."""

    kind: Literal["onnx"] = "onnx"
    inputs: Annotated[tuple[TensorContract, ...], Field(max_length=64)]
    outputs: Annotated[tuple[TensorContract, ...], Field(max_length=64)]
    variants: Variants


class MmprojComponent(Section):
    """A vision tower with its projector that libmtmd runs: llama.cpp's mmproj file. There is no connector."""

    kind: Literal["mmproj"] = "mmproj"
    variants: Variants
    pictures: Literal["one", "several"] = "several"
    """Pictures in one prompt that the model was trained on; a model of one reads no clips."""


class LanguageComponent(Section):
    """The language model (GGUF) in one or more quantizations."""

    kind: Literal["gguf"] = "gguf"
    context_size: Annotated[int, Field(ge=1, le=LARGEST_CONTEXT, strict=True)]
    embedding_size: Size
    variants: Variants


def _vision_kind(value: Any) -> str:
    """Return the kind of a vision component; without one, or with an unknown one, it is read as a graph."""
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return "mmproj" if kind == "mmproj" else "onnx"


VisionComponent = Annotated[
    Annotated[GraphComponent, Tag("onnx")] | Annotated[MmprojComponent, Tag("mmproj")], Discriminator(_vision_kind)
]


class Components(GrowingSection):
    """The components of a bundle.

    A checkpoint without a face network has no ``face``; one of a face network alone has nothing else, as one of a
    network of action units alone has only ``au``.
    """

    newer: ClassVar[tuple[str, ...]] = ("au",)
    vision: VisionComponent | None
    connector: GraphComponent | None
    face: GraphComponent | None
    language: LanguageComponent | None
    au: GraphComponent | None = None
    """A network of action units of its own, beside the face network."""

    def get(self, part: str) -> GraphComponent | MmprojComponent | LanguageComponent | None:
        """Return the component of a name of `PARTS`; None where the bundle has none."""
        component: GraphComponent | MmprojComponent | LanguageComponent | None = getattr(self, part)
        return component

    @property
    def mmproj(self) -> MmprojComponent | None:
        """The vision tower that libmtmd runs; None where it is a graph or there is none."""
        return self.vision if isinstance(self.vision, MmprojComponent) else None

    def graph(self, part: str) -> GraphComponent:
        """Return the graph of a name of `GRAPHS`; raise BundleError where the bundle has none."""
        component = self.get(part)
        if not isinstance(component, GraphComponent):
            raise BundleError(f"the bundle has no graph {part}")
        return component

    def graphs(self) -> dict[str, GraphComponent]:
        """Return the graphs there are, in the order of `GRAPHS`."""
        return {part: graph for part in GRAPHS if isinstance(graph := self.get(part), GraphComponent)}


class Scoring(Section):
    """Conversion of label scores to probabilities."""

    temperature: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    prior_correction: bool = False
    """True sets scores against those of a blank image (a content-free prompt) by default."""


class QuestionCache(Section):
    """Positions behind a prompt's pictures that are computed for each picture; the rest is taken from a grey one's."""

    head: Annotated[int, Field(ge=0, lt=LARGEST_CONTEXT, strict=True)] = 0
    """Right behind the pictures."""
    tail: Annotated[int, Field(ge=1, lt=LARGEST_CONTEXT, strict=True)]
    """At the prompt's end."""


class VisualTokens(Section):
    """A budget of visual tokens: what a frame's patches are reduced to before the language model reads them."""

    kept: Annotated[int, Field(ge=2, lt=LARGEST_CONTEXT, strict=True)]
    patches: Annotated[int, Field(ge=2, lt=LARGEST_CONTEXT, strict=True)]
    """Tokens without a budget."""
    evidence: Evidence = Field(default_factory=dict)
    """Labels with the kept tokens against labels with all of them, full precision both."""


class LabelFilter(Section):
    """Filter of a face's labels over time, fitted on clips whose labels are known."""

    method: Literal["hidden_markov", "exponential_average"]
    tau_s: Annotated[float, Field(gt=0, le=3600)]
    """Mean seconds that a label stays; of an average, the seconds after which a reading counts for 1 / e."""
    alpha: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Exponent of a reading's probabilities."""
    step_s: Annotated[float, Field(gt=0, le=60)] = 0.1
    """Seconds between two readings from which on each counts in full; closer ones count less, in proportion."""


class LiveLabels(Section):
    """Settings of live labels, each measured on clips; ``python -m emo_edge.benchmarks.live.labels`` fits them."""

    smoothing: LabelFilter | None = None
    """None gives no smoothed labels."""
    unchanged: Annotated[float, Field(gt=0, le=255)] | None = None
    """Mean difference of 48 x 48 greys below which a face is not read again; None takes the program's own."""
    evidence: Evidence = Field(default_factory=dict)
    """Figures of the fit and of held-out clips."""


class ActionUnits(Section):
    """The action units that a graph gives, in the order of its outputs, and when each counts as active."""

    source: Literal["face", "au"]
    """Component whose graph has the outputs `UNIT_PRESENCE` and, where it gives intensities, `UNIT_INTENSITY`."""
    units: Annotated[tuple[Annotated[int, Field(strict=True)], ...], Field(min_length=1, max_length=len(FACS_UNITS))]
    """FACS numbers."""
    thresholds: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(max_length=len(FACS_UNITS))]
    """Probability from which each unit counts as active."""
    network: Line
    """Name of the network, such as ``sacl``."""

    @model_validator(mode="after")
    def _units_fit(self) -> ActionUnits:
        unknown = [str(unit) for unit in self.units if unit not in FACS_UNITS]
        require(
            (not unknown, f"action_units.units {', '.join(unknown)}: no units of FACS"),
            (len(set(self.units)) == len(self.units), "action_units.units has a unit twice"),
            (
                len(self.thresholds) == len(self.units),
                f"action_units.thresholds has {len(self.thresholds)} numbers for {len(self.units)} units",
            ),
        )
        return self


class Profile(GrowingSection):
    """One variant of every component there is, by name."""

    newer: ClassVar[tuple[str, ...]] = ("au",)
    vision: Name | None
    connector: Name | None
    face: Name | None
    language: Name | None
    au: Name | None = None
    question_cache: QuestionCache | None = None
    """For label scores; None computes every position."""
    evidence: Evidence = Field(default_factory=dict)
    """Whole chain, its question cache too, against the PyTorch reference: label agreement, KL, samples."""

    def variant(self, part: str) -> str | None:
        """Return the variant of a component of `PARTS`; None where there is no such component."""
        name: str | None = getattr(self, part)
        return name


class ManifestSections(GrowingSection):
    """The keys of ``manifest.json``, before one is compared with another."""

    newer: ClassVar[tuple[str, ...]] = ("live", "action_units", "tasks", "visual_tokens")
    bundle_version: Literal[1, 2] = 1
    """2 with ``action_units``, ``tasks`` or ``visual_tokens``, which programs of version 1 do not know."""
    name: Line
    components: Components
    preprocessing: Preprocessing
    layout: Annotated[tuple[Segment, ...], Field(max_length=32)]
    """Empty without a language model, as ``label_sets`` is where no graph gives labels."""
    prompt: PromptConfig
    label_sets: Annotated[dict[Name, Annotated[tuple[Line, ...], Field(max_length=512)]], Field(max_length=64)]
    face_labels: FaceLabels
    question_tokenizer: BundleFile | None
    max_question_tokens: Annotated[int, Field(ge=1, le=4096, strict=True)] | None
    detector: Detector = "haar"
    detector_files: tuple[BundleFile, ...] = ()
    """The detector's graphs, in the order in which it runs them."""
    scoring: Scoring = Scoring()
    live: LiveLabels | None = None
    """None, as in bundles of older programs, gives raw labels alone."""
    action_units: ActionUnits | None = None
    """None where no graph gives any."""
    tasks: dict[TaskName, AffectiveTask] | None = None
    """Affective tasks by name; None in bundles that have none, and in those of older programs."""
    visual_tokens: VisualTokens | None = None
    """None where the language model reads every token of the connector's kind."""
    engines: EngineSettings = EngineSettings()
    profiles: Annotated[dict[Name, Profile], Field(min_length=1, max_length=64)]
    default_profile: Name
    provenance: Annotated[dict[Line, Text], Field(max_length=256)] = Field(default_factory=dict)

    def files(self) -> list[BundleFile]:
        """List every file of the bundle but the manifest itself."""
        components = [component for part in PARTS if (component := self.components.get(part)) is not None]
        variants = [variant for component in components for variant in component.variants.values()]
        tokenizer = [self.question_tokenizer] if self.question_tokenizer else []
        return [*(file for variant in variants for file in variant.files), *tokenizer, *self.detector_files]

    @property
    def gives_face_facts(self) -> bool:
        """True if the face graph gives landmarks, pose, attributes and the rest of `OUTPUTS`."""
        face = self.components.face
        return face is not None and OUTPUTS["face"] <= {contract.name for contract in face.outputs}

    @property
    def gives_unit_intensities(self) -> bool:
        """True if the graph of the action units gives their intensities, too."""
        source = self.components.graph(self.action_units.source) if self.action_units else None
        return source is not None and any(output.name == UNIT_INTENSITY for output in source.outputs)

    @property
    def network_alone(self) -> str:
        """Description of a bundle without a language model, for messages: its one network."""
        if self.components.au is not None and self.components.face is None:
            return "a network of action units alone"
        return "a network of labels alone" if self.face_labels.expression else "a face network alone"

    @property
    def network_tells(self) -> str:
        """Outputs of such a network that gives no labels, for messages."""
        return "face facts" if self.gives_face_facts else "action units"

    @property
    def frames_segment(self) -> FramesSegment:
        """Segment of the visual tokens, in a bundle with a language model."""
        return next(segment for segment in self.layout if isinstance(segment, FramesSegment))
