"""The sizes of networks that detect action units, and the units of their outputs, as data.

Two are reconstructions: no code and no weights of AUFormer (Yuan et al., ECCV 2024, arXiv 2403.04697) and of SACL-AU
(Liu et al., arXiv 2308.07770) were ever published. ME-GraphAU's weights are public.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from emo_edge.export.configs.bounds import MOST_CELLS, Heads, Layers, Pixels, Ratio, RgbScale, Width, Window
from emo_edge.export.configs.networks import VisionConfig
from emo_edge.taxonomy import FACS_UNITS
from emo_edge.utils.settings import Rgb, Section, require

BP4D_UNITS = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
DISFA_UNITS = (1, 2, 4, 6, 9, 12, 25, 26)

Unit = Annotated[int, Field(ge=1, le=99, strict=True)]
Threshold = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Dilation = Annotated[int, Field(ge=1, le=16, strict=True)]


class UnitsConfig(Section):
    """The units that a network detects."""

    units: Annotated[tuple[Unit, ...], Field(min_length=1, max_length=len(FACS_UNITS))]
    """FACS numbers, in the order of the outputs."""
    intensity: bool = False
    """True where the network also gives each unit's intensity from 0 to 5."""
    thresholds: tuple[Threshold, ...] = ()
    """Probability from which each unit counts as active; empty is 0.5 for all."""

    @model_validator(mode="after")
    def _units_fit(self) -> UnitsConfig:
        unknown = [unit for unit in self.units if unit not in FACS_UNITS]
        require(
            (not unknown, f"units {', '.join(map(str, unknown))} are none of FACS: {', '.join(map(str, FACS_UNITS))}"),
            (len(set(self.units)) == len(self.units), "units name one unit twice"),
            (
                len(self.thresholds) in (0, len(self.units)),
                f"thresholds has {len(self.thresholds)} numbers for {len(self.units)} units",
            ),
        )
        return self

    @property
    def active_from(self) -> tuple[float, ...]:
        """Probability from which each unit counts as active."""
        return self.thresholds or (0.5,) * len(self.units)


class SaclConfig(UnitsConfig):
    """Multi-scale features and a correlation graph on the last three stages of a face trunk."""

    network: Literal["sacl"] = "sacl"
    hidden_size: Width = 64
    dilations: tuple[Dilation, Dilation, Dilation] = (1, 2, 3)
    neighbours: Annotated[int, Field(ge=1, le=64, strict=True)] = 4
    """Units that a unit hears in each stage, itself among them where it is one of the strongest."""
    graph: Literal["self_adjusting", "fixed", "none"] = "self_adjusting"
    """``fixed`` learns one graph for all pictures, ``none`` leaves the graph out."""
    multi_scale: bool = True
    """False leaves out the dilated convolutions."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> SaclConfig:
        require(
            (self.hidden_size % 4 == 0, "hidden_size must be a multiple of 4: each dilation has a quarter of it"),
            (self.neighbours <= len(self.units), "neighbours must not exceed the number of units"),
        )
        return self


class AuFormerConfig(UnitsConfig):
    """A frozen vision transformer whose blocks have a small expert for each unit."""

    network: Literal["auformer"] = "auformer"
    tower: VisionConfig = VisionConfig(
        image_size=224, patch_size=16, hidden_size=768, num_layers=12, num_heads=12, mlp_size=3072
    )
    expert_size: Annotated[int, Field(ge=1, le=64, strict=True)] = 8
    """Channels of an expert."""
    dilations: tuple[Dilation, Dilation, Dilation] = (1, 3, 5)
    multi_receptive: bool = True
    context_aware: bool = True
    """False leaves out one of the two parts of an expert."""
    image_size: Pixels = 224

    @model_validator(mode="after")
    def _sizes_fit(self) -> AuFormerConfig:
        require(
            (self.image_size == self.tower.image_size, "image_size must be that of the tower"),
            (self.tower.tower == "eva", "tower.tower must be eva: its class token stands first, and no norm last"),
        )
        return self

    @property
    def layers(self) -> int:
        """Layers of the tower; each has weights of its own."""
        return self.tower.num_layers

    @property
    def image_mean(self) -> Rgb:
        """Mean that the tower's pixels are normalised with."""
        return self.tower.image_mean

    @property
    def image_std(self) -> RgbScale:
        """Deviation that they are normalised with."""
        return self.tower.image_std


class MeGraphAuConfig(UnitsConfig):
    """ME-GraphAU (Luo et al., IJCAI 2022, arXiv 2205.01782): a Swin trunk, and a graph of the units."""

    network: Literal["me_graphau"] = "me_graphau"
    intensity: Literal[False] = False
    image_size: Pixels = 224
    patch_size: Pixels = 4
    embed_dim: Width = 128
    depths: tuple[Layers, Layers, Layers, Layers] = (2, 2, 18, 2)
    num_heads: tuple[Heads, Heads, Heads, Heads] = (4, 8, 16, 32)
    window_size: Window = 7
    mlp_ratio: Ratio = 4.0
    neighbours: Annotated[int, Field(ge=1, le=64, strict=True)] = 4
    """Units that a unit hears in the first stage, the ones most similar to it."""
    graph: Literal["similar", "edges", "open_edges"] = "similar"
    """The first stage; the second one, with features of edges; that of OpenGraphAU, which adds in another order."""
    image_mean: Rgb = (0.485, 0.456, 0.406)
    image_std: RgbScale = (0.229, 0.224, 0.225)

    @model_validator(mode="after")
    def _sizes_fit(self) -> MeGraphAuConfig:
        widths = [self.embed_dim << stage for stage in range(len(self.num_heads))]
        stages = enumerate(zip(widths, self.num_heads, strict=True), 1)
        require(
            (self.image_size % self.patch_size == 0, "image_size must be a multiple of patch_size"),
            (self.image_size // self.patch_size <= MOST_CELLS, f"image_size must be at most {MOST_CELLS} patches"),
            (self.embed_dim * self.mlp_ratio >= 1, "mlp_ratio leaves its feed-forward networks no width"),
            (self.neighbours <= len(self.units), "neighbours must not exceed the number of units"),
            *(
                (width % heads == 0, f"stage {stage}: width {width} must be a multiple of its {heads} heads")
                for stage, (width, heads) in stages
            ),
        )
        return self

    @property
    def layers(self) -> int:
        """Blocks of the trunk; each has weights of its own."""
        return sum(self.depths)
