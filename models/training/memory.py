"""What a step of training takes of the machine's memory, before the model is made."""

import os


def check_memory(config, batch_size, eval_batch_size=1, length=None, share=1.0):
    """ValueError if training a model of `config` would take more than a share of the free memory.

    Windows have `length` tokens, by default all of the model's context. The estimate counts what a
    step keeps until the gradients are known, or an evaluation, whichever is more, and the weights
    with their gradients and two moments. It is that of a transformer; other models take less.
    """
    T, V = length or config.context_length, config.vocab_size
    L, C = getattr(config, "n_layers", 1), getattr(config, "d_model", 0)
    layer = 24 * C + 3 * getattr(config, "n_heads", 1) * T  # numbers of a layer for each token
    tokens = max(batch_size * (L * layer + 4 * V), eval_batch_size * (layer + 4 * V)) * T
    needed, free = 4 * (tokens + 4 * (config.numbers or 0)), available_memory()
    if needed > free * share:
        raise ValueError(
            f"These sizes need about {needed / 1e9:,.1f} GB for a step, and this machine has "
            f"{free / 1e9:.1f} GB free: choose a smaller batch, a shorter context, fewer layers or "
            f"a smaller vocabulary (of {V:,} tokens)."
        )


def available_memory():
    """Bytes of memory that programs can have; 4 GB where the system does not say."""
    try:
        with open("/proc/meminfo", "rb") as file:  # Linux: what its caches would give back, too
            found = dict(line.split(b":", 1) for line in file)
        return int(found[b"MemAvailable"].split()[0]) * 1024
    except (OSError, LookupError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 4 << 30
