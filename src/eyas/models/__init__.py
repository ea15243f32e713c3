"""The networks, by name. `MODELS` is the one table; `build` makes one of them."""

from eyas.errors import ConfigError, did_you_mean
from eyas.models.lcnetv2 import LCNetConfig
from eyas.models.picodet import PicoDet, PicoDetConfig
from eyas.models.ppyoloe import PPYOLOE, PPYOLOEConfig
from eyas.models.recognition import FeatureNet, lcnet_features, vit_features
from eyas.models.vit import ViTConfig

DetectorNetwork = PPYOLOE | PicoDet
Network = DetectorNetwork | FeatureNet

MODELS: dict[str, PPYOLOEConfig | PicoDetConfig | LCNetConfig | ViTConfig] = {
    "PP-YOLOE_plus_SOD-S": PPYOLOEConfig(width=0.5, depth=0.33),
    "PP-YOLOE_plus_SOD-L": PPYOLOEConfig(width=1.0, depth=1.0),
    "PP-YOLOE_plus_SOD-largesize-L": PPYOLOEConfig(width=1.0, depth=1.0, reg_range=(-2, 20)),
    # The small variants are our own. No transformer: it would tie them to the size of their training crops.
    "PP-YOLOE_plus_SOD-XS": PPYOLOEConfig(width=0.25, depth=0.33, encoder_layers=0),
    "PP-YOLOE_plus_SOD-XS-P2": PPYOLOEConfig(width=0.25, depth=0.33, encoder_layers=0, strides=(32, 16, 8, 4)),
    "PP-ShiTuV2_det": PicoDetConfig(),
    "PP-ShiTuV2_rec": LCNetConfig(),
    # Our own, for small data on a CPU. Few blocks: most have no shortcut, and many of those learn slowly from scratch.
    "PP-ShiTuV2_rec-XS": LCNetConfig(scale=0.75, depths=(1, 1, 1, 2), features=256, dropout=0.0),
    "PP-ShiTuV2_rec_CLIP_vit_base": ViTConfig(patch=16, width=768, depth=12, heads=12, class_token=False),
    "PP-ShiTuV2_rec_CLIP_vit_large": ViTConfig(patch=14, width=1024, depth=24, heads=16, class_token=True),
}


def build_detector(name: str, num_classes: int) -> DetectorNetwork:
    """`build` for a detector. Raises ConfigError for another network."""
    model = build(name, num_classes)
    if isinstance(model, FeatureNet):
        raise ConfigError(f"Global.model: {name} is a feature network; expected a detector.")
    return model


def is_feature_network(name: str) -> bool:
    """Whether the network `name` gives features, not detections. Raises ConfigError for an unknown name."""
    return isinstance(_config(name), LCNetConfig | ViTConfig)


def build(name: str, num_classes: int, dropout: float = 0.1) -> Network:
    """A network with fresh weights. `dropout` is that of PP-YOLOE's transformer; the others have their own.

    Raises ConfigError for a name that is not in `MODELS`.
    """
    match config := _config(name):
        case PPYOLOEConfig():
            return PPYOLOE(config, num_classes, dropout)
        case PicoDetConfig():
            return PicoDet(config, num_classes)
        case LCNetConfig():
            return lcnet_features(config, num_classes)
        case ViTConfig():
            return vit_features(config, num_classes)


def _config(name: str) -> PPYOLOEConfig | PicoDetConfig | LCNetConfig | ViTConfig:
    if name not in MODELS:
        raise ConfigError(f"Global.model: unknown model {name!r}. {did_you_mean(name, MODELS)}")
    return MODELS[name]
