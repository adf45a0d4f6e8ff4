"""What changed between two reports: noise is none, a real change is one, unlike machines are told first."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from emo_edge.benchmarks.report.compare.command import Comparison, compare, main, side
from emo_edge.benchmarks.report.compare.samples import answered_samples
from emo_edge.benchmarks.report.compare.significance import beyond_noise, difference, ratio_of_medians, swapped_p
from emo_edge.benchmarks.report.compare.verdicts import Side, drift_of
from emo_edge.benchmarks.report.reader import checked_report
from emo_edge.benchmarks.report.schema_types import Interval
from emo_edge.benchmarks.workload.kept_rows import parquet_from_rows
from emo_edge.errors import InputError
from emo_edge.metrics.classification import uar, wilson_interval

LABELS = ("anger", "fear", "joy")
MIDDLES = {"reference": 50.0, "exact": 30.0, "small": 20.0}


def times(rng: np.random.Generator, middle: float, count: int = 40) -> dict[str, Any]:
    """Milliseconds with a spread of 8 %, a slow one now and then, and neighbours that are somewhat alike."""
    noise = rng.normal(0, 0.08, count + 1)
    raw = middle * np.exp(0.8 * noise[1:] + 0.4 * noise[:-1] + 0.3 * (rng.random(count) < 0.03))
    return {"p50": float(np.median(raw)), "raw": raw.tolist()}


def pulses(middle: float, slow: float = 0.0) -> dict[str, Any]:
    """What the machine's own computation took, 40 % longer for a share of them."""
    raw = np.linspace(0.995, 1.005, 30) * middle
    raw[: round(30 * slow)] *= 1.4
    return {"p50": float(np.median(raw)), "raw": raw.tolist()}


def share_of(count: int, samples: int = 300) -> dict[str, float]:
    low, high = wilson_interval(count / samples, samples)
    return {"value": count / samples, "low": low, "high": high}


def row(name: str, rng: np.random.Generator) -> dict[str, Any]:
    figure = share_of(255)
    return {
        "name": name,
        "kind": "reference" if name == "reference" else "profile",
        "size_bytes": 10_000_000,
        "accuracy": {"war": figure, "uar": figure},
        "gate": None if name == "reference" else {"passed": True, "text": "uar>=-0.01"},
        "latency": {"total": times(rng, MIDDLES[name]), "cold_start": {"p50": 600.0, "raw": [590.0, 600.0, 640.0]}},
        "memory": {"peak_rss": 150_000_000, "device": None},
    }


def made(seed: int) -> dict[str, Any]:
    """A report of a machine that does not exist; its numbers are drawn."""
    rng = np.random.default_rng(seed)
    return {
        "schema": 1,
        "command": "none",
        "synthetic": True,
        "bundle": {"name": "made-up", "manifest_sha256": "aa"},
        "checkpoint": {"name": "made-up", "weights_sha256": "bb"},
        "machine": {
            "description": "made up",
            "cpu": "made up",
            "cores": 2,
            "busy": False,
            "versions": {"numpy": "2.0"},
        },
        "dataset": {"name": "synthetic", "labels": list(LABELS), "samples": 300},
        "rows": [row(name, rng) for name in MIDDLES],
    }


def held(report: dict[str, Any]) -> Side:
    return Side(checked_report(report), None)


def verdicts(found: Comparison) -> dict[tuple[str, str], str]:
    return {(change.row, change.what): change.verdict for change in found.changes}


