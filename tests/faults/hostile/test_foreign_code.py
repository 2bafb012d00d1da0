"""Code that comes with a base is never run: auto_map at every place, a tokenizer with code, pickles beside weights."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.hostile.canary import Canary
from tests.faults.hostile.test_data_sets import prepares
from tests.faults.hostile.verdict import end_of_job

CODE = "from pathlib import Path\nPath({canary!r}).touch()\nclass X: pass\n"
MAP = {"AutoConfig": "foreign.X", "AutoModelForCausalLM": "foreign.X", "AutoTokenizer": ["foreign.X", "foreign.X"]}
Change = Callable[[Path], None]


def changed(file: str, **values: object) -> Change:
    """Return what changes keys of a JSON file of the base; a value of None takes the key away."""

    def change(base: Path) -> None:
        content = json.loads((base / file).read_text()) | values
        (base / file).write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return change


def pickled(name: str) -> Change:
    return lambda base: (base / name).write_bytes(pickle.dumps(Canary(base / "canary")))


CASES: dict[str, tuple[int, Change]] = {
    "a config of a known type with code": (0, changed("config.json", auto_map=MAP)),
    "a config of an unknown type with code": (2, changed("config.json", auto_map=MAP, model_type="foreign")),
    "a config that trusts itself": (2, changed("config.json", auto_map=MAP, model_type="x", trust_remote_code=True)),
    "a config without type": (2, changed("config.json", auto_map=MAP, model_type=None)),
    "code of another repository": (2, changed("config.json", auto_map={"AutoConfig": "a/b--f.X"}, model_type="x")),
    "an inner config with code": (0, changed("config.json", text_config={"auto_map": MAP, "model_type": "foreign"})),
    "a tokenizer with code": (0, changed("tokenizer_config.json", auto_map=MAP)),
    "a tokenizer of a class with code": (0, changed("tokenizer_config.json", auto_map=MAP, tokenizer_class="X")),
    "generation with code": (0, changed("generation_config.json", custom_generate="foreign", auto_map=MAP)),
    "a pickle of weights beside": (0, pickled("pytorch_model.bin")),
    "a pickle of an optimizer beside": (0, pickled("optimizer.pt")),
    "a pickle of generators beside": (0, pickled("rng_state.pth")),
    "a pickle as weights": (2, pickled("model.safetensors")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_code_of_a_base_is_not_run(name: str, recipe: Path, tmp_path: Path, small_base: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(small_base, base)
    (base / "foreign.py").write_text(CODE.format(canary=str(base / "canary")))
    expected, change = CASES[name]
    change(base)
    outcome = end_of_job(prepares, [str(recipe), f"model.path={base}", "tasks=[tiny_recall]"])
    assert not (base / "canary").exists()
    assert outcome.code in (expected, 2), outcome.told  # to refuse what could be taken is no danger
    assert not outcome.code or not [one for one in outcome.faults("base") if not one.endswith(" s")], outcome.told


def test_the_canary_sings_if_its_pickle_is_opened(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Canary(tmp_path / "canary"))).close()
    assert (tmp_path / "canary").exists()
