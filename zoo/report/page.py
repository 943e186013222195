"""Reports as one HTML page that needs nothing else: no script, font or image from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo import __version__
from zoo.report.cells import Table
from zoo.train.run import Run

_HERE = Path(__file__).parent


def rendered(*, title: str, **shown: Any) -> str:
    """Return the page that shows what is given, by its template's names; what is left out has no section."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_HERE / "sort.js").read_text(encoding="utf-8").strip()
    return environment.get_template("page.html.jinja").render(
        **{**_NOTHING, **shown},
        title=title,
        version=__version__,
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        is_text=Table.is_text,
    )


_NOTHING: Mapping[str, Any] = {
    "about": (),
    "answer": "",
    "selection": (),
    "verdicts": [],
    "searched": [],
    "sentences": (),
    "sections": {},
    "arms": [],
    "fronts": (),
    "references": [],
    "proofs": {},
    "reasons": {},
    "methods": "",
    "provenance": {},
    "notes": (),
    "command": "",
    "refresh": 0,
}


def provenance(runs: Sequence[Run], **about: Sequence[str]) -> dict[str, str]:
    """Return what the figures depend on besides the specs, each with all values that occur.

    Args:
        runs: whose.
        about: further values by name, which come after those of the data.
    """

    def of(key: str) -> list[str]:
        return [str(run.provenance.get(key, "")) for run in runs]

    started = [time for time in of("started") if time]
    found: dict[str, Sequence[str]] = {
        "data set": [run.dataset for run in runs],
        "digest of the data": [run.key.dataset for run in runs],
        **{name.replace("_", " "): values for name, values in about.items()},
        "precision": [run.key.precision for run in runs],
        "device": of("device_name"),
        "engine": of("engine"),
        "threads": of("threads"),
        "zoo": of("zoo"),
        "torch": of("torch"),
        "Python": of("python"),
        "platform": of("platform"),
        "trained from": [min(started), max(started)] if started else [],
    }
    distinct = {name: list(dict.fromkeys(value for value in values if value)) for name, values in found.items()}
    joined = {name: (" to " if name == "trained from" else ", ").join(values) for name, values in distinct.items()}
    return {name: text for name, text in joined.items() if text}
