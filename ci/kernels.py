"""What a booted kernel has said, judged; and the table of all of them.

Usage: kernels.py check [--update] KERNEL CONSOLE
       kernels.py table
"""

import json
import pathlib
import re
import sys

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "docs" / "kernels"
ORDER = ["5.10", "6.1", "6.12", "newest"]
MARKS = {"works": "yes", "absent": "", "refused": "refused", "broken": "broken", "untried": "?"}


def fail(words):
    sys.exit(f"FAILED: {words}")


def sections(console):
    """The console's parts, by the words behind `===`."""
    text = pathlib.Path(console).read_text(errors="replace").replace("\r", "")
    parts, name = {}, None
    for line in text.splitlines():
        if line.startswith("=== "):
            name = line[4:]
            parts[name] = []
        elif name is not None:
            parts[name].append(line)
    return {name: "\n".join(lines) for name, lines in parts.items()}


def outcomes(report):
    return {f"{c['group']} {c['name']}": c["outcome"] for c in report["checks"]}


def judged(report):
    """What of a verdict is the kernel's doing; the features in use are ringpark's as well."""
    verdict = report["verdict"]
    return verdict["backend"], [finding["cause"] for finding in verdict["findings"]]


def check(kernel, console, update):
    parts = sections(console)
    if "end" not in parts:
        fail(f"it did not come to its end; the last part is {list(parts)[-1:]}")
    try:
        report = json.loads(parts["json"])
    except (KeyError, json.JSONDecodeError) as error:
        fail(f"the probe printed no JSON: {error}\n{parts.get('json', '')[:2000]}")
    release, backend = report["system"]["release"], report["verdict"]["backend"]
    print(f"   {release}: {backend}, {report['verdict']['reason'][:160]}")
    print(f"   the probe took {report['took_us'] // 1000} ms here")

    # What the probe chose is what the example runs on.
    example = parts["echo"]
    if f"answer=hello from {release}" not in example:
        fail(f"the echo example did not answer:\n{example}")
    if not re.search(rf"backend=\W*{backend}\b", example):
        fail(f"the echo example does not run on {backend}:\n{example}")
    print(f"   the echo example answers, on {backend}")

    widest = max(len(line) for line in parts["page"].splitlines())
    if widest > 80:
        fail(f"a line of the page has {widest} columns")
    for name, text in parts.items():
        if not name.startswith("suite "):
            continue
        result = re.search(r"test result: (\w+)\. (\d+) passed; (\d+) failed; (\d+) ignored", text)
        if not result or result[1] != "ok" or int(result[2]) == 0:
            fail(f"the {name}:\n{text}")
        print(f"   {name}: {result[2]} passed, {result[4]} have no such backend here")

    broken = [c for c in report["checks"] if c["outcome"] == "broken"]
    for c in broken:
        print(f"   broken: {c['name']}: {c['reason']}")
    file = FOLDER / f"{kernel}.json"
    if update:
        # What differs from boot to boot is no fixture.
        report["took_us"] = 0
        FOLDER.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(report, indent=1) + "\n")
        print(f"   written: {file.relative_to(FOLDER.parent.parent)}")
        return
    known = json.loads(file.read_text())
    if kernel == "newest" and known["system"]["release"] != release:
        print(f"   not compared: {file.name} is of {known['system']['release']}")
        return
    if judged(known) != judged(report):
        fail(f"the verdict was {judged(known)} and is {judged(report)}")
    before, after = outcomes(known), outcomes(report)
    changed = [k for k in before | after if before.get(k) != after.get(k)]
    if changed:
        lines = [f"{k}: {before.get(k)} -> {after.get(k)}" for k in changed]
        fail("not what is known of this kernel:\n" + "\n".join(lines))
    print(f"   all {len(after)} outcomes are what is known of this kernel")


def table():
    reports = [json.loads((FOLDER / f"{name}.json").read_text())
               for name in ORDER if (FOLDER / f"{name}.json").exists()]
    names = [re.match(r"\d+\.\d+", r["system"]["release"])[0] for r in reports]
    print("# What real kernels can do\n")
    print("Made by `ci/kernels.sh --update` from [the reports](kernels/) of the probe, each from a real")
    print("kernel of Debian under emulation, as root. `yes` means that it was tried from end to end and")
    print("works; empty means that the kernel does not know it.\n")
    row("", names)
    row("---", ["---"] * len(names))
    row("release", [f"`{r['system']['release']}`" for r in reports])
    row("**backend chosen**", [f"**{r['verdict']['backend']}**" for r in reports])
    row("features in use", [", ".join(r["verdict"]["features"]) for r in reports])
    row("rings are charged to locked memory",
        [{True: "yes", False: "no", None: "?"}[r["memory"]["charged"]] for r in reports])
    for group, title in [("setup", "flags of io_uring_setup"), ("feature", "feature bits"),
                         ("opcode", "opcodes"), ("register", "operations of io_uring_register")]:
        row(title, [count(r, group) for r in reports])
    tried = []
    for report in reports:
        for one in report["checks"]:
            if one["group"] in ("backend", "function") and one["name"] not in tried:
                tried.append(one["name"])
    for name in tried:
        marks = []
        for report in reports:
            found = [c for c in report["checks"]
                     if c["name"] == name and c["group"] in ("backend", "function")]
            marks.append(MARKS[found[0]["outcome"]] if found else "?")
        row(f"`{name}`", marks)


def count(report, group):
    return str(sum(c["group"] == group and c["outcome"] == "works" for c in report["checks"]))


def row(name, cells):
    print("| " + " | ".join([name, *cells]) + " |")


match sys.argv[1:]:
    case ["check", kernel, console]:
        check(kernel, console, False)
    case ["check", "--update", kernel, console]:
        check(kernel, console, True)
    case ["table"]:
        table()
    case _:
        sys.exit(__doc__)
