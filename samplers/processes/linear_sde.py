"""Linear diffusions, as gDDIM describes them.

    du = F(t) u dt + G(t) dw,    u(0) = u0 + sqrt(Sigma_0) n,    t from 0 to t_max      (arXiv 2206.05564, eq. 1 and 4)

A state is a grid of independent blocks of `size` numbers. There is one block for all pixels where every pixel diffuses alike, and
one block for each frequency in blurring diffusion. Every matrix has the shape (*t.shape, *grid, size, size), float64.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property

import numpy as np

Times = float | np.ndarray
KINDS = ("R", "L")
# tolerances of the solver for processes that have no closed form
_RTOL, _ATOL = 1e-12, 1e-14


class LinearSDE(ABC):
    """A linear diffusion. Subclasses are frozen dataclasses of their constants, so that they can be keys of a cache.

    F, GG^T and Sigma_0 suffice: the other matrices are then solved for, once. A subclass that knows its closed forms gives them
    instead, and must do so where Sigma_0 is singular.
    """

    name: str  # in plans and errors
    t_max: float = 1.0  # where sampling starts
    t_min: float = 1e-3  # the last time above 0 at which the model is called
    size: int = 1  # numbers in a block

    @property
    def grid(self) -> tuple[int, ...]:
        """Shape of the grid of independent blocks."""
        return ()

    @property
    def first(self) -> "LinearSDE":
        """The process of the first block, whose logSNR is the variable of interpolation for all blocks."""
        return self

    @abstractmethod
    def drift(self, t: Times) -> np.ndarray:
        """F."""

    @abstractmethod
    def diffusion(self, t: Times) -> np.ndarray:
        """G G^T."""

    @abstractmethod
    def initial_covariance(self) -> np.ndarray:
        """Sigma_0, the covariance of the state around u0 at t = 0."""

    def prior_covariance(self) -> np.ndarray:
        """The covariance of the state that sampling starts from."""
        return self.covariance(self.t_max)

    def transition(self, t: Times, s: Times) -> np.ndarray:
        """Psi(t, s): dPsi/dt = F Psi, Psi(s, s) = 1."""
        return self._solved(t)[0] @ np.linalg.inv(self._solved(s)[0])

    def covariance(self, t: Times) -> np.ndarray:
        """Sigma_t, the covariance of the state given u0."""
        root = self.root(t)
        return root @ transposed(root)

    def root(self, t: Times) -> np.ndarray:
        """R_t: dR/dt = (F + 1/2 G G^T Sigma^-1) R, R_0 the Cholesky factor of Sigma_0, so that R R^T = Sigma (eq. 7)."""
        return self._solved(t)[1]

    def cholesky(self, t: Times) -> np.ndarray:
        """L_t, lower triangular with L L^T = Sigma."""
        covariance = self.covariance(t)
        return np.sqrt(covariance) if self.size == 1 else np.linalg.cholesky(covariance)

    def factor(self, t: Times, kind: str) -> np.ndarray:
        """K_t of the parameterisation score = -K^-T eps: R_t or L_t."""
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, got {kind!r}.")
        return self.root(t) if kind == "R" else self.cholesky(t)

    def _solved(self, t: Times) -> np.ndarray:
        """Psi(t, 0) and R_t, stacked, by `solve_ivp`."""
        t = np.asarray(t, dtype=np.float64)
        values = self._solution(t.ravel()).T.reshape(*t.shape, 2, *self.grid, self.size, self.size)
        return np.moveaxis(values, t.ndim, 0)

    @cached_property
    def _solution(self) -> Callable[[np.ndarray], np.ndarray]:
        from scipy.integrate import solve_ivp  # noqa: PLC0415 (slow to import)

        shape = (*self.grid, self.size, self.size)
        try:
            root = np.linalg.cholesky(self.initial_covariance())
        except np.linalg.LinAlgError:
            raise ValueError(
                f"Sigma_0 of {self.name} is not positive definite, so R starts singular. Give the process the closed forms of "
                "transition, covariance and root."
            ) from None
        start = np.stack([np.broadcast_to(np.eye(self.size), shape), np.broadcast_to(root, shape)])

        def slope(t: float, flat: np.ndarray) -> np.ndarray:
            transition, root = flat.reshape(start.shape)
            drift = self.drift(t)
            # Sigma^-1 R = R^-T
            turned = drift @ root + 0.5 * self.diffusion(t) @ transposed(np.linalg.inv(root))
            return np.stack([drift @ transition, turned]).ravel()

        solved = solve_ivp(slope, (0.0, self.t_max), start.ravel(), method="DOP853", dense_output=True, rtol=_RTOL, atol=_ATOL)
        if not solved.success:
            raise ArithmeticError(f"R of {self.name} could not be solved for: {solved.message}")
        return solved.sol


def scalar(value: float | np.ndarray) -> np.ndarray:
    """Numbers as 1x1 matrices."""
    return np.asarray(value, dtype=np.float64)[..., None, None]


def transposed(matrix: np.ndarray) -> np.ndarray:
    """Matrices transposed; `.mT` is newer than the oldest numpy of a supported ComfyUI."""
    return np.swapaxes(matrix, -1, -2)
