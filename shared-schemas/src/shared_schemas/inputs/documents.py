"""The form of input of the task rerank: an object with a query and the documents to sort by their relevance. Pure.

What a worker does with it is in `inference_worker.tasks.rerank`.

Messages never repeat a text: they are shown in the API.
"""

from typing import Any, NamedTuple

from shared_schemas.errors import InvalidInput
from shared_schemas.inputs.form import ItemForm

MOST_DOCUMENTS = 10_000
_FIELDS = frozenset({"query", "documents", "top_n"})


class Documents(NamedTuple):
    """top_n: how many of the best documents to return; None for all."""

    query: str
    documents: list[str]
    top_n: int | None


def documents_of(item: Any) -> Documents:
    """InvalidInput, with a pointer from the item to the value at fault. A document may be empty, a query may not."""
    if not isinstance(item, dict):
        raise InvalidInput("this model takes an object with a query and documents")
    query, documents, top_n = item.get("query"), item.get("documents"), item.get("top_n")
    if not isinstance(query, str) or not query:
        raise InvalidInput("the query is not a text, or is empty", pointer="/query")
    if not isinstance(documents, list) or not documents:
        raise InvalidInput("the documents are not a list of texts, or there are none", pointer="/documents")
    if len(documents) > MOST_DOCUMENTS:
        raise InvalidInput(f"a query takes at most {MOST_DOCUMENTS} documents", pointer="/documents")
    if set(map(type, documents)) != {str}:
        place = next(i for i, document in enumerate(documents) if not isinstance(document, str))
        raise InvalidInput("the document is not a text", pointer=f"/documents/{place}")
    if top_n is not None and (type(top_n) is not int or top_n < 1):
        raise InvalidInput("top_n is not a positive integer", pointer="/top_n")
    if not _FIELDS.issuperset(item):
        raise InvalidInput("the input has a field besides query, documents and top_n")
    return Documents(query, documents, top_n)


class DocumentsForm(ItemForm):
    def read(self, item: Any) -> Documents:
        return documents_of(item)
