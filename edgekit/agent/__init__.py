"""What runs on the device: standard library, numpy and a TFLite runtime; Python >= 3.7; nothing else of edgekit.

The same files run on the host, where audit and evaluate use ``runtime``. For applications on the device::

    from edgekit.agent import load

    model = load("~/.edgekit/models/NAME")
    print(model.predict(image).label)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .application import LoadedModel, load

__all__ = ["LoadedModel", "load"]


def __getattr__(name: str) -> Any:
    # numpy and a runtime only where an application asks for them
    if name in __all__:
        from . import application

        return getattr(application, name)
    raise AttributeError("module %r has no attribute %r" % (__name__, name))
