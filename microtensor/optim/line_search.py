"""Line search along a direction (Nocedal and Wright, Numerical Optimization, chapter 3.5)."""

import math
from typing import NamedTuple


class Point(NamedTuple):
    """A point at `rate` times the direction: loss, gradient, and the slope along the direction."""

    rate: float
    loss: float
    grad: object
    slope: float


def strong_wolfe(at, start, rate, size, tolerance, most=25, c1=1e-4, c2=0.9):
    """(a point that meets the strong Wolfe conditions, the number of points computed).

    The conditions: the loss is below that at `start` by at least c1·rate·slope, and the slope at
    most c2 times as steep. `at(rate)` computes a Point; `rate` is the first guess; at most `most`
    more are tried. `size` is the largest element of the direction: the search ends where two points
    differ by less than `tolerance` in every element.
    """

    def too_high(p):
        return p.loss > start.loss + c1 * p.rate * start.slope

    def flat(p):
        return abs(p.slope) <= -c2 * start.slope

    ends, count = bracket(at, start, rate, most, too_high, flat)
    if len(ends) == 1:
        return ends[0], count + 1
    p, count = zoom(at, ends, count, size, tolerance, most, too_high, flat)
    return p, count + 1


def bracket(at, start, rate, most, too_high, flat):
    """([two points with a minimum between them] or [a point that meets the conditions], count).

    Algorithm 3.5: the rate grows until a minimum must lie between two points.
    """
    before, p, count = start, at(rate), 0
    while count < most:
        if too_high(p) or count > 1 and p.loss >= before.loss:
            return [before, p], count
        if flat(p):
            return [p], count
        if p.slope >= 0:
            return [before, p], count
        near, far = p.rate + 0.01 * (p.rate - before.rate), 10 * p.rate
        before, p = p, at(lowest_between(before, p, near, far))
        count += 1
    return [start, p], count


def zoom(at, ends, count, size, tolerance, most, too_high, flat):
    """(the best point found between two ends, count).

    Algorithm 3.6: the ends are drawn together, and the lower one is kept.
    """
    low, done, at_the_edge = int(ends[0].loss > ends[1].loss), False, False
    while not done and count < most:
        left, right = sorted(p.rate for p in ends)
        if (right - left) * size < tolerance:
            break
        rate, edge = lowest_between(*ends, left, right), 0.1 * (right - left)
        was_at_the_edge, at_the_edge = at_the_edge, min(right - rate, rate - left) < edge
        if at_the_edge and (was_at_the_edge or not left < rate < right):  # the ends hardly move
            rate = right - edge if right - rate < rate - left else left + edge
            at_the_edge = False
        p, count = at(rate), count + 1
        if too_high(p) or p.loss >= ends[low].loss:
            ends[1 - low] = p
            low = int(ends[0].loss > ends[1].loss)
        else:
            done = flat(p)
            if not done and p.slope * (ends[1 - low].rate - ends[low].rate) >= 0:
                ends[1 - low] = ends[low]
            ends[low] = p
    return ends[low], count


def lowest_between(a, b, left, right):
    """The minimum, within left … right, of the cubic with the losses and slopes of two points.

    (Nocedal and Wright, equation 3.59.) The middle, where it has no minimum.
    """
    a, b = (a, b) if a.rate <= b.rate else (b, a)
    turn = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.rate - b.rate)
    root = turn * turn - a.slope * b.slope
    if not root >= 0:
        return (left + right) / 2
    root = math.sqrt(root)
    way, bend = b.slope + root - turn, b.slope - a.slope + 2 * root
    share = way / bend if bend else math.copysign(math.inf, way)  # a straight line: to its end
    return min(max(b.rate - (b.rate - a.rate) * share, left), right)
