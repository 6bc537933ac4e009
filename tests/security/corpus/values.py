"""Values that a field was not made for."""

from typing import Any

_DEEP: Any = "bottom"
for _ in range(60):
    _DEEP = [_DEEP]

NUMBERS: tuple[Any, ...] = (
    -1,
    0,
    2**31,
    2**63,
    2**64,
    -(2**64),
    10**400,
    0.5,
    -0.0,
    1e308,
    5e-324,
    float("nan"),
    float("inf"),
    float("-inf"),
)

TEXTS: tuple[str, ...] = (
    "",
    " ",
    "\n",
    "\t\r\n",
    "-1",
    "1e5",
    "nan",
    "0x10",
    "1_000",
    "١٢٣",
    "null",
    "None",
    "undefined",
    "\x00",
    "a\x00b",
    "\x1b[31mred",
    "\x7f\x80\x9f",
    "\ud800",
    "\udfff\ud800",
    "\u202egnp.exe",
    "\u2028",
    "\ufeff",
    "\uffff",
    "e\u0301" * 40,
    "\N{GRINNING FACE}" * 70,
    "../../../etc/passwd",
    "..\\..\\windows",
    "/etc/passwd",
    "file:///etc/passwd",
    "http://169.254.169.254/latest",
    "--help",
    "-m os",
    "--output_dir=/",
    "$(id)",
    "`id`",
    "; rm -rf /",
    "${HOME}",
    "{{7*7}}",
    "%s%n%d",
    "%00",
    "<img src=x onerror=alert(1)>",
    "'; DROP TABLE jobs;--",
    "*\r\nSET flant5:x 1\r\n",
    "a" * 65,
    "a" * 1025,
    "a" * 70_000,
)

STRUCTURES: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    [[]],
    [None],
    ["a", 1],
    {},
    {"": ""},
    {"a": {"b": {}}},
    {"__proto__": {"admin": True}},
    {"__class__": "os.system"},
    {"$ref": "#/"},
    _DEEP,
)

ANY: tuple[Any, ...] = (*NUMBERS, *TEXTS, *STRUCTURES)
