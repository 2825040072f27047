"""Rules for the random numbers of each op.

Rules are Python code, which repro scripts contain too. The code uses ``got``, the random numbers;
the op's arguments by name; and their dtype's rounding ``eps``, largest number ``top`` and tolerance
``share``.
Each number is mapped to its place in its own distribution: between -1/2 and 1/2, with mean zero for
any arguments. So the numbers of all calls can be combined, and no tail is too heavy. If several
values share a place (integers, booleans), it is the middle.
"""

from __future__ import annotations

from typing import NamedTuple


class RandomRule(NamedTuple):
    """The rule for an op's random numbers."""

    scaled: str
    """The scaled numbers in texts, with mean ``mean`` and standard deviation ``deviation``."""
    mean: float | None
    """None if it depends on an argument."""
    deviation: float | None
    place: str
    """The place, with mean zero, of ``x``, the scaled numbers."""
    variance: str
    """The variance of the place."""
    grain: str
    """Largest change of a place by rounding."""
    impossible: tuple[tuple[str, str], ...] = ()
    """Texts, each with Python that is true for impossible values."""
    outliers: tuple[tuple[str, str], ...] = ()
    """The same for extremely unlikely values; checked last, as the other checks say more."""
    equal_surprise: str = ""
    """Minus the log of the probability that two values are equal; if empty, from the grain."""
    derived: tuple[tuple[str, str], ...] = ()
    """Additional names, each with its Python."""
    statistics: tuple[str, ...] = ("mean", "spread", "neighbours")
    """The statistics: ``mean``, ``spread`` of a uniform place, ``neighbours``, ``weights`` of
    selected indices, ``chances`` if each value has its own probability."""
    product: str = ""
    """The mean of the product of two places, if it is not zero."""
    reach: float = 0.5
    """Largest magnitude of a place."""


_UNIFORM = "1 / 12"
_SD = 12**-0.5
_NOT_FINITE = ("draws that are not finite", "~got.isfinite()")
_NAN = ("draws that are not a number", "got.isnan()")
_NOT_WHOLE = ("draws that are not whole numbers", "got != got.floor()")
_SMEAR = "eps * (abs(low) + abs(high))"

_NORMAL = RandomRule(
    scaled="(got - mean) / std",
    mean=0.0,
    deviation=1.0,
    place="torch.special.ndtr(x) - 0.5",
    variance=_UNIFORM,
    grain="eps * (1 + abs(mean / std))",
    impossible=(_NOT_FINITE,),
    outliers=(
        (
            "draws more than 12 standard deviations off",
            "abs(got - mean) > 12 * std + eps * (abs(mean) + 12 * std)",
        ),
    ),
)
_STANDARD = _NORMAL._replace(scaled="got")
_BETWEEN = RandomRule(
    scaled="(got - low) / (high - low)",
    mean=0.5,
    deviation=_SD,
    place="x - 0.5",
    variance=_UNIFORM,
    grain=f"{_SMEAR} / (high - low)",
    impossible=(
        _NOT_FINITE,
        ("draws outside {low:g} to {high:g}", f"(got < low - {_SMEAR}) | (got > high + {_SMEAR})"),
    ),
)


def _mask(p: str) -> RandomRule:
    return RandomRule(
        scaled="got",
        mean=None,
        deviation=None,
        place=f"got - {p}",
        variance=f"{p} * (1 - {p})",
        grain="eps",
        impossible=(
            _NOT_FINITE,
            ("draws other than 0 and 1", "(got != 0) & (got != 1)"),
            ("draws of probability 0", f"(({p} == 0) & (got != 0)) | (({p} == 1) & (got != 1))"),
        ),
        equal_surprise=f"-torch.log({p} * {p} + (1 - {p}) * (1 - {p}))",
        statistics=("mean", "chances", "neighbours"),
        reach=1.0,
    )


