"""Results as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emo_edge.faces.second_look import looks_like_crop
from emo_edge.inference.action_units import UnitReading
from emo_edge.inference.results import EmotionResult, FaceAttributes, SourceResult
from emo_edge.inference.tasks.answers import TaskAnswer
from emo_edge.media.sources import without_password
from emo_edge.utils.text import readable_name

WAYS = {
    "yes-no": "the model's yes and no",
    "choice": "the choice between all labels",
    "head": "the network of action units",
}
"""Of a judgement."""
BAR = 20
"""Characters of a bar at 100 %."""


def face_text(result: EmotionResult, number: int, count: int) -> str:
    """Write one face: label, probabilities, values, pose, attributes that were asked for, answers, times."""
    x0, y0, x1, y1 = (round(value) for value in result.box)
    name = f"clip of {result.frames} frames" if result.frames > 1 else f"face {number} of {count}"
    label = f": {result.label} {result.probabilities[result.label]:.0%}" if result.label else ""
    turned = f", picture turned by {result.rotation}°" if result.rotation else ""
    whole = ", the whole picture: no face found in it" if result.whole_image else ""
    head = f"  {name} at {x0},{y0} {x1 - x0}x{y1 - y0}{turned}{whole}{label}"
    lines = [head, *(_bar(label, probability) for label, probability in _ranked(result.probabilities))]
    if result.values:
        lines.append(f"    {', '.join(f'{name} {value:+.2f}' for name, value in result.values.items())}")
    if result.action_units:
        lines.append(f"    action units: {', '.join(active_units(result.action_units)) or 'none active'}")
    if result.face:
        lines += _attribute_lines(result.face)
    for question, answer in result.answers.items():
        lines += [f"    {question}", f"      {answer}"]
    if result.task:
        lines += _task_lines(result.task)
    total = sum(result.stage_ms.values())
    stages = ", ".join(f"{stage} {value:.0f}" for stage, value in result.stage_ms.items())
    cold = "; first reading, cold" if result.cold else ""
    return "\n".join([*lines, f"    {total:.0f} ms on {result.settings.device} ({stages}{cold})"])


def _task_lines(task: TaskAnswer) -> list[str]:
    """Write the answer of a task, where it is no text that stands above, and its notice."""
    probability = "" if task.probability is None else f" {task.probability:.0%}"
    lines = []
    if task.answer == "judgement":
        lines.append(f"    {task.label}? {task.text}{probability}, read off {WAYS[task.judgement_by or '']}")
    status = "" if task.status == "trained" else f" ({task.status})"
    return [*lines, f"    task {task.task}{status}: {task.notice}".rstrip(": ")]


def active_units(units: Mapping[str, UnitReading]) -> list[str]:
    """Return the active units with the letters of their intensities, such as ``AU12 C``, in the order of the bundle."""
    return [f"{name} {unit.level}" if unit.level else name for name, unit in units.items() if unit.active]


def _ranked(probabilities: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(probabilities.items(), key=lambda item: -item[1])


def _bar(label: str, probability: float) -> str:
    return f"    {label:<22} {probability:6.1%} {'█' * round(BAR * probability)}".rstrip()


def _attribute_lines(face: FaceAttributes) -> list[str]:
    pose = ", ".join(f"{axis} {degrees:+.0f}°" for axis, degrees in face.pose_degrees.items())
    present = [name.replace("_", " ") for name, probability in face.attributes.items() if probability >= 0.5]
    hidden = int((face.hidden_points >= 0.5).sum())
    lines = [f"    pose: {pose}; {hidden} of {len(face.hidden_points)} points hidden"]
    if face.attributes:
        lines.append(f"    attributes: {', '.join(present) or 'none'}")
    if face.demographics:
        best = [(head, *_ranked(probabilities)[0]) for head, probabilities in face.demographics.items()]
        lines.append(f"    {', '.join(f'{head} {label} {probability:.0%}' for head, label, probability in best)}")
    return lines


def result_text(result: SourceResult) -> str:
    """Write the faces of one image or clip, or one line where there is none."""
    source = readable_name(without_password(result.source))
    when = f", {result.seconds[0]:.1f}–{result.seconds[1]:.1f} s" if result.seconds else ""
    when += f" of segment {result.segment}" if result.segment else ""
    count = len(result.faces)
    if not count:
        crop = result.image is not None and not when and looks_like_crop(result.image)
        hint = ", and --detector auto does so with such a small one by itself" if crop else ""
        return f"{source}{when}: no face found; --whole-image reads the whole picture{hint}"
    texts = [face_text(face, number, count) for number, face in enumerate(result.faces, 1)]
    return "\n".join([f"{source}{when}", *texts])


def skipped_text(entries: Sequence[tuple[str, str]], count: int | None = None) -> str:
    """Count and name the entries of folders that were not read, each with its reason; ``count`` is that of all."""
    count = len(entries) if count is None else count
    lines = [f"  {readable_name(source)}: {reason.removeprefix('skipped: ')}" for source, reason in entries]
    more = [f"  and {count - len(entries):,} more: -v names them"] if count > len(entries) else []
    return "\n".join([f"skipped {count:,} {'entry' if count == 1 else 'entries'}:", *lines, *more])
