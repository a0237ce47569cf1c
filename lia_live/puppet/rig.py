"""Prepared portraits as puppets: their rest geometry, their own theta, and how theta moves them."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from lia_live.model import labels
from lia_live.model.config import Framing
from lia_live.puppet import gestures, mesh
from lia_live.puppet.own import own_brows, own_gaze, own_lips, own_smile
from lia_live.puppet.theta import (
    BLINK_L,
    BROW,
    BROW_INNER,
    GAZE_X,
    GAZE_Y,
    JAW,
    OPEN,
    PITCH,
    PUCKER,
    ROLL,
    SCALE,
    SMILE,
    YAW,
    X,
    Y,
    scales,
)

OPEN_APERTURE: Final = labels.LIDS[1]
"""Lid opening of an ordinary open eye, in eye widths: closure 0."""
UPPER_LID_SHARE: Final = 0.88
"""How much of a blink the upper lid does."""
LID_EDGE: Final = 0.012
"""A lid's skin begins this far outside the landmarks (eye distances): what lies nearer is lash and eye white."""
LID_OVERLAP: Final = 0.2
"""A shut upper lid passes the lower one by this share of the eye's opening: no slit stays."""
LID_FRONT: Final = 0.25
"""How far it comes forward for each unit that it goes down: it must lie before the lower one."""
UPPER_LIP_SHARE: Final = 0.3
"""How much of closing an open mouth the upper lip does."""
LIP_EDGE: Final = 0.012
"""The lips of an open mouth begin this far outside the landmarks, eye distances: what lies nearer may be teeth, which
would be seen between closed lips."""
WIDE_APART: Final = 0.06
"""From this gap on, eye distances; lips that are nearer to each other begin nearer to their landmarks."""
CORNERS_RISE: Final = 0.15
"""Corners of a mouth that shuts go up by this share of its gap: a jaw that opens draws them down."""
EYE_BACK: Final = 0.035
"""Eyeballs lie this far behind the lids, eye distances."""
EYE_TUCK: Final = 0.018
"""How far their rims reach under the lids, so that no crack shows."""
MOUTH_BACK: Final = 0.045
"""Teeth and tongue lie this far behind the lips."""
LEAST_GAP: Final = 0.004
"""Of lips that are closed, eye distances: ratios of gaps stay finite."""
MOUTH_TUCK: Final = 0.035
"""How far the mouth's rim reaches under the lips."""
CROWN_DEPTH: Final = 0.45
"""Depth of the head's outline at the top behind the eyes, eye distances."""
NECK_DEPTH: Final = 0.62
"""Depth of ears and neck."""
BACK_DEPTHS: Final = (1.0, 1.4)
"""Depth of shoulders and border."""
BORDER: Final = (0.03, 0.4)
"""How far outside the picture its resting border lies, sides: below, where it stays, and above, where it goes up and
down with the head."""
FLAT_FROM: Final = 0.15
"""Face depth beyond this (eye distances behind the eyes) is reduced: cheeks smear less when turned."""
FLAT_BY: Final = 0.6


