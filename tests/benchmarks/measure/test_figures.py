"""From what was read to the figures of a row, and to labels that answers name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from emo_edge.benchmarks.datasets.items import Item, Pictures
from emo_edge.benchmarks.measure.accuracy import accuracy_of, against, gate_of, named_label, with_interval
from emo_edge.benchmarks.measure.predictions import Predictions
from emo_edge.benchmarks.measure.timing import distribution
from emo_edge.benchmarks.measure.versus import ratio_of
from emo_edge.benchmarks.workload.config import BenchConfig, asked_labels
from emo_edge.benchmarks.workload.samples import BenchSample, spread
from emo_edge.errors import InputError
from emo_edge.metrics.classification import mcnemar_p, paired_interval, uar
from emo_edge.metrics.label_agreement import kl_divergence
from emo_edge.taxonomy import LABEL_SETS

LABELS = ("happiness", "sadness", "anger")


def samples(truth: Sequence[int], genders: Sequence[str] = ()) -> list[BenchSample]:
    groups = [{"gender": gender} if gender else {} for gender in genders] or [{}] * len(truth)
    media = Pictures(Path())
    return [
        BenchSample(Item(str(place), true, media, "", group, None), true, (None,), "")
        for place, (true, group) in enumerate(zip(truth, groups, strict=True))
    ]


def readings(predicted: Sequence[int], answers: Sequence[str | None] | None = None) -> Predictions:
    return Predictions(0.1 + 0.7 * np.eye(3)[list(predicted)], tuple(answers or [None] * len(predicted)))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("happiness", "happiness"),
        ("The person looks Happy.", "happiness"),
        ("sad, not angry", "sadness"),
        ("unhappy", None),
        ("contempt", None),
        ("", None),
    ],
)
def test_the_label_that_an_answer_names(text: str, label: str | None) -> None:
    assert named_label(text, LABELS) == (None if label is None else LABELS.index(label))


def test_a_compound_label_is_not_its_second_word() -> None:
    labels = LABEL_SETS["rafdb-compound11"]
    assert labels[named_label("She is happily surprised", labels) or 0] == "happily surprised"
    assert named_label("surprised", labels) is None


def test_accuracy_by_hand() -> None:
    truth, said = [0, 0, 0, 1, 1], [0, 0, 1, 1, 1]
    found = accuracy_of(readings(said), samples(truth), LABELS)
    assert found["war"]["value"] == pytest.approx(0.8)
    assert found["war"]["low"] < 0.8 < found["war"]["high"]
    assert found["uar"]["value"] == pytest.approx((2 / 3 + 1) / 2), "anger has no sample"
    assert found["confusion"] == [[2, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert found["per_class"]["happiness"] == {"recall": 2 / 3, "precision": 1.0, "f1": 0.8, "support": 3}
    assert found["per_class"]["anger"] == {"recall": None, "precision": None, "f1": None, "support": 0}
    assert found["text"] is None and found["groups"] == {}


def test_answers_are_scored_by_the_label_they_name() -> None:
    answers = ["happy", None, "contempt", "sadness"]
    found = accuracy_of(readings([0, 0, 0, 0], answers), samples([0, 0, 0, 1]), LABELS)["text"]
    assert found["samples"] == 3 and found["named"] == pytest.approx(2 / 3)
    assert found["war"] == pytest.approx(2 / 3) and found["uar"] == pytest.approx(0.75)
    assert found["war_scored"] == pytest.approx(2 / 3) and found["same_as_scored"] == pytest.approx(1 / 3)


def test_groups_leave_out_samples_that_nothing_is_known_of() -> None:
    found = accuracy_of(readings([0, 0, 1, 1]), samples([0, 1, 1, 0], ["female", "female", "male", ""]), LABELS)
    table = found["groups"]["gender"]
    assert table.keys() == {"female", "male"}
    assert (table["female"]["samples"], table["female"]["war"], table["female"]["uar"]) == (2, 0.5, 0.5)
    assert (table["male"]["samples"], table["male"]["war"]) == (1, 1.0)


def test_against_full_precision() -> None:
    truth = samples([0, 1, 1, 0])
    found = against(readings([0, 1, 0, 0]), readings([0, 0, 1, 0]), truth)
    assert found["agreement"]["value"] == 0.5
    assert found["mcnemar"] == {"p": 1.0, "only_reference": 1, "only_this": 1}
    assert found["delta_uar"]["value"] == 0 and found["delta_uar"]["low"] <= 0 <= found["delta_uar"]["high"]
    assert found["kl_mean"] > 0
    missed = gate_of("exact", readings([0, 1, 0, 0]), readings([0, 0, 1, 0]), truth)
    assert not missed["passed"] and "label_agreement 0.5" in missed["text"]
    assert gate_of("exact", readings([0]), readings([0]), samples([0])) == {
        "passed": True,
        "text": "agreement>=0.995,kl<=0.001: passed, too few samples to show it",
    }
    enough = gate_of("exact", readings([0] * 800), readings([0] * 800), samples([0] * 800))
    assert enough == {"passed": True, "text": "agreement>=0.995,kl<=0.001"}


def test_intervals_are_the_same_every_time() -> None:
    truth, said = np.arange(60) % 3, np.arange(60) % 4 % 3
    assert with_interval(uar, truth, said) == with_interval(uar, truth, said)


def test_draws_that_are_all_equal_are_no_interval() -> None:
    truth = np.arange(60) % 3
    assert with_interval(uar, truth, truth) == {"value": 1.0, "low": None, "high": None}


def test_divergence_is_never_below_zero() -> None:
    shares = np.random.default_rng(0).dirichlet(np.ones(7), 2000)
    assert kl_divergence(shares, shares * (1 + 1e-16)).min() >= 0


def test_a_ratio_of_times() -> None:
    found = ratio_of([10.0, 11.0, 10.0], [20.0, 21.0, 20.0])
    assert found["value"] == 0.5 and found["low"] <= 0.5 <= found["high"] < 0.6


def test_samples_are_taken_evenly() -> None:
    taken = spread(samples([0] * 10), 4)
    assert [one.item.key for one in taken] == ["0", "2", "5", "7"]
    assert len(spread(taken, 9)) == 4


def test_labels_are_asked_for_in_the_order_of_training() -> None:
    class Known:
        label_sets = LABEL_SETS

    assert asked_labels(Known(), sorted(LABEL_SETS["rafdb7"])) == LABEL_SETS["rafdb7"]  # type: ignore[arg-type]
    assert asked_labels(Known(), ("joy", "rage")) == ("joy", "rage")  # type: ignore[arg-type]


def test_a_plan_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="`samples` 0, `latency_rounds` 0"):
        BenchConfig("synthetic:7", samples=0, latency_rounds=0)
    with pytest.raises(InputError, match="batch below 1"):
        BenchConfig("synthetic:7", batches=(1, 0))
    quick = BenchConfig("synthetic:700").quick()
    assert (quick.samples, quick.latency_rounds, quick.cold, quick.sweep) == (70, 5, 1, False)


def random_answers(seed: int, count: int = 300) -> tuple[Any, Any, Any]:
    """Draw truth and two sets of answers that are right at different rates."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 5, count)
    before, after = (np.where(rng.random(count) < rate, truth, rng.integers(0, 5, count)) for rate in (0.8, 0.7))
    return truth, before, after