_MASK = _mask("p")
_DROPOUT = _mask("keep")._replace(
    statistics=("mean", "neighbours"), derived=(("want", "input * got / max(keep, 1e-30)"),)
)
_OUTPUT = "~(abs(output - want) <= share * abs(want).max()) & (abs(want) < top)"
_DROPOUT = _DROPOUT._replace(
    impossible=(*_DROPOUT.impossible, ("the output is not input × mask / (1 - p)", _OUTPUT))
)
_INTEGERS = RandomRule(
    scaled="(got - low + 0.5) / (high - low)",
    mean=0.5,
    deviation=_SD,
    place="x - 0.5",
    variance="(1 - (high - low) ** -2.0) / 12",
    grain=f"{_SMEAR} / (high - low)",
    impossible=(
        _NOT_FINITE,
        _NOT_WHOLE,
        (
            "draws outside {low:g} to {high:g}",
            f"(got < low - {_SMEAR}) | (got > high - 1 + {_SMEAR})",
        ),
    ),
    equal_surprise="torch.log(high - low)",
)
ANY_INTEGERS = RandomRule(
    scaled="got",
    mean=0.0,
    deviation=None,
    place="got * 0",
    variance="0.0",
    grain="eps",
    impossible=(_NOT_FINITE, _NOT_WHOLE, ("draws below {low:g}", "got < low")),
    equal_surprise="0.69",
    statistics=(),
)
"""The rule for ``random_`` without an upper bound, which depends on dtype and device."""
_EXPONENTIAL = RandomRule(
    scaled="got * lambd",
    mean=1.0,
    deviation=1.0,
    place="0.5 - torch.exp(-x)",
    variance=_UNIFORM,
    grain="eps",
    impossible=(_NAN, ("draws below 0", "got < 0")),
    outliers=(("draws more than 110 means off", "(got * lambd > 110) & (top * lambd > 110)"),),
)
_GEOMETRIC = RandomRule(
    scaled="got * p",
    mean=1.0,
    deviation=None,
    place="0.5 - ((1 - p) ** (got - 1) + (1 - p) ** got) / 2",
    variance="(1 - p**3 / (1 - (1 - p) ** 3)) / 12",
    grain="2 * eps",
    impossible=(_NAN, ("draws below 1", "got < 1"), _NOT_WHOLE),
    equal_surprise="-torch.log(p / (2 - p))",
    statistics=("mean", "neighbours"),
)
_LOG_NORMAL = RandomRule(
    scaled="(torch.log(got) - mean) / std",
    mean=0.0,
    deviation=1.0,
    place="torch.special.ndtr(x) - 0.5",
    variance=_UNIFORM,
    grain="eps * (2 + (1 + abs(mean)) / std)",
    impossible=(_NAN, ("draws below 0", "got < 0")),
)
_CAUCHY = RandomRule(
    scaled="torch.atan((got - median) / sigma) / torch.pi",
    mean=0.0,
    deviation=_SD,
    place="x",
    variance=_UNIFORM,
    grain="eps * (1 + abs(median) / sigma)",
    impossible=(_NAN,),
)
_POISSON = RandomRule(
    scaled="got - rate",
    mean=0.0,
    deviation=None,
    place="(torch.special.gammaincc(got + 1, rate) + torch.special.gammaincc(got, rate) - 1) / 2",
    variance=_UNIFORM,
    grain="eps * (1 + rate**0.5)",
    impossible=(_NOT_FINITE, ("draws below 0", "got < 0"), _NOT_WHOLE),
    equal_surprise="-torch.log(torch.special.i0e(2 * rate))",
    statistics=("mean", "neighbours"),
)
_BINOMIAL = RandomRule(
    scaled="(got - count * prob) / count.clamp(min=1)",
    mean=0.0,
    deviation=None,
    place="x",
    variance="prob * (1 - prob) / count.clamp(min=1)",
    grain="eps",
    impossible=(
        _NOT_FINITE,
        ("draws below 0 or above the count", "(got < 0) | (got > count)"),
        _NOT_WHOLE,
    ),
    equal_surprise="-torch.log(torch.where(count > 0, prob * prob + (1 - prob) * (1 - prob), 1.0))",
    statistics=("mean", "neighbours"),
    reach=1.0,
)
_GAMMA = RandomRule(
    scaled="got / alpha",
    mean=1.0,
    deviation=None,
    place="torch.special.gammainc(alpha, got) - 0.5",
    variance=_UNIFORM,
    grain="eps * (1 + alpha**0.5) + 2 * top**-alpha",
    impossible=(_NOT_FINITE, ("draws below 0", "got < 0")),
)
_PERMUTATION = RandomRule(
    scaled="(got + 0.5) / n",
    mean=0.5,
    deviation=_SD,
    place="x - 0.5",
    variance=_UNIFORM,
    grain="eps",
    impossible=(("not a permutation", "got.sort().values != torch.arange(int(n))"),),
    equal_surprise="torch.lgamma(n + 1) / n",
    statistics=("neighbours",),
    product="(n + 1) / (-12 * n**2)",
)
_NOISE = RandomRule(  # for rrelu: 1 if the input is positive
    scaled="torch.where(input <= 0, (got - low) / (high - low), 0.5)",
    mean=0.5,
    deviation=None,
    place="x - 0.5",
    variance="torch.where(input <= 0, 1 / 12, 0.0)",
    grain=f"{_SMEAR} / (high - low)",
    impossible=(
        _NOT_FINITE,
        (
            "noise outside {low:g} to {high:g}, or other than 1 where the input is positive",
            f"torch.where(input <= 0, (got < low - {_SMEAR}) | (got > high + {_SMEAR}), got != 1)",
        ),
        ("the output is not input × noise", _OUTPUT),
    ),
    equal_surprise="-torch.log(torch.where(input <= 0, eps, 1.0))",
    derived=(("want", "input * got"),),
    statistics=("mean", "neighbours"),
)
_PICKED = RandomRule(
    scaled="chance - squares",
    mean=0.0,
    deviation=None,
    place="w.cumsum(-1).gather(-1, first) - chance / 2 - 0.5",
    variance="(1 - (w**3).sum(-1, keepdim=True)) / 12",
    grain="4 * eps",
    impossible=(
        ("indices outside of the weights", "(got < 0) | (got >= weights.shape[-1])"),
        (
            "an index twice, without replacement",
            "(got.sort(-1).values.diff(dim=-1) == 0) & (replacement == 0)",
        ),
        (
            "indices of weight 0",
            "(w.gather(-1, got.long()) == 0)"
            " & ((replacement != 0) | ((w > 0).sum(-1, keepdim=True) >= got.shape[-1]))",
        ),
    ),
    equal_surprise="-torch.log(squares)",
    derived=(
        ("w", "weights.double() / weights.double().sum(-1, keepdim=True)"),
        ("squares", "(w * w).sum(-1, keepdim=True)"),
        # Without replacement only the first index follows the original weights.
        ("first", "(got if replacement else got[..., :1]).long()"),
        ("chance", "w.gather(-1, first)"),
    ),
    statistics=("mean", "weights", "neighbours"),
)

