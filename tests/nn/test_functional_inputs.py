"""What functions of neural networks take besides the usual: bags with offsets, other shapes."""

import math

import pytest

import microtensor as mt
import microtensor.nn.functional as F

INDICES = mt.tensor([0, 1, 2, 1])
BAGS = [  # offsets, how, the bags
    ([0, 2], {}, [[0.5, 0.5, 0], [0, 0.5, 0.5]]),
    ([0, 0, 3], {"mode": "sum"}, [[0, 0, 0], [1, 1, 1], [0, 1, 0]]),
    ([0, 0, 4], {"mode": "max"}, [[0, 0, 0], [1, 1, 1], [0, 0, 0]]),
    ([0, 2, 4], {"include_last_offset": True}, [[0.5, 0.5, 0], [0, 0.5, 0.5]]),
    (
        [0, 2],
        {"mode": "sum", "per_sample_weights": mt.tensor([1.0, 2, 3, 4])},
        [[1, 2, 0], [0, 4, 3]],
    ),
]


@pytest.mark.parametrize("offsets, how, right", BAGS)
def test_bags_begin_at_their_offsets(offsets, how, right):
    assert F.embedding_bag(INDICES, mt.eye(3), mt.tensor(offsets), **how).tolist() == right


@pytest.mark.parametrize("offsets", [[1, 2], [0, 5]])
def test_offsets_outside_of_the_indices(offsets):
    with pytest.raises(RuntimeError, match="^embedding_bag: the offsets begin with 0, rise"):
        F.embedding_bag(INDICES, mt.eye(3), mt.tensor(offsets))


def test_offsets_and_a_matrix_of_indices_do_not_go_together():
    with pytest.raises(ValueError, match="^embedding_bag: offsets go with a row of indices"):
        F.embedding_bag(INDICES.reshape(2, 2), mt.eye(3), mt.tensor([0]))
    with pytest.raises(ValueError, match="^embedding_bag: offsets go with a row of indices"):
        F.embedding_bag(INDICES, mt.eye(3))


@pytest.mark.parametrize("norm_type, norm", [("inf", 4), (math.inf, 4), (2, 5), (1, 7)])
def test_norms_that_gradients_are_clipped_by(norm_type, norm):
    p = mt.nn.Parameter(mt.ones(2))
    p.grad = mt.tensor([3.0, -4.0])
    assert mt.nn.utils.clip_grad_norm_([p], 1.0, norm_type=norm_type).item() == norm
    assert mt.allclose(p.grad, mt.tensor([3.0, -4.0]) / norm)


def test_dropout2d_of_a_matrix():
    x = mt.ones(200, 8)
    assert F.dropout2d(x, 0.5, training=False).equal(x)
    mt.manual_seed(0)
    y = F.dropout2d(x, 0.5)
    assert set(y.flatten().tolist()) == {0.0, 2.0}
