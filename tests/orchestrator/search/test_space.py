"""Settings as points: numbers in their order, words without one, each method with axes of its own."""

from __future__ import annotations

from typing import Any

from orchestrator.recipe.sections import MethodSpec
from orchestrator.search.space import METHOD, RATE, Axis, nearest, space_of


def method(name: str, targets: str = "attention", **settings: Any) -> MethodSpec:
    return MethodSpec(name=name, settings=settings, label="", targets=targets)


def test_numbers_have_places_in_their_order_and_what_holds_a_word_has_those_of_the_recipe() -> None:
    taus: list[Any] = [0.5, "learned", 0.1]
    space = space_of([(method("d2lora", rank=rank, tau=tau), 1e-3) for rank in (16, 2, 4.0) for tau in taus])
    assert space.shared == ()
    assert space.own == ((Axis("d2lora.rank", 3, True), Axis("d2lora.tau", 3, False)),)
    places = {2: 0, 4.0: 1, 16: 2}
    expected = [
        (("d2lora.rank", places[rank]), ("d2lora.tau", index)) for rank in (16, 2, 4.0) for index in range(len(taus))
    ]
    assert list(space.points) == expected


def test_a_rate_is_ordered_and_truth_and_lists_are_not_numbers() -> None:
    settings = [(method("lora", on=on, layers=[on]), rate) for on in (True, False) for rate in (1e-2, 1e-3)]
    space = space_of(settings)
    assert space.shared == (Axis(RATE, 2, True),)
    assert space.own == ((Axis("lora.on", 2, False), Axis("lora.layers", 2, False)),)
    assert [dict(point)[RATE] for point in space.points] == [1, 0, 1, 0]


def test_each_method_has_the_axes_that_vary_within_it_and_targets_are_one() -> None:
    settings = [
        (method("d2lora", rank=4, tau=0.5), 1e-3),
        (method("lora", rank=4), 1e-3),
        (method("lora", rank=8), 1e-3),
        (method("lora", "mlp", rank=8), 1e-3),
    ]
    space = space_of(settings)
    assert space.shared == (Axis(METHOD, 2, False),)
    assert space.own == ((), (Axis("lora.rank", 2, True), Axis("lora.targets", 2, False)))
    assert space.points == (
        ((METHOD, 0),),
        ((METHOD, 1), ("lora.rank", 0), ("lora.targets", 0)),
        ((METHOD, 1), ("lora.rank", 1), ("lora.targets", 0)),
        ((METHOD, 1), ("lora.rank", 1), ("lora.targets", 1)),
    )


def test_the_nearest_setting_is_of_the_same_method_and_an_ordered_axis_counts_by_its_length() -> None:
    ranks, rates = (2, 4, 8, 16, 32), (1e-4, 1e-3, 1e-2)
    settings = [(method(name, rank=rank), rate) for name in ("lora", "dora") for rank in ranks for rate in rates]
    space = space_of(settings)
    wanted = space.points[settings.index((method("dora", rank=8), 1e-3))]

    def left(*kept: tuple[str, int, float]) -> int:
        return nearest(space, wanted, {settings.index((method(name, rank=rank), rate)) for name, rank, rate in kept})

    assert settings[left(("lora", 8, 1e-3), ("dora", 32, 1e-4))][0].name == "dora"
    assert settings[left(("dora", 8, 1e-2), ("dora", 16, 1e-3))] == (method("dora", rank=16), 1e-3)  # 1/4 before 1/2
    assert settings[left(("dora", 16, 1e-3), ("dora", 4, 1e-3))] == (
        method("dora", rank=4),
        1e-3,
    )  # the first of equals
    assert settings[left(("lora", 2, 1e-4))][0].name == "lora"
