"""Every module and every function of `nn` against PyTorch: values, gradients, states, errors.

A row of a table is written once, for a package `m` that is microtensor or torch.
"""

import inspect
import math
import warnings

import numpy as np
import pytest

import microtensor as mt

torch = pytest.importorskip("torch")

# advice that torch gives about its own arguments
pytestmark = [
    pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning"),
    pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning"),
    pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning"),
]

TOLERANCE = {"float64": {"rtol": 1e-10, "atol": 1e-11}, "float32": {"rtol": 2e-5, "atol": 2e-6}}


def array(*shape, seed=0, low=-2.0, high=2.0):
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape)


def integers(*shape, below, seed=0):
    return np.random.default_rng([seed, *shape]).integers(0, below, shape)


def mask(*shape, seed=0, share=0.4):
    return np.random.default_rng([seed, *shape]).random(shape) < share


def causal(n):
    return np.triu(np.ones((n, n), bool), 1)


def tensors(m, arrays, dtype):
    """The arrays as tensors of a package; the floating ones are differentiated."""
    made = []
    for a in arrays:
        floating = isinstance(a, np.ndarray) and a.dtype.kind == "f"
        a = m.tensor(a.astype(dtype) if floating else a) if isinstance(a, np.ndarray) else a
        made.append(a.requires_grad_() if floating else a)
    return made


def results(outs):
    return [o for o in (outs if isinstance(outs, tuple) else (outs,)) if o is not None]


def backward(m, outs):
    """Differentiate all results together, each element with a weight of its own."""
    total = 0
    for i, out in enumerate(outs):
        if out.requires_grad:
            w = m.tensor(array(*out.shape, seed=100 + i).astype(str(out.dtype).split(".")[1]))
            total = total + (out * w).sum()
    total.backward()


def check(call, arrays, dtype, modules=None):
    """call(m, *inputs) gives the same with both packages, and so do all gradients."""
    found = {}
    for m in (mt, torch):
        inputs = tensors(m, arrays, dtype)
        outs = results(call(m, *inputs))
        backward(m, outs)
        found[m] = outs, [x.grad for x in inputs if hasattr(x, "grad") and x.requires_grad]
        if modules:
            found[m][1].extend(p.grad for _, p in modules[m].named_parameters())
    for kind in (0, 1):
        assert len(found[mt][kind]) == len(found[torch][kind])
        for ours, theirs in zip(found[mt][kind], found[torch][kind]):
            same(ours, theirs, dtype)


def same(ours, theirs, dtype="float64"):
    assert (ours is None) == (theirs is None)
    if ours is None:
        return
    assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
    ours, theirs = ours.detach().numpy(), theirs.detach().numpy()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, **TOLERANCE[dtype])


def pair(make, dtype="float64"):
    """The same module of both packages, with the state of torch's."""
    theirs = make(torch).to(getattr(torch, dtype))
    ours = make(mt).to(getattr(mt, dtype))
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    return {mt: ours, torch: theirs}


# ---- modules -------------------------------------------------------------------------

