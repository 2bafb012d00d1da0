"""Dropout by counter: the definition in plain Python, its statistics, and what a mask does not depend on."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import d2lora
from d2lora.device_profile import CPU, PROFILES
from d2lora.layers import dropout
from d2lora.layers.dropout import dropped, keep_mask, keys_tensor, layer_salt, row_key
from tests.d2lora.layers.test_adapted import lane

FEATURES = 7


def slow_mask(seed: int, salt: int, step: int, place: int, length: int, features: int, rate: float) -> Tensor:
    """SplitMix64 as its authors print it, in Python's own integers, one number at a time."""

    def finalise(z: int) -> int:
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        return z ^ (z >> 31)

    key = 0
    for part in (seed, step, place):
        key = finalise(((key ^ (part % 2**64)) + 0x9E3779B97F4A7C15) % 2**64)
    state = key ^ (salt % 2**64)
    words = (features + 1) // 2
    kept = []
    for number in range(length * words):
        word = finalise((state + (number + 1) * 0x9E3779B97F4A7C15) % 2**64)
        for half in (word % 2**32, word >> 32):
            signed = half - 2**32 if half >= 2**31 else half
            kept.append(signed >= round(rate * 2**32) - 2**31)
    return torch.tensor(kept).view(length, 2 * words)[:, :features]


def mask_of(rows: list[tuple[int, int, int]], length: int, features: int, rate: float, salt: int = 0) -> Tensor:
    """The mask of rows (seed, step, place) of equal length, (rows, length, features): what ones become."""
    keys_B = keys_tensor([row_key(*row) for row in rows], torch.device("cpu")) ^ salt
    ones_MI = torch.ones(len(rows) * length, features)
    return dropped(ones_MI, [rate], [(len(rows), length)], keys_B).view(len(rows), length, features) != 0


@pytest.mark.parametrize("chunk", [1, 2**15])
@pytest.mark.parametrize("features", [1, 2, 7, 8])
@pytest.mark.parametrize("rate", [1e-9, 0.05, 0.5, 1 - 1e-12])
def test_masks_are_those_of_the_definition(
    chunk: int, features: int, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROFILES, "cpu", replace(CPU, dropout_words=chunk))
    rows = [(0, 0, 0), (5, 2**40, 3), (-1, 7, 2**33), (2**63 + 1, 1, 1), (2**64, 0, 0)]
    salt = layer_salt("model.layers.3.q_proj")
    for mask, (seed, step, place) in zip(mask_of(rows, 5, features, rate, salt), rows, strict=True):
        assert torch.equal(mask, slow_mask(seed, salt, step, place, 5, features, rate))


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.9])
def test_masks_look_drawn_at_random(rate: float) -> None:
    """Shares, and correlations between neighbours of every kind, within five standard errors of chance."""
    axes = {"seed": range(6), "step": range(6), "place": range(6), "position": range(40), "feature": range(64)}
    rows = list(itertools.product(*list(axes.values())[:3]))
    kept = mask_of(rows, 40, 64, rate).view([len(values) for values in axes.values()]).double()
    centred = (kept - (1 - rate)) / (rate * (1 - rate)) ** 0.5
    assert abs(float(centred.mean())) < 5 / centred.numel() ** 0.5
    variance_error = ((1 - 2 * rate) ** 2 / (rate * (1 - rate)) / centred.numel()) ** 0.5
    assert abs(float(centred.square().mean()) - 1) < 5 * variance_error + 1e-3
    for dim in range(5):  # neighbours in each direction; a mask that repeats would correlate by 1
        for apart in (1, 2):
            size = centred.shape[dim]
            product = centred.narrow(dim, apart, size - apart) * centred.narrow(dim, 0, size - apart)
            assert abs(float(product.mean())) < 5 / product.numel() ** 0.5, (list(axes)[dim], apart)
    for other in (1, 2**32, 2**63 - 1):  # other layers
        salted = mask_of(rows, 40, 64, rate, salt=layer_salt(f"layer {other}")).double().view_as(centred)
        product = centred * (salted - (1 - rate)) / (rate * (1 - rate)) ** 0.5
        assert abs(float(product.mean())) < 5 / product.numel() ** 0.5


def test_every_row_of_a_long_run_has_a_key_of_its_own() -> None:
    rows = itertools.product(range(20), range(100), range(64))
    assert len({row_key(*row) for row in rows}) == 20 * 100 * 64


def two_layers(rates: tuple[float, ...], seeds: tuple[int, ...] = (3, 4, 5)) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6)).double()
    lanes = [lane("lora", seed, dropout=rate) for seed, rate in zip(seeds, rates, strict=False)]
    d2lora.attach_lanes(model, lanes, ["*"])
    for layer in (model[0], model[2]):
        for index in range(len(lanes)):
            for parameter in layer.params(index).values():
                nn.init.normal_(parameter, generator=torch.Generator().manual_seed(9))
    return model


