"""Runs with more steps follow the same path of Brownian noise, here on few items."""

from studies import noise_path

NAMES = ("exp_res_sde", "exp_gddim_sde")


def test_a_path_is_kept_when_the_steps_are_doubled():
    table = noise_path.steps_table(8, (10, 20), NAMES)
    cells = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    changes = {tuple(row[:3]): float(row[3].split(",")[0]) for row in cells}
    assert len(changes) == 2 * 2 * len(noise_path.NOISES)
    for name, grid, noise in changes:
        assert changes[name, grid, "brownian"] < 0.8 * changes[name, grid, "independent"], (name, grid, noise)
