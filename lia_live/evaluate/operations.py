"""How much arithmetic a frame is, from the shape of the network alone."""

from __future__ import annotations

from dataclasses import dataclass

from lia_live.model.config import LIAConfig


@dataclass(frozen=True)
class Operations:
    """Multiply-adds of one driving frame, the avatar's own features being there already."""

    encode: int
    """Motion encoder and its linear layers."""
    render: int
    """Decoder."""

    @property
    def flops(self) -> int:
        """A multiply-add is two."""
        return 2 * (self.encode + self.render)


def operations_of(config: LIAConfig) -> Operations:
    """Those of the network as the paper has it, batch 1: convolutions and linear layers.

    The fixed FIR filters, warping, activations and modulation are not counted: a clever engine does without most
    of them, and an engine's share of the machine's rate should not grow by doing what can be left out. For the
    same reason an engine that needs fewer (folded layers, Winograd) is still credited with these.
    """
    return Operations(_encode(config), _render(config))


def _encode(config: LIAConfig) -> int:
    c, n = config.channels, config.latent_dim
    total = config.size**2 * 3 * c(config.size)
    r = config.size
    while r > 4:
        half = (r // 2) ** 2
        total += r**2 * 9 * c(r) ** 2  # 3x3
        total += half * 9 * c(r) * c(r // 2)  # 3x3, stride 2
        total += half * c(r) * c(r // 2)  # 1x1 beside them
        r //= 2
    total += 16 * c(4) * n  # 4x4 to the code
    return total + 4 * n * n + n * config.motion_dim


def _render(config: LIAConfig) -> int:
    c, n = config.channels, config.latent_dim
    total = n * config.motion_dim + 16 * 9 * c(4) ** 2
    for r in config.resolutions():
        total += (r // 2) ** 2 * 9 * c(r // 2) * c(r)  # transposed 3x3: each input pixel, nine taps
        total += r**2 * 9 * c(r) ** 2
        total += r**2 * 2 * 3 * c(r)  # to flow and mask, to colour
    return total