X, A, B = array(2, 5, 6), array(4, 3), array(4, 3, seed=1)
SHARE = array(4, 3, low=0, high=1)
SIGNAL, IMAGE = array(2, 4, 9), array(2, 4, 7, 6, low=-0.5, high=0.5)
EVEN = 2 * np.arange(9)
PLUS_MINUS = np.array([1, -1, 1, -1])
MODULES = [
    ("Conv1d", lambda m: m.nn.Conv1d(4, 6, 3), [SIGNAL]),
    ("Conv1d", lambda m: m.nn.Conv1d(4, 6, 3, 2, 1, bias=False), [array(4, 9)]),
    ("Conv1d", lambda m: m.nn.Conv1d(4, 6, 4, padding="same", dilation=2, groups=2), [SIGNAL]),
    ("Conv1d", lambda m: m.nn.Conv1d(4, 4, 3, padding=2, padding_mode="circular"), [SIGNAL]),
    ("Conv2d", lambda m: m.nn.Conv2d(4, 6, 3), [IMAGE]),
    ("Conv2d", lambda m: m.nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0)), [IMAGE]),
    ("Conv2d", lambda m: m.nn.Conv2d(4, 8, 3, padding=1, groups=4, dilation=(1, 2)), [IMAGE]),
    ("Conv2d", lambda m: m.nn.Conv2d(4, 2, 3, padding="same", padding_mode="reflect"), [IMAGE]),
    ("Conv2d", lambda m: m.nn.Conv2d(4, 2, 3, padding="valid"), [IMAGE[0]]),
    ("ConvTranspose1d", lambda m: m.nn.ConvTranspose1d(4, 6, 3, 2, 1, 1), [SIGNAL]),
    ("ConvTranspose2d", lambda m: m.nn.ConvTranspose2d(4, 6, 3, 2, groups=2), [IMAGE]),
    ("ConvTranspose2d", lambda m: m.nn.ConvTranspose2d(4, 2, 2, dilation=2, bias=False), [IMAGE]),
    ("MaxPool1d", lambda m: m.nn.MaxPool1d(2), [SIGNAL]),
    ("MaxPool1d", lambda m: m.nn.MaxPool1d(3, 2, 1, ceil_mode=True), [array(4, 9)]),
    ("MaxPool2d", lambda m: m.nn.MaxPool2d(2), [IMAGE]),
    ("MaxPool2d", lambda m: m.nn.MaxPool2d((3, 2), (2, 1), (1, 0), return_indices=True), [IMAGE]),
    ("AvgPool1d", lambda m: m.nn.AvgPool1d(3, 2, 1), [SIGNAL]),
    ("AvgPool2d", lambda m: m.nn.AvgPool2d(3, 2, 1, True, False), [IMAGE]),
    ("AvgPool2d", lambda m: m.nn.AvgPool2d(2, divisor_override=3), [IMAGE]),
    ("AdaptiveAvgPool1d", lambda m: m.nn.AdaptiveAvgPool1d(4), [SIGNAL]),
    ("AdaptiveAvgPool2d", lambda m: m.nn.AdaptiveAvgPool2d((3, None)), [IMAGE]),
    ("AdaptiveMaxPool1d", lambda m: m.nn.AdaptiveMaxPool1d(4), [SIGNAL]),
    ("AdaptiveMaxPool2d", lambda m: m.nn.AdaptiveMaxPool2d(1), [IMAGE]),
    ("ConstantPad1d", lambda m: m.nn.ConstantPad1d((1, 2), 3.0), [SIGNAL]),
    ("ConstantPad2d", lambda m: m.nn.ConstantPad2d(2, 0.5), [IMAGE]),
    ("ZeroPad1d", lambda m: m.nn.ZeroPad1d(2), [SIGNAL]),
    ("ZeroPad2d", lambda m: m.nn.ZeroPad2d((1, 0, 2, 1)), [IMAGE]),
    ("ReflectionPad1d", lambda m: m.nn.ReflectionPad1d(2), [SIGNAL]),
    ("ReflectionPad2d", lambda m: m.nn.ReflectionPad2d((1, 2, 3, 0)), [IMAGE]),
    ("ReplicationPad1d", lambda m: m.nn.ReplicationPad1d((3, 1)), [SIGNAL]),
    ("ReplicationPad2d", lambda m: m.nn.ReplicationPad2d(2), [IMAGE]),
    ("Upsample", lambda m: m.nn.Upsample(scale_factor=2), [IMAGE]),
    ("Upsample", lambda m: m.nn.Upsample(size=(9, 4), mode="bilinear"), [IMAGE]),
    ("Upsample", lambda m: m.nn.Upsample(scale_factor=(1.7, 3), mode="bicubic"), [IMAGE]),
    ("Upsample", lambda m: m.nn.Upsample((9, 4), mode="bicubic", align_corners=True), [IMAGE]),
    ("UpsamplingNearest2d", lambda m: m.nn.UpsamplingNearest2d(scale_factor=2), [IMAGE]),
    ("UpsamplingBilinear2d", lambda m: m.nn.UpsamplingBilinear2d((3, 9)), [IMAGE]),
    ("CircularPad1d", lambda m: m.nn.CircularPad1d((3, 1)), [SIGNAL]),
    ("CircularPad2d", lambda m: m.nn.CircularPad2d(2), [IMAGE]),
    ("MaxUnpool1d", lambda m: m.nn.MaxUnpool1d(2), [SIGNAL, integers(2, 4, 9, below=2) + EVEN]),
    ("MaxUnpool2d", lambda m: m.nn.MaxUnpool2d((2, 3), padding=1),
     [array(2, 3, 3), np.arange(18).reshape(2, 3, 3)]),
    ("AdaptiveLogSoftmaxWithLoss",
     lambda m: m.nn.AdaptiveLogSoftmaxWithLoss(6, 20, [3, 9, 10], 1.5, True),
     [array(12, 6), integers(12, below=20)]),
    ("AdaptiveLogSoftmaxWithLoss", lambda m: m.nn.AdaptiveLogSoftmaxWithLoss(6, 9, [2]),
     [array(3, 6), np.array([0, 1, 0])]),
    ("Fold", lambda m: m.nn.Fold((4, 5), (2, 3), 1, 1, 2), [array(2, 18, 9)]),
    ("RReLU", lambda m: m.nn.RReLU(0.1, 0.4).eval(), [SIGNAL]),
    ("AlphaDropout", lambda m: m.nn.AlphaDropout(0.3).eval(), [SIGNAL]),
    ("AlphaDropout", lambda m: m.nn.AlphaDropout(1.0), [SIGNAL]),
    ("PixelShuffle", lambda m: m.nn.PixelShuffle(2), [IMAGE]),
    ("PixelUnshuffle", lambda m: m.nn.PixelUnshuffle(3), [np.ones((2, 3, 6, 9)) * IMAGE.mean()]),
    ("Unfold", lambda m: m.nn.Unfold((2, 3), padding=1, stride=2), [IMAGE]),
    ("LocalResponseNorm", lambda m: m.nn.LocalResponseNorm(3, k=2.0), [IMAGE]),
    ("BatchNorm1d", lambda m: m.nn.BatchNorm1d(4), [SIGNAL]),
    ("BatchNorm1d", lambda m: m.nn.BatchNorm1d(3, affine=False, momentum=None), [A]),
    ("BatchNorm1d", lambda m: m.nn.BatchNorm1d(3, 1e-3).eval(), [A]),
    ("BatchNorm2d", lambda m: m.nn.BatchNorm2d(4, momentum=0.3), [IMAGE]),
    ("BatchNorm2d", lambda m: m.nn.BatchNorm2d(4, track_running_stats=False).eval(), [IMAGE]),
    ("GroupNorm", lambda m: m.nn.GroupNorm(2, 4), [IMAGE]),
    ("GroupNorm", lambda m: m.nn.GroupNorm(4, 4, affine=False), [array(3, 4, 5)]),
    ("InstanceNorm1d", lambda m: m.nn.InstanceNorm1d(4, affine=True), [SIGNAL]),
    ("InstanceNorm2d", lambda m: m.nn.InstanceNorm2d(4, track_running_stats=True), [IMAGE]),
    ("InstanceNorm2d", lambda m: m.nn.InstanceNorm2d(4, track_running_stats=True).eval(), [IMAGE]),
    ("Bilinear", lambda m: m.nn.Bilinear(3, 3, 5), [A, B]),
    ("EmbeddingBag", lambda m: m.nn.EmbeddingBag(7, 3), [integers(4, 5, below=7)]),
    ("EmbeddingBag", lambda m: m.nn.EmbeddingBag(7, 3, mode="max", padding_idx=2),
     [integers(9, below=7), np.array([0, 2, 2, 6])]),
    ("EmbeddingBag", lambda m: m.nn.EmbeddingBag(7, 3, 0.8, 1.0, False, "sum"),
     [integers(4, 5, below=7)]),
    ("Unflatten", lambda m: m.nn.Unflatten(1, (5, -1)), [array(3, 10)]),
    ("Dropout1d", lambda m: m.nn.Dropout1d(0.5).eval(), [SIGNAL]),
    ("Dropout2d", lambda m: m.nn.Dropout2d(0.5).eval(), [IMAGE]),
    ("CosineSimilarity", lambda m: m.nn.CosineSimilarity(), [A, B]),
    ("PairwiseDistance", lambda m: m.nn.PairwiseDistance(3.0, keepdim=True), [A, B]),
    ("CELU", lambda m: m.nn.CELU(2.0), [X]),
    ("SELU", lambda m: m.nn.SELU(), [X]),
    ("PReLU", lambda m: m.nn.PReLU(), [X]),
    ("PReLU", lambda m: m.nn.PReLU(5, init=0.1), [X]),
    ("Hardtanh", lambda m: m.nn.Hardtanh(-0.5, 1.0), [X]),
    ("ReLU6", lambda m: m.nn.ReLU6(), [5 * X]),
    ("Hardswish", lambda m: m.nn.Hardswish(), [3 * X]),
    ("Threshold", lambda m: m.nn.Threshold(0.1, 20), [X]),
    ("Hardshrink", lambda m: m.nn.Hardshrink(), [X]),
    ("Softshrink", lambda m: m.nn.Softshrink(0.3), [X]),
    ("Mish", lambda m: m.nn.Mish(), [X]),
    ("Tanhshrink", lambda m: m.nn.Tanhshrink(), [X]),
    ("Softsign", lambda m: m.nn.Softsign(), [X]),
    ("Softmin", lambda m: m.nn.Softmin(1), [X]),
    ("GLU", lambda m: m.nn.GLU(), [X]),
    ("SoftMarginLoss", lambda m: m.nn.SoftMarginLoss(), [array(4), PLUS_MINUS]),
    ("MarginRankingLoss", lambda m: m.nn.MarginRankingLoss(0.5),
     [array(4), array(4, seed=1), PLUS_MINUS]),
    ("HingeEmbeddingLoss", lambda m: m.nn.HingeEmbeddingLoss(), [array(4), PLUS_MINUS]),
    ("CosineEmbeddingLoss", lambda m: m.nn.CosineEmbeddingLoss(0.1), [A, B, PLUS_MINUS]),
    ("TripletMarginLoss", lambda m: m.nn.TripletMarginLoss(swap=True),
     [A, B, array(4, 3, seed=2)]),
    ("TripletMarginWithDistanceLoss", lambda m: m.nn.TripletMarginWithDistanceLoss(
        distance_function=lambda a, b: 1 - m.cosine_similarity(a, b), swap=True),
     [A, B, array(4, 3, seed=2)]),
    ("MultiMarginLoss", lambda m: m.nn.MultiMarginLoss(2, 0.8), [A, integers(4, below=3)]),
    ("MultiLabelSoftMarginLoss", lambda m: m.nn.MultiLabelSoftMarginLoss(),
     [A, mask(4, 3).astype("float64")]),
    ("PoissonNLLLoss", lambda m: m.nn.PoissonNLLLoss(full=True), [A, 3 + B]),
    ("GaussianNLLLoss", lambda m: m.nn.GaussianNLLLoss(full=True), [A, B, SHARE + 0.1]),
    ("Linear", lambda m: m.nn.Linear(6, 3), [X]),
    ("Linear", lambda m: m.nn.Linear(6, 3, bias=False), [array(6)]),
    ("Linear", lambda m: m.nn.Linear(6, 3), [array(0, 6)]),
    ("DataParallel", lambda m: m.nn.DataParallel(m.nn.Linear(6, 3), device_ids=[0]), [X]),
    ("Embedding", lambda m: m.nn.Embedding(7, 3), [integers(2, 5, below=7)]),
    ("Embedding", lambda m: m.nn.Embedding(7, 3, padding_idx=-2), [integers(2, 5, below=7)]),
    ("Embedding", lambda m: m.nn.Embedding(2000, 3), [integers(40, below=2000)]),
    ("Embedding", lambda m: m.nn.Embedding(7, 3, max_norm=1.0), [integers(2, 5, below=7)]),
    ("Embedding", lambda m: m.nn.Embedding(7, 3, 1, 0.5, 1.0, True), [integers(2, 5, below=7)]),
    ("LayerNorm", lambda m: m.nn.LayerNorm(6), [X]),
    ("LayerNorm", lambda m: m.nn.LayerNorm((5, 6), eps=1e-3), [X]),
    ("LayerNorm", lambda m: m.nn.LayerNorm(6, bias=False), [X]),
    ("LayerNorm", lambda m: m.nn.LayerNorm([5, 6], elementwise_affine=False), [X]),
    ("LayerNorm", lambda m: m.nn.LayerNorm(6), [array(0, 6)]),
    ("RMSNorm", lambda m: m.nn.RMSNorm(6), [X]),
    ("RMSNorm", lambda m: m.nn.RMSNorm([5, 6], eps=1e-3), [X]),
    ("RMSNorm", lambda m: m.nn.RMSNorm(6, elementwise_affine=False), [X]),
    ("Dropout", lambda m: m.nn.Dropout(0.0), [X]),
    ("Dropout", lambda m: m.nn.Dropout(1.0), [X]),
    ("Dropout", lambda m: m.nn.Dropout(0.5).eval(), [X]),
    ("Flatten", lambda m: m.nn.Flatten(), [array(2, 3, 2, 2)]),
    ("Flatten", lambda m: m.nn.Flatten(0, -2), [array(2, 3, 2, 2)]),
    ("Identity", lambda m: m.nn.Identity(3, some="thing"), [X]),
    ("ReLU", lambda m: m.nn.ReLU(), [X]),
    ("LeakyReLU", lambda m: m.nn.LeakyReLU(0.2), [X]),
    ("ELU", lambda m: m.nn.ELU(1.5), [X]),
    ("SiLU", lambda m: m.nn.SiLU(), [X]),
    ("GELU", lambda m: m.nn.GELU(), [X]),
    ("GELU", lambda m: m.nn.GELU("tanh"), [X]),
    ("Softplus", lambda m: m.nn.Softplus(2.0, 3.0), [X]),
    ("Sigmoid", lambda m: m.nn.Sigmoid(), [X * 50]),
    ("LogSigmoid", lambda m: m.nn.LogSigmoid(), [X * 50]),
    ("Tanh", lambda m: m.nn.Tanh(), [X]),
    ("Softmax", lambda m: m.nn.Softmax(dim=1), [X]),
    ("Softmax2d", lambda m: m.nn.Softmax2d(), [IMAGE]),
    ("LogSoftmax", lambda m: m.nn.LogSoftmax(dim=0), [X]),
    (
        "Sequential",
        lambda m: m.nn.Sequential(m.nn.Linear(6, 8), m.nn.GELU(), m.nn.Linear(8, 2)),
        [X],
    ),
    ("CrossEntropyLoss", lambda m: m.nn.CrossEntropyLoss(), [A, integers(4, below=3)]),
    (
        "CrossEntropyLoss",
        lambda m: m.nn.CrossEntropyLoss(
            m.tensor([0.5, 1.0, 2.0]).to(m.float64), ignore_index=1, label_smoothing=0.1
        ),
        [A, integers(4, below=3)],
    ),
    ("NLLLoss", lambda m: m.nn.NLLLoss(ignore_index=0), [A, integers(4, below=3)]),
    ("MSELoss", lambda m: m.nn.MSELoss(), [A, B]),
    ("MSELoss", lambda m: m.nn.MSELoss(reduction="none"), [A, B]),
    ("L1Loss", lambda m: m.nn.L1Loss(reduction="sum"), [A, B]),
    ("SmoothL1Loss", lambda m: m.nn.SmoothL1Loss(beta=0.5), [A, B]),
    ("HuberLoss", lambda m: m.nn.HuberLoss(delta=0.5), [A, B]),
    ("BCELoss", lambda m: m.nn.BCELoss(), [SHARE, SHARE * SHARE]),
    ("BCEWithLogitsLoss", lambda m: m.nn.BCEWithLogitsLoss(), [A * 20, SHARE]),
    ("KLDivLoss", lambda m: m.nn.KLDivLoss(reduction="batchmean"), [A, SHARE]),
]  # fmt: skip


