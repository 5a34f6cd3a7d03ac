"""Operations with a derivative by hand in PyTorch's form, and what programs call beside them."""

import pytest

import microtensor as mt
from microtensor.autograd import Function


class Exp(Function):
    """eˣ, which keeps its result."""

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y


class Parts(Function):
    """The other form, with two results and an argument that is no tensor."""

    @staticmethod
    def forward(x, power):
        return x**power, x > 0, x.sum()

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.power = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx, g, _, total):
        (x,) = ctx.saved_tensors
        return g * ctx.power * x ** (ctx.power - 1) + total, None


def test_first_and_second_derivatives():
    x = mt.randn(3, dtype=mt.float64, requires_grad=True)
    assert mt.autograd.gradcheck(Exp.apply, x) and mt.autograd.gradgradcheck(Exp.apply, x)
    pair = lambda x: Parts.apply(x, 3)[::2]  # noqa: E731
    assert mt.autograd.gradcheck(pair, x) and mt.autograd.gradgradcheck(pair, x)


def test_it_is_one_operation_of_the_graph():
    x = mt.ones(2, requires_grad=True)
    y = Exp.apply(x)
    assert y.grad_fn.name() == "Exp" and not y.is_leaf and Exp.apply(x.detach()).is_leaf
    power, positive, total = Parts.apply(x, 2)
    assert not positive.requires_grad and power.grad_fn is total.grad_fn
    (power.sum() + 3 * total).backward()
    assert x.grad.tolist() == [5.0, 5.0]
    with mt.no_grad():
        assert not Exp.apply(x).requires_grad


def test_a_saved_tensor_that_was_changed_is_an_error():
    x = mt.ones(2, requires_grad=True)
    y = Exp.apply(x)
    y.detach().mul_(2)
    with pytest.raises(RuntimeError, match="Exp.*changed in place"):
        y.sum().backward()


