"""What Splinter promises of its scheduler: bounds, and how the experiments find the figures (docs/experiments.md)."""

from __future__ import annotations

from dataclasses import dataclass

from splinter_bench.figure import Figure


@dataclass(frozen=True)
class Bound:
    """``is_most``: the figure is at most this, otherwise at least."""

    figure: str
    value: float
    is_most: bool = False


BOUNDS = (
    Bound("yields", 5),
    Bound("misbehaviour-preemption", 95),
    Bound("misbehaviour-watchdog", 80),
    Bound("replacement", 25, is_most=True),
    Bound("stealing", 2),
    Bound("flood", 1.5, is_most=True),
)

# (experiment, its part if only one is needed, the figures that it finds)
EXPERIMENTS = (
    ("yields", (), ("yields",)),
    ("misbehaviour", (), ("misbehaviour-preemption", "misbehaviour-watchdog", "replacement")),
    ("locality", ("0.99",), ("stealing",)),
    ("flood", (), ("flood",)),
)


def measure(name: str, parts: tuple[str, ...]) -> list[Figure]:
    """The figures of an experiment."""
    from splinter_bench.experiments.commands import experiment_of
    from splinter_bench.experiments.experiment import Effort

    experiment = experiment_of(name)
    return experiment.figures(experiment.measure(Effort(only=parts, for_bounds=True), lambda text: None))
