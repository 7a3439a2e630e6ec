"""`plantwatch models list|push|pull|promote|revert`: versions and stages in the model bucket, or in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from models.cli.common import Rows, bundle_at, now, output, refusals, user
from models.registry import Author, Registry, RegistryProblem, RegistryRefused, Stage, Stages, machine_types
from models.stores import store_at
from plantwatch.bundle.container import read as read_bundle
from plantwatch.telemetry import isoformat

Place = Annotated[
    str, typer.Option("--registry", envvar="PLANTWATCH_REGISTRY", help="s3://BUCKET, s3://BUCKET/PREFIX or a folder.")
]
Tenant = Annotated[str, typer.Option(help="Whose machines.")]
Type = Annotated[str, typer.Option("--machine-type", help="Which machines.")]
By = Annotated[str | None, typer.Option(help="Who does it; without it, the user's name.")]
Comment = Annotated[str, typer.Option(help="Why, in a line.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `plantwatch`."""
    models = typer.Typer(name="models", help="Versions of models and their stages.", no_args_is_help=True)
    for name, command in (("list", show), ("push", push), ("pull", pull), ("promote", promote), ("revert", revert)):
        models.command(name)(command)
    app.add_typer(models)


def show(
    registry: Place,
    tenant: Tenant,
    machine_type: Annotated[str, typer.Option(help="Only these machines; without it, all types.")] = "",
    history: Annotated[bool, typer.Option(help="Also who did what, when and why.")] = False,
) -> None:
    """List versions with their stages."""
    with refusals("list models"):
        store = store_at(registry)
        kinds = [machine_type] if machine_type else machine_types(store, tenant)
        if not kinds:
            output.print(f"no models of tenant {tenant} in {store.place}", markup=False)
        for kind in kinds:
            known = Registry(store, tenant=tenant, machine_type=kind)
            stages = known.stages()
            rows = Rows(kind, "version", "stage")
            for digest in known.versions():
                rows.add("", digest, ", ".join(stages.stages_of(digest)))
            rows.show()
            if history:
                _show_history(stages)


def push(
    file: Annotated[Path, typer.Argument(help="The bundle.")],
    registry: Place,
    tenant: Tenant,
    by: By = None,
    comment: Comment = "",
) -> None:
    """Keep a bundle for good, as the candidate of its machine type."""
    with refusals("push"):
        bundle = bundle_at(file)
        if not bundle.machine_type:
            raise RegistryRefused(RegistryProblem.INVALID_NAME, f"{file} says for no machine type; train with one")
        registry_ = Registry(store_at(registry), tenant=tenant, machine_type=bundle.machine_type)
        _say(registry_.push(file.read_bytes(), digest=bundle.digest, author=_author(by, comment)))


def pull(
    digest: Annotated[str, typer.Argument(help="The version, or a stage: candidate, shadow, production.")],
    registry: Place,
    tenant: Tenant,
    machine_type: Type,
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the bundle goes.")],
) -> None:
    """Fetch a version, checked against its digest."""
    with refusals("pull"):
        known = Registry(store_at(registry), tenant=tenant, machine_type=machine_type)
        if digest in set(Stage):
            digest = known.stages().holder(Stage(digest))
        body = known.get(digest)
        if read_bundle(body).digest != digest:
            raise RegistryRefused(RegistryProblem.OTHER_CONTENT, f"what lies under {digest} has another digest")
        out.write_bytes(body)
        output.print(f"written: {out} ({digest})", markup=False)


def promote(
    stage: Annotated[Stage, typer.Argument(help="Where to; from the stage below.")],
    registry: Place,
    tenant: Tenant,
    machine_type: Type,
    digest: Annotated[str, typer.Option("--version", help="Only if it is this version.")] = "",
    by: By = None,
    comment: Comment = "",
) -> None:
    """A candidate becomes shadow, a shadow production."""
    with refusals("promote"):
        known = Registry(store_at(registry), tenant=tenant, machine_type=machine_type)
        _say(known.promote(stage, author=_author(by, comment), digest=digest))


def revert(
    registry: Place,
    tenant: Tenant,
    machine_type: Type,
    by: By = None,
    comment: Comment = "",
) -> None:
    """Production is again the version that it was before."""
    with refusals("revert"):
        known = Registry(store_at(registry), tenant=tenant, machine_type=machine_type)
        _say(known.revert(author=_author(by, comment)))


def _author(by: str | None, comment: str) -> Author:
    return Author(by if by is not None else user(), now(), comment)


def _say(stages: Stages) -> None:
    output.print(", ".join(f"{stage}: {stages.holder(stage) or '-'}" for stage in Stage), markup=False)


def _show_history(stages: Stages) -> None:
    rows = Rows("at", "by", "action", "stage", "version", "before", "comment")
    for step in stages.history:
        rows.add(isoformat(step.at), step.by, str(step.action), str(step.stage), step.digest, step.before, step.comment)
    rows.show()
