"""The types of a benchmark's ``report.json``, schema version 1.

Times are milliseconds, sizes bytes, fractions between 0 and 1. Values that were not measured are null; keys that are
not named here are ignored, so that a report may hold more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from emo_edge.benchmarks.report.schema_types import Count, Figure, Finite, Fraction, Measure, Part, Timed
from emo_edge.utils.settings import require

SCHEMA = 1


class ClassFigures(Part):
    """Figures of one label."""

    recall: Fraction | None = None
    precision: Fraction | None = None
    f1: Fraction | None = None
    support: Count = 0


class Group(Part):
    """Figures of one subgroup."""

    samples: Count
    war: Fraction | None = None
    war_low: Fraction | None = None
    war_high: Fraction | None = None
    uar: Fraction | None = None


class TextFigures(Part):
    """Free-text answers, scored by the label they name; and by the scored labels of the same samples."""

    samples: Count | None = None
    war: Figure | None = None
    uar: Figure | None = None
    named: Figure | None = None
    war_scored: Figure | None = None
    same_as_scored: Figure | None = None


class Accuracy(Part):
    """A row compared with the truth of the data set."""

    war: Figure | None = None
    uar: Figure | None = None
    f1: Figure | None = None
    ece: Measure | None = None
    brier: Measure | None = None
    nll: Measure | None = None
    per_class: dict[str, ClassFigures] = Field(default_factory=dict)
    confusion: tuple[tuple[Count, ...], ...] | None = None
    text: TextFigures | None = None
    groups: dict[str, dict[str, Group]] = Field(default_factory=dict)


class McNemar(Part):
    """Samples that one row alone has right, and the exact p that both are right equally often."""

    p: Fraction
    only_reference: Count
    only_this: Count


class ValueDistance(Part):
    """Absolute differences of a value, such as valence, from full precision's, in its own units."""

    mean_error: Measure
    max_error: Measure


class AgainstReference(Part):
    """A profile compared with full precision, on the same samples."""

    agreement: Figure | None = None
    delta_uar: Figure | None = None
    mcnemar: McNemar | None = None
    kl_mean: Measure | None = None
    kl_p95: Measure | None = None
    values: dict[str, ValueDistance] = Field(default_factory=dict)


class Gate(Part):
    """A limit of accuracy that a profile was held to."""

    passed: bool
    text: str = ""


class Throughput(Part):
    """Faces read at once."""

    faces_per_s: Measure | None = None
    raw: tuple[Measure, ...] = ()


class PromptLength(Part):
    """Prefill of a prompt of so many tokens."""

    tokens: Count
    prefill_ms: Timed | None = None


class WrittenTimes(Part):
    """Answers as free text, from the decoded picture on; a further piece of text by itself."""

    label: Timed | None = None
    label_bfloat16: Timed | None = None
    first_token: Timed | None = None
    per_token: Timed | None = None


class Latency(Part):
    """Times of a warm process, and of fresh ones."""

    stages: dict[str, Timed] = Field(default_factory=dict)
    total: Timed | None = None
    reading: Timed | None = None
    """All stages but decoding and the detector, which are the same code in every row."""
    machine: Timed | None = None
    """The reference workload, timed among the readings: the machine's speed then."""
    warmup_rounds: Count | None = None
    stable: bool | None = None
    cold_start: Timed | None = None
    throughput: dict[str, Throughput] | None = None
    prompt_sweep: tuple[PromptLength, ...] | None = None
    clip: Timed | None = None
    clip_machine: Timed | None = None
    """As ``machine``, among the clips."""
    written: WrittenTimes | None = None


class Memory(Part):
    """Peak memory."""

    peak_rss: Count | None = None
    device: Count | None = None


class Energy(Part):
    """Energy of one reading, or the reason why it was not measured."""

    joules_per_reading: Measure | None = None
    source: str | None = None
    reason: str | None = None


class Floor(Part):
    """The roofline's floor of a stage on this machine, and the fraction of its time that this is."""

    bytes: Measure | None = None
    flops: Measure | None = None
    floor_ms: Measure | None = None
    fraction: Measure | None = Field(None, alias="share")


