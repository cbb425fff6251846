"""Damage to files: what a disk, a crash or a hand does to them, those of records seeded."""

import os
import random
import re
from collections.abc import Callable
from pathlib import Path

NO_FILES: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "loop": lambda path: path.symlink_to(path.name),
    "folder": Path.mkdir,
    "dangling": lambda path: path.symlink_to("nowhere"),
}
"""What can stand in the place of a file."""


def flip(content: bytes, chance: random.Random) -> bytes:
    """One bit is another."""
    place = chance.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


def digit(content: bytes, chance: random.Random) -> bytes:
    """One digit of a number is another; a file without digits is flipped."""
    places = [match.start() for match in re.finditer(rb"\d", content)]
    if not places:
        return flip(content, chance)
    place = chance.choice(places)
    other = chance.choice([figure for figure in b"0123456789" if figure != content[place]])
    return content[:place] + bytes([other]) + content[place + 1 :]


def cut(content: bytes, chance: random.Random) -> bytes:
    """The end is missing."""
    return content[: chance.randrange(len(content))]


CONTENT: tuple[Callable[[bytes, random.Random], bytes], ...] = (flip, digit, cut, lambda content, chance: b"")


def damage(path: Path, chance: random.Random) -> str:
    """Damage a file; what was done to it."""
    kind = chance.randrange(len(CONTENT) + 2)
    if kind < len(CONTENT):
        before = path.read_bytes()
        after = CONTENT[kind](before, chance) if before else b"x"
        path.write_bytes(after)
        return ("flipped", "another digit", "cut", "emptied")[kind]
    path.unlink()
    if kind == len(CONTENT):
        return "deleted"
    path.mkdir()
    return "a folder in its place"