def module_id(row):
    return row[0] if isinstance(row, tuple) else None


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("row", MODULES, ids=module_id)
def test_module(row, dtype):
    name, make, arrays = row
    modules = pair(make, dtype)
    assert type(modules[mt]).__name__ == name
    check(lambda m, *inputs: modules[m](*inputs), arrays, dtype, modules)


@pytest.mark.parametrize("row", MODULES, ids=module_id)
def test_state_and_repr(row):
    modules = pair(row[1])
    states = [
        [(k, tuple(v.shape)) for k, v in modules[m].state_dict().items()] for m in (mt, torch)
    ]
    assert states[0] == states[1]
    assert repr(modules[mt]) == repr(modules[torch])


def public_classes():
    return {
        name: value
        for name, value in vars(mt.nn).items()
        if inspect.isclass(value) and issubclass(value, mt.nn.Module) and name[0] != "_"
    }


def test_every_module_is_compared():
    containers = {"Module", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict"}
    elsewhere = {"MultiheadAttention", "TransformerEncoder", "TransformerEncoderLayer"}
    elsewhere |= {"RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"}
    elsewhere |= {"RNNBase", "RNNCellBase"}  # what they share
    elsewhere |= {name for name in public_classes() if name.startswith("Lazy")}  # test_programs.py
    elsewhere |= {"CTCLoss"}  # whose derivative PyTorch gives for what comes from a log_softmax
    elsewhere |= {"SyncBatchNorm"}  # which takes several processes: test_distributed.py
    elsewhere |= {"Hardsigmoid"}  # whose slope of 1/6 PyTorch holds in float32
    elsewhere |= {"Transformer", "TransformerDecoder", "TransformerDecoderLayer"}
    assert public_classes().keys() == {row[0] for row in MODULES} | containers | elsewhere


def signature(function):
    parameters = inspect.signature(function).parameters.values()
    return {
        p.name: getattr(p.default, "__name__", p.default) for p in parameters if p.name != "self"
    }


def called_alike(ours, theirs):
    """Our parameters are among theirs, with their defaults, and in their order if positional."""
    extra = {k: v for k, v in signature(ours).items() if k not in theirs or theirs[k] != v}
    assert extra == {}
    positional = [
        p.name
        for p in inspect.signature(ours).parameters.values()
        if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"
    ]
    assert positional == list(theirs)[: len(positional)]


@pytest.mark.parametrize("name", sorted(public_classes().keys() - {"RNNBase", "RNNCellBase"}))
def test_constructors_take_what_torchs_take(name):
    theirs = signature(getattr(torch.nn, name).__init__)
    if name in ("RNN", "GRU", "LSTM"):  # torch says *args there
        theirs = signature(torch.nn.RNNBase.__init__)
        del theirs["mode"]
        if name == "RNN":
            del theirs["proj_size"]
            at = list(theirs).index("num_layers") + 1
            theirs = dict([*list(theirs.items())[:at], ("nonlinearity", "tanh"),
                           *list(theirs.items())[at:]])  # fmt: skip
    called_alike(getattr(mt.nn, name).__init__, theirs)


BUILT_IN = {
    "cosine_similarity", "gelu", "linear", "logsigmoid", "one_hot", "pad", "softplus",
    "scaled_dot_product_attention", "bilinear", "hardshrink", "pairwise_distance", "pdist",
    "pixel_shuffle", "pixel_unshuffle", "prelu", "softshrink",
}  # fmt: skip


def public_functions():
    return {
        name
        for name, value in vars(mt.nn.functional).items()
        if inspect.isfunction(value)
        and value.__module__ in ("microtensor.nn.functional", "microtensor.nn.resampling")
        and not name.startswith("_")
    }


@pytest.mark.parametrize("name", sorted(public_functions() - BUILT_IN))
def test_functions_take_what_torchs_take(name):
    called_alike(getattr(mt.nn.functional, name), signature(getattr(torch.nn.functional, name)))


def test_tables_and_lists_have_torchs_layout():
    def make(m):
        nn = m.nn
        model = nn.Module()
        model.register_buffer("scale", m.ones(2))
        model.register_buffer("scratch", m.ones(2), persistent=False)
        model.blocks = nn.ModuleList(
            [nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True)) for _ in range(3)]
            + [nn.LayerNorm(2)]
        )
        model.heads = nn.ModuleDict({"a": nn.Linear(2, 1), "b": nn.Linear(2, 3, bias=False)})
        model.weight = nn.Parameter(m.zeros(3))
        model.blocks.append(model.heads["a"])  # shared
        model.empty = nn.ModuleList()
        return model

    ours, theirs = make(mt), make(torch)
    assert repr(ours) == repr(theirs)
    for names in (
        lambda x: list(x.state_dict()),
        lambda x: [n for n, _ in x.named_parameters()],
        lambda x: [n for n, _ in x.named_parameters(remove_duplicate=False)],
        lambda x: [n for n, _ in x.named_parameters(prefix="net", recurse=False)],
        lambda x: [n for n, _ in x.named_buffers()],
        lambda x: [n for n, _ in x.named_modules()],
        lambda x: [n for n, _ in x.named_children()],
        lambda x: list(x.state_dict(prefix="net.")),
    ):
        assert names(ours) == names(theirs)


