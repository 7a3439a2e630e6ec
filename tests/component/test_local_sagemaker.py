"""The local `sagemaker` and `sagemaker-runtime` by boto3: real models, real jobs, AWS' own refusals."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from localcloud import procfs
from localcloud.processes import wait_until
from localcloud.sagemaker.artefacts import unpack
from localcloud.sagemaker.process import client_environment, services_section
from models.sagemaker_training import TrainingJob, submit_plainly
from models.serving.container import load_bundle
from tests.bundle_support import bundle
from tests.component.sagemaker_support import (
    BUCKET,
    IMAGE,
    ROLE,
    WITHIN_S,
    LocalSageMaker,
    local_sagemaker,
    model_archive,
    recording,
)

pytest.importorskip("waitress", reason="the model server's own library is not installed (extra: serving)")
pytestmark = pytest.mark.component

CALM_AND_STRANGE = b"10,5\n10,50\n"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSageMaker]:
    with local_sagemaker(tmp_path_factory.mktemp("sagemaker")) as started:
        started.model("pumps")
        assert started.endpoint("pumps", "pumps") == "InService"
        yield started


def refused(call: Callable[..., Any], **parameters: Any) -> tuple[str, str]:
    """The code and message of an error."""
    with pytest.raises(ClientError) as error:
        call(**parameters)
    answer = error.value.response["Error"]
    return answer["Code"], answer["Message"]


def scores(cloud: LocalSageMaker, body: bytes, **parameters: Any) -> list[float]:
    answer = cloud.runtime.invoke_endpoint(EndpointName="pumps", ContentType="text/csv", Body=body, **parameters)
    return [item["score"] for item in json.loads(answer["Body"].read())["scores"]]


def containers(cloud: LocalSageMaker) -> list[int]:
    """The running `serve` and `train` processes of this service."""
    own = {process.pid for process in procfs.every() if process.parent == cloud.pid}
    return [pid for pid in own if "models.serving" in procfs.argv(pid)]


def test_an_endpoint_answers_with_the_model_s_scores(cloud: LocalSageMaker) -> None:
    calm, strange = scores(cloud, CALM_AND_STRANGE)
    assert calm == 0.0
    assert strange > 0.99
    answer = cloud.runtime.invoke_endpoint(
        EndpointName="pumps", ContentType="application/json", Accept="application/jsonlines",
        Body=b'{"instances": [{"features": [10, 5]}]}',
    )  # fmt: skip
    assert answer["Body"].read() == b'{"score": 0.0}\n'
    assert (answer["ContentType"], answer["InvokedProductionVariant"]) == ("application/jsonlines", "AllTraffic")


def test_an_endpoint_s_description_is_what_it_was_made_of(cloud: LocalSageMaker) -> None:
    endpoint = cloud.api.describe_endpoint(EndpointName="pumps")
    assert endpoint["EndpointArn"] == "arn:aws:sagemaker:us-east-1:000000000000:endpoint/pumps"
    assert endpoint["EndpointConfigName"] == "pumps"
    assert endpoint["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    model = cloud.api.describe_model(ModelName="pumps")
    assert model["PrimaryContainer"]["Image"] == IMAGE
    assert model["CreationTime"].tzinfo is not None
    assert [item["EndpointName"] for item in cloud.api.list_endpoints(NameContains="UMP")["Endpoints"]] == ["pumps"]
    assert cloud.api.list_endpoints(StatusEquals="Failed", NameContains="pumps")["Endpoints"] == []


def test_a_session_goes_through_to_the_container(cloud: LocalSageMaker) -> None:
    def invoke(**parameters: Any) -> Any:
        return cloud.runtime.invoke_endpoint(
            EndpointName="pumps", ContentType="text/csv", Body=b"10,5", **parameters
        )  # fmt: skip

    session, _, expiry = invoke(SessionId="NEW_SESSION")["NewSessionId"].partition("; ")
    assert expiry.startswith("Expires=")
    assert invoke(SessionId=session, CustomAttributes="close-session")["ClosedSessionId"] == session
    code, message = refused(invoke, SessionId=session)
    assert code == "ModelError"
    assert "is unknown or has expired" in message


def test_what_the_container_refuses_is_a_model_error_with_its_line(cloud: LocalSageMaker) -> None:
    with pytest.raises(ClientError) as error:
        cloud.runtime.invoke_endpoint(EndpointName="pumps", ContentType="image/png", Body=b"x")
    answer = error.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert answer["Error"]["Message"].startswith("Received client error (415) from primary with message")
    assert (answer["OriginalStatusCode"], answer["OriginalMessage"][:12]) == (415, "content type")


def test_clients_find_it_by_environment_or_profile(
    cloud: LocalSageMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def models(**session: str) -> list[str]:
        api = boto3.session.Session(region_name="us-east-1", **session).client("sagemaker")
        return [model["ModelName"] for model in api.list_models(NameContains="pumps")["Models"]]

    for name, value in client_environment(cloud.port).items():
        monkeypatch.setenv(name, value)
    assert models() == ["pumps"]
    for name in client_environment(cloud.port):
        monkeypatch.delenv(name)
    keys = "aws_access_key_id = test\naws_secret_access_key = test\n"
    config = f"[profile local]\n{keys}services = local\n" + services_section("local", cloud.port)
    (tmp_path / "config").write_text(config)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert models(profile_name="local") == ["pumps"]


def test_unknown_names_are_refused_as_aws_refuses_them(cloud: LocalSageMaker) -> None:
    api, invalid = cloud.api, "ValidationException"
    arn = "arn:aws:sagemaker:us-east-1:000000000000"
    message = f'Could not find model "{arn}:model/ghost".'
    assert refused(api.describe_model, ModelName="ghost") == (invalid, message)
    assert refused(api.delete_model, ModelName="ghost") == (invalid, message)
    message = f'Could not find endpoint "{arn}:endpoint/ghost".'
    assert refused(api.describe_endpoint, EndpointName="ghost") == (invalid, message)
    assert refused(api.delete_endpoint, EndpointName="ghost") == (invalid, message)
    message = f'Could not find endpoint configuration "{arn}:endpoint-config/ghost".'
    assert refused(api.create_endpoint, EndpointName="new", EndpointConfigName="ghost") == (invalid, message)
    message = "Could not find requested job with name: ghost"
    assert refused(api.describe_transform_job, TransformJobName="ghost") == ("ResourceNotFound", message)
    assert refused(api.stop_transform_job, TransformJobName="ghost")[0] == "ResourceNotFound"
    assert refused(api.describe_training_job, TrainingJobName="ghost") == (invalid, "Requested resource not found.")
    assert refused(cloud.runtime.invoke_endpoint, EndpointName="ghost", Body=b"1") == (
        "ValidationError", "Endpoint ghost of account 000000000000 not found.",
    )  # fmt: skip


def test_a_name_is_given_once(cloud: LocalSageMaker) -> None:
    code, message = refused(cloud.model, name="pumps")
    assert (code, message[:36]) == ("ValidationException", "Cannot create already existing model")
    assert (
        "Cannot create already existing endpoint configuration" in refused(cloud.config, name="pumps", model="pumps")[1]
    )
    message = refused(cloud.api.create_endpoint, EndpointName="pumps", EndpointConfigName="pumps")[1]
    assert message.startswith("Cannot create already existing endpoint ")


@pytest.mark.parametrize(
    ("operation", "parameters", "complaint"),
    [
        ("create_model", {}, "Value null at 'modelName' failed to satisfy constraint: Member must not be null"),
        ("create_model", {"ModelName": "a b"}, "Value 'a b' at 'modelName' failed to satisfy constraint: Member must"),
        ("create_model", {"ModelName": "a" * 64}, "length less than or equal to 63"),
        ("create_model", {"ModelName": "a"}, "does not support a model without PrimaryContainer.Image"),
        ("list_models", {"MaxResults": 0}, "Value '0' at 'maxResults' failed to satisfy constraint"),
        ("list_models", {"SortBy": "Size"}, "enum value set: [Name, CreationTime]"),
        ("list_models", {"NextToken": "x"}, "NextToken is none of ours"),
        (
            "create_endpoint_config",
            {"EndpointConfigName": "a", "ProductionVariants": [{"VariantName": "-"}]},
            "Value '-' at 'productionVariants.1.member.variantName'",
        ),
        (
            "create_endpoint_config",
            {"EndpointConfigName": "a", "ProductionVariants": [{"VariantName": "a", "ModelName": "ghost"}]},
            "Could not find model",
        ),
        (
            "create_endpoint_config",
            {
                "EndpointConfigName": "a",
                "ProductionVariants": [
                    {"VariantName": "a", "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}
                ],
            },
            "does not support ServerlessConfig of a production variant",
        ),
    ],
)  # fmt: skip
def test_parameters_are_held_against_the_service_model(
    cloud: LocalSageMaker, operation: str, parameters: dict[str, Any], complaint: str
) -> None:
    code, message = refused(getattr(cloud.api, operation), **parameters)
    assert code == "ValidationException"
    assert complaint in message


def test_operations_that_are_not_here_say_so(cloud: LocalSageMaker) -> None:
    code, message = refused(cloud.api.list_notebook_instances)
    assert code == "UnknownOperationException"
    assert "does not support the operation ListNotebookInstances" in message


def test_a_body_beyond_the_limit_reaches_no_container(cloud: LocalSageMaker) -> None:
    code, message = refused(cloud.runtime.invoke_endpoint, EndpointName="pumps", Body=b"1" * (6 * 2**20 + 1))
    assert code == "ValidationError"
    assert "less than or equal to 6291456" in message


def test_a_model_without_data_is_not_created(cloud: LocalSageMaker) -> None:
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/nothing.tar.gz"}
    code, message = refused(cloud.api.create_model, ModelName="nothing", PrimaryContainer=container)
    assert (code, message) == ("ValidationException", f"Could not find model data at s3://{BUCKET}/nothing.tar.gz.")


@pytest.mark.parametrize(
    ("name", "archive", "image", "reason"),
    [
        ("damaged", model_archive(**{"pumps.bundle": b"x" * 100}), IMAGE, "cannot serve: invalid_bundle: pumps.bundle"),
        ("empty", model_archive(readme=b"x"), IMAGE, "cannot serve: no_model"),
        ("escaping", model_archive(**{"../evil.bundle": b"x"}), IMAGE, "'../evil.bundle', which is no file below it"),
        ("no-archive", b"no tar at all", IMAGE, "the model archive is no tar.gz"),
        ("foreign", model_archive(), "registry.invalid/randomcutforest:1", "is not here: only plantwatch-sagemaker"),
    ],
    ids=["damaged", "empty", "escaping", "no archive", "foreign"],
)  # fmt: skip
def test_an_endpoint_whose_container_does_not_come_up_has_failed_with_the_reason(
    cloud: LocalSageMaker, name: str, archive: bytes, image: str, reason: str
) -> None:
    before = len(containers(cloud))
    cloud.model(name, archive, Image=image)
    assert cloud.endpoint(name, name) == "Failed"
    failure = cloud.api.describe_endpoint(EndpointName=name)["FailureReason"]
    assert failure.startswith("The primary container did not pass the ping health check.")
    assert reason in failure
    assert refused(cloud.runtime.invoke_endpoint, EndpointName=name, Body=b"1")[0] == "ValidationError"
    cloud.api.delete_endpoint(EndpointName=name)
    assert len(containers(cloud)) == before


def test_an_update_serves_throughout_and_rolls_back_where_it_fails(cloud: LocalSageMaker) -> None:
    cloud.model("renewed", ContainerHostname="renewed")
    cloud.config("renewed", "renewed")
    cloud.api.update_endpoint(EndpointName="pumps", EndpointConfigName="renewed")
    assert scores(cloud, CALM_AND_STRANGE)[0] == 0.0
    assert "in-progress" in refused(cloud.api.delete_endpoint, EndpointName="pumps")[1]
    assert cloud.settled("pumps") == "InService"
    assert cloud.api.describe_endpoint(EndpointName="pumps")["EndpointConfigName"] == "renewed"
    cloud.model("unusable", model_archive(readme=b"x"))
    cloud.config("unusable", "unusable")
    cloud.api.update_endpoint(EndpointName="pumps", EndpointConfigName="unusable")
    assert cloud.settled("pumps") == "InService"
    endpoint = cloud.api.describe_endpoint(EndpointName="pumps")
    assert (endpoint["EndpointConfigName"], "no_model" in endpoint["FailureReason"]) == ("renewed", True)
    assert scores(cloud, CALM_AND_STRANGE)[0] == 0.0


def test_batch_transform_answers_line_for_line_however_records_are_packed(cloud: LocalSageMaker) -> None:
    lines = b"".join(b"10.%d,5\n" % (number % 10) if number % 7 else b"40,5\n" for number in range(300))
    cloud.put("in/a.csv", lines)
    cloud.put("in/hall-2/b.csv", lines[:-1])
    data = f"s3://{BUCKET}/in/"
    several = cloud.transform("several", "pumps", data)
    assert several["TransformJobStatus"] == "Completed", several
    assert several["TransformEndTime"] >= several["TransformStartTime"]
    assert cloud.keys("out/several/") == ["out/several/a.csv.out", "out/several/hall-2/b.csv.out"]
    answers = [json.loads(line)["score"] for line in cloud.get("out/several/a.csv.out").splitlines()]
    assert [score > 0.9 for score in answers] == [not number % 7 for number in range(300)]
    assert cloud.get("out/several/hall-2/b.csv.out") == cloud.get("out/several/a.csv.out")
    single = cloud.transform("single", "pumps", f"{data}a.csv", BatchStrategy="SingleRecord")
    assert single["TransformJobStatus"] == "Completed", single
    assert cloud.get("out/single/a.csv.out") == cloud.get("out/several/a.csv.out")


def test_packed_by_payload_a_large_object_has_as_many_answers_as_lines(cloud: LocalSageMaker) -> None:
    lines = 60_000
    cloud.put("large/a.csv.gz", gzip.compress(b"10.5,5.5\n" * lines))
    job = cloud.transform(
        "large", "pumps", f"s3://{BUCKET}/large/", MaxPayloadInMB=1,
        TransformInput={"CompressionType": "Gzip"}, TransformOutput={"Accept": "text/csv"},
    )  # fmt: skip
    assert job["TransformJobStatus"] == "Completed", job
    assert cloud.get("out/large/a.csv.gz.out").count(b"\n") == lines


def test_readings_in_a_batch_job_are_one_stream(cloud: LocalSageMaker) -> None:
    def line(number: int) -> bytes:
        reading = {
            "tenant": "acme",
            "device": "p-1",
            "ts": 1763877600 + number,
            "signals": {"flow": 10 + number % 3 / 10},
        }
        return json.dumps(reading).encode() + b"\n"

    cloud.put("stream/p-1.jsonl", b"".join(map(line, range(400))))
    data, kind = f"s3://{BUCKET}/stream/", {"ContentType": "application/jsonlines"}
    for name, strategy in (("stream-1", "SingleRecord"), ("stream-2", "MultiRecord")):
        job = cloud.transform(name, "pumps", data, BatchStrategy=strategy, TransformInput=kind)
        assert job["TransformJobStatus"] == "Completed", job
    single, several = cloud.get("out/stream-1/p-1.jsonl.out"), cloud.get("out/stream-2/p-1.jsonl.out")
    assert single == several
    answers = [json.loads(answer) for answer in several.splitlines()]
    assert len(answers) == 400
    assert {answer["bundle"] for answer in answers} == {bundle().digest}
    assert not answers[-1]["warming_up"]


def test_a_bad_record_fails_the_transform_job_and_says_where(cloud: LocalSageMaker) -> None:
    cloud.put("bad/a.csv", b"10,5\n10,five\n")
    job = cloud.transform("bad", "pumps", f"s3://{BUCKET}/bad/")
    assert job["TransformJobStatus"] == "Failed"
    assert job["FailureReason"] == f"ClientError: s3://{BUCKET}/bad/a.csv: 400: line 2: 'five' is no number"
    assert cloud.keys("out/bad/") == []
    missing = cloud.transform("missing", "pumps", f"s3://{BUCKET}/nowhere/")
    assert missing["TransformJobStatus"] == "Failed"
    assert f'No S3 objects found under S3 URL "s3://{BUCKET}/nowhere/"' in missing["FailureReason"]
    code, message = refused(cloud.transform, name="bad", model="pumps", data=f"s3://{BUCKET}/bad/")
    assert code == "ResourceInUse"
    assert "Job name must be unique" in message


def test_what_was_trained_can_be_served(cloud: LocalSageMaker, tmp_path: Path) -> None:
    for seed in range(2):
        cloud.put(f"recordings/pump-{seed}.csv", recording(seed))
    job = cloud.train("first", f"s3://{BUCKET}/recordings/")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Completed", "Completed"), job
    stages = [stage["Status"] for stage in job["SecondaryStatusTransitions"]]
    assert stages == ["Downloading", "Training", "Uploading", "Completed"]
    artefact = job["ModelArtifacts"]["S3ModelArtifacts"]
    assert artefact == f"s3://{BUCKET}/trained/first/output/model.tar.gz"
    archive = cloud.get("trained/first/output/model.tar.gz")
    unpack(archive, tmp_path)
    learnt = load_bundle(tmp_path)
    assert (learnt.name, list(learnt.priors)) == ("pumps", ["flow", "pressure"])
    cloud.model("trained", archive)
    assert cloud.endpoint("trained", "trained") == "InService"
    answer = cloud.runtime.invoke_endpoint(
        EndpointName="trained", ContentType="text/csv", Accept="text/csv", Body=b"10,5\n90,5"
    )
    calm, strange = map(float, answer["Body"].read().split())
    assert calm < 0.5 < 0.99 < strange


def test_a_described_training_job_runs(cloud: LocalSageMaker) -> None:
    cloud.put("described/pump-1.csv", recording(3))
    wanted = TrainingJob(IMAGE, ROLE, {"train": f"s3://{BUCKET}/described/"}, f"s3://{BUCKET}/trained", {"name": "a"})
    assert submit_plainly(wanted, "described", cloud.api).endswith(":training-job/described")
    assert cloud.ended("training", "described")["TrainingJobStatus"] == "Completed"
    assert cloud.keys("trained/described/") == ["trained/described/output/model.tar.gz"]


def test_a_training_job_that_fails_says_what_the_container_said(cloud: LocalSageMaker) -> None:
    cloud.put("short/a.csv", recording(1, rows=10))
    job = cloud.train("short", f"s3://{BUCKET}/short/")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("AlgorithmError: untrainable: a.csv: 6 normal readings")
    assert job["FailureReason"].endswith("exit code: 1")
    job = cloud.train("misspelt", f"s3://{BUCKET}/short/", HyperParameters={"nmae": "x"})
    assert "hyperparameters: nmae: no such setting" in job["FailureReason"]
    assert cloud.keys("trained/short/") == []


def test_a_training_job_can_be_stopped_and_leaves_no_model(cloud: LocalSageMaker) -> None:
    cloud.put("long/a.csv", recording(1, rows=60_000))
    cloud.begin_training("long", f"s3://{BUCKET}/long/")
    wait_until(
        lambda: cloud.api.describe_training_job(TrainingJobName="long")["SecondaryStatus"] == "Training",
        WITHIN_S, "training",
    )  # fmt: skip
    cloud.api.stop_training_job(TrainingJobName="long")
    assert cloud.ended("training", "long")["TrainingJobStatus"] == "Stopped"
    assert cloud.keys("trained/long/") == []
    code, message = refused(cloud.api.stop_training_job, TrainingJobName="long")
    assert (code, "in status Stopped" in message) == ("ValidationException", True)


def test_lists_come_in_pages(cloud: LocalSageMaker) -> None:
    for number in range(3):
        cloud.model(f"page-{number}")
    first = cloud.api.list_models(NameContains="page-", MaxResults=2, SortBy="Name", SortOrder="Ascending")
    assert [model["ModelName"] for model in first["Models"]] == ["page-0", "page-1"]
    second = cloud.api.list_models(
        NameContains="page-", MaxResults=2, SortBy="Name", SortOrder="Ascending", NextToken=first["NextToken"]
    )  # fmt: skip
    assert [model["ModelName"] for model in second["Models"]] == ["page-2"]
    assert "NextToken" not in second
    cloud.api.delete_model(ModelName="page-0")
    assert cloud.api.list_models(NameContains="page-0")["Models"] == []


def test_state_and_endpoints_outlive_the_service_and_a_kill_leaves_no_container(cloud: LocalSageMaker) -> None:
    cloud.put("long/a.csv", recording(1, rows=60_000))
    cloud.begin_training("cut-off", f"s3://{BUCKET}/long/")
    wait_until(lambda: len(containers(cloud)) >= 2, WITHIN_S, "an endpoint and a job run")
    running = containers(cloud)
    os.kill(cloud.pid, 9)
    wait_until(lambda: not any(procfs.read(pid) for pid in running), WITHIN_S, "no container is left")
    cloud.kill()
    cloud.start()
    assert cloud.settled("pumps") == "InService"
    assert scores(cloud, CALM_AND_STRANGE)[0] == 0.0
    job = cloud.api.describe_training_job(TrainingJobName="cut-off")
    assert (job["TrainingJobStatus"], job["FailureReason"][:19]) == ("Failed", "InternalServerError")
    running = containers(cloud)
    assert running
    began = time.monotonic()
    cloud.stop()
    assert time.monotonic() - began < 10
    assert not any(procfs.read(pid) for pid in running)