class Rig:
    """N portraits ready to be posed. Lengths are fractions of the picture's side."""

    def __init__(self, landmarks: Tensor, side: int, framing: Framing | None = None) -> None:
        """``landmarks``: (N, 478, 3) in pixels of pictures ``side`` pixels wide, z away from the viewer."""
        framing = framing or Framing()
        device = landmarks.device
        points = landmarks.float() / side
        self.framing = framing
        self.triangles = torch.from_numpy(mesh.triangles()).to(device)
        self.regions = torch.from_numpy(mesh.triangle_regions()).to(device)
        rotation, shift = mesh.ring_weights()
        self._follow_rotation = torch.from_numpy(rotation).to(device)[:, None]
        self._follow_shift = torch.from_numpy(shift).to(device)

        left, right = points[:, 33], points[:, 263]
        self.size = (right - left).norm(dim=1)  # (N,) eye distance
        self.basis = _basis(points)  # (N, 3, 3) own rotation
        eyes = (left + right) / 2
        offset = torch.from_numpy(mesh.PIVOT).to(device)
        self.pivot = eyes + self.size[:, None] * (self.basis @ offset)  # (N, 3)
        self.home = torch.tensor(
            [
                framing.eye_x + framing.eye_distance * mesh.PIVOT[0],
                framing.eye_y + framing.eye_distance * mesh.PIVOT[1],
            ],
            device=device,
            dtype=torch.float32,
        )
        frontal = (points - eyes[:, None]) @ self.basis / self.size[:, None, None]  # (N, 478, 3)
        excess = (frontal[..., 2] - FLAT_FROM).clamp(min=0) * (1 - FLAT_BY)
        points = points.clone()
        points[..., 2] -= excess * self.size[:, None]
        # (N, 11, 3) from the upper lip's edge to the lower one's
        self._apart = frontal[:, list(mesh.LIP_LOWER)] - frontal[:, list(mesh.LIP_UPPER)]
        self.gap = self._apart[:, 4:7, 1].clamp(min=0).mean(1).clamp(min=LEAST_GAP)  # (N,)
        self._lip_edge = LIP_EDGE * (self.gap / WIDE_APART).clamp(max=1)
        self.rest = self._rest(points, eyes)  # (N, V, 3)
        self._measure(frontal)

    def __len__(self) -> int:
        return int(self.rest.shape[0])

    def pose(self, index: Tensor, theta: Tensor) -> Tensor:
        """Vertices (B, V, 3) of portraits ``index`` (B,) performing ``theta`` (B, 16)."""
        raw = theta * self._scales
        rest, own_pivot, own_basis = self.rest[index], self.pivot[index], self.basis[index]
        size = self.framing.eye_distance * raw[:, SCALE].exp()  # (B,)
        basis = rotations(raw[:, YAW], raw[:, PITCH], raw[:, ROLL])
        place = self.home + self.framing.eye_distance * raw[:, X : Y + 1]
        shift = self._follow_shift * (place - own_pivot[:, :2])[:, None]  # (B, V, 2)

        turn = basis @ own_basis.transpose(1, 2) * (size / self.size[index])[:, None, None]
        arm = rest - own_pivot[:, None]
        turned = arm @ turn.transpose(1, 2) - arm
        moved = rest + self._follow_rotation * turned
        moved[..., :2] += shift
        gesture = self._gesture(index, raw)
        posed: Tensor = moved + gesture @ (basis * size[:, None, None]).transpose(1, 2)
        return posed

    def opening(self, theta: Tensor) -> Tensor:
        """(B,) gap between the lips in theta (B, 16), eye distances."""
        return theta[:, OPEN] * self._scales[OPEN]

    def _gesture(self, index: Tensor, raw: Tensor) -> Tensor:
        """Displacement (B, V, 3) by the expression, in eye distances of the turned-back face."""
        change = raw - self._own_raw[index]
        gap, own_gap = raw[:, OPEN], self.gap[index]
        wider = (gap - own_gap).clamp(min=0)
        amounts = torch.stack(
            [
                wider,
                *(change[:, i] for i in (SMILE, PUCKER, JAW, BROW, BROW_INNER, GAZE_X, GAZE_Y)),
            ],
            1,
        )
        out: Tensor = (amounts @ self._fields).view(len(index), mesh.COUNT, 3)
        shutting = (1 - gap / own_gap).clamp(min=0)
        out = out + shutting[:, None, None] * self._closing[index]
        aperture = OPEN_APERTURE * (1 - raw[:, BLINK_L : BLINK_L + 2]) / self.aperture[index]
        shut = 1 - aperture  # (B, 2), negative: wider than the portrait's own
        amount = torch.where(
            self._is_eyeball, shut.clamp(max=0)[:, :, None], shut[:, :, None]
        )  # (B, 2, V)
        down = (amount * self._lids[index]).sum(1)  # (B, V)
        # Lids that shut: the last half of the way, the upper one goes on over the lower one.
        late = _late(raw[:, BLINK_L : BLINK_L + 2]) - _late(
            self._own_raw[index, BLINK_L : BLINK_L + 2]
        )
        upper = self._upper_lids[index]  # (B, 2, V)
        down = down + LID_OVERLAP * (late[:, :, None] * upper).sum(1)
        out[..., 1] += down
        out[..., 2] -= LID_FRONT * (shut.clamp(min=0)[:, :, None] * upper).sum(1)
        return out

    def _rest(self, points: Tensor, eyes: Tensor) -> Tensor:
        rest = points.new_zeros(points.shape[0], mesh.COUNT, 3)
        rest[:, mesh.FACE] = points[:, :468]
        back = EYE_BACK * self.size[:, None]
        lips = mesh.lip_loop()
        rest[:, list(lips)] = self._tucked(points, lips, self._lip_edge[:, None, None])
        rest[:, mesh.MOUTH] = self._tucked(points, lips, MOUTH_TUCK)
        corners = points[:, [lips[0], lips[10]]]
        rest[:, [lips[0], lips[10]]] = corners  # they stay
        rest[:, [mesh.MOUTH.start, mesh.MOUTH.start + 10]] = corners  # skin recedes there
        rest[:, mesh.MOUTH, 2] += MOUTH_BACK * self.size[:, None]
        for eye, ball in enumerate(mesh.EYEBALLS):
            first = mesh.IRIS[eye]
            lids = mesh.lid_loop(eye)
            rest[:, list(lids)] = self._tucked(points, lids, LID_EDGE)
            for corner in (lids[0], lids[8]):  # they stay
                rest[:, corner] = points[:, corner]
            rim = self._tucked(points, lids, EYE_TUCK)
            centre = points[:, first : first + 1]
            radius = (points[:, first + 1 : first + 5, :2] - centre[..., :2]).norm(dim=2).mean(1)
            spoke = rim - centre
            reach = (1.2 * radius[:, None] / spoke[..., :2].norm(dim=2).clamp(min=1e-6)).clamp(
                max=0.8
            )
            sheet = torch.cat([rim, centre + spoke * reach[..., None], centre], 1)
            # A flat sheet, turned like the line between the lids' corners, at the lids' mean depth.
            run = rim[:, 8] - rim[:, 0]
            slope = (run[:, 2] / run[:, 0])[:, None]
            level = rim[..., 2].mean(1, keepdim=True)
            sheet[..., 2] = (
                level + slope * (sheet[..., 0] - rim[..., 0].mean(1, keepdim=True)) + back
            )
            rest[:, ball] = sheet
        rest[:, mesh.OUTER] = self._outer(points, eyes)
        return rest

    def _tucked(self, points: Tensor, around: tuple[int, ...], by: float | Tensor) -> Tensor:
        """The closed line (N, K, 3) through those landmarks, moved outwards in the picture by so many eye distances."""
        loop = points[:, list(around)]
        along = (loop.roll(-1, 1) - loop.roll(1, 1))[..., :2]
        outward = mesh.way_round(around) * torch.stack([along[..., 1], -along[..., 0]], 2)
        outward = outward / outward.norm(dim=2, keepdim=True).clamp(min=1e-6)
        moved = loop.clone()
        moved[..., :2] += outward * by * self.size[:, None, None]
        return moved

    def _outer(self, points: Tensor, eyes: Tensor) -> Tensor:
        """Rings around the face, (N, 8 * 36, 3)."""
        oval = points[:, list(mesh.OVAL)]
        middle = oval[..., :2].mean(1, keepdim=True)
        spoke = oval[..., :2] - middle  # (N, 36, 2)
        growth, top = (torch.from_numpy(a).to(points.device) for a in mesh.ring_growth())
        length = spoke.norm(dim=2, keepdim=True)
        direction = spoke / length
        hair = middle + spoke * growth[:, None]
        # The border lies just outside the picture, but outside the hair where that is cut off.
        beyond = (BORDER[0] + (BORDER[1] - BORDER[0]) * top)[:, None]  # (36, 1)
        edge = (direction.sign() * (0.5 + beyond) + 0.5 - middle) / direction
        edge = torch.where(direction.abs() > 1e-6, edge, torch.inf).amin(2, keepdim=True)
        reach = torch.maximum(edge, length * growth[:, None] + BORDER[0])
        border = middle + direction * reach
        stops = torch.stack([oval[..., :2], hair, torch.lerp(hair, border, 0.5), border])
        behind = (
            eyes[:, 2:]
            + self.size[:, None]
            * torch.stack(
                [
                    CROWN_DEPTH * top + NECK_DEPTH * (1 - top),
                    *(torch.full_like(top, d) for d in BACK_DEPTHS),
                ]
            )[:, None]
        )  # (3, N, 36)
        levels = [oval[..., 2], *behind]
        rings = []
        for support in mesh.RING_SUPPORT[1:]:
            low = min(int(support), 2)
            part = support - low
            flat = stops[low] + (stops[low + 1] - stops[low]) * part
            deep = (
                part**2 if low == 0 else part
            )  # a head is round: its depth grows towards the outline
            depth = levels[low] + (levels[low + 1] - levels[low]) * deep
            rings.append(torch.cat([flat, depth[..., None]], 2))
        return torch.cat(rings, 1)

    def _measure(self, frontal: Tensor) -> None:
        """The portraits' own theta, and displacements that depend on their own lips and lids."""
        device = frontal.device
        self._scales = scales(device)
        self._closing = self._lips_shut()
        lid_up, lid_down = (torch.from_numpy(a).to(device) for a in gestures.lid_rows())
        apertures, lids, upper_lids = [], [], []
        for eye in (0, 1):
            top, bottom = (
                frontal[:, list(mesh.LID_UPPER[eye])],
                frontal[:, list(mesh.LID_LOWER[eye])],
            )
            opening = (bottom[..., 1] - top[..., 1]).clamp(min=0.004)  # (N, 9)
            width = (top[:, 0, :2] - top[:, -1, :2]).norm(dim=1)
            apertures.append((opening[:, 3:6].mean(1) / width).clamp(min=0.05))
            way = opening + 2 * LID_EDGE  # from edge to edge of the skin
            upper, lower = way @ lid_up[eye].T, way @ lid_down[eye].T  # (N, V)
            lids.append(UPPER_LID_SHARE * upper - (1 - UPPER_LID_SHARE) * lower)
            upper[:, mesh.FACE.stop :] = 0  # eyeballs do not go along
            upper_lids.append(upper)
        self.aperture = torch.stack(apertures, 1)  # (N, 2)
        self._lids = torch.stack(lids, 1)  # (N, 2, V)
        self._upper_lids = torch.stack(upper_lids, 1)  # (N, 2, V)
        self._is_eyeball = torch.zeros(mesh.COUNT, dtype=torch.bool, device=device)
        for ball in mesh.EYEBALLS:
            self._is_eyeball[ball] = True

        fields = gestures.expression_fields()
        names = ("open", "smile", "pucker", "jaw", "brow raise", "brow inner", "gaze x", "gaze y")
        self._fields = torch.from_numpy(np.stack([fields[name].reshape(-1) for name in names])).to(
            device
        )

        raw = frontal.new_zeros(len(frontal), 16)
        raw[:, PITCH] = torch.rad2deg(torch.asin(self.basis[:, 2, 1].clamp(-1, 1)))
        raw[:, YAW] = torch.rad2deg(torch.atan2(self.basis[:, 2, 0], self.basis[:, 2, 2]))
        raw[:, ROLL] = torch.rad2deg(torch.atan2(-self.basis[:, 0, 1], self.basis[:, 1, 1]))
        raw[:, X : Y + 1] = (self.pivot[:, :2] - self.home) / self.framing.eye_distance
        raw[:, SCALE] = (self.size / self.framing.eye_distance).log()
        raw[:, OPEN] = self.gap
        raw[:, SMILE] = own_smile(frontal)
        raw[:, BLINK_L : BLINK_L + 2] = 1 - self.aperture / OPEN_APERTURE
        gaze = own_gaze(frontal)
        raw[:, GAZE_X], raw[:, GAZE_Y] = gaze[:, 0], gaze[:, 1]
        self._own_raw = raw
        self.own = raw / self._scales  # (N, 16)
        # with what one frame tells only beside another of the same person
        self.compared = self.own.clone()
        self.compared[:, [BROW, BROW_INNER]] = own_brows(frontal) / self._scales[[BROW, BROW_INNER]]
        self.compared[:, [SMILE, PUCKER]] = (
            own_lips(frontal, self.gap) / self._scales[[SMILE, PUCKER]]
        )

    def _lips_shut(self) -> Tensor:
        """(N, V, 3): what brings lips together, in depth too, or those that look up or down would not meet."""
        device = self._apart.device
        way = self._apart * self._apart.new_tensor([0.0, 1.0, 1.0])  # (N, 11, 3)
        way[..., 1] = way[..., 1].clamp(min=0)
        way[:, 1:10, 1] += 2 * self._lip_edge[:, None]  # from edge to edge of the skin
        go_up, go_down = (torch.from_numpy(a).to(device) for a in gestures.lip_rows())
        shut: Tensor = UPPER_LIP_SHARE * (go_up @ way) - (1 - UPPER_LIP_SHARE) * (go_down @ way)
        rise = torch.from_numpy(gestures.corner_weight()).to(device)
        shut[..., 1] -= CORNERS_RISE * self.gap[:, None] * rise
        return shut