def write(folder: Path, report: dict[str, Any], told: dict[str, np.ndarray[Any, Any]] | None = None) -> Path:
    """Write a report, and samples that say ``told`` of a truth that goes round."""
    (folder / "samples").mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(report))
    for name, labels in (told or {}).items():
        lines = [
            json.dumps({"key": f"{place}.png", "truth": place % 3, "scores": np.eye(3)[label].tolist()})
            for place, label in enumerate(labels)
        ]
        (folder / "samples" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def said(seed: int, hits: float, count: int = 300) -> np.ndarray[Any, Any]:
    rng, truth = np.random.default_rng(seed), np.arange(count) % 3
    return np.where(rng.random(count) < hits, truth, (truth + 1) % 3)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_samples_are_read_from_parquet_as_from_lines(tmp_path: Path) -> None:
    write(tmp_path, made(0), {"small": said(0, 0.8)})
    lines = answered_samples(tmp_path, "small", 3)
    path = tmp_path / "samples" / "small.jsonl"
    parquet_from_rows(path, path.with_suffix(".parquet"), boxes=False)
    path.write_text("not to be read")
    assert answered_samples(tmp_path, "small", 3) == lines and lines is not None and len(lines.truth) == 300
    path.with_suffix(".parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(InputError, match=r"small\.parquet: cannot be read .*copy it again"):
        answered_samples(tmp_path, "small", 3)


def test_two_runs_of_one_bundle_are_no_change() -> None:
    """Its labels are the same each time, its times are not: of 30 pairs of runs hardly one is called changed."""
    found = [compare(held(made(seed)), held(made(1000 + seed))) for seed in range(30)]
    changed = [one for one in found if {change.verdict for change in one.changes} & {"better", "worse"}]
    assert len(changed) <= 1
    assert all(verdict != "not comparable" for one in found for verdict in verdicts(one).values())


def test_what_neighbouring_times_have_in_common_is_not_taken_for_evidence() -> None:
    """Slow drifts within a run, as clocks and neighbours make them, do not turn noise into findings."""

    def drifting(rng: np.random.Generator) -> list[float]:
        steps = rng.normal(0, 1, 90)
        level = np.convolve(steps, 0.5 ** np.arange(20))[50:90]
        return list(20 * np.exp(0.08 * level))

    rngs = [np.random.default_rng(seed) for seed in range(40)]
    ps = [ratio_of_medians(drifting(rng), drifting(rng), 0.02)[1] for rng in rngs]
    assert sum(p < 0.05 for p in ps) <= 4


def test_a_profile_that_got_slower_is_told_and_the_rest_is_not() -> None:
    after = made(2)
    after["rows"][2]["latency"]["total"] = times(np.random.default_rng(5), 1.3 * MIDDLES["small"])
    found = compare(held(made(1)), held(after))
    assert [(one.row, one.what) for one in found.regressions] == [("small", "one face, p50 ms")]
    (slower,) = found.regressions
    assert slower.change and slower.change[1] and 1.1 < slower.change[1] < slower.change[0] < 1.5
    assert verdicts(found)["small", "cold start, p50 ms"] == "too few to tell"
    faster = compare(held(after), held(made(1)))
    assert verdicts(faster)["small", "one face, p50 ms"] == "better" and not faster.regressions


def test_what_the_machine_did_meanwhile_is_not_the_profiles(tmp_path: Path) -> None:
    """A core that is slow for minutes slows the fixed product among the readings, too."""
    before, after = made(1), made(2)
    for report in (before, after):
        for one in report["rows"]:
            one["latency"]["machine"] = pulses(4.0)
    slow = after["rows"][2]["latency"]
    slow["total"] = times(np.random.default_rng(5), 1.3 * MIDDLES["small"])
    told = compare(held(before), held(after))
    assert verdicts(told)["small", "one face, p50 ms"] == "worse" and not told.notes
    slow["machine"] = pulses(4.2)
    slow["total"] = times(np.random.default_rng(5), 1.04 * MIDDLES["small"])
    told = compare(held(before), held(after))
    assert verdicts(told)["small", "one face, p50 ms"] == "within noise"
    assert told.notes == (
        "small: the reference workload changed by 5.5 % among the readings; only changes beyond that count",
    )
    slow["machine"] = pulses(4.0, slow=0.4)
    told = compare(held(before), held(after))
    assert verdicts(told)["small", "one face, p50 ms"] == "not comparable", "slow for four readings in ten is enough"
    assert told.notes == (
        "small: the reference workload changed by 39.8 % among the readings; its times are not compared",
    )


def test_a_change_within_the_floor_is_none_however_sure() -> None:
    steady = np.linspace(9.99, 10.01, 100)
    assert ratio_of_medians(list(steady), list(1.015 * steady), 0.02)[1] == 1
    assert ratio_of_medians(list(steady), list(1.05 * steady), 0.02)[1] < 1e-6
    assert ratio_of_medians([10.0] * 20, [11.0] * 20, 0.02)[0].value == pytest.approx(1.1)


def test_what_full_precision_moved_is_the_machines() -> None:
    """All rows 20 % slower: full precision is told, the profiles are not blamed."""
    after = made(2)
    for one in after["rows"]:
        one["latency"]["total"] = times(np.random.default_rng(3), 1.2 * MIDDLES[one["name"]])
    found = compare(held(made(1)), held(after))
    assert {(one.row, one.kind) for one in found.regressions} == {("reference", "time")}
    assert any("full precision itself changed by" in note for note in found.notes)


def test_a_faster_machine_is_the_machines_as_much_as_a_slower_one() -> None:
    slow, fast = made(1), made(2)
    for place, one in enumerate(fast["rows"]):
        one["latency"]["total"] = times(np.random.default_rng(3 + place), 0.6 * MIDDLES[one["name"]])
    there = drift_of(held(slow).report, held(fast).report)
    back = drift_of(held(fast).report, held(slow).report)
    assert there is not None and back is not None and there == pytest.approx(back) and there > 0.5
    for before, after in ((slow, fast), (fast, slow)):
        found = verdicts(compare(held(before), held(after)))
        assert found["exact", "one face, p50 ms"] == found["small", "one face, p50 ms"] == "within noise"


def test_the_reading_without_the_detector_is_compared() -> None:
    before, after = made(1), made(2)
    for report, slower in ((before, 1.0), (after, 1.3)):
        for one in report["rows"]:
            one["latency"]["reading"] = times(np.random.default_rng(7), (slower if one["name"] == "small" else 1) * 4)
    found = compare(held(before), held(after))
    assert [(one.row, one.what) for one in found.regressions] == [("small", "one face without detector, p50 ms")]


def test_figures_without_an_interval_are_no_evidence() -> None:
    whole, lower = Interval(value=1.0, low=1.0, high=1.0), Interval(value=0.9, low=0.9, high=0.9)
    assert difference(whole, lower)[1] == difference(lower, whole)[1] == 1.0


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda report: report["machine"].update(cpu="another"), "cpu"),
        (lambda report: report["machine"].update(versions={"numpy": "2.1"}), "numpy"),
        (lambda report: report["machine"].update(busy=True, busy_reason="load 3.1"), "load 3.1"),
        (lambda report: report["machine"].update(throttled=True), "throttled"),
        (lambda report: report["dataset"].update(split="val"), "data set, split"),
    ],
)
def test_other_conditions_are_told_first_and_spoil_times(spoil: Callable[[dict[str, Any]], None], what: str) -> None:
    after = made(2)
    after["rows"][1]["latency"]["total"] = times(np.random.default_rng(5), 90)
    spoil(after)
    found = compare(held(made(1)), held(after))
    assert verdicts(found)["exact", "one face, p50 ms"] == "not comparable"
    assert any(what in change.method for change in found.changes) and what in found.notes[0]
    assert ("not comparable" in (verdicts(found)["exact", "WAR"],)) == (what == "data set, split")


