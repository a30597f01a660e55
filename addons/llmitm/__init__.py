"""llmitm: LLM in the middle, a set of mitmproxy addons for the traffic of LLM clients."""

__version__ = "0.1.0"
