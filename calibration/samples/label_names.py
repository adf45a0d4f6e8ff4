"""Labels of a user's pictures in the bundle's words, as `bench` reads them: spelling, adjectives, the user's map."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from emo_edge.assets.packaged import Sample
from emo_edge.errors import InputError
from emo_edge.taxonomy import ADJECTIVES
from emo_edge.utils.suggestions import did_you_mean, plain

logger = logging.getLogger(__name__)


def with_labels_of(
    samples: Sequence[Sample], labels: Sequence[str], label_map: Mapping[str, str] | None = None
) -> list[Sample]:
    """Give each sample the name of its label in ``labels``; a name that is none of them stays.

    Args:
        samples: a label of theirs may be spelled in another way, or be the adjective of one of ``labels``.
        labels: names that the bundle knows.
        label_map: their label to one of ``labels``, or to "" to leave its samples out; it decides before the rest.

    Raises InputError for a map to a label that the bundle does not know, and if the map leaves no sample.
    """
    known = {plain(label): label for label in labels}
    words = {word: label for word, label in ADJECTIVES.items() if label in labels} | known
    for theirs, ours in (label_map or {}).items():
        if ours and plain(ours) not in known:
            raise InputError(
                f"`label_map` {theirs}={ours}: choose from {', '.join(labels)}{did_you_mean(ours, labels)}"
            )
        words[plain(theirs)] = known.get(plain(ours), "")
    for theirs in _unused(samples, label_map or {}):
        logger.warning("label map %s: no sample has this label", theirs)
    named = [sample if sample.expression is None else _named(sample, words) for sample in samples]
    kept = [sample for sample in named if sample.expression != ""]
    if samples and not kept:
        raise InputError("`label_map` leaves every sample out")
    return kept


def _named(sample: Sample, words: Mapping[str, str]) -> Sample:
    label = str(sample.expression)
    return replace(sample, expression=words.get(plain(label), label))


def _unused(samples: Sequence[Sample], label_map: Mapping[str, str]) -> list[str]:
    present = {plain(sample.expression) for sample in samples if sample.expression is not None}
    return [theirs for theirs in label_map if plain(theirs) not in present]
