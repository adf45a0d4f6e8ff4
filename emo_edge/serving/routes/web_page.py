"""The page and its modules: files of the package, by exact name, read once."""

from __future__ import annotations

from importlib import resources

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from emo_edge.serving.access.errors import ApiError

FOLDER = "page"
INDEX = "index.html"
MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}


class WebPage:
    """The files of the page; a name that is not among them is a 404, whatever its path."""

    def __init__(self) -> None:
        folder = resources.files("emo_edge.serving") / FOLDER
        self._files = {
            entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file() and _media(entry.name)
        }

    def names(self) -> list[str]:
        """Return the names of all files."""
        return sorted(self._files)

    async def index(self, request: HttpRequest) -> Response:
        """Answer ``GET /``."""
        return self._response(INDEX)

    async def file(self, request: HttpRequest) -> Response:
        """Answer ``GET /page/NAME``."""
        return self._response(request.path_params["name"])

    def _response(self, name: str) -> Response:
        if name not in self._files:
            raise ApiError(404, "the page has no such file")
        return Response(self._files[name], headers={"content-type": _media(name), "cache-control": "no-cache"})


def _media(name: str) -> str:
    return next((media for ending, media in MEDIA.items() if name.endswith(ending)), "")
