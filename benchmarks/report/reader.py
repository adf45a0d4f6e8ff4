"""Read a benchmark's report, and refuse other files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from emo_edge.benchmarks.report.schema import SCHEMA, Report
from emo_edge.errors import InputError
from emo_edge.utils.json_values import json_values
from emo_edge.utils.settings import problem_list

REPORT_NAME = "report.json"
LARGEST = 256 << 20
"""Bytes; a run of 10,000 rounds keeps about a hundredth of it."""
SHOWN = 5
"""Problems that an error lists; more have the same cause as a rule."""


def report_from_json(path: Path) -> Report:
    """Read ``report.json``, or the folder that holds it.

    Raises InputError for a file that is missing, cut off, no report, or of another schema version, and names the
    key of each wrong value.
    """
    file = path / REPORT_NAME if path.is_dir() else path
    return checked_report(_values(file), str(file))


def checked_report(values: Any, source: str = REPORT_NAME) -> Report:
    """Check the values of a JSON file; errors call it ``source``. Raises InputError as `report_from_json`."""
    if not isinstance(values, Mapping) or "schema" not in values or "rows" not in values:
        raise InputError(f"{source}: not a report of emo-edge bench; give the report.json that it wrote")
    if values["schema"] != SCHEMA:
        version = str(values["schema"])[:40]
        raise InputError(
            f"{source}: schema version {version}, and this emo-edge reads {SCHEMA}; measure again, or use the version "
            "that wrote it"
        )
    try:
        return Report.model_validate(values)
    except ValidationError as error:
        head, *problems = problem_list(source, Report, values, error).splitlines()
        more = [f"  and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise InputError("\n".join([head, *problems[:SHOWN], *more])) from error


def _values(file: Path) -> Any:
    try:
        if file.stat().st_size > LARGEST:
            raise InputError(
                f"{file}: larger than any report ({LARGEST >> 20} MiB); give the report.json of a benchmark"
            )
        return json_values(file.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file; emo-edge bench --out FOLDER writes one") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InputError(
            f"{file}: cut off or not JSON ({error.msg}, {where}); measure again or copy it whole"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error}); give the report.json of a benchmark") from error
