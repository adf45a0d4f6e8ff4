"""Configuration of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from emo_edge.bundle.manifest import Manifest
from emo_edge.errors import InputError
from emo_edge.faces.limits import FaceLimits
from emo_edge.utils.suggestions import did_you_mean

REFERENCE = "reference"
"""Name of the row of full precision."""
QUICK_SAMPLES, QUICK_WRITTEN, QUICK_ROUNDS = 70, 14, 5


@dataclass(frozen=True)
class BenchConfig:
    """Options of a benchmark. Raises InputError for counts that cannot be used."""

    dataset: str
    """As `datasets.open_dataset` takes it."""
    root: Path | None = None
    split: str = "test"
    fold: int | None = None
    label_map: tuple[tuple[str, str], ...] = ()
    profiles: tuple[str, ...] = ()
    """None named takes all of the bundle."""
    device: str = "auto"
    threads: int | None = None
    workers: int = 1
    """Processes that find the faces and read the samples; times are taken in this one alone."""
    samples: int | None = None
    """Drawn at random, with a fixed seed, where the data set has more."""
    frames: int = 8
    """Of a clip."""
    written: int = 200
    """Samples whose answer is written as free text, too; 0 writes none."""
    latency_rounds: int = 30
    """Timed readings of one face."""
    cold: int = 3
    """Fresh processes for each row: cold start and peak memory; 0 leaves both out."""
    batches: tuple[int, ...] = (1, 2, 4)
    """Faces that are read at once."""
    sweep: bool = True
    """True times prompts of several lengths."""
    detector: str = "auto"
    """As `emo_edge.inference.detectors.requested_files` takes it."""
    min_score: float | None = None
    min_face: float | None = None
    max_faces: int | None = None
    vs: str | None = None
    """Another command, timed around the same files."""

    def __post_init__(self) -> None:
        least = {"samples": 1, "frames": 1, "written": 0, "latency_rounds": 1, "cold": 0, "threads": 1, "workers": 1}
        wrong = [
            f"`{name}` {value}"
            for name, low in least.items()
            if (value := getattr(self, name)) is not None and value < low
        ]
        if wrong or any(batch < 1 for batch in self.batches):
            raise InputError(f"a benchmark cannot run with {', '.join(wrong) or 'a batch below 1'}")

    @property
    def limits(self) -> FaceLimits:
        """Bounds on the faces of the detector; raises InputError for one that means nothing."""
        return FaceLimits(self.min_score, self.min_face, self.max_faces)

    def quick(self) -> BenchConfig:
        """Return the same with fewer samples and rounds: to see that it runs, not to publish."""
        return replace(
            self,
            samples=min(self.samples or QUICK_SAMPLES, QUICK_SAMPLES),
            written=min(self.written, QUICK_WRITTEN),
            latency_rounds=min(self.latency_rounds, QUICK_ROUNDS),
            cold=min(self.cold, 1),
            batches=self.batches[:2],
            sweep=False,
        )

    def without_language(self) -> BenchConfig:
        """Return the same without what only a language model does: answers and prompts."""
        return replace(self, written=0, sweep=False)

    def profiles_of(self, manifest: Manifest) -> tuple[str, ...]:
        """Return the profiles to measure; raise InputError for one that the bundle has not."""
        if strangers := [name for name in self.profiles if name not in manifest.profiles]:
            hint = did_you_mean(strangers[0], manifest.profiles)
            raise InputError(f"`profiles` {', '.join(strangers)}: choose from {', '.join(manifest.profiles)}{hint}")
        return self.profiles or tuple(manifest.profiles)


def asked_labels(manifest: Manifest, labels: Sequence[str]) -> tuple[str, ...]:
    """Order a data set's labels as the model was trained to be asked for them, where it has such a label set."""
    known = (own for own in manifest.label_sets.values() if set(own) == set(labels))
    return next(known, tuple(labels))
