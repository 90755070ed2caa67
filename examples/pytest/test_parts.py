import subprocess

import pytest


@pytest.mark.parametrize("part", range(1, 9))
def test_compiles(part):
    subprocess.run(["cc", "-fsyntax-only", f"part{part}.c"], check=True)
