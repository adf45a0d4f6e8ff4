"""Items of a data set from the lines of its list: labels by name, every sample once, the others counted by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import NamedTuple, TypeVar

from emo_edge.benchmarks.datasets.items import SHOWN, Dataset, Item, Media, Problem
from emo_edge.errors import InputError
from emo_edge.media.crops import Box
from emo_edge.taxonomy import ADJECTIVES, EXPRESSIONS, LABEL_SETS
from emo_edge.utils.suggestions import did_you_mean, plain

NO_GROUPS: Mapping[str, str] = {}
KNOWN = tuple(dict.fromkeys((*EXPRESSIONS, *(label for labels in LABEL_SETS.values() for label in labels))))
"""Every label that some data set of the field has."""
STRANGERS = 50
"""Unknown labels that an error lists; more than that are no labels but another column."""
SPLITS = ("train", "val", "test")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Request:
    """A data set as the user requests it."""

    name: str
    argument: str
    """Text after the colon of ``name:argument``."""
    root: Path | None
    split: str
    fold: int | None
    label_map: Mapping[str, str]

    def folder(self) -> Path:
        """Return the data set's folder; raise InputError without one."""
        if self.root is None:
            raise InputError(f"{self.name}: name the folder of your copy; no data set comes with this package")
        if not self.root.is_dir():
            raise InputError(f"{self.root}: no such folder; {self.name} is read from the folder of your copy")
        return self.root

    def one_split(self) -> None:
        """Raise InputError for a fold, or a split but "test", of data that has neither."""
        self.no_folds()
        if self.split != "test":
            raise InputError(f"{self.name} has no splits: leave `split` {self.split} out")

    def no_folds(self) -> None:
        """Raise InputError if a fold was named."""
        if self.fold is not None:
            raise InputError(f"{self.name} has no folds: leave `fold` {self.fold} out")

    def official_fold(self, count: int) -> int:
        """Return the fold, 1 to ``count``; raise InputError without one, because the folds' test sets differ."""
        if self.fold is None or not 1 <= self.fold <= count:
            raise InputError(f"{self.name} is measured fold by fold: name one with `fold`, 1 to {count}")
        return self.fold

    def split_of(self, choices: Mapping[str, Result]) -> Result:
        """Return the choice for the split; raise InputError that lists the choices."""
        if self.split not in choices:
            raise InputError(f"{self.name} has no split {self.split}: choose from {', '.join(choices)}")
        return choices[self.split]


class Entry(NamedTuple):
    """One line of a list."""

    key: str
    location: str
    label: str
    """Our label, or as written what has no name here; empty where the list gives none."""
    groups: Mapping[str, str] = NO_GROUPS
    box: Box | None = None


@dataclass
class Tally:
    """Counts samples that are left out, by reason."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, example: str) -> None:
        """Count one sample, and keep its name if it is among the first of this reason."""
        self.counts[reason] += 1
        kept = self.examples.setdefault(reason, [])
        if len(kept) < SHOWN:
            kept.append(example)

    def problems(self) -> tuple[Problem, ...]:
        """List the reasons in the order in which they came up."""
        return tuple(Problem(reason, count, tuple(self.examples[reason])) for reason, count in self.counts.items())


@dataclass(frozen=True)
class Listing:
    """Entries of a data set's list, with the facts of the set."""

    entries: Iterable[Entry]
    """In the list's order."""
    media: Media
    """Opens an entry's location."""
    labels: Sequence[str] | None
    """The set's labels in its order; None takes those of `KNOWN` that occur."""
    source: str
    """Lists and folders that were read, in words."""
    clips: bool = False
    """True if the entries are clips."""
    cut: bool = False
    """True if the pictures are faces already cut out."""
    tally: Tally = field(default_factory=Tally)
    """Of samples left out already."""
    notes: Sequence[str] = ()
    """Remarks there are already."""


