"""eyas finds small objects in images and recognises things by looking them up in a gallery.

Importing it does nothing: each name below is loaded when it is first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eyas.errors import EyasError
    from eyas.pipelines import create_model, create_pipeline
    from eyas.recognitions import Recognitions
    from eyas.results import Detections, Features

    __version__: str

__all__ = ["Detections", "EyasError", "Features", "Recognitions", "__version__", "create_model", "create_pipeline"]

_HOMES = {
    "Detections": "eyas.results",
    "EyasError": "eyas.errors",
    "Features": "eyas.results",
    "Recognitions": "eyas.recognitions",
    "create_model": "eyas.pipelines",
    "create_pipeline": "eyas.pipelines",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("eyas")
    if name not in _HOMES:
        raise AttributeError(f"module 'eyas' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
