"""Which label a free-text answer names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from emo_edge.benchmarks.dataset_listing import ADJECTIVES


def named_label(text: str, labels: Sequence[str]) -> int | None:
    """Return the index of the label that is named first, as a whole word or as its adjective; None where none is.

    At one place the longer name counts: "happily surprised" is not "surprised". Words are looked for, not
    understood: "not happy" names happiness.
    """
    names = {label.casefold(): index for index, label in enumerate(labels)}
    names |= {word: labels.index(label) for word, label in ADJECTIVES.items() if label in labels and word not in names}
    longest_first = sorted(names, key=len, reverse=True)
    found = re.search(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", text.casefold())
    return names[found[0]] if found else None