# ---- attention -----------------------------------------------------------------------

Q, K, V = array(2, 3, 4, 6), array(2, 3, 5, 6, seed=1), array(2, 3, 5, 7, seed=2)
SDPA = {
    "plain": ([Q, K, V], {}),
    "causal": ([Q, K, V], {"is_causal": True}),
    "boolean mask": ([Q, K, V, mask(4, 5, share=0.7)], {}),
    "a mask that hides all from some": ([Q, K, V, mask(2, 1, 4, 5, share=0.3)], {}),
    "added mask": ([Q, K, V, array(2, 3, 4, 5, seed=3)], {"scale": 0.3}),
    "added mask for all heads": ([Q, K, V, array(4, 5, seed=3)], {}),
    "no batch": ([array(4, 6), array(5, 6), array(5, 2)], {}),
    "empty batch": ([array(0, 3, 4, 6), array(0, 3, 5, 6), array(0, 3, 5, 6)], {"is_causal": True}),
    "no keys": ([Q, array(2, 3, 0, 6), array(2, 3, 0, 7)], {}),
    "shared heads": (
        [array(2, 6, 4, 6), K, V, mask(2, 6, 4, 5, share=0.7)],
        {"enable_gqa": True},
    ),
    "everything dropped": ([Q, K, V], {"dropout_p": 1.0}),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", SDPA)
def test_scaled_dot_product_attention(case, dtype):
    arrays, options = SDPA[case]

    def call(m, *inputs):
        return m.nn.functional.scaled_dot_product_attention(*inputs, **options)

    check(call, arrays, dtype)


def float_mask(hidden):
    return np.where(hidden, -np.inf, array(*hidden.shape, seed=9))


PADDED = np.zeros((3, 5), bool)
PADDED[0, 3:] = PADDED[2, 1:] = True
ATTENTION = {
    "plain": {},
    "boolean mask": {"attn_mask": causal(5)},
    "added mask": {"attn_mask": float_mask(causal(5))},
    "boolean mask for each head": {"attn_mask": mask(12, 5, 5) & ~np.eye(5, dtype=bool)},
    "added mask for each head": {"attn_mask": array(12, 5, 5)},
    "padding": {"key_padding_mask": PADDED},
    "added padding": {"key_padding_mask": float_mask(PADDED)},
    "both": {"attn_mask": causal(5), "key_padding_mask": PADDED},
    "both, added": {"attn_mask": array(5, 5), "key_padding_mask": float_mask(PADDED)},
    "promised causal": {"attn_mask": causal(5), "is_causal": True},
    "promised causal with padding": {
        "attn_mask": causal(5), "is_causal": True, "key_padding_mask": PADDED,
    },
    "weights of each head": {"average_attn_weights": False},
}  # fmt: skip


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("case", ATTENTION)
def test_self_attention(case, batch_first, need_weights):
    modules = pair(lambda m: m.nn.MultiheadAttention(8, 4, batch_first=batch_first))
    options = dict(ATTENTION[case], need_weights=need_weights)

    def call(m, x):
        given = {k: m.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        return modules[m](x, x, x, **given)

    for dtype in ("float64",):
        check(call, [array(3, 5, 8) if batch_first else array(5, 3, 8)], dtype, modules)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"bias": False}, {"kdim": 5, "vdim": 3}, {"kdim": 5, "vdim": 3, "bias": False}],
    ids=str,
)
def test_cross_attention(options, need_weights):
    modules = pair(lambda m: m.nn.MultiheadAttention(8, 2, batch_first=True, **options))
    states = [
        [(k, tuple(v.shape)) for k, v in modules[m].state_dict().items()] for m in (mt, torch)
    ]
    assert states[0] == states[1]
    q, k = array(3, 4, 8), array(3, 5, options.get("kdim", 8))
    v = array(3, 5, options.get("vdim", 8), seed=1)

    def call(m, q, k, v):
        padding = m.tensor(PADDED)
        return modules[m](q, k, v, key_padding_mask=padding, need_weights=need_weights)

    check(call, [q, k, v], "float64", modules)
    if "kdim" not in options:
        check(lambda m, q, k: modules[m](q, k, k), [q, k], "float64")


@pytest.mark.parametrize("need_weights", [True, False])
def test_attention_without_batch(need_weights):
    modules = pair(lambda m: m.nn.MultiheadAttention(8, 2))

    def call(m, q, k):
        padding = m.tensor(np.array([False, False, True, False, True]))
        return modules[m](q, k, k, padding, need_weights, m.tensor(array(2, 4, 5)), False)

    check(call, [array(4, 8), array(5, 8)], "float64", modules)


@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize("shape", [(5, 3, 8), (5, 8)], ids=str)
def test_attention_as_a_function(shape, separate):
    """Also with one query for all, and three weights side by side."""

    def call(m, x, w, b, out, out_b):
        parts = w.chunk(3) if separate else [None] * 3
        return m.nn.functional.multi_head_attention_forward(
            x if not separate else x[:1], x, x, 8, 2, None if separate else w, b, None, None, False,
            0.5, out, out_b, training=False, need_weights=separate, attn_mask=None if separate else
            m.tensor(causal(5)), use_separate_proj_weight=separate, q_proj_weight=parts[0],
            k_proj_weight=parts[1], v_proj_weight=parts[2],
        )  # fmt: skip

    check(call, [array(*shape), array(24, 8), array(24), array(8, 8), array(8)], "float64")


def test_attention_in_float32():
    modules = pair(lambda m: m.nn.MultiheadAttention(8, 2, batch_first=True), "float32")
    check(lambda m, x: modules[m](x, x, x), [array(3, 5, 8)], "float32", modules)
    check(
        lambda m, x: modules[m](x, x, x, need_weights=False, attn_mask=m.tensor(causal(5))),
        [array(3, 5, 8)],
        "float32",
    )


@pytest.mark.parametrize("need_weights", [True, False])
def test_queries_that_may_see_nothing(need_weights):
    modules = pair(lambda m: m.nn.MultiheadAttention(8, 2, batch_first=True))
    hidden = np.zeros((1, 5), bool)
    hidden[:] = True

    outs = []
    for m in (mt, torch):
        x = m.tensor(array(1, 5, 8))
        out = modules[m](x, x, x, key_padding_mask=m.tensor(hidden), need_weights=need_weights)
        outs.append(out[0].detach().numpy())
    np.testing.assert_allclose(outs[0], outs[1], rtol=1e-10)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_transformer_encoder_layer(activation, norm_first, batch_first):
    def make(m):
        return m.nn.TransformerEncoderLayer(
            8, 2, 16, 0.0, activation, batch_first=batch_first, norm_first=norm_first
        )

    modules = pair(make)
    assert list(modules[mt].state_dict()) == list(modules[torch].state_dict())
    x = array(3, 5, 8) if batch_first else array(5, 3, 8)

    def call(m, x):
        return modules[m](x, src_mask=m.tensor(causal(5)), src_key_padding_mask=m.tensor(PADDED))

    check(call, [x], "float64", modules)
    check(lambda m, x: modules[m](x), [x], "float64")
    check(
        lambda m, x: modules[m](x, m.tensor(float_mask(causal(5))), is_causal=True), [x], "float64"
    )


def test_transformer_encoder():
    def make(m):
        layer = m.nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True, bias=False)
        options = {} if m is mt else {"enable_nested_tensor": False}
        return m.nn.TransformerEncoder(layer, 2, m.nn.LayerNorm(8), **options)

    modules = pair(make)
    assert list(modules[mt].state_dict()) == list(modules[torch].state_dict())
    check(
        lambda m, x: modules[m](x, m.tensor(causal(5)), m.tensor(PADDED)),
        [array(3, 5, 8)],
        "float64",
        modules,
    )


# ---- functions -----------------------------------------------------------------------

