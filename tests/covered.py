"""What of PyTorch is covered, counted: a table in microtensor/README.md, a list in covered.md.

    python tests/covered.py           renews both from the code and PyTorch's names
    python tests/covered.py --names   reads PyTorch's names anew from the one that is installed

PyTorch's names are in pytorch_names.txt with its version, so that the table needs no PyTorch; those
of all its modules are in compat/pytorch_names.txt, for programs that import what is not there.
"""

import contextlib
import importlib
import inspect
import io
import re
import sys
from operator import attrgetter
from pathlib import Path

import microtensor
from microtensor.backends.installed import COVERED
from microtensor.compat import absent

HERE = Path(__file__).parent
NAMES, LIST, README = HERE / "pytorch_names.txt", COVERED, COVERED.parents[1] / "README.md"
START, END = "<!-- covered: python tests/covered.py -->\n", "<!-- end -->\n"

SPACES = (
    "torch torch.Tensor torch.nn torch.nn.functional torch.nn.init torch.nn.utils "
    "torch.nn.utils.rnn torch.optim torch.optim.lr_scheduler torch.utils.data torch.autograd "
    "torch.linalg torch.special torch.amp torch.distributions"
).split()

# What no program of the kind needs that this library is for, by its reason.
ELSEWHERE = {
    "complex numbers": r"complex|conj|angle|imag|real|polar|cfloat|cdouble|chalf|adjoint|H"
    r"|stft|istft|eig|eigvals|view_as_(real|complex)",
    "sparse, quantised and nested tensors": r".*sparse.*"
    r"|.*Sparse.*|coalesce|is_coalesced|[a-z]+_indices"
    r"(_copy)?|indices|values|.*_dim(sum)?_I_.*|to_dense|dense_dim|.*quant.*|q_.*|int_repr|qscheme"
    r"|q?u?int[1-7](x\d)?|bits?\d*(x\d)?|float[48]_.*|qint.*|quint.*|.*mkldnn.*|is_nested"
    r"|to_padded_tensor|jagged|strided|layout|per_(channel|tensor)_.*|hspmm|hsmm|dsmm|smm|spmm|saddmm"
    r"|sspaddmm|uint(16|32|64)|.*_mm|.*scaled_mm.*",
    "other devices, several processes": r".*cudnn.*"
    r"|miopen.*|.*(vulkan|_xla|_ipu|_mps|_maia|_mtia|_xpu)"
    r"(_.*)?|ipu|xpu|mtia|fbgemm.*|.*[dD]istributed.*|DataParallel|SyncBatchNorm|.*_gpu_dtype"
    r"|share_memory_|is_shared|record_stream|get_device.*|.*pin(ned|_memory)|CUDA.*|AcceleratorError"
    r"|OutOfMemoryError|Stream|Event",
    "three dimensions": r".*3[dD].*|channels_last.*",
    "pipelines of data that PyTorch has given up": r".*(Data[PC]|datapipe|runtime_valid|determinism"
    r"|argument_valid).*",
    "compilers and what is inside of PyTorch": r".*_copy"
    r"|sym_.*|native_.*|.*[sS]torage.*|.*autocast_.*"
    r"|batch_norm_.*|.*(dispatch|interop|jit|Script|parse_|import_ir).*|is_inference|.*_tensor_type"
    r"|embedding_renorm_|.*vmap.*|while_loop|cond|fork|wait|set_|as_subclass|is_set_to|map2?_|apply_"
    r"|reinforce|volatile|name|names|has_names|reading|hash_tensor|module_load|dim_order|untyped.*"
    r"|unsafe_.*|empty_permuted|grad_dtype|.*warn_always.*|.*_debug_mode|fused_.*|.*fake_.*|prepare_.*"
    r"|classproperty|thread_safe.*|compiled_with.*|get_file_path|profiler_.*|unify_.*|merge_type.*"
    r"|norm_except_dim|segment_reduce|from_file|slice_inverse|.*TensorFunction.*|typename|cudnn.*"
    r"|.*_notes|const_data_ptr|resolve_neg|is_neg|is_same_size|nonzero_static|DType|.*view_replay.*",
}  # fmt: skip


def pytorchs(torch):
    """The public names of each part of PyTorch."""
    found = {}
    for space in SPACES:
        place = attrgetter(space.partition(".")[2])(torch) if "." in space else torch
        names = {n for n in dir(place) if not n.startswith("_")}
        names = {n for n in names if not inspect.ismodule(getattr(place, n))}
        if space not in ("torch", "torch.Tensor"):  # not what such a module imports for itself
            home = [getattr(getattr(place, n), "__module__", None) for n in names]
            names = {n for n, h in zip(names, home) if str(h).startswith("torch") or h is None}
            names = names & set(getattr(place, "__all__", names)) - {"Tensor", "TYPE_CHECKING"}
        if space == "torch":  # without classes of the compiler, and f_ where there is x.f_()
            inside = {n for n in names if inspect.isclass(getattr(torch, n))}
            inside -= {"Tensor", "Generator", "Size", "device", "dtype", "finfo", "iinfo"}
            inside -= {"no_grad", "enable_grad", "inference_mode", "set_grad_enabled", "autocast"}
            inside |= {n for n in names if n.isupper() or n.startswith(("USE_", "has_"))}
            names -= inside | {n for n in names if n.endswith("_")}
        if space == "torch.nn":
            names = {n for n in names if n[0].isupper()}
        if space == "torch.nn.init":
            names = {n for n in names if n.endswith("_") or n == "calculate_gain"}
        found[space] = sorted(names)
    return found


