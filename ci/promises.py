"""Holds docs/promises.md and the behaviour suite together: promises.py [--write].

The document says what is promised and since when, the lists of the suite which test holds which row.
With --write the document is told who holds what."""

import re
import sys
import textwrap
from pathlib import Path

DOCUMENT = Path("docs/promises.md")
SUITE = Path("uring-tests/tests/behaviours")
# The tests of the suite about itself hold no promise to users.
ITSELF = "suite.rs"
WIDTH = 116

ROW = re.compile(r"- \*\*(?P<row>[A-Z]\d+)\*\* (?P<rest>.*)")
SINCE = re.compile(r"\((\d+\.\d+\.\d+)\) \S")
ENTRY = re.compile(r'\w+: (?P<rows>"[^"]*"(?:\s*\|\s*"[^"]*")*) => (?P<test>\w+)')

faults = []


def read_suite():
    """For each test its rows, and the place where it is listed."""
    tests = {}
    for file in sorted(SUITE.glob("*.rs")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if entry := ENTRY.search(line):
                rows = [row for row in re.findall(r'"([^"]*)"', entry["rows"]) if row]
                if not rows and file.name != ITSELF:
                    faults.append(f"{file}:{number}: `{entry['test']}` holds no row of {DOCUMENT}")
                tests[entry["test"]] = (rows, f"{file}:{number}")
    return tests


def read_document():
    """The document as paragraphs: text as it is, and rows as (row, line, what is said of it)."""
    parts = []
    for number, line in enumerate(DOCUMENT.read_text().splitlines(), 1):
        if match := ROW.match(line):
            parts.append([match["row"], number, match["rest"]])
        elif line.startswith("  ") and parts and isinstance(parts[-1], list):
            parts[-1][2] += " " + line.strip()
        else:
            parts.append(line)
    return parts


def holders(text):
    """The promise itself, and who holds it: tests, and scripts by their paths."""
    promise, _, held = text.partition(" Held by ")
    return promise, re.findall(r"`([^`]+)`", held)


def check(parts, tests):
    version = re.search(r'^version = "(.*)"', Path("Cargo.toml").read_text(), re.MULTILINE)[1]
    rows = {}
    for row, number, text in (part for part in parts if isinstance(part, list)):
        place = f"{DOCUMENT}:{number}: {row}"
        if row in rows:
            faults.append(f"{place} is there twice")
        rows[row] = number
        if not (since := SINCE.match(text)):
            faults.append(f"{place} does not say since when, and what")
        elif parsed(since[1]) > parsed(version):
            faults.append(f"{place} is promised since {since[1]}, and this is {version}")
        said = holders(text)[1]
        if not said:
            faults.append(f"{place} is held by no test")
        for name in said:
            if "/" in name:
                if not Path(name).exists():
                    faults.append(f"{place} is held by `{name}`, which does not exist")
            elif name not in tests:
                faults.append(f"{place} is held by `{name}`, which is no test")
            elif row not in tests[name][0]:
                faults.append(f"{tests[name][1]}: `{name}` does not name {row}, which it is said to hold")
        for name, (names, listed) in tests.items():
            if row in names and name not in said:
                faults.append(f"{place} does not say that `{name}` holds it: `ci/promises.py --write` will")
    for name, (names, listed) in tests.items():
        for row in names:
            if row not in rows:
                faults.append(f"{listed}: `{name}` holds {row}, and {DOCUMENT} has no such row")
    return len(rows)


def parsed(version):
    return [int(number) for number in version.split(".")]


def write(parts, tests):
    lines = []
    for part in parts:
        if isinstance(part, list):
            row, _, text = part
            promise, said = holders(text)
            held = [name for name in said if "/" in name]
            held += [name for name, (rows, _) in tests.items() if row in rows]
            text = f"- **{row}** {promise}"
            if held:
                text += " Held by " + ", ".join(f"`{name}`" for name in held) + "."
            lines += textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
        else:
            lines.append(part)
    DOCUMENT.write_text("\n".join(lines) + "\n")


def main():
    tests = read_suite()
    if sys.argv[1:] == ["--write"]:
        write(read_document(), tests)
    count = check(read_document(), tests)
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        sys.exit(1)
    print(f"ok: {count} promises are held by {len(tests)} tests")


main()