def collected(request: Request, listing: Listing) -> Dataset:
    """Return the data set of a list's entries; the label map of ``request`` decides before our own names do.

    A sample that is listed twice is kept once. One that is listed with two labels is left out: its truth is unknown.
    Files that are missing are left out. The data set lists all of these. Raises InputError for labels that are not
    known, all of them at once, and where nothing is left.
    """
    media, labels, tally = listing.media, listing.labels, listing.tally
    words = _words(labels, request.label_map)
    named, unused = _named(request, listing.entries, words, labels or KNOWN, tally)
    kept = [entry for entry in _once(named, tally) if _is_there(media, entry, tally)]
    if not kept:
        raise InputError(f"{request.name}, {listing.source}: no sample is left" + _problem_lines(tally))
    order = tuple(labels) if labels else _occurring(kept, words)
    indices = {label: index for index, label in enumerate(order)}
    items = [Item(one.key, indices[one.label], media, one.location, one.groups, one.box) for one in kept]
    present = {one.label for one in kept}
    absent = [label for label in order if label not in present]
    notes = [*listing.notes, *unused, *([f"no sample of {', '.join(absent)}"] if absent else [])]
    return Dataset(
        request.name, order, items, listing.clips, listing.cut, tally.problems(), tuple(notes), listing.source
    )


def _words(labels: Sequence[str] | None, label_map: Mapping[str, str]) -> dict[str, str]:
    """Map every known word to its label, and to "" what is to be left out; raise InputError for a label unknown."""
    known = {plain(label): label for label in labels or KNOWN}
    words = known | {word: label for word, label in ADJECTIVES.items() if label in known.values()}
    for theirs, ours in label_map.items():
        # Without a set of its own, "calm=calm" says that a label we do not know is meant.
        meant = labels is None and plain(theirs) == plain(ours)
        if ours and not meant and plain(ours) not in known:
            names = labels or KNOWN
            raise InputError(f"`label_map` {theirs}={ours}: choose from {', '.join(names)}{did_you_mean(ours, names)}")
        words[plain(theirs)] = known.get(plain(ours), ours)
    return words


def _named(
    request: Request, entries: Iterable[Entry], words: Mapping[str, str], labels: Sequence[str], tally: Tally
) -> tuple[list[Entry], list[str]]:
    """Give every entry its label, and note what is mapped in vain; raise InputError that counts all unknown labels."""
    named, strangers, words_used = [], Counter[str](), set()
    for entry in entries:
        word = plain(entry.label)
        words_used.add(word)
        if not word:
            tally.add("without a label", entry.key)
        elif word not in words:
            strangers[entry.label] += 1
        elif not words[word]:
            tally.add("left out by the label map", entry.key)
        else:
            named.append(entry._replace(label=words[word]))
    if strangers:
        raise _unknown(request.name, strangers, labels)
    unused = [
        f"label map {theirs}: no sample has this label"
        for theirs in request.label_map
        if plain(theirs) not in words_used
    ]
    return named, unused


def _unknown(name: str, strangers: Counter[str], labels: Sequence[str]) -> InputError:
    listed = ", ".join(f"{label!r} ({count})" for label, count in strangers.most_common(STRANGERS))
    more = f" and {len(strangers) - STRANGERS} more" if len(strangers) > STRANGERS else ""
    first = next(iter(strangers))
    return InputError(
        f"{name}: unknown labels {listed}{more}; say what each is with `label_map` {quote(f'{first}=LABEL')}, or "
        f"`label_map` {quote(f'{first}=')} to leave its samples out. Labels: {', '.join(labels)}"
    )


def _once(entries: Iterable[Entry], tally: Tally) -> list[Entry]:
    """Keep the first entry of each key, and none of a key that has two labels."""
    kept: dict[str, Entry] = {}
    again: list[str] = []
    torn: dict[str, None] = {}
    for entry in entries:
        first = kept.setdefault(entry.key, entry)
        if first.label != entry.label:
            torn[entry.key] = None
        elif first is not entry:
            again.append(entry.key)
    for key in again:
        if key not in torn:
            tally.add("listed more than once, kept once", key)
    for key in torn:
        tally.add("listed with different labels", key)
        del kept[key]
    return list(kept.values())


def _is_there(media: Media, entry: Entry, tally: Tally) -> bool:
    there = media.exists(entry.location)
    if not there:
        tally.add("missing files", entry.location)
    return there


def _occurring(entries: Iterable[Entry], words: Mapping[str, str]) -> tuple[str, ...]:
    occur = {entry.label for entry in entries}
    return tuple(label for label in dict.fromkeys((*KNOWN, *words.values())) if label in occur)


def _problem_lines(tally: Tally) -> str:
    return "".join(f"\n  {problem}" for problem in tally.problems())
