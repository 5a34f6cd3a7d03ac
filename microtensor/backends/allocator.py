"""Memory that the process keeps, so that the next array of the same size costs no page faults.

The C library takes memory for a large array from the system and gives it back when the array is
freed. The system fills each new page with zeros at its first use: a training step that makes its
arrays anew takes thousands of such page faults. With GNU's C library two settings change that:
arrays come from the heap (M_MMAP_THRESHOLD), and the heap's free end is kept (M_TRIM_THRESHOLD).

MICROTENSOR_KEEP_MEMORY=0 switches it off, and so does a setting of one's own: an environment
variable MALLOC_… or GLIBC_TUNABLES with glibc.malloc. Source: mallopt(3).
"""

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from malloc.h
ARRAYS_UP_TO = 1 << 30  # bytes that come from the heap: an array above that has pages of its own
KEEP_UP_TO = (1 << 31) - 1  # bytes that stay at the free end of the heap: the largest int

state = "as the C library decides"  # said by `backends.show()`


def keep_memory():
    """Tell the C library to keep freed memory, where it has such settings; once in a process."""
    global state
    if os.environ.get("MICROTENSOR_KEEP_MEMORY") == "0":
        state = "given back at once: MICROTENSOR_KEEP_MEMORY=0"
        return
    own = [name for name in os.environ if name.startswith("MALLOC_")]
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        own.append("GLIBC_TUNABLES")
    if own:
        state = f"as {', '.join(sorted(own))} of the environment says"
        return
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018, other libraries take other numbers
        kept = library.mallopt(M_MMAP_THRESHOLD, ARRAYS_UP_TO)
        kept = library.mallopt(M_TRIM_THRESHOLD, KEEP_UP_TO) and kept
    except (OSError, AttributeError, TypeError):  # no library, no such function, not this system
        return
    if kept:
        state = f"kept by the process, up to {KEEP_UP_TO / 2**30:.0f} GiB"
