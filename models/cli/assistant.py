"""The assistant's training as a person sees it: bars, a table, curves, a talk with each stage."""

import json
import sys
import time
from pathlib import Path

import microtensor as mt
from microtensor.files.serialization import write_whole

from .. import files
from ..post_training import choosing, recipe
from ..post_training.replies import replies
from ..post_training.stages import ALL, RESULTS, Stages, Stopped
from ..training import reporting
from . import program
from .assistant_views import cells, curves, side_by_side, table
from .interrupt import CtrlC

CHOICES = "choices.jsonl"
TALKING = "base", "sft", "dpo", "grpo", "ppo"  # stages that answer side by side


def parser(name, doc, out="runs/assistant"):
    p = program.Parser(name, doc)
    add = p.add_argument
    add("--out", metavar="FOLDER", default=out, help=f"where everything is kept ({out})")
    add("--seed", type=int, default=0, metavar="N", help="seed of all random numbers (0)")
    add("--resume", action="store_true", help="go on after Ctrl-C")
    add("--overwrite", action="store_true", help="start over in a folder in use")
    add("--json", metavar="FILE", help="write the table as JSON, too")
    add("--scale", type=float, default=1.0, metavar="X",
        help="share of the usual steps and data (1); below 0.1 the model is small")  # fmt: skip
    add("--talk", action="store_true", help="talk to the stages at the end (usual in a terminal)")
    group = p.add_argument_group("you are the human")
    group.add_argument("--you-choose", action="store_true",
                       help="choose between answers; your taste is learned")  # fmt: skip
    group.add_argument("--choices", type=int, default=40, metavar="N",
                       help="how many choices there are to be in all (40)")  # fmt: skip
    group.add_argument("--chooser", metavar="RULE",
                       help=f"let a rule choose: {' or '.join(choosing.RULES)}")  # fmt: skip
    return p


def execute(args):
    """Do what the arguments ask. Returns the exit code."""
    check(args)
    numbers = recipe.Recipe().scaled(args.scale)
    folder, begun = Path(args.out), time.perf_counter()
    with files.only_here(folder):
        stages = Stages(folder, numbers, args.seed, Watch(), print)
        started = (folder / RESULTS).exists()
        if args.resume or args.you_choose and started and not args.overwrite:
            stages.go_on()
            check_results(stages)
        elif not started or args.overwrite:
            stages.start_over()
        else:
            raise ValueError(
                f"{folder} holds an assistant: go on with --resume, start over with --overwrite, "
                "or choose another folder with --out"
            )
        try:
            if args.you_choose:
                return learn_from_person(stages, args)
            stages.run()
        except Stopped as stop:
            print(f"{stop}; its checkpoint is kept: {stages.path(stop.stage)}")
            print(f"to go on:   python demos/assistant.py{flags(args)} --resume")
            return 130
        except KeyboardInterrupt:
            done = ", ".join(stage for stage in ALL if stages.done(stage)) or "none"
            print(f"\nleft at once; stages that are kept: {done}")
            print(f"to go on:   python demos/assistant.py{flags(args)} --resume")
            return 130
        stages.results["seconds"] = sum(stages.results[stage]["seconds"] for stage in ALL)
        stages.write()
        finish(stages, args)
        print(f"{time.perf_counter() - begun:.0f} seconds; everything is in {folder}")
        if args.talk or sys.stdin.isatty() and sys.stdout.isatty():
            talk(stages)
    return 0


def check(args):
    """ValueError for arguments that no run could follow."""
    if not args.out:
        raise ValueError("--out needs the name of a folder")
    if not 0 <= args.seed < 2**32:
        raise ValueError(f"--seed must be within 0 … 2**32 − 1, got {args.seed}")
    if args.choices < 1:
        raise ValueError(f"--choices must be at least 1, got {args.choices}")
    if args.chooser is not None and args.chooser not in choosing.RULES:
        raise ValueError(
            f"--chooser must be {' or '.join(choosing.RULES)}, got {args.chooser!r:.60}"
        )
    if args.chooser is not None and not args.you_choose:
        raise ValueError("--chooser is for --you-choose")
    if args.resume and args.overwrite:
        raise ValueError("--resume goes on and --overwrite starts over: give one of them")
    if args.json and not Path(args.json).absolute().parent.is_dir():
        raise ValueError(f"--json {args.json}: there is no such folder")
    if args.json and Path(args.json).is_dir():
        raise ValueError(f"--json {args.json} is a folder; the name of a file is needed")


def flags(args):
    """The flags with which the same run is continued."""
    told = "" if args.out == "runs/assistant" else f" --out {args.out}"
    told += f" --seed {args.seed}" if args.seed else ""
    return told + (f" --scale {args.scale:g}" if args.scale != 1 else "")


class Watch:
    """Lets a trainer run with a bar, until its end, or until it has learned enough, or Ctrl-C."""

    def __call__(self, stage, trainer):
        """True if the person stopped it."""
        steps = trainer.config.steps
        print(f"\n── {stage} ".ljust(72, "─"), flush=True)
        progress = reporting.Progress(steps, None, start=trainer.step)
        enough = getattr(trainer, "enough", lambda: False)
        if trainer.step and enough():
            return False
        try:
            with CtrlC() as stop:
                for record in trainer.run():
                    progress(record)
                    if stop.pressed or record.loss is not None and enough():
                        break
                return stop.pressed and trainer.step < steps
        finally:
            progress.close()


def check_results(stages):
    """Raise ValueError unless the results of an earlier run, done or not, can be shown."""
    try:
        done = [stage for stage in ALL if stages.done(stage)]
        for stage in done:
            cells(stages.results[stage])
        if len(done) == len(ALL):
            table(stages.results)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        path = stages.folder / RESULTS
        raise ValueError(f"{path} does not hold the results of an assistant's training") from None


