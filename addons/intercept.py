"""Everything on: `mitmdump -s addons/intercept.py` (or mitmweb, mitmproxy)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from llmitm.mitm.addons import addons as _addons

addons = _addons()
