"""A bundle as a web server: a page, REST, OpenAI's API and a WebSocket, with one pipeline behind them.

This folder puts the parts together: the application, the process. May import everything of the device's side, and
never PyTorch.
"""