def test_other_conditions_are_the_first_words(tmp_path: Path) -> None:
    other = made(2)
    other["machine"]["cpu"] = "another"
    told = run(write(tmp_path / "a", made(1)), write(tmp_path / "b", other)).output.splitlines()
    assert told[:3] == [
        "not the same in both (before / after):",
        "  cpu: made up / another",
        "note: times are not compared (not the same in both: cpu)",
    ]


def test_a_newer_emo_edge_is_what_is_compared() -> None:
    before, after = made(1), made(2)
    before["machine"]["versions"]["emo-edge"], after["machine"]["versions"]["emo-edge"] = "0.1.0", "0.2.0"
    found = compare(held(before), held(after))
    assert [str(one) for one in found.conditions] == ["emo-edge: 0.1.0 / 0.2.0"]
    assert verdicts(found)["exact", "one face, p50 ms"] == "within noise"


def test_sizes_memory_gates_and_rows() -> None:
    before, after = made(1), made(1)
    after["rows"][1] |= {"size_bytes": 12_000_000, "memory": {"peak_rss": 155_000_000}, "gate": {"passed": False}}
    after["rows"][2] = {"name": "small", "kind": "profile", "unavailable": "no such device"}
    after["rows"].append({**copy.deepcopy(before["rows"][2]), "name": "new"})
    found = compare(held(before), held(after))
    assert {(one.row, one.what) for one in found.regressions} == {
        ("exact", "size"),
        ("exact", "gate passed"),
        ("small", "can be run"),
    }
    assert verdicts(found)["exact", "peak RSS"] == "no change"
    assert "only after: new" in found.notes


