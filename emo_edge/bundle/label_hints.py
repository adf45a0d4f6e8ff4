"""The error for an unknown label set; a label typed instead of a set is the usual reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emo_edge.utils.suggestions import close_names, did_you_mean

EVERYDAY_WORDS = {
    "joy": "happiness",
    "joyful": "happiness",
    "happy": "happiness",
    "smile": "happiness",
    "rage": "anger",
    "angry": "anger",
    "mad": "anger",
    "sad": "sadness",
    "sorrow": "sadness",
    "grief": "sadness",
    "scared": "fear",
    "afraid": "fear",
    "fearful": "fear",
    "surprised": "surprise",
    "astonishment": "surprise",
    "disgusted": "disgust",
    "calm": "neutral",
    "none": "neutral",
}
"""Words for which the data sets of the field have another one."""


def unknown_label_set(word: str, label_sets: Mapping[str, Sequence[str]]) -> str:
    """Return the error's text for a word that is no name of a label set."""
    message = f"no label set {word!r}; there are: {', '.join(label_sets)}"
    hint = did_you_mean(word, label_sets)
    label = "" if hint else _label(word, [name for names in label_sets.values() for name in names])
    if label:
        other = "neutral" if label != "neutral" else "happiness"
        hint = f"; did you mean {label}? Labels instead of a set are two or more, with commas: {label},{other}"
    return message + hint


def _label(word: str, labels: Sequence[str]) -> str:
    """Return the label that a word stands for: itself, its everyday word's, or the one that is spelled almost alike."""
    typed = word.strip().lower()
    named = typed if typed in labels else EVERYDAY_WORDS.get(typed, "")
    return named if named in labels else next(iter(close_names(typed, labels)), "")