C = array(6, 4)
T = integers(6, below=4)
W = np.array([0.5, 1.0, 2.0, 0.25])
SHARES = array(6, 4, low=0, high=1, seed=5)
SHARES /= SHARES.sum(1, keepdims=True)
IGNORED = np.where(np.arange(6) % 2, T, -100)


def loss(name, *arrays, **options):
    return lambda m, *inputs: getattr(m.nn.functional, name)(*inputs, **options), list(arrays)


def weighed(name, *arrays, key="weight", weight=W, **options):
    """A loss with a tensor among its options."""

    def call(m, *inputs):
        w = m.tensor(weight.astype(str(inputs[0].dtype).split(".")[1]))
        return getattr(m.nn.functional, name)(*inputs, **{key: w}, **options)

    return call, list(arrays)


FUNCTIONS = [
    loss("cross_entropy", array(4), np.array(2)),
    loss("cross_entropy", array(2, 4, 3, 5), integers(2, 3, 5, below=4)),
    loss("cross_entropy", array(0, 4), integers(0, below=4), reduction="sum"),
    loss("cross_entropy", array(0, 4), integers(0, below=4)),
    loss("cross_entropy", C, np.full(6, -100)),
    weighed("cross_entropy", C, np.full(6, -100)),
    loss("cross_entropy", np.where(mask(6, 4) & (np.arange(4) != T[:, None]), -np.inf, C), T),
    loss("cross_entropy", C * 1e4, T),
    weighed("cross_entropy", array(2, 4, 3), integers(2, 3, below=4), ignore_index=2),
    weighed("nll_loss", array(2, 4, 3), integers(2, 3, below=4), ignore_index=2),
    loss("nll_loss", array(4), np.array(2)),
    loss("nll_loss", C, np.full(6, -100)),
    weighed("cross_entropy", array(4), array(4, low=0, high=1)),
    weighed("cross_entropy", array(2, 4, 3), array(2, 4, 3, low=0, high=1), label_smoothing=0.3),
    *(
        call
        for reduction in ("none", "sum", "mean")
        for smoothing in (0.0, 0.2, 1.0)
        for call in (
            loss("cross_entropy", C, IGNORED, reduction=reduction, label_smoothing=smoothing),
            weighed("cross_entropy", C, IGNORED, reduction=reduction, label_smoothing=smoothing),
            loss("cross_entropy", C, SHARES, reduction=reduction, label_smoothing=smoothing),
            weighed("cross_entropy", C, SHARES, reduction=reduction, label_smoothing=smoothing),
        )
    ),
    *(
        call
        for reduction in ("none", "sum", "mean")
        for call in (
            loss("nll_loss", C, IGNORED, reduction=reduction),
            weighed("nll_loss", C, IGNORED, reduction=reduction),
            loss("mse_loss", C, SHARES, reduction=reduction),
            loss("l1_loss", C, SHARES, reduction=reduction),
            loss("smooth_l1_loss", C, SHARES, reduction=reduction, beta=0.0),
            loss("smooth_l1_loss", C, SHARES, reduction=reduction, beta=1.5),
            loss("huber_loss", C, SHARES, reduction=reduction, delta=0.7),
            weighed("huber_loss", C, SHARES, reduction=reduction, weight=SHARES),
            weighed("mse_loss", C, SHARES, reduction=reduction, weight=SHARES),
            weighed("l1_loss", C, SHARES, reduction=reduction, weight=SHARES),
            loss("binary_cross_entropy", SHARES, SHARES[::-1].copy(), reduction=reduction),
            weighed("binary_cross_entropy", SHARES, SHARES[::-1].copy(), reduction=reduction),
            loss("binary_cross_entropy_with_logits", C * 30, SHARES, reduction=reduction),
            weighed("binary_cross_entropy_with_logits", C, SHARES, reduction=reduction),
            weighed(
                "binary_cross_entropy_with_logits", C, SHARES, reduction=reduction, key="pos_weight"
            ),
            loss("kl_div", C, SHARES, reduction=reduction),
            loss("kl_div", C, np.log(SHARES), reduction=reduction, log_target=True),
        )
    ),
    weighed("kl_div", C, key="target", weight=np.where(mask(6, 4), 0.0, SHARES)),
    loss("mse_loss", array(0, 3), array(0, 3), reduction="sum"),
    loss("pad", array(2, 3, 4), (1, 2)),
    loss("pad", array(2, 3, 4), (1, 2, 0, 3, -1, 1), value=1.5),
    loss("pad", array(2, 3, 4), (-1, -2, 1, -2)),
    loss("normalize", C),
    loss("normalize", np.zeros((2, 3)), dim=-1),
    loss("normalize", C, p=3.0, dim=0),
    loss("cosine_similarity", C, SHARES),
    loss("cosine_similarity", array(3, 1, 4), array(2, 4), dim=-1),
    loss("relu", C),
    loss("leaky_relu", C, negative_slope=0.3),
    loss("elu", C, alpha=0.5),
    loss("silu", C),
    loss("gelu", C, approximate="tanh"),
    loss("softplus", C * 20),
    loss("logsigmoid", C * 400),
    loss("sigmoid", C),
    loss("tanh", C),
    loss("softmax", C, dim=-1),
    loss("log_softmax", C, dim=0),
    loss("softmax", C, dim=0, dtype=None),
    loss("dropout", C, p=0.5, training=False),
    loss("linear", C, array(3, 4), array(3)),
    loss("layer_norm", X, (5, 6), array(5, 6), array(5, 6, seed=1)),
    loss("layer_norm", X, (6,)),
    loss("rms_norm", X, (5, 6), array(5, 6)),
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("i", range(len(FUNCTIONS)))
def test_function(i, dtype):
    call, arrays = FUNCTIONS[i]
    check(call, arrays, dtype)


def test_binary_cross_entropy_of_certainty():
    x, t = np.array([0.0, 1.0, 0.0, 1.0, 1e-60]), np.array([0.0, 0.0, 1.0, 1.0, 1.0])
    found = []
    for m in (mt, torch):
        p = m.tensor(x).requires_grad_()
        losses = m.nn.functional.binary_cross_entropy(p, m.tensor(t), reduction="none")
        losses.sum().backward()
        found.append((losses.detach().numpy(), p.grad.numpy()))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-8)  # 1e-12 is a float32 there


def test_embedding_function():
    index = integers(3, 4, below=5)

    def call(m, weight):
        return m.nn.functional.embedding(m.tensor(index), weight, padding_idx=-1)

    check(call, [array(5, 2)], "float64")


PLACES = array(2, 5, 3, 2, low=-1.4, high=1.4)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_grid_sample(mode, padding, aligned):
    def call(m, x, places):
        places = places if mode == "bilinear" else places.detach()  # PyTorch has zeros there
        return m.nn.functional.grid_sample(x, places, mode, padding, aligned)

    for x in (IMAGE, array(2, 3, 1, 4)):
        check(call, [x, PLACES], "float64")
    check(call, [IMAGE, PLACES], "float32")


@pytest.mark.parametrize("aligned", [True, False])
def test_affine_grid(aligned):
    def call(m, theta, x):
        places = m.nn.functional.affine_grid(theta, (2, 4, 5, 2 if aligned else 1), aligned)
        same_size = m.nn.functional.affine_grid(theta, x.size(), aligned)
        return places, m.nn.functional.grid_sample(x, same_size, align_corners=aligned)

    check(call, [array(2, 2, 3), IMAGE], "float64")


def test_adaptive_softmax():
    modules = pair(lambda m: m.nn.AdaptiveLogSoftmaxWithLoss(6, 20, [3, 9, 10], 1.5))

    def call(m, x):
        chances = modules[m].log_prob(x)
        one = modules[m](x[0], m.tensor(11))
        assert chances.exp().sum(1).detach().numpy() == pytest.approx(np.ones(5))
        return chances, one.output, one.loss, modules[m].predict(x)

    check(call, [array(5, 6)], "float64", modules)
    for m in (mt, torch):
        for cutoffs in ([], [3, 3], [5, 20], [0, 4], [2.5]):
            with pytest.raises(ValueError, match="cutoffs"):
                m.nn.AdaptiveLogSoftmaxWithLoss(6, 20, cutoffs)


