"""The types that the parts of a report are made of: numbers, figures with intervals, times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from emo_edge.utils.settings import Section, require

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Measure = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


class Part(Section):
    """An immutable part of a report; further keys are ignored, and null is as good as absent."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        return (
            {key: value for key, value in given.items() if value is not None} if isinstance(given, Mapping) else given
        )


class Interval(Part):
    """A figure with its 95 % interval, where it has one."""

    value: Finite
    low: Finite | None = None
    high: Finite | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Interval:
        ordered = self.low is None or self.high is None or self.low <= self.high
        require((ordered, f"the interval ends at {self.high}, below its start {self.low}"))
        return self


class Times(Part):
    """Milliseconds of repeated calls."""

    p50: Measure | None = None
    p90: Measure | None = None
    p99: Measure | None = None
    min: Measure | None = None
    mean: Measure | None = None
    samples: Count | None = None
    raw: tuple[Measure, ...] = ()


def _under(key: str) -> Any:
    """Take a bare number for the only figure of a part."""
    return BeforeValidator(lambda given: {key: given} if isinstance(given, int | float) else given)


Figure = Annotated[Interval, _under("value")]
Timed = Annotated[Times, _under("p50")]