RULES: dict[str, RandomRule] = {
    **dict.fromkeys(("normal", "normal_", "normal_functional"), _NORMAL),
    **dict.fromkeys(("randn", "randn_like"), _STANDARD),
    **dict.fromkeys(("uniform", "uniform_"), _BETWEEN),
    **dict.fromkeys(("rand", "rand_like"), _BETWEEN._replace(scaled="got")),
    **dict.fromkeys(("bernoulli", "bernoulli_"), _MASK),
    **dict.fromkeys(("native_dropout", "_fused_dropout"), _DROPOUT),
    **dict.fromkeys(("random", "random_", "randint", "randint_like"), _INTEGERS),
    **dict.fromkeys(("exponential", "exponential_"), _EXPONENTIAL),
    **dict.fromkeys(("geometric", "geometric_"), _GEOMETRIC),
    **dict.fromkeys(("log_normal", "log_normal_"), _LOG_NORMAL),
    **dict.fromkeys(("cauchy", "cauchy_"), _CAUCHY),
    **dict.fromkeys(
        ("rrelu_with_noise", "rrelu_with_noise_", "rrelu_with_noise_functional"), _NOISE
    ),
    "poisson": _POISSON,
    "binomial": _BINOMIAL,
    "_standard_gamma": _GAMMA,
    "randperm": _PERMUTATION,
    "multinomial": _PICKED,
}
"""The rules by op name, without overload."""