def finish(stages, args):
    """Print the table, draw the curves, write the JSON."""
    print(f"\n{table(stages.results)}\n")
    if args.json:
        write_whole(args.json, (json.dumps(stages.results, indent=2) + "\n").encode())
        print(f"table as JSON: {args.json}")
    path = stages.folder / "assistant.png"
    try:
        write_whole(path, curves(stages.results), follow=False)
    except ImportError:
        print("no picture: matplotlib is missing (pip install matplotlib)")
    else:
        print(f"picture: {path}")


# ---- talking -----------------------------------------------------------------------------------


def answer(model, tokenizer, messages, seed=None, count=1):
    """Texts of a model for a conversation: the likeliest, or with a seed some that are drawn."""
    draws = seed is not None and mt.Generator().manual_seed(seed)
    found = replies(
        model, tokenizer, [messages] * count, recipe.LINE, 1.0 if draws else 0, draws or None
    )
    return [reply.text for reply in found]


def talk(stages):
    """Let the person ask, and every stage answer, until an empty line."""
    models = {stage: stages.model(stage) for stage in TALKING if stages.path(stage).exists()}
    print('\nAsk all stages at once: "12+34", "reverse stone", "copy stone", or a line of a play.')
    print('"ROMEO: a line" asks for what Romeo says to it. An empty line ends the talk.')
    while True:
        try:
            said = input("\nyou: ").strip()
        except (EOFError, KeyboardInterrupt):
            said = ""
        if not said:
            print("Until next time.")
            return
        try:
            messages = as_conversation(said)
            given = {name: answer(m, stages.tokenizer, messages)[0] for name, m in models.items()}
        except ValueError as error:
            print(program.printable(str(error)))
        else:
            print(side_by_side(given))


def as_conversation(said):
    """The conversation that a person typed."""
    name, colon, line = said.partition(":")
    if colon and name.isupper() and line.strip():
        return [
            {"role": "system", "content": f"You are {name}."},
            {"role": "user", "content": line.strip()},
        ]
    return [{"role": "user", "content": said}]


# ---- you are the human -------------------------------------------------------------------------


def learn_from_person(stages, args):
    """Let the person choose, learn the taste, and show it. Returns the exit code."""
    stages.run(("base", "sft"))
    model, tokenizer, path = stages.model("sft"), stages.tokenizer, stages.folder / CHOICES
    choices = choosing.read(path)
    if choices:
        print(f"{len(choices)} choices of before are in {path}")
    prompts = [p.prompt() for p in stages.problems.draw(4 * args.choices, stages.rng(5))]
    offers = choosing.two_answers(
        lambda messages, count: answer(model, tokenizer, messages, len(choices), count),
        prompts[len(choices) :],
    )
    choose = choosing.RULES[args.chooser] if args.chooser else ask
    if not args.chooser:
        print("\nWhich answer is better? 1 or 2; 0: neither; q: enough.")
    while len(choices) < args.choices:
        messages, texts = next(offers, (None, None))
        better = None if messages is None else choose(messages, *texts)
        if better is None:
            break
        choices.append(choosing.Choice(messages, texts, better))
        choosing.keep(path, choices[-1])
    print(f"\n{len(choices)} choices are kept in {path}; more: --you-choose --choices N")
    config = stages.recipe.training(
        min(40, 10 * stages.recipe.dpo_steps), args.seed, lr=3e-4, batch_size=16
    )
    watch = Watch()
    policy, predicted = choosing.taste(model, tokenizer, choices, config, watch)
    learned, held_out = choosing.parted(choices)
    result = {"choices": len(choices), "learned": len(learned), "held_out": len(held_out),
              "predicted": predicted}  # fmt: skip
    print(f"\n{compared(model, policy, stages)}\n")
    if predicted is not None:
        print(f"of {len(held_out)} choices that it never saw, it predicts {predicted:.0%}")
    if args.json:
        write_whole(args.json, (json.dumps({"you": result}, indent=2) + "\n").encode())
    (stages.folder / "yours").mkdir(exist_ok=True)
    files.save(policy.state_dict(), stages.folder / "yours" / "model.safetensors")
    return 0


def compared(before, after, stages):
    """Answers of the model before and after, side by side."""
    lines = [f"{'':16}  {'before':24}  after"]
    for problem in stages.validation[:6]:
        texts = [answer(m, stages.tokenizer, problem.prompt())[0] for m in (before, after)]
        lines.append("{:16}  {:24}  {}".format(problem.question, *map(reporting.printable, texts)))
    return "\n".join(lines)


def ask(messages, first, second):
    """The person's choice: 1, 2, 0, or None for enough."""
    print(f"\n  {messages[-1]['content']}\n    1: {reporting.printable(first)}")
    print(f"    2: {reporting.printable(second)}\n  better: ", end="", flush=True)
    while True:
        key = read_key()
        if key in ("", "q", "\x03", "\x04"):
            print()
            return None
        if key in ("0", "1", "2"):
            print(key)
            return int(key)


def read_key():
    """A key of the terminal, at once; or the first letter of the next line that is not empty."""
    if sys.stdin.isatty():
        try:
            import termios
            import tty
        except ImportError:  # Windows
            import msvcrt

            return msvcrt.getwch()
        settings = termios.tcgetattr(sys.stdin)
        try:
            tty.setcbreak(sys.stdin)
            return sys.stdin.read(1)
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, settings)
    while line := sys.stdin.readline():
        if line.strip():
            return line.strip()[0]
    return ""