def test_unpooling():
    """The largest elements, back where they were, in the size that there was."""

    def call(m, x):
        y, places = m.nn.functional.max_pool2d(x, 2, return_indices=True)
        z, lines = m.nn.functional.max_pool1d(x[0], 3, 2, 1, return_indices=True)
        return (
            m.nn.functional.max_unpool2d(y, places, 2, output_size=x.shape),
            m.nn.functional.max_unpool1d(z, lines, 3, 2, 1, (6,)),
        )

    check(call, [array(2, 3, 7, 6)], "float64")
    for m in (mt, torch):
        with pytest.raises(ValueError, match="output"):
            m.nn.MaxUnpool2d(2)(m.zeros(1, 2, 2), m.zeros(1, 2, 2).long(), output_size=(7, 7))


def test_older_names_of_interpolate():
    for name, options in (
        ("upsample", {"scale_factor": 2, "mode": "bilinear", "align_corners": True}),
        ("upsample_nearest", {"size": (3, 9)}),
        ("upsample_bilinear", {"scale_factor": 3}),
    ):

        def call(m, x, name=name, options=options):
            with pytest.warns(UserWarning, match="interpolate"):
                return getattr(m.nn.functional, name)(x, **options)

        check(call, [IMAGE], "float64")


def test_dropout_for_selu():
    """Mean and variance stay, and what is dropped ends where selu does."""
    mt.manual_seed(0)
    x = mt.randn(200_000)
    y = mt.nn.functional.alpha_dropout(x, 0.4, training=True)
    assert abs(y.mean().item()) < 0.01 and abs(y.var().item() - 1) < 0.02
    assert abs(np.unique(y.numpy(), return_counts=True)[1].max() / len(x) - 0.4) < 0.01
    theirs = torch.nn.functional.alpha_dropout(torch.zeros(9, dtype=torch.float64), 0.4, True)
    ours = mt.nn.functional.alpha_dropout(mt.zeros(99, dtype=mt.float64), 0.4, True)
    np.testing.assert_allclose(np.unique(ours.numpy()), np.unique(theirs.numpy()), rtol=1e-12)


def test_slopes_drawn_at_random():
    mt.manual_seed(0)
    x = mt.tensor([-1.0, 2.0]).repeat(1000, 1).requires_grad_()
    y = mt.nn.RReLU(0.2, 0.6)(x)
    y.sum().backward()
    assert (y[:, 1] == 2).all() and (x.grad[:, 1] == 1).all()
    assert 0.2 <= -y[:, 0].max() < 0.21 and 0.59 < -y[:, 0].min() <= 0.6
    assert mt.equal(x.grad[:, 0], -y[:, 0].detach())


WORDS = integers(4, 5, below=5) + 1
WORDS[0, 1] = WORDS[0, 0]
CTC = {  # targets, lengths of the inputs and of the targets
    "mean": (WORDS, (12, 12, 12, 12), (5, 4, 3, 2), {}),
    "none": (WORDS, (12, 10, 7, 0), (5, 4, 0, 0), {"reduction": "none"}),
    "in a row": (WORDS.ravel()[:11], (12, 11, 12, 9), (5, 3, 1, 2), {"reduction": "sum"}),
    "last is blank": (WORDS - 1, (12, 11, 12, 9), (5, 3, 1, 2), {"blank": 5}),
    "too short": (WORDS, (12, 4, 2, 12), (5, 5, 3, 2), {"zero_infinity": True}),
    "nothing to say": (np.zeros((4, 0), int), (12, 5, 2, 12), (0, 0, 0, 0), {}),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CTC)
def test_ctc(case, dtype):
    targets, steps, sizes, options = CTC[case]

    def call(m, x):
        loss = m.nn.CTCLoss(**options)
        as_tensors = loss(x.log_softmax(2), m.tensor(targets), m.tensor(steps), m.tensor(sizes))
        given = x.log_softmax(2), m.tensor(targets), steps, sizes
        return as_tensors, m.nn.functional.ctc_loss(*given, **options)

    check(call, [array(12, 4, 6)], dtype)


def test_ctc_of_one():
    def call(m, x):
        lengths = m.tensor(12), m.tensor(5)
        return m.nn.functional.ctc_loss(x.log_softmax(1), m.tensor(WORDS[0]), *lengths)

    check(call, [array(12, 6)], "float64")


def test_lengths_of_rows():
    """Rows that are too long are shortened in the table itself; the others stay."""
    tables = []
    for m in (mt, torch):
        weight = m.tensor(array(5, 4))
        m.nn.functional.embedding(m.tensor([[1, 3], [3, 4]]), weight, max_norm=1.5, norm_type=3.0)
        tables.append(weight)
    same(*tables)
    assert np.array_equal(tables[0].numpy()[[0, 2]], array(5, 4)[[0, 2]])


def test_bags_by_frequency():
    """As for a table without bags; torch's own bags divide by the counts of other rows."""

    def call(m, weight):
        bags = [m.tensor(integers(4, 5, below=7)), weight]
        if m is mt:
            return m.nn.functional.embedding_bag(*bags, mode="sum", scale_grad_by_freq=True)
        return m.nn.functional.embedding(*bags, scale_grad_by_freq=True).sum(1)

    check(call, [array(7, 3)], "float64")


def test_tables_that_are_there_already():
    for kind, given in (("Embedding", (1, 0.5)), ("EmbeddingBag", (0.5, 1.0, False, "sum"))):

        def call(m, weight, kind=kind, given=given):
            table = getattr(m.nn, kind).from_pretrained(weight.detach().clone(), False, *given)
            assert table.weight.requires_grad
            assert not getattr(m.nn, kind).from_pretrained(weight.detach()).weight.requires_grad
            return table(m.tensor([[1, 4, 1]])), table.weight

        check(call, [array(5, 3)], "float64")


def test_softmax_to_another_dtype():
    ours = mt.nn.functional.softmax(mt.tensor([1, 2]), 0, dtype=mt.float64)
    theirs = torch.nn.functional.softmax(torch.tensor([1, 2]), 0, dtype=torch.float64)
    same(ours, theirs)


def test_one_hot():
    for options in ({}, {"num_classes": 9}):
        ours, theirs = (
            m.nn.functional.one_hot(m.tensor(integers(2, 3, below=5)), **options)
            for m in (mt, torch)
        )
        same(ours, theirs)


def test_functions_in_place():
    for name in ("relu", "leaky_relu", "elu", "silu"):

        def call(m, x, name=name):
            y = x * 1
            assert getattr(m.nn.functional, name)(y, inplace=True) is y
            return y

        check(call, [C], "float64")


# ---- hooks ---------------------------------------------------------------------------


class Recorder:
    """A backward hook that keeps what it is shown and may answer."""

    def __init__(self, answer=None):
        self.seen, self.answer = [], answer

    def __call__(self, module, grad_input, grad_output):
        self.seen.append([g if g is None else g.clone() for g in (*grad_input, *grad_output)])
        return self.answer and self.answer(grad_input)


@pytest.mark.parametrize("differentiated", [True, False])
@pytest.mark.parametrize("answer", [None, lambda grads: tuple(g * 2 for g in grads)])
def test_full_backward_hooks(answer, differentiated):
    seen, grads = [], []
    for m in (mt, torch):

        class Mix(m.nn.Module):
            def __init__(self, m=m):
                super().__init__()
                self.scale = m.nn.Parameter(m.tensor(3.0))

            def forward(self, x, y):
                return self.scale * x * y, x + 2 * y

        mix, recorder = Mix(), Recorder(answer if differentiated else None)
        handle = mix.register_full_backward_hook(recorder)
        x, y = (m.tensor(array(3, seed=i).astype("float32")) for i in range(2))
        if differentiated:
            x.requires_grad_(), y.requires_grad_()
        a, b = mix(x, y)
        (a.exp() + (b if differentiated else 0)).sum().backward()
        seen.append(recorder.seen)
        grads.append([x.grad, y.grad, mix.scale.grad])
        handle.remove()
        mix(x, y)[0].sum().backward()
        assert len(recorder.seen) == 1
    assert len(seen[0]) == len(seen[1]) == 1
    for ours, theirs in zip(seen[0][0] + grads[0], seen[1][0] + grads[1]):
        same(ours, theirs, "float32")