def test_accuracy_is_compared_sample_by_sample(tmp_path: Path) -> None:
    """12 of 300 lost and none won is beyond chance in pairs, and far from it unpaired."""
    told = said(1, 0.9)
    lost = told.copy()
    right = np.flatnonzero(told == np.arange(300) % 3)[:12]
    lost[right] = (lost[right] + 1) % 3
    first = write(tmp_path / "first", made(1), {"exact": told, "small": told})
    second = write(tmp_path / "second", made(1), {"exact": lost, "small": told})
    found = compare(side(first), side(second / "report.json"))
    assert {(one.row, one.what) for one in found.regressions} == {("exact", "WAR"), ("exact", "UAR")}
    (war,) = [one for one in found.regressions if one.what == "WAR"]
    assert war.change and war.change[0] == pytest.approx(-0.04) and war.p == pytest.approx(2 / 2**12)
    assert war.method == "McNemar's exact test on 300 samples that both read"
    assert verdicts(found)["small", "UAR"] == verdicts(found)["reference", "UAR"] == "within noise"
    gap, p = difference(*(Interval(**share_of(right)) for right in (270, 258)))
    assert p > 0.05 and gap.low is not None and gap.high is not None and gap.low < -0.04 < 0 < gap.high


def test_two_models_are_compared_by_the_names_of_their_labels_and_rows(tmp_path: Path) -> None:
    """A small network names its labels in an order of its own, and its best profile is another one's full precision."""
    large, small = made(1), made(2)
    small["dataset"]["labels"] = ["joy", "anger", "fear"]
    hits = said(3, 0.9)
    first = write(tmp_path / "large", large, {"reference": hits})
    second = write(tmp_path / "small", small, {"small": hits})
    path = second / "samples" / "small.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["truth"], line["scores"] = (line["truth"] + 1) % 3, line["scores"][-1:] + line["scores"][:-1]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    changes = {one.what: one for one in compare(side(first), side(second), {"reference": "small"}).changes}
    assert changes["WAR"].row == "reference / small" and changes["WAR"].change == (0.0, 0.0, 0.0)
    assert "300 samples" in changes["WAR"].method
    done = run(first, second, "--rows", "reference=small")
    assert done.exit_code == 0 and "data set, labels" not in done.output, done.output
    for option, message in (
        ("exact=larger", "no row 'larger' in the report after; there are: reference, exact, small"),
        ("exact", "--rows reads BEFORE=AFTER, not 'exact'"),
    ):
        done = run(first, second, "--rows", option)
        assert (done.exit_code, message in done.output) == (4, True), done.output


def test_samples_of_another_truth_are_not_paired(tmp_path: Path) -> None:
    first = write(tmp_path / "first", made(1), {"exact": said(1, 0.9)})
    second = write(tmp_path / "second", made(1), {"exact": said(2, 0.9)})
    path = second / "samples/exact.jsonl"
    path.write_text(path.read_text().replace(".png", ".jpg"))
    found = compare(side(first), side(second))
    assert next(one for one in found.changes if one.row == "exact").method.startswith("unpaired")


def test_other_samples_of_the_same_model_are_no_change() -> None:
    rights = np.random.default_rng(0).binomial(300, 0.85, (400, 2))
    pairs = [[Interval(**share_of(int(right))) for right in pair] for pair in rights]
    assert sum(difference(*pair)[1] < 0.05 for pair in pairs) <= 30