def test_what_is_not_there_is_refused():
    with pytest.raises(NotImplementedError, match="forward"):
        Function.apply(mt.ones(1))
    with pytest.raises(NotImplementedError, match="forward-mode"):
        Function.jvp(None)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.transpose(1, 2).contiguous(), lambda x: x[:, [2, 0]], lambda x: x[..., [1, 0]],
        lambda x: x.transpose(0, 1).softmax(-1), lambda x: x.transpose(0, 2).cumsum(0),
        lambda x: mt.cat([x.mT, x.mT]), lambda x: mt.stack([x.mT, x.mT], 1),
        lambda x: x.mT[::2].sum(0), lambda x: x.repeat_interleave(2, 1),
        lambda x: x.mT.masked_fill(x.mT > 0, 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("context", [mt.enable_grad, mt.no_grad, mt.inference_mode])
def test_a_result_can_be_viewed_however_numpy_laid_it_out(make, context):
    with context():
        y = make(mt.randn(2, 3, 4))
        v = y.view(-1)
        assert mt.equal(v, y.reshape(-1))
        v[0] = 7.0  # the same memory
    assert y.flatten()[0] == 7 and y.is_contiguous()


def test_a_view_in_another_order_cannot():
    x = mt.randn(2, 3)
    with pytest.raises(RuntimeError, match="view"):
        x.t().view(-1)


def test_lazy_layers_become_ordinary_ones():
    layer = mt.nn.LazyLinear(2, bias=False)
    optimizer = mt.optim.SGD(layer.parameters(), lr=1.0)
    layer(mt.ones(1, 3)).sum().backward()
    before = layer.weight.detach().clone()
    optimizer.step()
    assert type(layer) is mt.nn.Linear and layer.in_features == 3
    assert mt.equal(layer.weight, before - 1)
    norm = mt.nn.LazyBatchNorm1d()
    norm(mt.randn(4, 5))
    assert norm.running_mean.shape == (5,) and norm.num_features == 5


def test_samplers():
    data = mt.utils.data
    once = data.WeightedRandomSampler([0.0, 1.0, 3.0], 2, replacement=False)
    assert sorted(once) == [1, 2] and len(once) == 2
    some = data.SubsetRandomSampler([4, 7, 9])
    assert sorted(some) == [4, 7, 9] and len(some) == 3
    many = mt.tensor(list(data.WeightedRandomSampler([1.0, 3.0], 4000)))
    assert 0.7 < many.float().mean() < 0.8


def test_small_things_that_programs_call():
    with mt.random.fork_rng():
        state = mt.get_rng_state()
        mt.rand(3)
    assert mt.equal(mt.get_rng_state(), state)
    x = mt.arange(3.0, dtype=mt.float64)
    assert mt.autograd.functional.hessian(lambda t: (t**3).sum(), x).tolist() == [
        [0, 0, 0], [0, 6, 0], [0, 0, 12]
    ]  # fmt: skip
    f = mt.nn.functional
    y = mt.tensor([-1.0, 2.0])
    assert f.relu_(y) is y and y.tolist() == [0, 2]
    assert f"{mt.tensor(2.5):.2f} {mt.tensor(2.5)}" == "2.50 2.5"
    assert mt.zeros(1, dtype=float).dtype is mt.float64 and mt.ones(1).type(mt.LongTensor)[0] == 1


def test_a_derivative_that_has_none():
    class Cube(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        @mt.autograd.function.once_differentiable
        def backward(ctx, g):
            return 3 * g * ctx.saved_tensors[0] ** 2

    x = mt.tensor([2.0], requires_grad=True)
    assert mt.autograd.grad(Cube.apply(x), x)[0].tolist() == [12]
    (slope,) = mt.autograd.grad(Cube.apply(x) * x, x, create_graph=True)
    assert slope.tolist() == [32]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.backward()


class Double(Function):
    """2x, whose backward returns what `gradients` says."""

    @staticmethod
    def forward(ctx, x, other=None, *, factor=2):
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        ctx.factor = factor
        return x * factor

    @staticmethod
    def backward(ctx, g):
        return Double.gradients(g * ctx.factor)


@pytest.mark.parametrize(
    ("gradients", "told"),
    [
        (lambda g: (3.0, None), "float"),
        (lambda g: ([g], None), "list"),
        (lambda g: g, "1 gradients for 2 inputs"),
        (lambda g: (g, None, g), "3 gradients for 2 inputs"),
        (lambda g: (g, g), "input 1, which is no tensor"),
        (lambda g: (g[:1], None), "shape"),
    ],
)
def test_wrong_gradients(gradients, told):
    Double.gradients = gradients
    x = mt.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=told):
        Double.apply(x, 5).sum().backward()


def test_what_is_saved_is_looked_at_when_it_is_used():
    Double.gradients = lambda g: (g, None, None)  # surplus None is fine
    x = mt.ones(2, requires_grad=True)
    y = x * 1
    z = Double.apply(y, None, factor=3)
    y.add_(1)  # nobody asks for saved_tensors
    z.sum().backward()
    assert x.grad.tolist() == [3, 3]
    with mt.inference_mode():
        made = mt.ones(2)
    with pytest.raises(RuntimeError, match="SavesAll: .*inference_mode"):
        SavesAll.apply(x, made)


class SavesAll(Function):
    """The first input as it is; all inputs are saved."""

    @staticmethod
    def forward(ctx, x, *others):
        ctx.save_for_backward(x, *others)
        return x

    @staticmethod
    def vjp(ctx, g):  # the name that it may have, too
        return (g * ctx.saved_tensors[0], *(None for _ in ctx.saved_tensors[1:]))


def test_an_input_that_is_returned_is_a_view():
    y = mt.ones(2, requires_grad=True) * 1
    z = SavesAll.apply(y)
    assert z is not y and z._is_view()
    for change in (lambda: z.add_(1), lambda: z[:1].zero_(), lambda: z.__setitem__(0, 1.0)):
        with pytest.raises(RuntimeError, match=r"Function .* cannot be recorded"):
            change()
    z.sum().backward()
    hooked = mt.nn.Linear(2, 2)
    hooked.register_full_backward_hook(lambda *args: None)
    with pytest.raises(RuntimeError, match="module's hook"):
        hooked(mt.ones(2)).relu_()
    hooked(mt.ones(2)).relu().sum().backward()
