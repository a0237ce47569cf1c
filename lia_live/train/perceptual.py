"""Losses that compare what pictures show rather than their pixels (spec section 13).

``Perceptual`` is the paper's: VGG19's features, whose weights somebody has to fetch first (``lia-live train
fetch-vgg``). ``FixedFeatures`` needs none: the energies of oriented filters, which a blur lowers and a small
shift leaves alone. Both are called ``loss(image, target, region)``, and both are means over samples: two half
batches average to the whole.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from lia_live.errors import WeightsError
from lia_live.model.weights_file import check_readable, check_shapes

SHRUNK = (1, 2, 4, 8)
"""One over the image scales."""
WEIGHT = 10.0
"""Of each feature map's distance."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
BLOCKS = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,))
"""Output channels of VGG19's convolutions up to conv5_1, by block; pooling between blocks."""
COMPARED = (1, 6, 11, 20, 29)
"""Positions of relu1_1, relu2_1, relu3_1, relu4_1, relu5_1 among the layers."""
VGG_LEAST = 32
"""Pixels: smaller scales are left out. relu5_1 is then 2x2 at least; at 256 px all four scales take part."""
MAX_VGG_BYTES = 64 << 20
"""The thirteen convolutions have 52 MB in float32."""
FETCH_VGG = (
    "make it with `lia-live train fetch-vgg`, or train without: the fixed filters need no file"
)

FIXED_LEAST = 16
"""Pixels: the same for the fixed filters, which see 5x5."""
WAVELENGTH_PX = 3.0
"""Of the filters at each scale: the finest that survives resampling; coarser ones come with the scales."""
SPREAD_PX = 1.2
"""Standard deviation of their envelope."""
ORIENTATIONS = 4
POOL_PX = 4
"""Energies are compared as means over squares of that side: where exactly a hair lies does not matter."""
CONTRAST_FLOOR = 0.05
"""Energy below which contrast is noise: that of a grating two grey levels (of 255) high."""
OPPONENTS = ((0.299, 0.587, 0.114), (0.5, -0.5, 0.0), (-0.25, -0.25, 0.5))
"""Rows: luminance, red against green, blue against yellow; the last two sum to 0."""


class Pyramid(nn.Module):
    """Gaussian pyramid at scales 1, 1/2, 1/4, 1/8; without those that would have a side below ``least``."""

    def __init__(self, least: int) -> None:
        super().__init__()
        self.least = least
        for shrunk in SHRUNK[1:]:
            self.register_buffer(f"taps_{shrunk}", gaussian(shrunk), persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, C, S, S) float -> pictures (B, C, S/k, S/k) float32, k = 1, 2, 4, 8; scale 1 always."""
        image = image.float()
        levels = [image]
        with torch.autocast(image.device.type, enabled=False):
            for shrunk in SHRUNK[1:]:
                if image.shape[-1] // shrunk >= self.least:
                    levels.append(shrink(image, self.get_buffer(f"taps_{shrunk}"), shrunk))
        return levels


class Perceptual(nn.Module):
    """Distance of VGG19's features (Johnson et al. 2016, at several scales as in FOMM); frozen."""

    mean: Tensor
    std: Tensor

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        self.features = features.requires_grad_(False)
        self.pyramid = Pyramid(VGG_LEAST)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)
        self.eval()

    def forward(self, image: Tensor, target: Tensor, region: Tensor | None = None) -> Tensor:
        """``image``, ``target`` (B, 3, S, S) in [-1, 1], RGB; ``region`` (B, 1, S, S), mean one -> scalar.

        10 · mean |difference| of five maps, summed over the scales that have at least 32 pixels: all four
        at S = 256, the first alone at 32. No gradient reaches ``target``. Under autocast the network runs
        at its precision; distances are float32.
        """
        with torch.no_grad():
            expected = [self.maps(level) for level in self.pyramid(target)]
        loss = image.new_zeros((), dtype=torch.float32)
        for level, wanted in zip(self.pyramid(image), expected, strict=True):
            for map_, goal in zip(self.maps(level), wanted, strict=True):
                distance = (map_.float() - goal.float()).abs()  # (B, C, r, r)
                loss = loss + WEIGHT * weighted_mean(distance, region)
        return loss

    def maps(self, image: Tensor) -> list[Tensor]:
        """(B, 3, r, r), clamped to [-1, 1] -> relu1_1 (B, 64, r, r) to relu5_1 (B, 512, r/16, r/16)."""
        x = ((image.clamp(-1, 1) + 1) / 2 - self.mean) / self.std
        x = x.contiguous(memory_format=torch.channels_last)
        found = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in COMPARED:
                found.append(x)
        return found


