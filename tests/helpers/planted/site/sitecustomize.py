"""Plant the change that ``D2LORA_PLANTED`` names, in every Python process that has this folder on its PYTHONPATH.

A module is changed when it is imported, so a process that trains nothing loads nothing for it.
"""

import importlib.abc
import importlib.util
import os
import sys

KIND = os.environ.get("D2LORA_PLANTED", "")
CODE = ("orchestrator.worker.made_by", "orchestrator.worker.surroundings")
LOSSES = "orchestrator.train.accumulate"


class _Planter(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != LOSSES and name not in CODE:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        load = spec.loader.exec_module

        def load_and_plant(module):
            load(module)
            from tests.helpers import planted

            if name == LOSSES:
                module.answer_losses = planted.losses(KIND, module.answer_losses)
            else:
                module.code_digest = lambda: planted.digest(KIND)

        spec.loader.exec_module = load_and_plant
        return spec


if KIND:
    sys.meta_path.insert(0, _Planter())
