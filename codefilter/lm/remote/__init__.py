"""Models that run on a server: llama-server, vLLM, and whatever else speaks the completions protocol.

``endpoint`` reads ``remote:URL``; ``connection`` sends, waits and gives up; ``llama_server`` and
``completions`` each know one protocol; ``discovery`` finds out which; ``model`` is the `LanguageModel`.
"""
