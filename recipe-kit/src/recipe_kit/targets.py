"""Whether what a table is to predict is a quantity or a name, where nobody says it. Knows columns, not models."""

from shared_schemas.errors import DataRejected

from recipe_kit.tables import Table

# A column of whole numbers with no more distinct values than this may name classes.
FEW_VALUES = 20
# Fewer rows a value, on average, are no classes: nothing would be held out of most of them.
ROWS_A_CLASS = 3


def is_quantity(table: Table, target: str) -> tuple[bool, str]:
    """-> (whether the target is a quantity, why, for the log). DataRejected for a cell that is no number in a column of
    numbers, as Table.numbers."""
    if not table.is_numeric(target):
        return False, f"{target!r} names classes, since its values are words"
    try:
        values = table.numbers(target)
    except DataRejected as error:
        message = f"{error}; if the column names classes, say task classification"
        raise DataRejected(error.data_code, message, row=error.row, column=error.column) from None
    distinct = set(values)
    if not all(value.is_integer() for value in distinct):
        return True, f"{target!r} is a quantity, since its values are not all whole"
    if len(distinct) > FEW_VALUES:
        return True, f"{target!r} is a quantity, since it has more than {FEW_VALUES} different values"
    if len(distinct) * ROWS_A_CLASS > table.height:
        return True, f"{target!r} is a quantity, since its values hardly repeat; task classification makes them classes"
    return (
        False,
        f"{target!r} names {len(distinct)} classes, since its whole values repeat; task regression makes it a quantity",
    )
