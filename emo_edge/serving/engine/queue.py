"""Jobs that wait: bounded, in turn between clients, cancelled and late ones left out."""

from __future__ import annotations

from collections import OrderedDict, deque

from emo_edge.serving.engine.jobs import DeadlineError, Job, QueueFullError


class FairQueue:
    """First come, first served within a client; the clients take turns. Its user holds a lock around each call."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._clients: OrderedDict[str, deque[Job]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(jobs) for jobs in self._clients.values())

    def put(self, job: Job) -> None:
        """Add a job; raise QueueFullError where as many wait as may wait. A live frame always finds a place.

        Of those there is one a WebSocket, and WebSockets are few.
        """
        if len(self) >= self._limit:
            self._drop_cancelled()
        if len(self) >= self._limit and job.boxes is None:
            raise QueueFullError(f"{self._limit} readings wait already: try again in a moment")
        self._clients.setdefault(job.client, deque()).append(job)

    def take(self, pictures: int, now_s: float) -> list[Job]:
        """Take the next job, and those of other clients that can be read with it, up to ``pictures`` in all.

        Every job that is returned runs: its future can no longer be cancelled. A job whose deadline has passed gets a
        DeadlineError. Returns an empty list when nothing waits.
        """
        batch: list[Job] = []
        # A round takes at most one job of each client.
        while self._round(batch, pictures, now_s):
            pass
        self._forget_idle()
        return batch

    def _round(self, batch: list[Job], pictures: int, now_s: float) -> bool:
        """Add the next job of every client that fits; return False if none did."""
        before = len(batch)
        for client in list(self._clients):
            job = self._next_of(client, now_s)
            if job is None:
                continue
            room = pictures - sum(len(other.images) for other in batch)
            if batch and not (job.joins(batch[0]) and len(job.images) <= room):
                continue
            self._clients[client].popleft()
            if job.future.set_running_or_notify_cancel():
                batch.append(job)
                # Whoever was served waits behind the others.
                self._clients.move_to_end(client)
        return len(batch) > before

    def drain(self) -> list[Job]:
        """Take all that waits."""
        jobs = [job for waiting in self._clients.values() for job in waiting]
        self._clients.clear()
        return jobs

    def _next_of(self, client: str, now_s: float) -> Job | None:
        """Return the client's first job that is still wanted, and leave it in the queue."""
        jobs = self._clients[client]
        while jobs:
            job = jobs[0]
            if job.future.cancelled():
                jobs.popleft()
            elif now_s > job.deadline_s:
                jobs.popleft()
                if job.future.set_running_or_notify_cancel():
                    job.future.set_exception(DeadlineError("the reading did not begin in time: the server is busy"))
            else:
                return job
        return None

    def _drop_cancelled(self) -> None:
        for client, jobs in self._clients.items():
            self._clients[client] = deque(job for job in jobs if not job.future.cancelled())
        self._forget_idle()

    def _forget_idle(self) -> None:
        for client in [name for name, jobs in self._clients.items() if not jobs]:
            del self._clients[client]
