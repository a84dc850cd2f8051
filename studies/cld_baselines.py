"""What gDDIM is compared with on CLD: Euler-Maruyama, SSCS and the probability-flow ODE by an adaptive Runge-Kutta method.

States have the shape (batch, 2 channels, height, width), all positions before all velocities. A model is `model(u, t) -> eps`,
t of shape (batch,), and score = -K^-T eps. Every sampler ends with the step of gDDIM, to the mean of u0 by Tweedie's formula,
which needs one more call. Results are (samples, model calls).
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.integrate import solve_ivp

from samplers.processes.cld import CLD
from samplers.processes.coefficients import last_weight

Model = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Noise = Callable[[torch.Tensor], torch.Tensor]


class Counted:
    """A model that counts its calls and takes one time for all items."""

    def __init__(self, model: Model):
        self._model, self.calls = model, 0

    def __call__(self, u: torch.Tensor, t: float) -> torch.Tensor:
        self.calls += 1
        return self._model(u, u.new_full((len(u),), t))


def euler_maruyama(
    sde: CLD,
    model: Model,
    u: torch.Tensor,
    times: Sequence[float],
    lam: float = 0.0,
    kind: str = "R",
    noise: Noise = torch.randn_like,
) -> tuple[torch.Tensor, int]:
    """Euler-Maruyama on the reverse SDE of strength lambda; Euler on the probability-flow ODE where lambda is 0.

        u_t = u_s + (t - s) [F u - (1 + lam^2) / 2 G G^T score] + lam G sqrt(s - t) n      (arXiv 2206.05564, eq. 6)

    Args:
        sde: the process.
        model, u: see the module.
        times: falling; the last is 0.
        lam: 0 for none, 1 for the reverse SDE.
        kind: "R" or "L", the parameterisation of eps.
        noise: `noise(like)`, unit noise.
    """
    counted = Counted(model)
    for s, t in _steps(times):
        drift, of_score = sde.drift(s), 0.5 * (1.0 + lam**2) * sde.diffusion(s)
        velocity = mapped(drift, u) - mapped(of_score, score(sde, counted(u, s), s, kind))
        u = u + (t - s) * velocity
        if lam:
            u = u + mapped(lam * np.sqrt((s - t) * sde.diffusion(s)), noise(u))  # G G^T is diagonal
    return _denoised(sde, counted, u, times[-2], kind), counted.calls


def sscs(
    sde: CLD,
    model: Model,
    u: torch.Tensor,
    times: Sequence[float],
    kind: str = "R",
    noise: Noise = torch.randn_like,
) -> tuple[torch.Tensor, int]:
    """The symmetric splitting CLD sampler (arXiv 2112.07068, section 3.2), of the reverse SDE.

    Half of the step is that of the SDE with the score of equilibrium, -v / M, which is solved exactly; then v takes an Euler step
    of what the score adds to that; then the other half. The score belongs to the middle of the step, where the first half ends.

    Args:
        sde, model, u, times, kind, noise: as in `euler_maruyama`.
    """
    counted = Counted(model)
    for s, t in _steps(times):
        middle, half = 0.5 * (s + t), analytic_half_step(sde, s - t)
        u = _equilibrium_step(u, half, noise)
        towards_data = score(sde, counted(u, middle), middle, kind) + mapped(np.linalg.inv(sde.prior_covariance()), u)
        u = u + (s - t) * mapped(sde.diffusion(middle), towards_data)  # of v alone, by G G^T
        u = _equilibrium_step(u, half, noise)
    return _denoised(sde, counted, u, times[-2], kind), counted.calls


def probability_flow_rk45(
    sde: CLD, model: Model, u: torch.Tensor, start: float, last: float, tolerance: float, kind: str = "R"
) -> tuple[torch.Tensor, int]:
    """The probability-flow ODE from `start` to `last` by scipy's RK45, all items as one system, as is usual.

    Args:
        sde, model, u, kind: as in `euler_maruyama`.
        start, last: times, start > last > 0.
        tolerance: relative and absolute, of a step.

    Raises:
        ArithmeticError: the solver gave up.
    """
    counted = Counted(model)

    def slope(t, flat):
        v = torch.from_numpy(flat).reshape(u.shape).to(u)
        ode = mapped(sde.drift(t), v) - mapped(0.5 * sde.diffusion(t), score(sde, counted(v, float(t)), t, kind))
        return ode.double().flatten().numpy()

    flat = u.double().flatten().numpy()
    solved = solve_ivp(slope, (start, last), flat, method="RK45", rtol=tolerance, atol=tolerance)
    if not solved.success:
        raise ArithmeticError(f"the probability-flow ODE of {sde.name} could not be solved for: {solved.message}")
    end = torch.from_numpy(solved.y[:, -1].copy()).reshape(u.shape).to(u)
    return _denoised(sde, counted, end, last, kind), counted.calls


def analytic_half_step(sde: CLD, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """E and the covariance of the noise of half a step of length dt.

    Of dx = -beta v / M, dv = beta x - beta Gamma v / M + noise: CLD with the sign of v turned. It leaves N(0, diag(1, M)) alone.
    """
    b, gamma = 0.5 * sde.beta * dt, sde.friction
    unit = np.array([[1.0 + 2.0 * b / gamma, -4.0 * b / gamma**2], [b, 1.0 - 2.0 * b / gamma]])
    transition = np.exp(-2.0 * b / gamma) * unit
    equilibrium = sde.prior_covariance()
    return transition, equilibrium - transition @ equilibrium @ transition.T


def score(sde: CLD, eps: torch.Tensor, t: float, kind: str) -> torch.Tensor:
    """-K^-T eps."""
    return mapped(-np.linalg.inv(sde.factor(t, kind)).T, eps)


def mapped(matrix: np.ndarray, u: torch.Tensor) -> torch.Tensor:
    """A matrix for (x, v) applied to states."""
    weights = torch.tensor(np.asarray(matrix), dtype=u.dtype, device=u.device)
    return torch.matmul(weights, u.reshape(len(u), len(weights), -1)).reshape(u.shape)


def _equilibrium_step(u, half, noise: Noise) -> torch.Tensor:
    transition, covariance = half
    values, vectors = np.linalg.eigh(covariance)  # of a short step singular to rounding
    factor = vectors * np.sqrt(np.clip(values, 0.0, None))
    return mapped(transition, u) + mapped(factor, noise(u))


def _denoised(sde, counted: Counted, u, t: float, kind: str) -> torch.Tensor:
    return mapped(sde.transition(0.0, t), u) + mapped(last_weight(sde, t, kind), counted(u, t))


def _steps(times: Sequence[float]) -> list[tuple[float, float]]:
    """All but the last, to 0."""
    values = [float(t) for t in times]
    if values[-1] != 0.0 or any(t >= s for s, t in zip(values, values[1:])):
        raise ValueError(f"times must fall to 0, got {values}.")
    return list(zip(values, values[1:-1]))
