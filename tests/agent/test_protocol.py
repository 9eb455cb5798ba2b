"""The agent and a service that restarts, loses answers, or does not want it any more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from forex_agent.client import KeyRefused

from api.embedded import EmbeddedValkey
from tests.agent.lossy import PAGE, REFUSAL, Lossy, foreign
from tests.agent.paper import Paper
from tests.agent.world import ended, look, order, settings_of, state_of, working
from tests.api.world import Agent, Service, User, serving, until


@pytest.fixture
def paper(tmp_path: Path) -> Paper:
    return Paper(tmp_path / "paper.jsonl")


@pytest.fixture
def lossy(service: Service) -> Iterator[Lossy]:
    with Lossy(service.address) as proxy:
        yield proxy


@pytest.mark.parametrize("call", ["/jobs/next", "/start", "/result", "/deals", "/heartbeat"])
@pytest.mark.parametrize("times", [1, 3])
def test_an_answer_that_is_lost_changes_nothing(  # noqa: PLR0917
    owner: User, agent: Agent, tmp_path: Path, paper: Paper, lossy: Lossy, call: str, times: int
) -> None:
    lossy.lose(call, times)
    job_id = order(owner, agent)  # waits already: the first question gets it
    with working(paper, settings_of(state_of(tmp_path / "state", agent, lossy.url))):
        assert ended(owner, job_id)["status"] == "completed"
        until(lambda: lossy.struck[call] == times)
        assert ended(owner, order(owner, agent))["status"] == "completed"
    assert len(paper.calls) == len(paper.deals_made) == 2


@pytest.mark.parametrize("call", ["/jobs/next", "/start", "/result"])
def test_several_orders_of_one_question_are_each_done_once(  # noqa: PLR0917
    owner: User, agent: Agent, tmp_path: Path, paper: Paper, lossy: Lossy, call: str
) -> None:
    lossy.lose(call, 2)
    made = [order(owner, agent) for _ in range(3)]
    with working(paper, settings_of(state_of(tmp_path / "state", agent, lossy.url))):
        assert [ended(owner, job_id)["status"] for job_id in made] == ["completed"] * 3
    assert len(paper.calls) == len(paper.deals_made) == 3


def test_a_service_of_before_gives_one_job_for_a_question(
    owner: User, agent: Agent, tmp_path: Path, paper: Paper, lossy: Lossy
) -> None:
    lossy.old = True
    made = [order(owner, agent) for _ in range(2)]
    with working(paper, settings_of(state_of(tmp_path / "state", agent, lossy.url))):
        assert [ended(owner, job_id)["status"] for job_id in made] == ["completed"] * 2
    assert len(paper.calls) == 2


def test_a_job_that_cannot_be_read_keeps_no_other_back(
    owner: User, agent: Agent, tmp_path: Path, paper: Paper, lossy: Lossy
) -> None:
    lossy.answer("/jobs/next", foreign(200, '{"jobs": [{"job_id": 1}]}'))
    with working(paper, settings_of(state_of(tmp_path / "state", agent, lossy.url))):
        assert ended(owner, order(owner, agent))["status"] == "completed"


@pytest.mark.parametrize("answer", [REFUSAL, PAGE], ids=["429", "undecodable"])
@pytest.mark.parametrize("call", ["/jobs/next", "/start", "/result"])
def test_a_call_that_was_not_taken_is_repeated(  # noqa: PLR0917
    owner: User, agent: Agent, tmp_path: Path, paper: Paper, lossy: Lossy, call: str, answer: bytes
) -> None:
    lossy.answer(call, answer, 2)
    job_id = order(owner, agent)
    with working(paper, settings_of(state_of(tmp_path / "state", agent, lossy.url))):
        assert ended(owner, job_id)["status"] == "completed"
    assert lossy.struck[call] == 2
    assert len(paper.calls) == 1


LIST = foreign(200, "[]")


@pytest.mark.parametrize(
    "call,answers",
    [
        ("/jobs/next", [foreign(403), LIST]),
        ("/start", [foreign(302), LIST]),
        ("/result", [foreign(302), foreign(403), foreign(404), foreign(522)]),
        ("/heartbeat", [foreign(403)]),
        ("/heartbeat", [LIST]),
    ],
    ids=["next", "start", "result", "beat-403", "beat-list"],
)
def test_what_the_service_did_not_say_changes_nothing(  # noqa: PLR0917
    owner: User,
    agent: Agent,
    tmp_path: Path,
    paper: Paper,
    lossy: Lossy,
    call: str,
    answers: list[bytes],
) -> None:
    """A result that a proxy answers is not heard yet, and its 403 says nothing of the key."""
    for answer in answers:
        lossy.answer(call, answer)
    job_id = order(owner, agent)
    with working(paper, settings_of(state_of(tmp_path / "state", agent, lossy.url))) as running:
        assert ended(owner, job_id)["status"] == "completed"
        until(lambda: lossy.struck[call] == len(answers))
        assert ended(owner, order(owner, agent))["status"] == "completed"
    assert running.error is None
    assert len(paper.calls) == 2


def test_a_question_whose_answer_was_lost_is_asked_again_after_a_restart(
    owner: User, agent: Agent, tmp_path: Path, paper: Paper, lossy: Lossy
) -> None:
    lossy.lose("/jobs/next", 1000)
    told = settings_of(state_of(tmp_path / "state", agent, lossy.url))
    job_id = order(owner, agent)
    with working(paper, told):
        until(lambda: look(owner, job_id)["status"] == "claimed")
    lossy._faults.clear()
    with working(paper, told):
        job = ended(owner, job_id)
    assert job["status"] == "completed"
    assert len(paper.deals_made) == 1


def test_a_service_that_restarts_finds_its_agent_again(
    platform_url: str, valkey: EmbeddedValkey, tmp_path: Path, paper: Paper
) -> None:
    with serving(platform_url, valkey.url) as first:
        owner = first.user()
        agent = owner.pair()
        port = first.address.rpartition(":")[2]
        with working(paper, settings_of(state_of(tmp_path / "state", agent))):
            assert ended(owner, order(owner, agent))["status"] == "completed"
            first.stop()
            with serving(platform_url, valkey.url, PORT=port) as second:
                owner.service = agent.service = second
                assert ended(owner, order(owner, agent))["status"] == "completed"
    assert len(paper.calls) == 2


def test_a_revoked_agent_ends(owner: User, agent: Agent, tmp_path: Path, paper: Paper) -> None:
    with working(paper, settings_of(state_of(tmp_path / "state", agent))) as running:
        ended(owner, order(owner, agent))
        assert owner.delete(agent.path).status_code == 200
        running.ended()
    assert isinstance(running.error, KeyRefused)


def test_a_wrong_key_is_refused_at_the_start(agent: Agent, tmp_path: Path, paper: Paper) -> None:
    agent.key = "fxa_" + "0" * 43
    with working(paper, settings_of(state_of(tmp_path / "state", agent))) as running:
        running.ended()
    assert isinstance(running.error, KeyRefused)
    assert not paper.calls


def test_a_cancelled_job_is_not_begun(
    owner: User, agent: Agent, tmp_path: Path, paper: Paper
) -> None:
    job_id = order(owner, agent)
    assert owner.post(f"/api/v1/jobs/{job_id}/cancel", {}).status_code == 200
    with working(paper, settings_of(state_of(tmp_path / "state", agent))):
        later = ended(owner, order(owner, agent))
    assert later["status"] == "completed"
    assert look(owner, job_id)["status"] == "cancelled"
    assert len(paper.calls) == 1
