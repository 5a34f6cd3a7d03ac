"""One model in one folder: trained, continued, never overwritten unawares, and writing text.

The rungs of the ladder and demos/train_shakespeare.py are this program, with the differences that a
`Program` names. While it trains, the folder is its own (`files.only_here`); Ctrl-C finishes the
step, saves and says what was kept.
"""

import hashlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import microtensor as mt

from .. import files, training
from ..generation import sampling
from ..ladder.registry import Rung, window
from ..text import data
from ..text.corpus import load_corpus
from ..text.tokenizers import (
    BPETokenizer,
    ByteTokenizer,
    CharTokenizer,
    load_tokenizer,
    tokenizer_from,
)  # fmt: skip
from ..training import reporting, together
from ..training.checkpoints import best_of
from ..training.counts import load_counts, save_counts
from . import attention, program
from .flags import TRAINING, check_sampling, given
from .interrupt import CtrlC


@dataclass(frozen=True)
class Program:
    """A program that trains one rung of the ladder.

    With `prompt_loads`, `--prompt` loads what was trained and prints the text alone, and training
    shows samples; without, the model is trained first, and `--load` loads it.
    """

    rung: Rung
    name: str  # which its error messages begin with
    command: str  # which a person types
    about: str  # what `--help` says first
    out: str  # the folder, unless --out names another
    tokenizer: str = "char"  # unless --tokenizer names another
    prompt_loads: bool = False

    def training(self, **settings):
        """The TrainingConfig for the settings that a person gave."""
        if self.prompt_loads:
            return training.TrainingConfig(**settings)
        config = self.rung.training(**settings)
        if "eval_every" in settings:
            return config
        return replace(config, eval_every=max(1, min(config.eval_every, config.steps // 4)))

    def folder_flag(self, folder):
        return "" if Path(folder) == Path(self.out) else f" --out {folder}"


def execute(prog, args):
    """Do what the arguments ask of a Program. Returns the exit code."""
    check(prog, args)
    together.meet()
    with together.quiet_but_for_rank_0():
        return execute_together(prog, args)


def execute_together(prog, args):
    """Do what the arguments ask, in each process that was started."""
    path, show = checkpoint_path(args), getattr(args, "show_attention", False)
    if args.load or prog.prompt_loads and args.prompt is not None:
        found = loaded(prog, args, path)
        if show:
            with files.only_here(path.parent):
                save_attention(*found, args, path)
    else:
        with together.folder_of_one(path.parent):
            code, found = learned(prog, args, path)
            if code or prog.prompt_loads:
                return code
            if show:
                save_attention(*found, args, path)
    write(prog, *found, args)
    return 0


def check(prog, args):
    """ValueError for arguments that no run could follow."""
    if args.sample_length == 0 and prog.prompt_loads:
        raise ValueError("length must be at least 1, got 0")
    if args.keep < 1:
        raise ValueError(f"keep must be at least 1, got {args.keep}")
    if not args.out:
        raise ValueError("--out needs the name of a folder")
    if args.repeats is not None and args.repeats < 1:
        raise ValueError(f"the text must be repeated at least once, got {args.repeats}")
    check_sampling(args)
    mt.zeros(1, device=args.device)  # raises if there is no such device


def checkpoint_path(args):
    return Path(args.out, "checkpoint.safetensors")


# ---- the text and its tokens --------------------------------------------------------------------


def about_new_training(prog, args):
    """The `about` of a new training: plain values by which `--resume` finds its text again."""
    about = {"data": args.data, "tokenizer": args.tokenizer or prog.tokenizer,
             "held_out": 0.1 if args.held_out is None else args.held_out}  # fmt: skip
    if args.vocabulary is not None:
        about["tokenizer"] = "file"
    if about["tokenizer"] == "bpe":
        about["vocab_size"] = 1024 if args.vocab_size is None else args.vocab_size
    elif args.vocab_size is not None:
        raise ValueError("--vocab-size is for --tokenizer bpe alone")
    if args.repeats is not None:
        about["repeats"] = args.repeats
    return about


def text_of(args, about):
    """The text; what is known of it is added to `about`. ValueError if it has changed since.

    A checkpoint may be a stranger's and name any file: what it names is said before it is read, and
    nothing of it is told unless it is the text that the checkpoint was trained on.
    """
    named = about["data"] if args.resume and not args.data else None
    if named is None:
        with together.one_after_the_other():  # it may have to be downloaded
            corpus = load_corpus(args.data or about["data"], offline=args.offline, progress=print)
        sha256 = same_text(corpus, about)
    else:
        shown = program.printable(named)
        print(f"the checkpoint names a text, which is read: {shown}")
        try:
            corpus = load_corpus(named)
            sha256 = same_text(corpus, about)
        except ValueError:
            raise ValueError(
                f"the checkpoint was trained on another text than what {shown} is now: give the "
                "text by --data FILE"
            ) from None
    about |= {"text": corpus.name, "sha256": sha256}
    text = corpus.text * about.get("repeats", 1)
    print(f"text: {corpus.name}, {len(text):,} characters")
    return text


def same_text(corpus, about):
    """The text's SHA-256. ValueError if the checkpoint was made with another text."""
    sha256 = hashlib.sha256(corpus.text.encode()).hexdigest()
    if about.get("sha256", sha256) != sha256:
        raise ValueError(f"the checkpoint was trained on another text than {corpus.name}")
    return sha256


def chosen_tokenizer(args, text, about, state=None):
    """The tokenizer that `about` names; one that came from a file is kept in the checkpoint."""
    if about["tokenizer"] == "file":
        return tokenizer_from(state["tokenizer"]) if state else load_tokenizer(args.vocabulary)
    return {
        "byte": lambda: ByteTokenizer(),
        "char": lambda: CharTokenizer.from_text(text),
        "bpe": lambda: BPETokenizer.from_text(text, about["vocab_size"]),
    }[about["tokenizer"]]()


def first_prompt(tokenizer):
    """A line break, after which anything may begin; else whatever the text has."""
    try:
        tokenizer.encode("\n")
    except ValueError:
        return tokenizer.decode([0])
    return "\n"


# ---- training ----------------------------------------------------------------------------------


def learned(prog, args, path):
    """Train in a folder that is ours alone: the exit code, and the model with its tokenizer."""
    try:
        prepare_and_train = count if prog.rung.counts else train
        return prepare_and_train(prog, args, path)
    except KeyboardInterrupt:
        print(f"\nleft before the first step; {kept(path)}")
        return 130, None


def kept(path, step=None):
    """A sentence about what an interrupted training has kept."""
    if step is not None:
        return f"the checkpoint is that of step {step:,}"
    return f"{path} is as it was" if path.exists() else "nothing was kept"


def train(prog, args, path):
    """Train to the end, or to Ctrl-C: see `learned`."""
    trainer = prepare(prog, args, path)
    try:
        code = train_on(trainer, prog, args)
    except (training.NonFiniteLoss, OSError, MemoryError) as error:
        print(f"{prog.name}: {program.reason(error)}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:  # a second Ctrl-C
        print(f"left at once; {kept(path, trainer.saved_step)}")
        code = 130
    return code, (trainer.model, trainer.tokenizer)


def refuse_to_overwrite(args, path):
    if path.exists() and not args.overwrite:
        raise ValueError(
            f"{path.parent} holds a trained model: go on with --resume, start over with "
            "--overwrite, or choose another folder with --out"
        )


def prepare(prog, args, path):
    """The trainer that the arguments ask for, a new one or that of a checkpoint."""
    rung, state = prog.rung, None
    if together.restarted() and path.exists():  # by the launcher, with the flags of the start
        args.resume, args.overwrite = True, False
    if args.resume:
        state = load(prog, args, path, use=lambda state: own_checkpoint(prog, state))
        refuse_changes(prog, args, {**state["config"], **state["training"], **state["about"]})
        about, sizes = state["about"], dict(state["config"])
        config = training.TrainingConfig(**{**state["training"], **given(args, ["steps"])})
    else:
        refuse_to_overwrite(args, path)
        about, sizes = about_new_training(prog, args), given(args, rung.sizes)
        rung.config(**sizes)  # ValueError for sizes that make no model, before the text is read
        config = prog.training(**given(args, TRAINING))
    text = text_of(args, about)
    tokenizer = chosen_tokenizer(args, text, about, state)
    sampling.check_options(args.temperature, args.top_k, args.top_p, tokenizer.vocab_size)
    check_memory(rung, {**sizes, "vocab_size": tokenizer.vocab_size}, config)
    mt.manual_seed(config.seed)
    model = rung.build(**{**sizes, "vocab_size": tokenizer.vocab_size}).to(args.device)
    if args.prompt is not None:  # better known before training than after it
        sampling.encode_prompt(model, tokenizer, args.prompt)
    parts = data.split(tokenizer.encode_array(text), window(model), about["held_out"], args.device)
    trainer = training.Trainer(model, tokenizer, *parts, config, path, about, args.keep)
    if state:
        try:
            trainer.load_state_dict(state)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{path} cannot be gone on from: {error}") from None
    print(
        f"model: {sum(p.numel() for p in model.parameters()):,} parameters; folder: {path.parent}"
    )
    return trainer


def check_memory(rung, sizes, config):
    """ValueError if the machine has not the memory for a model of these sizes and its training."""
    model = rung.config(**sizes)
    training.check_memory(model, config.batch_size, config.eval_batch_size, rung.window(model))


def train_on(trainer, prog, args):
    """Train to the end, or to Ctrl-C, and say what is kept. Returns the exit code."""
    config = trainer.config
    tokens = config.batch_size * window(trainer.model)
    progress = reporting.Progress(config.steps, tokens, start=trainer.step)
    if trainer.step >= config.steps:
        progress.write(f"all {trainer.step:,} steps are done; more of them: --resume --steps N")
    elif trainer.step:
        progress.write(f"going on after step {trainer.step:,} of {config.steps:,}")
    every = max(10, config.steps // 100)
    recorder = (
        args.record
        and together.rank() == 0
        and mt.Recorder(trainer.model, trainer.optimizer, every, trainer.step)
    )
    try:
        with CtrlC() as stop:
            for record in trainer.run():
                progress(record)
                if recorder and record.loss is not None:
                    recorder.step(record.loss)
                if record.validation is not None and prog.prompt_loads and together.rank() == 0:
                    progress.write(specimen(trainer, args))
                if together.any_rank(stop.pressed):
                    break
            if trainer.saved_step != trainer.step:
                trainer.save()
    finally:
        progress.close()
        if trainer.validation and together.rank() == 0:
            draw(trainer)
        if recorder and recorder.records:
            page = files.without_link(trainer.checkpoint.with_name("training.html"))
            print(f"recorded: {recorder.save(page)}")
    return say_what_is_kept(trainer, prog, args)


def say_what_is_kept(trainer, prog, args):
    """Print where the checkpoint is, and how to go on. Returns the exit code."""
    step, loss = trainer.validation[-1]
    print(f"held-out loss after step {step:,}: {loss:.3f}")
    print(f"saved after step {trainer.step:,}: {trainer.checkpoint}")
    command = f"{prog.command}{prog.folder_flag(args.out)}"
    if trainer.step < trainer.config.steps:
        print(f"to go on:   {command} --resume")
        return 130
    if prog.prompt_loads:
        print(f'to let it write:   {command} --prompt "ROMEO:"')
    return 0


def specimen(trainer, args, width=80):
    """A sample of the model's text, between two lines."""
    text = sampling.generate_text(
        trainer.model, trainer.tokenizer, first_prompt(trainer.tokenizer),
        args.sample_length or 200, **sampling_options(args, trainer.config.seed),
    )  # fmt: skip
    title = f"── what it writes after step {trainer.step:,} "
    return f"{title:─<{width}}\n{reporting.printable(''.join(text)).strip()}\n{'─' * width}"


def draw(trainer):
    """Draw the losses beside the checkpoint, or say why not: no reason for a training to fail."""
    path = trainer.checkpoint.with_name("loss.png")
    try:
        title = f"{type(trainer.model).__name__} on {trainer.about['text']}"
        reporting.draw_losses(trainer.losses, trainer.validation, path, title)
    except ImportError:
        print("no picture of the losses: matplotlib is missing (pip install matplotlib)")
    except OSError as error:
        print(f"no picture of the losses: {program.reason(error)}")
    else:
        print(f"picture of the losses: {path}")


# ---- counting ----------------------------------------------------------------------------------


def count(prog, args, path):
    """Let an n-gram count, and say how well it guesses: see `learned`."""
    counts = None
    if args.resume:
        counts = load(prog, args, path)
        refuse_changes(prog, args, {**vars(counts.model.config), **counts.about})
        about, sizes = counts.about, vars(counts.model.config)
    else:
        refuse_to_overwrite(args, path)
        about, sizes = about_new_training(prog, args), given(args, prog.rung.sizes)
    text = text_of(args, about)
    if counts:
        model, tokenizer = counts.model, counts.tokenizer
    else:
        tokenizer = chosen_tokenizer(args, text, about)
        model = prog.rung.build(**{**sizes, "vocab_size": tokenizer.vocab_size})
    sampling.check_options(args.temperature, args.top_k, args.top_p, tokenizer.vocab_size)
    if args.prompt is not None:
        sampling.encode_prompt(model, tokenizer, args.prompt)
    ids = tokenizer.encode_array(text)
    learn, held_out = data.split(ids, window(model), about["held_out"])
    if counts:
        print("all is counted: one reading of the text is all that an n-gram can use")
    else:
        model.fit(learn.ids)
        save_counts(model, tokenizer, about, path)
    print(
        f"counted: {len(model):,} numbers; held-out loss {training.evaluate(model, held_out):.3f}"
    )
    print(f"saved: {path}")
    return 0, (model, tokenizer)


# ---- loading -----------------------------------------------------------------------------------


def load(prog, args, path, tell=print, use=None, best=False):
    """The result of `use` on the newest checkpoint, or on the best; of an n-gram, its `Counts`.

    ValueError, which says what to do, if there is none.
    """
    try:
        if prog.rung.counts:
            return load_counts(path)
        if best:
            return training.load_checkpoint(best_of(path), use)
        return training.load_newest(path, tell, use)
    except FileNotFoundError:
        flag = "--resume" if args.resume else "--load" if args.load else "--prompt"
        first = f"{prog.command}{prog.folder_flag(args.out)}"
        where = best_of(path) if best else path
        raise ValueError(
            f"there is no checkpoint at {where}; train first, without {flag}: {first}"
        ) from None


def loaded(prog, args, path):
    """The model in the folder and its tokenizer. ValueError if they are not what is asked for."""

    def as_asked(state):
        wanted, found = prog.rung.model.__name__, state["architecture"]
        if not prog.prompt_loads and found != wanted:
            raise ValueError(f"{path} holds a {found:.60}, not a {wanted}")
        return training.model_from(state)

    tell = to_stderr if prog.prompt_loads else print
    if prog.rung.counts:
        counts = load(prog, args, path)
        model, tokenizer = counts.model, counts.tokenizer
    else:
        model, tokenizer = load(prog, args, path, tell, as_asked, args.best)
    if args.vocabulary is not None:
        other = load_tokenizer(args.vocabulary)
        if other.settings() != tokenizer.settings():
            raise ValueError(
                f"{args.vocabulary}, {other!r}, does not match the model, which was trained with "
                f"a {tokenizer!r}"
            )
    sampling.check_options(args.temperature, args.top_k, args.top_p, tokenizer.vocab_size)
    return model.to(args.device), tokenizer


def to_stderr(line):
    """Say something beside the text that is written."""
    print(program.printable(line), file=sys.stderr)


def own_checkpoint(prog, state):
    """A checkpoint, if such a program made it. ValueError if another one did."""
    made, ours = state["architecture"], prog.rung.model.__name__
    if made != ours:
        raise ValueError(f"it holds a {made:.60}, and this program goes on with a {ours}")
    about = state["about"]
    right = {
        "data": type(about.get("data", 0)) in (str, type(None)),
        "tokenizer": about.get("tokenizer") in ("byte", "char", "bpe", "file"),
        "held_out": type(about.get("held_out")) is float,
        "text": type(about.get("text")) is str,
        "sha256": type(about.get("sha256")) is str,
        "vocab_size": about.get("tokenizer") != "bpe" or type(about.get("vocab_size")) is int,
        "repeats": type(about.get("repeats", 1)) is int and 1 <= about.get("repeats", 1) < 2**20,
    }
    wrong = [name for name, fits in right.items() if not fits]
    if wrong:
        raise ValueError(
            f"another program made it: what it tells about itself has no {wrong[0]} that "
            "this program would have written"
        )
    training.model_from(state)  # that there is one
    return state


def refuse_changes(prog, args, was):
    """ValueError if an argument asks for something else than what the checkpoint was made with."""
    about = ("tokenizer", "vocab_size", "held_out", "repeats")
    wanted = given(args, [*prog.rung.sizes, *TRAINING, *about])
    wanted.pop("steps", None)  # more of them may be asked for
    if prog.rung.counts:
        wanted = given(args, [*prog.rung.sizes, *about])
    changes = training.differences({name: was.get(name) for name in wanted}, wanted)
    if changes:
        raise ValueError(f"the checkpoint is of another configuration: {changes}")


# ---- writing -----------------------------------------------------------------------------------


def write(prog, model, tokenizer, args):
    """Print the prompt and what the model makes of it."""
    prompt = first_prompt(tokenizer) if args.prompt is None else args.prompt
    length = args.sample_length
    if length is None:
        length = 500 if prog.prompt_loads else 300
    seed = args.seed if prog.prompt_loads else args.seed or 0
    pieces = sampling.generate_text(
        model, tokenizer, prompt, length, **sampling_options(args, seed)
    )
    if not prog.prompt_loads:
        print("─" * 80)
    print(reporting.printable(prompt).lstrip("\n"), end="", flush=True)
    for piece in pieces:
        print(reporting.printable(piece), end="", flush=True)
    print()


def sampling_options(args, seed):
    generator = mt.Generator() if seed is None else mt.Generator().manual_seed(seed)
    return {"temperature": args.temperature, "top_k": args.top_k, "top_p": args.top_p,
            "generator": generator}  # fmt: skip


def save_attention(model, tokenizer, args, path):
    """Show what attention looks at, and draw it beside the checkpoint."""
    prompt = first_prompt(tokenizer) if args.prompt is None else args.prompt
    attention.show_attention(model, tokenizer, prompt, path.with_name("attention.png"))
