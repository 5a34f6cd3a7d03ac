"""The stages of an assistant's training, one after the other, each with a checkpoint.

base → sft → dpo, and beside them lora, the characters' adapters, a reward model, grpo from a weak
beginning, and ppo against a learned reward. A stage is a method that makes its trainer, lets it
run, and measures what came of it on problems that nobody was trained on.
"""

import json
import time
from copy import deepcopy
from pathlib import Path

import numpy as np

import microtensor as mt
from microtensor.files.serialization import write_whole

from .. import files
from ..ladder.minigpt import MiniGPT
from ..text import chat, corpus
from ..text.tokenizers import CharTokenizer
from ..training import load_newest, model_from
from . import characters, lora, recipe, sentiment
from .conversations import Conversations, encode
from .dpo import DPOTrainer, Pair, with_reference
from .grpo import GRPOTrainer
from .pairs import rule, sampled_pairs
from .ppo import PPOTrainer
from .replies import divergence, graded
from .reward_model import RewardModel, RewardTrainer, agreement
from .sft import SFTTrainer
from .tasks import FORMS, Problems, mirrored

ALL = (
    "base", "sft", "lora", "characters", "dpo", "dpo_without_nll", "reward_model", "weak", "grpo",
    "sentiment", "ppo",
)  # fmt: skip
CHECKPOINT, RESULTS = "checkpoint.safetensors", "results.json"


class Stopped(Exception):
    """The person stopped a stage: its name, the step, and the number of steps."""

    def __init__(self, stage, step, steps):
        super().__init__(f"stopped in stage {stage} after step {step:,} of {steps:,}")
        self.stage, self.step, self.steps = stage, step, steps


