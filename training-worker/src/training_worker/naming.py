"""What a model is called that nobody named: after its type and the file it was trained on. Pure.

Two files whose names differ in letters that a model's name cannot have get two names, or unrelated data would become
versions of one model.
"""

import hashlib
import re
import unicodedata
from pathlib import PurePath

LONGEST = 63
_DIGEST_LETTERS = 8
_OTHER = re.compile(r"[^a-z0-9._-]+")
# Signs of ASCII that tell one name from another: C, C++ and C# are three.
_SAYING = frozenset("+#&%$@=<>~^")
_WORD = re.compile(r"[^\W_]+")


def default_model_name(model_type: str, data_path: str) -> str:
    """<model_type>-<file name>, in the letters that a model's name may have. With a digest of the file name where too
    little of it is left to tell it from others: in another script, in accented letters alone, or beyond the length."""
    # A name that macOS wrote has its accents apart.
    stem = unicodedata.normalize("NFC", PurePath(data_path).stem).lower()
    name = _OTHER.sub("-", f"{model_type}-{stem}").strip("-._")
    if len(name) <= LONGEST and _says_enough(stem):
        return name
    digest = hashlib.sha256(stem.encode(errors="surrogatepass")).hexdigest()[:_DIGEST_LETTERS]
    return f"{name[: LONGEST - 1 - _DIGEST_LETTERS].rstrip('-._')}-{digest}"


def _says_enough(stem: str) -> bool:
    """Whether what is kept tells the file apart: all of it, or a word beside others in accented Latin letters."""
    lost = [character for character in stem if _is_said(character)]
    if not all(unicodedata.name(character, "").startswith("LATIN ") for character in lost):
        return False
    kept = [word for word in _WORD.findall(stem) if word.isascii()]
    return any(sum(map(str.isalpha, word)) > 1 for word in kept) if lost else bool(kept)


def _is_said(character: str) -> bool:
    """Letters, marks, digits and symbols, no punctuation and no spaces. Of ASCII what a model's name cannot have."""
    return character in _SAYING if character.isascii() else unicodedata.category(character)[0] in "LMNS"
