"""What a plan needs of memory, time and money, and what a simulation of its schedule says, as tables for people."""

from __future__ import annotations

from rich import box
from rich.console import RenderableType
from rich.table import Table

from orchestrator.estimate.costs import Duration
from orchestrator.estimate.estimate import Estimate
from orchestrator.wording import NOTHING, count, percent

GIB = 2**30
PARTS = (
    "base",
    "adapters",
    "gradients",
    "optimizer",
    "buffers",
    "activations",
    "logits",
    "scoring",
    "kernels",
    "process",
)
"""The parts of a worker's memory, in the order of the table; docs/plan.md explains each."""


def big(value: float) -> str:
    """Return a count in three digits: ``3.21 G``."""
    for size, letter in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def clock(hours: float) -> str:
    """Return a time in the unit that suits it: ``45 s``, ``12 min``, ``3.2 h``, ``8.1 days``."""
    if hours >= 48:
        return f"{hours / 24:,.1f} days"
    if hours >= 2:
        return f"{hours:.1f} h"
    return f"{hours * 60:.0f} min" if hours * 60 >= 2 else f"{hours * 3600:.0f} s"


def memory(size: int) -> str:
    """Return bytes in GiB."""
    return f"{size / GIB:.2f} GiB"


def new_table(title: str, *columns: str) -> Table:
    """Return an empty table; its first column is text, the others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(columns[0], overflow="fold")
    for column in columns[1:]:
        table.add_column(column, justify="right")
    return table


def resources(plan: Estimate) -> list[RenderableType]:
    """Return the tables of memory and time, of money if an hour has a price, and of the simulation if there is one."""
    tables = [_needs(plan)]
    if plan.money.price_usd is not None or plan.money.budget_usd is not None:
        tables.append(_money(plan))
    if plan.simulation is not None:
        tables.append(_simulation(plan))
    return tables


def _needs(plan: Estimate) -> RenderableType:
    table = new_table("Resources", "what", "usual rows", "all of max_length")
    work, most = plan.work, plan.work_at_most
    if work is None or most is None or plan.duration is None or plan.duration_at_most is None:
        table.add_row("memory, arithmetic, time, cost: unknown with the shape", NOTHING, NOTHING)
        return table
    _memory(plan, table)
    table.add_row("tokens trained on", big(work.train_tokens), big(most.train_tokens))
    table.add_row("tokens scored", big(work.score_tokens), big(most.score_tokens))
    table.add_row("operations", big(work.operations), big(most.operations))
    both = (plan.duration, plan.duration_at_most)
    table.add_row("worker-hours", *(f"{duration.worker_hours:,.2f}" for duration in both))
    table.add_row("time", *(clock(duration.hours) for duration in both))
    table.add_row("cost", *map(_cost, both))
    return table


def _memory(plan: Estimate, table: Table) -> None:
    need = plan.memory
    if need is None:
        table.add_row("memory: all runs have ended", NOTHING, NOTHING)
        return
    table.add_row("memory of a worker, roughly", memory(need.total), memory(need.total_at_most))
    for name in PARTS:
        table.add_row(f"  {name}", memory(getattr(need, name)), "")
    machine = plan.machine
    if machine.memory is not None:
        fits = "fits" if machine.fits else "DOES NOT FIT"
        part = "" if machine.share == 1 else f"{machine.share:g} of "
        table.add_row(f"  into {part}{machine.gpu}, the process aside", fits, memory(machine.memory))


def _cost(duration: Duration) -> str:
    return "--price is not given" if duration.cost is None else f"{duration.cost:,.2f}"


def _money(plan: Estimate) -> RenderableType:
    money = plan.money
    table = new_table("Money, in USD", "what", "usual rows")
    table.add_row("a worker's hour", NOTHING if money.price_usd is None else f"{money.price_usd:,.4f}")
    table.add_row("spent on runs that have ended", NOTHING if money.spent_usd is None else f"{money.spent_usd:,.2f}")
    if plan.duration is not None and plan.duration.cost is not None:
        table.add_row("the runs that are left", f"{plan.duration.cost:,.2f}")
    if money.budget_usd is not None:
        table.add_row("budget", f"{money.budget_usd:,.2f}")
        left = plan.runs - plan.ended
        paid = NOTHING if money.runs_paid is None else f"{money.runs_paid:,} of {left:,}"
        table.add_row("runs that the rest of it pays for", paid)
    return table


def _simulation(plan: Estimate) -> RenderableType:
    told = plan.simulation
    assert told is not None  # noqa: S101 - asked by the caller
    where = f"{count(told.nodes, 'node')} with {count(told.trainers, 'trainer')} in all"
    table = new_table(f"Simulation on {where}", "what", "usual rows")
    table.add_row("time", clock(told.makespan_hours))
    table.add_row("time at least: all work shared equally, or the longest pack", clock(told.lower_bound_hours))
    table.add_row("utilisation: work in the hours of trainers that were there", percent(told.utilisation))
    table.add_row("node-hours", f"{told.node_hours:,.2f}")
    table.add_row("nodes reclaimed", f"{told.reclaims:,}")
    table.add_row("trainer-hours lost to them, trained again", f"{told.lost_hours:,.2f}")
    return table
