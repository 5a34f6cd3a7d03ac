"""The engine: one thread that gives every text its next token, in turn.

A round takes in texts that wait, while there are rows; reads a piece of one prompt; and computes a
token for every text whose prompt is read. So texts join and leave between tokens, and nobody waits
for another's long prompt. What comes of it goes to the client's own thread through `Job.deliver`.
"""

import collections
import threading
import time
from dataclasses import dataclass, field

import numpy as np

import microtensor as mt

from ..generation import sampling
from .batching import Text, batch_for


class Full(Exception):
    """So many texts wait already that this one is refused."""


class Stopped(Exception):
    """The engine takes no more texts."""


@dataclass
class Token:
    """The result of a step: the id, its log-probability and the likeliest ones, if asked for.

    `end` is why there will be no more: "stop", "length", "error" or "cut", else None.
    """

    id: int | None
    logprob: float | None = None
    top: list = field(default_factory=list)  # [(id, log-probability)]
    end: str | None = None
    error: str | None = None


class Job:
    """One text that is to be continued: what is asked for, and whom to tell.

    `deliver(token)` is called by the engine's thread with every `Token`; it says whether the text
    has come to a stop string. `cancel` may be called from any thread.
    """

    def __init__(self, model, ids, max_tokens, deliver, *, temperature=1.0, top_p=1.0, top_k=None,
                 seed=None, logprobs=None, stop_ids=()):  # fmt: skip
        self.model, self.text, self.max_tokens, self.deliver = model, Text(ids), max_tokens, deliver
        self.options = temperature, top_k, top_p
        self.generator = mt.Generator()
        self.generator.seed() if seed is None else self.generator.manual_seed(seed)
        self.logprobs, self.stop_ids = logprobs, frozenset(stop_ids)
        self.made, self.cancelled, self.arrived = 0, False, time.monotonic()

    def cancel(self):
        """Let nothing more be computed for it."""
        self.cancelled = True


