"""Several sources at once, and events for ``async for``: ends, deaths and cancellations leave no thread."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

import emo_edge
from emo_edge.benchmarks.hostile.small_bundle import write_small_bundle
from emo_edge.errors import DeviceError, InputError
from emo_edge.inference.live import api
from emo_edge.inference.live.events import FrameEvent, LiveEvent, SourceEvent, TrackEvent
from emo_edge.media.live.capture import LiveCapture
from tests.fake_sources import PATIENCE_S, FakeClock, FakeFrame, FakeReader, FakeSource
from tests.made_videos import write


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Any:
    bundle = write_small_bundle(tmp_path_factory.mktemp("several") / "bundle")
    with emo_edge.EmotionPipeline.open(bundle, device="cpu", detector=emo_edge.open_detector("whole-image")) as opened:
        yield opened


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("videos")
    return [
        write(folder / f"{name}.mp4", [index / 10 for index in range(count)]) for name, count in (("a", 8), ("b", 5))
    ]


def own_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if not thread.name.startswith(("asyncio", "Dummy"))}


@pytest.fixture(autouse=True)
def _no_thread_is_left(pipeline: Any) -> Any:
    before = own_threads()
    yield
    for thread in own_threads() - before:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), thread


def by_source(events: list[LiveEvent]) -> dict[str, list[LiveEvent]]:
    found: dict[str, list[LiveEvent]] = defaultdict(list)
    for event in events:
        found[event.source].append(event)
    return found


def test_each_source_has_its_own_ids_and_all_of_its_frames(pipeline: Any, videos: list[Path]) -> None:
    found = by_source(list(emo_edge.live(pipeline, videos)))
    assert set(found) == {str(path) for path in videos}
    for path, count in zip(videos, (8, 5), strict=True):
        own = found[str(path)]
        alone = [event.to_dict() for event in emo_edge.live(pipeline, path)]
        assert [event.index for event in own if isinstance(event, FrameEvent)] == list(range(count))
        assert [event.id for event in own if isinstance(event, TrackEvent)] == [1]
        times = {"age_ms", "label_age_ms", "stage_ms", "reading_ms", "time_s"}
        assert [without(event.to_dict(), times) for event in own] == [without(event, times) for event in alone]


def without(value: Any, keys: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: without(one, keys) for key, one in value.items() if key not in keys}
    return [without(one, keys) for one in value] if isinstance(value, list) else value


def test_a_dead_camera_does_not_end_the_other(
    pipeline: Any, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = FakeReader()
    for grey in range(3):
        reader.queue.put(FakeFrame(grey))
    reader.queue.put(None)  # unplugged

    def capture(source: str, settings: Any) -> LiveCapture:
        return (
            LiveCapture(source, settings, opener=FakeSource(reader)) if source == "7" else LiveCapture(source, settings)
        )

    monkeypatch.setattr(api, "LiveCapture", capture)
    events = until_error(emo_edge.live(pipeline, [7, videos[0]]))
    found = by_source(events)
    assert [event.state for event in found["7"] if isinstance(event, SourceEvent)][-1] == "lost"
    frames = [event for event in found[str(videos[0])] if isinstance(event, FrameEvent)]
    assert len(frames) == 8


def until_error(events: Any) -> list[LiveEvent]:
    given: list[LiveEvent] = []
    try:
        for event in events:
            given.append(event)
    except DeviceError as error:
        assert "still plugged in" in str(error)
        return given
    raise AssertionError("no error came")


def test_whoever_leaves_early_ends_every_thread(pipeline: Any, videos: list[Path]) -> None:
    events = emo_edge.live(pipeline, videos)
    next(events)
    events.close()


def test_sources_are_given_once(pipeline: Any) -> None:
    for sources in ([], [0, "0"]):
        with pytest.raises(InputError, match="one or more sources, each once"):
            emo_edge.live(pipeline, sources)
    with pytest.raises(InputError, match="leave `on_piece` out"):
        emo_edge.live_async(pipeline, 0, emo_edge.Request(on_piece=print))


def test_async_events_are_those_of_the_iterator(pipeline: Any, videos: list[Path]) -> None:
    async def collected() -> list[LiveEvent]:
        return [event async for event in emo_edge.live_async(pipeline, videos[1])]

    kinds = [type(event) for event in asyncio.run(collected())]
    assert kinds == [type(event) for event in emo_edge.live(pipeline, videos[1])]


@pytest.mark.parametrize("how", ["cancel", "leave"])
def test_a_cancelled_task_closes_the_source_and_the_threads(
    pipeline: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    reader, clock = FakeReader(), FakeClock()
    reader.queue.put(FakeFrame(1))
    monkeypatch.setattr(
        api,
        "LiveCapture",
        lambda source, settings: LiveCapture(source, settings, clock=clock, opener=FakeSource(reader)),
    )

    async def follow(playing: asyncio.Event) -> None:
        async with aclosing(emo_edge.live_async(pipeline, 0)) as events:
            async for event in events:
                if isinstance(event, FrameEvent):
                    playing.set()
                    if how == "leave":
                        return

    async def main() -> None:
        playing = asyncio.Event()
        task = asyncio.create_task(follow(playing))
        await playing.wait()
        if how == "cancel":
            await asyncio.sleep(0)  # it waits for the next event, which never comes
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            await task

    asyncio.run(main())
    reader.queue.put(None)
    assert reader.closed.wait(PATIENCE_S)
