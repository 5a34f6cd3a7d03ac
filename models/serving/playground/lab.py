"""The thread that trains, and that answers questions about the model between two steps.

Everything that touches a model happens in this one thread, so that nothing is read while it
changes. Others `ask`: the thread takes what was asked after the step that it is in, or between two
tokens of a sample. What there is to see is `state`, a new dict after each change.
"""

import itertools
import math
import queue
import re
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import microtensor as mt

from ... import files
from ...generation import sampling
from ...ladder.minigpt import MiniGPT
from ...training import (
    NonFiniteLoss,
    Trainer,
    TrainingConfig,
    evaluate,
    load_checkpoint,
    model_from,
)
from . import sizes

STEPS = 3000  # after so many steps, and as many more, training pauses by itself
SAMPLE_TOKENS = 100
SAMPLE_SECONDS = 2.5  # from one sample of text to the next
CURVE = 200  # points of a run's curve that are kept for comparison


class Lab:
    """A model, its training, and the runs before it, below `folder`."""

    def __init__(self, folder, data, seed=0):
        self.folder, self.data, self.seed = Path(folder), data, seed
        self.settings = sizes.usual(sizes.MODEL | sizes.TEXT | sizes.TRAINING)
        self.training, self.error, self.saved = False, None, None
        self.samples, self.state, self.version = [], {}, 0
        self._jobs, self._ending = queue.SimpleQueue(), False
        self.runs = self._runs_before()
        self._names = itertools.count(1 + max((run["number"] for run in self.runs), default=0))
        self._warm_up()
        self._make()
        self._thread = threading.Thread(target=self._work, name="playground", daemon=True)
        self._thread.start()

    # ---- asked from other threads ------------------------------------------------------------

    def ask(self, function, *arguments):
        """A Future of function(*arguments), called by the lab's thread."""
        future = Future()
        if self._ending:
            future.set_exception(RuntimeError("The playground is closing."))
        self._jobs.put((future, function, arguments))
        return future

    def close(self):
        """End the thread after the step that it is in. Returns the file that the model is in."""
        self._ending = True
        self._jobs.put((Future(), lambda: None, ()))
        self._thread.join(5)
        if not self._thread.is_alive():
            self._keep()
        return self.saved

    # ---- the thread ----------------------------------------------------------------------------

    def _work(self):
        while not self._ending:
            self._answer(wait=not self.training)
            if self.training and not self._ending:
                self._step()

    def _answer(self, wait=False):
        """Do what has been asked; wait for the first if there is nothing else to do."""
        while True:
            try:
                future, function, arguments = self._jobs.get(wait)
            except queue.Empty:
                return
            wait = False
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*arguments))
                except BaseException as error:  # whoever asked gets it
                    future.set_exception(error)

    def _step(self):
        start = time.perf_counter()
        try:
            self.trainer.train_step()
        except (NonFiniteLoss, MemoryError) as error:
            self.training = False
            self.error = f"Training stopped: {error}. A lower learning rate helps; then Reset."
        else:
            self._seconds.append(time.perf_counter() - start)
            del self._seconds[:-50]
            if self.trainer.step in (1, 10) or self.trainer.step % 50 == 0:
                self._examine()
        if self.training and self.trainer.step % STEPS == 0:
            self.pause()
        self._publish()
        if self.trainer.step and time.monotonic() > self._next_sample:
            self.sample()

    def _examine(self):
        """The loss on the text that was held out."""
        loss = self._held_out_loss()
        if math.isfinite(loss):
            self.trainer.validation.append([self.trainer.step, loss])

    def _held_out_loss(self):
        return evaluate(self.model, self.trainer.held_out, 4, 16)

    # ---- a model and its training -------------------------------------------------------------

    def _warm_up(self):
        """A step and a token that nobody sees: loops are compiled before the first click."""
        self._make()
        self.trainer.train_step()
        list(sampling.generate(self.model, mt.zeros(1, 1, dtype=mt.int64), 2))

    def _make(self):
        """A new model of the chosen sizes; the same seed gives the same weights."""
        data = self.data.with_vocabulary(self.settings["vocabulary"])
        config = sizes.config(self.settings, data.tokenizer.vocab_size)
        sizes.check_memory(config, self.settings["batch_size"])
        windows = data.windows(config.context_length)
        self.data = data
        mt.manual_seed(self.seed)
        self._take(MiniGPT(config), windows, self._training_config())
        self.trainer.validation.append([0, self._held_out_loss()])
        self._publish()

    def _training_config(self):
        """A short rise, then a constant learning rate, for as long as somebody watches."""
        rates = {name: self.settings[name] for name in sizes.TRAINING}
        return TrainingConfig(warmup=20, final_lr=1.0, seed=self.seed, **rates)

    def _take(self, model, windows, config):
        self.trainer = Trainer(model, self.data.tokenizer, *windows, config)
        self.model, self.samples, self.training, self.error = model, [], False, None
        self._seconds, self._next_sample = [], 0.0
        self._number = self._saved_step = self._ngram = None
        self.draws = mt.Generator().manual_seed(self.seed)

    def choose(self, chosen):
        """Take settings: those of training at once, those of the model at the next Reset.

        Before the first step there is nothing to lose, and the model is made anew at once.
        """
        rates = {name: chosen[name] for name in sizes.TRAINING if name in chosen}
        model = {name: value for name, value in chosen.items() if name not in rates}
        before = self.settings
        settings = sizes.checked(sizes.MODEL | sizes.TEXT, model, before)
        settings = sizes.checked(sizes.TRAINING, rates, settings)
        config = self._config(settings)
        sizes.check_memory(config, settings["batch_size"])
        self.data.windows(settings["context_length"])
        self.settings = settings
        if config != self.model.config and self.trainer.step == 0 and not self.training:
            try:
                self._make()
            except ValueError:
                self.settings = before
                raise
        if rates:
            self._change_rates()
        self._publish()

    def _change_rates(self):
        """Go on with the chosen learning rate and batch size; nothing else is forgotten."""
        trainer = self.trainer
        trainer.config = config = self._training_config()
        trainer.schedule.base_lrs = [config.lr]
        trainer.schedule.lr_lambdas = [config.lr_factor]
        lr = config.lr * config.lr_factor(trainer.step)
        trainer.schedule._last_lr = [lr]
        for group in trainer.optimizer.param_groups:
            group["lr"], group["initial_lr"] = lr, config.lr

    def train(self):
        if self.trainer.step == 0 and self._chosen_config() != self.model.config:
            self._make()
        self.error = None
        self.training = True
        self._publish()

    def pause(self):
        self.training = False
        if self.trainer.step:
            self._keep()
        self._publish()

    def one_step(self):
        self.training, self.error = False, None
        if self.trainer.step == 0 and self._chosen_config() != self.model.config:
            self._make()
        self._step()

    def reset(self):
        """A new model of the chosen sizes; the one before it is kept among the runs."""
        self._keep()
        self._make()

    def learn_from(self, data):
        """Another text: a new model, since its tokens are others."""
        before = self.data, self.settings
        self._keep()
        self.data = data
        if data.vocabulary is not None:
            self.settings = {**self.settings, "vocabulary": data.vocabulary}
        try:
            self._make()
        except ValueError:
            self.data, self.settings = before
            raise

    def _chosen_config(self):
        return self._config(self.settings)

    def _config(self, settings):
        data, vocabulary = self.data, settings["vocabulary"]
        same = data.vocabulary in (None, vocabulary)
        return sizes.config(settings, data.tokenizer.vocab_size if same else vocabulary)

    def sample(self):
        """Write a little; questions are answered between two tokens."""
        start = [[self.data.tokenizer.encode(first_of(self.data))[0]]]
        stream = self.data.tokenizer.stream()
        tokens = sampling.generate(
            self.model,
            mt.tensor(start),
            SAMPLE_TOKENS,
            temperature=0.8,
            generator=mt.Generator().manual_seed(self.trainer.step),
        )
        text, model, step = "", self.model, self.trainer.step
        for token in tokens:
            text += stream(int(token[0]))
            self._answer()
            if self._ending or self.model is not model:
                return
        self.samples = [*self.samples[-7:], {"step": step, "text": text + stream.flush()}]
        self._next_sample = time.monotonic() + SAMPLE_SECONDS
        self._publish()

    # ---- runs ------------------------------------------------------------------------------------

    def _keep(self):
        """Save the model of this run, if it has learnt anything, and note its curve."""
        step = self.trainer.step
        if step in (0, self._saved_step):
            return
        if self._number is None:
            self._number = next(self._names)
        folder = self.folder / f"run-{self._number}"
        settings = {**self._model_settings(), **{n: self.settings[n] for n in sizes.TRAINING}}
        self.trainer.about = {"text": self.data.name, "kind": self.data.kind, **settings}
        with files.only_here(folder):
            mt.save(self.trainer.state_dict(), folder / "checkpoint.safetensors")
        self.saved, self._saved_step = str(folder / "checkpoint.safetensors"), step
        run = {
            "number": self._number,
            "step": step,
            "text": self.data.name,
            "parameter_count": self.model.config.numbers,
            "settings": settings,
            "loss": self.trainer.losses[-1],
            "validation_loss": self.trainer.validation[-1][1],
            "curve": curve(self.trainer.validation),
        }
        self.runs = [r for r in self.runs if r["number"] != self._number] + [run]

    def _runs_before(self):
        """The runs of earlier programs in the folder; those that cannot be read are passed over."""
        found = []
        for path in self.folder.glob("run-*/checkpoint.safetensors"):
            number = re.fullmatch(r"run-(\d+)", path.parent.name)
            try:
                state = load_checkpoint(path)
                about = state["about"]
                found.append(
                    {
                        "number": int(number[1]),
                        "step": state["step"],
                        "text": about["text"],
                        "parameter_count": sum(t.numel() for t in state["model"].values()),
                        "settings": {n: about[n] for n in (*sizes.MODEL, *sizes.TRAINING)},
                        "loss": float(state["losses"][-1]),
                        "validation_loss": state["validation"][-1][1],
                        "curve": curve(state["validation"]),
                    }
                )
            except (ValueError, LookupError, TypeError, OSError):
                continue
        return sorted(found, key=lambda run: run["number"])

    def load(self, number):
        """Go on with an earlier run. ValueError if it is gone, or of another text."""
        run = next((run for run in self.runs if run["number"] == number), None)
        if run is None:
            raise ValueError(f"There is no run {number!r:.40}.")
        self._keep()
        self.open(self.folder / f"run-{number}" / "checkpoint.safetensors")
        self._number, self._saved_step = number, self.trainer.step

    def open(self, path):
        """Take a trained model from a checkpoint. ValueError for other models and other tokens."""
        state = load_checkpoint(path)
        model, tokenizer = model_from(state)
        if not isinstance(model, MiniGPT):
            raise ValueError(
                f"{path} holds a {type(model).__name__}; the playground trains MiniGPT."
            )
        if tokenizer.settings() != self.data.tokenizer.settings():
            self.data = self.data.with_tokens_of(tokenizer)
        windows = self.data.windows(model.config.context_length)
        about = state["about"] or {}
        rates = {name: about.get(name, state["training"][name]) for name in sizes.TRAINING}
        settings = {name: getattr(model.config, name) for name in sizes.MODEL}
        if self.data.vocabulary is not None:
            settings["vocabulary"] = self.data.vocabulary
        self.settings = sizes.checked(sizes.TRAINING, rates, self.settings) | settings
        self._take(model, windows, TrainingConfig(**state["training"]))
        self.trainer.load_state_dict(state)
        self._change_rates()
        self._publish()

    def _model_settings(self):
        return {name: getattr(self.model.config, name) for name in sizes.MODEL}

    # ---- what there is to see -----------------------------------------------------------------

    def _seconds_left(self):
        """Until training pauses by itself; None while it does not run."""
        if not (self.training and self._seconds):
            return None
        return (STEPS - self.trainer.step % STEPS) * sum(self._seconds) / len(self._seconds)

    def _publish(self):
        trainer, config = self.trainer, self.model.config
        losses, validation = trainer.losses, trainer.validation
        rate = 0.0
        if self._seconds and self.training:
            tokens = trainer.config.batch_size * config.context_length
            rate = tokens * len(self._seconds) / sum(self._seconds)
        chosen = self._chosen_config()
        parts = sizes.parts(chosen)
        self.version += 1
        self.state = {
            "version": self.version,
            "training": self.training,
            "error": self.error,
            "step": trainer.step,
            "loss": losses[-1] if losses else None,
            "validation_loss": validation[-1][1] if validation else None,
            "expected_loss": math.log(config.vocab_size),
            "tokens_per_second": rate,
            "seconds_left": self._seconds_left(),
            "parameter_count": sum(parts.values()),
            "parts": parts,
            "reset_needed": chosen != config,
            "sample": self.samples[-1]["text"] if self.samples else "",
            "samples": self.samples,
            "settings": dict(self.settings),
            "text": self.data.about(),
            "losses": len(losses),
            "runs": self.runs,
            "saved": self.saved,
        }


def curve(points):
    """[step, loss] of at most `CURVE` points, evenly chosen."""
    stride = max(1, math.ceil(len(points) / CURVE))
    return [[int(step), float(loss)] for step, loss in points[::stride]]


def first_of(data):
    """The text after which a sample begins: the text's first character."""
    return data.text[0]
