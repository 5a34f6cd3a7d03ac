"""Ctrl-C that waits for the end of a step."""

import os
import signal


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
