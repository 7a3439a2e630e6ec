"""The SageMaker image, without building it: what its Dockerfile says, and what its entry points need."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "models" / "serving"
LOCK = REPOSITORY / "locks" / "serving.lock"


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of each line, continued lines joined, comments left out."""
    lines = [line for line in (FOLDER / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def arguments(instruction: str) -> list[str]:
    return [rest for name, rest in instructions() if name == instruction]


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for rest in arguments("ENV") for pair in shlex.split(rest))


def third_party(*modules: str) -> set[str]:
    """The installed distributions' modules that importing `modules` loads."""
    program = (
        f"import sys; before = set(sys.modules); import {', '.join(modules)};"
        "print(*{n.partition('.')[0] for n in set(sys.modules) - before"
        " if 'site-packages' in (getattr(sys.modules[n], '__file__', None) or '')})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_base_is_an_exact_version_that_a_build_can_replace_by_a_digest() -> None:
    [base] = arguments("ARG")
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.11\.\d+-slim-bookworm", base)
    assert [stage.split()[0] for stage in arguments("FROM")] == ["${PYTHON_IMAGE}"] * 2


def test_sagemaker_s_arguments_reach_our_entry_points_and_its_signals_our_process() -> None:
    [entry], [default] = arguments("ENTRYPOINT"), arguments("CMD")
    assert json.loads(entry) == ["python", "-m", "models.serving"]
    assert json.loads(default) == ["serve"]
    for word, complaint in (("serve", "cannot serve: no_model"), ("train", "cannot train: no_data")):
        if word == "serve":
            pytest.importorskip("waitress")
        done = subprocess.run(
            [sys.executable, *json.loads(entry)[1:], word],
            cwd=REPOSITORY, env={"PLANTWATCH_ML_ROOT": str(REPOSITORY / "build" / "no-model")},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert complaint in done.stdout


def test_nobody_of_importance_answers_requests() -> None:
    assert int(environment()["PLANTWATCH_RUN_AS"]) >= 1000
    assert "USER" not in dict(instructions())


def test_dependencies_come_from_the_lock_with_their_hashes_and_as_wheels() -> None:
    installs = [run for run in arguments("RUN") if "install" in run]
    assert len(installs) == 1
    for option in ("--require-hashes", "--only-binary :all:", "--no-cache-dir", "/tmp/serving.lock"):
        assert option in installs[0]
    assert not any(word in run for run in arguments("RUN") for word in ("curl", "wget", "apt-get", "git "))


def test_only_what_is_needed_is_sent_and_copied() -> None:
    sources = [rest.split()[0] for rest in arguments("COPY") if not rest.startswith("--from")]
    assert sources == ["locks/serving.lock", "plantwatch", "models"]
    assert "ADD" not in dict(instructions())
    ignored = [
        line for line in (FOLDER / "Dockerfile.dockerignore").read_text().splitlines() if line and line[0] != "#"
    ]
    assert ignored[0] == "*"
    assert sorted(line[1:] for line in ignored if line.startswith("!")) == sorted(sources)


def test_the_entry_points_need_only_what_is_locked() -> None:
    assert third_party("models.serving.application", "models.serving.training") == {"safetensors"}
    pytest.importorskip("waitress")
    assert third_party("models.serving.server") == {"safetensors", "waitress"}


def test_the_lock_has_what_the_entry_points_need() -> None:
    if not LOCK.exists():
        pytest.skip("locks/serving.lock has not been made yet (make lock)")
    locked = set(re.findall(r"^([a-z0-9-]+)==", LOCK.read_text(), re.MULTILINE))
    assert locked == {"safetensors", "waitress"}