def _late(closure: Tensor) -> Tensor:
    """0 up to a half-shut lid, 1 where it is shut."""
    return (2 * closure - 1).clamp(0, 1)


def rotations(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """(B, 3, 3) from angles (B,) in degrees: roll after pitch after yaw, acting on columns."""
    (sy, cy), (sp, cp), (sr, cr) = (
        (a.deg2rad().sin(), a.deg2rad().cos()) for a in (yaw, pitch, roll)
    )
    zero = torch.zeros_like(sy)
    tilted = torch.stack([cy, zero, -sy, -sp * sy, cp, -sp * cy, cp * sy, sp, cp * cy], 1).view(
        -1, 3, 3
    )
    one = torch.ones_like(sy)
    around = torch.stack([cr, -sr, zero, sr, cr, zero, zero, zero, one], 1).view(-1, 3, 3)
    return around @ tilted


def _basis(points: Tensor) -> Tensor:
    """(N, 3, 3) rotation from the median face to each face: rigid Procrustes of the stable points."""
    stable = list(mesh.STABLE)
    model = torch.from_numpy(mesh.median_face()[stable]).to(points)
    model = model - model.mean(0)
    face = points[:, stable]
    face = face - face.mean(1, keepdim=True)
    u, _, vt = torch.linalg.svd(face.transpose(1, 2) @ model)  # (N, 3, 3)
    proper = torch.diag_embed(
        torch.stack([torch.ones(len(u)), torch.ones(len(u)), torch.det(u @ vt).cpu()], 1)
    ).to(u)
    rotation: Tensor = u @ proper @ vt
    return rotation
