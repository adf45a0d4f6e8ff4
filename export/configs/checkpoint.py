"""The configuration of a checkpoint: its networks, prompts and labels as data, checked as one whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from emo_edge.bundle.face_crops import CropSettings
from emo_edge.bundle.manifest import AffectiveTask, Detector, LiveLabels
from emo_edge.bundle.prompts import FaceLabels, PromptConfig, ValueRange
from emo_edge.bundle.tasks.section import TaskName, task_checks
from emo_edge.errors import CheckpointError
from emo_edge.export.configs.action_units import AuFormerConfig, MeGraphAuConfig, SaclConfig
from emo_edge.export.configs.networks import (
    LDP_V2,
    V2_GRID,
    ConnectorConfig,
    FaceConfig,
    FaceInfoConfig,
    LandmarkConfig,
    LanguageConfig,
    MiniXceptionConfig,
    OnnxGraphConfig,
    VisionConfig,
)
from emo_edge.taxonomy import LABEL_SETS
from emo_edge.utils.files import read_json
from emo_edge.utils.settings import GrowingSection, Name, Positive, problem_list, require

if TYPE_CHECKING:
    from typing import Self  # Python 3.11

CONFIG_NAME = "config.json"
FACE_NETWORK = "facexformer"
LABEL_NETWORK = "label_network"
AU_NETWORK = "au_network"
ALONE = (FACE_NETWORK, LABEL_NETWORK, AU_NETWORK)
"""Kinds of checkpoints of one network, without a language model."""


class CheckpointConfig(GrowingSection):
    """A checkpoint's ``config.json``."""

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Check a parsed ``config.json``; raise CheckpointError listing every problem at once."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise CheckpointError(problem_list(CONFIG_NAME, cls, values, error)) from error

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> Self:
        """Read ``directory/config.json``."""
        return cls.from_dict(_read_config(directory))

    def save_pretrained(self, directory: str | Path) -> None:
        """Write ``directory/config.json``."""
        Path(directory, CONFIG_NAME).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def model_type(directory: str | Path) -> str | None:
    """Return the kind of a checkpoint: one of `ALONE`, emo_llama or what else its config names."""
    values = _read_config(directory)
    return values.get("model_type") if isinstance(values, dict) else None


def _read_config(directory: str | Path) -> Any:
    return read_json(Path(directory) / CONFIG_NAME, f"a checkpoint is a directory with {CONFIG_NAME}")


class FaceXFormerConfig(CheckpointConfig):
    """A checkpoint of the face network alone: face facts, without a language model."""

    newer: ClassVar[tuple[str, ...]] = ("action_units",)
    model_type: Literal["facexformer"] = "facexformer"
    config_version: Literal[1] = 1
    face: FaceConfig = FaceConfig()
    action_units: SaclConfig | None = None
    """Network of action units on the trunk of ``face``; its weights are ``units.*``."""
    face_labels: FaceLabels = FaceLabels()
    detector: Detector = "haar"
    """Importers set it; older checkpoints have the default."""
    provenance: dict[str, str] = Field(default_factory=dict)

    @property
    def layers(self) -> int:
        """Layers of all stacks; each has weights of its own."""
        return self.face.layers


def _architecture(values: Any) -> str:
    """Return the tag of a network of labels; a mini-Xception need not name itself."""
    if isinstance(values, dict):
        return str(values.get("architecture", "mini_xception"))
    return str(getattr(values, "architecture", "mini_xception"))


LabelNetworkParts = Annotated[
    Annotated[MiniXceptionConfig, Tag("mini_xception")] | Annotated[OnnxGraphConfig, Tag("onnx_graph")],
    Discriminator(
        _architecture,
        custom_error_type="architecture",
        custom_error_message="network.architecture must be mini_xception or onnx_graph",
    ),
]


