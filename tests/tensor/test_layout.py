"""Questions about a tensor's layout make no array: a tensor of 10¹⁰ elements answers at once."""

import resource
import subprocess
import sys

import pytest

import microtensor as mt

SHAPES = [(10**10,), (10, 10**10), (10**10, 3), (2, 3, 10**10), (1, 2, 3, 10**10)]
QUESTIONS = {
    **{
        name: lambda x, name=name: getattr(x, name)
        for name in "nbytes itemsize shape ndim dtype device T data is_leaf grad_fn".split()
    },
    **{
        name: lambda x, name=name: getattr(x, name)()
        for name in "is_contiguous stride numel element_size size dim storage_offset "
        "data_ptr detach squeeze __repr__ __hash__ type cpu is_floating_point".split()
        if hasattr(mt.Tensor, name)
    },
    "channels_last": lambda x: x.is_contiguous(memory_format=mt.channels_last),
    "storage": lambda x: (x.storage().size(), x.storage().nbytes(), x.untyped_storage().size()),
    "views": lambda x: (x[..., :3], x[None], x.unsqueeze(0), x.transpose(0, -1), x.view(x.shape)),
    "reshape": lambda x: (x.reshape(*x.shape, 1), x.expand(2, *x.shape), x.narrow(-1, 0, 2)),
    "parts": lambda x: (x.split(4 * 10**9, -1), x.chunk(2, -1), x.select(0, 0)),
    "parameter": lambda x: mt.nn.Parameter(x) if x.is_floating_point() else None,
    "same": lambda x: (mt.as_tensor(x), mt.asarray(x), x.to(x.dtype), mt.is_tensor(x), len(x)),
    "as PyTorch": lambda x: _as_torch(x),
}
DTYPES = [mt.float32, mt.float64, mt.float16, mt.bfloat16, mt.int64, mt.bool]


def _as_torch(x):
    with mt.compat.as_torch():
        return repr(x)


def answer_all():
    """Ask everything in little memory; what could not be answered."""
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    failed = set()
    for dtype in DTYPES:
        for shape in SHAPES:
            x = mt.ones(1, dtype=dtype).expand(*shape)
            for name, ask in QUESTIONS.items():
                try:
                    ask(x)
                except Exception as error:
                    failed.add(f"{name}: {error}")
    return failed


def test_questions_about_layout_make_no_array():
    run = subprocess.run([sys.executable, __file__], capture_output=True, text=True, timeout=60)
    assert (run.stdout.strip(), run.returncode) == ("set()", 0), run.stderr


@pytest.mark.parametrize("shape", [(2, 3), (0, 3), (1, 1), ()])
def test_what_is_contiguous(shape):
    x = mt.zeros(shape)
    assert x.is_contiguous() and (x.mT.is_contiguous() if x.ndim else True) == (shape != (2, 3))
    assert not mt.zeros(1).expand(3).is_contiguous()
    assert not mt.zeros(4)[::2].is_contiguous() and mt.zeros(4)[1:].is_contiguous()


if __name__ == "__main__":
    print(answer_all())
