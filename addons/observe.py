"""Record only, change nothing: `mitmdump -s addons/observe.py` (or mitmweb, mitmproxy)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from llmitm.mitm.addons import addons as _addons

addons = _addons(observe=True)
