"""RESP2: where a message ends, and the name of a command. Knows no socket and no Redis."""

import hashlib
from functools import cache

from shared_schemas.stream import linking


def take_messages(buffer: bytearray) -> list[bytes]:
    """Remove the complete messages at the head of `buffer`, and return them."""
    messages, at = [], 0
    while (end := _end_of(buffer, at)) is not None:
        messages.append(bytes(buffer[at:end]))
        at = end
    del buffer[:at]
    return messages


def name_of(command: bytes) -> str:
    """The verb in capitals, or the name of the script that it calls: XREADGROUP, settle."""
    words = _words(command)
    verb = words[0].decode().upper()
    if verb == "EVALSHA":
        return script_names().get(words[1].decode(), verb)
    if verb == "EVAL":
        return script_names().get(hashlib.sha1(words[1], usedforsecurity=False).hexdigest(), verb)
    return verb


def client_name_of(command: bytes) -> str | None:
    """The name that a CLIENT SETNAME sets. None for any other command."""
    match [word.upper() for word in _words(command)[:2]]:
        case [b"CLIENT", b"SETNAME"]:
            return _words(command)[2].decode()
        case _:
            return None


def _words(command: bytes) -> list[bytes]:
    words, at = list[bytes](), command.index(b"\r\n") + 2
    while at < len(command):
        start = command.index(b"\r\n", at) + 2
        end = start + int(command[at + 1 : start - 2])
        words.append(command[start:end])
        at = end + 2
    return words


def _end_of(data: bytearray, at: int) -> int | None:
    line_end = data.find(b"\r\n", at)
    if line_end < 0:
        return None
    end: int | None = line_end + 2
    match data[at : at + 1]:
        case b"$":
            size = int(data[at + 1 : line_end])
            end = line_end + 2 + (size + 2 if size >= 0 else 0)
            return end if end <= len(data) else None
        case b"*":
            for _ in range(int(data[at + 1 : line_end])):
                if end is not None:
                    end = _end_of(data, end)
    return end


@cache
def script_names() -> dict[str, str]:
    return {linking.load(name).sha: name for name in linking.names()}
