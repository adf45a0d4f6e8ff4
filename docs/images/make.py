"""Make the pictures of the documentation. All faces are drawings.

python docs/images/make.py group group.png 150-surprise 078-happiness 121-sadness
emo-edge infer emo-tiny.bundle group.png --draw faces.png
python docs/images/make.py fit faces.png docs/images/faces.jpg

python docs/images/make.py clip clip.mp4
emo-edge infer emo-tiny.bundle clip.mp4 --fps 8 --frames 4 --draw drawn.mp4
python docs/images/make.py strip drawn.mp4 docs/images/video.jpg

python docs/images/make.py terminal docs/images/terminal.png \
    emo-edge infer emo-tiny.bundle emo_edge/samples/078-happiness.jpg --describe --threads 1
python docs/images/make.py page docs/results/bench/report.html docs/images/bench.png
python -m emo_edge.benchmarks.synthetic.contact_sheet --out sheet.png --strip strip.png
python docs/images/make.py fit sheet.png docs/images/contact-sheet.jpg --width 860
python docs/images/make.py fit strip.png docs/images/clip-strip.jpg
python docs/images/make.py live emo-tiny.bundle docs/images/live.webp
python docs/images/make.py serve serve.png 001-happiness 150-surprise
python docs/images/make.py fit serve.png docs/images/serve.jpg --width 1000
python docs/images/make.py serve dark.png 001-happiness 150-surprise --dark
python docs/images/make.py fit dark.png docs/images/serve-dark.jpg --width 1000
python docs/images/make.py serve phone.png 001-happiness --dark --phone
python docs/images/make.py fit phone.png docs/images/serve-phone.jpg --width 390
python docs/images/make.py serve task.png 001-happiness --task expression
python docs/images/make.py fit task.png docs/images/serve-task.jpg --width 900
"""

from __future__ import annotations

import html
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

