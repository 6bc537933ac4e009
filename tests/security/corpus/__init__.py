"""The malformed inputs, by class; the same ones in every run."""

from collections.abc import Callable, Iterable, Mapping

from tests.security.corpus.addresses import methods, paths, queries
from tests.security.corpus.bodies import bodies
from tests.security.corpus.forms import forms
from tests.security.corpus.headings import headers, keys, sizes
from tests.security.corpus.raw import raw
from tests.security.corpus.specs import announcements, real_specs, specs
from tests.security.malformed import Malformed, Raw
from tests.security.victim import Victim

CLASSES: Mapping[str, Callable[[Victim], Iterable[Malformed | Raw]]] = {
    "job specs": specs,
    "job specs on a real file": real_specs,
    "uploads and completions": announcements,
    "JSON bodies": bodies,
    "multipart forms": forms,
    "paths": paths,
    "query strings": queries,
    "methods": methods,
    "headers": headers,
    "keys": keys,
    "sizes": sizes,
    "raw bytes": raw,
}
