"""The table and the curves of the assistant's training, and answers side by side."""

import numpy as np

from ..inside.pages import figure, png
from ..training.reporting import printable

ROWS = {  # stage: (what it was trained on, what it began as)
    "base": "plays and solved exercises",
    "sft": "conversations",
    "lora": "conversations, adapter alone",
    "characters": "one adapter for each speaker",
    "dpo": "pairs of answers, with NLL",
    "dpo_without_nll": "the same, no NLL, large step",
    "reward_model": "pairs of answers",
    "weak": "sums, stopped early",
    "grpo": "sums, the exact check as reward",
    "sentiment": "pairs of lines, by the lexicon",
    "ppo": "that learned reward",
}
BLUE, RED, GREEN, GOLD, INK = "#2563a8", "#d1432f", "#2f8f5b", "#e0a021", "#2b2b2b"


def table(results):
    """The stages, a line for each: exact answers, preferred form, KL, seconds."""
    lines = [
        f"{'stage':16} {'trained on':31} {'exact':>6} {'preferred':>9} {'KL':>7} {'seconds':>8}"
    ]
    for stage, about in ROWS.items():
        found = results.get(stage)
        if found is None:
            continue
        lines.append(f"{stage:16} {about:31} {cells(found)}")
    lines.append(f"{'all':16} {'':31} {'':>6} {'':>9} {'':>7} {number(results['seconds'], 8)}")
    return "\n".join([*lines, "", *remarks(results)])


def cells(found):
    """What was measured of one stage, as a row of the table."""
    return " ".join(
        [share(found.get("exact"), 6), share(found.get("preferred"), 9),
         number(found.get("kl"), 7), number(found["seconds"], 8)]
    )  # fmt: skip


def remarks(results):
    """Remarks on what the columns do not hold."""
    for stage in ("reward_model", "sentiment"):
        if "pairs" in results.get(stage, {}):
            count = results[stage]["held_out_pairs"]
            yield f"{stage}: {results[stage]['pairs']:.1%} of {count} held-out pairs"
    yield f"lora: {results['lora']['share_of_parameters']:.1%} of the numbers are trained"
    if "left_out" in results["ppo"]:
        yield f"ppo was left out: {results['ppo']['left_out']}"
    else:
        first, last = first_and_last_tenth(results["ppo"]["history"])
        yield "ppo: learned reward {:.2f} → {:.2f}, gold reward {:.2f} → {:.2f}".format(
            first["reward"], last["reward"], first["gold"], last["gold"]
        )
    yield "perplexity of each speaker's held-out lines (a row for each adapter):"
    rows = results["characters"]["perplexity"]
    names = list(rows["none"])
    yield f"  {'adapter':18}" + "".join(f"{name[:17]:>18}" for name in names)
    for adapter, row in rows.items():
        yield f"  {adapter[:17]:18}" + "".join(f"{row[name]:18.3f}" for name in names)


def first_and_last_tenth(history):
    """The means of the first and of the last tenth of a history."""
    n = max(1, len(history) // 10)
    return [
        {key: float(np.mean([row[key] for row in part])) for key in history[0]}
        for part in (history[:n], history[-n:])
    ]


def share(value, width):
    return " " * width if value is None else f"{value:{width}.1%}"


def number(value, width):
    return " " * width if value is None else f"{value:{width}.1f}"


def side_by_side(given):
    """Answers by the names of the stages, a line for each."""
    width = max(map(len, given))
    return "\n".join(f"  {name:>{width}}: {printable(text)}" for name, text in given.items())


# ---- curves ------------------------------------------------------------------------------------


def curves(results):
    """The picture of a whole training, as the bytes of a PNG. Needs matplotlib (ImportError)."""
    drawing = figure(12, 4.2)
    exact, rewards, hacking = drawing.subplots(1, 3)
    bars(exact, results)
    rewards.plot(range(1, len(results["grpo"]["rewards"]) + 1), results["grpo"]["rewards"],
                 color=BLUE, linewidth=2)  # fmt: skip
    for where, colour, text in (("exact_before", INK, "before"), ("exact", GREEN, "after")):
        rewards.axhline(results["grpo"][where], color=colour, linestyle=":")
        rewards.annotate(f"held out, {text}: {results['grpo'][where]:.0%}",
                         (1, results["grpo"][where]), xytext=(2, 4), color=colour,
                         textcoords="offset points")  # fmt: skip
    rewards.set(title="GRPO: right answers while it learns", xlabel="step", ylim=(0, 1.08))
    if "history" in results["ppo"]:
        reward_hacking(hacking, results["ppo"]["history"])
    else:
        hacking.axis("off")
    for axes in (exact, rewards, hacking):
        axes.spines[["top", "right"]].set_visible(False)
    return png(drawing)


def bars(axes, results):
    """Exact answers and preferred form of the stages."""
    stages = "base", "sft", "lora", "dpo", "dpo_without_nll", "weak", "grpo"
    for shift, key, colour in ((-0.2, "exact", BLUE), (0.2, "preferred", GOLD)):
        places = [i + shift for i in range(len(stages))]
        axes.bar(places, [results[s][key] for s in stages], 0.4, color=colour, label=key)
    names = [s.replace("dpo_without_nll", "dpo,\nno NLL") for s in stages]
    axes.set_xticks(range(len(stages)), names)
    axes.set(title="held-out answers", ylim=(0, 1.18))
    axes.legend(frameon=False, loc="upper left", ncols=2)


def reward_hacking(axes, history):
    """A picture of reward hacking: the reward that the policy gets, and the one that was meant."""
    steps = range(1, len(history) + 1)
    axes.plot(steps, [row["reward"] for row in history], color=RED, linewidth=2)
    axes.set(title="PPO: reward hacking", xlabel="step")
    axes.set_ylabel("learned reward", color=RED)
    gold = axes.twinx()
    gold.plot(steps, [row["gold"] for row in history], color=GREEN, linewidth=2)
    gold.set_ylabel("gold reward (the lexicon)", color=GREEN)
    gold.spines[["top"]].set_visible(False)
