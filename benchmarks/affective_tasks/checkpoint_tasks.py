"""The affective tasks of emo-tiny: those of GPT4Affectivity, with what it was trained for, and the evidence."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emo_edge.bundle.manifest import AffectiveTask
from emo_edge.bundle.prompts import PromptConfig
from emo_edge.bundle.tasks.gpt4affectivity import TASKS
from emo_edge.bundle.tasks.section import LEAST_AUC, YES_NO_AUC, TaskName
from emo_edge.errors import InputError
from emo_edge.utils.files import replace_text

Evidence = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Figures by task and kind of answer."""


def own_tasks(prompt: PromptConfig, evidence: Evidence, *, gives_units: bool) -> dict[TaskName, AffectiveTask]:
    """Return the tasks of a checkpoint that was trained for expressions, with its own questions for them.

    A judgement is believed by yes and no from `LEAST_AUC` on, and else read off the choice. ``gives_units`` says that
    it was trained for action units, too.
    """
    tasks = dict(TASKS)
    if gives_units:
        tasks["au"] = tasks["au"].model_copy(update={"status": "trained"})
    basic = tasks["expression"]
    # The braces around the labels, which the category question writes doubled, are plain here.
    choice = prompt.classify.replace("{{{labels}}}", "{{labels}}")
    auc = evidence.get("expression", {}).get("judgement", {}).get(YES_NO_AUC, 0.0)
    tasks["expression"] = basic.model_copy(
        update={
            "questions": basic.questions.model_copy(update={"open": prompt.describe, "choice": choice}),
            "judgement_by": "yes-no" if auc >= LEAST_AUC else "choice",
            "status": "trained",
        }
    )
    return {
        name: AffectiveTask.model_validate({**task.model_dump(), "evidence": evidence.get(name, {})})
        for name, task in tasks.items()
    }


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
