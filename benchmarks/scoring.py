"""(c) Questions scored per CPU second, from text to log-likelihoods, against lm-eval's Hugging Face backend."""

import copy
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

import d2lora
from benchmarks.measuring.measure import Result, Target, compare, interleave
from benchmarks.models import llama, one_thread
from benchmarks.questions import make_examples, word_tokenizer
from orchestrator.data.example import Example
from orchestrator.data.tokenise import tokenise
from orchestrator.train.engine.plain import OneProcess
from orchestrator.train.score import score_items

BENCH = "scoring"
HIDDEN, VOCAB, LONGEST = 512, 32_768, 256
BATCH_SIZES = (1, 4, 16)  # larger batches were slower on a CPU, because they have more padding
DEFAULT = 1  # lm-eval's default batch size
CLOSE = 1e-4  # largest difference of a log-likelihood, in nats
OURS, OURS_APART = "ours", "ours, choices apart"
PEER, PEER_TUNED = "lm-eval, default", "lm-eval, best batch"
Scores = list[list[float]]
Arm = Callable[[Sequence[Example]], Scores]


def measure(quick: bool, say: Callable[[str], None]) -> list[Result]:
    """Time each scorer, with the same weights, on questions of four choices and of two choices."""
    one_thread()
    model, tokenizer = llama(HIDDEN, VOCAB).eval(), word_tokenizer(VOCAB)
    questions, rounds = (6, 3) if quick else (32, 5)
    return [row for choices in (4, 2) for row in _case(choices, questions, rounds, model, tokenizer, say)]


def _case(
    choices: int, count: int, rounds: int, model: Any, tokenizer: Any, say: Callable[[str], None]
) -> list[Result]:
    examples = make_examples(count, choices=choices, vocab=VOCAB, seed=choices)
    peers = {size: lm_eval_arm(model, tokenizer, size) for size in BATCH_SIZES}
    rates = {size: _rate(peer, examples[: count // 2])() for size, peer in peers.items()}
    best = max(rates, key=rates.__getitem__)
    say(f"{choices} choices: lm-eval by batch size: {', '.join(f'{size}: {rates[size]:.3g}/s' for size in rates)}")
    arms: dict[str, Arm] = {
        PEER_TUNED: peers[best],
        PEER: peers[DEFAULT],
        OURS: our_arm(model, tokenizer, share=True),
        OURS_APART: our_arm(model, tokenizer, share=False),
    }
    furthest = check(arms, examples)
    say(f"{choices} choices: the same predictions, log-likelihoods within {furthest:.1g}")
    least = {4: 4.0, 2: 2.0}[choices]
    samples = interleave({name: _rate(arm, examples) for name, arm in arms.items()}, rounds, say)
    return compare(
        BENCH,
        f"{choices} choices, {count} questions, V = {VOCAB}",
        samples,
        reference=PEER_TUNED,
        unit="questions a CPU second",
        targets={OURS: [Target(least, "at least", PEER_TUNED), Target(least, "at least", PEER)]},
        notes={
            PEER_TUNED: f"batch_size={best}, the fastest of {', '.join(map(str, BATCH_SIZES))}",
            PEER: f"batch_size={DEFAULT}",
            OURS: f"choices share their prompt; log-likelihoods within {furthest:.1g} of lm-eval's",
            OURS_APART: "what models that take no mask get: a row a choice",
        },
    )


def lm_eval_arm(model: Any, tokenizer: Any, batch_size: int) -> Arm:
    """Return lm-eval's scorer, on the given model object."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of a model object, which is intended here
    backend = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch_size, device="cpu")

    def score(examples: Sequence[Example]) -> Scores:
        pairs = [(example.prompt, choice) for example in examples for choice in example.choices]
        asked = [
            Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=index)
            for index, pair in enumerate(pairs)
        ]
        answers = iter(backend.loglikelihood(asked, disable_tqdm=True))
        return [[float(next(answers)[0]) for _ in example.choices] for example in examples]

    return score


def our_arm(model: Any, tokenizer: Any, *, share: bool) -> Arm:
    """Return this project's scorer; its time includes tokenising, as lm-eval's does."""
    engine = OneProcess(d2lora.freeze(copy.deepcopy(model)), torch.device("cpu"))  # as a champion is scored

    def score(examples: Sequence[Example]) -> Scores:
        items = tokenise(examples, tokenizer, LONGEST)
        return [list(one.scores) for one in score_items(engine, {0: items}, lanes=0, share=share)[0]]

    return score


def check(arms: dict[str, Arm], examples: Sequence[Example]) -> float:
    """Return the largest difference of log-likelihoods; AssertionError above `CLOSE`, or if a prediction differs."""
    scores_of = {name: arm(examples) for name, arm in arms.items()}
    wanted = scores_of[PEER]
    furthest = 0.0
    for name, scores in scores_of.items():
        for number, (got, right) in enumerate(zip(scores, wanted, strict=True)):
            furthest = max(furthest, *(abs(a - b) for a, b in zip(got, right, strict=True)))
            if furthest > CLOSE or got.index(max(got)) != right.index(max(right)):
                raise AssertionError(f"question {number}: {name} gives {got}, lm-eval {right}")
    return furthest


def _rate(arm: Arm, examples: Sequence[Example]) -> Callable[[], float]:
    def measured() -> float:
        begin = time.process_time()
        arm(examples)
        return len(examples) / (time.process_time() - begin)

    return measured
