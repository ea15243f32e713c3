"""How a result is named, written and printed: the part that every kind of result shares."""

import json
import os
import re
import secrets
import sys
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from eyas.errors import ConfigError, InputError

if TYPE_CHECKING:
    from PIL import Image

Text = str  # `Result.str` hides the builtin inside the class
Labels = Literal["auto", "always", "never"]
"""Which labels a picture carries; see `eyas.vision.draw`."""

PathLike = str | os.PathLike[str]

WRITABLE_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm")
_MAX_STEM_BYTES = 200  # file systems allow 255 bytes a name; the rest is for `_res`, the suffix and a number
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*\\/]')
# json.dumps leaves these control characters as they are, and terminals obey them.
_C1_CONTROLS = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}


def array_stem() -> str:
    """A name for an image that has none: `{seconds since 1970}_{four random digits}`, as PaddleX names arrays."""
    return f"{int(time.time())}_{1000 + secrets.randbelow(9000)}"


def safe_stem(name: str) -> str:
    """`name` as one file name without suffix: separators, control characters and over-long names are replaced."""
    clean = _UNSAFE.sub("_", name).strip(". ")
    raw = clean.encode("utf-8", "surrogateescape")
    if len(raw) > _MAX_STEM_BYTES:
        clean = raw[: _MAX_STEM_BYTES - 9].decode("utf-8", "ignore") + "_" + sha256(raw).hexdigest()[:8]
    return clean or "image"


def safe_relative(name: str) -> str:
    """A relative path without suffix, each part made safe; it never leads out of the folder it is joined to."""
    parts = [safe_stem(part) for part in PurePosixPath(name).parts if part not in ("/", "//", "..")]
    return "/".join(parts) or "image"


def suffix_of(input_path: str | None) -> str:
    """The lower-case suffix, with its dot, of a path or URL; "" where there is none."""
    if input_path is None:
        return ""
    path = urlsplit(input_path).path if re.match(r"https?://", input_path, re.IGNORECASE) else input_path
    return Path(path).suffix.lower()


def target_file(save_path: PathLike, default_name: str, suffixes: Iterable[str]) -> Path:
    """Where to write: `save_path` itself when it ends in one of `suffixes`, else `save_path/default_name`.

    Missing folders are made. Raises ConfigError when a folder is needed where a file stands.
    """
    path = Path(save_path)
    named_file = path.suffix.lower() in tuple(suffixes) and not path.is_dir()
    target = path if named_file else path / default_name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        expected = " or ".join(sorted(suffixes))
        raise ConfigError(
            f"cannot save under {str(path)!r}: {error.filename!r} is a file. "
            f"Expected a folder, or a file name that ends in {expected}."
        ) from error
    return target


def write_atomically(target: Path, data: bytes) -> None:
    """Write `data` to `target` so that a reader sees the old file or the whole new one, never a part."""
    temporary = target.parent / f".eyas-{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8; a file name that is not valid UTF-8 is kept as a JSON escape."""
    write_atomically(target, text.encode("utf-8", "backslashreplace"))


