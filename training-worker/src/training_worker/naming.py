"""Names a model for which the job gives no name, by its type and its data file. Pure.

Some characters of a file name cannot be part of a model's name. Two files whose names differ only
in those still give two names, or models of unrelated data would become versions of one model.
"""

import hashlib
import re
import unicodedata
from pathlib import PurePath

LONGEST = 63
_DIGEST_LETTERS = 8
_OTHER = re.compile(r"[^a-z0-9._-]+")
# ASCII symbols that distinguish names: C, C++ and C# are three languages.
_SYMBOLS = frozenset("+#&%$@=<>~^")
_WORD = re.compile(r"[^\W_]+")


def default_model_name(model_type: str, data_path: str) -> str:
    """<model_type>-<file name>, in the characters that a model's name may have. It ends in a digest
    of the file name if the rest does not identify the file: if the name is too long, is in another
    script, or has only words with accents."""
    # macOS writes an accent as a character of its own.
    stem = unicodedata.normalize("NFC", PurePath(data_path).stem).lower()
    name = _OTHER.sub("-", f"{model_type}-{stem}").strip("-._")
    if len(name) <= LONGEST and _is_distinctive(stem):
        return name
    digest = hashlib.sha256(stem.encode(errors="surrogatepass")).hexdigest()[:_DIGEST_LETTERS]
    return f"{name[: LONGEST - 1 - _DIGEST_LETTERS].rstrip('-._')}-{digest}"


def _is_distinctive(stem: str) -> bool:
    """Whether the characters that are kept identify the file. They do if a word is kept and no
    significant character is lost. If only accented Latin letters are lost, a word of two letters
    must be kept."""
    lost = [character for character in stem if _is_lost(character)]
    if not all(unicodedata.name(character, "").startswith("LATIN ") for character in lost):
        return False
    kept = [word for word in _WORD.findall(stem) if word.isascii()]
    return any(sum(map(str.isalpha, word)) > 1 for word in kept) if lost else bool(kept)


def _is_lost(character: str) -> bool:
    """Whether the character is significant and cannot be part of a model's name. Letters, marks,
    digits and symbols are significant; punctuation and spaces are not."""
    return character in _SYMBOLS if character.isascii() else unicodedata.category(character)[0] in "LMNS"