def test_hooks_do_not_hold_what_changes_in_place():
    def call(m, x):
        norm = m.nn.BatchNorm1d(3).double()
        norm.register_full_backward_hook(lambda *_: None)
        return norm(x).exp().sum() + norm(2 * x).sum()  # its running mean has changed by now

    check(call, [array(4, 3)], "float64")


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.filterwarnings("ignore:Using a non-full backward hook")
def test_older_backward_hooks_of_convolutions_and_activations(inplace):
    found = []
    for m in (mt, torch):
        arrays = array(1, 2, 5, 5), array(3, 2, 3, 3), array(4, 3, 2, 2)
        x, first, second = tensors(m, arrays, "float64")
        net = m.nn.Sequential(
            m.nn.Conv2d(2, 3, 3), m.nn.ReLU(inplace=inplace), m.nn.Conv2d(3, 4, 2)
        ).double()
        net[0].weight.data, net[2].weight.data = first.detach(), second.detach()
        for conv in (net[0], net[2]):
            m.nn.init.zeros_(conv.bias)
        recorder = Recorder()
        net[1].register_backward_hook(lambda module, grads, _: (grads[0].clamp(min=0),))
        net[2].register_backward_hook(recorder)
        net[2].register_backward_hook(lambda *_: pytest.fail("it was taken away")).remove()
        net(x).exp().sum().backward()
        (grads,) = recorder.seen  # PyTorch also shows those of its weights
        found.append((grads[0], grads[-1], net[0].weight.grad, x.grad))
    for ours, theirs in zip(*found):
        same(ours, theirs)


# ---- first values --------------------------------------------------------------------

