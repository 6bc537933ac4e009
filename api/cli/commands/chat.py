"""`flant5 chat`: chats with a model in the terminal."""

import json
import sys
import unicodedata
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer

from api.cli import options
from api.cli.client import Client, CommandError, Json, reported
from api.cli.commands.jobs import parse_override
from api.cli.settings import ClientSettings
from api.cli.views.format import print_json

_PATH = "/chat/completions"
_HELP = "/reset clears the conversation, /system [TEXT] sets or clears the system message, "
_HELP += "/quit exits"


class ChatHistory:
    """The messages so far, and the settings of each request."""

    def __init__(self, request: Json, *, system: str | None) -> None:
        self._request = request
        self._system = system
        self._messages: list[Json] = []

    def reset(self) -> None:
        self._messages = []

    def set_system(self, text: str) -> None:
        """Sets the system message and clears the conversation, which had another one."""
        self._system = text or None
        self.reset()

    def body(self, text: str) -> Json:
        """Returns the request body for the next message."""
        system = [{"role": "system", "content": self._system}] if self._system else []
        question = {"role": "user", "content": text}
        messages = [*system, *self._messages, question]
        return {**self._request, "messages": messages}

    def keep(self, text: str, answer: str) -> None:
        """Appends a question and its answer to the conversation."""
        self._messages += [
            {"role": "user", "content": text},
            {"role": "assistant", "content": answer},
        ]


def chat(
    model: Annotated[
        str,
        typer.Argument(
            help="A fine-tuned model, a checkpoint, or a base model.",
            autocompletion=options.model_ids,
        ),
    ],
    message: Annotated[
        str | None,
        typer.Option("--message", "-m", help='Ask one question and exit ("-" for stdin).'),
    ] = None,
    system: Annotated[str | None, typer.Option(help="System message.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting, such as temperature=0.7, max_tokens=200 or seed=1."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each answer as one line of JSON.")
    ] = False,
) -> None:
    """Chat with a model. Commands: /reset, /system [TEXT], /quit."""
    with reported(as_json=as_json), Client(ClientSettings()) as client:
        conversation = ChatHistory(
            {"model": model, **dict(map(parse_override, settings or []))}, system=system
        )
        answering = _show_document if as_json else _say
        if message is None:
            # Reports an unknown model before the first question is typed.
            client.get(f"/models/{quote(model, safe='')}")
            _talk(conversation, partial(answering, client))
            return
        text = sys.stdin.read() if message == "-" else message
        answering(client, conversation.body(text))


def _talk(conversation: ChatHistory, answering: Callable[[Json], str]) -> None:
    """Runs until end of input or /quit. An error prints one line and keeps the conversation."""
    if sys.stdin.isatty():
        import readline  # noqa: F401 - makes `input` an editor with a history

        typer.echo(_HELP, err=True)
    while True:
        try:
            text = input("> " if sys.stdin.isatty() else "")
        except (EOFError, KeyboardInterrupt):
            typer.echo("", err=True)
            return
        command, _, rest = text.strip().partition(" ")
        if command == "/quit":
            return
        if command == "/reset":
            conversation.reset()
        elif command == "/system":
            conversation.set_system(rest.strip())
        elif command.startswith("/"):
            typer.echo(f"unknown command {command}; {_HELP}", err=True)
        elif text.strip():
            _ask(conversation, text, answering)


def _ask(conversation: ChatHistory, text: str, answering: Callable[[Json], str]) -> None:
    try:
        answer = answering(conversation.body(text))
    except CommandError as error:
        typer.echo(f"flant5: {error}", err=True)
    except KeyboardInterrupt:
        typer.echo("\n(stopped)", err=True)
    else:
        conversation.keep(text, answer)


def _show_document(client: Client, body: Json) -> str:
    """Prints the JSON of the answer and returns its text."""
    document = client.post(_PATH, body, timeout=None)
    print_json(document)
    text: str = document["choices"][0]["message"]["content"]
    return text


def _answer(client: Client, body: Json) -> Iterator[str]:
    """Streams the text of the answer. Raises CommandError if the stream breaks."""
    try:
        with client.stream(_PATH, body={**body, "stream": True}) as response:
            for line in response.iter_lines():
                data = line.removeprefix("data: ")
                if not line.startswith("data: ") or data == "[DONE]":
                    continue
                event: Any = json.loads(data)
                if "error" in event:
                    raise CommandError(event["error"]["message"])
                yield from (choice["delta"].get("content", "") for choice in event["choices"])
    except httpx.HTTPError as error:
        raise client.unreachable(error) from error


def _say(client: Client, body: Json) -> str:
    """Prints the answer while it streams and returns its text."""
    parts = []
    for text in _answer(client, body):
        parts.append(text)
        typer.echo(printable(text), nl=False)
        sys.stdout.flush()
    typer.echo("")
    return "".join(parts)


def printable(text: str) -> str:
    r"""Escapes control characters, which could control the terminal.

    >>> printable("a\tb\n\x1b[2J")
    'a\tb\n\\x1b[2J'
    """
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) != "Cc"
        else character.encode("unicode_escape").decode()
        for character in text
    )
