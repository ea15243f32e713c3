"""inference.yml of an exported Paddle model: what is done before and after the network."""

from dataclasses import dataclass

from eyas.vision.preprocess import Preprocess


@dataclass(frozen=True)
class Settings:
    """What inference.yml says beside the network."""

    model_name: str | None
    task: str
    """"detection" or "embedding"."""
    preprocess: Preprocess
    labels: tuple[str, ...]
    """Class names in the order of the class numbers; () for an embedding."""
    threshold: float | None
    """Boxes below this score are not shown; None for an embedding."""
