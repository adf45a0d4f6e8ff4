"""Base of every group of settings: closed keys, bounded numbers, all problems reported at once."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from emo_edge.utils.text import NAME_BREAKS, UNPRINTABLE, quoted

Size = Annotated[int, Field(ge=1, le=1 << 20, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
"""Names that users type: lower case, no spaces."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
TokenId = Annotated[int, Field(ge=0, strict=True)]
Mean = Annotated[float, Field(ge=0, le=1)]
Rgb = tuple[Mean, Mean, Mean]
RgbScale = tuple[Positive, Positive, Positive]


LISTED = 50
"""Problems that an error names."""


def _one_line(text: str) -> str:
    if NAME_BREAKS.search(text):
        raise ValueError(f"{quoted(text)} holds a character that a terminal obeys")
    return text


def _plain(text: str) -> str:
    if UNPRINTABLE.search(text):
        raise ValueError(f"{quoted(text)} holds a character that a terminal obeys")
    return text


Line = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_one_line)]
"""A name or label that is printed."""
Figures = Annotated[dict[Line, Finite], Field(max_length=256)]
"""Measured figures by name."""
Text = Annotated[str, Field(max_length=16384), AfterValidator(_plain)]
"""A prompt or a note, of several lines if need be."""


def require(*checks: tuple[bool, str]) -> None:
    """Raise one ValueError with the message of every check that does not hold, a line each."""
    problems = [message for holds, message in checks if not holds]
    if problems:
        raise ValueError("\n".join(problems))


class Section(BaseModel):
    """A closed, immutable group of settings: an unknown key is an error that names it."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class GrowingSection(Section):
    """A section that gained fields after its first release: those are left out where they are absent.

    What has none of them is written byte by byte as it always was, and older programs read it.
    """

    newer: ClassVar[tuple[str, ...]] = ()
    """Names of these fields."""

    @model_serializer(mode="wrap")
    def _without_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        return {name: value for name, value in values.items() if value is not None or name not in self.newer}


def problem_list(name: str, section: type[Section], values: Any, error: ValidationError) -> str:
    """List every problem that validation found in ``values``, the content of file ``name``, with its path.

    An unknown key keeps pydantic from checking its section's sizes, so the rest is checked once more without it.
    """
    problems = list(error.errors())
    unknown = [problem["loc"] for problem in problems if problem["type"] == "extra_forbidden"]
    if unknown:
        try:
            section.model_validate(_without(values, unknown))
        except ValidationError as rest:
            known = {(problem["loc"], problem["msg"]) for problem in problems}
            problems += [problem for problem in rest.errors() if (problem["loc"], problem["msg"]) not in known]
    lines = []
    for problem in problems:
        path = ".".join(_shown(part) for part in _keys(values, problem["loc"])) or Path(name).stem
        text = "unknown key" if problem["type"] == "extra_forbidden" else problem["msg"].removeprefix("Value error, ")
        lines += [f"  {path}: {line}" for line in text.splitlines()]
    more = [f"  and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    return "\n".join([f"{name} has {len(lines)} problem(s):", *lines[:LISTED], *more])


def _keys(values: Any, path: tuple[int | str, ...]) -> Iterator[int | str]:
    """Yield the keys of a path, without the tags of unions that pydantic puts into it: they lead nowhere."""
    for number, part in enumerate(path, 1):
        leads = isinstance(values, list) or (isinstance(values, dict) and part in values)
        if leads or number == len(path) or not isinstance(values, dict):
            yield part
        if leads:
            values = values[part] if not isinstance(values, list) or part in range(len(values)) else None


def _shown(part: int | str) -> str:
    """Return a part of a path; a key of a stranger's choice is quoted where it is long or would move a cursor."""
    return quoted(part) if isinstance(part, str) and (len(part) > 64 or NAME_BREAKS.search(part)) else str(part)


def _without(values: Any, paths: list[tuple[int | str, ...]]) -> Any:
    pruned = copy.deepcopy(values)
    for path in paths:
        owner: Any = pruned
        for part in path[:-1]:
            inner: Any = owner[part] if isinstance(part, int) or part in owner else None
            # What leads nowhere is the tag of a union, which pydantic puts into the path.
            owner = inner if isinstance(inner, dict | list) else owner
        if isinstance(owner, dict):
            owner.pop(path[-1], None)
    return pruned
