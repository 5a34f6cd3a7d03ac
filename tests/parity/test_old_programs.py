"""What programs of PyTorch's first years say: size_average and reduce, and other older words."""

import inspect
import warnings

import numpy as np
import pytest

import microtensor as mt

torch = pytest.importorskip("torch")

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.uniform(0.1, 0.9, (2, 4, 3)).astype("float32")
CLASSES, SIGNS = np.array([0, 2, 1, 1]), np.array([1, -1, 1, -1])
BINARY = (Y > 0.5).astype("float32")
LOSSES = {  # the module, its function, what it is given
    "CrossEntropyLoss": ("cross_entropy", X, CLASSES),
    "NLLLoss": ("nll_loss", X, CLASSES),
    "MSELoss": ("mse_loss", X, Y),
    "L1Loss": ("l1_loss", X, Y),
    "SmoothL1Loss": ("smooth_l1_loss", X, Y),
    "BCELoss": ("binary_cross_entropy", X, BINARY),
    "BCEWithLogitsLoss": ("binary_cross_entropy_with_logits", X, BINARY),
    "KLDivLoss": ("kl_div", X, Y),
    "SoftMarginLoss": ("soft_margin_loss", X[:, 0], SIGNS),
    "MarginRankingLoss": ("margin_ranking_loss", X[:, 0], Y[:, 0], SIGNS),
    "HingeEmbeddingLoss": ("hinge_embedding_loss", X[:, 0], SIGNS),
    "CosineEmbeddingLoss": ("cosine_embedding_loss", X, Y, SIGNS),
    "TripletMarginLoss": ("triplet_margin_loss", X, Y, X[::-1].copy()),
    "MultiMarginLoss": ("multi_margin_loss", X, CLASSES),
    "MultiLabelSoftMarginLoss": ("multilabel_soft_margin_loss", X, BINARY),
    "PoissonNLLLoss": ("poisson_nll_loss", X, Y),
}
SAID = [
    {"size_average": True},
    {"size_average": False},
    {"reduce": False},
    {"reduce": True},
    {"size_average": False, "reduce": True},
    {"size_average": True, "reduce": False},
    {"size_average": False, "reduction": "none"},
]


def told(call):
    """The numbers that call() gives, and the warnings."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        value = call().numpy()
    return value, [str(w.message) for w in given if "size_average" in str(w.message)]


def alike(call):
    (ours, warned), (theirs, expected) = (told(lambda m=m: call(m)) for m in (mt, torch))
    assert warned == expected
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("said", SAID, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_size_average_and_reduce(name, said):
    function, *arrays = LOSSES[name]
    alike(lambda m: getattr(m.nn, name)(**said)(*map(m.tensor, arrays)))
    alike(lambda m: getattr(m.nn.functional, function)(*map(m.tensor, arrays), **said))


@pytest.mark.parametrize("name", LOSSES)
def test_by_position(name):
    """The arguments stand where they stand in PyTorch, all the way."""
    function, *arrays = LOSSES[name]
    theirs = inspect.signature(getattr(torch.nn, name)).parameters
    given = [p.default for p in theirs.values()]
    given[list(theirs).index("size_average")] = False
    alike(lambda m: getattr(m.nn, name)(*given)(*map(m.tensor, arrays)))
    theirs = list(inspect.signature(getattr(torch.nn.functional, function)).parameters.values())
    ours = inspect.signature(getattr(mt.nn.functional, function)).parameters
    given = [False if p.name == "reduce" else p.default for p in theirs][len(arrays) : len(ours)]
    alike(lambda m: getattr(m.nn.functional, function)(*map(m.tensor, arrays), *given))
    with pytest.raises(TypeError, match=function):
        getattr(mt.nn.functional, function)(*map(mt.tensor, arrays), *[None] * 20)


def test_elementwise_mean():
    for m in (mt, torch):
        with pytest.warns(UserWarning, match="elementwise_mean"):
            loss = m.nn.MSELoss(reduction="elementwise_mean")(m.tensor(X), m.tensor(Y))
        assert loss.item() == pytest.approx(float(((X - Y) ** 2).mean()))


def test_losses_of_ones_own():
    """Classes that are derived from PyTorch's hand the old arguments on."""

    def made(m):
        class Weighted(m.nn.modules.loss._WeightedLoss):
            def __init__(self, weight=None, size_average=None, reduce=None, reduction="mean"):
                super().__init__(weight, size_average, reduce, reduction)

            def forward(self, x, y):
                return m.nn.functional.mse_loss(x, y, reduction=self.reduction) * self.weight

        return Weighted(m.tensor([2.0]), False)(m.tensor(X), m.tensor(Y))

    alike(made)


