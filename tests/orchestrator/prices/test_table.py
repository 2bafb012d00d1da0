"""The price table: every packaged line says where it is from, and a user's lines go over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import InputError
from orchestrator.prices.table import KINDS, PACKAGED, Price, accelerator, accelerators, price_of, worker_price
from orchestrator.recipe.cluster_section import ClusterSpec


def table(place: Path, text: str) -> str:
    file = place / "prices.yaml"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize("name", accelerators())
def test_every_line_has_a_price_with_source_and_date_and_what_it_is(name: str) -> None:
    line = accelerators()[name]
    prices = [price for spot in KINDS if (price := line.price(spot=spot)) is not None]
    assert line.on_demand in prices
    head = PACKAGED.read_text().split("\n\n")[0]
    for price in prices:
        assert price.date
        assert f"#   {price.source}" in head  # the sources are explained there
        assert 0.05 < price.usd < 50
    assert line.memory_gib
    assert line.peak_tflops
    assert line.node
    assert line.spot is None or line.spot.usd < line.on_demand.usd  # type: ignore[union-attr]


def test_a_price_says_whether_anybody_has_checked_it() -> None:
    assert str(price_of("a100-80gb", spot=False)) == "3.4309 USD (list, 2026-07-28)"
    assert "not checked" in str(price_of("t4-16gb", spot=False))


def test_a_users_lines_go_over_the_packaged_ones_key_by_key(tmp_path: Path) -> None:
    file = table(
        tmp_path, "a100-80gb: {spot: 0.9}\nmine: {on_demand: {usd: 2, source: a contract}, gpus_per_node: 4}\n"
    )
    assert price_of("a100-80gb", spot=True, file=file) == Price(usd=0.9)
    assert price_of("a100-80gb", spot=False, file=file) == price_of("a100-80gb", spot=False)
    assert accelerator("mine", file).gpus_per_node == 4
    assert str(price_of("mine", spot=False, file=file)) == "2 USD (a contract)"


def test_the_price_of_a_worker_is_the_recipes_own_or_the_tables() -> None:
    assert worker_price(ClusterSpec()) is None
    spot = worker_price(ClusterSpec(gpus_per_worker=1, gpu="h100-80gb", spot=True))
    assert spot == price_of("h100-80gb", spot=True)
    half = worker_price(ClusterSpec(gpus_per_worker=0.5, gpu="h100-80gb", spot=True))
    assert half is not None
    assert spot is not None
    assert half.usd == spot.usd / 2
    own = worker_price(ClusterSpec(gpus_per_worker=1, gpu="h100-80gb", price_per_hour=1.5))
    assert own is not None
    assert own.usd == 1.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "is no price table; a line is 'a100-80gb"),
        ("a100-80gb: 3", "is no price table"),
        ("a: {on_demand: -1}", r"a\.on_demand\.usd: Input should be greater than 0; a line is 'a: \{on_demand"),
        ("a: {on_demnd: 1}", "a.on_demnd: Extra inputs are not permitted"),
        ("a: {on_demand: cheap}", r"a\.on_demand"),
        ("a: {on_demand: .inf}", r"a\.on_demand\.usd: Input should be a finite number"),
        ("a: {on_demand: 1, memory_gib: .nan}", r"a\.memory_gib: Input should be"),
        ("a: {", "is no YAML"),
    ],
)
def test_a_file_that_is_no_price_table_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        accelerators(table(tmp_path, text))


def test_what_is_not_there_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml is not there: a price table is a YAML file"):
        accelerators(str(tmp_path / "nowhere.yaml"))
    with pytest.raises(InputError, match=r"Unknown accelerator 'a100'. Did you mean 'a100-80gb'.*by --prices FILE"):
        accelerator("a100")
    with pytest.raises(InputError, match=r"no spot price of l4-24gb: .*'l4-24gb: \{spot: USD\}' by --prices FILE"):
        price_of("l4-24gb", spot=True)
    remedy = table(tmp_path, "l4-24gb: {spot: 0.3}")
    assert price_of("l4-24gb", spot=True, file=remedy).usd == 0.3
