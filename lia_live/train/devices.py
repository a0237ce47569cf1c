"""Where training runs: Lightning Fabric opened for a device, a number of processes and a precision."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import torch

from lia_live.errors import ConfigError
from lia_live.model.weights import pick_device
from lia_live.render.choice import computes_bf16

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Precision = Literal["auto", "fp32", "bf16"]


def open_fabric(device: str = "auto", processes: int = 1, precision: Precision = "auto") -> Fabric:
    """Fabric, launched: from here on every process runs the same code.

    ``device``: "auto", "cpu", "cuda"; ``processes``: on this machine. Under ``torchrun`` its own numbers
    hold. Raises ``DeviceError`` for a device that is not there, ``ConfigError`` without Fabric and for "mps".
    """
    fabric_class = _fabric_class()
    where = training_device(device)
    if where.type == "cuda" and processes > torch.cuda.device_count():
        raise ConfigError(
            f"{processes} GPUs were asked for, there are {torch.cuda.device_count()}",
            f"use --devices {torch.cuda.device_count()}",
        )
    several = world_size(processes) > 1
    local = int(os.environ["LOCAL_WORLD_SIZE"]) if _under_torchrun() else processes
    nodes = world_size(processes) // local
    fabric = fabric_class(
        accelerator=where.type,
        devices=local if where.index is None or several else [where.index],
        num_nodes=nodes,
        strategy="ddp" if several else "auto",
        precision="bf16-mixed" if chosen_precision(where, precision) == "bf16" else "32-true",
    )
    if (
        is_companion()
    ):  # Ctrl-C reaches everybody; the first process decides, and all leave together
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
    fabric.launch()
    if where.type == "cuda":  # shapes stay the same for a whole stage: cuDNN times its kernels once
        torch.backends.cudnn.benchmark = True
    return fabric


def training_device(device: str) -> torch.device:
    """The device that ``device`` means to training, which Metal has not all operations for.

    "auto" is a CUDA device or the CPU. Raises ``DeviceError``, and ``ConfigError`` for "mps".
    """
    if passes_over_metal(device):
        return torch.device("cpu")
    if device.startswith("mps"):
        raise ConfigError(
            "training does not work on Apple GPUs (mps)",
            "use --device cpu; the finished weights run on the GPU all the same",
        )
    return pick_device(device)


def passes_over_metal(device: str) -> bool:
    """Whether ``device`` leaves training on the CPU of a machine whose Apple GPU would be taken otherwise."""
    return device == "auto" and pick_device(device).type == "mps"


def world_size(processes: int) -> int:
    """Processes of the whole run: those of ``torchrun``, else ``processes``."""
    return int(os.environ["WORLD_SIZE"]) if _under_torchrun() else processes


def is_companion() -> bool:
    """Whether this process was started by the first one of its run (not by a person, nor by ``torchrun``)."""
    return not _under_torchrun() and int(os.environ.get("LOCAL_RANK", "0")) > 0


def is_lost_connection(error: BaseException) -> bool:
    """Whether another process of the run went away while this one waited for it."""
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error).lower()


def _under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def chosen_precision(device: torch.device, precision: Precision) -> Literal["fp32", "bf16"]:
    """What "auto" means on ``device``: bf16 where it is computed rather than emulated."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and computes_bf16() else "fp32"


def _fabric_class() -> type[Fabric]:
    try:
        import lightning_fabric
    except ImportError:
        raise ConfigError(
            "training needs lightning-fabric, which is not installed",
            'install the extra: pip install "lia-live[train]"',
        ) from None
    # It would announce the precision and its own products; what runs is said by the run.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return lightning_fabric.Fabric


def leave(fabric: Fabric) -> None:
    """All processes end their group together, when the first one has written what it had to.

    Otherwise a process at its exit may find the others gone while its threads still listen to them: aborted.
    """
    if fabric.world_size == 1:
        return
    with suppress(RuntimeError):  # whoever failed before said so itself
        fabric.barrier()
    torch.distributed.destroy_process_group()


def average_gradients(fabric: Fabric, parameters: list[torch.nn.Parameter]) -> None:
    """Replace each gradient by its mean over all processes; nothing to do for one.

    By hand, in one piece, rather than by a wrapper around the network: joint and encoder-only steps take
    turns on the same parameters, and each reduces just what it has.
    """
    if fabric.world_size == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat: Any = fabric.all_reduce(torch.cat([g.flatten() for g in gradients]), reduce_op="mean")
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view(gradient.shape))


def averaged(fabric: Fabric, figures: dict[str, float]) -> dict[str, float]:
    """Figures as means over the processes, all of which must ask."""
    if fabric.world_size == 1:
        return figures
    values = torch.tensor(list(figures.values()), dtype=torch.float64, device=fabric.device)
    mean: Any = fabric.all_reduce(values, reduce_op="mean")
    return dict(zip(figures, mean.tolist(), strict=True))