WIDTH = 1280
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SAMPLES = Path(__file__).parents[2] / "emo_edge" / "samples"
PHONE = {"viewport": {"width": 390, "height": 900}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
FILMED = 34
"""Seed of the filmed scene."""
PICTURE = click.Path(path_type=Path, dir_okay=False)
TERMINAL = (
    "<body style='margin:0;background:#1c1c1e;color:#f5f5f7'>"
    "<pre style='font:15px/1.45 DejaVu Sans Mono,monospace;margin:18px;white-space:pre-wrap'>"
    "<b style='color:#34c759'>$</b> <b>{command}</b>\n{output}</pre>"
)


def main() -> None:
    """Run one of the commands."""
    cli()


@click.group()
def cli() -> None:
    """Make the pictures of the documentation."""


@cli.command()
@click.argument("out", type=PICTURE)
@click.argument("names", nargs=-1, required=True)
def group(out: Path, names: tuple[str, ...]) -> None:
    """Put packaged drawings NAMES into one picture, as faces of one group."""
    write(out, np.concatenate([read(SAMPLES / f"{name}.jpg") for name in names], axis=1))


@cli.command()
@click.argument("out", type=PICTURE)
@click.option("--seed", default=0, show_default=True, help="Set of clips.")
@click.option("--index", default=16, show_default=True, help="Clip of the set.")
def clip(out: Path, seed: int, index: int) -> None:
    """Draw a video of three seconds: one face, an expression that comes and goes."""
    from emo_edge.benchmarks.synthetic.generator import render_clip

    drawn = render_clip(seed, index, size=320)
    size = drawn.frames[0].image.shape[1::-1]
    writer = cv2.VideoWriter(str(out), cv2.VideoWriter.fourcc(*"mp4v"), drawn.fps, size)
    for frame in drawn.frames:
        writer.write(frame.image[..., ::-1])
    writer.release()
    click.echo(f"{out}: {drawn.expression}, {len(drawn.frames)} frames")


@cli.command()
@click.argument("video", type=PICTURE)
@click.argument("out", type=PICTURE)
@click.option("--count", default=5, show_default=True, help="Frames of the strip.")
def strip(video: Path, out: Path, count: int) -> None:
    """Put frames of VIDEO, evenly spaced, side by side."""
    capture, frames = cv2.VideoCapture(str(video)), []
    while (got := capture.read())[0]:
        frames.append(got[1])
    places = [round((part + 0.5) * len(frames) / count) for part in range(count)]
    write(out, fitted(np.concatenate([frames[place] for place in places], axis=1), 1600))


@cli.command()
@click.argument("picture", type=PICTURE)
@click.argument("out", type=PICTURE)
@click.option("--width", default=WIDTH, show_default=True, help="Pixels.")
def fit(picture: Path, out: Path, width: int) -> None:
    """Shrink PICTURE to a width and write it as OUT."""
    write(out, fitted(read(picture), width))


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("out", type=PICTURE)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def terminal(out: Path, command: tuple[str, ...]) -> None:
    """Run COMMAND and picture what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    page = TERMINAL.format(command=html.escape(shlex.join(command)), output=html.escape(done.stdout))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "terminal.html"
        path.write_text(f"<meta charset='utf-8'>{page}", encoding="utf-8")
        screenshot(path, out, 900, 60 + 22 * (2 + done.stdout.count("\n")))


@cli.command()
@click.argument("report", type=PICTURE)
@click.argument("out", type=PICTURE)
@click.option("--height", default=790, show_default=True, help="Pixels from the top of the page.")
def page(report: Path, out: Path, height: int) -> None:
    """Picture the beginning of an HTML page, so wide that no table scrolls."""
    wide = "<style>main, body { max-width: none !important }</style>"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / report.name
        path.write_text(report.read_text(encoding="utf-8") + wide, encoding="utf-8")
        screenshot(path, out, 1300, height)


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=PICTURE)
@click.option("--width", default=560, show_default=True, help="Pixels.")
@click.option("--fps", default=6, show_default=True, help="Pictures a second.")
@click.option("--quality", default=40, show_default=True, help="Of WebP.")
def live(bundle: Path, out: Path, width: int, fps: int, quality: int) -> None:
    """Film two drawn faces that cross, as ``emo-edge live --record`` draws them with BUNDLE."""
    from PIL import Image

    import emo_edge
    from emo_edge.benchmarks.live.crossings import FPS, scene_frames, scenes
    from emo_edge.benchmarks.live.tracking import detected_persons
    from emo_edge.rendering.live.picture import live_picture

    scene = scenes(FILMED, detected_persons(emo_edge.open_detector("haar"), FILMED))[1]
    with tempfile.TemporaryDirectory() as folder, emo_edge.EmotionPipeline.open(bundle, device="cpu") as pipeline:
        film, pictures = Path(folder) / "scene.avi", []
        frames = [frame.image[50:410, 110:750] for frame in scene_frames(scene, FILMED)]
        writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), FPS, frames[0].shape[1::-1])
        for frame in frames:
            writer.write(frame[..., ::-1])
        writer.release()
        for event in emo_edge.live(pipeline, film):
            # The first half second has no ids yet.
            if isinstance(event, emo_edge.FrameEvent) and event.index % (FPS // fps) == 0 and event.time_s >= 0.5:
                pictures.append(Image.fromarray(fitted(live_picture(event), width)))
    options = {"save_all": True, "append_images": pictures[1:], "duration": 1000 // fps, "loop": 0}
    pictures[0].save(out, quality=quality, method=6, **options)
    click.echo(f"{out}: {len(pictures)} pictures, {out.stat().st_size / 1000:.0f} kB")


@cli.command()
@click.argument("out", type=PICTURE)
@click.argument("names", nargs=-1, required=True)
@click.option("--seconds", default=12, show_default=True, help="Time before the camera.")
@click.option("--bundle", default="emo-tiny", show_default=True, help="Bundle that reads.")
@click.option("--dark", is_flag=True, help="Show the dark page.")
@click.option("--phone", is_flag=True, help="Show it as a phone does.")
@click.option("--task", help="Affective task that is asked of the first drawing instead, for a yes or no.")
def serve(
    out: Path, names: tuple[str, ...], seconds: int, bundle: str, *, dark: bool, phone: bool, task: str | None
) -> None:
    """Picture the page of ``emo-edge serve`` while packaged drawings NAMES stand before its camera."""
    from playwright.sync_api import sync_playwright

    command = ["emo-edge", "serve", bundle, "--port", "0"]
    view: Any = PHONE if phone else {"viewport": {"width": WIDTH, "height": 900}}
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,
    ):
        film = write_film(Path(folder) / "drawings.y4m", [read(SAMPLES / f"{name}.jpg") for name in names])
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        options = ["--no-sandbox", *camera, f"--use-file-for-fake-video-capture={film}"]
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium(), args=options)
                page = browser.new_page(color_scheme="dark" if dark else "light", **view)
                page.goto(url)
                page.locator("#server-state-text", has_text="Ready").wait_for()
                if task:
                    judge(page, task, SAMPLES / f"{names[0]}.jpg")
                else:
                    page.get_by_role("tab", name="Camera").click()
                    page.get_by_role("button", name="Start camera").click()
                    page.wait_for_timeout(1000 * seconds)
                page.screenshot(path=out)
                browser.close()
        finally:
            server.terminate()
    click.echo(f"{out}: written")


def judge(page: Any, task: str, drawing: Path) -> None:
    """Have the page read a drawing, and judge the label of its name."""
    page.get_by_role("combobox", name="Task").select_option(task)
    page.get_by_role("combobox", name="Answer").select_option("judgement")
    page.get_by_role("combobox", name="Does this label hold?").select_option(drawing.stem.partition("-")[2])
    page.locator("#picture-files").set_input_files(drawing)
    page.locator("#results-title", has_text="(1)").wait_for()
    page.locator("#busy").wait_for(state="hidden")


def write_film(path: Path, drawings: list[Any]) -> Path:
    """Write two seconds of drawings side by side, as Chromium's simulated camera takes them."""
    side, fps = 320, 10
    frame = np.full((480, 640, 3), 200, np.uint8)
    for number, drawing in enumerate(drawings[:2]):
        left = number * side
        frame[80 : 80 + side, left : left + side] = cv2.resize(drawing, (side, side), interpolation=cv2.INTER_AREA)
    planes = cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes()
    head = f"YUV4MPEG2 W640 H480 F{fps}:1 Ip A1:1 C420mpeg2\n".encode()
    path.write_bytes(head + 2 * fps * (b"FRAME\n" + planes))
    return path


def chromium() -> str:
    """Return the path of Chromium, which must be installed."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        raise click.ClickException("no chromium on the path")
    return path


def screenshot(path: Path, out: Path, width: int, height: int) -> None:
    """Picture a page with headless Chromium, which must be installed."""
    # No sandbox: it does not start as root in a container; the page is this repository's own.
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},{height}"]
    target = f"--screenshot={out.absolute()}"
    subprocess.run([chromium(), *options, target, path.absolute().as_uri()], capture_output=True, check=True)


def read(path: Path) -> Any:
    """Return a picture, BGR; raise ClickException without one."""
    image = cv2.imread(str(path))
    if image is None:
        raise click.ClickException(f"{path}: no picture")
    return image


def fitted(image: Any, width: int) -> Any:
    """Shrink a picture to a width."""
    scale = min(1.0, width / image.shape[1])
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def write(path: Path, image: Any) -> None:
    """Write a picture, as JPEG with a quality that keeps lines clear."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 85] if path.suffix == ".jpg" else []
    if not cv2.imwrite(str(path), image, options):
        raise click.ClickException(f"{path}: could not be written")


if __name__ == "__main__":
    main()
