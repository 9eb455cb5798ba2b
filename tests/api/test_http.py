"""What holds for every request: problems, ids, limits of the body, browsers, the log."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from api.embedded import EmbeddedValkey
from tests.api.world import Agent, Service, User, problem, serving

MIB = 1024 * 1024


def test_unknown_paths_and_ids_are_not_found(service: Service, owner: User) -> None:
    assert problem(service.http.get("/nothing")) == (404, "not_found")
    assert problem(owner.get("/api/v1/jobs/7")) == (404, "not_found")


def test_another_method_names_those_that_there_are(service: Service) -> None:
    answer = service.http.put("/api/v1/jobs")
    assert problem(answer) == (405, "method_not_allowed")
    assert {name.strip() for name in answer.headers["allow"].split(",")} >= {"GET", "POST"}


def test_a_head_request_takes_no_job(owner: User, agent: Agent) -> None:
    job_id = owner.enqueue(agent_id=str(agent.agent_id))
    answer = agent.service.http.head(f"{agent.path}/jobs/next", headers=agent.headers)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert owner.job(job_id)["status"] == "pending"
    assert agent.service.http.head("/healthz").status_code == 200


def test_a_body_that_is_no_json_is_400_one_that_breaks_a_rule_422(owner: User) -> None:
    path = "/api/v1/agents/pair"
    headers = owner.headers
    refused = owner.service.http.post(path, headers=headers, content=b'{"name": ')
    assert problem(refused) == (400, "invalid_json")
    refused = owner.post(path, {"broker_connection_id": "x"})
    assert problem(refused) == (422, "invalid")
    assert {error["field"] for error in refused.json()["errors"]} == {
        "name",
        "broker_connection_id",
    }
    assert problem(owner.post(path, {"name": "a\x00b"})) == (422, "invalid")
    assert problem(owner.get("/api/v1/jobs", job_type="a\x00b")) == (422, "invalid")


def test_the_media_type_does_not_matter(agent: Agent) -> None:
    headers = {**agent.headers, "Content-Type": "text/plain"}
    beat = agent.service.http.post(
        f"{agent.path}/heartbeat", headers=headers, content=b'{"status":"online","metrics":{}}'
    )
    assert beat.status_code == 200


def test_a_body_above_one_mib_is_refused_by_its_announced_length(agent: Agent) -> None:
    body = b'{"status": "' + b"x" * MIB + b'"}'
    refused = agent.service.http.post(
        f"{agent.path}/heartbeat", headers=agent.headers, content=body
    )
    assert problem(refused) == (413, "body_too_large")


def test_a_body_above_one_mib_is_refused_while_it_comes_in_pieces(agent: Agent) -> None:
    address = urlsplit(agent.service.address)
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=60) as client:
        client.sendall(
            f"POST {agent.path}/heartbeat HTTP/1.1\r\nHost: x\r\nX-Agent-Key: {agent.key}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
            + chunk * 17
        )
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")


LONG = 80 * 1024


@pytest.mark.parametrize(
    "begins",
    [
        "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ",
        "GET /healthz?",
        "POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Long: ",
    ],
)
def test_what_comes_before_or_after_a_body_has_an_end(service: Service, begins: str) -> None:
    address = urlsplit(service.address)
    with socket.create_connection((address.hostname, address.port), timeout=60) as client:
        client.sendall(begins.encode())
        came = b""
        try:
            client.sendall(b"x" * LONG)
            while data := client.recv(4096):
                came += data
        except ConnectionError:  # what it did not read is answered by a reset
            pass
    assert b"too long" in came or came == b"" or begins.startswith("POST")  # which was answered
    assert service.http.get("/healthz").status_code == 200


def test_a_long_body_is_no_long_head(agent: Agent) -> None:
    body = b'{"status": "' + b"x" * LONG + b'"}'
    answer = agent.service.http.post(f"{agent.path}/heartbeat", headers=agent.headers, content=body)
    assert problem(answer) == (422, "invalid")


def test_a_request_id_is_taken_over_or_made(service: Service) -> None:
    given = service.http.get("/healthz", headers={"X-Request-ID": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    made = service.http.get("/healthz", headers={"X-Request-ID": "a b"})
    assert len(made.headers["x-request-id"]) == 32


def test_browsers_of_allowed_origins_may_call(platform_url: str, valkey: EmbeddedValkey) -> None:
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "X-Other"}
    origins = "https://app.example.org, https://b.example.org"
    with serving(platform_url, valkey.url, CORS_ORIGINS=origins) as service:
        for origin, allowed in (("https://app.example.org", True), ("https://evil.org", False)):
            answer = service.http.get("/healthz", headers={"Origin": origin})
            assert ("access-control-allow-origin" in answer.headers) is allowed
        preflight = service.http.options("/api/v1/jobs", headers={"Origin": origins, **asked})
        assert preflight.status_code == 400


def test_metrics_count_by_route_template(service: Service, agent: Agent) -> None:
    agent.next()
    text = service.http.get("/metrics").text
    route = 'route="/api/v1/agents/{agent_id}/jobs/next"'
    assert f'api_requests_total{{method="GET",{route},status="200"}}' in text
    assert f"api_request_seconds_count{{{route}}}" in text
    assert str(agent.agent_id) not in text


def test_the_log_holds_no_secret(platform_url: str, valkey: EmbeddedValkey) -> None:
    with serving(platform_url, valkey.url) as service:
        owner = service.user()
        agent = owner.pair()
        query = {"token": "query-secret", "job_type": "private-type"}
        service.http.get("/api/v1/webhooks/tv/path-secret", params=query)
        service.http.post("/api/v1/webhooks/tv/path-secret", params=query)
        owner.get("/api/v1/jobs", **query)
        wrong = Agent(service, agent.agent_id, "fxa_wrong-secret")
        wrong.get(f"{agent.path}/jobs/next")
        job_id = owner.enqueue(agent_id=str(agent.agent_id), input_data={"x": "payload-secret"})
        agent.next()
        agent.result(job_id, output_data={"y": "payload-secret"})
        log = service.stop()
    assert "GET /api/v1/jobs 200" in log
    assert "GET - 405" in log
    assert "POST /api/v1/webhooks/tv/{webhook_secret} 200" in log
    for secret in ("-secret", "private-type", owner.token, agent.key, str(agent.agent_id)):
        assert secret not in log