class Engine:
    """Continues texts with models by name. `rows` texts of each run at once, `waiting` may wait."""

    def __init__(self, models, rows=16, waiting=64):
        self.models, self.rows, self.limit = models, rows, waiting
        self.batches = {name: batch_for(model, rows) for name, model in models.items()}
        self.queue, self.running = collections.deque(), []
        self.lock = threading.Condition()
        self.stopping, self.deadline, self.failed = False, None, None
        self.counts = collections.Counter()
        self.first_token_seconds = 0.0
        self.ready = threading.Event()  # set once the first token will not have to wait
        self.thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self):
        self.thread.start()
        return self

    def submit(self, jobs):
        """Let some jobs wait for their turn, all of them or none. Full, or Stopped, if it is so."""
        with self.lock:
            if self.stopping or self.failed:
                raise Stopped
            self.queue = collections.deque(job for job in self.queue if not job.cancelled)
            idle = self.rows - len(self.running)
            if len(self.queue) + len(jobs) > self.limit + max(0, idle):
                raise Full
            self.queue.extend(jobs)
            self.lock.notify()

    def stop(self, seconds=0.0):
        """Take no more texts, and cut off what is not done in some seconds."""
        with self.lock:
            self.stopping, self.deadline = True, time.monotonic() + seconds
            self.lock.notify()

    def join(self, timeout=None):
        """Wait for the thread to end."""
        self.thread.join(timeout)

    # ---- the thread ----------------------------------------------------------------------------

    def _run(self):
        models = {id(m): m for m in self.models.values()}.values()
        for model in models:
            model.eval()
        try:
            with mt.inference_mode():
                for batch in self.batches.values():
                    _warm_up(batch)
                self.ready.set()
                while self._wait():
                    self._round()
        except BaseException as error:  # nobody may wait for ever
            self.failed = error
            for job in [*self.running, *self.queue]:
                self._end(job, "error", f"the engine failed: {error}")
            raise
        finally:
            self.ready.set()
            self.running.clear()
            self.queue.clear()

    def _wait(self):
        """Wait for something to do; False when all is over."""
        with self.lock:
            while not (self.queue or self.running or self.stopping):
                self.lock.wait()
            if self.stopping and (
                time.monotonic() >= self.deadline or not (self.queue or self.running)
            ):
                cut = [*self.running, *self.queue]
                for job in cut:
                    self._end(job, "cut")
                return False
        return True

    def _round(self):
        for job in [job for job in self.running if job.cancelled]:
            self._end(job, None)
        self._admit()
        ready, reading = collections.defaultdict(list), []
        for job in self.running:
            if self.batches[job.model].is_ready(job.text):
                ready[job.model].append(job)
            else:
                reading.append(job)
        if reading:
            job = reading[0]
            self.running.remove(job)  # to the end, so that all prompts go on in turns
            self.running.append(job)
            self._try([job], lambda batch, jobs: batch.read(jobs[0].text))
        for jobs in ready.values():
            self._try(jobs, lambda batch, jobs: batch.next([job.text for job in jobs]))

    def _admit(self):
        """Give rows to those that wait, the first first."""
        with self.lock:
            waiting, self.queue = self.queue, collections.deque()
            for job in waiting:
                if job.cancelled:
                    self.counts["cancelled"] += 1
                elif self.batches[job.model].free:
                    self.batches[job.model].open(job.text)
                    self.running.append(job)
                else:
                    self.queue.append(job)

    def _try(self, jobs, compute):
        """Compute logits for jobs of one model, and go on with them; end those that fail."""
        try:
            logits = compute(self.batches[jobs[0].model], jobs)
            if logits is not None:
                self._choose(jobs, logits.reshape(len(jobs), -1))
        except Exception as error:
            self.counts["errors"] += 1
            for job in jobs:
                if job in self.running:
                    self._end(job, "error", f"{type(error).__name__}: {error}")

    def _choose(self, jobs, logits):
        """The next token of each job, from logits (B, V)."""
        groups = collections.defaultdict(list)
        for i, job in enumerate(jobs):
            groups[job.options].append(i)
        for (temperature, top_k, top_p), places in groups.items():
            some = logits if len(places) == len(jobs) else logits[mt.tensor(places)]
            generators = [jobs[i].generator for i in places]
            ids = sampling.sample(some, temperature, top_k, top_p, generators).tolist()
            for i, id, row in zip(places, ids, some):
                self._go_on(jobs[i], id, row)

    def _go_on(self, job, id, logits):
        if job.cancelled:
            return
        if not job.made:
            self.first_token_seconds += time.monotonic() - job.arrived
            self.counts["first_tokens"] += 1
        job.made += 1
        self.counts["tokens"] += 1
        token = Token(id, *_log_probabilities(logits, id, job.logprobs))
        job.text.ids.append(id)
        if id in job.stop_ids:
            token.end = "stop"
        elif job.made >= job.max_tokens:
            token.end = "length"
        if job.deliver(token) and not token.end:
            token.end = "stop"
        if token.end:
            self._close(job)

    def _end(self, job, why, error=None):
        """End a job before its time; None: its client has gone."""
        self._close(job)
        if why is None:
            self.counts["cancelled"] += 1
        else:
            job.deliver(Token(None, end=why, error=error))

    def _close(self, job):
        self.batches[job.model].close(job.text)
        if job in self.running:
            self.running.remove(job)


def _warm_up(batch):
    """Compute two tokens, so that loops are compiled and operations written down."""
    text = Text([0])
    batch.open(text)
    for _ in range(3):
        batch.next([text]) if batch.is_ready(text) else batch.read(text)
        text.ids.append(0)
    batch.close(text)


def _log_probabilities(logits, id, number):
    """The log-probability of a token and of the likeliest `number`; nothing for None."""
    if number is None:
        return None, []
    x = logits.numpy().astype(np.float64)
    x = x - x.max()
    x -= np.log(np.exp(x).sum())
    order = np.argsort(-x, kind="stable")[:number].tolist()
    return max(float(x[id]), LEAST), [(i, max(float(x[i]), LEAST)) for i in order]


LEAST = -9999.0  # in place of −∞, which JSON does not have
