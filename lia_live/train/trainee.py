"""Everything of a run that learns: the network in training, its average, the discriminator, their optimisers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from lia_live.errors import ConfigError
from lia_live.model import LIA
from lia_live.puppet.theta import NAMES
from lia_live.train.checkpoints import pack_optimiser, unpack_optimiser
from lia_live.train.discriminator import Discriminator
from lia_live.train.growth import TEETH, TONGUE, grow, paint, pass_colours, start
from lia_live.train.schedule import Gains, Stage, TrainConfig
from lia_live.train.supply import seeded
from lia_live.train.teacher import (
    Teacher,
    gains_of,
    in_label_units,
    label_directions,
    turned_up,
)

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Trainee:
    """Made at the first stage's size, or from ``base``; grows with the stages."""

    def __init__(self, config: TrainConfig, device: torch.device, base: LIA | None = None) -> None:
        """Raises ``ConfigError`` if ``base`` is larger than the first stage, or of another shape."""
        self._config, self._device = config, device
        self._base = base
        self._gains = _gains(config, base)
        first = config.stages[0].size
        check_start(config, base)
        if base is not None:
            self.teacher = _finished_teacher(base)
        else:
            with _drawing(config.seed, "start"):
                model = LIA(replace(config.model, size=first))
            if config.start == "paper":
                self.teacher = Teacher(model, 0)
            else:
                model.directions = label_directions(config.model.motion_dim)
                self.teacher = Teacher(start(model), len(NAMES))
        if base is not None and config.colours != "learned":
            pass_colours(self.teacher.model, coarser=config.colours == "filled")
        self.teacher = _placed(self.teacher, device)
        self.average = copy.deepcopy(self.teacher)
        self.joint: torch.optim.Optimizer
        self.single: torch.optim.Optimizer
        self.critic: Discriminator | None = None
        self.critic_optimiser: torch.optim.Optimizer | None = None
        self._optimisers: dict[str, torch.optim.Optimizer] = {}
        self._pending: dict[str, Tensor] = {}

    @property
    def size(self) -> int:
        """Side of the pictures that it works on now."""
        return self.teacher.model.config.size

    def begin_stage(self, stage: Stage, number: int) -> None:
        """Grow to the stage's size, open its optimisers, put back what ``load`` brought for them."""
        with _drawing(self._config.seed, "grow", number):
            if self.size < stage.size:
                self.teacher = _grown(self.teacher, stage.size)
                self.average = _grown(self.average, stage.size)
        self.teacher.model.enc.requires_grad_(stage.encoder == "learns")
        for part, weight in ((TEETH, stage.losses.teeth), (TONGUE, stage.losses.tongue)):
            if weight:
                paint(self.teacher.model, part, self.average.model)
        if self._config.colours != "learned":
            _hold_colours(self.teacher, coarser=self._config.colours == "passed")
        self.teacher.model.dec.direction.hold(self.is_recordable(stage))
        self.joint, self.single = _optimisers(self.teacher, stage)
        self._optimisers = {"joint": self.joint, "single": self.single}
        self.critic = self.critic_optimiser = None
        if stage.losses.adversarial:
            with _drawing(self._config.seed, "critic", number):
                critic = Discriminator(replace(self.teacher.model.config, size=stage.size))
            self.critic = _placed(critic, self._device)
            rate = stage.critic_learning_rate
            self.critic_optimiser = torch.optim.Adam(
                [{"params": list(self.critic.parameters()), "base": rate}],
                lr=rate,
                betas=(0.0, 0.99059),  # spec section 13
            )
            self._optimisers["critic"] = self.critic_optimiser
            _load(self.critic, "critic_network", self._pending)
        for name, optimiser in self._optimisers.items():
            unpack_optimiser(name, optimiser, self._pending)
        self._pending = {}

    def is_recordable(self, stage: Stage) -> bool:
        """Whether joint steps may be replayed: on a CUDA device, labelled, and with nobody else learning.

        The directions do not learn then; what the labels mean is told to the rest of the network.
        """
        return (
            self._device.type == "cuda" and self.teacher.labels > 0 and not stage.losses.adversarial
        )

    def end_stage(self) -> None:
        """Drop what belongs to the stage alone."""
        self._optimisers = {}
        self.critic = self.critic_optimiser = None

    def set_rates(self, factor: float) -> None:
        """Every optimiser's learning rates: their base times ``factor``."""
        for optimiser in self._optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = group["base"] * factor

    @torch.no_grad()
    def average_weights(self, ema: float, steps: int) -> None:
        """Move the average towards the present weights; ``steps``: done before, early ones count more."""
        decay = min(ema, (1 + steps) / (10 + steps))
        kept: list[Tensor] = list(self.average.parameters())
        new: list[Tensor] = list(self.teacher.parameters())
        torch._foreach_lerp_(kept, new, 1 - decay)

    def oracle(self, stage: Stage, seed: int, number: int, step: int, fabric: Fabric) -> Tensor:
        """(b,) bool: which of this process's samples are told the true motion."""
        first, last = stage.oracle
        share = first + (last - first) * min(1.0, 2 * step / stage.joint_steps)
        streams = self._config.streams
        draw = torch.rand(stage.batch, generator=seeded("cpu", seed, number, "oracle", step))
        own = draw.view(-1, streams)[:, fabric.global_rank :: fabric.world_size]
        return (own.flatten() < share).to(fabric.device)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a checkpoint must hold, by name."""
        found = _named("teacher", self.teacher) | _named("average", self.average)
        if self.critic is not None:
            found |= _named("critic_network", self.critic)
        for name, optimiser in self._optimisers.items():
            found |= pack_optimiser(name, optimiser)
        return found

    def load(self, tensors: dict[str, Tensor], size: int) -> None:
        """Take over what ``tensors`` gave; optimisers and discriminator wait for ``begin_stage``."""
        if size != self.size:
            fresh = Trainee(self._config, self._device, self._base)
            self.teacher, self.average = fresh.teacher, fresh.average
            if size > self.size:
                self.teacher = _grown(self.teacher, size)
                self.average = _grown(self.average, size)
        _load(self.teacher, "teacher", tensors)
        _load(self.average, "average", tensors)
        self._pending = tensors

    def finished(self, size: int) -> LIA:
        """The averaged network, plain and labelled, grown to ``size``; on the CPU."""
        average = copy.deepcopy(self.average).cpu()
        with _drawing(self._config.seed, "finish"):
            model = grow(average.folded() if average.labels else average.model, size)
        if self._config.colours != "learned":
            pass_colours(model, coarser=self._config.colours == "filled")
        model.directions = self.teacher.model.directions
        if bool((self._gains != 1).any()):
            model = turned_up(model, self._gains)
        return model.eval()


def check_start(config: TrainConfig, base: LIA | None) -> None:
    """Raises ``ConfigError`` if training cannot start with these settings, from ``base`` if there is one."""
    if base is not None:
        check_base(base, config)
    labelled = config.start != "paper" if base is None else is_labelled(base)
    if config.gains != Gains() and not labelled:
        raise ConfigError(
            "train.gains are of named motions, and this network has none",
            "train without them: leave gains at 1, or take another --preset",
        )
    if base is None and labelled and config.model.motion_dim < len(NAMES):
        raise ConfigError(
            f"model.motion_dim must be at least {len(NAMES)}, one for each named motion, "
            f"got {config.model.motion_dim}",
            "or start as in the paper, without labels: --set start=paper",
        )


def check_base(base: LIA, config: TrainConfig) -> None:
    """Raises ``ConfigError`` if training cannot start from ``base`` with these settings."""
    shape = replace(config.model, size=base.config.size)
    if base.config != shape:
        raise ConfigError(
            f"the base is another network than the settings ask for: {base.config} against {shape}",
            "take the base's: --set model.width=..., model.latent_dim=..., model.motion_dim=...",
        )
    if base.config.size > config.stages[0].size:
        raise ConfigError(
            f"the base works on {base.config.size} pixels, the first stage on {config.stages[0].size}",
            f"give the first stage at least the base's: --set stages.0.size={base.config.size}",
        )


def is_labelled(model: LIA) -> bool:
    """Whether the first coefficients are the performer's named motions."""
    return tuple(d.name for d in model.directions[: len(NAMES)]) == NAMES


