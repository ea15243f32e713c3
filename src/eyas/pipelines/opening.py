"""Which network a sub-module of a pipeline names, and how that is opened."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from eyas.backends import Backend, open_backends
from eyas.backends.device import parse_device
from eyas.bundle import Bundle, NetworkManifest, need_task
from eyas.convert import resolve_model
from eyas.errors import ModelError
from eyas.pipeline_schema import SubModule
from eyas.schema import Runtime
from eyas.store import STORE

_S = TypeVar("_S", bound=SubModule)


@dataclass(frozen=True)
class Opening:
    """A bundle that was checked, and how its network is to run; None: what is fastest."""

    bundle: Bundle
    engine: str | None = None
    threads: int | None = None

    @staticmethod
    def of(module: SubModule, kind: type[NetworkManifest] | None = None) -> "Opening":
        """The opening of the model that `module` names; with `kind`, only a model of that task.

        Raises ModelError where there is no such model, or it is another one than was named.
        """
        bundle = Bundle.open(resolve_model(module.model_name, module.model_dir))
        if kind is not None:
            need_task(bundle.manifest, kind)
        name, found = module.model_name, bundle.manifest.model
        built_in = name in STORE and STORE[name].built_in
        if module.model_dir is not None and name is not None and not built_in and name != found:
            raise ModelError(f"{module.model_dir} holds the model {found}, and {name} was asked for.")
        hpi = module.hpi_config if module.use_hpip else None
        threads = module.engine_config.cpu_threads if module.engine_config else None
        if threads is None and hpi is not None and hpi.backend_config is not None:
            threads = hpi.backend_config.cpu_num_threads
        return Opening(bundle, module.engine or (hpi.backend if hpi else None), threads)

    def backends(self, device: str | None) -> Sequence[Backend]:
        """One loaded network for each device that `device` names.  Raises ConfigError or BackendError."""
        return open_backends(self.bundle, parse_device(device), engine=self.engine, threads=self.threads)


def with_runtime(module: _S, top: Runtime) -> _S:
    """`module`, where what it leaves open of how its network runs is as the top level of the file says."""
    left_open = [key for key in Runtime.model_fields if getattr(module, key) is None]
    return module.model_copy(update={key: getattr(top, key) for key in left_open})
