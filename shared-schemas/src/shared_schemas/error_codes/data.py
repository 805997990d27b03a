"""Codes of data sets that cannot be trained on. In the order of the alphabet."""

from shared_schemas.error_codes.entry import ErrorCode

DATA = (
    ErrorCode(
        code="data_ambiguous_column",
        job=False,
        meaning="Several columns may be the label or the text; they are named.",
        action="Say which with label_column or text_column.",
    ),
    ErrorCode(
        code="data_ambiguous_label",
        job=False,
        meaning="Two labels are the same number in two spellings, such as 1 and 01; the row of the second is named.",
        action="Write one of the two.",
    ),
    ErrorCode(
        code="data_column_missing",
        job=False,
        meaning="The table has no column that the job needs, or several may be meant. The columns are named.",
        action="Name label_column, text_column or feature_columns, or say the task.",
    ),
    ErrorCode(
        code="data_duplicate_column",
        job=False,
        meaning="Two columns have the same name.",
        action="Rename one of them.",
    ),
    ErrorCode(
        code="data_empty",
        job=False,
        meaning="The file is empty, or has a header and no rows.",
        action="Check how the file was made.",
    ),
    ErrorCode(
        code="data_encoding",
        job=False,
        meaning="The file is not UTF-8; the row is named.",
        action="Save it as UTF-8.",
    ),
    ErrorCode(
        code="data_format",
        job=False,
        meaning="The file cannot be read as CSV, or what separates cells is open; the row is named where it is known.",
        action="Mend the row, say what separates in a first line such as sep=; or write the file with a CSV library.",
    ),
    ErrorCode(
        code="data_missing_value",
        job=False,
        meaning="A cell that is needed is empty; its row and column are named.",
        action="Fill it or leave the row out.",
    ),
    ErrorCode(
        code="data_not_finite",
        job=False,
        meaning="A number is infinite, not a number, or beyond what 32 bits hold; its row and column are named.",
        action="Mend the cell or leave the row out.",
    ),
    ErrorCode(
        code="data_not_found",
        job=False,
        meaning="There is no such file under the data root of the worker.",
        action="Check data_path, and that the workers see the same folder.",
    ),
    ErrorCode(
        code="data_not_numeric",
        job=False,
        meaning="A cell of a column of numbers is not one; its row and column are named.",
        action="Mend the cell, or leave the column out.",
    ),
    ErrorCode(
        code="data_not_readable",
        job=False,
        meaning="The worker may not read the file.",
        action="Give the worker's user the right to.",
    ),
    ErrorCode(
        code="data_one_class",
        job=False,
        meaning="Every row has the same label.",
        action="Add rows of another class, or name another label_column.",
    ),
    ErrorCode(
        code="data_ragged",
        job=False,
        meaning="A row has another number of cells than the header; the row is named.",
        action="Mend the row; a separator inside a cell wants quotes around it.",
    ),
    ErrorCode(
        code="data_too_few_rows",
        job=False,
        meaning="There are too few rows to train on and to measure with.",
        action="Add rows.",
    ),
    ErrorCode(
        code="data_too_large",
        job=False,
        meaning="The file has more bytes or columns than a data set may have.",
        action="Split it.",
    ),
    ErrorCode(
        code="data_too_many_classes",
        job=False,
        meaning="The label has more different values than a classifier may have, or hardly two rows of each.",
        action="Name another label_column; numbers want a regression.",
    ),
    ErrorCode(
        code="data_unknown_class",
        job=False,
        meaning="A row to measure with has a label that no row to train on has.",
        action="Add rows of that class, or leave the row out.",
    ),
)
