"""Finds names in backticks, in comments and documents, of what is not there any more: names.py [FILE...].

A name is there if it occurs in code, in a string of it, in a manifest or in a script; a path, if there is such
a file. What belongs to the kernel, to the standard library or to a tool stands in ci/names.txt."""

import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

from rust import scan

ELSEWHERE = Path("ci/names.txt")
# Those that tell what was.
HISTORY = {"CHANGELOG.md"}
NAME = r"[A-Za-z_][A-Za-z0-9_]*"
# A name, or a path of names, perhaps called, perhaps of something generic.
SINGLE = re.compile(rf"[#&*.]?(?:{NAME}(?:<[^`]*>)?)(?:(?:::|\.){NAME}(?:<[^`]*>)?)*(?:!|\(.*\))?")
# In a command or an expression only what can be nothing but a name of Rust is looked for.
AMONG = re.compile(rf"(?:{NAME}::)+{NAME}|\b[a-z]\w*_\w+\b|\b[A-Z][a-z]+[A-Z]\w*\b")
FILE = re.compile(r"[\w.{},*/-]+\.(?:rs|sh|py|md|toml|txt|json|yml)|(?:[\w.{},*-]+/)+[\w.{},*-]*")


def tracked():
    names = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True).stdout
    return [Path(name) for name in names.splitlines() if Path(name).is_file()]


def words(text):
    return re.findall(NAME, text)


def read(files):
    """What there is, and what is said: the names in code, and the comments with their places."""
    there, said = set(), []
    # The names of files that programs write are in their strings.
    written = set()
    for file in files:
        there.update(words(str(file)))
        if file.suffix == ".rs":
            block, start, last = [], 0, 0
            for kind, text, line in scan(file.read_text()):
                if kind != "comment":
                    there.update(words(text))
                    if kind == "string":
                        written.add(text.strip('"'))
                    continue
                if block and line != last + 1:
                    said.append((file, start, "\n".join(block)))
                    block = []
                if not block:
                    start = line
                block.append(re.sub(r"^\s*//[/!]?", "", text))
                last = line + text.count("\n")
            if block:
                said.append((file, start, "\n".join(block)))
        elif file.suffix == ".md":
            if file.name not in HISTORY:
                said.append((file, 1, file.read_text()))
        elif file.suffix in (".toml", ".sh", ".py", ".json", ".lock") or file.parts[0] == ".ci":
            text = file.read_text()
            there.update(words(re.sub(r"^\s*#[^!].*$", "", text, flags=re.MULTILINE)))
    return there | written, said


def spans(text):
    """What stands in backticks, and the line in the text; and the lines of pictures. Code is compiled."""
    for block in re.finditer(r"^ *```text$(.*?)^ *```", text, re.M | re.S):
        first = text[: block.start()].count("\n")
        for number, line in enumerate(block[1].split("\n")):
            yield f" {line} ", first + number
    text = re.sub(r"^ *```.*?^ *```", lambda block: "\n" * block[0].count("\n"), text, flags=re.M | re.S)
    for match in re.finditer(r"``([^`].*?)``|`([^`]+)`", text):
        yield (match[1] or match[2]).strip(), text[: match.start()].count("\n")


def expand(path):
    """A path with a choice in braces is several."""
    if choice := re.search(r"\{([^{}]*)\}", path):
        ends = path[: choice.start()], path[choice.end() :]
        return [one for part in choice[1].split(",") for one in expand(part.strip().join(ends))]
    return [path]


def exists(path, files):
    """Whether a path is that of a file or folder, from the root or from any folder."""
    pattern = re.escape(path.rstrip("/")).replace(r"\*", "[^/]*")
    return any(re.search(rf"(^|/){pattern}(/|$)", str(file)) for file in files)


def dead(span, there, files):
    """The names of a span that are not there."""
    if FILE.fullmatch(span):
        paths = [path for path in expand(span) if not path.startswith(("/", "target/"))]
        return [path for path in paths if path not in there and not exists(path, files)]
    names = [span] if SINGLE.fullmatch(span) else AMONG.findall(span)
    names = [word for name in names for word in words(re.sub(r"\(.*|<.*?>", "", name))]
    if "cargo test" in span:
        # A part of a test's name chooses it.
        return [word for word in names if not any(word in name for name in there)]
    return [word for word in names if word not in there]


def main():
    files = tracked()
    there, said = read(files)
    listed = [line for line in ELSEWHERE.read_text().splitlines() if not line.startswith("#")]
    faults, used = [], set()
    if listed != sorted(set(listed)):
        faults.append(f"{ELSEWHERE} is not sorted")
    for file, start, text in said:
        if sys.argv[1:] and str(file) not in sys.argv[1:]:
            continue
        for span, line in spans(text):
            for name in dead(span, there, files):
                entry = next((entry for entry in listed if fnmatchcase(name, entry)), None)
                used.add(entry)
                if entry is None:
                    faults.append(f"{file}:{start + line}: `{span.strip()}`: there is no `{name}`")
    if not sys.argv[1:]:
        for name in listed:
            if name not in used:
                faults.append(f"{ELSEWHERE}: nobody names `{name}` any more, or it is in the code")
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        sys.exit(1)
    print("ok: what stands in backticks is there")


main()
