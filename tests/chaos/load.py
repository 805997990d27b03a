"""A steady load over HTTP from clients that submit, follow, cancel, pause and retry, and repeat
unanswered requests.

The seed decides what each client does, but not what it is answered. Everything goes into the
history.
"""

import itertools
import random
import time
from collections import Counter
from typing import Any

import anyio
import httpx
import msgspec

from tests.chaos.checker import sha_of
from tests.chaos.evidence import SUBMITTING
from tests.chaos.history import TERMINAL, Answered, Followed, History, Invoked, Received, nonces_in
from tests.support.gateways import MODEL, frames

REQUEST_S = 8.0
# A client without an answer by then gives up, and the checker finds out what happened to its job.
PATIENCE_S = 90.0
RESULT_TTL_S = 300.0
AT_ONCE = 300
LATE_S = 0.2
_PATHS = {"submit": "/jobs/inference", "train": "/jobs/training"}
_LONG = ("emit", "sleep", "ignore")
_DOINGS = {"answer": 60, "emit": 20, "flake": 6, "fail": 4, "sleep": 5, "ignore": 4.7, "crash": 0.1}


class Load:
    """urls: those of the gateways. For the summary, counts: answers by verb and outcome; submitted:
    a text for each submission; accepted: ids of jobs."""

    def __init__(self, urls: list[str], history: History, *, seed: str, rate: float, with_training: bool) -> None:
        self._urls, self._history, self._seed, self._rate = urls, history, seed, rate
        self._with_training = with_training
        self._ops, self._followers = itertools.count(1), itertools.count(1)
        self.counts: Counter[str] = Counter()
        self.submitted, self.accepted = set[str](), set[str]()

    async def run(self, seconds: float) -> None:
        """Start new clients for so many seconds, and return when the last of them has finished."""
        limits = httpx.Limits(max_connections=2 * AT_ONCE)
        at_once = anyio.Semaphore(AT_ONCE)
        arrivals, end = random.Random(f"{self._seed} arrivals"), time.monotonic() + seconds
        due = time.monotonic()
        async with (
            httpx.AsyncClient(timeout=REQUEST_S, limits=limits, trust_env=False) as http,
            anyio.create_task_group() as clients,
        ):
            if self._with_training:
                clients.start_soon(self._train, http, random.Random(f"{self._seed} training"), end)
            for number in itertools.count():
                if time.monotonic() >= end:
                    return
                await at_once.acquire()
                clients.start_soon(self._live, http, random.Random(f"{self._seed} {number}"), at_once)
                # The rate includes the time that it takes to start a client. After a stall, nothing is made up for.
                due = max(due, time.monotonic() - LATE_S) + arrivals.expovariate(self._rate)
                await anyio.sleep(max(0.0, due - time.monotonic()))

    async def resume(self, http: httpx.AsyncClient, job: str, nonce: str) -> None:
        await self._insist(http, random.Random(0), "resume", nonce, job=job)

    async def _live(self, http: httpx.AsyncClient, rng: random.Random, at_once: anyio.Semaphore) -> None:
        """One client, from its submission to its last request."""
        try:
            with anyio.move_on_after(PATIENCE_S):
                nonce = f"nonce-{rng.getrandbits(48):012x}"
                body = _body(rng, nonce)
                job = await self._submit(http, rng, nonce, body)
                if job is not None:
                    await self._accompany(http, rng, job, nonce, is_long=body["input_data"]["do"] in _LONG)
        finally:
            at_once.release()

    async def _train(self, http: httpx.AsyncClient, rng: random.Random, end: float) -> None:
        """Train one small model after another."""
        while time.monotonic() < end:
            with anyio.move_on_after(PATIENCE_S):
                nonce = f"nonce-{rng.getrandbits(48):012x}"
                answer = await self._insist(http, rng, "train", nonce, key=f"key-{nonce}", body=_training_body(nonce))
                if answer is not None and answer.outcome == "ok":
                    await self._follow(http, rng, answer.job)

    async def _submit(
        self, http: httpx.AsyncClient, rng: random.Random, nonce: str, body: dict[str, Any]
    ) -> str | None:
        key = f"key-{nonce}"
        headers = {"prefer": "wait=1"} if rng.random() < 0.03 else {}
        if rng.random() < 0.05:
            async with anyio.create_task_group() as twins:
                twins.start_soon(self._ask, http, rng.choice(self._urls), "submit", nonce, "", key, body, {})
        answer = await self._insist(http, rng, "submit", nonce, key=key, body=body, headers=headers)
        return answer.job if answer is not None and answer.outcome == "ok" else None

    async def _accompany(
        self, http: httpx.AsyncClient, rng: random.Random, job: str, nonce: str, *, is_long: bool
    ) -> None:
        async with anyio.create_task_group() as group:
            # A request to a job that has already ended tests little.
            interest, is_following = rng.uniform(0.0, 0.4 if is_long else 1.0), rng.random() < 0.25
            if is_following:
                group.start_soon(self._follow, http, rng, job)
            if interest < 0.06:
                await anyio.sleep(rng.expovariate(4.0))
                await self._insist(http, rng, "cancel", nonce, job=job)
            elif interest < 0.14:
                await anyio.sleep(rng.expovariate(10.0))
                await self._insist(http, rng, "pause", nonce, job=job)
                await anyio.sleep(rng.expovariate(2.0))
                await self._insist(http, rng, "resume", nonce, job=job)
            elif interest < 0.3:
                await anyio.sleep(rng.expovariate(2.0))
                await self._ask(http, rng.choice(self._urls), "status", nonce, job, "", None, {})
        if is_following and rng.random() < 0.2:
            await self._run_again(http, rng, job, nonce)

    async def _run_again(self, http: httpx.AsyncClient, rng: random.Random, job: str, nonce: str) -> None:
        answer = await self._insist(http, rng, "status", nonce, job=job)
        if answer is None or answer.state not in TERMINAL:
            return
        verb = "replay" if answer.state == "succeeded" else "retry"
        again = await self._insist(http, rng, verb, nonce, job=job)
        if again is not None and again.outcome == "ok":
            await self._follow(http, rng, again.job)

    async def _insist(
        self,
        http: httpx.AsyncClient,
        rng: random.Random,
        verb: str,
        nonce: str,
        *,
        job: str = "",
        key: str = "",
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answered | None:
        """Repeat a request until it is answered. A replay is sent once, because each one makes
        another job."""
        while True:
            answer = await self._ask(http, rng.choice(self._urls), verb, nonce, job, key, body, headers or {})
            if answer.outcome != "unknown" or verb == "replay":
                return answer
            await anyio.sleep(rng.uniform(0.1, 0.6))

    async def _ask(
        self,
        http: httpx.AsyncClient,
        url: str,
        verb: str,
        nonce: str,
        job: str,
        key: str,
        body: dict[str, Any] | None,
        headers: dict[str, str],
    ) -> Answered:
        op = next(self._ops)
        self._history.append(Invoked(op=op, verb=verb, nonce=nonce, job=job, key=key))
        path = _PATHS.get(verb, f"/jobs/{job}/{verb}")
        method = "GET" if verb == "status" else "POST"
        if key:
            headers = headers | {"idempotency-key": key}
        try:
            response = await http.request(method, url + path, json=body, headers=headers)
            answer = _answer(op, verb, response)
        except httpx.HTTPError:
            answer = Answered(op=op, outcome="unknown")
        self._history.append(answer)
        self.counts[f"{verb} {answer.outcome}"] += 1
        if verb in SUBMITTING:
            self.submitted.add(f"{verb} {nonce}")
            self.accepted |= {answer.job} - {""}
        return answer

    async def _follow(self, http: httpx.AsyncClient, rng: random.Random, job: str) -> None:
        """Receive the job's events to the end. After each cut, continue behind the last event."""
        name, last = f"follower-{next(self._followers)}", 0
        while True:
            headers = {"last-event-id": str(last), "accept": "text/event-stream"}
            url = f"{rng.choice(self._urls)}/jobs/{job}/events"
            try:
                async with http.stream("GET", url, headers=headers, timeout=20.0) as response:
                    if response.status_code == 204:
                        self._history.append(Followed(follower=name, job=job))
                        return
                    if 400 <= response.status_code < 500:
                        return
                    if response.status_code == 200:
                        last = await self._receive(response, name, job, last)
            except httpx.HTTPError:
                self.counts["connections cut"] += 1
            await anyio.sleep(rng.uniform(0.05, 0.4))

    async def _receive(self, response: httpx.Response, name: str, job: str, last: int) -> int:
        try:
            async for frame in frames(response):
                n = frame.json["oldest"] if frame.event == "gap" else int(frame.id)
                nonces = nonces_in(frame.data)
                sha = "" if frame.event == "gap" else sha_of(frame.data)
                self._history.append(Received(follower=name, job=job, n=n, event=frame.event, sha=sha, nonces=nonces))
                last = n - 1 if frame.event == "gap" else n
        except httpx.HTTPError:
            self.counts["connections cut"] += 1
        return last


def _answer(op: int, verb: str, response: httpx.Response) -> Answered:
    status, text = response.status_code, response.text
    if status >= 500:
        return Answered(op=op, outcome="unknown", status=status, nonces=nonces_in(text))
    if status >= 400:
        return Answered(op=op, outcome="refused", status=status, nonces=nonces_in(text))
    found = msgspec.json.decode(text)
    job = (found.get("job_id") or found["id"]) if verb in SUBMITTING else ""
    return Answered(op=op, outcome="ok", status=status, job=job, state=found["status"], nonces=nonces_in(text))


def _body(rng: random.Random, nonce: str) -> dict[str, Any]:
    doing = rng.choices(list(_DOINGS), list(_DOINGS.values()))[0]
    return {
        "model_id": MODEL,
        "input_data": {"do": doing, "nonce": nonce, "n": rng.randint(1, 3 if doing == "flake" else 12)},
        "retry": {"max_attempts": 3, "backoff_s": 0.2, "max_backoff_s": 0.5},
        "priority": rng.choice(["high", "normal", "normal", "low"]),
        "result_ttl_s": RESULT_TTL_S,
    }


def _training_body(nonce: str) -> dict[str, Any]:
    return {
        "model_type": "mlp",
        "data_path": "wine.csv",
        "output_model": "wine",
        "hyperparameters": {"epochs": 20, "checkpoint_every_s": 0.5},
        "metadata": {"nonce": nonce},
        "result_ttl_s": RESULT_TTL_S,
    }
