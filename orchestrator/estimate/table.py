"""An estimate as tables for people, every assumption beside the figure that rests on it."""

from __future__ import annotations

from rich.console import Console, RenderableType

from orchestrator.estimate.costs import START_SECONDS
from orchestrator.estimate.estimate import Estimate
from orchestrator.estimate.resources import big, new_table, resources
from orchestrator.say import say
from orchestrator.statistics.thresholds import LEVELS
from orchestrator.wording import NOTHING, count, percent, points


def print_plan(plan: Estimate, console: Console) -> None:
    """Print the plan: runs, base, data, packs, time and memory, and the difference that the seeds detect."""
    shape = f"{big(plan.shape.parameters())} parameters, from {plan.shape_from}" if plan.shape else plan.shape_from
    say(console, f"{plan.name}: {plan.base} ({shape})")
    tables = [_runs(plan), _methods(plan), _tasks(plan), *resources(plan), _seeds(plan)]
    for table in tables:
        console.print(table)
    for note in _notes(plan):
        say(console, f"- {note}")


def _runs(plan: Estimate) -> RenderableType:
    table = new_table("Runs", "what", "how many")
    grid = f"{count(len(plan.tasks), 'task')} x {count(len(plan.methods), 'method')}"
    table.add_row(f"runs: {grid} x {count(plan.rates, 'rate')} x {count(plan.seeds, 'seed')}", f"{plan.runs:,}")
    if plan.ended_in:
        table.add_row("  of these ended already", f"{plan.ended:,}")
        table.add_row("  left, which all below is for", f"{plan.runs - plan.ended:,}")
    how = ": the sweep measures it" if plan.pack_width_measured else ", as in the sweep: too short to measure"
    width = f"{plan.pack_width} runs" + (f", assumed{how}" if plan.pack_width_assumed else "")
    table.add_row(f"packs of at most {width} (the largest has {plan.largest_pack})", f"{plan.packs:,}")
    table.add_row("trainers at a time", str(plan.trainers))
    table.add_row("workers a trainer", str(plan.workers))
    return table


def _methods(plan: Estimate) -> RenderableType:
    controls = any(method.control for method in plan.methods)
    title = "Methods, at equal parameters" if plan.budget == "parameters" and plan.shape else "Methods"
    table = new_table(title, "method", "targets", "rank", "trained parameters a run")
    if controls:
        table.add_column("controls", overflow="fold")
    for method in plan.methods:
        trained = NOTHING if method.trainable_parameters is None else f"{method.trainable_parameters:,}"
        control = [method.control or ""] if controls else []
        table.add_row(method.label, method.targets, str(method.rank), trained, *control)
    return table


def _tasks(plan: Estimate) -> RenderableType:
    table = new_table("Tasks, at most", "task", "train rows", "validation", "test", "steps a run", "usual tokens a row")
    for task in plan.tasks:
        rows = task.rows
        numbers = (rows.train, rows.validation, rows.test, task.steps, rows.prompt + rows.answer)
        table.add_row(task.name + ("" if rows.known else " (assumed)"), *(f"{number:,}" for number in numbers))
    return table


def _seeds(plan: Estimate) -> RenderableType:
    seeds = count(plan.independent_seeds, "paired seed") if plan.tested or plan.seeds == 1 else "this grid of seeds"
    title = f"What {seeds} can show (power 0.8, two-sided 5 %, one task, one comparison)"
    table = new_table(title, "sd of the differences", "smallest difference detected", "seeds for 1 point")
    for row in plan.detectable:
        difference = "none" if row.difference is None else f"{points(row.difference)} points"
        table.add_row(points(row.sd).removeprefix("+") + " points", difference, str(row.seeds_for_one_point))
    return table


def _notes(plan: Estimate) -> list[str]:
    """Return the assumptions, in sentences."""
    notes = [f"Rate: {plan.rate.tflops:.4g} x 10^12 operations a second and worker, {plan.rate.source}."]
    if plan.ended_in:
        notes.append(f"Ended already: {plan.ended:,} of {count(plan.runs, 'run')}: {plan.ended_in}.")
    if plan.money.price_usd is not None:
        notes.append(f"Price of a worker's hour: {plan.money.price}; a node that is not full costs the same.")
    if plan.duration is not None:
        notes.append(
            f"Time is arithmetic at that rate plus {START_SECONDS:g} s a trainer to start on Ray; small models are "
            "slower than their arithmetic, and fetching, tokenising and merging are not in it."
        )
    if plan.trainers < 2:
        notes.append(
            "Trainers at a time: cluster.max_concurrent=auto counts as 1; give a number, --gpu 8xNAME or --simulate N."
        )
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
