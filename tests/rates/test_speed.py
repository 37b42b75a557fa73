import psutil
import pytest
import torch

from varc.rates import speed

CPU = torch.device("cpu")


@pytest.mark.parametrize("extra", [0.5, 5.0])  # 5 s: a device's first use may take longer than a measurement
def test_a_speed_is_the_rate_of_many_images_and_what_the_first_takes_beyond_it(monkeypatch, extra):
    asked = []

    def timed(work, images, device):
        asked.append(images)
        return 0.1 * images + (extra if len(asked) == 1 else 0.0)

    monkeypatch.setattr(speed, "timed", timed)
    found = speed.speed(3.0, lambda images: None, CPU)
    assert found == pytest.approx((3.0 / 0.1, extra))
    assert asked == [1, 1, 2, 4, 8, 16]  # 1.6 s: the first that takes a second


def test_the_other_cores_of_a_cpu_compute_meanwhile(monkeypatch):
    monkeypatch.setattr(speed, "cores", lambda: torch.get_num_threads() + 2)
    before = psutil.Process().children()
    with speed.busy_neighbours(CPU):
        found = [child for child in psutil.Process().children() if child not in before]
        assert len(found) == 2
    assert not any(child.is_running() for child in found)
    with speed.busy_neighbours(torch.device("cuda")):  # whose rate is not that of a core
        assert psutil.Process().children() == before


def test_a_neighbour_ends_where_its_parent_does(monkeypatch):
    parents = iter([5, 5, 1])
    monkeypatch.setattr(speed.os, "getppid", lambda: next(parents))
    monkeypatch.setattr(speed.torch, "set_num_threads", lambda threads: None)
    speed.compute(5)
    assert not list(parents)
