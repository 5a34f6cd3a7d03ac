"""Lesson 15: learning from rewards, and reward hacking."""

from _page import BLUE, GOLD, GREEN, INK, RED, check, close, plt, save, say, show, title

import microtensor as mt
from models.post_training.grpo import group_advantages, grpo_loss
from models.post_training.reward_model import bradley_terry_loss

title("15. Rewards")
say("""A policy draws answers; each gets a reward. GRPO draws a group of answers to one question and
    asks of each: was it better than the others? That is its advantage.""")
rewards = mt.tensor([[1.0, 0, 0, 1], [1, 1, 1, 1]])
A = group_advantages(rewards)
show(advantages=A)
check("what was above the mean gets a positive advantage", ((A[0] > 0) == (rewards[0] == 1)).all())
check("all alike: nothing to learn", (A[1] == 0).all().item())

say("""Let the answers be letters that say "love" 0 to 40 times. Readers like some love, most of all
    ten times: that is the gold reward. The likelihood of what was good rises:""")
x = mt.arange(41).float()
gold = 1 - ((x - 10) / 10) ** 2
start = -(((x - 4) / 5) ** 2) / 2  # logits: mostly about four times
logits = mt.zeros(41, requires_grad=True)
logp, seven = logits.log_softmax(-1)[None], (x == 7).float()[None]
grpo_loss(logp, logp.detach(), mt.ones(1), seven).backward()
error = logits.detach().softmax(-1) - seven[0]
check("for A = 1 it is belief minus what was drawn (lesson 3)", close(logits.grad, error))

say("""Readers cannot read all. A reward model learns from pairs of the policy at its start. Few say
    love more than ten times, and up to there more is better.""")
mt.manual_seed(0)
pairs = mt.multinomial(start.softmax(-1).expand(600, 41), 2, replacement=True)
better = gold[pairs].argmax(-1, keepdim=True)
chosen, rejected = (pairs.gather(1, i)[:, 0] for i in (better, 1 - better))
w = mt.zeros(1, requires_grad=True)
for _ in range(200):
    loss = bradley_terry_loss(w * x[chosen] / 10, w * x[rejected] / 10).mean()
    w = (w - 2 * mt.autograd.grad(loss, w)[0]).detach().requires_grad_()
learned = (w * x / 10).detach()
right = (learned[chosen] > learned[rejected])[chosen != rejected].float().mean()
check(f"on such pairs it is mostly right: {right:.0%}", right > 0.9)


def trained(beta, steps=600):  # the mean learned and gold reward at each step; the policy
    mt.manual_seed(0)
    logits, path, base = start.clone().requires_grad_(), [], start.log_softmax(-1)
    optimizer = mt.optim.AdamW([logits], lr=0.1, weight_decay=0.0)
    for _ in range(steps):
        p = logits.softmax(-1).detach()
        path.append([(p * learned).sum().item() / w.item(), (p * gold).sum().item()])
        drawn = mt.multinomial(p, 64, replacement=True)
        logp = logits.log_softmax(-1)[drawn][:, None]  # (B, 1): answers of one token
        A = group_advantages(learned[drawn][None])[0]
        optimizer.zero_grad()
        near, ones = base[drawn][:, None], mt.ones(64, 1)
        grpo_loss(logp, logp.detach(), A, ones, near, beta=beta).backward()
        optimizer.step()
    return mt.tensor(path), p


(free, end), (tied, near) = trained(0.0), trained(4.0)
show(gold_before=free[0, 1], at_its_best=free[:, 1].max(), at_the_end=free[-1, 1])
check("the learned reward rises", free[-1, 0] > 2 * free[0, 0])
check("the gold reward rises with it at first", free[:, 1].max() > free[0, 1] + 0.1)
check("and then falls below the start: reward hacking", free[-1, 1] < free[0, 1] - 0.2)
check("the KL to the start, times β, holds it back", tied[-1, 1] > free[0, 1])

figure, (rise, policies) = plt.subplots(1, 2, figsize=(15, 5.6))
for path, style, name in (free, "-", "β = 0"), (tied, "--", "β = 4"):
    rise.plot(path[:, 0].numpy(), style, color=RED, label=f"learned reward, {name}")
    rise.plot(path[:, 1].numpy(), style, color=GREEN, label=f"gold reward, {name}")
rise.set(title="what it is paid, and what it was meant for", xlabel="step")
rise.legend(fontsize=11)
for p, colour, name in (start.softmax(-1), BLUE, "start"), (end, RED, "β = 0"), (near, GOLD, "4"):
    policies.plot(x.numpy(), p.numpy(), color=colour, label=name)
policies.plot(x.numpy(), gold.clamp(-1).numpy() / 5, ":", color=INK, label="a fifth of gold")
policies.set(title="how often it says love", xlabel="times", ylim=(-0.22, 1.02))
policies.legend()
save(figure, "15_rewards")
