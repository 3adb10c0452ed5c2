"""Hooks of mkdocs: the README, the notebooks and the API reference become pages, and links to files follow them."""

from __future__ import annotations

import base64
import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "treg_exp"
#: Files beside docs/ that pages link to, and where they are in the site.
MOVED = {
    "README.md": "index.md",
    "LICENSE": "about/LICENSE.txt",
    "CITATION.cff": "about/CITATION.cff.txt",
    **{f"notebooks/{file.name}": f"notebooks/{file.stem}.md" for file in (ROOT / "notebooks").glob("*.ipynb")},
    **{
        file.relative_to(ROOT).as_posix(): f"about/{file.parent.name}.md"
        for file in sorted((PACKAGE / "assets").glob("*/README.md"))
    },
}
SOURCE = {site: repository for repository, site in MOVED.items()}
FORMULA = re.compile(r"\$([^$\n]+)\$")
LINK = re.compile(r"(\]\()([^)#\s]+)(#[^)\s]*)?(\))")
#: Packages of the reference in the order of a reader's need; modules beside them are "treg_exp" itself.
PACKAGES = (
    "api", "operators", "tasks", "solvers", "text", "priors", "schedule", "data", "signals", "metrics", "ambiguity",
    "reports", "findings", "sweeps", "engine", "training", "configuration", "numerics",
)  # fmt: skip


def on_config(config: Any) -> Any:
    """Put the pages of the reference into the menu."""
    entries = [{name: f"reference/{name}.md"} for name in PACKAGES]
    for section in config["nav"]:
        for items in section.values():
            for i, item in enumerate(items):
                if item == {"API reference": "reference/"}:
                    items[i] = {"API reference": entries}
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs/."""
    for name in PACKAGES:
        files.append(File.generated(config, f"reference/{name}.md", content=reference(name)))
    for repository, site in MOVED.items():
        file = ROOT / repository
        if file.suffix == ".ipynb":
            page, pictures = notebook(file)
            for name, data in pictures.items():
                files.append(File.generated(config, f"notebooks/{name}", content=data))
        else:
            page = file.read_text(encoding="utf-8")
        files.append(File.generated(config, site, content=page))
    linked = {target for file in MOVED for target in pictures_of(file)}
    for target in sorted(linked):  # of READMEs beside docs/
        files.append(File.generated(config, f"about/{target}", content=(ROOT / target).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links to files of the repository as links to their pages."""
    here = page.file.src_uri
    source = SOURCE.get(here, f"docs/{here}")

    def follow(match: re.Match[str]) -> str:
        before, target, anchor, after = match.groups()
        if "://" in target or target.startswith(("mailto:", "data:")):
            return match[0]
        repository = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if here.startswith("notebooks/") and not target.startswith(".."):
            return match[0]  # pictures of the notebook
        if repository in MOVED:
            site = MOVED[repository]
        elif repository.startswith("docs/"):
            site = repository.removeprefix("docs/")
        else:
            site = f"about/{repository}"
        return f"{before}{posixpath.relpath(site, posixpath.dirname(here) or '.')}{anchor or ''}{after}"

    return LINK.sub(follow, markdown)


def reference(name: str) -> str:
    """A page with every module of a package that has something public."""
    place = PACKAGE / name
    modules = [PACKAGE / f"{name}.py"] if not place.is_dir() else sorted(place.rglob("*.py"))
    lines = [f"# {name}", ""]
    for file in modules:
        if file.stem.startswith("_") and file.stem != "__init__":
            continue
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        dotted = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        lines += [f"::: {dotted}", "    options:", f"      heading: {dotted.removeprefix('treg_exp.')}", ""]
    return "\n".join(lines)


def pictures_of(file: str) -> list[str]:
    """Files of the repository outside of docs/ that a page links to, apart from pages."""
    if not file.endswith(".md"):
        return []
    text = (ROOT / file).read_text(encoding="utf-8")
    targets = (match[2] for match in LINK.finditer(text) if "://" not in match[2])
    paths = [posixpath.normpath(posixpath.join(posixpath.dirname(file), target)) for target in targets]
    return [path for path in paths if path not in MOVED and not path.startswith("docs/") and (ROOT / path).is_file()]


def notebook(file: Path) -> tuple[str, dict[str, bytes]]:
    """An executed notebook as a page, and its pictures by name."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(FORMULA.sub(formula, source))
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{file.stem}_{len(pictures)}.png"
                pictures[name] = base64.b64decode("".join(data["image/png"]))
                width = output.get("metadata", {}).get("image/png", {}).get("width")
                parts.append(f"![]({name})" + (f"{{ width={width} }}" if width else ""))
            elif "text/markdown" in data:
                parts.append("".join(data["text/markdown"]))
            elif text := "".join(output.get("text", data.get("text/plain", ()))):
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n", pictures


def formula(match: re.Match[str]) -> str:
    """A short formula of a notebook in italics: no script from elsewhere is needed to show it."""
    return "<em>" + re.sub(r"_(\w)", r"<sub>\1</sub>", match[1]) + "</em>"
