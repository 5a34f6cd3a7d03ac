"""Train MiniGPT on Shakespeare, watch it go from noise to verse, and let it write.

python demos/train_shakespeare.py                       train from the start
python demos/train_shakespeare.py --resume              go on after Ctrl-C
python demos/train_shakespeare.py --prompt "ROMEO:"     let the trained model write
"""

import hashlib
import os
import signal
import sys
from dataclasses import fields, replace
from pathlib import Path

import microtensor as mt
from models import data, files, program, reporting, sampling, training
from models.checkpoints import best_of
from models.corpus import load_corpus
from models.minigpt import MiniGPT, MiniGPTConfig
from models.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer
from models.training import NonFiniteLoss, Trainer, TrainingConfig

MODEL = {
    "context_length": "tokens that the model sees at once",
    "d_model": "channels: how many numbers stand for a token",
    "n_heads": "attention heads; must divide the channels",
    "n_layers": "blocks, one on top of the other",
    "dropout": "share of attention weights left out while training",
}
TRAINING = {
    "steps": "steps of training",
    "batch_size": "windows of text in a step",
    "optimizer": "what turns gradients into steps: adamw or sgd",
    "lr": "learning rate at its peak",
    "warmup": "steps until the learning rate is at its peak",
    "final_lr": "learning rate at the end, as a share of its peak",
    "weight_decay": "weight decay",
    "clip": "largest norm of the gradients; inf for no clipping",
    "eval_every": "steps from one evaluation to the next",
    "eval_batches": "batches of held-out text in an evaluation",
    "eval_batch_size": "windows in such a batch",
}


def main(argv=None):
    args = parser().parse_args(argv)
    program.any_letter()
    try:
        if args.length is not None and args.length < 1:
            raise ValueError(f"length must be at least 1, got {args.length}")
        if args.keep < 1:
            raise ValueError(f"keep must be at least 1, got {args.keep}")
        if not args.out:
            raise ValueError("--out needs the name of a folder")
        sampling.check_options(args.temperature, args.top_k, args.top_p)
        if args.prompt is not None:
            return write(args)
        path = checkpoint_path(args)
        with files.only_here(path.parent):
            return prepare_and_train(args, path)
    except (ValueError, LookupError, RuntimeError, OSError, MemoryError, ImportError) as error:
        return complain(error, 2)
    except KeyboardInterrupt:
        return 130


def prepare_and_train(args, path):
    """Train in a folder that is ours alone. The exit code."""
    trainer = prepare(args, path)
    try:
        return train(trainer, args)
    except (NonFiniteLoss, OSError, MemoryError) as error:
        return complain(error, 1)
    except KeyboardInterrupt:  # a second Ctrl-C
        print(f"left at once; the checkpoint is that of step {trainer.saved_step or 0:,}")
        return 130


# ---- training ----------------------------------------------------------------------------------