def test_newcombes_interval() -> None:
    """56/70 against 48/80: method 10 in Newcombe (1998), table II, gives 0.0524 to 0.3339."""
    gap, p = difference(Interval(**share_of(48, 80)), Interval(**share_of(56, 70)))
    assert (gap.low, gap.high) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))
    assert p < 0.05


def test_swapping_finds_what_is_there_and_nothing_else() -> None:
    truth = np.arange(300) % 3
    before = said(1, 0.8)
    assert swapped_p(truth, before, before) == 1
    assert swapped_p(truth, before, np.where(np.arange(300) < 40, truth, before)) < 0.05
    ps = [swapped_p(truth, said(seed, 0.8), said(seed + 500, 0.8)) for seed in range(60)]
    assert sum(p < 0.05 for p in ps) <= 7
    assert uar(truth, before) == pytest.approx(0.8, abs=0.06)


def test_holm() -> None:
    assert beyond_noise([0.04, 0.01, 0.03]) == [False, True, False]
    assert beyond_noise([0.01, 0.02, 0.2]) == [True, True, False]
    assert beyond_noise([]) == []


def test_the_command_tells_and_fails_when_asked(tmp_path: Path) -> None:
    slower = made(2)
    slower["rows"][2]["size_bytes"] = 14_000_000
    first, second = write(tmp_path / "a", made(2)), write(tmp_path / "b", slower)
    told = run(first, second)
    assert told.exit_code == 0
    assert told.output.splitlines()[0].split() == ["row", "what", "before", "after", "change", "(95", "%)", "verdict"]
    assert "small      size                10.0 MB   14.0 MB   +40.0 %" in told.output
    assert told.output.splitlines()[-1] == "worse: small (size); not compared: 3 of 20 figures"
    failed = run(first, second, "--fail-on-regression")
    assert failed.exit_code == 7 and failed.output.endswith("Error: worse than before: small (size)\n")
    assert run(second, first, "--fail-on-regression").exit_code == 0
    assert run(first, first, "--fail-on-regression").output.splitlines()[-1] == (
        "no change beyond noise; not compared: 3 of 20 figures"
    )
    parsed = json.loads(run(first, second, "--json").stdout)
    assert parsed["unjudged"] == 3
    assert parsed["regressions"] == 1 and parsed["floors"]["time"] == 0.02 and len(parsed["changes"]) == 20


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; emo-edge bench --out FOLDER writes one"),
        ("[1, 2]", "not a report of emo-edge bench"),
        ('{"schema": 2, "rows": []}', "schema version 2, and this emo-edge reads 1"),
        (json.dumps(made(1))[:500], "cut off or not JSON"),
    ],
)
def test_bad_reports_are_one_error(tmp_path: Path, content: str | None, message: str) -> None:
    good, bad = write(tmp_path / "good", made(1)), tmp_path / "bad.json"
    if content is not None:
        bad.write_text(content)
    done = run(good, bad)
    assert done.exit_code == 4 and message in done.output and len(done.output.splitlines()) == 1


def test_samples_that_are_cut_off_are_one_error(tmp_path: Path) -> None:
    good, torn = (write(tmp_path / name, made(1), {"exact": said(1, 0.9)}) for name in ("good", "torn"))
    path = torn / "samples/exact.jsonl"
    path.write_text(path.read_text()[:-20])
    done = run(good, torn)
    assert done.exit_code == 4 and "exact.jsonl, row 300: cut off" in done.output


def test_hostile_names_reach_neither_files_nor_the_terminal(tmp_path: Path) -> None:
    """A row named as a path is not read from there; escapes are not printed."""
    report = made(1)
    report["rows"][1]["name"] = "../../secret"
    report["rows"][2]["name"] = "\x1b[2Jsmall"
    first, second = write(tmp_path / "a/b", report), write(tmp_path / "a/c", report)
    (tmp_path / "secret.jsonl").write_text("not to be read")
    done = run(first, second)
    assert done.exit_code == 0 and "\x1b" not in done.output
