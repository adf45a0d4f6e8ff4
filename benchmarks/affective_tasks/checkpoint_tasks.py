"""The affective tasks of a checkpoint in its ``config.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emo_edge.bundle.manifest import AffectiveTask
from emo_edge.bundle.tasks.section import TaskName
from emo_edge.errors import InputError
from emo_edge.utils.files import replace_text


def write_tasks(config: Path, tasks: Mapping[TaskName, AffectiveTask]) -> None:
    """Put the tasks into a checkpoint's ``config.json``, before its provenance; every other character stays."""
    mark = '\n  "provenance": {'
    text = re.sub(r'\n  "tasks": \{.*?\n  \},', "", config.read_text(encoding="utf-8"), flags=re.DOTALL)
    before, provenance, after = text.partition(mark)
    if not provenance:
        raise InputError(f"{config}: no provenance at the place where emo-edge writes it")
    values: dict[str, Any] = {name: task.model_dump(exclude_defaults=True) for name, task in tasks.items()}
    written = json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False).replace("\n", "\n  ")
    replace_text(config, f'{before}\n  "tasks": {written},{provenance}{after}')