class Row(Part):
    """Full precision, or a profile of the bundle."""

    name: str
    kind: Literal["reference", "profile"]
    device: str | None = None
    variants: dict[str, str | None] = Field(default_factory=dict)
    size_bytes: Count | None = None
    unavailable: str | None = None
    accuracy: Accuracy | None = None
    against_reference: AgainstReference | None = None
    gate: Gate | None = None
    latency: Latency | None = None
    memory: Memory | None = None
    energy: Energy | None = None
    roofline: dict[str, Floor] | None = None
    notes: tuple[str, ...] = ()


class MachineState(Part):
    """Before or after the run."""

    load: tuple[Measure, ...] | None = None
    mhz: Measure | None = None
    temperatures: dict[str, Finite | None] = Field(default_factory=dict)


class Git(Part):
    """The source that was run."""

    revision: str
    dirty: bool | None = None


class Machine(Part):
    """The machine of a benchmark."""

    description: str
    cpu: str | None = None
    cores: Count | None = None
    memory: Count | None = None
    gpu: str | None = None
    device: str | None = None
    system: str | None = None
    governor: str | None = None
    power_mode: str | None = None
    versions: dict[str, str | None] = Field(default_factory=dict)
    threads: dict[str, int | None] = Field(default_factory=dict)
    git: Git | None = None
    before: MachineState = MachineState()
    after: MachineState = MachineState()
    throttled: bool | None = None
    busy: bool | None = None
    busy_reason: str | None = None


class Skipped(Part):
    """A sample that was left out."""

    key: str
    reason: str


class DataSet(Part):
    """The samples of a benchmark."""

    name: str
    labels: tuple[str, ...]
    samples: Count
    spec: str | None = None
    split: str | None = None
    fold: int | None = None
    source: str | None = None
    clips: bool | None = None
    per_label: dict[str, Count] = Field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    """The first of them; reports without `skipped_samples` have all."""
    skipped_samples: Count | None = None
    notes: tuple[str, ...] = ()


class BundleId(Part):
    """Identity of the bundle."""

    name: str
    manifest_sha256: str | None = None
    purpose: str | None = None


class CheckpointId(Part):
    """Identity of the full-precision model."""

    name: str
    weights_sha256: str | None = None


class RooflineRates(Part):
    """Rates of the machine on plain copies and matmuls."""

    copy_bytes_per_s: Measure | None = None
    matmul_flops_per_s: Measure | None = None
    dtype: str | None = None


class OtherCommand(Part):
    """Another command timed alternately with ours; the ratio is ours over theirs as the runner wrote it."""

    command: str
    raw_ms: tuple[Measure, ...] = ()
    ours_raw_ms: tuple[Measure, ...] = ()
    ratio: Figure | None = None


class Report(Part):
    """A whole benchmark; the first row is full precision."""

    schema_version: Annotated[Literal[1], Field(alias="schema")]
    command: str
    bundle: BundleId
    machine: Machine
    dataset: DataSet
    rows: tuple[Row, ...]
    started: str | None = None
    seconds: Measure | None = None
    synthetic: bool
    checkpoint: CheckpointId | None = None
    ceiling: RooflineRates | None = None
    vs: OtherCommand | None = None
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Report:
        names, labels = [row.name for row in self.rows], self.dataset.labels
        crooked = [row.name for row in self.rows if row.accuracy and not _square(row.accuracy.confusion, len(labels))]
        require(
            (names != [] and self.rows[0].kind == "reference", "rows: the first is not full precision"),
            (all(row.kind == "profile" for row in self.rows[1:]), "rows: full precision is there twice"),
            (len(set(names)) == len(names), f"rows: a name is there twice: {', '.join(names)}"),
            (len(set(labels)) == len(labels), "dataset.labels: a label is there twice"),
            (
                not crooked,
                f"rows: confusion of {', '.join(crooked)} is not {len(labels)} x {len(labels)}, as labels are",
            ),
        )
        return self


def _square(counts: Sequence[Sequence[int]] | None, side: int) -> bool:
    return counts is None or (len(counts) == side and all(len(line) == side for line in counts))