def prepare(args, path):
    """The trainer that the arguments ask for, a new one or that of a checkpoint."""
    mt.zeros(1, device=args.device)  # raises if there is no such device
    state = None
    if args.resume:
        state = load(path, training.load_newest, use=own_checkpoint)
        refuse_changes(args, state)
        about = state["about"]
        model_config = MiniGPTConfig(**state["config"])
        config = TrainingConfig(**{**state["training"], **given(args, ["steps"])})
    elif path.exists() and not args.overwrite:
        raise ValueError(
            f"{path.parent} holds a trained model: go on with --resume, start over with "
            "--overwrite, or choose another folder with --out"
        )
    else:
        about = {"data": args.data, "tokenizer": args.tokenizer or "byte",
                 "held_out": 0.1 if args.held_out is None else args.held_out}  # fmt: skip
        if about["tokenizer"] == "bpe":
            about["vocab_size"] = 1024 if args.vocab_size is None else args.vocab_size
        elif args.vocab_size is not None:
            raise ValueError("--vocab-size is for --tokenizer bpe alone")
        model_config = MiniGPTConfig(**given(args, MODEL))
        config = TrainingConfig(**given(args, [*TRAINING, "seed"]))

    corpus, sha256 = text_to_read(args, about)
    print(f"text: {corpus.name}, {len(corpus.text):,} characters")
    about |= {"text": corpus.name, "sha256": sha256}
    tokenizer = {
        "byte": lambda text: ByteTokenizer(),
        "char": CharTokenizer.from_text,
        "bpe": lambda text: BPETokenizer.from_text(text, about["vocab_size"]),
    }[about["tokenizer"]](corpus.text)
    model_config = replace(model_config, vocab_size=tokenizer.vocab_size)
    sampling.check_options(args.temperature, args.top_k, args.top_p, tokenizer.vocab_size)
    parts = data.split(
        tokenizer.encode_array(corpus.text), model_config.context_length, about["held_out"],
        args.device,
    )  # fmt: skip
    mt.manual_seed(config.seed)
    model = MiniGPT(model_config).to(args.device)
    trainer = Trainer(model, tokenizer, *parts, config, path, about, args.keep)
    if state:
        try:
            trainer.load_state_dict(state)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{path} cannot be gone on from: {error}") from None
    print(
        f"model: {sum(p.numel() for p in model.parameters()):,} parameters; folder: {path.parent}"
    )
    return trainer