def write_line(text: str) -> None:
    """One line on standard output. Characters that the terminal's encoding lacks are escaped, not fatal."""
    encoding = sys.stdout.encoding or "utf-8"
    safe = text.translate(_C1_CONTROLS).encode(encoding, "backslashreplace").decode(encoding)
    sys.stdout.write(safe + "\n")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Result(Mapping[Text, Any]):
    """What a model found in one sample: where that came from, and how it is read as a dict, printed and saved as JSON.

    image: the upright picture, uint8 RGB [H, W, 3], or None. output_name: relative name for saved files.
    As a mapping it has the keys of `KEYS`, each of them an attribute or a case of `__getitem__` in the subclass;
    `res["input_img"]` gives the image as BGR.
    """

    KEYS: ClassVar[tuple[Text, ...]]

    input_path: Text | None = None
    page_index: int | None = None
    image: NDArray[np.uint8] | None = None
    output_name: Text | None = None

    @abstractmethod
    def _summary(self) -> Text:
        """What was found, in a word or two."""

    def with_source(
        self,
        input_path: Text | None,
        page_index: int | None = None,
        *,
        image: NDArray[np.uint8] | None = None,
        output_name: Text | None = None,
    ) -> Self:
        """The same result, said to come from that file, page and image."""
        return replace(self, input_path=input_path, page_index=page_index, image=image, output_name=output_name)

    def to_dict(self) -> dict[Text, Any]:
        """The result as plain dicts, lists, strings and numbers, as PaddleX writes it to JSON."""
        return dict(self)

    def __getitem__(self, key: Text) -> Any:
        if key in self.KEYS:
            return getattr(self, key)
        if key == "input_img" and self.image is not None:
            return np.ascontiguousarray(self.image[..., ::-1])
        raise KeyError(key)

    def __iter__(self) -> Iterator[Text]:
        return iter(self.KEYS)

    def __len__(self) -> int:
        return len(self.KEYS)

    def __repr__(self) -> Text:
        page = "" if self.page_index is None else f", page_index={self.page_index}"
        return f"{type(self).__name__}({self._summary()}, input_path={self.input_path!r}{page})"

    @cached_property
    def _nameless_stem(self) -> Text:
        return array_stem()  # cached: one result object keeps one name

    @property
    def stem(self) -> Text:
        """The relative name, without suffix, under which this sample is saved: `photo`, `sub/photo`, `scan_2`."""
        if self.output_name is not None:
            return safe_relative(self.output_name)
        if self.input_path is None:
            return self._nameless_stem
        page = "" if self.page_index is None else f"_{self.page_index}"
        return safe_stem(Path(self.input_path).stem + page)

    def print(
        self,
        format_json: bool = True,
        indent: int = 4,
        ensure_ascii: bool = False,
        *,
        json_format: bool | None = None,
    ) -> None:
        """Write the result to standard output: indented JSON, or one compact line with `format_json=False`.

        `json_format` is PaddleX's other name of `format_json` and wins when it is given.
        """
        pretty = format_json if json_format is None else json_format
        write_line(json.dumps(self.json, indent=indent, ensure_ascii=ensure_ascii) if pretty else self.str)

    def save_to_json(self, save_path: PathLike, indent: int = 4, ensure_ascii: bool = False) -> None:
        """Write the result as JSON to the file `save_path`, or to `{stem}_res.json` in the folder `save_path`."""
        text = json.dumps(self.to_dict(), indent=indent, ensure_ascii=ensure_ascii)
        write_text(target_file(save_path, f"{self.stem}_res.json", (".json",)), text + "\n")

    def save_all(self, save_path: PathLike) -> None:
        """Write every file that this kind of result has, with its usual name, into the folder `save_path`."""
        self.save_to_json(save_path)

    @property
    def json(self) -> dict[Text, Any]:
        """`{"res": {...}}` with plain types only."""
        return {"res": self.to_dict()}

    @property
    def str(self) -> Text:
        """The result on one line: `{'res': {'input_path': …, 'page_index': …, …}}`."""
        return repr(self.json)


class DrawnResult(Result):
    """A result that can be painted on its picture."""

    @abstractmethod
    def draw(self, labels: Labels = "auto") -> NDArray[np.uint8]:
        """The image with the result painted on it, uint8 RGB [H, W, 3]."""

    def save_to_img(self, save_path: PathLike, *, labels: Labels = "auto") -> None:
        """Write the picture to the file `save_path`, or to `{stem}_res{suffix of the input}` in that folder.

        `labels`: "auto" writes a label where it hides nothing, "always" and "never" do as they say.

        The suffix is `.png` for arrays, PDF pages and input formats that cannot be written.
        Raises InputError when the result holds no image, ConfigError for a file type that cannot be written.
        """
        from eyas.vision.image import SUFFIXES, encode_image

        wanted = Path(save_path).suffix.lower()
        if wanted in SUFFIXES and wanted not in WRITABLE_IMAGES and not Path(save_path).is_dir():
            raise ConfigError(
                f"cannot save a picture as {wanted!r} ({str(save_path)!r}). Expected {', '.join(WRITABLE_IMAGES)}."
            )
        own = suffix_of(self.input_path)
        target = target_file(save_path, f"{self.stem}_res{own if own in WRITABLE_IMAGES else '.png'}", WRITABLE_IMAGES)
        write_atomically(target, encode_image(self.draw(labels), target.suffix.lower()))

    def save_all(self, save_path: PathLike, *, labels: Labels = "auto") -> None:
        """Write the JSON file and the picture into the folder `save_path`."""
        self.save_to_json(save_path)
        self.save_to_img(save_path, labels=labels)

    @property
    def img(self) -> "dict[Text, Image.Image]":
        """`{"res": picture}` with the drawn picture as a PIL image."""
        from PIL import Image

        return {"res": Image.fromarray(self.draw())}


def need_image(image: NDArray[np.uint8] | None, input_path: str | None) -> NDArray[np.uint8]:
    """`image`; raises InputError when a result was made without one."""
    if image is None:
        raise InputError(
            f"the result of {input_path or 'an unnamed image'} holds no image, and a picture was asked for. "
            "Give it one with `result.with_source(..., image=rgb_array)`."
        )
    return image
