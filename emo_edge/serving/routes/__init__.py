"""The routes over HTTP: readings, OpenAI's chat, facts, the page; what they share is a `Service`.

May import `emo_edge.serving.engine`, `emo_edge.serving.access` and the modules above them in the list of layers.
"""
