"""Layers over signals and images, and normalization: by hand, and errors that say what is wrong."""

import numpy as np
import pytest

import microtensor as mt
from microtensor import nn
from microtensor.nn import functional as F


@pytest.fixture(autouse=True)
def seed():
    mt.manual_seed(0)


def test_a_convolution_by_hand():
    x = mt.tensor([[[1.0, 2.0, 4.0, 8.0]]])
    w = mt.tensor([[[1.0, -1.0]]])
    assert F.conv1d(x, w).tolist() == [[[-1.0, -2.0, -4.0]]]
    assert F.conv1d(x, w, stride=2).tolist() == [[[-1.0, -4.0]]]
    assert F.conv1d(x, w, dilation=3).tolist() == [[[-7.0]]]
    assert F.conv1d(x, w, padding="same").tolist() == [[[-1.0, -2.0, -4.0, 8.0]]]
    assert F.conv_transpose1d(x, w).tolist() == [[[1.0, 1.0, 2.0, 4.0, -8.0]]]


def test_a_transposed_convolution_is_the_derivative():
    layer = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
    back = nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, bias=False)
    back.weight = layer.weight
    x = mt.randn(2, 3, 7, 7, requires_grad=True)
    y = layer(x)
    g = mt.randn(*y.shape)
    (expected,) = mt.autograd.grad(y, x, g)
    np.testing.assert_allclose(back(g).detach().numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
    assert back(g, output_size=(8, 7)).shape == (2, 3, 8, 7)
    with pytest.raises(ValueError, match="cannot come from"):
        back(g, output_size=(9, 7))


def test_unfold_and_fold_undo_each_other():
    x = mt.arange(48.0).reshape(1, 2, 4, 6)
    columns = F.unfold(x, (2, 3), stride=(2, 3))
    assert columns.shape == (1, 12, 4)
    assert mt.equal(F.fold(columns, (4, 6), (2, 3), stride=(2, 3)), x)
    with pytest.raises(RuntimeError, match="6 rows for each channel and 4 columns"):
        F.fold(columns[:, :, 1:], (4, 6), (2, 3), stride=(2, 3))


def test_pools_pick_the_first_of_equals_and_keep_nan():
    x = mt.tensor([[[1.0, 1.0, 0.0, float("nan")]]], requires_grad=True)
    y, where = F.max_pool1d(x, 2, return_indices=True)
    assert where.tolist() == [[[0, 3]]]
    assert y[0, 0, 0] == 1 and y.isnan().tolist() == [[[False, True]]]
    y[0, 0, 0].backward()
    assert x.grad.tolist() == [[[1.0, 0.0, 0.0, 0.0]]]


def test_batch_norm_remembers():
    layer = nn.BatchNorm1d(2, momentum=0.5)
    x = mt.tensor([[0.0, 2.0], [2.0, 6.0]])
    y = layer(x)
    np.testing.assert_allclose(y.detach().numpy(), [[-1, -1], [1, 1]], rtol=1e-4)
    assert layer.running_mean.tolist() == [0.5, 2.0]
    assert layer.running_var.tolist() == [1.5, 4.5]  # half of 1, and of the unbiased 2 and 8
    assert layer.num_batches_tracked.item() == 1
    layer.eval()
    layer(x)
    assert layer.running_mean.tolist() == [0.5, 2.0]
    layer.reset_parameters()
    assert layer.running_var.tolist() == [1.0, 1.0]
    assert set(layer.state_dict()) == {
        "weight", "bias", "running_mean", "running_var", "num_batches_tracked",
    }  # fmt: skip


def test_channels_drop_whole():
    y = F.dropout2d(mt.ones(4, 50, 3, 3), 0.5)
    assert set(y.sum((2, 3)).reshape(-1).tolist()) == {0.0, 18.0}


def test_gumbel_softmax_draws_by_probability():
    p = mt.tensor([0.2, 0.5, 0.3])
    draws = F.gumbel_softmax(p.log().expand(4000, 3), hard=True)
    assert set(draws.reshape(-1).tolist()) <= {0.0, 1.0}
    np.testing.assert_allclose(draws.mean(0).numpy(), p.numpy(), atol=0.03)


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: F.conv2d(mt.ones(3, 2, 4), mt.ones(1, 3, 5, 1)), RuntimeError, "does not fit"),
        (lambda: F.conv2d(mt.ones(2, 3), mt.ones(1, 3, 2, 2)), RuntimeError, r"\(N, C, …\)"),
        (lambda: F.conv1d(mt.ones(1, 3, 4), mt.ones(2, 2, 2)), RuntimeError, "has 3"),
        (
            lambda: F.conv1d(mt.ones(1, 3, 4), mt.ones(2, 3, 2), stride=2, padding="same"),
            RuntimeError,
            "stride of 1",
        ),
        (lambda: F.conv2d(mt.ones(1, 1, 4, 4), mt.ones(1, 1, 2, 2), stride=(1, 1, 1)),
         RuntimeError, "stride is a number or 2"),
        (lambda: nn.Conv2d(3, 4, 2, groups=2), ValueError, "2 groups cannot share 3"),
        (lambda: nn.Conv1d(3, 4, 2, padding_mode="mirror"), ValueError, "'mirror'"),
        (lambda: F.max_pool2d(mt.ones(1, 1, 4, 4), 2, padding=2), RuntimeError, "at most half"),
        (lambda: F.avg_pool1d(mt.ones(1, 1, 4), 2, 0), RuntimeError, "above 0"),
        (lambda: nn.GroupNorm(3, 4), ValueError, "3 groups cannot share 4"),
        (lambda: F.batch_norm(mt.ones(1, 3), None, None, training=True), ValueError, "more than"),
        (lambda: nn.BatchNorm2d(3)(mt.ones(2, 3)), ValueError, "4 dimensions"),
        (lambda: F.interpolate(mt.ones(1, 1, 4), 2, mode="cubic"), NotImplementedError, "cubic"),
        (lambda: F.embedding_bag(mt.tensor([1]), mt.ones(2, 2)), ValueError, "offsets"),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
