"""A page a study, from the record of its last full run: question, figure, claims."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "figures"
INDEX = """# Studies

Each study asks one question, draws its figure and checks its claims: `pdekit run NAME` repeats it,
`--quick` on a smaller scale. What is below is of the committed runs.

```{{toctree}}
:hidden:

{names}
```

{cards}
"""
CARD = """```{{figure}} ../../figures/{name}.png
:alt: {question}
:figclass: study
:target: {name}.html

[{name}]({name}.md): {question}
```
"""
PAGE = """# {name}

**{question}**

```{{figure}} ../../figures/{name}.png
:alt: The figure of the study {name}
```

{about}

    pdekit run {name}

{count} claims, {holds} of which hold:

| claim | measured | | bound | |
| --- | --- | --- | --- | --- |
{rows}
"""


def page(name: str, record: dict[str, Any]) -> str:
    claims = record["claims"]
    rows = "\n".join(
        f"| {plain(c['text'])} | {c['measured']:.4g} | {plain(c['relation'])} | {c['bound']:.4g} | "
        f"{'holds' if c['holds'] else '**fails**'} |"
        for c in claims
    )
    return PAGE.format(
        name=name, question=plain(record["question"]), about=plain(record["about"]),
        count=len(claims), holds=sum(c["holds"] for c in claims), rows=rows,
    )  # fmt: skip


def plain(text: str) -> str:
    """Text as it stands, in Markdown."""
    for mark in "\\|*_<[$":
        text = text.replace(mark, "\\" + mark)
    return text


def write(app: Any) -> None:
    """Before pages are looked for."""
    folder = Path(app.srcdir) / "studies"
    folder.mkdir(exist_ok=True)
    records = {p.stem: json.loads(p.read_text("utf-8")) for p in sorted(FIGURES.glob("*.json"))}
    for name, record in records.items():
        renew(folder / f"{name}.md", page(name, record))
    cards = [CARD.format(name=n, question=plain(r["question"])) for n, r in records.items()]
    names, all_cards = "\n".join(records), "\n".join(cards)
    renew(folder / "index.md", INDEX.format(names=names, cards=all_cards))


def renew(path: Path, text: str) -> None:
    """Write what is new, so that the rest is not built again."""
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


def setup(app: Any) -> dict[str, Any]:
    app.connect("builder-inited", write, priority=100)
    return {"version": "1", "parallel_read_safe": True}