def test_a_row_is_dropped_alike_in_any_micro_batch_pack_and_padding() -> None:
    model = two_layers((0.3, 0.5, 0.0))
    x = torch.randn(9, 4, 6, dtype=torch.float64)
    with d2lora.lane_rows(model, [4, 3, 2], draw=11):
        whole = model(x)
    for rows, counts, places in (
        (slice(0, 2), [2, 0, 0], [0, 1]),
        (slice(2, 4), [2, 0, 0], [2, 3]),
        (slice(3, 6), [1, 2, 0], [3, 0, 1]),
        (slice(6, 9), [0, 1, 2], [2, 0, 1]),
    ):
        with d2lora.lane_rows(model, counts, draw=11, places=places):
            torch.testing.assert_close(model(x[rows]), whole[rows], rtol=1e-12, atol=1e-12)
    alone = two_layers((0.5,), seeds=(4,))
    with d2lora.lane_rows(alone, [3], draw=11):
        torch.testing.assert_close(alone(x[4:7]), whole[4:7], rtol=1e-12, atol=1e-12)
        padded = alone(torch.cat([x[4:7], torch.zeros(3, 2, 6, dtype=torch.float64)], 1))[:, :4]
        torch.testing.assert_close(padded, whole[4:7], rtol=1e-12, atol=1e-12)
    with d2lora.lane_rows(model, [4, 3, 2], draw=11, lengths=[4, 4, 4]):
        torch.testing.assert_close(model(x.flatten(0, 1)).view_as(whole), whole, rtol=1e-12, atol=1e-12)


def test_other_steps_places_layers_and_seeds_drop_otherwise() -> None:
    x = torch.ones(2, 50, 6, dtype=torch.float64)

    def drop(draw: int = 0, places: tuple[int, ...] = (0, 1), seed: int = 3) -> Tensor:
        model = two_layers((0.5,), seeds=(seed,))
        with d2lora.lane_rows(model, [2], draw=draw, places=places):
            extents = model[0].batch_rows.extents(1, x.shape[:-1])
            return torch.stack([model[index]._dropped(x.flatten(0, 1), extents).view_as(x) for index in (0, 0, 2)])

    first = drop()
    assert torch.equal(first[0], first[1])
    for other in (first[2], drop(draw=1)[0], drop(seed=4)[0], drop(places=(1, 0))[0], first[0].flip(0)):
        assert 0.3 < float((other != first[0]).double().mean()) < 0.7
    assert torch.equal(drop(places=(1, 0))[0], first[0].flip(0))


def test_global_generators_neither_decide_nor_notice() -> None:
    model, x = two_layers((0.5,)), torch.randn(2, 3, 6, dtype=torch.float64)
    torch.manual_seed(1)
    before, first = torch.get_rng_state(), model(x)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(model(x), first)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_what_is_kept_is_scaled_once_in_every_type_and_so_is_its_gradient(dtype: torch.dtype) -> None:
    x_MI = torch.randn(12, FEATURES, dtype=dtype, requires_grad=True)
    keys_B = keys_tensor([row_key(0, 0, place) for place in range(4)], torch.device("cpu"))
    y_MI = dropped(x_MI, [0.25, 0.0], [(2, 3), (2, 3)], keys_B)
    assert y_MI.dtype == dtype
    kept = torch.ones(12, FEATURES, dtype=torch.float64)
    kept[:6] = keep_mask(token_keys(keys_B[:2], 3), FEATURES, 0.25) / torch.tensor(0.75, dtype=torch.float64)
    torch.testing.assert_close(y_MI.double(), x_MI.double() * kept, rtol=2 * torch.finfo(dtype).eps, atol=0)
    (gradient,) = torch.autograd.grad(y_MI.sum(), x_MI)
    torch.testing.assert_close(gradient.double(), kept, rtol=torch.finfo(dtype).eps, atol=0)


def token_keys(keys_B: Tensor, length: int) -> Tensor:
    (keys_M,) = dropout._token_keys(keys_B, 0, [(len(keys_B), length)], FEATURES)
    return keys_M


def test_a_large_mask_takes_little_time_and_no_large_integers() -> None:
    """4 rows of 512 x 3072: well under 0.05 s on a thread that has its processor to itself (measured: 0.018 s)."""
    keys_M = torch.arange(4 * 512)
    peak = 0

    class Peak(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal peak
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor) and result.dtype == torch.int64:
                peak = max(peak, result.untyped_storage().nbytes())
            return result

    with Peak():
        assert keep_mask(keys_M, 3072, 0.1).shape == (4 * 512, 3072)
    assert peak <= 8 * 2**15
    seconds = []
    for _ in range(5):
        begin = time.thread_time()  # of this thread alone: other tests may be running
        keep_mask(keys_M, 3072, 0.1)
        seconds.append(time.thread_time() - begin)
    assert min(seconds) < 0.1  # twice and more what it takes, for slower processors; a CPU generator took 0.073


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_an_accelerator_draws_the_same_masks() -> None:
    keys_M = keys_tensor([row_key(1, 2, place) for place in range(300)], torch.device("cpu"))
    wanted = keep_mask(keys_M, 3071, 0.1)
    assert torch.equal(keep_mask(keys_M.cuda(), 3071, 0.1).cpu(), wanted)


@pytest.mark.parametrize(
    ("counts", "values", "message"),
    [
        ([2, 2], {"places": [0, 1, 2]}, "3 places for 4 rows: give each row its place"),
        (None, {"places": [0]}, "1 places and no counts"),
        ([1, 2, 3], {}, r"counts \[1, 2, 3\] for 2 lanes"),
        ([-1, 2], {}, r"counts \[-1, 2\] for 2 lanes: give each its rows, 0 or more"),
    ],
)
def test_places_and_counts_that_do_not_go_together_are_refused(
    counts: list[int] | None, values: dict[str, list[int]], message: str
) -> None:
    model = two_layers((0.5, 0.5))
    with pytest.raises(ValueError, match=message), d2lora.lane_rows(model, counts, **values):
        pass
    assert model[0].batch_rows.counts is model[0].batch_rows.places is None
