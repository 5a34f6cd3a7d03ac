"""Processes that load samples."""


def get_worker_info():
    """None: samples are loaded in the main process."""
