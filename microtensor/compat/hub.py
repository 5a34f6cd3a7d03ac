"""Published weights by their address, kept in the folder where PyTorch keeps them."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from ..backends.naming import missing
from ..files.serialization import load, read_whole, write_whole

HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")  # in the name of a file


def _get_torch_home():
    """$TORCH_HOME, or ~/.cache/torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return os.path.expanduser(os.environ.get("TORCH_HOME", f"{cache}/torch"))


def get_dir() -> str:
    """$TORCH_HOME/hub, or ~/.cache/torch/hub."""
    return os.path.join(_get_torch_home(), "hub")


def download_url_to_file(
    url: str, dst: Any, hash_prefix: str | None = None, progress: bool = True
) -> None:
    """Write what is at an address to a file, whole or not at all. `progress` is not shown.

    Raises RuntimeError where its SHA-256 does not begin with `hash_prefix`.
    """
    import hashlib  # late, as urllib: they take as long to import as half of this package
    import urllib.request

    with urllib.request.urlopen(url) as response:
        data = response.read()
    if not hashlib.sha256(data).hexdigest().startswith(hash_prefix or ""):
        raise RuntimeError(f"download_url_to_file: {url} is not a file of hash {hash_prefix}")
    write_whole(dst, data)


def load_state_dict_from_url(url: str, model_dir: str | None = None, map_location: Any = None,
                             progress: bool = True, check_hash: bool = False, file_name: Any = None,
                             weights_only: bool = False) -> Any:  # fmt: skip
    """`load` of a file that is downloaded first, to `model_dir`, if it is not there.

    Whatever `weights_only` says, only tensors and plain values come: an address is not trusted.
    With `check_hash` the name says how its SHA-256 begins, as resnet18-5c106cde.pth does, also of
    a file that is there already: RuntimeError if it begins otherwise.
    """
    import hashlib

    folder = Path(model_dir or os.path.join(get_dir(), "checkpoints"))
    path = folder / (file_name or os.path.basename(unquote(urlparse(url).path)))
    told = HASH_REGEX.search(path.name) if check_hash else None
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        download_url_to_file(url, path, told and told[1], progress)
    data = read_whole(path)
    if told and not hashlib.sha256(data).hexdigest().startswith(told[1]):
        raise RuntimeError(f"load_state_dict_from_url: {path} is not a file of hash {told[1]}")
    file = io.BytesIO(data)
    file.name = str(path)
    return load(file, map_location)


def __getattr__(name):
    if name == "tqdm":  # PyTorch hands it on, and programs take it from there
        from tqdm import tqdm

        return tqdm
    return missing("microtensor.hub")(name)
