"""The networks, by name. `MODELS` is the one table; `build` makes one of them."""

from eyas.errors import ConfigError, did_you_mean
from eyas.models.ppyoloe import PPYOLOE, PPYOLOEConfig

MODELS: dict[str, PPYOLOEConfig] = {
    "PP-YOLOE_plus_SOD-S": PPYOLOEConfig(width=0.5, depth=0.33),
    "PP-YOLOE_plus_SOD-L": PPYOLOEConfig(width=1.0, depth=1.0),
    "PP-YOLOE_plus_SOD-largesize-L": PPYOLOEConfig(width=1.0, depth=1.0, reg_range=(-2, 20)),
    # The small variants are our own. No transformer: it would tie them to the size of their training crops.
    "PP-YOLOE_plus_SOD-XS": PPYOLOEConfig(width=0.25, depth=0.33, encoder_layers=0),
    "PP-YOLOE_plus_SOD-XS-P2": PPYOLOEConfig(width=0.25, depth=0.33, encoder_layers=0, strides=(32, 16, 8, 4)),
}


def build(name: str, num_classes: int, dropout: float = 0.1) -> PPYOLOE:
    """A network with fresh weights. Raises ConfigError for a name that is not in `MODELS`."""
    if name not in MODELS:
        raise ConfigError(f"Global.model: unknown model {name!r}. {did_you_mean(name, MODELS)}")
    return PPYOLOE(MODELS[name], num_classes, dropout)
