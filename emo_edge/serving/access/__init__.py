"""Access to a server: hosts, origins, the token, sizes and times of requests, errors in OpenAI's shape."""
