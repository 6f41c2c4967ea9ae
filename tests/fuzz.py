"""Fuzz the parser of the protocol class for uvicorn with atheris: ``make fuzz``.

Not part of the tests, which check a few thousand random inputs. Options are those of libFuzzer, such as -runs=1000.
"""

import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["django_etp.uvicorn"]):
    from tests.support.fuzzing import check, random_input


def main() -> None:
    """Begin with random frames, and go on with what reaches new code, in ten million inputs."""
    seed = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="etp-fuzz-") as directory:
        for number in range(200):
            (Path(directory) / str(number)).write_bytes(random_input(seed))
        options = ["-runs=10000000", "-max_len=4096", "-rss_limit_mb=1024", "-timeout=5", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *options, *sys.argv[1:], directory], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