@pytest.mark.parametrize("ndim", range(5))
@pytest.mark.parametrize("name", ["softmax", "softmin", "log_softmax"])
def test_softmax_without_a_dimension(name, ndim):
    """It is the one that the first programs meant, and the line that says none is told so."""
    x = RANDOM.normal(size=(2, 3, 2, 4)[:ndim]).astype("float32")
    module = {"softmax": "Softmax", "softmin": "Softmin", "log_softmax": "LogSoftmax"}[name]
    for m in (mt, torch):
        with pytest.warns(UserWarning, match="dim=") as said:
            getattr(m.nn.functional, name)(m.tensor(x))
        assert said[0].filename == __file__ or name == "softmin"
    alike(lambda m: getattr(m.nn.functional, name)(m.tensor(x)))
    alike(lambda m: getattr(m.nn, module)()(m.tensor(x)))


def test_tensors_like_another():
    for given in [(2, 3), ([2, 3],), (Y,), ()]:
        alike(lambda m: 0 * m.ones(1, dtype=m.float64).new(*given))  # noqa: B023
    alike(lambda m: m.ones(1).long().new(m.tensor(X).shape).fill_(2))
    assert mt.ones(1).long().new([1.5]).dtype is mt.int64


def test_masks_of_bytes():
    """Comparisons gave bytes before there were booleans, and these still pick elements."""
    for index in [(X > 0.5), (slice(None), X[0] > 0.5)]:

        def picked(m, index=index):
            x = m.tensor(Y, requires_grad=True)
            parts = index if isinstance(index, tuple) else (index,)
            parts = [p if isinstance(p, slice) else m.tensor(p).byte() for p in parts]
            part = x[tuple(parts)] if len(parts) > 1 else x[parts[0]]
            (part**2).sum().backward()
            return x.grad

        alike(picked)
    alike(lambda m: m.where(m.tensor(BINARY).byte(), m.tensor(X), m.tensor(Y)))
    with pytest.warns(UserWarning, match="uint8"):
        assert mt.arange(3)[mt.tensor([1, 0, 1], dtype=mt.uint8)].tolist() == [0, 2]
    assert mt.arange(3)[np.uint8(2)] == 2  # a number is a place


SQUARE = (X @ X.T + 2 * np.eye(4)).astype("float32")
WORDS = {
    "type(Tensor)": lambda m, x: x.double().type(m.Tensor),
    "norm_except_dim": lambda m, x: m.norm_except_dim(x, 1, -1),
    "norm_except_dim of rows": lambda m, x: m.norm_except_dim(x, 2, 0),
    "norm_except_dim of a column": lambda m, x: m.norm_except_dim(x, 2, 1),
    "layer_norm": lambda m, x: m.layer_norm(x, (3,), m.ones(3), m.zeros(3), 1e-3),
    "rms_norm": lambda m, x: m.rms_norm(x, [4, 3], eps=1e-3),
    "pdist": lambda m, x: m.pdist(x, p=1),
    "triangular_solve": lambda m, x: x.triangular_solve(m.tensor(SQUARE), False, True)[0],
    "sum_to_size": lambda m, x: x.sum_to_size(1, 3),
    "apply_": lambda m, x: x.detach().clone().apply_(lambda number: number > 0.5),
    "apply_ to integers": lambda m, x: m.tensor([[1, 2]]).t().apply_(lambda n: n + 1.5),
    "[7] * tensor": lambda m, x: m.tensor([7] * m.tensor(2) + [len("ab" * m.tensor([3]))]),
    "get_device": lambda m, x: m.tensor(x.get_device()),
    "randint": lambda m, x: m.randint(high=1, size=(2,)) + m.randint(low=1, high=2, size=(2,)),
    "broadcast_shapes": lambda m, x: m.zeros(m.broadcast_shapes((2, 1), 3).numel()),
}


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.filterwarnings("ignore:.*triangular_solve is deprecated:UserWarning")
def test_older_and_shorter_words(word):
    results = []
    for m in (mt, torch):
        x = m.tensor(X, requires_grad=True)
        y = WORDS[word](m, x)
        if y.requires_grad:
            (y**2).sum().backward()
        results.append((str(y.dtype).rpartition(".")[2], y.detach(), x.grad))
    (dtype, ours, gradient), (expected, theirs, slope) = results
    assert dtype == expected
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5)
    assert (gradient is None) == (slope is None)
    if slope is not None:
        np.testing.assert_allclose(gradient.numpy(), slope.numpy(), rtol=1e-4, atol=1e-6)


def test_a_convolution_with_another_weight():
    """`_conv_forward`, which layers with quantised or low-rank weights call."""
    found = []
    for m in (mt, torch):

        class OfSigns(m.nn.Conv1d):
            def forward(self, input):
                return self._conv_forward(input, self.weight.sign(), None)

        layer = OfSigns(4, 2, 2, padding=1, padding_mode="circular")
        layer.weight.data = m.tensor(np.arange(16, dtype="float32").reshape(2, 4, 2) - 7.5)
        found.append(layer(m.tensor(X)[None]).detach().numpy())
    np.testing.assert_allclose(*found, rtol=1e-6)
