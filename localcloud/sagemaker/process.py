"""How the local SageMaker is started beside a region, and how clients find it."""

from __future__ import annotations

import sys
from pathlib import Path

from localcloud.processes import ProcessSpec
from localcloud.region import HOST, REPOSITORY, Region, environment


def sagemaker_spec(region: Region, port: int, state_dir: Path) -> ProcessSpec:
    """SageMaker of `region`, its state in `state_dir`/ROLE/sagemaker, its models and data in the region's S3."""
    home = (state_dir / region.role / "sagemaker").resolve()
    return ProcessSpec(
        name=f"sagemaker-{region.role}",
        argv=(sys.executable, "-m", "localcloud.sagemaker", "--port", str(port), "--state", str(home)),
        env={**environment(region), "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
        cwd=REPOSITORY,
        ports=(port,),
        folders=(home,),
    )


def endpoint_url(port: int) -> str:
    return f"http://{HOST}:{port}"


def client_environment(port: int) -> dict[str, str]:
    """Beside `environment(region)`, for a process that shall reach this SageMaker: boto3 reads it itself."""
    return {
        "AWS_ENDPOINT_URL_SAGEMAKER": endpoint_url(port),
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": endpoint_url(port),
    }


def services_section(name: str, port: int) -> str:
    """For an AWS config file, where a profile that says `services = NAME` shall reach this SageMaker."""
    url = endpoint_url(port)
    return f"[services {name}]\nsagemaker =\n  endpoint_url = {url}\nsagemaker_runtime =\n  endpoint_url = {url}\n"
