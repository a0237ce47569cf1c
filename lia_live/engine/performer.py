"""The avatar side of the model thread. Numbers go in, avatar pictures come out; no camera picture is in reach."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lia_live.avatar.mouths import Mouths
from lia_live.engine.neutral import HeadShape
from lia_live.engine.observer import Observation, ShapeOf
from lia_live.engine.policy import Codes, MotionPolicy, PolicyConfig, Sample
from lia_live.frame import Pixels

if TYPE_CHECKING:
    from lia_live.avatar import Avatar
    from lia_live.engine.networks import LiveNetwork
    from lia_live.render.interface import LoadedAvatar


@dataclass(frozen=True, slots=True)
class PreparedAvatar:
    """An avatar with everything done that does not depend on the frame."""

    name: str
    network: LiveNetwork
    """The one that shows it."""
    mouths: Mouths
    """Which of its looks shows a motion."""
    loaded: tuple[LoadedAvatar, ...]
    """These, in the renderer's own form."""
    rest: NDArray[np.float32]
    """(M,) its own motion code."""
    shape: HeadShape | None
    """Of the face in its picture; None if unknown."""
    picture: Pixels
    """(S, S, 3) its own picture, for backgrounds."""


@dataclass(frozen=True, slots=True)
class AvatarPicture:
    """The only kind of picture the output loop receives. Made by ``Performer`` alone."""

    pixels: Pixels
    """(S, S, 3) uint8 RGB, rendered; owned by this object."""
    backdrop: Pixels
    """(S, S, 3) the avatar's own picture."""
    captured_at: float | None
    """When the frame whose motion it shows was captured; None when no frame drove it (easing, breathing)."""


def prepare(avatar: Avatar, network: LiveNetwork, shape_of: ShapeOf | None) -> PreparedAvatar:
    """Load an avatar into its network's renderer. Any thread."""
    landmarks = avatar.face_landmarks
    shape = shape_of(landmarks) if landmarks is not None and shape_of is not None else None
    mouths = Mouths(avatar.look, avatar.mouths, network.directions)
    rest = avatar.look.motion[0].detach().float().cpu().numpy()
    return PreparedAvatar(
        name=avatar.name,
        network=network,
        mouths=mouths,
        loaded=tuple(network.renderer.load_avatar(mouths.look(n)) for n in range(len(mouths))),
        rest=np.array(rest, dtype=np.float32),
        shape=shape,
        picture=avatar.crop,
    )


class Performer:
    """Motion policy and renderer: from what was observed to the avatar's picture. Model thread only."""

    def __init__(self, avatar: PreparedAvatar, config: PolicyConfig) -> None:
        self._avatar = avatar
        self._look: int | None = None
        self.policy = MotionPolicy(config, avatar.network.directions, avatar.rest, avatar.shape)

    @property
    def avatar(self) -> PreparedAvatar:
        """On stage now."""
        return self._avatar

    def switch(self, avatar: PreparedAvatar, neutral: Sequence[Observation] = ()) -> None:
        """Put another avatar on stage; the driver's neutral stays.

        ``neutral``: for an avatar of another network, what that makes of the frames the neutral was found in.
        """
        before, self._avatar = self._avatar, avatar
        self._look = None
        if avatar.network is before.network:
            self.policy.set_rest(avatar.rest, avatar.shape)
        else:
            directions = avatar.network.directions
            self.policy.set_network(directions, avatar.rest, avatar.shape, samples_of(neutral))

    def pose(self, observation: Observation | None, now: float) -> Codes:
        """One step of the policy: the code (M,) to render. None: no frame came."""
        if observation is None:
            return self.policy.step(None, None, now)
        return self.policy.step(observation.alpha, observation.shape, observation.captured_at)

    def shown(self, code: Codes) -> tuple[LoadedAvatar, Codes]:
        """Which look of the avatar shows a code (M,), and what it must be told. Looks take turns: in order of time."""
        mouths = self._avatar.mouths
        self._look = mouths.showing(code, self._look)
        return self._avatar.loaded[self._look], mouths.told(code, self._look)

    def render(self, code: Codes, captured_at: float | None) -> AvatarPicture:
        """The avatar in that pose. Raises ``ValueError`` when the renderer's answer is not one picture."""
        return render_together([(self, code, captured_at)])[0]


def render_together(
    poses: Sequence[tuple[Performer, Codes, float | None]],
) -> list[AvatarPicture]:
    """Several performers' avatars, each in its code (M,), in one call of the one network that shows them all.

    The third of each: when the frame was captured that moved it. Raises ``ValueError`` when the renderer's
    answer is not one picture for each.
    """
    avatars = [performer.avatar for performer, _, _ in poses]
    renderer = avatars[0].network.renderer
    looks, codes = zip(*(performer.shown(code) for performer, code, _ in poses), strict=True)
    pictures = renderer.render(looks, np.stack(codes))
    size = renderer.config.size
    expected = (len(poses), size, size, 3)
    if np.shape(pictures) != expected or pictures.dtype != np.uint8:
        raise ValueError(
            f"a rendered picture must be {expected} uint8, "
            f"got {np.shape(pictures)} {pictures.dtype}"
        )
    # Copies: the renderer may reuse its buffer while the output thread still reads these.
    return [
        AvatarPicture(pixels.copy(), avatar.picture, captured_at)
        for pixels, avatar, (_, _, captured_at) in zip(pictures, avatars, poses, strict=True)
    ]


def samples_of(observations: Iterable[Observation]) -> list[Sample]:
    """Those with a code, as the policy looks for a neutral in them."""
    return [Sample(o.alpha, o.shape, o.captured_at) for o in observations if o.alpha is not None]
