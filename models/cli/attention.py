"""The weights of a model's one attention head, in the terminal and as a picture."""

import microtensor as mt
from microtensor.files.serialization import write_whole

from ..generation import sampling
from ..inside import pages


def show_attention(model, tokenizer, prompt, path):
    """Print and draw the weight that the last position gives to each character of the prompt."""
    ids = sampling.encode_prompt(model, tokenizer, prompt)
    weights = model.attention(mt.tensor([ids]))[0].tolist()
    pieces = pages.visible_tokens(tokenizer, ids)
    print(f"to continue, the last of these {len(ids)} looks at:")
    for piece, weight in zip(pieces, weights):
        print(f"  {piece:>3} {weight:6.1%} {'█' * round(40 * weight / max(weights))}")
    try:
        draw_attention(pieces, weights, path)
    except ImportError:
        print("no picture of the attention: matplotlib is missing (pip install matplotlib)")
    else:
        print(f"picture of the attention: {path}")


def draw_attention(pieces, weights, path):
    """Write a picture of the weight on each character as PNG. Needs matplotlib (ImportError)."""
    figure = pages.figure(max(4, 0.32 * len(pieces) + 1), 2.6)
    axes = figure.subplots()
    places = range(len(pieces))
    axes.bar(places, weights, color="#2f6db5", width=0.85)
    axes.set_xticks(places, pages.figure_texts(pieces), family=["DejaVu Sans Mono"])
    axes.set(ylabel="weight", title="What the last position looks at", xlim=(-0.6, len(pieces)))
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, pages.png(figure), follow=False)
