"""(a) CPU time of one whole training step: forward, backward and optimizer, against PEFT and against dense weights."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from benchmarks.clock import cpu_seconds
from benchmarks.measure import Result, Target, compare, interleave
from benchmarks.models import llama, one_thread
from benchmarks.step_arms import Arm, dense_arm, move, our_arm, peft_arm, tuned_dense_arm

BENCH = "step_time"
VOCAB = 2048
ROWS, LENGTH = 8, 64
PEFT_LORA, PEFT_DORA = "PEFT LoRA 2r", "PEFT DoRA 2r"
DENSE, DENSE_TUNED = "dense D2-LoRA", "dense D2-LoRA, tuned"
OURS = "D2-LoRA r"
SAME = 1e-4  # float32, sums in another order
TARGETS_OF = {
    OURS: [
        Target(1.05, "at most", PEFT_LORA),
        Target(0.80, "at most", PEFT_DORA),
        Target(0.70, "at most", DENSE),
        Target(0.70, "at most", DENSE_TUNED),
    ]
}
MAKERS: dict[str, Callable[[int], Arm]] = {
    PEFT_LORA: lambda hidden: peft_arm(llama(hidden, VOCAB), dora=False),
    PEFT_DORA: lambda hidden: peft_arm(llama(hidden, VOCAB), dora=True),
    DENSE: lambda hidden: dense_arm(llama(hidden, VOCAB)),
    DENSE_TUNED: lambda hidden: tuned_dense_arm(llama(hidden, VOCAB)),
    OURS: lambda hidden: our_arm(llama(hidden, VOCAB), "d2lora"),
    "D2-LoRA r, readd 0": lambda hidden: our_arm(llama(hidden, VOCAB), "d2lora", readd=0),
    "D2-LoRA r, norms over outputs": lambda hidden: our_arm(llama(hidden, VOCAB), "d2lora", norm_axis="in"),
    "our LoRA 2r": lambda hidden: our_arm(llama(hidden, VOCAB), "lora"),
    "our DoRA 2r": lambda hidden: our_arm(llama(hidden, VOCAB), "dora"),
}
REFERENCES: dict[str, Callable[[int], Arm]] = {  # compared with, not timed
    "definition, readd 0": lambda hidden: dense_arm(llama(hidden, VOCAB), readd=0),
    "definition, norms over outputs": lambda hidden: dense_arm(llama(hidden, VOCAB), norm_axis="in"),
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
    OURS: "readd 1, norms over inputs: the defaults",
    "our LoRA 2r": "same loss and gradients as PEFT LoRA 2r",
    "our DoRA 2r": "same loss and gradients as PEFT DoRA 2r",
}


def measure(quick: bool, say: Callable[[str], None]) -> list[Result]:
    """Time the arms at hidden 512, and in full also at 768 and with four micro batches an optimizer step."""
    one_thread()
    cases = [(512, 1)] if quick else [(512, 1), (768, 1), (512, 4)]
    rounds, times = (3, 2) if quick else (15, 2)
    return [row for hidden, micros in cases for row in _case(hidden, micros, rounds, times, say)]


def _case(hidden: int, micros: int, rounds: int, times: int, say: Callable[[str], None]) -> list[Result]:
    tokens = ROWS * LENGTH
    name = f"hidden {hidden}, {tokens} tokens a step" + (f" x {micros} micro batches" if micros > 1 else "")
    generator = torch.Generator().manual_seed(1)
    batch = [torch.randint(VOCAB, (ROWS, LENGTH), generator=generator) for _ in range(micros)]
    arms = {arm: make(hidden) for arm, make in MAKERS.items()}
    compare_gradients(arms | {arm: make(hidden) for arm, make in REFERENCES.items()}, batch)
    say(f"{name}: losses and gradients of {len(ALIKE)} pairs of arms agree")
    for arm in arms.values():
        arm.step(batch)
    timed = {name: cpu_seconds(lambda arm=arm: arm.step(batch), times) for name, arm in arms.items()}  # type: ignore[misc]
    samples = {arm: [1000 * one for one in found] for arm, found in interleave(timed, rounds, say).items()}
    return compare(
        BENCH, name, samples, reference=PEFT_LORA, unit="CPU ms a step", targets=TARGETS_OF, notes=NOTES
    )  # fmt: skip


def compare_gradients(arms: Mapping[str, Arm], batch: Sequence[Tensor]) -> None:
    """Give arms that should be alike the same parameters, and refuse to time any whose loss or gradients differ."""
    for arm in arms.values():
        move(arm)
    found = {name: arm.gradients(batch) for name, arm in arms.items()}
    for one, other in ALIKE:
        (loss, wanted), (our_loss, got) = found[one], found[other]
        if wanted.keys() != got.keys():
            raise AssertionError(f"{one} and {other} train other tensors: {sorted(wanted.keys() ^ got.keys())[:4]}")
        if not abs(our_loss - loss) <= SAME * abs(loss):
            raise AssertionError(f"{other} has loss {our_loss}, {one} has {loss}")
        for name, gradient in wanted.items():
            distance = float((got[name] - gradient).norm() / gradient.norm())
            if not distance <= SAME:
                raise AssertionError(f"{name}: the gradient of {other} is {distance:.2g} away from that of {one}")