class LabelNetworkConfig(CheckpointConfig):
    """A checkpoint of a network that gives label logits for a face's crop, without a language model."""

    model_type: Literal["label_network"] = "label_network"
    config_version: Literal[1] = 1
    network: LabelNetworkParts = MiniXceptionConfig()
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    """Names of the network's rows."""
    values: Annotated[tuple[ValueRange, ...], Field(max_length=64)] = ()
    """Names and scales of the rows behind them, of an ``onnx_graph``."""
    label_sets: Annotated[dict[Name, tuple[str, ...]], Field(min_length=1)]
    """Sets of those labels that can be asked for, in the order of the results."""
    crop: CropSettings
    detector: Detector = "haar"
    temperature: Positive = 1.0
    provenance: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _parts_fit(self) -> LabelNetworkConfig:
        columns = self.network.outputs if isinstance(self.network, OnnxGraphConfig) else len(self.labels)
        names = {value.name for value in self.values}
        others = {label for labels in self.label_sets.values() for label in labels} - set(self.labels)
        require(
            (len(set(self.labels)) == len(self.labels), "labels has a name twice"),
            (not others, f"label_sets has labels that the network lacks: {', '.join(sorted(others))}"),
            *(
                (len(set(labels)) == len(labels) > 1, f"label_sets.{name} needs two or more different labels")
                for name, labels in self.label_sets.items()
            ),
            (self.crop.size == self.network.image_size, "crop.size must be network.image_size"),
            (len(names) == len(self.values), "values has a name twice"),
            (
                columns >= len(self.labels) + len(self.values),
                f"network.outputs {columns} are fewer than labels and values",
            ),
        )
        return self


def _unit_network(values: Any) -> str:
    """Return the tag of a network of action units; an AUFormer need not name itself."""
    if isinstance(values, dict):
        return str(values.get("network", "auformer"))
    return str(getattr(values, "network", "auformer"))


UnitNetworkParts = Annotated[
    Annotated[AuFormerConfig, Tag("auformer")] | Annotated[MeGraphAuConfig, Tag("me_graphau")],
    Discriminator(
        _unit_network,
        custom_error_type="network",
        custom_error_message="network.network must be auformer or me_graphau",
    ),
]


class AuNetworkConfig(CheckpointConfig):
    """A checkpoint of a network of action units of its own, without a language model."""

    model_type: Literal["au_network"] = "au_network"
    config_version: Literal[1] = 1
    network: UnitNetworkParts
    """Units, thresholds and sizes; its weights are ``network.*``."""
    crop: CropSettings
    detector: Detector = "haar"
    provenance: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _crop_fits(self) -> AuNetworkConfig:
        require((self.crop.size == self.network.image_size, "crop.size must be network.image_size"))
        return self

    @property
    def layers(self) -> int:
        """Layers of the network; each has weights of its own."""
        return self.network.layers


