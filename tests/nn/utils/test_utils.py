"""Vectors of parameters, norms of gradients, batch norm folded into a layer, sequences unpadded."""

import pytest

import microtensor as mt
from microtensor import nn


def test_parameters_as_a_vector_and_back():
    mt.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    vector = nn.utils.parameters_to_vector(model.parameters())
    assert vector.shape == (11,)
    assert (vector[:6] == model[0].weight.flatten()).all() and (vector[-1] == model[1].bias).all()
    nn.utils.vector_to_parameters(vector * 2, model.parameters())
    assert (nn.utils.parameters_to_vector(model.parameters()) == vector * 2).all()
    assert model[0].weight.shape == (2, 3)


@pytest.mark.parametrize("p", [1, 2, 3.5, float("inf")])
def test_the_norm_of_all_gradients(p):
    mt.manual_seed(0)
    grads = [mt.randn(3, 2), mt.randn(4)]
    whole = mt.cat([g.flatten() for g in grads])
    expected = mt.linalg.vector_norm(whole, p)
    assert mt.allclose(nn.utils.get_total_norm(grads, p), expected)
    parameters = [nn.Parameter(mt.zeros_like(g)) for g in grads]
    for parameter, g in zip(parameters, grads):
        parameter.grad = g.clone()
    assert mt.allclose(nn.utils.clip_grad_norm_(parameters, 0.5, p), expected)
    clipped = mt.cat([parameter.grad.flatten() for parameter in parameters])
    assert mt.allclose(clipped, whole * 0.5 / expected, atol=1e-5)


@pytest.mark.parametrize("layer, norm, shape, transpose", [
    (nn.Conv1d(3, 4, 2), nn.BatchNorm1d(4), (2, 3, 6), False),
    (nn.Conv2d(3, 4, 2, bias=False), nn.BatchNorm2d(4), (2, 3, 6, 5), False),
    (nn.ConvTranspose2d(3, 4, 2), nn.BatchNorm2d(4), (2, 3, 4, 5), True),
])  # fmt: skip
def test_batch_norm_folded_into_a_convolution(layer, norm, shape, transpose):
    mt.manual_seed(0)
    for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        t.data.copy_(mt.rand(4) + 0.5)
    layer.eval(), norm.eval()
    fused, x = nn.utils.fuse_conv_bn_eval(layer, norm, transpose), mt.randn(*shape)
    assert type(fused) is type(layer)
    assert mt.allclose(fused(x), norm(layer(x)), atol=1e-5)


def test_sequences_come_back_as_long_as_they_were():
    rnn = nn.utils.rnn
    rows = [mt.arange(n).float() for n in (3, 1, 2)]
    for first in (True, False):
        padded = rnn.pad_sequence(rows, batch_first=first, padding_value=9)
        back = rnn.unpad_sequence(padded, mt.tensor([3, 1, 2]), batch_first=first)
        assert [r.tolist() for r in back] == [r.tolist() for r in rows]
