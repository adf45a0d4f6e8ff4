"""The affective tasks of emo-tiny: those of GPT4Affectivity, with what it was trained for, and the evidence."""

from __future__ import annotations

from collections.abc import Mapping

from emo_edge.bundle.manifest import AffectiveTask
from emo_edge.bundle.prompts import PromptConfig
from emo_edge.bundle.tasks.gpt4affectivity import TASKS
from emo_edge.bundle.tasks.section import LEAST_AUC, YES_NO_AUC, TaskName

Evidence = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Figures by task and kind of answer."""
EVIDENCE: Evidence = {
    "au": {
        "judgement": {
            "samples": 350.0,
            "auc_head": 0.978,
            "auc_head_least_unit": 0.939,
            "correct_head": 0.9612,
        },
    },
    "expression": {
        "choice": {
            "samples": 350.0,
            "accuracy": 0.9343,
            "accuracy_low": 0.9033,
            "accuracy_high": 0.9558,
        },
        "judgement": {
            "samples": 350.0,
            "auc_choice": 0.9944,
            "auc_choice_low": 0.9899,
            "auc_choice_high": 0.9976,
            "auc_choice_least_label": 0.9818,
            "correct_choice": 0.982,
            "auc_yes_no": 0.4904,
            "auc_yes_no_low": 0.4708,
            "auc_yes_no_high": 0.511,
            "auc_yes_no_least_label": 0.1065,
            "correct_yes_no": 0.2416,
        },
    },
    "compound": {
        "choice": {
            "samples": 330.0,
            "accuracy": 0.2121,
            "accuracy_low": 0.1715,
            "accuracy_high": 0.2594,
            "chance": 0.0909,
        },
        "product_of_two": {
            "samples": 330.0,
            "accuracy": 0.5061,
            "accuracy_low": 0.4524,
            "accuracy_high": 0.5596,
            "chance": 0.0909,
        },
    },
    "heart-rate": {
        "open": {
            "answers": 500.0,
            "with_the_number": 500.0,
            "refused": 50.0,
            "refused_without_number": 50.0,
        },
    },
}
"""Measured by `emo_edge.benchmarks.affective_tasks`."""


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
