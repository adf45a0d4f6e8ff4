"""The networks of EMO-LLaMA, and the way of the frames through them: crops, features, face tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emo_edge.bundle.face_crops import crop_face
from emo_edge.errors import InputError
from emo_edge.export.configs.checkpoint import EmoLlamaConfig
from emo_edge.export.models.action_units.sacl import Sacl, UnitOutputs
from emo_edge.export.models.clip_vit import ClipVit
from emo_edge.export.models.connector import build_connector
from emo_edge.export.models.eva_vit import EvaVit
from emo_edge.export.models.face_info_mining import FaceInfoMining
from emo_edge.export.models.facexformer import FaceOutputs, FaceXFormer
from emo_edge.export.models.landmark_token import LandmarkToken
from emo_edge.export.models.llama import build_llama
from emo_edge.export.models.siglip_vit import SiglipVit
from emo_edge.export.models.token_selection import Selection
from emo_edge.export.reference.crop_settings import face_crop_settings, vision_crop_settings
from emo_edge.export.reference.frames import Clip, FrameFeatures, normalised_pixels
from emo_edge.export.user_graphs.landmark_network import LandmarkNetwork
from emo_edge.media.crops import Box, Crop, Image

TOWERS: dict[str, type[EvaVit | ClipVit | SiglipVit]] = {"eva": EvaVit, "clip": ClipVit, "siglip": SiglipVit}


class EmoLlamaNetworks(nn.Module):
    """The networks of one checkpoint: frames in, features and face tokens out; and LLaMA."""

    def __init__(self, config: EmoLlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = TOWERS[config.vision.tower](config.vision)
        self.connector = build_connector(config.connector, config.vision, config.language.hidden_size)
        self.face = FaceXFormer(config.face) if config.face else None
        self.face_info = (
            FaceInfoMining(config.face_info, config.face.decoder_dim, config.language.hidden_size)
            if config.face_info and config.face
            else None
        )
        self.units = Sacl(config.action_units, config.face) if config.action_units and config.face else None
        self.landmark = (
            LandmarkToken(config.connector, config.landmark.outputs, config.language.hidden_size)
            if config.landmark
            else None
        )
        self.language = build_llama(config.language)
        self.landmark_network: LandmarkNetwork | None = None
        """Network that the landmark token reads; `load_landmark_network` opens it."""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self._embedding.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self._embedding.dtype

    @property
    def _embedding(self) -> Tensor:
        weight: Tensor = self.language.get_input_embeddings().weight
        return weight

    def crops(self, frame: Image, box: Box | None = None, *, clip: bool = False) -> tuple[Crop, Crop | None]:
        """Cut one frame, of a picture or a clip, for the vision tower and for the face or landmark network if any."""
        vision, face = self.config.vision, self.config.face or self.config.landmark
        whole = crop_face(frame, box, vision_crop_settings(vision, clip=clip))
        return whole, crop_face(frame, box, face_crop_settings(face)) if face else None

    def encode(self, clip: Clip) -> FrameFeatures:
        """Crop every frame and run both networks."""
        boxes = zip(clip.frames, clip.boxes, strict=True)
        pairs = [self.crops(frame, box, clip=clip.moving) for frame, box in boxes]
        faces = [crop.pixels for _, crop in pairs if crop]
        return self.encode_crops(np.stack([crop.pixels for crop, _ in pairs]), np.stack(faces) if faces else None)

    def encode_crops(self, vision: NDArray[np.uint8], face: NDArray[np.uint8] | None) -> FrameFeatures:
        """Run the vision tower on uint8 [F, H, W, 3] crops and the network of the face's crops on its own."""
        outputs = landmarks = units = None
        if face is not None and self.landmark_network:
            landmarks = torch.from_numpy(self.landmark_network.run(face)).to(self.device, self.dtype)
        elif face is not None:
            outputs, units = self.face_and_units(face)
        features, selection = self.vision_outputs(vision)
        return FrameFeatures(features, outputs, landmarks, units, selection)

    def vision_features(self, crops: NDArray[np.uint8]) -> Tensor:
        """Run the vision tower on uint8 crops [F, H, W, 3]: features [F, T, D]."""
        features: Tensor = self.vision(self._vision_pixels(crops))
        return features

    def vision_outputs(self, crops: NDArray[np.uint8]) -> tuple[Tensor, Selection | None]:
        """Run the vision tower as `vision_features` does; what tokens are chosen by is None where all are kept."""
        if self.config.connector.kept_tokens is None or isinstance(self.vision, SiglipVit):
            return self.vision_features(crops), None
        return self.vision.with_selection(self._vision_pixels(crops))

    def face_outputs(self, crops: NDArray[np.uint8], *, with_segmentation: bool = True) -> FaceOutputs:
        """Run the face network on uint8 crops [F, h, w, 3]; raise InputError if the checkpoint has none."""
        if self.face is None:
            raise InputError("this checkpoint has no face network")
        outputs: FaceOutputs = self.face(self.face_pixels(crops), with_segmentation=with_segmentation)
        return outputs

    def face_and_units(self, crops: NDArray[np.uint8]) -> tuple[FaceOutputs, UnitOutputs | None]:
        """Run the face network, its masks aside, and the action units on one pass of the trunk.

        Takes uint8 crops [F, h, w, 3]; raises InputError if the checkpoint has no face network.
        """
        if self.face is None:
            raise InputError("this checkpoint has no face network")
        stages = self.face.backbone(self.face_pixels(crops))
        units = None if self.units is None else self.units(stages)
        return self.face.decode(stages, with_segmentation=False), units

    def face_pixels(self, crops: NDArray[np.uint8]) -> Tensor:
        """Normalise uint8 crops [F, h, w, 3] as the face network reads them: [F, 3, h, w]."""
        settings = self.config.face
        if settings is None:
            raise InputError("this checkpoint has no face network")
        return self._normalised(crops, settings.image_mean, settings.image_std)

    def face_tokens(self, features: FrameFeatures) -> Tensor | None:
        """Tokens of Face Info Mining, or the landmark token: [F, k, E]; None without either."""
        tokens: Tensor | None = None
        if self.landmark is not None and features.landmarks is not None:
            tokens = self.landmark(features.landmarks)
        elif self.face_info is not None and features.face is not None:
            tokens = self.face_info(features.face.face_map, features.face.landmarks)
        return tokens

    def _vision_pixels(self, crops: NDArray[np.uint8]) -> Tensor:
        settings = self.config.vision
        return self._normalised(crops, settings.image_mean, settings.image_std)

    def _normalised(self, images: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]) -> Tensor:
        return normalised_pixels(torch.tensor(images, device=self.device), mean, std).to(self.dtype)
