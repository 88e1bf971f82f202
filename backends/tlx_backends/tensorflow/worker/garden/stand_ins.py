"""Empty packages for what the Garden imports at the top of modules and detectors never use."""

from __future__ import annotations

from ..shims import _absent, _missing_function, _stand_in


def install() -> None:
    """Register stand-ins for the packages that are not installed."""
    if _absent("tensorflow_datasets"):  # data sets of the hub; ours are records
        _stand_in("tensorflow_datasets")
    if _absent("cv2"):  # masks
        _stand_in("cv2")
    if _absent("matplotlib"):  # drawn evaluation images
        _stand_in("matplotlib", use=lambda *_a, **_k: None)
        _stand_in("matplotlib.pyplot")
    if _absent("scipy"):  # the Hungarian matcher
        _stand_in("scipy")
        _stand_in("scipy.io")
        _stand_in("scipy.linalg")
        _stand_in("scipy.optimize", linear_sum_assignment=_missing_function)
