"""The catalogue is complete, sourced and consistent in itself."""

from __future__ import annotations

from dataclasses import fields

import pytest

from emo_edge.errors import InputError
from emo_edge.planning.cost.work import Node, Work
from emo_edge.planning.device_catalogue import CATALOGUE, COMPUTE, GIB, TERA, Entry, Figure, catalogue_device

DEVICES = ("orin-nano-8gb", "orin-nx-16gb", "agx-orin-64gb", "thor", "rtx-4090")


def figures(entry: Entry) -> list[Figure]:
    plain = [value for part in fields(entry) if isinstance(value := getattr(entry, part.name), Figure)]
    return [*plain, *entry.rates.values()]


def test_every_device_that_the_command_names_is_there() -> None:
    assert tuple(CATALOGUE) == DEVICES


@pytest.mark.parametrize("name", DEVICES)
def test_every_figure_is_positive_and_has_its_source(name: str) -> None:
    entry = CATALOGUE[name]
    assert entry.rates.keys() == {"fp32", "fp16", "int8"}
    for figure in figures(entry):
        assert figure.value > 0
        assert len(figure.source) > 20
    assert entry.rates["fp32"].value < entry.rates["fp16"].value < entry.rates["int8"].value


@pytest.mark.parametrize("name", DEVICES)
def test_the_device_leaves_less_than_it_has_and_says_what_it_rests_on(name: str) -> None:
    device = catalogue_device(name)
    assert 0 < device.left < device.memory
    assert not device.measured and "not measured" in device.notes[0]


def test_derived_rates_follow_from_cores_and_clock() -> None:
    for name, cores, clock in (
        ("orin-nano-8gb", 32, 1.02e9),
        ("orin-nx-16gb", 32, 0.918e9),
        ("agx-orin-64gb", 64, 1.3e9),
    ):
        assert CATALOGUE[name].rates["fp16"].value == pytest.approx(cores * clock * 512, rel=0.01)
        assert CATALOGUE[name].rates["int8"].value == pytest.approx(cores * clock * 1024, rel=0.01)
    assert CATALOGUE["thor"].rates["fp32"].value == pytest.approx(2560 * 2 * 1.575e9, rel=0.01)


def test_a_large_matmul_takes_its_share_of_the_rate() -> None:
    device = catalogue_device("agx-orin-64gb")
    work = Work((Node("matmul", 42.6 * TERA, 1.0, 1.0, 1, "fp16"),))
    took = device.graphs.seconds(work)
    assert took.least == pytest.approx(1 / COMPUTE.most, rel=0.01)
    assert took.most == pytest.approx(1 / COMPUTE.least, rel=0.01)
    assert device.memory == 64 * GIB


def test_an_unknown_device_lists_those_there_are() -> None:
    with pytest.raises(InputError, match=r"no device 'orin'; there are: orin-nano-8gb, .*rtx-4090, this"):
        catalogue_device("orin")
