"""The container's HTTP interface, without a server around it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from models.serving.application import Application
from models.serving.scorer import MACHINES_PER_STREAM_MAX, SESSION_S, SESSIONS_MAX, Scorer
from plantwatch.bundle.model import Bundle
from plantwatch.machine import Machines
from plantwatch.telemetry import Reading
from tests.bundle_support import AT, bundle

LIMIT = 100_000


class Container:
    """One application, asked as a WSGI server would."""

    def __init__(self, served: Bundle | None = None, *, batch: bool = False) -> None:
        self.now = AT + 10**9
        scorer = Scorer(served or bundle(), clock=lambda: self.now, batch=batch)
        self.application = Application(scorer, lambda: self.now, LIMIT, batch)
        self.status, self.headers = 0, dict[str, str]()

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> str:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            **headers,
        }
        [answer] = self.application(environ, self._begin)
        assert self.headers["Content-Length"] == str(len(answer))
        return answer.decode()

    def csv(self, body: str, **headers: str) -> str:
        return self.ask("POST", "/invocations", body.encode(), CONTENT_TYPE="text/csv", **headers)

    def play(self, values: list[float], at: int = AT, **headers: str) -> list[dict[str, Any]]:
        """Readings of one pump, a second apart."""
        instances = [
            {"tenant": "acme", "device": "pump-1", "ts": at + 1000 * number, "signals": {"flow": value}}
            for number, value in enumerate(values)
        ]
        body = json.dumps({"instances": instances}).encode()
        answer = self.ask(
            "POST", "/invocations", body, CONTENT_TYPE="application/json", HTTP_ACCEPT="application/json", **headers
        )
        assert self.status == 200, answer
        scores: list[dict[str, Any]] = json.loads(answer)["scores"]
        return scores

    def _begin(self, status: str, headers: list[tuple[str, str]]) -> None:
        self.status, self.headers = int(status.split()[0]), dict(headers)


def expected(values: list[float]) -> list[float]:
    """The same readings on the path of every other runtime."""
    machines = Machines.of(bundle())
    return [
        machines.watch(Reading("acme", "pump-1", AT + 1000 * number, AT, {"flow": value})).score
        for number, value in enumerate(values)
    ]


def scores(answers: list[dict[str, Any]]) -> list[float]:
    return [answer["score"] for answer in answers]


CALM_THEN_STRANGE = [10.0 + 0.1 * (number % 7) for number in range(400)] + [10.0, 40.0, 41.0, 10.0]


def test_a_server_that_answers_at_all_has_its_bundle() -> None:
    container = Container()
    assert container.ask("GET", "/ping") == ""
    assert container.status == 200
    assert container.headers["X-Plantwatch-Bundle"] == bundle().digest


def test_batch_transform_is_asked_for_one_mini_batch_at_a_time() -> None:
    container = Container()
    parameters = json.loads(container.ask("GET", "/execution-parameters"))
    assert parameters["MaxConcurrentTransforms"] == 1
    assert parameters["BatchStrategy"] == "MULTI_RECORD"


def test_values_are_scored_in_the_order_of_the_bundle_s_signals() -> None:
    container = Container()
    answer = json.loads(container.csv("10,5\n10,50\n50,5\n5,10\n"))
    calm, pressure, flow, swapped = (item["score"] for item in answer["scores"])
    assert calm == 0.0
    assert min(pressure, flow, swapped) > 0.99


def test_the_score_of_values_depends_on_no_neighbour_and_on_no_earlier_request() -> None:
    lines = [f"{10 + number % 3},{5 + number % 2}" for number in range(50)] + ["40,5", "10.1,5.2"]
    container = Container()
    together = container.csv("\n".join(lines), HTTP_ACCEPT="text/csv").split()
    assert [container.csv(line, HTTP_ACCEPT="text/csv").strip() for line in reversed(lines)] == together[::-1]


def test_one_line_of_a_batch_gets_one_line_however_it_was_cut() -> None:
    container = Container(batch=True)
    assert container.csv("10,5\n10,6\n").count("\n") == 2
    assert container.csv("10,5").count("\n") == 1
    assert container.headers["Content-Type"] == "application/jsonlines"


def test_a_request_s_readings_are_scored_as_a_stream_and_then_forgotten() -> None:
    container = Container()
    answers = container.play(CALM_THEN_STRANGE)
    assert scores(answers) == expected(CALM_THEN_STRANGE)
    assert max(scores(answers)) > 0.99
    assert answers == container.play(CALM_THEN_STRANGE)


def test_a_session_s_stream_goes_on_from_request_to_request() -> None:
    container = Container()
    first = container.play(CALM_THEN_STRANGE[:200], HTTP_X_AMZN_SAGEMAKER_SESSION_ID="NEW_SESSION")
    session, _, expiry = container.headers["X-Amzn-SageMaker-New-Session-Id"].partition("; ")
    assert expiry.startswith("Expires=20")
    assert expiry.endswith("Z")
    second = container.play(
        CALM_THEN_STRANGE[200:], at=AT + 200_000, HTTP_X_AMZN_SAGEMAKER_SESSION_ID=session
    )  # fmt: skip
    assert scores(first + second) == expected(CALM_THEN_STRANGE)


def test_a_batch_job_s_mini_batches_are_one_stream() -> None:
    container = Container(batch=True)
    first, second = container.play(CALM_THEN_STRANGE[:200]), container.play(CALM_THEN_STRANGE[200:], at=AT + 200_000)
    assert scores(first + second) == expected(CALM_THEN_STRANGE)


def test_a_closed_an_expired_and_an_unknown_session_are_refused() -> None:
    container = Container()

    def opened() -> str:
        container.csv("10,5", HTTP_X_AMZN_SAGEMAKER_SESSION_ID="NEW_SESSION")
        return container.headers["X-Amzn-SageMaker-New-Session-Id"].partition(";")[0]

    def refused(session: str) -> bool:
        answer = container.csv("10,5", HTTP_X_AMZN_SAGEMAKER_SESSION_ID=session)
        return container.status == 400 and "is unknown or has expired" in answer

    closed, expired = opened(), opened()
    container.ask(
        "POST", "/invocations",
        HTTP_X_AMZN_SAGEMAKER_SESSION_ID=closed, HTTP_X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES="close-session",
    )  # fmt: skip
    assert (container.status, container.headers["X-Amzn-SageMaker-Closed-Session-Id"]) == (200, closed)
    assert refused(closed)
    assert not refused(expired)
    container.now += round(SESSION_S * 1000)
    assert refused(expired)
    assert refused("never-there")


def test_sessions_are_bounded_and_the_longest_unused_makes_room() -> None:
    container = Container()
    scorer = container.application.scorer
    names = [scorer.open_session()[0] for _ in range(SESSIONS_MAX)]
    scorer.play([], names[0])
    scorer.open_session()
    scorer.play([], names[0])
    container.csv("10,5", HTTP_X_AMZN_SAGEMAKER_SESSION_ID=names[1])
    assert container.status == 400


def test_a_stream_s_machines_are_bounded() -> None:
    scorer = Container(batch=True).application.scorer
    readings = (Reading("acme", f"p-{number}", AT, AT, {"flow": 10.0}) for number in range(MACHINES_PER_STREAM_MAX + 9))
    assert len(scorer.play(readings)) == MACHINES_PER_STREAM_MAX + 9
    assert len(scorer._stream("").machines) == MACHINES_PER_STREAM_MAX


def test_a_bad_instance_refuses_the_request_and_no_stream_moves_on() -> None:
    container = Container(batch=True)
    container.play(CALM_THEN_STRANGE[:200])
    body = json.dumps({"tenant": "acme", "device": "pump-1", "ts": AT + 10**7, "signals": {"flow": 77}}) + "\n{}\n"
    answer = container.ask("POST", "/invocations", body.encode(), CONTENT_TYPE="application/jsonlines")
    assert (container.status, answer.count("\n")) == (400, 1)
    assert answer.startswith("line 2: ")
    assert scores(container.play(CALM_THEN_STRANGE[200:], at=AT + 200_000)) == expected(CALM_THEN_STRANGE)[200:]


def test_a_server_with_too_much_to_do_says_so_and_still_answers_the_ping() -> None:
    container = Container()
    assert container.application.places.acquire(blocking=False)
    assert container.csv("10,5") == "too many requests at once: try again\n"
    assert container.status == 503
    container.ask("GET", "/ping")
    assert container.status == 200
    container.application.places.release()
    for _ in range(3):
        container.csv("10,5")
        assert container.status == 200


def test_values_of_the_wrong_number_are_told_which_signals_there_are() -> None:
    container = Container()
    assert container.csv("10,5\n10\n") == "instance 2: 1 values for 2 signals (flow, pressure)\n"
    assert container.status == 400


def test_a_bundle_that_knows_no_signals_scores_readings_only() -> None:
    container = Container(Bundle("blank"))
    assert "send readings" in container.csv("10,5")
    assert container.status == 400
    assert scores(container.play([10.0, 10.1])) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 404),
        ("POST", "/invocations/x", {}, 404),
        ("POST", "/ping", {}, 405),
        ("GET", "/invocations", {}, 405),
        ("POST", "/invocations", {}, 415),
        ("POST", "/invocations", {"CONTENT_TYPE": "image/png"}, 415),
        ("POST", "/invocations", {"CONTENT_TYPE": "text/csv", "HTTP_ACCEPT": "image/png"}, 406),
        ("POST", "/invocations", {"CONTENT_TYPE": "text/csv"}, 400),
        ("POST", "/invocations", {"CONTENT_TYPE": "text/csv", "CONTENT_LENGTH": str(LIMIT + 1)}, 413),
        ("POST", "/invocations", {"CONTENT_TYPE": "text/csv", "CONTENT_LENGTH": "5"}, 400),
        ("POST", "/invocations", {"CONTENT_TYPE": "text/csv", "CONTENT_LENGTH": "five"}, 400),
        ("POST", "/invocations", {"HTTP_X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES": "close-session"}, 400),
    ],
)  # fmt: skip
def test_what_is_no_request_of_ours_gets_its_status_and_one_line(
    method: str, path: str, headers: dict[str, str], status: int
) -> None:
    container = Container()
    answer = container.ask(method, path, b"", **headers)
    assert (container.status, answer.count("\n")) == (status, 1)
    assert container.headers.get("Allow", "") == {405: "GET" if path == "/ping" else "POST"}.get(status, "")
