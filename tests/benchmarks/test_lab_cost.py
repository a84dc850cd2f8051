"""The cost of measuring one cell: the model's share of the time, and its calls."""

from benchmarks import lab


def test_a_slow_model_is_what_takes_the_time(pack, monkeypatch):
    monkeypatch.setattr(lab, "SAMPLERS", "exp_res, euler")
    monkeypatch.setattr(lab, "BUDGETS", "4")
    (seconds, in_model, calls), (_, slow, again) = (lab.measure("karras", sleep=sleep, items=2) for sleep in (0.0, 0.005))
    assert 0.0 < in_model < seconds and again == calls > 8
    assert slow >= 0.005 * calls
