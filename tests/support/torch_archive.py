"""Writing what torch.save writes, piece by piece: opcodes of a pickle and the archive around it."""

import io
import struct
import zipfile

import numpy as np


def text(s):
    return b"X" + struct.pack("<I", len(s.encode())) + s.encode()


def number(n):
    return b"J" + struct.pack("<i", n)


def together(*values):
    return b"(" + b"".join(values) + b"t"


def row(*numbers):
    return together(*map(number, numbers))


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def called(module, name, *arguments):
    return named(module, name) + together(*arguments) + b"R"


def dictionary(**items):
    return b"}(" + b"".join(text(k) + v for k, v in items.items()) + b"u"


def storage(kind, key, length):
    return together(
        text("storage"), named("torch", kind), text(key), text("cpu"), number(length)
    ) + b"Q"  # fmt: skip


def tensor(size, stride, offset=0, kind="FloatStorage", key="0", length=6, hooks=None):
    hooks = called("collections", "OrderedDict") if hooks is None else hooks
    return called(
        "torch._utils", "_rebuild_tensor_v2",
        storage(kind, key, length), number(offset), row(*size), row(*stride), b"\x89", hooks,
    )  # fmt: skip


SIX = np.arange(6, dtype="<f4").tobytes()


def archive(program, order=b"little", compression=zipfile.ZIP_STORED, **storages):
    """A file of torch.save, with the storages s0, s1, …"""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        file.writestr("name/data.pkl", b"\x80\x02" + program + b".")
        if order:
            file.writestr("name/byteorder", order)
        for key, data in storages.items():
            file.writestr(f"name/data/{key[1:]}", data)
    return out.getvalue()
