"""Save and commit a run, and strike at every system call that changes a file: kill the process, or let the call fail.

usage: LD_PRELOAD=SHIM every_call.py SHIM FOLDER ERROR ALWAYS     (SHIM is built from tests/faults/durable_calls.c)

ERROR is 0 (SIGKILL) or an errno; with ALWAYS=1 every later call fails too. For N = 1, 2, ... a forked process does the
work, and is struck at its N-th call. After each the state on disk is checked, and the work is done again without a
strike. Prints a JSON object: how many strikes, and each violation in words.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from orchestrator.errors import RunError
from orchestrator.files import write_lines
from orchestrator.store.adapters import save_adapter
from orchestrator.store.checkpoint import Checkpoint, sound_checkpoints, write_checkpoint
from orchestrator.store.leftovers import remove_drafts
from orchestrator.store.run_folder import RunFolder

KEY = "0123456789abcdef"
STEPS = (10, 20, 30)


def state(step: int) -> Checkpoint:
    """Return the only right checkpoint at a step."""
    tensors = {f"layer{index}.up": torch.full((4, 3), float(step + index)) for index in range(2)}
    log = b"".join(b'{"step": %d, "train_loss": 0.5, "tokens": 8}\n' % number for number in range(step))
    first, second = ({name: tensor.clone() for name, tensor in tensors.items()} for _ in range(2))
    return Checkpoint(KEY, step, (KEY,), tensors, first, second, step, log, seconds=float(step))


def work(run: Path, say: Callable[[str], None]) -> None:
    """Go on from the newest checkpoint, save at each of STEPS, and commit."""
    folder = RunFolder(run)
    attempt = folder.begin({"seed": 0})
    begun = max(sound_checkpoints(run, KEY), default=0)
    for step in STEPS:
        if step > begun:
            try:
                write_checkpoint(attempt.path, state(step))
            except OSError:
                continue  # as in a trainer: a disk that fails costs a checkpoint
            say(f"saved {step}")
    (attempt.path / "metrics.jsonl").write_bytes(state(STEPS[-1]).log)
    save_adapter(
        attempt.path / "adapter", state(STEPS[-1]).adapter, {"method": "lora", "config": {}, "layers": {}, "base": "b"}
    )
    write_lines(attempt.path / "predictions.jsonl", [{"index": 0, "answer": 1}])
    attempt.commit({"run_key": KEY, "accuracy": 0.5})
    say("committed")


def struck(run: Path, arm: Callable[[], None]) -> list[str]:
    """Do the work in a process that is struck; return its words."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        arm()
        code = 0
        try:
            work(run, lambda word: os.write(writer, f"{word}\n".encode()) and None)
        except (OSError, RunError):
            code = 3
        os.write(writer, f"calls {shim.counted()}\n".encode())
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as words:
        said = words.read().splitlines()
    os.waitpid(child, 0)
    return said


def violations(run: Path, said: list[str]) -> list[str]:
    """Return what is wrong on disk after a strike, and after the work was done again."""
    wrong = []
    folder, sound = RunFolder(run), sound_checkpoints(run, KEY) if run.exists() else {}
    for step, checkpoint in sound.items():
        if not torch.equal(checkpoint.read(KEY).adapter["layer1.up"], state(step).adapter["layer1.up"]):
            wrong.append(f"the checkpoint of step {step} holds another state")
    saved = [int(word.split()[1]) for word in said if word.startswith("saved")]
    if "committed" in said:
        if folder.ended() != "committed":
            wrong.append("a commit is lost")
    elif not folder.ended() and max(saved, default=0) > max(sound, default=0):
        wrong.append(f"the checkpoint of step {max(saved)} is lost")
    remove_drafts(run)  # as a driver does at its start
    if not folder.ended():
        work(run, lambda word: None)
    try:
        folder.verify()
    except RunError as error:
        wrong.append(str(error))
    if folder.row() != {"run_key": KEY, "accuracy": 0.5}:
        wrong.append("the row is another")
    wrong += [f"{place.name} is left" for place in run.rglob(".tmp-*")]
    return wrong


if __name__ == "__main__":
    shim = ctypes.CDLL(sys.argv[1])
    place, error, always = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    wrong: list[str] = []
    strikes = 0
    for number in range(1, 2000):
        run = place / str(number) / KEY
        said = struck(run, partial(shim.arm, ctypes.c_long(number), error, always))
        calls = [int(word.split()[1]) for word in said if word.startswith("calls")]
        if calls and calls[0] < number:
            break
        strikes += 1
        wrong += [f"call {number}: {what}" for what in violations(run, said)]
    sys.stdout.write(json.dumps({"strikes": strikes, "wrong": wrong}))
