"""What a machine is said to reach, to hold and to spend is read from it, or not said."""

from pathlib import Path

import pytest

from edge.profile import machine
from edge.profile.energy import Rapl, energy_basis, open_counter
from edge.profile.machine import RooflineBenchmark, this_machine
from edge.profile.memory import kv_bytes, process_peak_bytes
from tests.tiny import TINY_SPECS


def test_a_sweep_counts_what_every_thread_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "READ_BYTES", 8_000_000)
    monkeypatch.setattr(machine, "SIDE", 64)
    reported: list[str] = []
    roofline = RooflineBenchmark(reported.append, threads=2).measure(passes=2)
    assert roofline.threads == 2 and reported == ["allocating 8 MB for the bandwidth benchmark"]
    assert roofline.bandwidth_bytes_per_s > 0 and roofline.flops_per_s > 0


def test_the_machine_is_described_without_its_name() -> None:
    import platform

    reported = str(this_machine())
    assert platform.node() not in reported or not platform.node(), "the host's name is in the description"
    assert this_machine().memory_bytes > 1e8 and this_machine().cores >= 1


def test_the_peak_of_a_process_only_rises() -> None:
    before = process_peak_bytes()
    if before is None:
        pytest.skip("this system does not say what a process held")
    held = bytearray(300_000_000)
    held[::4096] = b"x" * len(held[::4096])
    after = process_peak_bytes()
    assert after is not None and after >= before
    assert after > 300_000_000, "300 MB were touched, and the peak does not know"


def test_the_cache_takes_two_numbers_a_feature() -> None:
    spec = TINY_SPECS["llama-shared-heads-tied"]
    assert kv_bytes(spec, 10, 4) == 2 * 10 * sum(one.n_kv_heads * one.head_dim for one in spec.attentions) * 4


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    for place, name in enumerate(("package-0", "package-1", "dram")):
        folder = tmp_path / f"intel-rapl:{place}"
        folder.mkdir()
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text("9000000\n")
        (folder / "max_energy_range_uj").write_text("10000000\n")
    return tmp_path


def test_joules_are_summed_over_packages_and_past_the_end_of_a_counter(powercap: Path) -> None:
    counter = open_counter(powercap)
    assert isinstance(counter, Rapl), "two packages can be read, and no counter was found"
    counter.begin()
    (powercap / "intel-rapl:0" / "energy_uj").write_text("9500000\n")
    (powercap / "intel-rapl:1" / "energy_uj").write_text("500000\n")  # it started again at 0
    (powercap / "intel-rapl:2" / "energy_uj").write_text("9900000\n")  # memory is counted in its package
    assert counter.end() == pytest.approx(0.5 + 1.5)


def test_without_a_counter_there_is_no_number(tmp_path: Path) -> None:
    assert open_counter(tmp_path) is None
    (tmp_path / "intel-rapl:0").mkdir()
    (tmp_path / "intel-rapl:0" / "name").write_text("package-0")
    assert open_counter(tmp_path) is None, "a counter that cannot be read counts as one"


def test_the_basis_of_energy_is_always_said() -> None:
    assert energy_basis().startswith(("RAPL", "IOReport", "not measured: "))