def _gains(config: TrainConfig, base: LIA | None) -> Tensor:
    """(motion_dim,) what the finished coefficients are turned up by: the run's, else as in the base."""
    if config.gains != Gains():
        gains = torch.ones(config.model.motion_dim)
        for label, gain in config.gains.by_label().items():
            gains[NAMES.index(label)] = gain
        return gains
    if base is not None and is_labelled(base):
        return gains_of(base)
    return torch.ones(config.model.motion_dim)


def _finished_teacher(base: LIA) -> Teacher:
    """A teacher around finished weights: its term is folded in already."""
    labelled = is_labelled(base)
    model = copy.deepcopy(base).cpu().float()
    model = (in_label_units(model) if labelled else model).train()
    model.requires_grad_(True)
    teacher = Teacher(model, len(NAMES) if labelled else 0)
    with torch.no_grad():
        teacher.term.zero_()
    return teacher


@contextmanager
def _drawing(seed: int, *what: int | str) -> Iterator[None]:
    """Draws of torch's global generator that (seed, what) alone decide; it is put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeded("cpu", seed, *what).initial_seed())
        yield


def _grown(teacher: Teacher, size: int) -> Teacher:
    """The same at a larger size."""
    device = teacher.term.device
    if teacher.model.config.size == size:
        return teacher
    grown = Teacher(grow(teacher.model.cpu(), size), teacher.labels)
    with torch.no_grad():
        grown.term.copy_(teacher.term)
    return _placed(grown, device)


Placed = TypeVar("Placed", Teacher, Discriminator)


def _placed(module: Placed, device: torch.device) -> Placed:
    """On the device, channels last: up to twice as fast on a CPU."""
    module = module.to(device)
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module


def _hold_colours(teacher: Teacher, coarser: bool) -> None:
    """What colours pass through does not learn: the first layer, the last level's colour head or (``coarser``) all."""
    model = teacher.model
    heads = list(model.dec.to_rgbs)
    for module in (model.enc.net_app.convs[0], *(heads if coarser else heads[-1:])):
        module.requires_grad_(False)


