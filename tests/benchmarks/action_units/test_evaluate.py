"""The command on whole trees of DISFA and BP4D with labels of chance, against figures counted frame by frame."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from scipy import stats

from emo_edge.benchmarks.action_units.evaluate import main
from emo_edge.benchmarks.action_units.evaluation import evaluate
from emo_edge.benchmarks.action_units.predictions import predictions_of
from emo_edge.benchmarks.datasets.action_units import bp4d, disfa
from emo_edge.benchmarks.datasets.action_units.recordings import Recording, UnitDataset, of_the_folds
from emo_edge.errors import InputError

FRAMES = 40
PEOPLE = [subject for fold in disfa.FOLDS for subject in fold]
Levels = dict[str, NDArray[np.float64]]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Levels, Levels]:
    """A tree of DISFA, CSV files as OpenFace writes them, and the numbers in both; frames count from 1."""
    rng, home = np.random.default_rng(2), tmp_path_factory.mktemp("disfa")
    truth: Levels = {}
    levels: Levels = {}
    (home / "out").mkdir()
    for subject in PEOPLE:
        truth[subject] = rng.choice([0.0, 0, 0, 1, 2, 3, 4, 5], (FRAMES, 8))
        levels[subject] = np.round(np.clip(truth[subject] + rng.normal(0, 1.2, (FRAMES, 8)), 0, 5), 2)
        folder = home / "data/ActionUnit_Labels" / subject
        folder.mkdir(parents=True)
        for column, unit in enumerate(disfa.DISFA_UNITS):
            rows = [f"{row + 1},{truth[subject][row, column]:.0f}" for row in range(FRAMES)]
            (folder / f"{subject}_au{unit}.txt").write_text("\n".join(rows))
        names = [f"AU{unit:02d}_{kind}" for kind in "rc" for unit in disfa.DISFA_UNITS]
        lines = [", ".join(["frame", "face_id", "success", *names])]
        for row in range(FRAMES):
            own = levels[subject][row]
            lines.append(", ".join(map(str, [row + 1, 0, 1, *own, *(own >= 2).astype(int)])))
        (home / "out" / f"{subject}.csv").write_text("\n".join(lines))
    return home / "data", home / "out", truth, levels


def ran(data: Path, out: Path, *options: str, name: str = "disfa") -> Result:
    return CliRunner().invoke(main, ["--dataset", f"{name}:{data}", "--predictions", str(out), *options])


def literal_f1(truth: NDArray[np.bool_], active: NDArray[np.bool_]) -> float:
    hits = int((truth & active).sum())
    return 2 * hits / (int(truth.sum()) + int(active.sum()))


def test_figures_are_those_that_are_counted(copy: tuple[Path, Path, Levels, Levels], tmp_path: Path) -> None:
    data, out, truth, levels = copy
    done = ran(data, out, "--json", str(tmp_path / "units.json"))
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "units.json").read_text())
    assert (report["subjects"], report["recordings"], report["frames"]) == (27, 27, 27 * FRAMES)
    for column, own in enumerate(report["units"]):
        all_true, all_given = (np.concatenate([part[one][:, column] for one in PEOPLE]) for part in (truth, levels))
        folds = [
            literal_f1(
                np.concatenate([truth[one][:, column] for one in fold]) >= 2,
                np.concatenate([levels[one][:, column] for one in fold]) >= 2,
            )
            for fold in disfa.FOLDS
        ]
        assert own["unit"] == disfa.DISFA_UNITS[column]
        assert own["f1"]["value"] == pytest.approx(literal_f1(all_true >= 2, all_given >= 2))
        assert own["f1_folds"] == pytest.approx(np.mean(folds))
        assert own["pcc"]["value"] == pytest.approx(stats.pearsonr(all_true, all_given).statistic)
        assert own["mae"]["value"] == pytest.approx(np.abs(all_true - all_given).mean())
        u = stats.mannwhitneyu(all_given[all_true >= 2], all_given[all_true < 2]).statistic
        assert own["auc"]["value"] == pytest.approx(u / ((all_true >= 2).sum() * (all_true < 2).sum()))
        assert own["f1"]["low"] < own["f1"]["value"] < own["f1"]["high"]
        assert own["ece"]["value"] is None, "OpenFace writes no probabilities"
    assert report["mean_f1"]["value"] == pytest.approx(np.mean([own["f1"]["value"] for own in report["units"]]))
    assert (
        "| mean | | | " in done.output
        and "27 people in 3 folds, 27 videos, 1,080 labelled frames.\nEvery one has a prediction." in done.output
    )


def test_one_fold_is_of_its_people(copy: tuple[Path, Path, Levels, Levels], tmp_path: Path) -> None:
    data, out, truth, levels = copy
    path = tmp_path / "one.json"
    assert ran(data, out, "--fold", "3", "--json", str(path)).exit_code == 0
    own = json.loads(path.read_text())["units"][0]
    wanted = literal_f1(*(np.concatenate([part[one][:, 0] for one in disfa.FOLDS[2]]) >= 2 for part in (truth, levels)))
    assert own["f1"]["value"] == pytest.approx(wanted) and own["f1_folds"] == pytest.approx(wanted)


def test_files_counted_from_0_give_the_same_figures(copy: tuple[Path, Path, Levels, Levels], tmp_path: Path) -> None:
    data, out, _, _ = copy
    for path in out.glob("*.csv"):
        header, *rows = path.read_text().splitlines()
        moved = [f"{int(row.split(',')[0]) - 1},{row.partition(',')[2]}" for row in rows]
        (tmp_path / path.name).write_text("\n".join([header, *moved]))
    assert ran(data, tmp_path).output == ran(data, out).output
    wrong = ran(data, tmp_path, "--frame-offset", "0")
    assert wrong.output != ran(data, out).output and "27 of them (2.5%) have no prediction" in wrong.output


def test_lost_frames_are_inactive_or_left_out(copy: tuple[Path, Path, Levels, Levels], tmp_path: Path) -> None:
    data, out, _, _ = copy
    for path in out.glob("*.csv"):
        header, *rows = path.read_text().splitlines()
        lost = [row.replace(", 0, 1, ", ", 0, 0, ", 1) if number % 2 else row for number, row in enumerate(rows)]
        (tmp_path / path.name).write_text("\n".join([header, *lost]))
    inactive, left_out = (ran(data, tmp_path, "--absent", way) for way in ("inactive", "left-out"))
    assert "540 of them (50.0%) have no prediction, and count as frames without any unit in F1." in inactive.output
    assert "540 of them (50.0%) have no prediction, and are left out." in left_out.output
    means = [float(done.output.split("| mean | | | ")[1].split()[0]) for done in (inactive, left_out)]
    assert means[0] < means[1] - 5


def test_a_unit_that_the_tracker_has_not_is_named(copy: tuple[Path, Path, Levels, Levels], tmp_path: Path) -> None:
    data, out, _, _ = copy
    for path in out.glob("*.csv"):
        (tmp_path / path.name).write_text(path.read_text().replace("AU26_", "AU43_"))
    done = ran(data, tmp_path)
    assert "Not detected by this tracker: AU26; the mean F1 is that of the others." in done.output
    row = next(line for line in done.output.splitlines() if line.startswith("| AU26 "))
    assert row.endswith("| – | – | – | – | – | – | – |")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fold", "4"], "Error: --fold 4: disfa has folds 1 to 3"),
        (["--folds", "nowhere.json"], "nowhere.json: no such file"),
        (["--json", "/dev/null/a.json"], "/dev/null"),
        (["--frame-offset", "500"], "no frame has both a label and a prediction: labels are of 1 to 40"),
    ],
)
def test_options_that_cannot_be(copy: tuple[Path, Path, Levels, Levels], options: list[str], message: str) -> None:
    done = ran(copy[0], copy[1], *options)
    assert done.exit_code == 4 and message in done.output


def test_a_person_without_predictions_or_labels_is_named(
    copy: tuple[Path, Path, Levels, Levels], tmp_path: Path
) -> None:
    data, out, _, _ = copy
    for path in out.glob("*.csv"):
        if path.stem != "SN009":
            (tmp_path / path.name).write_text(path.read_text())
    done = ran(data, tmp_path)
    assert done.exit_code == 4 and "no predictions of SN009: SN009.csv is expected" in done.output
    folds = tmp_path / "folds.json"
    folds.write_text(json.dumps([["SN001"], ["SN001"]]))
    done = ran(data, out, "--folds", str(folds))
    assert done.exit_code == 4 and "SN001 would be tested in two folds" in done.output
    folds.write_text(json.dumps([["SN001", "SN099"], ["SN002"]]))
    done = ran(data, out, "--folds", str(folds))
    assert done.exit_code == 4 and "fold 1 lacks SN099" in done.output


def test_bp4d_counts_frames_as_its_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    home, out = tmp_path / "AUCoding/AU_OCC", tmp_path / "out"
    home.mkdir(parents=True)
    out.mkdir()
    for subject in (one for fold in bp4d.FOLDS for one in fold):
        codes = rng.choice([0, 1, 9], (20, 12), p=[0.5, 0.4, 0.1])
        rows = [[700 + row, *own] for row, own in enumerate(codes)]
        lines = [",".join(map(str, row)) for row in ([0, *bp4d.BP4D_UNITS], *rows)]
        (home / f"{subject}_T1.csv").write_text("\n".join(lines))
        given = [[700 + row, *np.where(own == 9, 1, own)] for row, own in enumerate(codes)]
        names = ["frame", *(f"AU{unit:02d}" for unit in bp4d.BP4D_UNITS)]
        (out / f"{subject}_T1.csv").write_text("\n".join(",".join(map(str, row)) for row in [names, *given]))
    done = ran(tmp_path, out, name="bp4d")
    assert done.exit_code == 0, done.output
    mean = next(line for line in done.output.splitlines() if line.startswith("| mean "))
    assert "| 100.0 (100.0–100.0) | 100.0 | 1.00 | – | – | – | 0.00 |" in mean, "missing labels are no misses"
    assert "287 tasks are not there" in done.output


def test_a_video_without_a_face_has_no_prediction_and_is_no_error(
    copy: tuple[Path, Path, Levels, Levels], tmp_path: Path
) -> None:
    data, out, _, _ = copy
    for path in out.glob("*.csv"):
        text = path.read_text()
        (tmp_path / path.name).write_text(text.replace(", 0, 1, ", ", 0, 0, ") if path.stem == "SN002" else text)
    done = ran(data, tmp_path)
    assert done.exit_code == 0 and "40 of them (3.7%) have no prediction" in done.output


def recording(subject: str, active: list[list[float]], first: int | None = 0) -> Recording:
    return Recording(subject, subject, np.arange(len(active)), np.array(active, float), None, first)


def test_arrays_and_columns_that_differ() -> None:
    parts = tuple(recording(name, [[1, 0], [0, 1], [math.nan, 1]]) for name in "ab")
    dataset, folds = of_the_folds(UnitDataset("mine", (1, 12), parts, (("a",), ("b",)), ()), (("a",), ("b",)))
    both = predictions_of(2, np.arange(3), active=np.array([[1.0, 0], [0, 1], [1, 1]]))
    evaluation = evaluate({"a": both, "b": both}, dataset, folds)
    assert evaluation.mean_f1.value == 1 and [own.frames for own in evaluation.units] == [4, 6]
    one = predictions_of(2, np.arange(3), active=np.array([[1.0, np.nan], [0, np.nan], [1, np.nan]]))
    with pytest.raises(InputError, match="b has units 1, a has 1, 12: one tracker writes the same columns"):
        evaluate({"a": both, "b": one}, dataset, folds)
    late = predictions_of(2, np.arange(1, 3) + 1, active=np.ones((2, 2)))
    with pytest.raises(InputError, match=r"its predictions begin with frame 2: .* `frame_offset`"):
        evaluate({"a": late, "b": late}, dataset, folds)
    assert evaluate({"a": late, "b": late}, dataset, folds, frame_offset=-2).without_prediction == 2
    with pytest.raises(InputError, match="no predictions of b"):
        evaluate({"a": both}, dataset, folds)
    with pytest.raises(InputError, match="`absent` is inactive or left-out"):
        evaluate({"a": both, "b": both}, dataset, folds, absent="maybe")
