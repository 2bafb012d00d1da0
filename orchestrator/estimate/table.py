"""An estimate as tables for people, every assumption beside the figure that rests on it."""

from __future__ import annotations

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

from orchestrator.estimate.costs import START_SECONDS, Duration
from orchestrator.estimate.estimate import Estimate
from orchestrator.say import say
from orchestrator.statistics.thresholds import LEVELS
from orchestrator.wording import NOTHING, count, percent, points

GIB = 2**30


def print_plan(plan: Estimate, console: Console) -> None:
    """Print the plan: runs, base, data, packs, time and memory, and the difference that the seeds detect."""
    shape = f"{big(plan.shape.parameters())} parameters, from {plan.shape_from}" if plan.shape else plan.shape_from
    say(console, f"{plan.name}: {plan.base} ({shape})")
    tables = [_runs(plan), _methods(plan), _tasks(plan), _resources(plan), _seeds(plan)]
    for table in tables:
        console.print(table)
    for note in _notes(plan):
        say(console, f"- {note}")


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


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(columns[0], overflow="fold")
    for column in columns[1:]:
        table.add_column(column, justify="right")
    return table


def _runs(plan: Estimate) -> RenderableType:
    table = _table("Runs", "what", "how many")
    grid = f"{count(len(plan.tasks), 'task')} x {count(len(plan.methods), 'method')}"
    table.add_row(f"runs: {grid} x {count(plan.rates, 'rate')} x {count(plan.seeds, 'seed')}", f"{plan.runs:,}")
    how = ": the sweep measures it" if plan.pack_width_measured else ", as in the sweep: too short to measure"
    width = f"{plan.pack_width} runs" + (f", assumed{how}" if plan.pack_width_assumed else "")
    table.add_row(f"packs of at most {width} (the largest has {plan.largest_pack})", f"{plan.packs:,}")
    table.add_row("trainers at a time", str(plan.trainers))
    table.add_row("workers a trainer", str(plan.workers))
    return table


def _methods(plan: Estimate) -> RenderableType:
    controls = any(method.control for method in plan.methods)
    title = "Methods, at equal parameters" if plan.budget == "parameters" and plan.shape else "Methods"
    table = _table(title, "method", "targets", "rank", "trained parameters a run")
    if controls:
        table.add_column("controls", overflow="fold")
    for method in plan.methods:
        trained = NOTHING if method.trainable_parameters is None else f"{method.trainable_parameters:,}"
        control = [method.control or ""] if controls else []
        table.add_row(method.label, method.targets, str(method.rank), trained, *control)
    return table


def _tasks(plan: Estimate) -> RenderableType:
    table = _table("Tasks, at most", "task", "train rows", "validation", "test", "steps a run", "usual tokens a row")
    for task in plan.tasks:
        rows = task.rows
        numbers = (rows.train, rows.validation, rows.test, task.steps, rows.prompt + rows.answer)
        table.add_row(task.name + ("" if rows.known else " (assumed)"), *(f"{number:,}" for number in numbers))
    return table


def _resources(plan: Estimate) -> RenderableType:
    table = _table("Resources", "what", "usual rows", "all of max_length")
    need, work, most = plan.memory, plan.work, plan.work_at_most
    if need is None or work is None or most is None or plan.duration is None or plan.duration_at_most is None:
        table.add_row("memory, arithmetic, time, cost: unknown with the shape", NOTHING, NOTHING)
        return table
    table.add_row("memory of a worker, roughly", memory(need.total), memory(need.total_at_most))
    parts = (("base", need.base), ("adapters", need.adapters), ("activations", need.activations))
    for name, size in (*parts, ("process", need.process)):
        table.add_row(f"  {name}", memory(size), "")
    table.add_row("tokens trained on", big(work.train_tokens), big(most.train_tokens))
    table.add_row("tokens scored", big(work.score_tokens), big(most.score_tokens))
    table.add_row("operations", big(work.operations), big(most.operations))
    both = (plan.duration, plan.duration_at_most)
    table.add_row("worker-hours", *(f"{duration.worker_hours:,.2f}" for duration in both))
    table.add_row("time", *(clock(duration.hours) for duration in both))
    table.add_row("cost", *map(_cost, both))
    return table


