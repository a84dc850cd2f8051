"""Claims decided by numbers: ratios of what two methods measure, with 95 % confidence intervals over seeds."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from .gddim_metrics import interval, smaller

Values = Sequence[float]  # one a seed


class Ratio(NamedTuple):
    """A geometric mean with its 95 % confidence interval over seeds."""

    mean: float
    low: float
    high: float

    def __str__(self):
        return f"{number(self.mean)} [{number(self.low)}, {number(self.high)}]"


def number(value: float) -> str:
    """Three digits; four near 1, where the verdicts are made."""
    return f"{value:.4g}" if 0.95 < value < 1.05 else f"{value:.3g}"


def ratio(ours: Values, theirs: Values) -> Ratio:
    """Ours over theirs, seed by seed; Student's t on the logarithms."""
    return geometric([np.divide(ours, theirs).tolist()])


def geometric(rows: Sequence[Values], over_rows=np.mean) -> Ratio:
    """Geometric mean (with np.median: median) over rows in each seed, then over seeds. Infinite where a value is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = over_rows(np.log(rows), axis=0)
    mean, half = interval(np.where(np.isnan(logs), math.inf, logs))
    return Ratio(*(math.exp(min(log, 700.0)) for log in (mean, mean - half if math.isfinite(half) else -math.inf, mean + half)))


def spaced(values: Values) -> str:
    """Mean and the half width of its interval, for tables."""
    mean, half = interval(values)
    if not math.isfinite(mean):
        return "diverges"
    decimals = min(max(2 - math.floor(math.log10(abs(mean) or 1.0)), 0), 5)
    return f"{mean:.{decimals}f} ± {half:.{decimals}f}"


class Comparison(NamedTuple):
    """A claim that one method's error is below another's.

    Attributes:
        claim: in words.
        rows: (ours, theirs) a case, grid and number of calls.
        what: what the ratio is of.
    """

    claim: str
    rows: list[tuple[Values, Values]]
    what: str = "of its defect"

    @property
    def ratio(self) -> Ratio:
        """Ours over theirs, geometric mean over rows."""
        return self.over(np.mean)

    def over(self, over_rows) -> Ratio:
        """Likewise with np.mean or np.median over rows."""
        return geometric([np.divide(ours, theirs).tolist() for ours, theirs in self.rows], over_rows)

    def sentence(self) -> str:
        """The verdict: the mean's interval against 1, and how many rows differ by more than their own."""
        found, n = self.ratio, len(self.rows)
        below = sum(smaller(ours, theirs) for ours, theirs in self.rows)
        above = sum(smaller(theirs, ours) for ours, theirs in self.rows)
        if found.high < 1.0:
            word = "Holds in the mean, not in every row" if above else "Holds"
        elif found.low > 1.0:
            word = "Does not hold: the reverse is true in the mean" if below else "Does not hold: the reverse is true"
        else:
            word = "Not decided"
        rows = f"; of {n} rows {below} below 1, {above} above, {n - below - above} undecided" if n > 1 else ""
        return f"- {self.claim}: **{word}.** {found} {self.what}{rows}."


def against_published(found: Ratio, published: float, what: str) -> str:
    """Whether the published ratio lies in the interval."""
    word = "less" if found.high < published else "more" if found.low > published else "as much"
    verdict = {"less": "**Holds, by more than that.**", "more": "**Not reached.**", "as much": "**Holds: within the interval.**"}
    return f"- {what}, the paper's ratio is {published:.3f}: {verdict[word]} Here it is {found}."


def decided(claim: str, values: Values, threshold: float, above: bool = True, text: str = "") -> str:
    """A claim that a number, one a seed, lies above (or below) a threshold."""
    mean, half = interval(values)
    low, high = mean - half, mean + half
    holds, reverse = (low > threshold, high < threshold) if above else (high < threshold, low > threshold)
    word = "Holds" if holds else "Does not hold" if reverse else "Not decided"
    return f"- {claim}: **{word}.** {text}{number(mean)} [{number(low)}, {number(high)}]."


def rising(claim: str, correlations: Values) -> str:
    """A claim that correlations, one a seed, are above 0; Student's t on Fisher's transform."""
    mean, half = interval(np.arctanh(np.clip(correlations, -0.999, 0.999)).tolist())
    mean, low, high = np.tanh([mean, mean - half, mean + half])
    word = "Holds" if low > 0.0 else "Does not hold: the reverse is true" if high < 0.0 else "Not decided"
    return f"- {claim}: **{word}.** Spearman {mean:.2f} [{low:.2f}, {high:.2f}]."


def rank_correlation(a: Values, b: Values) -> float:
    """Spearman's, by the ranks of two lists of equal length; 0 where one of them does not vary."""
    ranks = [rankdata(values) - 0.5 * (len(values) + 1) for values in (a, b)]
    size = math.sqrt(float((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float((ranks[0] * ranks[1]).sum()) / size if size else 0.0


def concordance(cells: Sequence[tuple[float, float]], apart: float = 1.1) -> tuple[int, int]:
    """Of the pairs whose first numbers differ by more than a factor: in how many the second differ alike, and all."""
    agree = every = 0
    for i, (a, b) in enumerate(cells):
        for c, d in cells[:i]:
            if max(a, c) > apart * min(a, c):
                every += 1
                agree += (a < c) == (b < d)
    return agree, every