class EmoLlamaConfig(CheckpointConfig):
    """Everything about a checkpoint that its weights do not show.

    ``face`` and ``face_info`` may be absent: a checkpoint without Face Info Mining weights runs on
    LLaMA-VID's tokens, the face facts and the demographic sentence alone. ``landmark`` is there in EmoLA's.
    """

    model_config = ConfigDict(validate_default=True)

    newer: ClassVar[tuple[str, ...]] = ("action_units", "live", "tasks")
    model_type: Literal["emo_llama"] = "emo_llama"
    config_version: Literal[1] = 1
    vision: VisionConfig = VisionConfig()
    connector: ConnectorConfig = ConnectorConfig()
    face: FaceConfig | None = FaceConfig()
    face_info: FaceInfoConfig | None = FaceInfoConfig()
    action_units: SaclConfig | None = None
    """Network of action units on the trunk of ``face``; its weights are ``units.*``."""
    landmark: LandmarkConfig | None = None
    language: LanguageConfig = LanguageConfig()
    prompt: PromptConfig = PromptConfig()
    face_labels: FaceLabels = FaceLabels()
    label_sets: dict[Name, tuple[str, ...]] = LABEL_SETS
    detector: Detector = "haar"
    """Importers set it; emo-tiny and older checkpoints have the default."""
    live: LiveLabels | None = None
    """Fitted settings of live labels, which its bundles have too."""
    tasks: dict[TaskName, AffectiveTask] | None = None
    """Affective tasks, which its bundles have too."""
    provenance: dict[str, str] = Field(default_factory=dict)

    # Checks between parts sit on the later part: one bad part then hides no problem of the others.

    @field_validator("connector")
    @classmethod
    def _grid_divides(cls, connector: ConnectorConfig, info: ValidationInfo) -> ConnectorConfig:
        vision, grid = info.data.get("vision"), connector.pool_grid
        if vision and connector.projector_type == LDP_V2:
            fits = vision.grid % V2_GRID == 0
            require((fits, f"connector.projector_type {LDP_V2} needs a grid of patches that {V2_GRID} divides"))
        if vision and connector.qformer:
            require((vision.class_tokens == 1, "connector.qformer needs a tower with a class token"))
        if vision and connector.kept_tokens:
            room = connector.kept_tokens <= vision.grid**2
            require(
                (vision.class_tokens == 1, "connector.kept_tokens needs a tower with a class token"),
                (room, f"connector.kept_tokens {connector.kept_tokens} are more than the {vision.grid**2} patches"),
            )
        if vision and grid:
            name, side = connector.compress_type, vision.grid
            require((side % grid == 0, f"connector.compress_type {name!r} does not divide the {side}x{side} patch map"))
        return connector

    @field_validator("face_info")
    @classmethod
    def _face_there(cls, face_info: FaceInfoConfig | None, info: ValidationInfo) -> FaceInfoConfig | None:
        absent = "face" in info.data and info.data["face"] is None
        require((face_info is None or not absent, "face_info needs face: it reads the face map"))
        return face_info

    @field_validator("action_units")
    @classmethod
    def _trunk_there(cls, action_units: SaclConfig | None, info: ValidationInfo) -> SaclConfig | None:
        absent = "face" in info.data and info.data["face"] is None
        require((action_units is None or not absent, "action_units needs face: it reads the face trunk"))
        return action_units

    @field_validator("landmark")
    @classmethod
    def _one_face_crop(cls, landmark: LandmarkConfig | None, info: ValidationInfo) -> LandmarkConfig | None:
        face, connector = info.data.get("face"), info.data.get("connector")
        if landmark is not None:
            plain = connector is None or (connector.projector_depth > 0 and not connector.halves)
            require(
                (face is None, "landmark takes the place of face: one network reads the face's crop"),
                (plain, "landmark needs a projector, connector.projector_type identity is none"),
            )
        return landmark

    @field_validator("tasks")
    @classmethod
    def _tasks_fit(cls, tasks: dict[TaskName, AffectiveTask] | None) -> dict[TaskName, AffectiveTask] | None:
        require(*(check for name, task in (tasks or {}).items() for check in task_checks(name, task)))
        return tasks

    @field_validator("language")
    @classmethod
    def _identity_fits(cls, language: LanguageConfig, info: ValidationInfo) -> LanguageConfig:
        vision, connector = info.data.get("vision"), info.data.get("connector")
        if vision and connector and connector.projector_depth == 0:
            fits = vision.hidden_size == language.hidden_size
            require((fits, "connector.projector_type identity needs vision.hidden_size == language.hidden_size"))
        return language

    @field_validator("label_sets")
    @classmethod
    def _labels_differ(cls, label_sets: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        require(
            *(
                (len(set(labels)) == len(labels) > 1, f"label_sets.{name} needs two or more different labels")
                for name, labels in label_sets.items()
            )
        )
        return label_sets

    def with_kept_tokens(self, count: int | None) -> Self:
        """Return the same with another number of visual tokens that a frame's patches are reduced to.

        Raises CheckpointError where this checkpoint's tokens are not those of patches, or not so many.
        """
        values = self.model_dump(mode="json")
        values["connector"]["kept_tokens"] = count
        return self.from_dict(values)

    @property
    def layers(self) -> int:
        """Layers of all stacks; each has weights of its own."""
        qformer = self.connector.qformer
        own = self.vision.num_layers + self.language.num_hidden_layers + (qformer.num_layers if qformer else 0)
        return own + (self.face.layers if self.face else 0)

    @property
    def tokens_per_frame(self) -> int:
        """Visual tokens a frame adds to the prompt: context + content + face."""
        return self.visual_tokens_per_frame + self.face_tokens_per_frame

    @property
    def face_tokens_per_frame(self) -> int:
        """Those of Face Info Mining, or the landmark token."""
        return self.face_info.num_tokens if self.face_info else int(self.landmark is not None)

    @property
    def visual_tokens_per_frame(self) -> int:
        """Those of the connector: context, unless it reads no question, and content; or the Q-Former's queries."""
        if self.connector.query_tokens and self.connector.qformer:
            return self.connector.qformer.num_queries
        if self.connector.kept_tokens:
            return self.connector.kept_tokens
        grid = self.connector.pool_grid or self.vision.grid
        if self.connector.halves:
            grid = V2_GRID if self.connector.projector_type == LDP_V2 else (grid + 1) // 2
        return (self.connector.qformer is not None) + grid * grid
