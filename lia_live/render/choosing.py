"""Which engine, precision and thread count are the fastest on this machine: measured once, then remembered."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lia_live.model.lia import LIA
from lia_live.render.adaptive import WORTH_A_THREAD
from lia_live.render.agreement import Frames, Trial
from lia_live.render.bystanders import Bystanders
from lia_live.render.choice import Choice, thread_counts
from lia_live.render.interface import Renderer
from lia_live.render.remembered import Found, Notebook

MEASURE_S = 0.25
"""Time spent on measuring one way, beyond the first frame."""
BUDGET_S = 2.5
"""Once this has been spent, no further way is tried: a start must not take long. The one at hand is tried to its end,
which takes up to a quarter of a minute for the official network on a busy machine."""

LIVE_MS, HOPELESS_MS = 33.0, 100.0
"""int8 takes seconds to prepare and halves a frame at best: it is tried only where a frame takes so long without it
that this could make it live, and on as many threads as are best without it."""

BUSY = 0.1
"""Where other programs take more than this part of the machine meanwhile, the result says more about them ..."""
PROVISIONAL_S = 3600.0
"""... and is good for so long: a machine that was busy at its first start must not be slow for ever."""

Open = Callable[[Choice, int], Renderer]
"""Opens one way with so many threads."""


@dataclass(frozen=True)
class Chosen:
    """The renderer that was taken, ready to run, and what is known of it."""

    renderer: Renderer
    found: Found
    measured: bool
    """Now; False: at an earlier start."""
    kept: bool = True
    """It will be remembered; False: it could not be written."""


def choose(
    model: LIA, ways: Sequence[Choice], threads: int | None, open_way: Open, notebook: Notebook,
    announce: Callable[[], None] = lambda: None, settle: Open | None = None,
) -> Chosen:  # fmt: skip
    """The fastest of ``ways`` within the quality bounds. ``threads``: None measures that too.

    ``settle``: opens what was chosen in the end; None: as it was measured.

    The bounds decide between fp32 and the rest: where all ``ways`` are of one lower precision, that one is wanted.
    What fails to open is passed over; only if everything fails, the first failure is raised.
    ``announce``: called before a measurement that takes seconds.
    """
    settle = settle or open_way
    known = notebook.recall()
    if known is not None and Choice(known.engine, known.precision) in ways:
        try:
            renderer = settle(Choice(known.engine, known.precision), known.threads)
            return Chosen(renderer, known, measured=False)
        except (
            Exception
        ):  # an engine that has gone since: whatever it says, it is time to measure again
            pass
    bystanders = Bystanders()
    renderer, found = _measured(model, ways, threads, open_way, announce)
    if bystanders.share() > BUSY:
        found = replace(found, good_until=time.time() + PROVISIONAL_S)
    if settle is not open_way:
        renderer = settle(Choice(found.engine, found.precision), found.threads)
    return Chosen(renderer, found, measured=True, kept=notebook.write(found))


def _measured(
    model: LIA, ways: Sequence[Choice], threads: int | None, open_way: Open,
    announce: Callable[[], None],
) -> tuple[Renderer, Found]:  # fmt: skip
    announce()
    trial = Trial.of(model)
    judged = any(way.precision == "fp32" for way in ways)
    began = time.perf_counter()
    counts = thread_counts() if threads is None else [threads]
    best: tuple[Renderer, Found] | None = None
    failures: list[Exception] = []
    served: set[str] = set()
    for way in ways:
        tried = counts
        if best is not None and way.precision == "int8":
            if not LIVE_MS < best[1].frame_ms <= HOPELESS_MS:
                continue
            tried = [best[1].threads]
        elif (best is not None and time.perf_counter() - began > BUDGET_S) or way.engine in served:
            continue
        try:
            renderer, found = _best_threads(trial, way, tried, open_way)
        except Exception as error:  # a broken engine raises anything, and another may do
            failures.append(error)
            continue
        if way.precision != "fp32":
            if judged and not trial.accepts(renderer):
                continue
            served.add(way.engine)
        if best is None or found.frame_ms < best[1].frame_ms:
            best = renderer, found
    if best is None:
        raise failures[0]
    return best


def _best_threads(
    trial: Trial, way: Choice, counts: Sequence[int], open_way: Open
) -> tuple[Renderer, Found]:
    """The fewest threads that are about as quick as any, with the machine as busy as it is."""
    best: tuple[Renderer, Found] | None = None
    for count in counts:
        renderer = open_way(way, count)
        frame_ms = 1e3 * typical_s(trial.frame(renderer))
        if best is not None and frame_ms >= best[1].frame_ms * WORTH_A_THREAD:
            break
        best = renderer, Found(way.engine, way.precision, count, frame_ms)
    assert best is not None  # there is at least one count
    return best


def typical_s(frame: Frames | Callable[[], None]) -> float:
    """Median time of a frame, s. The first one prepares and does not count."""
    spent: list[float] = []
    while len(spent) < 2 or sum(spent[1:]) < MEASURE_S:
        began = time.perf_counter()
        frame()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent[1:])
