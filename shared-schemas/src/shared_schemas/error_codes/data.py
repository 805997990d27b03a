"""Codes of data sets that cannot be trained on. Sorted by code."""

from shared_schemas.error_codes.entry import ErrorCode

DATA = (
    ErrorCode(
        code="data_ambiguous_column",
        job=False,
        meaning="Several columns may be the label or the text. The message names them.",
        action="Choose one with label_column or text_column.",
    ),
    ErrorCode(
        code="data_ambiguous_label",
        job=False,
        meaning=(
            "Two labels are the same number in two spellings, such as 1 and 01. The message "
            "names the row of the second."
        ),
        action="Use one spelling.",
    ),
    ErrorCode(
        code="data_column_missing",
        job=False,
        meaning=(
            "The table does not have the column that the job needs, or it is unclear which "
            "column that is. The message names the columns."
        ),
        action="Name label_column, text_column or feature_columns, or set the task.",
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
        meaning="The file is not UTF-8. The message names the row.",
        action="Save it as UTF-8.",
    ),
    ErrorCode(
        code="data_format",
        job=False,
        meaning=(
            "The file cannot be read as CSV, or its separator is unclear. The message names the row where it is known."
        ),
        action=(
            "Correct the row, or name the separator in a first line such as sep=; or write the file with a CSV library."
        ),
    ),
    ErrorCode(
        code="data_missing_value",
        job=False,
        meaning="A required cell is empty. The message names its row and column.",
        action="Fill it, or leave the row out.",
    ),
    ErrorCode(
        code="data_not_finite",
        job=False,
        meaning=(
            "A number is infinite, is not a number, or does not fit into 32 bits. The message names its row and column."
        ),
        action="Correct the cell, or leave the row out.",
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
        meaning=("A cell in a column of numbers is not a number. The message names its row and column."),
        action="Correct the cell, or leave the column out.",
    ),
    ErrorCode(
        code="data_not_readable",
        job=False,
        meaning="The worker is not allowed to read the file.",
        action="Give the worker's user read permission.",
    ),
    ErrorCode(
        code="data_one_class",
        job=False,
        meaning="Every row has the same label.",
        action="Add rows of another class, or choose another label_column.",
    ),
    ErrorCode(
        code="data_ragged",
        job=False,
        meaning="A row has more or fewer cells than the header. The message names the row.",
        action="Correct the row. A cell that contains a separator needs quotes around it.",
    ),
    ErrorCode(
        code="data_too_few_rows",
        job=False,
        meaning="There are too few rows to train and to validate.",
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
        meaning=("The label has more distinct values than a classifier may have, or hardly any value appears twice."),
        action="Choose another label_column. For numbers, use a regression.",
    ),
    ErrorCode(
        code="data_unknown_class",
        job=False,
        meaning="A validation row has a label that no training row has.",
        action="Add training rows of that class, or leave the row out.",
    ),
)
