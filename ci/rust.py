"""Reads Rust as far as the lints need it: tokens with their lines, modules, and who names whom."""

import re
from pathlib import Path

TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>//[^\n]*)
  | (?P<block>/\*)
  | (?P<raw>[bc]?r(?P<hashes>\#*)"(?:.*?)"(?P=hashes))
  | (?P<string>[bc]?"(?:\\.|[^"\\])*")
  | (?P<char>b?'(?:\\(?:x..|u\{[^}]*\}|.)|[^'\\])')
  | (?P<lifetime>'[A-Za-z_]\w*)
  | (?P<name>(?:r\#)?[A-Za-z_]\w*)
  | (?P<number>[0-9][\w]*)
  | (?P<path>::)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


def scan(text):
    """Yields (kind, text, line) of each token, comments and strings among them, but no space."""
    at, line = 0, 1
    while at < len(text):
        match = TOKEN.match(text, at)
        kind, end = match.lastgroup, match.end()
        if kind == "hashes" or match.group("raw"):
            kind = "string"
        if kind == "block":
            depth, kind = 1, "comment"
            for mark in re.finditer(r"/\*|\*/", text[end:]):
                depth += 1 if mark.group() == "/*" else -1
                if depth == 0:
                    end += mark.end()
                    break
        token = text[at:end]
        if kind != "space":
            yield kind, token, line
        line += token.count("\n")
        at = end


class Code:
    """The tokens of a file without its comments, and a place in them."""

    def __init__(self, text):
        self.tokens = [token for token in scan(text) if token[0] != "comment"]

    def text(self, at):
        return self.tokens[at][1] if at < len(self.tokens) else ""

    def closing(self, at):
        """The place after the bracket that closes the one at `at`."""
        depth = 0
        while at < len(self.tokens):
            kind, text, _ = self.tokens[at]
            if kind == "other":
                depth += (text in "([{") - (text in ")]}")
            at += 1
            if depth == 0:
                return at
        return at

    def item_end(self, at):
        """The place after the item, field or statement that begins at `at`."""
        is_use = False
        is_item = False
        while at < len(self.tokens):
            kind, text, _ = self.tokens[at]
            if kind == "name":
                is_use = is_use or (text == "use" and not is_item)
                is_item = is_item or text in ITEMS
            elif kind == "other":
                if text == ";" or (text == "," and not is_item):
                    return at + 1
                if text in ")]}":
                    return at
                if text in "([{":
                    at = self.closing(at)
                    if text == "{" and not is_use:
                        return at
                    continue
            at += 1
        return at


ITEMS = {"fn", "struct", "enum", "trait", "type", "const", "static", "union", "mod", "impl", "use", "let"}
DEFINING = {"fn", "struct", "enum", "trait", "type", "const", "static", "union", "mod"}


def never_outside_tests(tokens):
    """Whether a `cfg` of these tokens can only hold in a test."""
    words = [text for _, text, _ in tokens]

    def value(at):
        """What the predicate at `at` is without `test`: True, False or None for unknown, and where it ends."""
        name, at = words[at], at + 1
        if at < len(words) and words[at] == "(":
            parts, at = [], at + 1
            while words[at] != ")":
                part, at = value(at)
                parts.append(part)
                if words[at] == ",":
                    at += 1
            at += 1
            if name == "not":
                return (None if parts[0] is None else not parts[0]), at
            least, most = (False, True) if name == "all" else (True, False)
            if least in parts:
                return least, at
            return (None if None in parts else most), at
        if at < len(words) and words[at] == "=":
            return None, at + 2
        return (False if name == "test" else None), at

    return value(0)[0] is False


class Module:
    """A module as one file, or a part of it, declares it."""

    def __init__(self, parent, name, file, folder, test):
        self.parent, self.name, self.file, self.folder, self.test = parent, name, file, folder, test
        self.children = {}  # name: modules, more than one where systems differ
        self.defined = set()
        self.uses = {}  # name: paths
        self.globs = []  # paths
        self.mentions = []  # (path, line, is a use, the name by which it is handed on or False)
        self.words = set()  # what is named outside of `use`

    def root(self):
        return self.parent.root() if self.parent else self

    def path(self):
        return (self.parent.path() if self.parent else ()) + (self.name,)


class Crate:
    """The modules of the crate whose root is `root`: all of `files` that it declares."""

    def __init__(self, root):
        self.files = {}  # path: modules
        self.root = Module(None, "crate", Path(root), Path(root).parent, False)
        self.read(self.root)

    def read(self, module):
        self.files.setdefault(module.file, []).append(module)
        Reader(self, module).read()


class Reader:
    """Reads one file into its module, and goes on with the modules that it declares."""

    def __init__(self, crate, module):
        self.crate, self.module = crate, module
        self.code = Code(module.file.read_text())

    def read(self):
        self.items(0, len(self.code.tokens), self.module)

    def items(self, at, end, module):
        code = self.code
        test, paths, public = False, [], False
        while at < end:
            kind, text, line = code.tokens[at]
            if text == "#" and kind == "other":
                start = at + 2 if code.text(at + 1) == "!" else at + 1
                if code.text(start) == "[":
                    close = code.closing(start)
                    inside = code.tokens[start + 1 : close - 1]
                    if inside and inside[0][1] == "cfg":
                        test = test or never_outside_tests(inside[2:-1])
                    for index, token in enumerate(inside):
                        if token[1] == "path" and inside[index + 1][1] == "=":
                            paths.append((inside[0][1] == "path", inside[index + 2][1][1:-1]))
                    at = close
                    if test and code.text(at) != "#" and not self.declares(at):
                        at = code.item_end(at)
                        test, paths = False, []
                    continue
            if text == "pub":
                public = True
                at += 1
                if code.text(at) == "(" and code.text(at + 1) in ("crate", "super", "self", "in"):
                    at = code.closing(at)
                continue
            if text == "use" and kind == "name" and code.text(at + 1) != "<":
                at = self.use(at + 1, module, public)
            elif text == "mod" and kind == "name" and code.text(at + 2) in (";", "{"):
                at = self.mod(at, module, test, paths)
            elif kind == "name" and text in DEFINING and code.tokens[at + 1][0] == "name":
                module.defined.add(code.text(at + 1))
                at += 1
            elif text == "macro_rules":
                module.defined.add(code.text(at + 2))
                module.root().defined.add(code.text(at + 2))
                at += 3
            elif kind == "name" and code.text(at + 1) == "!" and code.text(at + 2) == "{":
                # A table of names in the macro's own language.
                end = code.closing(at + 2)
                while at < end:
                    is_path = code.text(at) in ("crate", "super") and code.text(at + 1) == "::"
                    at = self.mention(at, module) if is_path else at + 1
            elif kind == "name":
                at = self.mention(at, module)
            else:
                at += 1
            test, paths, public = False, [], False

    def declares(self, at):
        """Whether a module is declared at `at`: one of tests is read too, as such."""
        while self.code.text(at) in ("pub", "("):
            at = self.code.closing(at) if self.code.text(at) == "(" else at + 1
        return self.code.text(at) == "mod"

    def mod(self, at, module, test, paths):
        name, test = self.code.text(at + 1), test or module.test
        if self.code.text(at + 2) == "{":
            child = Module(module, name, module.file, module.folder / name, test)
            module.children.setdefault(name, []).append(child)
            self.crate.files[module.file].append(child)
            end = self.code.closing(at + 2)
            self.items(at + 3, end - 1, child)
            return end
        here = module.file.parent
        files = [(here / path, here) for _, path in paths]
        if not any(always for always, _ in paths):
            inner = module.folder / name
            files += [(module.folder / f"{name}.rs", inner), (inner / "mod.rs", inner)]
        for file, folder in files:
            if file.exists():
                folder = file.parent if file.name == "mod.rs" else folder
                child = Module(module, name, file, folder, test)
                module.children.setdefault(name, []).append(child)
                self.crate.read(child)
        return at + 3

    def use(self, at, module, public):
        """The tree of one `use`: each of its leaves is a mention, and a name in the module."""

        def tree(at, prefix):
            path = list(prefix)
            while True:
                kind, text, line = self.code.tokens[at]
                if text == "{":
                    at += 1
                    while self.code.text(at) != "}":
                        at = tree(at, path)
                        if self.code.text(at) == ",":
                            at += 1
                    return at + 1
                if text == "*":
                    module.globs.append(tuple(path))
                    module.mentions.append((tuple(path), line, True, public and "*"))
                    return at + 1
                if kind == "name":
                    path.append(text.removeprefix("r#"))
                at += 1
                if self.code.text(at) == "::":
                    at += 1
                    continue
                if path[-1] == "self" and len(path) > 1:
                    path.pop()
                name = path[-1]
                if self.code.text(at) == "as":
                    name = self.code.text(at + 1)
                    at += 2
                module.uses.setdefault(name, []).append(tuple(path))
                module.mentions.append((tuple(path), line, True, public and name))
                return at

        return tree(at + (self.code.text(at) == "::"), []) + 1

    def mention(self, at, module):
        """A name, or a path of names, in what a module does."""
        start, path = at, [self.code.text(at)]
        while self.code.text(at + 1) == "::" and at + 2 < len(self.code.tokens):
            if self.code.tokens[at + 2][0] != "name":
                break
            at += 2
            path.append(self.code.text(at))
        if start == 0 or self.code.text(start - 1) not in (".", "::"):
            module.words.add(path[0])
            if len(path) > 1:
                module.mentions.append((tuple(path), self.code.tokens[start][2], False, False))
        return at + 1


def resolve(module, path, seen=()):
    """What a path means that stands in `module`: pairs of a module and a name in it, None for the module itself.
    Empty for what is not of this crate."""
    first, rest = path[0], path[1:]
    if first == "crate":
        return walk(module.root(), rest, seen)
    if first == "self":
        return walk(module, rest, seen)
    if first == "super":
        return resolve(module.parent, ("self",) + rest, seen) if module.parent else set()
    return walk(module, path, seen)


def walk(module, path, seen=()):
    if not path:
        return {(module, None)}
    name, rest = path[0], path[1:]
    if name == "super":
        return walk(module.parent, rest, seen) if module.parent else set()
    if (module, name) in seen:
        return set()
    seen = seen + ((module, name),)
    if name in module.children:
        found = set()
        for child in module.children[name]:
            found |= walk(child, rest, seen)
        return found
    if name in module.defined:
        return {(module, name)}
    found = set()
    for target in module.uses.get(name, []):
        if target[0] in ("crate", "self", "super") or target[0] in module.children:
            found |= resolve(module, target + rest, seen)
        elif target[0] != name and target[0] in module.uses:
            found |= resolve(module, target + rest, seen)
    if not found and name not in module.uses:
        for glob in module.globs:
            if glob[0] in ("crate", "self", "super") or glob[0] in module.children:
                for inside, of in resolve(module, glob, seen):
                    if of is None:
                        found |= walk(inside, path, seen)
    return found
