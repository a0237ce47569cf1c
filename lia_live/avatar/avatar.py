"""An avatar: a picture whose appearance was encoded once, ready to be moved."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lia_live.avatar.bundle import (
    LOOK,
    MOUTHS_BY,
    header_of,
    mouth_key,
    read_bundle,
    read_carrying,
    write_bundle,
)
from lia_live.avatar.consent import ANSWERS, Consent, is_consent
from lia_live.avatar.label import Label, tidy_name
from lia_live.avatar.look import looks_of
from lia_live.avatar.mouths import Mouth
from lia_live.avatar.picture import decode_picture
from lia_live.avatar.portrait import portrait
from lia_live.errors import AvatarError, ConfigError
from lia_live.frame import Pixels
from lia_live.model import LIA, Look
from lia_live.model.weights_file import rounded


@dataclass(frozen=True, eq=False)
class Avatar:
    """What a portrait becomes. Any thread may read it; nothing writes to it."""

    name: str
    """For lists and buttons: the picture's file name without its ending."""
    look: Look
    """Encoded once, as it is; batch 1, float32, CPU."""
    crop: Pixels
    """(S, S, 3) uint8 RGB: the portrait in the model's framing."""
    thumbnail: Pixels
    """(128, 128, 3) uint8 RGB."""
    face_landmarks: NDArray[np.float32] | None
    """(478, 3) in pixels of ``crop``; None where the framing needs no face."""
    fingerprint: str
    """Of the model that encoded it; no other can show it."""
    model_name: str = ""
    """Name of that model, for messages."""
    model_config: str = "{}"
    """That model's configuration, JSON."""
    consent: Consent | None = None
    """Whose portrait it is; None: not answered yet."""
    mouths: tuple[Mouth, ...] = ()
    """The same with its lips apart in other ways, features in float16; none where the network opens no mouth."""
    notes: tuple[str, ...] = ()
    """One-line remarks from building; not stored."""
    network: LIA | None = field(default=None, repr=False)
    """Made for this avatar and carried with it: float32 on the cpu, its numbers those of float16. Only it can
    show the avatar, so its ``fingerprint`` is the avatar's. None: the model that everybody shares."""

    @classmethod
    def from_image(
        cls,
        image: str | Path | Pixels,
        model: LIA,
        *,
        face: int | None = None,
        name: str | None = None,
        carry: bool = False,
        keep_mouth: bool = False,
    ) -> Avatar:
        """Find the face in a picture, cut it in ``model``'s framing, encode it once.

        ``image``: a file, or (H, W, 3) uint8 RGB. ``face``: which one, from 1, largest first; None: the largest.
        ``carry``: the avatar takes a copy of ``model`` with it, rounded to float16 before it encodes, so that a
        saved and loaded avatar is the same to the last bit. ``keep_mouth``: the picture is encoded as it is and
        once only, without mouths that the mesh moves, or hair closed below the upper edge (``looks_of``).
        Raises ``MediaError`` for what is no picture, ``AvatarError`` for one without a usable face and
        ``WeightsError`` for a model to carry whose numbers do not fit float16.
        """
        if isinstance(image, np.ndarray):
            pixels = _checked(image)
            notes: tuple[str, ...] = ()
            called = name or "avatar"
        else:
            picture = decode_picture(image)
            pixels, notes = picture.pixels, picture.notes
            called = name or Path(image).stem
        try:
            cut = portrait(pixels, model.config, face)
        except AvatarError as error:
            where = "picture" if isinstance(image, np.ndarray) else image
            raise AvatarError(f"{where}: {error.message}", error.hint) from error
        device = next(model.parameters()).device
        if carry:
            model = rounded(model).to(device)
        look, mouths = looks_of(model, cut.crop, None if keep_mouth else cut.landmarks)
        return cls(
            name=tidy_name(called),
            look=_kept(look),
            crop=cut.crop,
            thumbnail=cut.thumbnail,
            face_landmarks=cut.landmarks,
            fingerprint=model.fingerprint,
            model_name=model.name,
            model_config=json.dumps(asdict(model.config), sort_keys=True),
            mouths=tuple(Mouth(m.by, _kept(m.look, torch.float16)) for m in mouths),
            notes=notes + cut.notes,
            network=model.cpu() if carry else None,
        )

    def save(self, path: str | Path) -> None:
        """Write the bundle, the network with it if there is one.

        Raises ``StorageError``; no half bundle is left behind.
        """
        tensors = {"crop": torch.tensor(self.crop), "thumbnail": torch.tensor(self.thumbnail)}
        looks = {LOOK: self.look} | {
            mouth_key(number): mouth.look for number, mouth in enumerate(self.mouths)
        }
        for key, look in looks.items():
            tensors |= {key + "latent": look.latent, key + "motion": look.motion}
            for level, feature in enumerate(look.features):
                tensors[f"{key}features.{level}"] = feature
        if self.mouths:
            tensors[MOUTHS_BY] = torch.tensor([mouth.by for mouth in self.mouths])
        if self.face_landmarks is not None:
            tensors["landmarks"] = torch.tensor(self.face_landmarks)
        label = Label(
            name=self.name,
            model=self.model_name,
            fingerprint=self.fingerprint,
            config=self.model_config,
            consent=self.consent,
            created_by=_created_by(),
            network=None if self.network is None else header_of(self.network),
            mouths=bool(self.mouths),
        )
        write_bundle(path, label, tensors, self.network)

    @classmethod
    def load(cls, path: str | Path, model: LIA | None = None) -> Avatar:
        """Read a bundle that was made with this very ``model``, or one that carries its own network.

        A network in the bundle is used whatever ``model`` is. Raises ``AvatarError`` for a bundle that
        carries none and was made with another model, or where no model is given.
        """
        carrying = read_carrying(path)
        network: LIA | None = None
        if carrying is not None:
            label, tensors, network = carrying
            config = network.config
        elif model is None:
            raise AvatarError(
                f"{path} carries no network of its own", "give the model it was made with"
            )
        else:
            config = model.config
            label, tensors = read_bundle(path, config, model.fingerprint, model.name)
        landmarks = tensors.get("landmarks")
        levels = len(config.resolutions())

        def look(key: str) -> Look:
            return Look(
                latent=tensors[key + "latent"],
                motion=tensors[key + "motion"],
                features=tuple(tensors[f"{key}features.{level}"] for level in range(levels)),
            )

        ways = tensors[MOUTHS_BY].tolist() if label.mouths else []
        return cls(
            name=label.name,
            look=look(LOOK),
            crop=tensors["crop"].numpy(),
            thumbnail=tensors["thumbnail"].numpy(),
            face_landmarks=None if landmarks is None else landmarks.numpy(),
            fingerprint=label.fingerprint,
            model_name=label.model,
            model_config=label.config,
            consent=label.consent,
            mouths=tuple(Mouth(by, look(mouth_key(number))) for number, by in enumerate(ways)),
            network=network,
        )

    def with_consent(self, answer: Consent) -> Avatar:
        """The same avatar with the answer to whose portrait it is."""
        if not is_consent(answer):
            raise ConfigError(f"consent must be one of {', '.join(ANSWERS)}, got {answer!r}")
        return replace(self, consent=answer)


def _kept(look: Look, dtype: torch.dtype = torch.float32) -> Look:
    """As an avatar keeps it: float32 but for the features, CPU."""
    features = tuple(level.to(dtype).cpu() for level in look.features)
    return Look(look.latent.float().cpu(), look.motion.float().cpu(), features)


def _created_by() -> str:
    """Program and version, for bundles."""
    try:
        return f"lia-live {version('lia-live')}"
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "lia-live"


def _checked(pixels: Pixels) -> Pixels:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise AvatarError(
            f"a picture must be (H, W, 3) uint8 RGB, got {pixels.shape} {pixels.dtype}",
            "convert it first, or give the file's path",
        )
    return np.ascontiguousarray(pixels)
