"""What the Object Detection API misses in today's TensorFlow and NumPy; applied before its import.

The API was last released in 2022. Each shim says what went away. Stand-ins for packages are made
only where the package is missing, and only for those that the API imports without using them on
the paths that tlx takes.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any, NoReturn

from . import protobuf_hook


class _Missing:
    """Stands for a class of a package that is not installed."""

    def __init__(self, *_arguments: Any, **_keywords: Any) -> None:
        raise RuntimeError("this part of the API needs a package that tlx does not install")


def _missing_function(*_arguments: Any, **_keywords: Any) -> NoReturn:
    raise RuntimeError("this part of the API needs a package that tlx does not install")


def _stand_in(name: str, **attributes: Any) -> ModuleType:
    """Register an empty package under ``name``, with attributes; one that is there stays."""
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__path__ = []
    module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
    vars(module).update(attributes)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    return module


def _absent(package: str) -> bool:
    return package not in sys.modules and importlib.util.find_spec(package) is None


def _unused_packages() -> None:
    """Packages that are imported at the top of the API's modules and not used by us."""
    if _absent("lvis"):  # LVIS metrics
        _stand_in("lvis")
        _stand_in("lvis.lvis", LVIS=_Missing)
        _stand_in("lvis.eval", LVISEval=_Missing)
        _stand_in("lvis.results", LVISResults=_Missing)
    if _absent("tensorflow_io"):  # DeepMAC
        _stand_in("tensorflow_io")
    if _absent("matplotlib"):  # two histogram summaries
        _stand_in("matplotlib", use=lambda *_a, **_k: None)
        _stand_in("matplotlib.pyplot")
    if _absent("scipy"):  # DensePose and the Hungarian matcher
        _stand_in("scipy")
        _stand_in("scipy.io")
        _stand_in("scipy.optimize", linear_sum_assignment=_missing_function)


def _tensorflow() -> None:
    import tensorflow.compat.v1 as tf1
    from tensorflow.python.ops import cond, control_flow_case, control_flow_ops

    if not hasattr(tf1, "estimator"):  # removed in 2.16; the API's TF1 code names it
        tf1.estimator = _stand_in("tensorflow.compat.v1.estimator")
    # Moved in 2.13; tf_slim's example decoder looks for them in the old place.
    for name, function in (("case", control_flow_case.case), ("cond", cond.cond)):
        if not hasattr(control_flow_ops, name):
            setattr(control_flow_ops, name, function)
    if importlib.util.find_spec("tf_keras") is None:
        return
    if importlib.util.find_spec("tensorflow.python.keras.applications") is None:
        # Removed with the last copy of Keras in TensorFlow; CenterNet's ResNet v1 imports it.
        from tf_keras.src.applications import resnet

        _stand_in("tensorflow.python.keras.applications", resnet=resnet)


def _numpy() -> None:
    import numpy as np

    for name, kind in (("float", float), ("int", int), ("bool", bool), ("object", object)):
        if name not in vars(np):  # gone in 1.24; metrics of the API use them
            setattr(np, name, kind)


def _pillow() -> None:
    from PIL import ImageFont

    def getsize(self: Any, text: str, *_arguments: Any, **_keywords: Any) -> tuple[int, int]:
        _, _, right, bottom = self.getbbox(text)
        return int(right), int(bottom)

    fonts: tuple[Any, ...] = (ImageFont.FreeTypeFont, ImageFont.ImageFont)
    for font in fonts:
        if not hasattr(font, "getsize"):  # gone in Pillow 10; drawn evaluation images use it
            font.getsize = getsize


def apply() -> None:
    """Prepare this process for ``import object_detection``; imports TensorFlow."""
    if importlib.util.find_spec("tf_keras") is not None:
        # Read by TensorFlow at its import: tf.keras is Keras 2 then.
        os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    protobuf_hook.install()
    _unused_packages()
    _tensorflow()
    _numpy()
    _pillow()
