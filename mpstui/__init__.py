"""mpstui: is this machine set up to train on its GPU, how fast is it, and is it right?

``mpstui.record`` and ``mpstui.log`` record the user's own training; ``from mpstui import Workload,
Score`` gives the base class of a custom workload. The import of torch waits until one of the last
two is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Score, Workload
    from .recording.api import Recording, log, record

__version__ = "0.1.0"
__all__ = ["Recording", "Score", "Workload", "__version__", "log", "record"]

_MODULES = {
    "Recording": ".recording.api",
    "log": ".recording.api",
    "record": ".recording.api",
    "Score": ".api",
    "Workload": ".api",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name], __name__), name)
