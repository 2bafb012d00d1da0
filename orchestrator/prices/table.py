"""The price table: the packaged lines, a user's lines over them, and the price of one worker's hour."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, field_validator

from d2lora.names import unknown
from orchestrator.errors import InputError
from orchestrator.paths import readable
from orchestrator.recipe.cluster_section import ClusterSpec
from orchestrator.recipe.frozen import Frozen

PACKAGED = Path(__file__).with_name("prices.yaml")
KINDS = {False: "on_demand", True: "spot"}
"""The key of a line's price, by whether spot nodes are rented."""
OWN = "your own"


class Price(Frozen):
    """USD per GPU and hour, where the number is from, its day, and whether anybody has read that source."""

    usd: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    source: str = OWN
    date: str = ""
    checked: bool = True

    @field_validator("date", mode="before")
    @classmethod
    def _as_text(cls, date: Any) -> str:
        """Take a day or a year as YAML reads it."""
        return str(date)

    def __str__(self) -> str:
        """Return ``3.4309 USD (list, 2026-07-28)``."""
        words = [self.source, *([self.date] if self.date else []), *([] if self.checked else ["not checked"])]
        return f"{self.usd:g} USD ({', '.join(words)})"


class Accelerator(Frozen):
    """One line of the table: an accelerator, the node that it is rented in, and its prices.

    ``memory_gib`` is the memory of one GPU, ``peak_tflops`` its dense half-precision peak in 10^12 operations per
    second. None where nobody has said.
    """

    memory_gib: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    peak_tflops: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    gpus_per_node: Annotated[int, Field(gt=0)] = 1
    node: str = ""
    on_demand: Price | None = None
    spot: Price | None = None

    @field_validator("on_demand", "spot", mode="before")
    @classmethod
    def _number(cls, price: Any) -> Any:
        """Take a number alone as a price of the user's own."""
        return {"usd": price} if isinstance(price, (int, float)) and not isinstance(price, bool) else price

    def price(self, *, spot: bool) -> Price | None:
        """Return the price of one GPU's hour."""
        return self.spot if spot else self.on_demand


def accelerators(file: str | None = None) -> dict[str, Accelerator]:
    """Return the lines by name; those of the user's ``file`` replace and complete the packaged ones key by key.

    InputError for a file that is missing, no YAML or no such table.
    """
    lines = {name: dict(line) for name, line in _read(PACKAGED).items()}
    path = None if file is None else readable(file)
    if path is not None:
        for name, line in _read(path).items():
            lines[name] = lines.get(name, {}) | dict(line)
    return {name: _line(name, line, path or PACKAGED) for name, line in lines.items()}


def accelerator(name: str, file: str | None = None) -> Accelerator:
    """Return the line of this name; InputError, with the nearest name, if there is none."""
    lines = accelerators(file)
    if name not in lines:
        raise InputError(f"{unknown('accelerator', name, lines)} Others: by --prices FILE, or cluster.prices.")
    return lines[name]


def price_of(name: str, *, spot: bool, file: str | None = None) -> Price:
    """Return the price of an hour of this accelerator; InputError, with the way out, if the table has none."""
    price = accelerator(name, file).price(spot=spot)
    if price is None:
        kind = KINDS[spot]
        raise InputError(
            f"The price table has no {kind} price of {name}: give --price USD, or a file with the line "
            f"'{name}: {{{kind}: USD}}' by --prices FILE (in a recipe: cluster.price_per_hour, cluster.prices)."
        )
    return price


def worker_price(cluster: ClusterSpec) -> Price | None:
    """Return the price of an hour of one worker as the recipe names it; None if the recipe names none.

    InputError where the table has no such price.
    """
    if cluster.price_per_hour is not None:
        return Price(usd=cluster.price_per_hour, source="cluster.price_per_hour")
    return table_price(cluster)


def table_price(cluster: ClusterSpec) -> Price | None:
    """Return the price of an hour of one worker by the table: of its GPU, or of the part of a GPU that it has."""
    if cluster.gpu is None:
        return None
    whole = price_of(cluster.gpu, spot=cluster.spot, file=cluster.prices)
    if cluster.gpus_per_worker == 1:
        return whole
    source = f"{cluster.gpus_per_worker:g} of {whole.usd:g}, {whole.source}"
    return whole.model_copy(update={"usd": cluster.gpus_per_worker * whole.usd, "source": source})


@cache
def _read(path: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is not there: a price table is a YAML file (docs/plan.md).") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not all(isinstance(line, dict) for line in content.values()):
        raise InputError(f"{path} is no price table; a line is 'a100-80gb: {{on_demand: 3.43, spot: 1.60}}'.")
    return content


def _line(name: str, line: Mapping[str, Any], path: Path) -> Accelerator:
    try:
        return Accelerator.model_validate(dict(line))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, (name, *first["loc"])))
        raise InputError(
            f"{path}: {key}: {first['msg']}; a line is '{name}: {{on_demand: 3.43, spot: 1.60}}'."
        ) from None
