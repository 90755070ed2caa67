import os
import re


def pytest_xdist_auto_num_workers(config):
    """As many workers as make has slots; xdist's own number where there is no make."""
    jobs = re.search(r"(?:^| )-j ?(\d+)", os.environ.get("MAKEFLAGS", ""))
    return int(jobs.group(1)) if jobs else None
