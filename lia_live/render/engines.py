"""Opening a renderer: the engine, precision and threads that were asked for, or the fastest there are."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence

import torch

from lia_live.errors import ConfigError
from lia_live.model.lia import LIA
from lia_live.render.adaptive import AdaptiveRenderer
from lia_live.render.agreement import Trial
from lia_live.render.choice import PRECISIONS, Choice, available, thread_counts
from lia_live.render.choosing import Chosen, choose
from lia_live.render.interface import Renderer
from lia_live.render.memory import give_back_freed_memory, keep_freed_memory
from lia_live.render.openvino_renderer import OpenVinoRenderer
from lia_live.render.remembered import Notebook, circumstances
from lia_live.render.safeguard import SafeguardedRenderer
from lia_live.render.torch_renderer import TorchRenderer

INT8_CHANNELS = 128
"""Narrower networks, counted at 64x64, are not tried in int8: it saves them a twentieth, since memory traffic is what
they cost."""


def open_renderer(
    model: LIA,
    engine: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
    *,
    device: str | torch.device | None = None,
    beside: Renderer | None = None,
) -> Renderer:
    """The renderer for ``model``.

    ``engine``: "torch", "openvino" (cpu only), or "auto"; ``precision``: one of ``PRECISIONS``, or "auto". What is
    left to "auto" is measured at the first start and remembered for the next ones; a precision other than
    fp32 is taken only if a probe agrees with fp32. What is asked for by name is taken as it is.
    ``threads``: of the convolutions on a cpu; None measures a few frames and takes no more than pay, then and while
    frames are shown (``adaptive``).
    ``device``: where it runs, None: where the model is; a model on the cpu can be run anywhere and stays there. A GPU
    that fails later gives way to the cpu, aloud, and is tried again (``safeguard``).
    ``beside``: another one that is at work. A network of the same shape runs as that one does: measuring
    would disturb it, and be disturbed by it.
    torch's thread count is one for the process: the renderer sets it on every thread that calls it.
    Raises ``ConfigError`` for an unknown engine or precision, and for an engine that is not installed.
    """
    if engine != "auto" and engine not in ENGINES:
        raise ConfigError(
            f"there is no engine {engine!r}", f"choose one of auto, {', '.join(sorted(ENGINES))}"
        )
    if precision != "auto" and precision not in PRECISIONS:
        names = ", ".join(PRECISIONS)
        raise ConfigError(f"precision must be auto, {names}, got {precision!r}")
    if threads is not None and not 1 <= threads <= 256:
        raise ConfigError(f"threads must be in [1, 256], got {threads}")
    where = model.dec.direction.weight.device if device is None else torch.device(device)
    ways = _ways(engine, precision, where)
    if precision == "auto" and model.config.channels(64) < INT8_CHANNELS:
        ways = [way for way in ways if way.precision != "int8"]
    if where.type != "cpu":
        gpu = _first_within_bounds(model, ways, where)
        spare = _out_of_reach(model)
        return SafeguardedRenderer(gpu, lambda: open_renderer(spare, engine, threads, device="cpu"))
    if beside is not None and beside.config == model.config and beside.device == str(where):
        likewise = _likewise(model, ways, threads, where, beside)
        if likewise is not None:
            return likewise
    if len(ways) == 1 and threads is not None:
        return _opened(model, ways[0], threads, where)
    chosen = choose(
        model,
        ways,
        threads,
        lambda way, count: _opened(model, way, count, where),
        Notebook(circumstances(model, ways, threads, where)),
        _announce,
        (lambda way, count: _opened_for_any(model, way, count, where)) if threads is None else None,
    )
    if chosen.measured:
        gc.collect()
        give_back_freed_memory()  # of everything that was tried: 150 MB on two cores
    _tell(chosen.renderer, f", {_in_ms(chosen.found.frame_ms)} a frame ({_when(chosen)})")
    return chosen.renderer


def _announce() -> None:
    """To a person who waits; nobody else wants to know."""
    if sys.stderr is not None and sys.stderr.isatty():
        print("measuring what is the fastest here, some seconds ...", file=sys.stderr, flush=True)


def _in_ms(duration_ms: float) -> str:
    return f"{duration_ms:.3g} ms" if duration_ms < 999.5 else f"{duration_ms:.0f} ms"


def _when(chosen: Chosen) -> str:
    if not chosen.measured:
        return "as measured before"
    if not chosen.kept:
        return "measured now; it could not be written to the cache folder"
    if chosen.found.good_until is not None:
        return "measured now beside busy programs, good for an hour"
    return "measured now and remembered"


def _out_of_reach(model: LIA) -> LIA:
    """``model``, where a GPU that is lost does not take it along: a copy on the cpu unless it is there."""
    if model.dec.direction.weight.device.type == "cpu":
        return model
    return _copied(model)


def _copied(model: LIA) -> LIA:
    """The same network in memory of its own, on the cpu."""
    copy = LIA(model.config).requires_grad_(False).train(model.training)
    copy.load_state_dict(model.state_dict())
    copy.name, copy.licence, copy.directions = model.name, model.licence, model.directions
    return copy


def _ways(engine: str, precision: str, device: torch.device) -> Sequence[Choice]:
    """What may be chosen from. What is named in full is tried even if it gains nothing here."""
    if engine == "openvino" and device.type != "cpu":
        raise ConfigError(
            f"the engine openvino runs on the cpu, not on {device}", "take --device cpu with it"
        )
    if engine != "auto" and precision != "auto":
        return [Choice(engine, precision)]
    ways = [
        way
        for way in available(device)
        if engine in ("auto", way.engine) and precision in ("auto", way.precision)
    ]
    # Nothing here is quick in it, or the engine is not installed: opening it says what is wrong.
    return ways or [
        Choice(
            "torch" if engine == "auto" else engine, "fp32" if precision == "auto" else precision
        )
    ]


def _likewise(
    model: LIA, ways: Sequence[Choice], threads: int | None, device: torch.device, beside: Renderer
) -> Renderer | None:
    """A renderer like ``beside``, as far as what was asked for and the quality bounds allow."""
    way = Choice(beside.engine, beside.precision)
    if way not in ways:
        return None
    count: int = getattr(beside, "threads", 1) if threads is None else threads
    opened = _opened_for_any if threads is None else _opened
    renderer = opened(model, way, count, device)
    asked_for = all(other.precision == way.precision for other in ways)
    if not asked_for and way.precision != "fp32" and not Trial.of(model).accepts(renderer):
        return None
    return renderer


def _first_within_bounds(model: LIA, ways: Sequence[Choice], device: torch.device) -> Renderer:
    """On a GPU the order of ``available`` is the order of speed: nothing needs to be measured."""
    *lower, last = ways
    if lower:
        trial = Trial.of(model)
        for way in lower:
            renderer = _opened(model, way, 1, device)
            if trial.accepts(renderer):
                return renderer
    return _opened(model, last, 1, device)


def _opened(model: LIA, way: Choice, threads: int, device: torch.device) -> Renderer:
    return ENGINES[way.engine](model, threads, way.precision, device)


def _opened_for_any(model: LIA, way: Choice, threads: int, device: torch.device) -> Renderer:
    """With ``threads``, and ready for what is next to it: the machine will be more busy, or less."""
    counts = thread_counts()
    place = counts.index(threads) if threads in counts else 0
    pair = counts[max(0, place - 1) :][:2]
    if way.engine != "openvino" or device.type != "cpu" or len(pair) < 2:
        return _opened(model, way, threads, device)
    pair.sort(key=lambda count: count != threads)  # that one first
    return AdaptiveRenderer(OpenVinoRenderer(model, precision=way.precision, threads=pair), pair)


def _tell(renderer: Renderer, remark: str) -> None:
    if isinstance(renderer, AdaptiveRenderer):
        renderer = renderer.inner
    if isinstance(renderer, TorchRenderer | OpenVinoRenderer):
        renderer.remark = remark


def _open_torch(model: LIA, threads: int, precision: str, device: torch.device) -> Renderer:
    if device.type == "cpu":
        keep_freed_memory()
    return TorchRenderer(model, precision=precision, threads=threads, device=device)


def _open_openvino(model: LIA, threads: int, precision: str, device: torch.device) -> Renderer:
    return OpenVinoRenderer(model, precision=precision, threads=threads)


ENGINES: dict[str, Callable[[LIA, int, str, torch.device], Renderer]] = {
    "openvino": _open_openvino,
    "torch": _open_torch,
}
"""By name: opens one in a precision with so many threads. A further backend adds its opener here."""
