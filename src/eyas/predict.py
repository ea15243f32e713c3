"""`eyas predict` by configuration file: the results of `Predict.input`, saved as they come."""

from collections.abc import Iterator
from pathlib import Path

from eyas.convert import trained_or_named
from eyas.errors import ConfigError
from eyas.pipelines import create_model
from eyas.results import Detections
from eyas.schema import ModuleConfig


def run(config: ModuleConfig) -> Iterator[Detections]:
    """One result for each sample of `Predict.input`, each saved (JSON and picture) into Global.output.

    Without `Predict.model_dir` the model is the one that training left in Global.output, else the one named by
    Global.model. Raises ConfigError, ModelError or InputError.
    """
    settings, output = config.predict, Path(config.global_.output)
    if settings.input is None:
        raise ConfigError("Predict.input: not given. Name a picture, a folder or a URL: -o Predict.input=PATH")
    model = create_model(
        model_dir=settings.model_dir or trained_or_named(output, config.global_.model),
        device=config.global_.device,
        threshold=settings.threshold,
        batch_size=settings.batch_size,
        use_hpip=settings.use_hpip,
        hpi_config=settings.hpi_config,
        engine=settings.engine,
        engine_config=settings.engine_config,
    )
    inputs = settings.input if isinstance(settings.input, str) else list(settings.input)
    for result in model.predict(inputs):
        result.save_all(output)
        yield result