def written(names, version):
    """The text of pytorch_names.txt."""
    parts = [f"PyTorch {version}\n"]
    for space, found in names.items():
        parts.append(f"\n# {space}\n")
        line = ""
        for name in found:
            if len(line) + len(name) > 98:
                parts.append(line.rstrip() + "\n")
                line = ""
            line += name + " "
        parts.append(line.rstrip() + "\n")
    return "".join(parts)


def modules(torch):
    """All of PyTorch's modules that can be imported without other packages, by name."""
    for name in _below(torch):
        with (
            contextlib.suppress(Exception, SystemExit),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            importlib.import_module(name)
    found = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "torch"}
    return dict(sorted((n, m) for n, m in found.items() if m and ".testing._internal" not in n))


def _below(torch):
    """The names of the modules that PyTorch's folders hold."""
    folder = Path(torch.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        parts = ("torch", *path.relative_to(folder).with_suffix("").parts)
        if "_internal" not in parts and "__main__" not in parts:
            yield ".".join(parts).removesuffix(".__init__")


def all_names(torch):
    """The text of compat/pytorch_names.txt: a line a module.

    Private modules stand there without their names, as do those that make names when asked.
    """
    lines = [f"PyTorch {torch.__version__.split('+')[0]}"]
    for name, module in modules(torch).items():
        private = any(part.startswith("_") for part in name.split("."))
        if private or name in ("torch.ops", "torch.classes"):
            lines.append(name)
            continue
        held = [n for n in dir(module) if not n.startswith("__")]
        held = [n for n in held if not inspect.ismodule(getattr(module, n, None))]
        lines.append(f"{name}: {' '.join(held)}".rstrip())
    members = [n for n in dir(torch.Tensor) if not n.startswith("__")]
    lines.append(f"torch.Tensor: {' '.join(members)}")  # a class that programs ask at import, too
    return "\n".join(lines) + "\n"


def stored():
    """PyTorch's version, and its names: {part: [name, …]}."""
    version, *parts = NAMES.read_text("utf-8").split("\n# ")
    names = {part.split("\n")[0]: part.split()[1:] for part in parts}
    return version.split()[1], names


def sorted_out(space, names):
    """The names that are covered, that are missing, and {reason: names that belong elsewhere}."""
    place = microtensor
    for part in space.split(".")[1:]:
        place = getattr(place, part, None)
    covered = [n for n in names if not getattr(getattr(place, n, None), "is_absent", False)]
    covered = [n for n in covered if hasattr(place, n)]
    missing, elsewhere = [], {reason: [] for reason in ELSEWHERE}
    for name in names:
        if name not in covered:
            reasons = [r for r, pattern in ELSEWHERE.items() if re.fullmatch(pattern, name)]
            (elsewhere[reasons[0]] if reasons else missing).append(name)
    return covered, missing, elsewhere


def table():
    """The table of the library's page."""
    version, names = stored()
    lines = [f"| PyTorch {version} | covered | missing | of another kind |", "| --- " * 4 + "|"]
    for space, found in names.items():
        covered, missing, elsewhere = sorted_out(space, found)
        other = sum(map(len, elsewhere.values()))
        lines.append(f"| `{space}` | {len(covered)} | {len(missing)} | {other} |")
    return "\n".join(lines) + "\n"


def listed():
    """The text of covered.md."""
    version, names = stored()
    kinds = ", ".join(ELSEWHERE)
    parts = [
        f"# What of PyTorch {version} is covered\n\nWritten by `python tests/covered.py`. "
        f"Names of another kind ({kinds}) are left out on purpose.\n"
    ]
    for space, found in names.items():
        covered, missing, elsewhere = sorted_out(space, found)
        rows = {"covered": covered, "missing": missing, **elsewhere}
        parts.append(f"\n## {space}\n")
        parts += [f"\n**{kind}** {' '.join(row)}\n" for kind, row in rows.items() if row]
    return "".join(parts).replace("_", r"\_").replace(r"pytorch\_", "pytorch_")


def renewed(readme):
    """The library's page with the table as it is now."""
    before, rest = readme.split(START)
    return before + START + table() + END + rest.split(END, 1)[1]


if __name__ == "__main__":
    if "--names" in sys.argv[1:]:
        import torch

        NAMES.write_text(written(pytorchs(torch), torch.__version__.split("+")[0]), "utf-8")
        absent.NAMES.write_text(all_names(torch), "utf-8")
    LIST.write_text(listed(), "utf-8")
    README.write_text(renewed(README.read_text("utf-8")), "utf-8")