LAYERS = {
    "Linear": lambda m: m.nn.Linear(300, 200),
    "Embedding": lambda m: m.nn.Embedding(300, 200, padding_idx=3),
    "LayerNorm": lambda m: m.nn.LayerNorm(300),
    "RMSNorm": lambda m: m.nn.RMSNorm(300),
    "MultiheadAttention": lambda m: m.nn.MultiheadAttention(120, 4),
    "MultiheadAttention of other widths": lambda m: m.nn.MultiheadAttention(
        120, 4, kdim=80, vdim=300
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_start_with_torchs_distribution(name):
    mt.manual_seed(0), torch.manual_seed(0)
    states = [LAYERS[name](m).state_dict() for m in (mt, torch)]
    assert list(states[0]) == list(states[1])
    for key, value in states[0].items():
        alike(value.numpy(), states[1][key].numpy())


def alike(ours, theirs):
    """Two large samples have the same quantiles, within what chance explains."""
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    both = np.concatenate([ours.ravel(), theirs.ravel()])
    if np.ptp(theirs) == 0:
        np.testing.assert_array_equal(ours, theirs)
        return
    shares = [
        np.searchsorted(np.sort(x.ravel()), both, side="right") / x.size for x in (ours, theirs)
    ]
    # the Kolmogorov–Smirnov distance; it goes beyond this once in 10,000 pairs of equal ones
    assert np.abs(shares[0] - shares[1]).max() < 2.3 * math.sqrt(2 / ours.size)


INITS = {
    "uniform_": (-0.5, 2.0),
    "normal_": (1.0, 3.0),
    "trunc_normal_": (0.2, 1.5, -1.0, 2.0),
    "xavier_uniform_": (1.5,),
    "xavier_normal_": (1.5,),
    "kaiming_uniform_": (0.3, "fan_out"),
    "kaiming_normal_": (0.3, "fan_in"),
    "constant_": (0.3,),
    "ones_": (),
    "zeros_": (),
    "eye_": (),
}


@pytest.mark.parametrize("name", INITS)
def test_init(name):
    torch.manual_seed(0), mt.manual_seed(0)
    ours, theirs = (
        getattr(m.nn.init, name)(m.empty(150, 100), *INITS[name]).numpy() for m in (mt, torch)
    )
    alike(ours, theirs)
    if name.endswith(("uniform_", "trunc_normal_")):  # and the bounds are the same
        assert ours.min() == pytest.approx(theirs.min(), abs=0.01 * float(np.ptp(theirs)))
        assert ours.max() == pytest.approx(theirs.max(), abs=0.01 * float(np.ptp(theirs)))


def test_calculate_gain():
    for name in ("linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu", "conv2d"):
        assert mt.nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert mt.nn.init.calculate_gain("leaky_relu", 0.3) == pytest.approx(
        torch.nn.init.calculate_gain("leaky_relu", 0.3)
    )


# ---- clipping ------------------------------------------------------------------------


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clip_grad_norm(max_norm, norm_type):
    grads, norms = [], []
    for m in (mt, torch):
        parameters = [m.nn.Parameter(m.tensor(array(*s))) for s in [(3, 4), (2,), ()]]
        for p in parameters[:2]:
            (p * m.tensor(array(*p.shape, seed=1))).sum().backward()
        norms.append(m.nn.utils.clip_grad_norm_(parameters, max_norm, norm_type))
        grads.append([p.grad for p in parameters])
    same(*norms)
    for ours, theirs in zip(*grads):
        same(ours, theirs)


def test_clip_grad_of_what_is_not_finite():
    for bad in (math.nan, math.inf):
        grads = []
        for m in (mt, torch):
            p = m.nn.Parameter(m.tensor([1.0, 2.0]))
            p.grad = m.tensor([bad, 1.0])
            with pytest.raises(RuntimeError, match="finite"):
                m.nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
            m.nn.utils.clip_grad_norm_([p], 1.0)
            grads.append(p.grad)
        same(*grads)


def test_clip_grad_value():
    grads = []
    for m in (mt, torch):
        p = m.nn.Parameter(m.tensor([1.0, 2.0, 3.0]))
        p.grad = m.tensor([-3.0, 0.2, 5.0])
        m.nn.utils.clip_grad_value_(p, 0.5)
        grads.append(p.grad)
    same(*grads)


# ---- errors --------------------------------------------------------------------------


def forgetful(m):
    class Model(m.nn.Module):
        def __init__(self):
            self.layer = m.nn.Linear(2, 2)

    return Model()


def tensor_over_parameter(m):
    m.nn.Linear(2, 2).weight = m.zeros(2, 2)


def number_over_module(m):
    m.nn.Sequential(m.nn.Linear(2, 2)).__setattr__("0", 3)


ERRORS = {
    "forgotten super().__init__()": (AttributeError, forgetful),
    "unknown attribute": (AttributeError, lambda m: m.nn.Linear(2, 2).wieght),
    "tensor over parameter": (TypeError, tensor_over_parameter),
    "number over module": (TypeError, number_over_module),
    "buffer that is no tensor": (TypeError, lambda m: m.nn.Module().register_buffer("a", 3)),
    "buffer with a dot": (KeyError, lambda m: m.nn.Module().register_buffer("a.b", None)),
    "buffer twice": (KeyError, lambda m: m.nn.Linear(2, 2).register_buffer("in_features", None)),
    "parameter over a module": (
        KeyError,
        lambda m: m.nn.Sequential(m.nn.ReLU()).register_parameter("0", None),
    ),
    "parameter that is none": (
        TypeError,
        lambda m: m.nn.Module().register_parameter("a", m.zeros(2)),
    ),
    "no name": (KeyError, lambda m: m.nn.Module().add_module("", m.nn.ReLU())),
    "module that is none": (TypeError, lambda m: m.nn.Module().add_module("a", 3)),
    "no forward": (NotImplementedError, lambda m: m.nn.Module()(m.zeros(2))),
    "train with a word": (ValueError, lambda m: m.nn.Module().train("yes")),
    "missing keys": (RuntimeError, lambda m: m.nn.Linear(2, 2).load_state_dict({})),
    "wrong shape": (
        RuntimeError,
        lambda m: m.nn.Linear(2, 2, bias=False).load_state_dict(
            {"weight": m.zeros(2)}, strict=False
        ),
    ),
    "path to nothing": (AttributeError, lambda m: m.nn.Linear(2, 2).get_submodule("a.b")),
    "path to no parameter": (AttributeError, lambda m: m.nn.Linear(2, 2).get_parameter("b")),
    "integer dtype": (TypeError, lambda m: m.nn.Linear(2, 2).to(m.int64)),
    "integer parameter": (RuntimeError, lambda m: m.nn.Parameter(m.tensor([1]))),
    "index beyond a list": (IndexError, lambda m: m.nn.ModuleList([m.nn.ReLU()])[1]),
    "unknown name in a dictionary": (KeyError, lambda m: m.nn.ModuleDict()["a"]),
    "a number in a list": (TypeError, lambda m: m.nn.ModuleList([3])),
    "shapes of linear": (RuntimeError, lambda m: m.nn.Linear(2, 3)(m.zeros(4, 3))),
    "dtypes of linear": (RuntimeError, lambda m: m.nn.Linear(2, 3)(m.zeros(4, 2).double())),
    "integers to linear": (RuntimeError, lambda m: m.nn.Linear(2, 3)(m.zeros(4, 2).long())),
    "token beyond a table": (IndexError, lambda m: m.nn.Embedding(3, 2)(m.tensor([3]))),
    "token below a table": (IndexError, lambda m: m.nn.Embedding(3, 2)(m.tensor([-1]))),
    "token that is no integer": (RuntimeError, lambda m: m.nn.Embedding(3, 2)(m.tensor([1.0]))),
    "shape of layer norm": (RuntimeError, lambda m: m.nn.LayerNorm(3)(m.zeros(2, 4))),
    "dropout of 2": (ValueError, lambda m: m.nn.Dropout(2.0)),
    "class beyond": (
        IndexError,
        lambda m: m.nn.functional.cross_entropy(m.zeros(2, 3), m.tensor([0, 3])),
    ),
    "class beyond, of nll": (
        IndexError,
        lambda m: m.nn.functional.nll_loss(m.zeros(2, 3), m.tensor([0, 3])),
    ),
    "weights of elements": (
        ValueError,
        lambda m: m.nn.functional.mse_loss(m.zeros(2), m.zeros(2), weight=m.zeros(1)),
    ),
    "reduction": (
        ValueError,
        lambda m: m.nn.functional.mse_loss(m.zeros(2), m.zeros(2), reduction="avg"),
    ),
    "smoothing of 2": (
        RuntimeError,
        lambda m: m.nn.functional.cross_entropy(
            m.zeros(2, 3), m.tensor([0, 1]), label_smoothing=2.0
        ),
    ),
    "class weights": (
        RuntimeError,
        lambda m: m.nn.functional.cross_entropy(m.zeros(2, 3), m.tensor([0, 1]), m.ones(2)),
    ),
    "shapes of probabilities": (
        ValueError,
        lambda m: m.nn.functional.binary_cross_entropy(m.ones(2), m.ones(3)),
    ),
    "probability of 2": (
        RuntimeError,
        lambda m: m.nn.functional.binary_cross_entropy(m.ones(2) * 2, m.ones(2)),
    ),
    "shapes of logits": (
        ValueError,
        lambda m: m.nn.functional.binary_cross_entropy_with_logits(m.ones(2), m.ones(3)),
    ),
    "mask beside is_causal": (
        RuntimeError,
        lambda m: m.nn.functional.scaled_dot_product_attention(
            *[m.zeros(1, 2, 2)] * 3, attn_mask=m.zeros(2, 2), is_causal=True
        ),
    ),
    "mask of another dtype": (
        RuntimeError,
        lambda m: m.nn.functional.scaled_dot_product_attention(
            *[m.zeros(1, 2, 2)] * 3, attn_mask=m.zeros(2, 2).double()
        ),
    ),
    "promised causal without mask": (
        RuntimeError,
        lambda m: m.nn.MultiheadAttention(4, 2)(*[m.zeros(3, 1, 4)] * 3, is_causal=True),
    ),
    "shape of a mask": (
        RuntimeError,
        lambda m: m.nn.MultiheadAttention(4, 2)(*[m.zeros(3, 1, 4)] * 3, attn_mask=m.zeros(2, 3)),
    ),
    "unknown activation": (
        RuntimeError,
        lambda m: m.nn.TransformerEncoderLayer(4, 2, activation="cube"),
    ),
    "fan of a vector": (ValueError, lambda m: m.nn.init.xavier_uniform_(m.zeros(3))),
    "unknown gain": (ValueError, lambda m: m.nn.init.calculate_gain("cube")),
    "unknown mode": (ValueError, lambda m: m.nn.init.kaiming_normal_(m.zeros(2, 2), mode="in")),
    "eye of a vector": (ValueError, lambda m: m.nn.init.eye_(m.zeros(3))),
    "dirac of a matrix": (ValueError, lambda m: m.nn.init.dirac_(m.zeros(3, 3))),
    "groups of dirac": (ValueError, lambda m: m.nn.init.dirac_(m.zeros(3, 3, 3), 2)),
}


@pytest.mark.parametrize("case", ERRORS)
def test_error(case):
    kind, call = ERRORS[case]
    for m in (torch, mt):
        with pytest.raises(kind):
            call(m)


def test_weight_norm():
    """The same lengths and directions after some steps, and the same weight at the end."""
    found = []
    for m in (mt, torch):
        layer = m.nn.Conv1d(3, 2, 2)
        with m.no_grad():
            layer.weight.copy_(m.arange(12.0).reshape(2, 3, 2) / 5 - 0.4)
            layer.bias.zero_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch has a newer one
            layer = m.nn.utils.weight_norm(layer)
        sgd = m.optim.SGD(layer.parameters(), lr=0.1)
        for _ in range(3):
            sgd.zero_grad()
            layer(m.arange(15.0).reshape(1, 3, 5) / 10).square().mean().backward()
            sgd.step()
        g, v = layer.weight_g.detach().numpy(), layer.weight_v.detach().numpy()
        m.nn.utils.remove_weight_norm(layer)
        assert sorted(layer.state_dict()) == ["bias", "weight"]
        found.append((g, v, layer.weight.detach().numpy()))
    for ours, theirs in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_softmax2d_and_einsum_with_numbers():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    for call in (
        lambda m, x: m.nn.Softmax2d()(x),
        lambda m, x: m.einsum(x, [0, 1, ...], x, [0, 2, ...], [1, 2]),
        lambda m, x: m.einsum(x[0, 0], [0, 1], x[1, 0], [0, 1]),
    ):
        ours, theirs = (
            call(m, t).numpy() for m, t in ((mt, mt.tensor(x)), (torch, torch.tensor(x)))
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_kl_div_where_something_is_impossible():
    """0 · −∞ is NaN, in PyTorch too: a target of 0 does not excuse a logarithm of 0."""
    found = []
    for m in (mt, torch):
        x = m.tensor([[-math.inf, -1.0, -2.0]], requires_grad=True)
        target = m.tensor([[0.0, 0.5, 0.5]], requires_grad=True)
        loss = m.nn.functional.kl_div(x, target, reduction="none")
        loss.sum().backward()
        found.append(np.stack([t.detach().numpy() for t in (loss, x.grad, target.grad)]))
    np.testing.assert_allclose(*found, rtol=1e-6)
    assert np.isnan(found[0][0, 0, 0])


@pytest.mark.parametrize("shape, groups", [((4, 2, 3), 1), ((6, 2, 3, 4), 3), ((2, 5, 4), 2)])
def test_dirac(shape, groups):
    found = [m.nn.init.dirac_(m.ones(*shape), groups).tolist() for m in (mt, torch)]
    assert found[0] == found[1]


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ["Conv1d", "Conv2d", "ConvTranspose2d"])
def test_a_convolution_takes_in_the_batch_norm_behind_it(name, bias, affine):
    rng, found = np.random.default_rng(0), []
    state = None
    for library in (torch, mt):
        nn = library.nn
        norm = nn.BatchNorm1d if name == "Conv1d" else nn.BatchNorm2d
        pair = nn.Sequential(getattr(nn, name)(2, 4, 3, bias=bias), norm(4, affine=affine)).double()
        state = state or {k: rng.random(tuple(v.shape)) for k, v in pair.state_dict().items()}
        pair.load_state_dict({k: library.tensor(v) for k, v in state.items()})
        fused = nn.utils.fusion.fuse_conv_bn_eval(*pair.eval(), transpose="Transpose" in name)
        x = library.tensor(np.random.default_rng(1).random((2, 2, 5, 5)[: 3 + (name != "Conv1d")]))
        found.append(fused(x).detach().numpy())
        np.testing.assert_allclose(found[-1], pair(x).detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(*found, rtol=1e-12)
    with pytest.raises(AssertionError, match="in evaluation"):
        mt.nn.utils.fuse_conv_bn_eval(*pair.train())
