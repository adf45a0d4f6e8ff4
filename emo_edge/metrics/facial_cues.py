"""Read the facial action units that a written answer names."""

from __future__ import annotations

import re

CUES: dict[int, str] = {
    1: "the inner brows are raised",
    2: "the outer brows are raised",
    4: "the brows are drawn together",
    5: "the upper eyelids are lifted",
    6: "the cheeks are pushed up",
    7: "the eyelids are tightened",
    9: "the nose is wrinkled",
    10: "the upper lip is raised",
    12: "the lip corners are pulled up",
    14: "the lip corners are dimpled",
    15: "the lip corners are pulled down",
    17: "the chin is bunched",
    20: "the lips are stretched",
    23: "the lips are tightened",
    24: "the lips are pressed together",
    25: "the lips are parted",
    26: "the jaw is dropped",
}
"""One phrase for each action unit, as emo-tiny writes it; no phrase is part of another."""

_IS = r"(?:is |are |being )?(?:\w+ly )?"
_BROWS = r"(?:eye)?brows?"
_WORDS: dict[int, str] = {
    1: rf"(?<!outer )(?<!outer eye){_BROWS} {_IS}(?:raised|lifted)|(?:raised|lifted) (?:inner )?{_BROWS}",
    2: rf"(?<!inner )(?<!inner eye){_BROWS} {_IS}(?:raised|lifted)|(?:raised|lifted) (?:outer )?{_BROWS}",
    4: rf"{_BROWS} {_IS}(?:furrowed|lowered|knit\w*|(?:drawn|pulled) together)"
    rf"|(?:furrowed|lowered|knit\w*) (?:eye)?brows?|\bfrown\w*",
    5: rf"(?:eyes|eyelids) {_IS}(?:wide|widened|(?:wide )?open(?:ed)?)\b|(?:wide|widened)[ -](?:open )?eyes|wide-eyed",
    6: rf"cheeks {_IS}(?:raised|lifted)|(?:raised|lifted) cheeks",
    7: rf"(?:eyes|eyelids) {_IS}(?:narrowed|squint\w*)|narrow(?:ed)? eyes|\bsquint\w*",
    9: rf"nose {_IS}(?:wrinkled|scrunched)|(?:wrinkled|scrunched) nose",
    10: r"raised upper lip|\bsneer\w*",
    12: rf"corners (?:of the (?:mouth|lips) )?{_IS}(?:raised|lifted|pulled up|turned up|upturned)"
    r"|upturned (?:mouth|lips)|\bsmil\w*",
    14: r"\bdimples?\b|\bsmirk\w*",
    15: rf"corners (?:of the (?:mouth|lips) )?{_IS}(?:lowered|pulled down|turned down|downturned)"
    r"|downturned (?:mouth|lips)",
    17: rf"chin {_IS}(?:raised|wrinkled)|raised chin",
    20: r"stretched lips",
    23: r"tight(?:ened)? lips",
    24: rf"lips {_IS}pressed|pressed lips",
    25: rf"(?:mouth|lips) {_IS}(?:(?:wide )?open(?:ed)?|parted)\b|(?:open|parted) (?:mouth|lips)",
    26: rf"jaw {_IS}(?:dropped|lowered)|(?:dropped|lowered) jaw|mouth {_IS}wide open",
}
"""Common wordings of other models, by FACS's descriptions of the units; no claim to know them all."""
_PATTERNS = {unit: re.compile(f"{re.escape(CUES[unit])}|{words}", re.IGNORECASE) for unit, words in _WORDS.items()}


def cues_in(text: str) -> set[int]:
    """Return the numbers of the FACS action units that ``text`` names.

    Phrases are looked for, not understood: "no smile" counts as a smile. Good for comparing two answers of one model.
    """
    return {unit for unit, pattern in _PATTERNS.items() if pattern.search(text)}