def _cost(duration: Duration) -> str:
    return "--price is not given" if duration.cost is None else f"{duration.cost:,.2f}"


def _seeds(plan: Estimate) -> RenderableType:
    seeds = count(plan.independent_seeds, "paired seed") if plan.tested or plan.seeds == 1 else "this grid of seeds"
    title = f"What {seeds} can show (power 0.8, two-sided 5 %, one task, one comparison)"
    table = _table(title, "sd of the differences", "smallest difference detected", "seeds for 1 point")
    for row in plan.detectable:
        difference = "none" if row.difference is None else f"{points(row.difference)} points"
        table.add_row(points(row.sd).removeprefix("+") + " points", difference, str(row.seeds_for_one_point))
    return table


def _notes(plan: Estimate) -> list[str]:
    """Return the assumptions, in sentences."""
    rate = plan.rate
    origin = "as given by --tflops" if rate.given else "ASSUMED; measure yours and say --tflops"
    notes = [f"Rate: {rate.tflops:g} x 10^12 operations a second and worker, {origin}."]
    if plan.duration is not None:
        notes.append(
            f"Time is arithmetic at that rate plus {START_SECONDS:g} s a trainer to start on Ray; small models are "
            "slower than their arithmetic, and fetching, tokenising and merging are not in it."
        )
    notes.append(f"Trainers at a time: {plan.trainers} (cluster.max_concurrent=auto counts as 1 here: give a number).")
    notes.append("Rows are those published; repeated and leaked ones are left out later. Usual lengths are means.")
    if not all(task.rows.known for task in plan.tasks):
        notes.append("(assumed): the plan does not read that task's rows; their number and length are a guess.")
    if plan.search == "racing":
        notes.append("search.kind=racing: all this is for the whole grid, the most that a race can train.")
    if plan.search == "tpe":
        notes.append(
            f"search.kind=tpe trains {plan.runs_at_most:,} of these {count(plan.runs, 'run')}, "
            f"{percent(plan.runs_at_most / plan.runs)}: all this is for the whole grid, time and cost are about that "
            "share of it."
        )
    if plan.search == "asha":
        notes.append(
            "search.kind=asha: all this is for the whole grid; every run begins, and some are stopped at rungs."
        )
    if plan.budget == "parameters" and plan.shape is None:
        notes.append("budget: parameters chooses ranks by the base's shape; those above are the recipe's.")
    return notes + _seed_notes(plan)


def _seed_notes(plan: Estimate) -> list[str]:
    """Return sentences on the differences that the seeds cannot show, or only in part."""
    notes = []
    comparisons = (len(plan.methods) - 1) * len(plan.tasks)
    if plan.tested and comparisons > 1:
        notes.append(
            f"The reference meets the others in {comparisons} comparisons, Holm-corrected together: the smallest p "
            f"must be below {0.05 / comparisons:.2g}, so differences of the size above are missed more often."
        )
    if not plan.tested and plan.seeds > 1:
        notes.append(
            f"A grid of starts and orders with fewer than {LEVELS} seeds on an axis does not tell how much seeds "
            f"differ: nothing is tested. Give each {LEVELS}, or one of them a single seed, which is then held."
        )
    elif plan.independent_seeds < plan.seeds:
        notes.append(
            f"The {count(plan.seeds, 'seed')} are a grid of starts and orders of data, which runs share: they show "
            f"what {plan.independent_seeds} to {plan.seeds} independent ones do, and the table takes the fewest."
        )
    if plan.seeds < 2:
        notes.append("One seed has no spread: no difference between methods can be tested.")
    return notes
