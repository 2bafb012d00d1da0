"""Makes a champion's directory a model of MLflow's transformers flavour: its weights stay where they are."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from orchestrator import objects

MODEL, TASK = "MLmodel", "text-generation"
TOKENIZER = (
    "config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "chat_template*",
)
COMPONENT = Path("components") / "tokenizer"


def give_flavour(place: Path) -> None:
    """Write MLmodel into a merged Hugging Face directory, so that ``mlflow.transformers.load_model`` opens it.

    The directory itself is MLflow's ``model_binary``, so no weight is copied. MLflow looks for the tokenizer in a
    folder of its own, which gets copies of its files. A directory without config.json stays as it is.
    """
    if (place / MODEL).exists() or not (place / "config.json").exists():
        return
    from mlflow.models import Model

    model = Model()
    model.add_flavor("transformers", transformers_version=version("transformers"), code=None, **_flavour(place))
    (place / COMPONENT).mkdir(parents=True, exist_ok=True)
    for pattern in TOKENIZER:
        for file in place.glob(pattern):
            shutil.copyfile(file, place / COMPONENT / file.name)
    with TemporaryDirectory(dir=place, prefix=".tmp-") as draft:
        model.save(str(Path(draft) / MODEL))
        (Path(draft) / MODEL).replace(place / MODEL)  # last: what has an MLmodel is whole
    for part in (MODEL, "components"):
        objects.put(place / part)


def _flavour(place: Path) -> dict[str, Any]:
    """Return what the flavour says of a directory. MLflow's own builder of it reads transformers 4 alone (3.17)."""
    from mlflow.transformers.flavor_config import FlavorKey

    (architecture,) = json.loads((place / "config.json").read_bytes())["architectures"]
    return {
        FlavorKey.TASK: TASK,
        FlavorKey.INSTANCE_TYPE: "TextGenerationPipeline",
        FlavorKey.MODEL_TYPE: architecture,
        FlavorKey.MODEL_NAME: place.name,
        FlavorKey.MODEL_BINARY: ".",
        FlavorKey.COMPONENTS: [FlavorKey.TOKENIZER],
        FlavorKey.COMPONENT_TYPE.format(FlavorKey.TOKENIZER): "AutoTokenizer",
    }
