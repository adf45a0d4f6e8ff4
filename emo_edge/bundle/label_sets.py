"""Labels of a request: a set of the manifest by name, or the user's own list; the question that asks for them.

A label typed instead of a set is the usual reason for an unknown set, and the error says so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from emo_edge.bundle.manifest import Manifest
from emo_edge.bundle.prompts import classify_question
from emo_edge.errors import InputError
from emo_edge.taxonomy import LABEL_SETS
from emo_edge.utils.suggestions import close_names, did_you_mean

logger = logging.getLogger(__name__)

DEFAULT = "rafdb7"
"""Label set of a request that names none, where the bundle has it."""
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
ALMOST = 0.85
"""Likeness, of 1, from which a word of the user's own list is taken for a label with a typing error."""


def label_words(text: str) -> str | tuple[str, ...]:
    """Return what a text names: the labels of a list with commas, else a set by its name."""
    return tuple(text.split(",")) if "," in text else text


def typed_labels(text: str | None) -> str | tuple[str, ...] | None:
    """Read ``--labels`` as `label_words` does; warn of a label that looks like a typing error, and use it as it is."""
    if not text:
        return text
    words, known = label_words(text), {label for labels in LABEL_SETS.values() for label in labels}
    for word in (one.strip() for one in words) if isinstance(words, tuple) else ():
        if word.lower() not in known | EVERYDAY_WORDS.keys():
            for meant in get_close_matches(word.lower(), sorted(known), n=1, cutoff=ALMOST):
                logger.warning("%s is taken as a label of your own; did you mean %s?", word, meant)
    return words


def resolve_labels(manifest: Manifest, labels: str | Sequence[str] | None) -> tuple[str, ...]:
    """Look up a label set by name, or check the user's own list; None takes `default_set`.

    Raises InputError for an unknown set, a list that cannot be used, or a label that the bundle's network lacks.
    """
    if labels is None:
        labels = default_set(manifest)
    if isinstance(labels, str):
        if labels not in manifest.label_sets:
            raise InputError(unknown_label_set(labels, manifest.label_sets))
        return manifest.label_sets[labels]
    own, rows = tuple(label.strip() for label in labels), manifest.face_labels.expression
    if len(own) < 2 or len(set(own)) < len(own) or not all(own):
        raise InputError(f"give two or more different labels, not {list(own)}")
    if rows and (unknown := [label for label in own if label not in rows]):
        raise InputError(f"{manifest.name} knows the labels {', '.join(rows)}, not {', '.join(unknown)}")
    return own


def default_set(manifest: Manifest) -> str:
    """Return the label set of a request that names none: `DEFAULT`, else the bundle's first set.

    A network of labels of its own is asked for all of them: `DEFAULT` would leave out AffectNet's contempt.
    """
    own, sets = set(manifest.face_labels.expression), manifest.label_sets
    left_out = own - set(sets.get(DEFAULT, ()))
    whole = next((name for name, labels in sets.items() if own <= set(labels)), None) if own and left_out else None
    return whole or (DEFAULT if DEFAULT in sets else next(iter(sets), DEFAULT))


def ask_for_labels(manifest: Manifest, labels: Sequence[str], *, clip: bool) -> str:
    """Write the trained category question."""
    return classify_question(manifest.prompt, labels, clip=clip)


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
