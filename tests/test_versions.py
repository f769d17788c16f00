"""What is installed is said by the packages' own metadata."""

import pytest

from denseclip_viz import versions


@pytest.fixture
def installed(monkeypatch):
    """Pretend that these are installed, and that torchvision asks for this torch."""

    def arrange(torch, torchvision, needs=("numpy", "torch==2.8.0", 'scipy; extra == "scipy"')):
        there = {"torch": torch, "torchvision": torchvision}
        monkeypatch.setattr(versions, "_version_of", lambda package: there.get(package, "1.0"))
        monkeypatch.setattr(versions.metadata, "requires", lambda package: list(needs))
        return versions.show_versions().splitlines()[-1]

    return arrange


@pytest.mark.parametrize("label", ["", "+cpu", "+cu128"])
def test_torch_and_torchvision_of_one_build_fit(installed, label):
    assert installed(f"2.8.0{label}", f"0.23.0{label}") == "torch and torchvision fit each other"


@pytest.mark.parametrize(("torch", "torchvision", "fault"), [
    ("2.8.0+cpu", "0.23.0", "are of two builds"), ("2.8.0", "0.23.0+cu128", "are of two builds"),
    ("2.7.1", "0.23.0", "is for torch ==2.8.0, but torch is 2.7.1"), ("2.8.0", "not installed", "is missing"),
])  # fmt: skip
def test_torch_and_torchvision_of_two_builds_are_called_so_with_what_to_do(installed, torch, torchvision, fault):
    assert fault in (last := installed(torch, torchvision)) and last.endswith("in one command")


def test_a_gpu_is_named_by_its_driver_and_a_driver_that_fails_is_too(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "gpu              no nvidia-smi" in versions.show_versions()
    for script, line in (("echo A; echo B", "A, B"), ("exit 9", "nvidia-smi does not answer")):
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
        assert f"gpu              {line}" in versions.show_versions()
