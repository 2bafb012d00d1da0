"""(a) CPU time of one whole training step: forward, backward and optimizer, against PEFT and against dense weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.measuring.clock import cpu_seconds
from benchmarks.measuring.measure import Result, Target, compare, interleave
from benchmarks.models import ALL, ATTENTION, llama, one_thread
from benchmarks.step_arms import Arm, dense_arm, frozen_arm, move, our_arm, peft_arm, tuned_dense_arm

BENCH = "step_time"
VOCAB = 2048
ROWS, LENGTH = 8, 64
PEFT_LORA, PEFT_DORA = "PEFT LoRA 2r", "PEFT DoRA 2r"
DENSE, DENSE_TUNED = "dense D2-LoRA", "dense D2-LoRA, tuned"
OURS = "D2-LoRA r"
FROZEN = "the base alone"
SAME = 1e-4  # largest relative difference: float32 sums in another order
TARGETS_OF = {
    OURS: [
        Target(1.05, "at most", PEFT_LORA),
        Target(0.80, "at most", PEFT_DORA),
        Target(0.70, "at most", DENSE),
        Target(0.70, "at most", DENSE_TUNED),
    ]
}
MAKERS: dict[str, Callable[[Any, Sequence[str]], Arm]] = {
    PEFT_LORA: lambda model, layers: peft_arm(model, layers, dora=False),
    PEFT_DORA: lambda model, layers: peft_arm(model, layers, dora=True),
    DENSE: dense_arm,
    DENSE_TUNED: tuned_dense_arm,
    OURS: lambda model, layers: our_arm(model, layers, "d2lora"),
    "D2-LoRA r, readd 0": lambda model, layers: our_arm(model, layers, "d2lora", readd=0),
    "D2-LoRA r, norms over outputs": lambda model, layers: our_arm(model, layers, "d2lora", norm_axis="in"),
    "our LoRA 2r": lambda model, layers: our_arm(model, layers, "lora"),
    "our DoRA 2r": lambda model, layers: our_arm(model, layers, "dora"),
    FROZEN: frozen_arm,
}
REFERENCES: dict[str, Callable[[Any, Sequence[str]], Arm]] = {  # arms that are compared, but not timed
    "definition, readd 0": lambda model, layers: dense_arm(model, layers, readd=0),
    "definition, norms over outputs": lambda model, layers: dense_arm(model, layers, norm_axis="in"),
}
ALIKE = [  # arms that compute the same thing
    (PEFT_LORA, "our LoRA 2r"),
    (PEFT_DORA, "our DoRA 2r"),
    (DENSE, DENSE_TUNED),
    (DENSE, OURS),
    ("definition, readd 0", "D2-LoRA r, readd 0"),
    ("definition, norms over outputs", "D2-LoRA r, norms over outputs"),
]
NOTES = {
    PEFT_LORA: "no dropout; PEFT has no faster setting for training",
    PEFT_DORA: "no dropout, so PEFT reuses the base product; its cache acts in evaluation only",
    DENSE: "the definition: W_eff built by autograd in every layer and pass",
    DENSE_TUNED: "the same, with W's norms kept and one product for both pairs",
    FROZEN: "no adapters: forward, and backward to the first block; what every arm pays before it adds anything",
    OURS: "readd 1, norms over inputs: the defaults",
    "our LoRA 2r": "same loss and gradients as PEFT LoRA 2r",
    "our DoRA 2r": "same loss and gradients as PEFT DoRA 2r",
}


@dataclass(frozen=True)
class Case:
    """A case to time: the model's hidden size, the adapted layers, and the micro batches per optimizer step."""

    hidden: int
    layers: Sequence[str]
    micros: int = 1

    @property
    def name(self) -> str:
        """The case's name in tables."""
        what = "all linear layers" if self.layers == ALL else "attention"
        often = f" x {self.micros} micro batches" if self.micros > 1 else ""
        return f"hidden {self.hidden}, {what}, {ROWS * LENGTH} tokens a step{often}"

    def arm(self, make: Callable[[Any, Sequence[str]], Arm]) -> Arm:
        """Return an arm that ``make`` builds on a new model."""
        return make(llama(self.hidden, VOCAB), self.layers)


CASES = [Case(512, ALL), Case(512, ATTENTION), Case(768, ALL), Case(512, ALL, micros=4)]


def measure(quick: bool, say: Callable[[str], None]) -> list[Result]:
    """Time the arms in all cases; in quick mode, in the first case."""
    one_thread()
    rounds, times = (3, 2) if quick else (9, 3)
    return [row for case in CASES[: 1 if quick else None] for row in _case(case, rounds, times, say)]


def _case(case: Case, rounds: int, times: int, say: Callable[[str], None]) -> list[Result]:
    generator = torch.Generator().manual_seed(1)
    batch = [torch.randint(VOCAB, (ROWS, LENGTH), generator=generator) for _ in range(case.micros)]
    arms = {arm: case.arm(make) for arm, make in MAKERS.items()}
    compare_gradients(arms | {arm: case.arm(make) for arm, make in REFERENCES.items()}, batch)
    say(f"{case.name}: losses and gradients of {len(ALIKE)} pairs of arms agree")
    for arm in arms.values():
        arm.step(batch)
    timed = {name: cpu_seconds(lambda arm=arm: arm.step(batch), times) for name, arm in arms.items()}  # type: ignore[misc]
    samples = {arm: [1000 * one for one in seconds] for arm, seconds in interleave(timed, rounds, say).items()}
    return compare(
        BENCH, case.name, samples, reference=PEFT_LORA, unit="CPU ms a step", targets=TARGETS_OF, notes=NOTES
    )  # fmt: skip


def compare_gradients(arms: Mapping[str, Arm], batch: Sequence[Tensor]) -> None:
    """Give all arms random parameters; AssertionError if the loss or a gradient differs in a pair of `ALIKE`."""
    for arm in arms.values():
        move(arm)
    results = {name: arm.gradients(batch) for name, arm in arms.items()}
    for one, other in ALIKE:
        (loss, wanted), (our_loss, got) = results[one], results[other]
        if wanted.keys() != got.keys():
            raise AssertionError(f"{one} and {other} train other tensors: {sorted(wanted.keys() ^ got.keys())[:4]}")
        if not abs(our_loss - loss) <= SAME * abs(loss):
            raise AssertionError(f"{other} has loss {our_loss}, {one} has {loss}")
        for name, gradient in wanted.items():
            distance = float((got[name] - gradient).norm() / gradient.norm())
            if not distance <= SAME:
                raise AssertionError(f"{name}: the gradient of {other} is {distance:.2g} away from that of {one}")
