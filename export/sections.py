"""What every group of settings is made of: closed keys, bounded numbers, all problems reported at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Size = Annotated[int, Field(ge=1, le=1 << 20, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
TokenId = Annotated[int, Field(ge=0, strict=True)]
Mean = Annotated[float, Field(ge=0, le=1)]
Rgb = tuple[Mean, Mean, Mean]
RgbScale = tuple[Positive, Positive, Positive]


def require(*checks: tuple[bool, str]) -> None:
    """Raise one ValueError with the message of every check that does not hold, a line each."""
    problems = [message for holds, message in checks if not holds]
    if problems:
        raise ValueError("\n".join(problems))


class Section(BaseModel):
    """A closed, immutable group of settings: an unknown key is an error that names it."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def problem_list(error: ValidationError) -> str:
    """List every problem that validation found, with its place."""
    lines = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"]) or "config"
        text = "unknown key" if problem["type"] == "extra_forbidden" else problem["msg"].removeprefix("Value error, ")
        lines += [f"  {place}: {line}" for line in text.splitlines()]
    return f"config.json has {len(lines)} problem(s):\n" + "\n".join(lines)
