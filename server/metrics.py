"""Figures of the whole server as Prometheus text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lia_live.engine.memory import resident_mb

if TYPE_CHECKING:
    from lia_live_server.book import SessionBook
    from lia_live_server.service import RenderService


def metrics_text(book: SessionBook, service: RenderService) -> str:
    """The page of ``/metrics``. No name, address or avatar of anybody is in it."""
    stats = [session.stage.stats for session in book.sessions()]
    render = service.render_s.milliseconds(50, 95)
    figures: list[tuple[str, str, str, float]] = [
        ("sessions", "gauge", "Sessions, parked ones included.", len(book)),
        ("sessions_live", "gauge", "Sessions with a socket.", book.live),
        ("sessions_admitted_total", "counter", "Sessions that began.", book.admitted),
        ("sessions_refused_total", "counter", "Joins that were refused.", book.refused),
        ("sessions_resumed_total", "counter", "Sessions that were resumed.", book.resumed),
        ("sessions_failed_total", "counter", "Sessions that broke down.", book.failed),
        ("frames_in", "gauge", "Camera frames of the sessions there are.", sum(s.frames_in for s in stats)),
        ("frames_out", "gauge", "New avatar pictures of these.", sum(s.frames_out for s in stats)),
        ("pictures_rendered_total", "counter", "Pictures rendered.", service.rendered),
        ("pictures_batched_total", "counter", "Of these, together with another one.", service.batched),
        ("render_seconds_p50", "gauge", "One call of the network.", render["p50"] / 1000),
        ("render_seconds_p95", "gauge", "The same.", render["p95"] / 1000),
        ("age_seconds_p95_worst", "gauge", "Capture to encoder, worst session.", _worst_age(stats)),
        ("resident_bytes", "gauge", "Memory.", (resident_mb() or 0.0) * 2**20),
    ]  # fmt: skip
    lines = []
    for name, kind, words, value in figures:
        lines += [
            f"# HELP lia_live_{name} {words}",
            f"# TYPE lia_live_{name} {kind}",
            f"lia_live_{name} {value:g}",
        ]
    return "\n".join(lines) + "\n"


def _worst_age(stats: list) -> float:  # type: ignore[type-arg]
    return max((s.age.milliseconds(95)["p95"] / 1000 for s in stats), default=0.0)
