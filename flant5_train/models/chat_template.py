"""Prompt format as a Jinja chat template of the exported tokenizer.

`tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)` renders the
same text as `prompt.render_prompt`; a test compares the two.
"""

import json

from flant5_train.data.prompt import ANSWER_END, ASSISTANT, HEADER_END, HUMAN, SYSTEM, TURN_END
from flant5_train.protocol.turns import JOINT, ROLES, Role


def _names_of(role: Role) -> list[str]:
    return [name for name, each in ROLES.items() if each is role]


_NAMES = {
    "system_roles": _names_of(Role.SYSTEM),
    "user_roles": _names_of(Role.HUMAN),
    "assistant_roles": _names_of(Role.GPT),
    "system": SYSTEM,
    "header_end": HEADER_END,
    "human": HUMAN,
    "turn_end": TURN_END,
    "assistant": ASSISTANT,
    "answer_end": ANSWER_END,
    "joint": JOINT,
}

# One statement per line, with white space trimmed: no engine adds a character.
_PROGRAM = """\
{%- macro written(role, text, before) -%}
{%- if role == 'system' -%}
{{- text + header_end -}}
{%- elif role == 'user' -%}
{{- human + text + turn_end -}}
{%- elif role == 'assistant' -%}
{{- (assistant if before == 'user' else '') + text + answer_end -}}
{%- endif -%}
{%- endmacro -%}
{%- set ns = namespace(before='', role='', text='', new_role='', new_text='') -%}
{%- if messages[0]['role'] | lower not in system_roles -%}
{{- system + header_end -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message['role'] | lower in system_roles -%}
{%- set ns.new_role = 'system' -%}
{%- elif message['role'] | lower in user_roles -%}
{%- set ns.new_role = 'user' -%}
{%- elif message['role'] | lower in assistant_roles -%}
{%- set ns.new_role = 'assistant' -%}
{%- else -%}
{{- raise_exception('a message has an unknown role; expected system, user or assistant') -}}
{%- endif -%}
{%- set content = message['content'] -%}
{%- if content is string -%}
{%- set ns.new_text = content -%}
{%- elif content is undefined or content is not iterable or content is mapping -%}
{{- raise_exception('a message has no content; expected a string or text parts') -}}
{%- else -%}
{%- set ns.new_text = '' -%}
{%- for part in content -%}
{%- if part['type'] != 'text' -%}
{{- raise_exception('a message has content that is not text; expected a string or text parts') -}}
{%- endif -%}
{%- set ns.new_text = ns.new_text + part['text'] -%}
{%- endfor -%}
{%- endif -%}
{%- if ns.new_role != ns.role -%}
{%- if ns.new_role == 'system' and not loop.first -%}
{{- raise_exception('a system message follows others; expected it before them') -}}
{%- endif -%}
{{- written(ns.role, ns.text, ns.before) -}}
{%- set ns.before = ns.role -%}
{%- set ns.role = ns.new_role -%}
{%- set ns.text = ns.new_text -%}
{%- elif ns.new_text | trim -%}
{%- if ns.text | trim -%}
{%- set ns.text = ns.text + joint + ns.new_text -%}
{%- else -%}
{%- set ns.text = ns.new_text -%}
{%- endif -%}
{%- endif -%}
{%- endfor -%}
{{- written(ns.role, ns.text, ns.before) -}}
{%- if add_generation_prompt -%}
{%- if ns.role != 'user' -%}
{{- raise_exception('the last message is not a user message; expected one to answer') -}}
{%- endif -%}
{{- assistant -}}
{%- endif -%}
"""


def _literal(value: object) -> str:
    """Returns a string or a list of strings as a Jinja literal, which is JSON.

    Line ends are escaped as \\n: tools may convert the template's own line ends.
    """
    return json.dumps(value)


def _template() -> str:
    names = (f"{{%- set {name} = {_literal(value)} -%}}" for name, value in _NAMES.items())
    return "\n".join([*names, _PROGRAM])


CHAT_TEMPLATE = _template()
"""Template for system, user and assistant messages with a string or text parts as content.

Neighbours of one role are joined, as in files and chat. Training leaves out a question without an
answer. The template renders it, followed by the answer marker if `add_generation_prompt` is true.
"""