class FixedFeatures(nn.Module):
    """Distance of oriented contrast energies: a substitute for VGG19 that needs no weights.

    On three opponent colours, Gabor pairs of four orientations are squared and added (even and odd: the energy
    of Adelson and Bergen 1985, which knows how much texture there is and not at which phase), averaged
    over 4x4 pixels, and their difference is divided by the target's mean over orientations: contrast is
    judged relative to what surrounds it, skin as much as hair. (Each picture by its own contrast would forgive
    the blur.) Luminance at scales 1 to 1/8, colour from 1/2 on, where the eye sees it.

    A face of 112 px says 0.18 moved by a pixel and 0.32 blurred with sigma one pixel, where L1 says 0.078 and
    0.050 (``tests/train/test_perceptual.py``). It knows nothing of sign, nor of place within a few pixels: pixel
    terms belong beside it. With its gradient about 10 ms a picture of 128 px on one core.
    """

    bank: Tensor
    opponents: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.pyramid = Pyramid(FIXED_LEAST)
        self.register_buffer("bank", gabor_pairs(), persistent=False)
        self.register_buffer(
            "opponents", torch.tensor(OPPONENTS)[:, :, None, None], persistent=False
        )

    def forward(self, image: Tensor, target: Tensor, region: Tensor | None = None) -> Tensor:
        """``image``, ``target`` (B, 3, S, S) in [-1, 1], RGB; ``region`` (B, 1, S, S), mean one -> scalar.

        Summed over the scales that have at least 16 pixels: all four at S = 128, two at 32. No
        gradient reaches ``target``. float32, under autocast too.
        """
        loss = image.new_zeros((), dtype=torch.float32)
        levels = zip(self.pyramid(image), self.pyramid(target.detach()), strict=True)
        with torch.autocast(image.device.type, enabled=False):
            for index, (level, wanted) in enumerate(levels):
                colours = 1 if index == 0 else 3
                energy = self.energy(level, colours)
                with torch.no_grad():
                    goal = self.energy(wanted, colours)
                    contrast = goal.mean(2, keepdim=True) + CONTRAST_FLOOR
                distance = ((energy - goal).abs() / contrast).flatten(1, 2)
                loss = loss + weighted_mean(distance, region)
        return loss

    def energy(self, image: Tensor, colours: int) -> Tensor:
        """(B, 3, r, r) -> (B, ``colours``, orientations, h, w), h = w about r/2, at least 0.

        Without padding: a border of zeros would be the strongest edge of the picture.
        """
        x = F.conv2d(image, self.opponents[:colours])  # (B, colours, r, r)
        batch, _, height, width = x.shape
        x = F.conv2d(x.reshape(batch * colours, 1, height, width), self.bank)
        even, odd = x.chunk(2, dim=1)  # (B·colours, orientations, r - 4, r - 4)
        # added under the root: its slope at zero is infinite
        energy = (even.square() + odd.square() + 1e-4).sqrt()
        energy = F.avg_pool2d(energy, POOL_PX, POOL_PX // 2)
        return energy.reshape(batch, colours, *energy.shape[1:])


def weighted_mean(distance: Tensor, region: Tensor | None) -> Tensor:
    """Mean of ``distance`` (B, C, h, w), weighted by ``region`` (B, 1, S, S) averaged down to h by w."""
    if region is None:
        return distance.mean()
    height, width = distance.shape[-2:]
    weight = F.adaptive_avg_pool2d(region.float(), (height, width))
    return (distance * weight).mean()


def gaussian(shrunk: int) -> Tensor:
    """Taps (n,) summing to 1: sigma = (shrunk - 1)/2 pixels, n = 2·round(4·sigma) + 1 (5, 13, 29)."""
    sigma = (shrunk - 1) / 2
    reach = round(4 * sigma)
    at = torch.arange(-reach, reach + 1, dtype=torch.float64)
    taps = torch.exp(-at.square() / (2 * sigma**2))
    return (taps / taps.sum()).float()


def shrink(image: Tensor, taps: Tensor, shrunk: int) -> Tensor:
    """Filter with zeros outside and keep every ``shrunk``-th pixel from the first: (B, C, S, S) -> (B, C, S/k, S/k)."""
    channels, length = image.shape[1], len(taps)
    across = taps.expand(channels, 1, 1, length)
    pad = length // 2
    image = F.conv2d(image, across, stride=(1, shrunk), padding=(0, pad), groups=channels)
    down = across.transpose(2, 3)
    return F.conv2d(image, down, stride=(shrunk, 1), padding=(pad, 0), groups=channels)


def gabor_pairs() -> Tensor:
    """(2·orientations, 1, 5, 5), unit norm and no answer to flat grey: all even filters, then all odd ones."""
    at = torch.arange(-2.0, 3.0, dtype=torch.float64)
    y, x = torch.meshgrid(at, at, indexing="ij")
    envelope = torch.exp(-(x.square() + y.square()) / (2 * SPREAD_PX**2))
    filters: list[Tensor] = []
    for wave in (torch.cos, torch.sin):
        for index in range(ORIENTATIONS):
            angle = math.pi * index / ORIENTATIONS
            phase = 2 * math.pi / WAVELENGTH_PX * (x * math.cos(angle) + y * math.sin(angle))
            pattern = envelope * wave(phase)
            pattern = pattern - envelope * pattern.sum() / envelope.sum()
            filters.append(pattern / pattern.norm())
    return torch.stack(filters)[:, None].float()


def vgg_layers() -> nn.Sequential:
    """VGG19 (Simonyan and Zisserman 2014) up to relu5_1, at the positions of torchvision's ``features``."""
    layers: list[nn.Module] = []
    inputs = 3
    for block in BLOCKS:
        if layers:
            layers.append(nn.MaxPool2d(2))
        for outputs in block:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
    return nn.Sequential(*layers)


def vgg_shapes() -> dict[str, tuple[int, ...]]:
    """Key -> shape of a VGG19 file: ``features.0.weight`` (64, 3, 3, 3) to ``features.28.bias`` (512,)."""
    with torch.device("meta"):
        layers = vgg_layers()
    return {f"features.{key}": tuple(value.shape) for key, value in layers.state_dict().items()}


def read_vgg(path: Path, *, rest: bool = False, limit: int = MAX_VGG_BYTES) -> dict[str, Tensor]:
    """The tensors of a VGG19 safetensors file, float32 on the cpu: exact keys, exact shapes, finite.

    ``rest``: further keys may be there and are not read. Raises ``WeightsError``, or ``StorageError`` where the
    file may not be read.
    """
    expected = vgg_shapes()
    try:
        check_readable(path, limit)
        with safe_open(path, framework="pt", device="cpu") as file:
            names = [key for key in list(file.keys()) if key in expected or not rest]
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in names}
            check_shapes(shapes, expected)
            # copy: what safetensors returns may be a view of the mapped file, which others may rewrite
            tensors = {key: file.get_tensor(key).to(torch.float32, copy=True) for key in names}
    except SafetensorError as error:
        raise WeightsError(
            f"{path.name} is not a whole safetensors file ({str(error)[:120]})", FETCH_VGG
        ) from error
    except WeightsError as error:
        raise WeightsError(f"VGG19 from {path.name}: {error.message}", FETCH_VGG) from error
    bad = [key for key, value in tensors.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise WeightsError(f"{path.name}: {bad[0]} holds NaN or infinity", FETCH_VGG)
    return tensors


def load_perceptual(path: str | Path, device: str | torch.device = "cpu") -> Perceptual:
    """The loss with the weights of a file made by ``lia-live train fetch-vgg``. Raises as ``read_vgg`` does."""
    tensors = read_vgg(Path(path))
    with torch.device("meta"):
        layers = vgg_layers()
    layers.load_state_dict(
        {key.removeprefix("features."): value for key, value in tensors.items()},
        strict=True,
        assign=True,
    )
    return Perceptual(layers).to(device)