def _optimisers(teacher: Teacher, stage: Stage) -> tuple[torch.optim.Adam, torch.optim.Adam]:
    """For joint steps and for encoder-only ones. Flow and colour heads act on pixels directly.

    Directions keep their place while they are held: a run that a GPU began may go on without one.
    """
    heads: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for name, parameter in teacher.named_parameters():
        if not parameter.requires_grad and not name.endswith("direction.weight"):
            continue
        is_head = "to_flows" in name or "to_rgbs" in name or name == "term"
        (heads if is_head else rest).append(parameter)
    rate, single_rate = stage.learning_rate, stage.single_learning_rate
    joint = [{"params": rest, "base": rate}, {"params": heads, "base": rate * stage.heads_rate}]
    encoder = [p for p in teacher.model.enc.parameters() if p.requires_grad]
    encoder = encoder or list(teacher.model.enc.parameters())  # held: never stepped
    single = [{"params": encoder, "base": single_rate}]
    return (
        torch.optim.Adam(joint, lr=rate, betas=stage.betas, fused=True),
        torch.optim.Adam(single, lr=single_rate, betas=stage.betas, fused=True),
    )


def _named(prefix: str, module: torch.nn.Module) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in module.state_dict().items()}


def _load(module: torch.nn.Module, prefix: str, tensors: dict[str, Tensor]) -> None:
    """Put ``prefix.*`` into the module; nothing to do where there is none (a stage that begins)."""
    state = {
        key.removeprefix(f"{prefix}."): value
        for key, value in tensors.items()
        if key.startswith(f"{prefix}.")
    }
    if state:
        module.load_state_dict(state)
