"""mpstui: is this machine set up to train on its GPU, how fast is it, and is it right?

``from mpstui import Workload, Score`` gives the base class of a custom workload. The import of
torch waits until one of these names is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Score, Workload

__version__ = "0.1.0"
__all__ = ["Score", "Workload", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import api

    return getattr(api, name)
