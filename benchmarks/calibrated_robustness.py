"""What a calibration keeps of its gain where it was not made: another seed set, class, guidance scale and resolution.

Calibrated on one class for all pilots, as a user would with one prompt, and measured on test items of that class and elsewhere.
"""

from functools import cached_property, partial
from typing import NamedTuple

import torch

from embedded.digits import digits
from embedded.mixture import GaussianMixture
from samplers.lab.calibration.calibration import bases, function_of
from training import networks

from . import pages
from .calibrated import TEST_SEED, calibrated, grid_of, median, time_of
from .cases import Case, MixtureCase, NetworkCase

HOME_CLASS, OTHER_CLASS = 3, 8
_TEST_ITEMS, _NETWORK_TEST_ITEMS = 48, 16


class OneClass(NetworkCase):
    """A network asked for one class only, and converged on fewer steps: to 1e-4, which is enough here."""

    label = HOME_CLASS

    @cached_property
    def reference(self):
        return self.converge(150)

    @property
    def conditioning(self):
        network = networks.NETWORKS[self.network]
        return tuple(networks.conditioning(network, torch.tensor([label])) for label in (self.label, networks.NO_CLASS))


class Place(NamedTuple):
    """Where a calibration is measured.

    Attributes:
        name: as printed.
        change: what differs from home: cfg, label, enlarged.
    """

    name: str
    change: dict


PLACES = (
    Place("the same, other seeds", {}),
    Place("another class", {"label": OTHER_CLASS}),
    Place("CFG - 1", {"cfg": -1.0}),
    Place("CFG + 1", {"cfg": 1.0}),
    Place("another resolution", {"enlarged": 2}),
)


def digits_case(batch: int, seed: int, cfg: float = 5.0, label: int = HOME_CLASS, enlarged: int = 1) -> Case:
    """The digits of one class, their pixels repeated for another resolution."""
    data = digits(dtype=torch.float64)
    means = data.means.reshape(-1, 8, 8).repeat_interleave(enlarged, 1).repeat_interleave(enlarged, 2).flatten(1)
    mixture = GaussianMixture(means, data.std, data.labels)
    case = MixtureCase(f"digits CFG {cfg:g}", (1, 8 * enlarged, 8 * enlarged), "eps", cfg, batch, seed, mixture=mixture)
    case.class_weights = torch.nn.functional.one_hot(torch.full((batch,), label), mixture.classes).float()
    return case


def network_case(name: str, batch: int, seed: int, cfg: float = 3.0, label: int = HOME_CLASS, enlarged: int = 1) -> Case:
    """A network asked for one class; another resolution is a larger latent, which it was never trained on."""
    network = networks.NETWORKS[name]
    channels, height, width = network.shape
    shape = (channels, height * enlarged, width * enlarged)
    case = OneClass(f"{name} CFG {cfg:g}", shape, network.kind, cfg, batch, seed, network=name)
    case.label = label
    return case


def table(calls: int, items: int, homes: int | None = None) -> str:
    """Markdown: medians of the analytic base and of the calibrated solver, at home and elsewhere; of so many homes, or of all."""
    rows = []
    for of, fewer in ((digits_case, 1), (partial(network_case, "unet"), 1.5), (partial(network_case, "sd3"), 1.5))[:homes]:
        rows += _rows(of, calls, int(items / fewer))
    return pages.table([f"case, {calls} calls", "where", "analytic base", "calibrated", "ratio"], rows, 2)


def _rows(of, calls: int, items: int) -> list[list[str]]:
    home = of(items, TEST_SEED)
    sigmas = grid_of(home)(calls)
    found = calibrated(of, sigmas, items)[0]
    analytic = bases(sigmas, time_of(home))
    base = analytic[min(analytic, key=lambda name: found.selection[name].log_mean)]
    rows = []
    for place in PLACES:
        change = dict(place.change)
        if "cfg" in change:
            change["cfg"] += home.cfg
        items = _NETWORK_TEST_ITEMS if isinstance(home, NetworkCase) else _TEST_ITEMS
        case = of(items, TEST_SEED + 1, **change)
        theirs, ours = (median(case, function_of(plan), sigmas) for plan in (base, found.plan))
        rows.append([home.name, place.name, f"{theirs:.4f}", f"{ours:.4f}", f"{ours / theirs:.2f}"])
    return rows
