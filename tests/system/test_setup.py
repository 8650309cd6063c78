"""Set-up, as the scripts and a Vagrant machine do it. What it does on a bare machine, a bare machine shows; here: that
a second time does nothing, and what it says when something is missing."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ["scripts/setup", "scripts/run", "scripts/test", ".ci/run", "vagrant/provision.sh"]
OPTIONAL = "optional: "


# Stands for the distribution's interpreter and for the one in the virtual environment: notes what pip is asked for.
PYTHON = """\
case "$*" in
  --version) echo Python 3.11.2 ;;
  "-m venv"*) mkdir -p "${@: -1}/bin"; cp "$0" "${@: -1}/bin/python" ;;
  "-m pip"*)
    echo "$*" >>"$NOTES/pip"
    echo "WARNING: Location '/nowhere' is ignored: it is neither a file nor a directory"
    [ ! -e "$NOTES/pip-fails" ] || { echo "ERROR: no matching distribution"; exit 1; } ;;
  "-c from splinter"*) cat "$NOTES/probe" 2>/dev/null || true ;;
esac
"""
DPKG_QUERY = """grep -qsx "${@: -1}" "$NOTES/missing" && exit 1; printf installed"""
APT_GET = """echo "$*" >>"$NOTES/apt"; case "$*" in *" install "*) rm -f "$NOTES/missing" ;; esac"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)


class Machine:
    """A copy of the scripts on a pretended machine: its package manager and Python only note what they are asked."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.notes, self.commands = (folder / name for name in ("checkout", "notes", "commands"))
        for path in (self.checkout, self.notes, self.commands):
            path.mkdir()
        for name in ("scripts", "vagrant"):
            shutil.copytree(ROOT / name, self.checkout / name)
        (self.checkout / "bench").mkdir()
        for name in ("pyproject.toml", "bench/pyproject.toml"):
            shutil.copy(ROOT / name, self.checkout / name)
        for name, text in (("python3", PYTHON), ("dpkg-query", DPKG_QUERY), ("apt-get", APT_GET)):
            self.command(name, text)
        self.user(0)

    def command(self, name: str, text: str) -> None:
        (self.commands / name).write_text("#!/bin/bash\n" + text)
        (self.commands / name).chmod(0o755)

    def user(self, number: int) -> None:
        self.command("id", f"echo {number}")

    def provision(self) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.commands}:{os.environ['PATH']}",
            "SPLINTER_PYTHON": str(self.commands / "python3"),
            "NOTES": str(self.notes),
        }
        return subprocess.run(
            [self.checkout / "vagrant/provision.sh", self.checkout],
            env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def asked(self, note: str) -> list[str]:
        path = self.notes / note
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_first_time_installs_second_time_does_nothing(machine: Machine) -> None:
    first = machine.provision()
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines()[-1] == "setup: ready; this machine can run the XDP transport"
    (asked,) = machine.asked("pip")
    assert asked.endswith("--editable .[server,cli,test,dev] --editable bench")
    assert machine.asked("apt") == []
    second = machine.provision()
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert len(machine.asked("pip")) == 1


def test_changed_requirements_are_installed(machine: Machine) -> None:
    machine.provision()
    with (machine.checkout / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert machine.provision().returncode == 0
    assert len(machine.asked("pip")) == 2


def test_root_installs_the_missing_packages_and_no_others(machine: Machine) -> None:
    (machine.notes / "missing").write_text("wordnet-base")
    done = machine.provision()
    assert done.returncode == 0
    assert "setup: installing distribution packages: wordnet-base" in done.stdout
    installs = [line for line in machine.asked("apt") if " install " in line]
    assert [line.split()[-1] for line in installs] == ["wordnet-base"]


def test_the_first_clang_that_the_distribution_has_is_installed(machine: Machine) -> None:
    (machine.notes / "missing").write_text("clang-19\nclang-18\nclang-17\nclang-16\n")
    machine.command("apt-cache", 'test "$2" = clang-17')
    assert machine.provision().returncode == 0
    installs = [line for line in machine.asked("apt") if " install " in line]
    assert [line.split()[-1] for line in installs] == ["clang-17"]


def test_any_clang_will_do(machine: Machine) -> None:
    (machine.notes / "missing").write_text("clang-19\nclang-17\nclang-16\n")
    assert machine.provision().returncode == 0
    assert machine.asked("apt") == []


def test_a_package_that_python_needs_stops_set_up(machine: Machine) -> None:
    (machine.notes / "missing").write_text("python3-venv")
    machine.command("apt-get", "exit 1")
    done = machine.provision()
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "setup: cannot go on without the package python3-venv"


def test_without_root_it_says_what_is_missing_once_and_goes_on(machine: Machine) -> None:
    machine.user(1000)
    (machine.notes / "missing").write_text("wordnet-base")
    (machine.notes / "probe").write_text("not root\n")
    done = machine.provision()
    assert done.returncode == 0
    assert "stay missing: wordnet-base" in done.stdout
    assert done.stdout.splitlines()[-1] == (
        "setup: ready; the XDP transport cannot run here (not root), the UDP transport serves instead"
    )
    assert machine.asked("apt") == []
    assert machine.provision().stdout == ""


def test_a_failure_of_pip_is_shown_without_the_noise_and_tried_again(machine: Machine) -> None:
    (machine.notes / "pip-fails").touch()
    failed = machine.provision()
    assert failed.returncode == 1
    assert failed.stderr.splitlines() == [
        "ERROR: no matching distribution",
        "setup: pip could not install the Python packages",
    ]
    (machine.notes / "pip-fails").unlink()
    assert machine.provision().returncode == 0


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_executable_and_parse(script: str) -> None:
    assert (ROOT / script).stat().st_mode & stat.S_IXUSR
    assert run("bash", "-n", script).stderr == ""


def test_scripts_pass_shellcheck() -> None:
    if shutil.which("shellcheck") is None:  # a linter that nothing else needs; bash -n (above) is always run
        pytest.skip(OPTIONAL + "shellcheck is not installed")
    assert run("shellcheck", *SCRIPTS).stdout == ""


def test_vagrantfile_parses() -> None:
    if shutil.which("ruby") is None:  # an interpreter that nothing else needs; the next test reads the file without it
        pytest.skip(OPTIONAL + "ruby is not installed")
    assert run("ruby", "-c", "vagrant/Vagrantfile").stdout.strip() == "Syntax OK"


def test_vagrantfile_names_only_what_exists() -> None:
    text = (ROOT / "vagrant/Vagrantfile").read_text()
    assert 'path: "provision.sh"' in text
    assert (ROOT / "vagrant/provision.sh").exists()
    assert text.count(" do |") == text.count("\n  end\n") + text.count("\nend\n")


def environment_is_set_up() -> bool:
    return (ROOT / ".venv/.setup-complete").exists()


def test_provisioning_again_does_nothing_and_says_nothing() -> None:
    if not environment_is_set_up():  # there is nothing that a second set-up could leave alone; CI's checkout is set up
        pytest.skip(OPTIONAL + "this checkout runs in an environment of its own, not in scripts/setup's")
    before = (ROOT / ".venv/.setup-complete").stat().st_mtime_ns
    done = run("vagrant/provision.sh")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (ROOT / ".venv/.setup-complete").stat().st_mtime_ns == before
