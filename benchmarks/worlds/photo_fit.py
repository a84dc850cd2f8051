"""Fits photo.npz: Gaussians with full covariances on patches of photographs in the public domain.

scikit-image has the photographs, and scikit-learn fits. The pack needs neither, so this runs in a separate environment:

    python -m venv /tmp/fit && /tmp/fit/bin/pip install scikit-image==0.26.0 scikit-learn
    /tmp/fit/bin/python benchmarks/worlds/photo_fit.py

astronaut is NASA's, rocket SpaceX's, hubble_deep_field NASA's and ESA's, all in the public domain; chelsea (Stefan van der Walt)
and coffee (Rachel Michetti) are CC0. A photograph is a class of three Gaussians. The HALF largest principal
components of each covariance are kept, and the rest of its variance is spread evenly over the other directions. The directions
are rounded to bytes; the loader makes them orthonormal again.
"""

from pathlib import Path

import numpy as np

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field")
SIDE, SCALE, COMPONENTS, PATCHES, SEED = 12, 0.4, 3, 8000, 0
HALF = SIDE * SIDE * 3 // 2


def patches(name: str, generator: np.random.Generator) -> np.ndarray:
    """(PATCHES, 3 * SIDE * SIDE) in [-1, 1], channels first."""
    import skimage.data
    import skimage.transform
    import skimage.util

    image = skimage.util.img_as_float(getattr(skimage.data, name)())
    image = skimage.transform.rescale(image, SCALE, anti_aliasing=True, channel_axis=-1)
    places = (generator.integers(0, size - SIDE, PATCHES) for size in image.shape[:2])
    result = [image[y : y + SIDE, x : x + SIDE].transpose(2, 0, 1).ravel() for y, x in zip(*places)]
    return 2.0 * np.stack(result) - 1.0


def main() -> None:
    """Fit and write."""
    from sklearn.mixture import GaussianMixture

    generator = np.random.default_rng(SEED)
    parts: dict[str, list] = {name: [] for name in ("means", "directions", "variances", "rest", "weights", "labels")}
    for label, name in enumerate(PHOTOGRAPHS):
        fitted = GaussianMixture(COMPONENTS, reg_covar=1e-4, random_state=SEED, max_iter=50).fit(patches(name, generator))
        for weight, mean, covariance in zip(fitted.weights_, fitted.means_, fitted.covariances_):
            values, vectors = np.linalg.eigh(covariance)
            kept = vectors[:, ::-1][:, :HALF]
            parts["means"].append(mean.astype(np.float32))
            parts["directions"].append(np.round(kept * 127 / np.abs(kept).max(axis=0)).astype(np.int8))
            parts["variances"].append(values[::-1][:HALF].astype(np.float32))
            parts["rest"].append(np.float32(values[::-1][HALF:].mean()))
            parts["weights"].append(np.float32(weight / len(PHOTOGRAPHS)))
            parts["labels"].append(np.int64(label))
    file = Path(__file__).with_name("photo.npz")
    np.savez_compressed(file, **{name: np.stack(values) for name, values in parts.items()})
    print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
