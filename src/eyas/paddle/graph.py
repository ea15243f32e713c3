"""A network as a list of Paddle operators: what the readers of Paddle's two program formats give."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class Value:
    """One tensor between operators."""

    name: str
    """Unique in the graph."""
    shape: tuple[int, ...]
    """-1 where a side is not known; () is a scalar."""
    dtype: str
    """numpy's name: "float32", "int64", "bool", …"""


@dataclass(frozen=True)
class Op:
    """One operator; every value it names is in `Graph.values`.

    A slot holds a tuple of names: one for a plain tensor, several for a list of tensors, none for an optional tensor
    that is not given.  PIR has positions, so its slots are "0", "1", …; a ProgramDesc has names ("X", "Filter", …).
    """

    kind: str
    """Paddle's name: of PIR without its dialect ("conv2d", "batch_norm_"), of a ProgramDesc as it stands in the file
    ("elementwise_add", "matmul_v2", "reshape2")."""
    inputs: Mapping[str, tuple[str, ...]]
    outputs: Mapping[str, tuple[str, ...]]
    attrs: Mapping[str, object]
    """Plain values: int, float, bool, str, or a list of these."""


@dataclass(frozen=True)
class Graph:
    """Operators in the order in which they run.  Each value is a parameter, an input or the output of one operator.

    Operators that only feed, fetch, declare a parameter or (un)pack a list of tensors are resolved and not in `ops`.
    """

    ops: tuple[Op, ...]
    values: Mapping[str, Value]
    inputs: tuple[str, ...]
    """The values that are fed, by the names that the model gives them ("image", "scale_factor", "x")."""
    outputs: tuple[str, ...]
    """The values that are fetched, in order."""
    parameters: Mapping[str, NDArray[Any]]
    """Value name -> array: read-only, mapped from the file, at any byte offset (so `flags.aligned` may be false)."""
