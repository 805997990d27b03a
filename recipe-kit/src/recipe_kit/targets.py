"""Decides whether a target column is a quantity or names classes, if the job does not say.

Knows columns, not models.
"""

from shared_schemas.errors import DataRejected

from recipe_kit.tables import Table

# A column of whole numbers may name classes if it has no more distinct values than this.
FEW_VALUES = 20
# Values with fewer rows than this on average name no classes, because most would have no held-out
# row.
ROWS_PER_CLASS = 3


def is_quantity(table: Table, target: str) -> tuple[bool, str]:
    """-> (whether the target is a quantity, the reason for the log). DataRejected data_not_numeric,
    data_not_finite or data_missing_value if most cells are numbers and one is not."""
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
    if len(distinct) * ROWS_PER_CLASS > table.height:
        return True, f"{target!r} is a quantity, since its values hardly repeat; task classification makes them classes"
    return (
        False,
        f"{target!r} names {len(distinct)} classes, since its whole values repeat; task regression makes it a quantity",
    )
