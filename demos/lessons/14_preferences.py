"""Lesson 14: preferences, or learning from which of two is better."""

from _page import GOLD, GREEN, RED, check, close, plt, save, say, show, title

import microtensor as mt
from models.post_training.dpo import dpo_loss
from models.post_training.reward_model import bradley_terry_loss

title("14. Preferences")
say("""Of two answers anybody can say which is better. Bradley and Terry make numbers of that: each
    answer has a reward r, and A is preferred to B with probability sigmoid(r_A − r_B).""")
truth = mt.tensor([0.0, 1.0, 2.0, 3.0])
mt.manual_seed(1)
a, b = mt.randint(0, 4, (3000,)), mt.randint(0, 4, (3000,))
first = mt.rand(3000) < (truth[a] - truth[b]).sigmoid()  # a person, who is not always sure
chosen, rejected = mt.where(first, a, b), mt.where(first, b, a)
r = mt.zeros(4, requires_grad=True)
optimizer = mt.optim.AdamW([r], lr=0.1, weight_decay=0.0)
for _ in range(200):
    optimizer.zero_grad()
    bradley_terry_loss(r[chosen], r[rejected]).mean().backward()
    optimizer.step()
show(truth=truth, learned=(r - r[0]).detach())
check("3000 choices tell the rewards, up to a constant", close(r - r[0], truth, 0.1))

say("""DPO leaves the rewards out: it changes the probabilities of the answers themselves. The best
    that they can be is known: in proportion to π₀(y) · exp(r(y) / β).""")
start = mt.tensor([0.4, 0.3, 0.2, 0.1]).log()


def dpo(beta, steps=400):  # the probabilities of four answers after it
    logits = start.clone().requires_grad_()
    optimizer = mt.optim.AdamW([logits], lr=0.05, weight_decay=0.0)
    for _ in range(steps):
        logp, base = logits.log_softmax(-1), start.log_softmax(-1)
        optimizer.zero_grad()
        dpo_loss(logp[chosen], logp[rejected], base[chosen], base[rejected], beta).mean().backward()
        optimizer.step()
    return logits.softmax(-1).detach()


best = {beta: (start + truth / beta).softmax(-1) for beta in (3.0, 1.0)}
found = {beta: dpo(beta) for beta in best}
show(before=start.softmax(-1), by_dpo=found[1.0], by_the_formula=best[1.0])
check("DPO finds what the formula says", all(close(found[k], best[k], 0.05) for k in best))

say("""A trap. In a real model answers share numbers: here each has two features. Good and bad are
    much alike; a third answer, never shown, has a lot of the little in which they differ.""")
features = mt.tensor([[2.0, 0.4], [2.0, 0.0], [0.5, 3.0]])  # good, bad, and the third


def shared(nll):  # the probabilities of the three at each step, with α = nll
    w, path = mt.tensor([1.0, 0.0], requires_grad=True), []
    base = (features @ w).log_softmax(-1).detach()
    for _ in range(60):
        logp = (features @ w).log_softmax(-1)
        path.append(logp.exp().tolist())
        loss = dpo_loss(logp[:1], logp[1:2], base[:1], base[1:2], 1.0).mean() - nll * logp[0]
        w = (w - 0.4 * mt.autograd.grad(loss, w)[0]).detach().requires_grad_()
    return mt.tensor(path)


alone, with_nll = shared(0.0), shared(1.0)
show(before=alone[0], alone=alone[-1], with_nll=with_nll[-1])
check("the gap grows", (alone[-1, 0] / alone[-1, 1] > alone[0, 0] / alone[0, 1]).item())
check("but the good answer is lost, to the third", alone[-1, 0] < alone[0, 0] / 2 < alone[-1, 2])
check("the NLL term, − α log π(good), keeps it", with_nll[-1, 0] > with_nll[0, 0])

figure, axes = plt.subplots(1, 3, figsize=(17, 5.2), sharey=True)
shown = {"before": start.softmax(-1), "β = 3": found[3.0], "β = 1": found[1.0]}
for i, (label, p) in enumerate(shown.items()):
    axes[0].bar([k + 0.27 * (i - 1) for k in range(4)], p.numpy(), 0.27, label=label)
axes[0].set(title="four answers: the smaller β, the farther", xlabel="answer", ylim=(0, 1))
for ax, path, name in (axes[1], alone, "DPO alone"), (axes[2], with_nll, "with the NLL term"):
    for i, (label, colour) in enumerate((("good", GREEN), ("bad", RED), ("never shown", GOLD))):
        ax.plot(path[:, i].numpy(), color=colour, label=label)
    ax.set(title=name, xlabel="step")
[ax.legend() for ax in axes[:2]]
save(figure, "14_preferences")
