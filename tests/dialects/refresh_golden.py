"""Writes `tests/corpus/golden` anew. Run `python tests/dialects/refresh_golden.py`, read the diff.

It removes what no case gives any more, and writes nothing else.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "addons"), str(ROOT / "tests")]

from dialects.golden import GOLDEN, golden_texts  # noqa: E402


def main() -> None:
    """Removes what is there and writes every file that the code gives today."""
    texts = list(golden_texts())
    shutil.rmtree(GOLDEN, ignore_errors=True)
    for name, text in texts:
        file = GOLDEN / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    sys.stdout.write(f"{len(texts)} files in {GOLDEN.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
