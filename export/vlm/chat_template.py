"""A model's chat template, rendered once and split around the picture and the question.

A template is a program in Jinja that came with the file. It runs in transformers' kind of sandbox, in a child process
with a limit of time and memory; run as a module, this file is that child. No device ever runs it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from emo_edge.bundle.prompts import IMAGE_MARK
from emo_edge.console.children import module_command
from emo_edge.errors import BundleError, MissingExtraError
from emo_edge.utils.text import printable, quoted

SECONDS, CHILD_BYTES = 20, 1 << 30
LONGEST = 64 << 10
"""Characters of a rendered prompt."""
SHOWN = 2000
"""Characters of it that are shown."""
QUESTION = "{demographics}{question}"
ADVICE = f"give `template`, such as 'USER: {IMAGE_MARK}\\n{QUESTION} ASSISTANT:'"
PICTURE = "<__media__>"
"""Mark of the picture while a template runs: templates leave it alone."""


@dataclass(frozen=True)
class ChatPrompt:
    """A conversation of one question, split where the picture goes."""

    before: str
    after: str
    """Holds `QUESTION`."""
    begins: bool = False
    """True if it began with the begin-of-sequence token, which is left out of ``before``."""

    @property
    def template(self) -> str:
        """The whole of it, with the picture's mark."""
        return f"{self.before}{IMAGE_MARK}{self.after}"

    @property
    def shown(self) -> str:
        """The whole of it on one line."""
        return repr(self.template) if len(self.template) <= SHOWN else f"{self.template[:SHOWN]!r}…"


def chat_prompt(template: str, begin: str, end: str, system: str | None = None) -> ChatPrompt:
    """Render a chat template.

    Args:
        template: Jinja source.
        begin: text of the begin-of-sequence token; where the conversation begins with it, it is left out.
        end: text of the end-of-sequence token.
        system: a message before the question; None leaves it to the template.

    Raises BundleError for a template that fails, or whose output has no single place for picture and question; the
    error shows the output.
    """
    request = json.dumps({"template": template, "begin": begin, "end": end, "system": system}, allow_nan=False)
    command = module_command("emo_edge.export.vlm.chat_template")
    try:
        done = subprocess.run(command, input=request.encode(), capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"the chat template ran for more than {SECONDS} s; {ADVICE}") from error
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    answer = json.loads(lines[-1]) if done.returncode == 0 and lines else {}
    if "missing" in answer:
        raise MissingExtraError('chat templates need Jinja. Run: pip install "emo-edge[export]"')
    rendered = answer.get("rendered", [])
    prompts = [prompt for text in rendered if (prompt := split_prompt(text, begin))]
    if prompts:
        return prompts[0]
    shown = quoted(rendered[0]) if rendered else answer.get("error") or f"it ended its process with {done.returncode}"
    raise BundleError(
        f"the chat template has no single place for a picture and a question behind it: {shown}; {ADVICE}"
    )


def split_prompt(text: str, begin: str = "") -> ChatPrompt | None:
    """Split a conversation at its picture; None where picture and question are not there once, in this order.

    ``begin`` is the text of the begin-of-sequence token.
    """
    before, mark, after = text.partition(PICTURE)
    begins = bool(begin) and before.startswith(begin)
    single = mark and PICTURE not in after and after.count(QUESTION) == 1 and QUESTION not in before
    return ChatPrompt(before.removeprefix(begin), after, begins) if single else None


def render(request: dict[str, Any]) -> dict[str, Any]:
    """Render the conversation as strings, then as lists of parts, as templates of either kind take it."""
    try:
        from jinja2.exceptions import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        return {"missing": "jinja2"}
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda _: ""
    texts, error = [], ""
    for messages in _conversations(request["system"]):
        try:
            texts.append(
                environment.from_string(request["template"]).render(
                    messages=messages,
                    add_generation_prompt=True,
                    bos_token=request["begin"],
                    eos_token=request["end"],
                    enable_thinking=False,
                    tools=None,
                )
            )
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as problem:
            error = printable(" ".join(f"{type(problem).__name__}: {problem}".split()))[:300]
        except MemoryError:
            error = f"it needs more than {CHILD_BYTES >> 30} GiB of memory"
    return {"rendered": [text for text in texts if len(text) <= LONGEST], "error": error}


def _conversations(system: str | None) -> Iterator[list[dict[str, Any]]]:
    text = PICTURE + QUESTION
    for content in (text, [{"type": "text", "text": text}]):
        instruction = system if isinstance(content, str) else [{"type": "text", "text": system}]
        before = [] if system is None else [{"role": "system", "content": instruction}]
        yield [*before, {"role": "user", "content": content}]


def _refuse(message: str) -> str:
    raise ValueError(message)


def main() -> None:
    """Read a request from standard input, print what it gives as JSON."""
    with suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (CHILD_BYTES, CHILD_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(json.dumps(render(json.load(sys.stdin)), allow_nan=False))


if __name__ == "__main__":
    main()