@pytest.mark.parametrize("seed", range(3))
def test_intervals_are_those_of_scipys_bootstrap(seed: int) -> None:
    truth, before, after = random_answers(seed)

    def theirs(figure: Callable[..., float], *arrays: Any) -> Any:
        options = {"paired": True, "vectorized": False, "method": "percentile", "n_resamples": 4000}
        found = stats.bootstrap(arrays, figure, rng=np.random.default_rng(seed), **options)
        return found.confidence_interval

    mine = with_interval(uar, truth, before)
    assert (mine["low"], mine["high"]) == pytest.approx(theirs(uar, truth, before), abs=0.012)
    change = theirs(lambda true, one, other: uar(true, other) - uar(true, one), truth, before, after)
    assert paired_interval(uar, truth, before, after) == pytest.approx(change, abs=0.015)


@pytest.mark.parametrize("seed", range(3))
def test_a_ratio_of_medians_has_scipys_interval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ours, theirs = rng.normal(10, 1, 60), rng.normal(20, 2, 60)
    found = ratio_of(ours.tolist(), theirs.tolist())
    scipys = stats.bootstrap(
        (ours, theirs),
        lambda one, other: np.median(one) / np.median(other),
        vectorized=False,
        method="percentile",
        n_resamples=4000,
        rng=rng,
    ).confidence_interval
    assert (found["low"], found["high"]) == pytest.approx(scipys, rel=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_mcnemar_is_scipys_binomial_test(seed: int) -> None:
    truth, before, after = random_answers(seed)
    lost, won = ((before == truth) & (after != truth)).sum(), ((before != truth) & (after == truth)).sum()
    assert mcnemar_p(truth, before, after) == pytest.approx(stats.binomtest(int(lost), int(lost + won)).pvalue)


@pytest.mark.parametrize("seed", range(3))
def test_percentiles_are_scipys(seed: int) -> None:
    raw = np.random.default_rng(seed).lognormal(3, 0.4, 57).round(4).tolist()
    found = distribution(raw)
    for name, share in (("p50", 50), ("p90", 90), ("p99", 99)):
        assert found[name] == pytest.approx(stats.scoreatpercentile(raw, share), abs=1e-4)
