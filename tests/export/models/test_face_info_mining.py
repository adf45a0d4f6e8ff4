"""Face Info Mining: the sampler against grid_sample, the token layout, the gradients."""

import pytest
import torch
import torch.nn.functional as F

from emo_edge.export.configs.networks import FaceInfoConfig
from emo_edge.export.models.face_info_mining import FaceInfoMining, sample_bilinear
from emo_edge.taxonomy import LANDMARK_REGIONS

SMALL = FaceInfoConfig(num_tokens=3, hidden_size=32, num_heads=4, global_grid=4, mlp_size=48)


def build() -> FaceInfoMining:
    torch.manual_seed(0)
    return FaceInfoMining(SMALL, 16, 40)


@pytest.fixture
def landmarks() -> torch.Tensor:
    return 1.6 * torch.rand(2, 68, 2, generator=torch.Generator().manual_seed(1)) - 0.8


@pytest.mark.parametrize(("height", "width"), [(12, 12), (7, 10)])
def test_sampler_equals_grid_sample(height: int, width: int) -> None:
    torch.manual_seed(0)
    face_map = torch.randn(2, 5, height, width)
    points = 2.6 * torch.rand(2, 30, 2) - 1.3
    corners = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0], [-1.0, 1.0]]).expand(2, 4, 2)
    points = torch.cat([points, corners], dim=1)
    expected = F.grid_sample(face_map, points[:, :, None], padding_mode="border", align_corners=False)[..., 0]
    assert (sample_bilinear(face_map, points) - expected.transpose(1, 2)).abs().max() <= 1e-5


def test_landmark_convention_hits_pixel_centres() -> None:
    # FaceXFormer: pixel = ((p + 1) * size - 1) / 2.
    size = 6
    face_map = torch.arange(size * size, dtype=torch.float32).view(1, 1, size, size)
    pixel = torch.tensor([[0.0, 0.0], [5.0, 0.0], [2.0, 3.0]])
    points = (2 * pixel + 1) / size - 1
    assert sample_bilinear(face_map, points[None]).flatten().tolist() == pytest.approx([0, 5, 20], abs=1e-4)


def test_local_tokens_read_shape_and_look_of_their_region(landmarks: torch.Tensor) -> None:
    model = build()
    face_map = torch.randn(2, 16, 12, 12)
    sampled = sample_bilinear(face_map, landmarks)
    for place, (name, (start, stop)) in enumerate(LANDMARK_REGIONS.items()):
        expected = model.region_shape[name](landmarks[:, start:stop].reshape(2, -1))
        expected = expected + model.region_look(sampled[:, start:stop].mean(1)) + model.region_embedding[:, place]
        actual = model.local_tokens(face_map, landmarks)[:, place]
        assert (actual - expected).abs().max() <= 1e-5, name


@pytest.mark.parametrize("size", [8, 10])
def test_global_tokens_pool_row_major(size: int) -> None:
    model = build()
    face_map = torch.randn(2, 16, size, size)
    pooled = F.adaptive_avg_pool2d(face_map, 4).flatten(2).transpose(1, 2)
    expected = model.global_proj(pooled) + model.global_position
    assert (model.global_tokens(face_map) - expected).abs().max() <= 1e-5


def test_every_weight_learns_and_both_inputs_get_gradients(landmarks: torch.Tensor) -> None:
    model = build()
    face_map = torch.randn(2, 16, 12, 12, requires_grad=True)
    points = landmarks.clone().requires_grad_()
    tokens = model(face_map, points)
    assert tokens.shape == (2, 3, 40)
    assert 0.2 < tokens.std() < 3
    tokens.square().mean().backward()
    assert all(part.grad is not None and part.grad.any() for part in [face_map, points])
    # A key's bias moves all scores of a query alike: its gradient is zero but for rounding.
    still = [name for name, part in model.named_parameters() if part.grad is None or not part.grad.any()]
    assert [name for name in still if not name.endswith("k_proj.bias")] == []


def test_bfloat16_autocast_stays_close(landmarks: torch.Tensor) -> None:
    model = build().requires_grad_(False)
    face_map = torch.randn(2, 16, 12, 12)
    with torch.autocast("cpu", torch.bfloat16):
        actual = model(face_map, landmarks).float()
    expected = model(face_map, landmarks)
    assert (actual - expected).norm() / expected.norm() < 0.03