def train(trainer, args):
    """Train to the end, or to Ctrl-C."""
    config = trainer.config
    tokens = config.batch_size * trainer.model.config.context_length
    progress = reporting.Progress(config.steps, tokens, start=trainer.step)
    if trainer.step >= config.steps:
        progress.write(f"all {trainer.step:,} steps are done; more of them: --resume --steps N")
    elif trainer.step:
        progress.write(f"going on after step {trainer.step:,} of {config.steps:,}")
    every = max(10, config.steps // 100)
    recorder = args.record and mt.Recorder(trainer.model, trainer.optimizer, every, trainer.step)
    try:
        with CtrlC() as stop:
            for record in trainer.run():
                progress(record)
                if recorder and record.loss is not None:
                    recorder.step(record.loss)
                if record.validation is not None:
                    progress.write(specimen(trainer, args))
                if stop.pressed:
                    break
            if trainer.saved_step != trainer.step:
                trainer.save()
    finally:
        progress.close()
        if trainer.validation:
            draw(trainer)
        if recorder and recorder.records:
            print(f"recorded: {recorder.save(trainer.checkpoint.with_name('training.html'))}")
    command = f"python {sys.argv[0]}{folder_flag(args.out)}"
    print(f"saved after step {trainer.step:,}: {trainer.checkpoint}")
    if trainer.step < config.steps:
        print(f"to go on:   {command} --resume")
        return 130
    print(f'to let it write:   {command} --prompt "ROMEO:"')
    return 0


def specimen(trainer, args, width=80):
    """What the model writes now, between two lines."""
    text = sampling.generate_text(
        trainer.model, trainer.tokenizer, first_character(trainer), args.length or 200,
        **sampling_options(args, trainer.config.seed),
    )  # fmt: skip
    title = f"── what it writes after step {trainer.step:,} "
    return f"{title:─<{width}}\n{reporting.printable(''.join(text)).strip()}\n{'─' * width}"


def first_character(trainer):
    """A line break, after which anything may begin; else whatever the text has."""
    try:
        trainer.tokenizer.encode("\n")
    except ValueError:
        return trainer.tokenizer.decode([0])
    return "\n"


def draw(trainer):
    path = trainer.checkpoint.with_name("loss.png")
    try:
        title = f"MiniGPT on {trainer.about['text']}"
        reporting.draw_losses(trainer.losses, trainer.validation, path, title)
    except ImportError:
        print("no picture of the losses: matplotlib is missing (pip install matplotlib)")
    except OSError as error:
        print(f"no picture of the losses: {program.reason(error)}")
    else:
        print(f"picture of the losses: {path}")


class CtrlC:
    """Lets Ctrl-C wait for the end of a step, where saving is exact. A second one does not wait."""

    def __enter__(self):
        self.pressed = False
        self.before = signal.signal(signal.SIGINT, self.press)
        return self

    def __exit__(self, *exception):
        signal.signal(signal.SIGINT, self.before)

    def press(self, *_):
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True
        os.write(2, b"\nfinishing this step, then saving (Ctrl-C again: leave at once)\n")


# ---- writing -----------------------------------------------------------------------------------


def write(args):
    """Let a trained model continue the prompt."""
    mt.zeros(1, device=args.device)
    path = checkpoint_path(args)
    if args.best:
        found = load(best_of(path), training.load_checkpoint, use=training.model_from)
    else:
        found = load(path, training.load_newest, tell=tell, use=training.model_from)
    model, tokenizer = found[0].to(args.device), found[1]
    pieces = sampling.generate_text(
        model, tokenizer, args.prompt, args.length or 500, **sampling_options(args, args.seed)
    )
    print(args.prompt, end="", flush=True)
    for piece in pieces:
        print(reporting.printable(piece), end="", flush=True)
    print()
    return 0


def sampling_options(args, seed):
    generator = mt.Generator() if seed is None else mt.Generator().manual_seed(seed)
    return {"temperature": args.temperature, "top_k": args.top_k, "top_p": args.top_p,
            "generator": generator}  # fmt: skip


# ---- arguments and checkpoints -----------------------------------------------------------------

OUT = "runs/shakespeare"
PROGRAM = Path(__file__).name


def checkpoint_path(args):
    if Path(args.out).exists() and not Path(args.out).is_dir():
        raise ValueError(f"--out {args.out} is a file; a folder is needed")
    return Path(args.out, "checkpoint.safetensors")


def folder_flag(folder):
    return "" if Path(folder) == Path(OUT) else f" --out {folder}"


def tell(line):
    """Say something beside the text that is written."""
    print(program.printable(line), file=sys.stderr)


def own_checkpoint(state):
    """A checkpoint, if this program made it. ValueError if another one did."""
    made = state["architecture"]
    if made != MiniGPT.__name__:
        raise ValueError(f"it holds a {made:.60}, and this program goes on with a MiniGPT")
    about = state["about"]
    right = {
        "data": type(about.get("data", 0)) in (str, type(None)),
        "tokenizer": about.get("tokenizer") in ("byte", "char", "bpe"),
        "held_out": type(about.get("held_out")) is float,
        "text": type(about.get("text")) is str,
        "sha256": type(about.get("sha256")) is str,
        "vocab_size": about.get("tokenizer") != "bpe" or type(about.get("vocab_size")) is int,
    }
    wrong = [name for name, fits in right.items() if not fits]
    if wrong:
        raise ValueError(
            f"another program made it: what it tells about itself has no {wrong[0]} that "
            "this program would have written"
        )
    training.model_from(state)  # that there is one
    return state


def load(path, load_checkpoint, **options):
    try:
        return load_checkpoint(path, **options)
    except FileNotFoundError:
        first = f"python {sys.argv[0]}{folder_flag(path.parent)}"
        raise ValueError(f"there is no checkpoint at {path}; train first: {first}") from None


def given(args, names):
    """The arguments among `names` that were given."""
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def refuse_changes(args, state):
    """ValueError if an argument asks for something else than what the checkpoint was made with."""
    was = {**state["config"], **state["training"], **state["about"]}
    wanted = given(args, [*MODEL, *TRAINING, "seed", "tokenizer", "vocab_size", "held_out"])
    wanted.pop("steps", None)  # more of them may be asked for
    changes = training.differences({name: was.get(name) for name in wanted}, wanted)
    if changes:
        raise ValueError(f"the checkpoint is of another configuration: {changes}")


def text_to_read(args, about):
    """The text, and its SHA-256, which a checkpoint that is gone on with knows.

    A checkpoint may be a stranger's and name any file: what it names is said before it is read, and
    nothing of it is told unless it is the text that the checkpoint was trained on.
    """
    named = about["data"] if args.resume and not args.data else None
    if named is None:
        corpus = load_corpus(args.data or about["data"], offline=args.offline, progress=print)
        return corpus, same_text(corpus, about)
    print(f"the checkpoint names a text, which is read: {program.printable(named)}")
    try:
        corpus = load_corpus(named)
        return corpus, same_text(corpus, about)
    except ValueError:
        raise ValueError(
            "the checkpoint was trained on another text than what "
            f"{program.printable(named)} is now: give the text by --data FILE"
        ) from None


def same_text(corpus, about):
    """The text's SHA-256. ValueError if the checkpoint was made with another text."""
    sha256 = hashlib.sha256(corpus.text.encode()).hexdigest()
    if about.get("sha256", sha256) != sha256:
        raise ValueError(f"the checkpoint was trained on another text than {corpus.name}")
    return sha256


METAVARS = {int: "N", float: "X", str: "NAME"}


def show(default):
    return default if isinstance(default, str) else f"{default:g}"


def parser():
    p = program.Parser(PROGRAM, __doc__)
    p.add_argument("--out", metavar="FOLDER", default=OUT,
                   help=f"where checkpoint and picture are ({OUT})")  # fmt: skip
    p.add_argument("--resume", action="store_true", help="go on with the training in the folder")
    p.add_argument("--overwrite", action="store_true", help="start over in a folder in use")
    p.add_argument("--record", action="store_true",
                   help="write a page of the gradients, updates and activations")  # fmt: skip
    p.add_argument("--keep", type=int, default=2, metavar="N",
                   help="newest checkpoints to keep, beside the best (2)")  # fmt: skip
    p.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    p.add_argument("--seed", type=int, help="seed of all random numbers (0; --prompt: any)")

    group = p.add_argument_group("the text")
    group.add_argument("--data", metavar="FILE", help="any UTF-8 text, in place of Shakespeare")
    group.add_argument("--offline", action="store_true", help="do not look for it on the web")
    group.add_argument("--tokenizer", choices=["byte", "char", "bpe"],
                       help="a byte, a character, or a frequent run of bytes (byte)")  # fmt: skip
    group.add_argument("--vocab-size", type=int, metavar="N", help="tokens of bpe (1024)")
    group.add_argument("--held-out", type=float, metavar="X",
                       help="share of the text, its end, to test with (0.1)")  # fmt: skip

    for title, config, helps in [("the model", MiniGPTConfig, MODEL),
                                 ("training", TrainingConfig, TRAINING)]:  # fmt: skip
        group = p.add_argument_group(title)
        for field in fields(config):
            if field.name in helps:
                flag = "--" + field.name.replace("_", "-")
                group.add_argument(flag, type=field.type, metavar=METAVARS[field.type],
                                   help=f"{helps[field.name]} ({show(field.default)})")  # fmt: skip

    group = p.add_argument_group("writing")
    group.add_argument("--prompt", metavar="TEXT", help="do not train: continue this text")
    group.add_argument("--best", action="store_true",
                       help="not the newest checkpoint, but that of the lowest loss")  # fmt: skip
    group.add_argument("--length", type=int, metavar="N",
                       help="tokens to write (500; samples during training 200)")  # fmt: skip
    group.add_argument("--temperature", type=float, default=0.8, metavar="X",
                       help="0 takes the likeliest token, more is bolder (0.8)")  # fmt: skip
    group.add_argument("--top-k", type=int, metavar="N", help="choose among the N likeliest tokens")
    group.add_argument("--top-p", type=float, metavar="X",
                       help="choose among the likeliest tokens that make up X of all")  # fmt: skip
    return p


def complain(error, code):
    """Say in one line what was wrong. Returns the exit code."""
    print(f"{PROGRAM}: {program.reason(error)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
