"""Chat templates: rendered in a child, split at picture and question, refused with their output shown."""

from __future__ import annotations

import pytest

from emo_edge.benchmarks.random_vlm.text import CHATML, PARTS, VICUNA
from emo_edge.errors import BundleError
from emo_edge.export.vlm import chat_template
from emo_edge.export.vlm.chat_template import QUESTION, chat_prompt


@pytest.mark.parametrize(
    ("template", "before", "after"),
    [
        (VICUNA, "USER: ", f"{QUESTION} ASSISTANT:"),
        (CHATML, "<|im_start|>user\n", f"{QUESTION}<|im_end|>\n<|im_start|>assistant\n"),
        (PARTS, "<|im_start|>User: ", f"{QUESTION}<end_of_utterance>\nAssistant:"),
    ],
)
def test_templates_of_strings_and_of_parts_are_split(template: str, before: str, after: str) -> None:
    prompt = chat_prompt(template, "<s>", "</s>")
    assert (prompt.before, prompt.after) == (before, after)


def test_the_begin_of_sequence_is_left_out_and_remembered() -> None:
    prompt = chat_prompt(VICUNA, "<s>", "</s>")
    assert prompt.begins and not prompt.before.startswith("<s>")
    assert not chat_prompt(CHATML, "<s>", "</s>").begins


def test_a_system_message_comes_first() -> None:
    assert chat_prompt(CHATML, "", "", "Be brief.").before == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
    )


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("Hello", "'Hello'"),
        ("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}", "no single place"),
        ("{{ raise_exception('only text') }}", "only text"),
        ("{{ raise_exception('two\\n\x1b[31m lines') }}", r"ValueError: two \u001b[31m lines; give"),
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
    ],
)
def test_a_template_without_a_place_for_a_picture_is_shown(template: str, shown: str) -> None:
    with pytest.raises(BundleError, match="no single place for a picture and a question") as caught:
        chat_prompt(template, "", "")
    assert shown in str(caught.value) and "give `template`" in str(caught.value)


def test_an_endless_template_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "SECONDS", 1)
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(BundleError, match="ran for more than 1 s"):
        chat_prompt(loops, "", "")


def test_a_template_that_eats_memory_is_an_error() -> None:
    with pytest.raises(BundleError, match=r"no single place .*: it needs more than 1 GiB of memory; give `template`"):
        chat_prompt("{{ 'x' * 10**10 }}", "", "")
