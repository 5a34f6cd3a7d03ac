"""Published weights by their address, kept in the folder where PyTorch keeps them."""

import hashlib
import os
import re
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlparse

from .names import missing
from .serialization import load, write_whole


def get_dir():
    """$TORCH_HOME/hub, or ~/.cache/torch/hub."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return os.path.join(os.path.expanduser(os.environ.get("TORCH_HOME", f"{cache}/torch")), "hub")


def load_state_dict_from_url(url, model_dir=None, map_location=None, progress=True,
                             check_hash=False, file_name=None, weights_only=False):  # fmt: skip
    """`load` of a file that is downloaded first, to `model_dir`, if it is not there.

    With `check_hash` a name such as resnet18-5c106cde.pth says how the file's SHA-256 begins, and
    RuntimeError is raised for another file. `progress` is not shown.
    """
    folder = Path(model_dir or os.path.join(get_dir(), "checkpoints"))
    path = folder / (file_name or os.path.basename(unquote(urlparse(url).path)))
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url) as response:
            data = response.read()
        wanted = re.search(r"-([a-f0-9]*)\.", path.name) if check_hash else None
        if wanted and not hashlib.sha256(data).hexdigest().startswith(wanted[1]):
            raise RuntimeError(f"load_state_dict_from_url: {url} is not a file of hash {wanted[1]}")
        write_whole(path, data)
    return load(path, map_location)


def __getattr__(name):
    if name == "tqdm":  # PyTorch hands it on, and programs take it from there
        from tqdm import tqdm

        return tqdm
    return missing(__name__)(name)
