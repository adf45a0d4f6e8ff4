"""Synthetic faces: exact ground truth, reproducible, readable by a stock detector."""

import cv2
import numpy as np
import pytest

from emo_edge.benchmarks.synthetic.contact_sheet import clip_strip
from emo_edge.benchmarks.synthetic.generator import (
    CLIP_FRAMES,
    PASSING_FRAMES,
    Difficulty,
    expression_envelope,
    occluder_distance,
    render_clip,
    render_face,
)
from emo_edge.errors import InputError
from emo_edge.taxonomy import CELEBA_ATTRIBUTES, EXPRESSIONS, LANDMARK_REGIONS, PARSING_CLASSES

CLEAR = Difficulty(occlusion_probability=0.0, blur_probability=0.0, noise_range=(0.0, 0.5), jpeg_range=(94, 95))


@pytest.fixture(scope="module")
def samples():
    return [render_face(3, index) for index in range(60)]


def test_same_arguments_same_bytes():
    first, second = render_face(1, 7, size=96), render_face(1, 7, size=96)
    for name in ("image", "landmarks", "parsing", "action_units", "attributes", "visibility", "box", "pose"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert not np.array_equal(first.image, render_face(1, 8, size=96).image)


def test_shapes_types_and_ranges(samples):
    for sample in samples:
        assert sample.image.shape == (224, 224, 3) and sample.image.dtype == np.uint8
        assert sample.parsing.shape == (224, 224) and sample.parsing.max() < len(PARSING_CLASSES)
        assert sample.action_units.shape == (17,) and 0 <= sample.action_units.min() <= sample.action_units.max() <= 1
        assert sample.landmarks.shape == (68, 2) and np.isfinite(sample.landmarks).all()
        assert sample.attributes.shape == (40,) and set(np.unique(sample.attributes)) <= {-1, 0, 1}
        assert sample.visibility.shape == (29,) and set(np.unique(sample.visibility)) <= {0, 1}
        assert (np.abs(sample.pose) <= (0.52, 0.52, 0.35)).all()
        assert 0.4 < (sample.box[3] - sample.box[1]) / 224 < 0.9
    assert {sample.expression for sample in samples} == set(EXPRESSIONS)


def test_ground_truth_does_not_depend_on_the_size():
    small, large = render_face(2, 5, size=112), render_face(2, 5, size=224)
    np.testing.assert_allclose((small.landmarks + 0.5) * 2 - 0.5, large.landmarks, atol=1e-3)
    np.testing.assert_array_equal(small.attributes, large.attributes)
    assert (small.parsing == large.parsing[::2, ::2]).mean() > 0.95


def test_eye_landmarks_outline_the_eye_class():
    overlaps = []
    for index in range(20):
        sample = render_face(4, index, expressions=["surprise"], difficulty=CLEAR)
        for name in ("right_eye", "left_eye"):
            hull = np.zeros((224, 224), np.uint8)
            start, end = LANDMARK_REGIONS[name]
            cv2.fillPoly(hull, [np.round(sample.landmarks[start:end]).astype(np.int32)], 1)
            region = sample.parsing == PARSING_CLASSES.index(name)
            overlaps.append((hull.astype(bool) & region).sum() / (hull.astype(bool) | region).sum())
    assert np.mean(overlaps) > 0.75


def test_landmarks_lie_in_their_regions():
    for index in range(20):
        sample = render_face(6, index, expressions=["neutral"], difficulty=CLEAR)
        for point, name in (
            (51, "upper_lip"),
            (57, "lower_lip"),
            (30, "nose"),
            (19, "right_eyebrow"),
            (24, "left_eyebrow"),
        ):
            x, y = np.round(sample.landmarks[point]).astype(int)
            around = sample.parsing[y - 2 : y + 3, x - 2 : x + 3]
            assert {PARSING_CLASSES.index(name), PARSING_CLASSES.index("hair")} & set(around.ravel().tolist()), (
                index,
                name,
            )


def test_persons_right_eye_is_at_the_images_left(samples):
    for sample in samples:
        assert sample.landmarks[36, 0] < sample.landmarks[45, 0]


def test_yaw_moves_the_nose_to_the_right(samples):
    offset = [s.landmarks[30, 0] - (s.landmarks[0, 0] + s.landmarks[16, 0]) / 2 for s in samples]
    assert np.corrcoef(offset, [s.pose[1] for s in samples])[0, 1] > 0.9


def test_occluders_hide_points():
    covered = [render_face(8, i, difficulty=Difficulty(occlusion_probability=1.0)) for i in range(40)]
    clear = [render_face(8, i, difficulty=Difficulty(occlusion_probability=0.0)) for i in range(40)]
    hidden = np.array([s.visibility.sum() for s in covered]) - np.array([s.visibility.sum() for s in clear])
    assert (hidden >= 0).all() and (hidden > 0).mean() > 0.8
    for sample in covered:
        mouth = np.isin(sample.parsing, [PARSING_CLASSES.index(n) for n in ("upper_lip", "lower_lip")]).sum()
        assert mouth > 0 or sample.visibility[[24, 25, 26, 27]].all()


def test_smiling_and_open_mouth_follow_the_action_units():
    smile, gape = (CELEBA_ATTRIBUTES.index(n) for n in ("Smiling", "Mouth_Slightly_Open"))
    plain = Difficulty(weak_probability=0, drop_probability=0, blend_probability=0, stray_probability=0)
    for expression, smiling, opened in (
        ("happiness", 1, None),
        ("surprise", 0, 1),
        ("contempt", 0, 0),
        ("neutral", 0, 0),
    ):
        sample = render_face(9, 0, size=64, expressions=[expression], difficulty=plain)
        assert sample.attributes[smile] == smiling
        assert opened is None or sample.attributes[gape] == opened


def test_clip_rises_and_falls():
    clip = render_clip(1, 0, size=64, expressions=["happiness"])
    strength = np.array([frame.action_units.max() for frame in clip.frames])
    assert len(clip.frames) == CLIP_FRAMES and strength[0] < 0.05 and strength[-1] < 0.05
    assert strength[clip.apex] == strength.max() > 0.3
    assert (np.diff(strength[: clip.apex + 1]) >= -1e-6).all() and (np.diff(strength[clip.apex :]) <= 1e-6).all()


def test_an_expression_is_held_for_a_third_of_its_clip():
    level = expression_envelope(CLIP_FRAMES, CLIP_FRAMES // 2)
    assert 0.28 <= (level == 1).mean() <= 0.34


def test_what_covers_a_face_in_a_clip_comes_and_goes():
    always = Difficulty(occlusion_probability=1.0)
    shares = []
    for index in range(12):
        frames = render_clip(8, index, size=64, difficulty=always, frame_indices=range(0, CLIP_FRAMES, 6)).frames
        hidden = np.array([frame.visibility.sum() for frame in frames])
        shares.append((hidden > hidden.min()).mean())
    assert 0.2 <= np.mean(shares) <= 0.7 and np.max(shares) < 1
    away = occluder_distance(CLIP_FRAMES, 0.3, 0.25)
    assert (away == 0).sum() == pytest.approx(0.25 * CLIP_FRAMES, abs=1) and away[0] == away[-1] == 1
    assert np.abs(np.diff(away)).max() <= 1 / PASSING_FRAMES + 1e-9


def test_chosen_frames_equal_those_of_the_whole_clip():
    whole, part = (
        render_clip(1, 3, size=64, num_frames=20),
        render_clip(1, 3, size=64, num_frames=20, frame_indices=[4, 11]),
    )
    assert part.pulse_hz == whole.pulse_hz
    for frame, index in zip(part.frames, (4, 11), strict=True):
        np.testing.assert_array_equal(frame.image, whole.frames[index].image)


@pytest.mark.parametrize("index", range(4))
def test_pulse_is_the_peak_of_the_skins_green(index):
    quiet = Difficulty(occlusion_probability=0.0)
    clip = render_clip(5, index, size=128, num_frames=120, expressions=["neutral"], difficulty=quiet)
    green = np.array([_cheek_green(frame) for frame in clip.frames])
    time = np.arange(len(green))
    trend = np.polyval(np.polyfit(time, green, 3), time)
    power = np.abs(np.fft.rfft((green - trend) * np.hanning(len(green))))
    hertz = np.fft.rfftfreq(len(green), 1 / clip.fps)
    power[hertz < 0.7] = 0
    assert abs(hertz[power.argmax()] - clip.pulse_hz) <= hertz[1]


def _cheek_green(frame):
    """Mean green minus mean red of the skin inside the jaw, so that moving shadows cancel."""
    skin = frame.parsing == PARSING_CLASSES.index("skin")
    pixels = frame.image[skin].astype(float)
    return pixels[:, 1].mean() / pixels[:, 0].mean() * 100


def test_a_stock_cascade_finds_the_frontal_faces():
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    found = []
    for index in range(400):
        sample = render_face(5, index, difficulty=Difficulty(occlusion_probability=0.0))
        if (np.abs(sample.pose[:2]) < 0.21).all():
            found.append(_detected(cascade, sample))
        if len(found) == 200:
            break
    assert len(found) == 200 and np.mean(found) >= 0.9


def _detected(cascade, sample):
    grey = cv2.cvtColor(sample.image, cv2.COLOR_RGB2GRAY)
    return any(_iou(box, sample.box) >= 0.4 for box in cascade.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=3))


def _iou(found, box):
    x, y, wide, high = (float(v) for v in found)
    across = max(0.0, min(x + wide, box[2]) - max(x, box[0]))
    down = max(0.0, min(y + high, box[3]) - max(y, box[1]))
    return across * down / (wide * high + (box[2] - box[0]) * (box[3] - box[1]) - across * down)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 31}, "size must be at least 32"),
        ({"index": -1}, "must not be negative"),
        ({"expressions": ["bliss"]}, "bliss"),
        ({"expressions": []}, "choose from neutral"),
    ],
)
def test_unusable_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        render_face(0, **({"index": 0} | arguments))


def test_clip_refuses_frames_outside():
    with pytest.raises(InputError, match="indices below num_frames=20"):
        render_clip(0, 0, num_frames=20, frame_indices=[20])


def test_strip_tiles_its_frames():
    assert clip_strip(0, size=48).shape == (48 + 22, 8 * 48, 3)
