"""Holds the folders and single files of src/ to the floors of ci/floors.txt: floors.py [LIST].

A room may name only those rooms that its list entry names, and these stand below it. Inside a room at most
two files may need each other. Tests and models may look upwards."""

import sys
from collections import defaultdict
from pathlib import Path

from rust import Crate, resolve

# What hands on the public names of every room.
ABOVE = "lib"
LIST = Path(sys.argv[1] if len(sys.argv) > 1 else "ci/floors.txt")
SOURCE = Path("src")
faults = []


def read_list():
    """The rooms in their order, and for each those that it may see, with the line that says so."""
    rooms = {}
    room = None
    for number, line in enumerate(LIST.read_text().splitlines(), 1):
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if not line[0].isspace():
            room = words[0]
            if room in rooms:
                faults.append(f"{LIST}:{number}: `{room}` stands on two floors")
            rooms.setdefault(room, {})
        else:
            if len(words) < 2:
                faults.append(f"{LIST}:{number}: no reason is given why `{room}` sees `{words[0]}`")
            rooms[room][words[0]] = number
    order = list(rooms)
    for room, below in rooms.items():
        for seen, number in below.items():
            if seen not in rooms:
                faults.append(f"{LIST}:{number}: `{room}` sees `{seen}`, which stands on no floor")
            elif order.index(seen) <= order.index(room):
                faults.append(f"{LIST}:{number}: `{room}` may not see `{seen}`: `{seen}` stands above it")
    return rooms


def room_of(file):
    first = file.relative_to(SOURCE).parts[0]
    return first.removesuffix(".rs")


def is_test(module):
    parts = module.file.relative_to(SOURCE).parts
    return module.test or parts[-1] in ("tests.rs", "models.rs") or "tests" in parts[:-1]


def named(module, path):
    """The room that a path of `module` names first, but what lib.rs re-exports is its owner's."""
    absolute = list(module.path())
    for part in path:
        if part == "crate":
            absolute = ["crate"]
        elif part == "super":
            absolute.pop()
        elif part != "self":
            absolute.append(part)
    if len(absolute) < 2:
        return {ABOVE}
    children = module.root().children.get(absolute[1])
    if children:
        return {room_of(child.file) for child in children}
    return {room_of(owner.file) for owner, _ in resolve(module, path)}


def alternatives(crate):
    """For a file that stands for another one on other systems: that other one."""
    same = {}
    for module in (module for modules in crate.files.values() for module in modules):
        for children in module.children.values():
            same.update({child.file: children[-1].file for child in children[:-1]})
    return same


def edges(crate):
    """Each place where a room names another, and which files of its room a file needs, with a line."""
    between = defaultdict(list)  # (from, to): (file, line, path)
    within = defaultdict(dict)  # file: {file: line}
    same = alternatives(crate)
    for file, modules in crate.files.items():
        room = room_of(file)
        for module in modules:
            if is_test(module):
                continue
            for path, line, is_use, again in module.mentions:
                if path[0] in ("crate", "super"):
                    for other in named(module, path):
                        if other != room:
                            between[room, other].append((file, line, "::".join(path)))
                # What a room only hands on is not needed by who hands it on.
                if again and again not in module.words:
                    continue
                for owner, name in resolve(module, path):
                    one, other = same.get(file, file), same.get(owner.file, owner.file)
                    if room_of(other) != room or one == other or is_test(owner):
                        continue
                    # A module alone is no need; what is named in it is.
                    if name is not None or not is_use:
                        within[one].setdefault(other, line)
    return between, within


def circles(graph):
    """The sets of more than two files of which each needs each other."""
    index, low, stack, found = {}, {}, [], []

    def visit(file):
        index[file] = low[file] = len(index)
        stack.append(file)
        for other in graph.get(file, {}):
            if other not in index:
                visit(other)
                low[file] = min(low[file], low[other])
            elif other in stack:
                low[file] = min(low[file], index[other])
        if low[file] == index[file]:
            at = stack.index(file)
            if len(stack) - at > 2:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for file in list(graph):
        if file not in index:
            visit(file)
    return found


def shortest(graph, circle):
    """For each edge of a circle the shortest way round through it and a third file: what is best cut."""
    found = set()
    for start in circle:
        for second in graph[start]:
            ways = [[start, second]]
            for way in ways:
                nexts = [file for file in graph[way[-1]] if file in circle]
                if start in nexts and len(way) > 2:
                    first = way.index(min(way))
                    found.add(tuple(way[first:] + way[:first]))
                    break
                reached = {file for way in ways for file in way}
                ways += [[*way, file] for file in nexts if file not in reached]
    return sorted(found, key=lambda way: (len(way), way))


def main():
    rooms = read_list()
    order = list(rooms)
    sys.setrecursionlimit(10_000)
    between, within = edges(Crate(SOURCE / "lib.rs"))
    there = {room_of(path) for path in SOURCE.iterdir()} - {ABOVE, "bin"}
    for room in sorted(there - set(order)):
        faults.append(f"src/{room}: stands on no floor of {LIST}")
    for room in order:
        if room not in there:
            faults.append(f"{LIST}: `{room}` is no folder and no file of src/")
    for (room, other), places in sorted(between.items()):
        if room not in rooms or other in rooms[room] or other not in (ABOVE, *rooms):
            continue
        above = other == ABOVE or order.index(other) < order.index(room)
        why = f"`{other}` stands above it" if above else f"{LIST} has no line that says why it does"
        faults.append(f"`{room}` sees `{other}`, places: {len(places)}")
        for file, line, path in sorted(places):
            faults.append(f"  {file}:{line}: `{room}` may not see `{other}` ({path}): {why}")
    for room, below in rooms.items():
        for other, number in below.items():
            if room in there and other in there and (room, other) not in between:
                faults.append(f"{LIST}:{number}: `{room}` does not see `{other}` any more")
    for circle in circles(within):
        faults.append(f"{room_of(circle[0])}: a circle of {len(circle)} files, of two at most:")
        for file in circle:
            needs = sorted((line, other) for other, line in within[file].items() if other in circle)
            needs = ", ".join(f"{other} (line {line})" for line, other in needs)
            faults.append(f"  {file} needs {needs}")
        for way in shortest(within, circle):
            names = [str(file.relative_to(SOURCE)) for file in (*way, way[0])]
            faults.append(f"  round: {' -> '.join(names)}")
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        sys.exit(1)
    print(f"ok: {len(order)} rooms see only what stands below them")


main()