class Stages:
    """All stages in one folder, by the numbers of a `Recipe`.

    `watch(stage, trainer)` lets a trainer run, shows it, and says whether the person stopped it;
    `tell` is told, in one line, what happens.
    """

    def __init__(self, folder, numbers, seed, watch, tell=print):
        self.folder, self.recipe, self.seed = Path(folder), numbers, seed
        self.watch, self.tell = watch, tell
        self.results = {"seed": seed, "recipe": vars(numbers) | {}}
        self.kept, self.going_on = {}, False  # models of finished stages; after `go_on`
        self.problems = Problems(seed, numbers.held_out)
        # A second set, not trained on either, for decisions during training.
        others = Problems(seed + 2**20, 150).held_out
        self.validation = [p for p in others if p.question not in self.problems.kept]
        self.problems.kept = self.problems.kept.union(*map(mirrored, self.validation))
        self.sums = self.problems.only("sums")
        letters = "\n" + "".join(map(chr, range(32, 127)))
        self.tokenizer = chat.with_chat_tokens(CharTokenizer(letters))

    # ---- what has been done --------------------------------------------------------------------

    def go_on(self):
        """Take over what an earlier run has finished. ValueError if it was another one."""
        path = self.folder / RESULTS
        try:
            found = files.read_json(path)
        except FileNotFoundError:
            raise ValueError(f"there is nothing to go on with at {path}; start without --resume") \
                from None  # fmt: skip
        if not isinstance(found, dict) or not all(
            isinstance(found.get(stage, {}), dict) for stage in ALL
        ):
            raise ValueError(f"{path} does not hold the results of an assistant's training")
        for name in ("seed", "recipe"):
            if found.get(name) != self.results[name]:
                raise ValueError(f"{path} is of another run: {name} {found.get(name)!r:.200}")
        self.results, self.going_on = found, True

    def start_over(self):
        """Begin in the folder, and remove what an earlier run has left of its models."""
        self.write()
        for stage in self.folder.iterdir():
            if stage.name in ALL or stage.name.startswith("character-"):
                for file in stage.glob("*.safetensors"):
                    file.unlink()

    def done(self, stage):
        return stage in self.results

    def write(self):
        """Write what was measured, whole or not at all."""
        write_whole(self.folder / RESULTS, (json.dumps(self.results, indent=2) + "\n").encode())

    def path(self, stage):
        return self.folder / stage / CHECKPOINT

    def model(self, stage):
        """A copy of the model of a finished stage."""
        if stage not in self.kept:
            state = load_newest(self.path(stage), self.tell)
            self.kept[stage] = model_from(state)[0]
        return deepcopy(self.kept[stage])

    def run(self, wanted=ALL):
        """Every stage that is not done yet. Stopped if the person stops one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for stage in wanted:
            if self.done(stage):
                self.tell(f"{stage}: done before")
                continue
            mt.manual_seed(self.seed)
            begun = time.perf_counter()
            found = getattr(self, stage)()
            before = self.results.pop("unfinished", {})
            spent = before.get("seconds", 0.0) if before.get("stage") == stage else 0.0
            self.results[stage] = found | {"seconds": spent + time.perf_counter() - begun}
            self.write()

    def trained(self, stage, trainer, steps):
        """Let a trainer run to its end, going on where a checkpoint is; its model, evaluated."""
        path, begun = self.path(stage), time.perf_counter()
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.going_on and path.exists():
            load_newest(path, self.tell, trainer.load_state_dict)
        stopped = self.watch(stage, trainer)
        if trainer.saved_step != trainer.step:
            trainer.save()
        if stopped:
            before = self.results.get("unfinished", {})
            spent = before.get("seconds", 0.0) if before.get("stage") == stage else 0.0
            spent += time.perf_counter() - begun
            self.results["unfinished"] = {"stage": stage, "seconds": spent}
            self.write()
            raise Stopped(stage, trainer.step, steps)
        return trainer.model.eval()

    def settings(self, stage, steps, **settings):
        """(TrainingConfig, path of the checkpoint, about) as a Trainer takes them."""
        return (
            self.recipe.training(steps, self.seed, **settings),
            self.path(stage),
            {"stage": stage, "text": stage},
        )

    # ---- data ----------------------------------------------------------------------------------

    def rng(self, number):
        """A stream of random numbers of its own."""
        return np.random.default_rng([self.seed, 100 + number])

    def plays(self):
        """The nine plays, in the letters of the vocabulary, and their lines."""
        if not hasattr(self, "_plays"):
            known = set(self.tokenizer.characters)
            text = "".join(c for c in corpus.nine_plays() if c in known)
            self._plays = (text, *characters.lines_of(text))
        return self._plays

    def encoded(self, talks):
        return [encode(self.tokenizer, talk, recipe.CONTEXT) for talk in talks]

    def exercises(self, problems, count, rng):
        """Conversations with right answers, in either form."""
        forms = list(FORMS)
        return [
            p.conversation(forms[int(rng.integers(len(forms)))]) for p in problems.draw(count, rng)
        ]

    # ---- the stages ----------------------------------------------------------------------------

    def base(self):
        """Pre-training: windows of the plays, and an exercise book of solved problems.

        Each is a document of its own, in rows that several exercises share.
        """
        config, *more = self.settings(
            "base", self.recipe.base_steps, lr=3e-3, batch_size=WINDOWS + EXERCISES
        )
        trainer = SFTTrainer(
            MiniGPT(self.recipe.model(self.tokenizer.vocab_size)), self.tokenizer,
            *self.documents(), config, *more,
        )  # fmt: skip
        model = self.trained("base", trainer, config.steps)
        return {"loss": trainer.validation[-1][1], **self.grades(model)}

    def documents(self):
        """The base model's documents, and others to test it with: examples learned whole."""
        rng, count = self.rng(1), self.recipe.examples
        ids, length = self.tokenizer.encode_array(self.plays()[0]), recipe.WINDOW + 1
        cut = len(ids) * 9 // 10
        drawn = self.problems.draw(count * EXERCISES // WINDOWS, rng)
        parts = []
        for low, high, windows, problems in (
            (0, cut, count, drawn), (cut, len(ids), 64, self.validation)
        ):  # fmt: skip
            rows = [ids[i : i + length] for i in rng.integers(low, high - length, windows)]
            rows += [self.tokenizer.encode_array(p.worked()) for p in problems]
            examples = [(row, np.arange(len(row)) > 0) for row in rows]
            parts.append(Conversations(examples, recipe.WINDOW))
        return parts

    def talks(self):
        """Conversations of all tasks to learn from, and others to test with, as examples."""
        rng, count = self.rng(2), self.recipe.examples
        _, learned, held_out = self.plays()
        lines = [learned[i] for i in rng.integers(0, len(learned), count // 8)]
        learned = self.exercises(self.problems, count - len(lines), rng) + [
            x.conversation() for x in lines
        ]
        tested = [p.conversation("plain") for p in self.validation]
        tested += [x.conversation() for x in held_out[:60]]
        return [Conversations(self.encoded(part), recipe.CONTEXT) for part in (learned, tested)]

    def sft(self):
        """Supervised fine-tuning of all numbers."""
        config, *more = self.settings("sft", self.recipe.sft_steps, lr=1e-3, batch_size=64)
        trainer = SFTTrainer(
            self.model("base"), self.tokenizer, *self.talks(), config, *more
        )  # fmt: skip
        model = self.trained("sft", trainer, config.steps)
        return self.grades(model, "base") | {"perplexity": self.by_name(model)}

    def lora(self):
        """The same with an adapter: few new numbers, all others frozen."""
        model = lora.add(self.model("base"), lora.LoRAConfig(r=5, alpha=20))
        config, *more = self.settings("lora", self.recipe.lora_steps, lr=4e-3, batch_size=64)
        trainer = SFTTrainer(model, self.tokenizer, *self.talks(), config, *more)
        model = self.trained("lora", trainer, config.steps)
        lora.save(model, self.folder / "lora", "base")
        share = lora.share(model)
        lora.merge(model)
        return {"share_of_parameters": share, **self.grades(model, "base")}

    def characters(self):
        """An adapter for each of some characters: his lines, without being told who he is."""
        _, learned, held_out = self.plays()
        names = characters.most_heard(learned, recipe.SPEAKERS)
        tested = {
            name: self.encoded(x.conversation("SOMEBODY") for x in held_out if x.speaker == name)
            for name in names
        }
        table = {"none": self.heard(self.model("sft"), tested)}
        for name in names:
            stage = f"character-{name.lower().replace(' ', '-')}"
            own = self.encoded(x.conversation("SOMEBODY") for x in learned if x.speaker == name)
            config, *more = self.settings(stage, self.recipe.character_steps, lr=3e-3)
            model = lora.add(self.model("sft"), lora.LoRAConfig(r=4, alpha=16))
            data = Conversations(own), Conversations(own[:30])
            model = self.trained(
                stage, SFTTrainer(model, self.tokenizer, *data, config, *more), config.steps
            )
            lora.save(model, self.folder / stage, "sft")
            table[name] = self.heard(lora.merge(model), tested)
        return {"perplexity": table}

    def pairs(self):
        """(pairs to learn from, held-out pairs) of the SFT model's own answers, by the rule."""
        if not hasattr(self, "_pairs"):
            model, draws = self.model("sft"), mt.Generator().manual_seed(self.seed + 1)
            asked = self.problems.draw(self.recipe.prompts, self.rng(3))
            parts = [self.judged(model, some, draws) for some in (asked, self.problems.held_out)]
            self._pairs = [with_reference(model, part) for part in parts]
        return self._pairs

    def judged(self, model, asked, draws):
        """Pairs of the model's own answers; while it has no right ones, of right answers in the
        form preferred and in another."""
        own = sampled_pairs(model, self.tokenizer, asked, rule, 4, recipe.ANSWER, draws)
        if len(own) >= len(asked) // 4:
            return own
        both = ([p.conversation(form) for p in asked] for form in ("polite", "plain"))
        return own + [Pair(*pair) for pair in zip(*map(self.encoded, both))]

    def preferred(self, stage, lr, beta, nll):
        """A stage of DPO with these numbers."""
        config, *more = self.settings(stage, self.recipe.dpo_steps, lr=lr)
        learned, held_out = self.pairs()
        trainer = DPOTrainer(
            self.model("sft"), self.tokenizer, learned, held_out[:100], config, *more,
            beta=beta, nll=nll,
        )  # fmt: skip
        model = self.trained(stage, trainer, config.steps)
        before = self.results["sft"]
        return {
            "preferred_before": before["preferred"], "exact_before": before["exact"],
            **self.grades(model, "sft"),
        }  # fmt: skip

    def dpo(self):
        """DPO with the NLL term: the polite form becomes the usual one, and the sums stay right."""
        return self.preferred("dpo", 1e-4, 0.3, 2.0)

    def dpo_without_nll(self):
        """DPO without it and with too large a step: the lesson in what can go wrong."""
        return self.preferred("dpo_without_nll", 3e-3, 0.05, 0.0)

    def reward_model(self):
        """A reward model of the same pairs."""
        learned, held_out = self.pairs()
        config, *more = self.settings("reward_model", self.recipe.reward_steps, lr=1e-3)
        model = RewardModel.on(self.model("sft"))
        trainer = RewardTrainer(model, self.tokenizer, learned, learned[:64], config, *more)
        model = self.trained("reward_model", trainer, config.steps)
        return {"pairs": agreement(model, held_out), "held_out_pairs": len(held_out)}

    def weak(self):
        """A short fine-tuning on sums alone, stopped when half of the validation's are right."""
        steps = self.recipe.weak_steps
        config, *more = self.settings("weak", steps, lr=2e-4, batch_size=64, warmup=5)
        talks = self.exercises(self.sums, self.recipe.examples // 4, self.rng(6))
        data = Conversations(self.encoded(talks), recipe.CONTEXT)
        trainer = SFTTrainer(self.model("base"), self.tokenizer, data, data, config, *more)
        sums = [p for p in self.validation if p.task == "sums"]
        trainer.enough = lambda: (
            trainer.step % 5 == 0
            and graded(trainer.model, self.tokenizer, sums, recipe.ANSWER)["exact"] >= WEAK
        )
        model = self.trained("weak", trainer, steps)
        return self.grades(model, "base", self.sums) | {"steps": trainer.step}

    def grpo(self):
        """GRPO on sums from the weak model, rewarded by the exact check alone."""
        config, *more = self.settings(
            "grpo", self.recipe.grpo_steps, lr=1.5e-4, batch_size=256, final_lr=0.3
        )
        sums = [p for p in self.validation if p.task == "sums"]
        trainer = GRPOTrainer(
            self.model("weak"), self.tokenizer, self.sums, sums, config, *more,
            reward=lambda problem, text: problem.exact(text), group=8,
            max_new_tokens=recipe.ANSWER,
        )  # fmt: skip
        model = self.trained("grpo", trainer, config.steps)
        return {
            "exact_before": self.results["weak"]["exact"],
            **self.grades(model, "weak", self.sums),
            "rewards": trainer.rewards,
        }  # fmt: skip

    def feelings(self):
        """(pairs to learn from, held-out pairs) of lines, the friendlier one by the lexicon."""
        model, draws = self.model("sft"), mt.Generator().manual_seed(self.seed + 2)
        _, learned, held_out = self.plays()
        gold, rng, parts = sentiment.gold(), self.rng(4), []
        for lines in learned, held_out:
            chosen = rng.integers(0, len(lines), max(1, self.recipe.prompts // 5))
            parts.append(sampled_pairs(
                model, self.tokenizer, [lines[i] for i in chosen], lambda _, text: gold(text),
                2 * REPEATS, recipe.LINE, draws, per_prompt=REPEATS,
            ))  # fmt: skip
        return parts

    def sentiment(self):
        """A reward model of what the lexicon finds friendly in lines of the plays."""
        if not sentiment.available():
            return {"left_out": 'vaderSentiment is missing: pip install -e ".[sentiment]"'}
        learned, held_out = self.feelings()
        if not learned or not held_out:
            return {"left_out": "no two lines differed in what the lexicon finds in them"}
        config, *more = self.settings("sentiment", self.recipe.sentiment_steps, lr=5e-4)
        model = RewardModel.on(self.model("sft"))
        trainer = RewardTrainer(model, self.tokenizer, learned, held_out[:64], config, *more)
        model = self.trained("sentiment", trainer, config.steps)
        return {"pairs": agreement(model, held_out), "held_out_pairs": len(held_out)}

    def ppo(self):
        """PPO against that reward model, with next to no KL: the learned reward is hacked."""
        if "left_out" in self.results["sentiment"]:
            return dict(self.results["sentiment"])
        config, *more = self.settings("ppo", self.recipe.ppo_steps, lr=1e-3, batch_size=64)
        _, learned, _ = self.plays()
        reference, judge = self.model("sft"), self.model("sentiment")
        trainer = PPOTrainer(
            self.model("sft"), self.tokenizer,
            lambda count, rng: [
                learned[i].prompt()
                for i in rng.integers(0, len(learned), count // REPEATS)
                for _ in range(REPEATS)  # prompts of one length are answered at once
            ],
            None, config, *more, reference=reference, gold=sentiment.gold(), beta=0.0,
            reward=lambda batch, _: judge.rewards(batch), max_new_tokens=recipe.LINE,
        )  # fmt: skip
        self.trained("ppo", trainer, config.steps)
        return {"history": trainer.history, **self.grades(trainer.model)}

    # ---- measuring -----------------------------------------------------------------------------

    def grades(self, model, reference=None, problems=None):
        """Exact answers and preferred forms on held-out problems; and the KL to another stage."""
        held_out = (problems or self.problems).held_out
        found = graded(model, self.tokenizer, held_out, recipe.ANSWER)
        if reference:
            prompts = [p.prompt() for p in held_out[:200]]
            draws = mt.Generator().manual_seed(self.seed)
            found["kl"] = divergence(
                model, self.model(reference), self.tokenizer, prompts, recipe.ANSWER, draws
            )
        return found

    def heard(self, model, tested):
        return {name: characters.perplexity(model, examples) for name, examples in tested.items()}

    def by_name(self, model):
        """Perplexity of each speaker's held-out lines: told who speaks, and told a wrong name."""
        _, learned, held_out = self.plays()
        names, found = characters.most_heard(learned, recipe.SPEAKERS), {}
        for name, other in zip(names, [*names[1:], names[0]]):
            own = [x for x in held_out if x.speaker == name]
            found[name] = {
                told: characters.perplexity(model, self.encoded(x.conversation(who) for x in own))
                for told, who in (("right", name), ("wrong", other))
            }
        return found


WINDOWS, EXERCISES = 12, 120  # of a step of pre-training
REPEATS = 8  # answers to a line of a play that are drawn at once
WEAK = 0.5  # the share of right sums at which the weak model's training stops
