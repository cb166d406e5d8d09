"""Parquet files."""

from __future__ import annotations

import io

from metier.data.table import Content, ReadOptions, as_row, cell_text, name_columns
from metier.errors import DataError


def read_parquet(data: bytes, options: ReadOptions) -> Content:
    """Read a Parquet file.

    Args:
        data: The file's bytes.
        options: The file's name, for messages.

    Raises:
        DataError: It is damaged.
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        raise DataError(options.name, "is no readable Parquet file", "", "Save it again.") from error
    names, notices = name_columns(table.column_names, options.name)
    columns = [[cell_text(value) for value in column.to_pylist()] for column in table.columns]
    rows = [as_row(names, cells) for cells in zip(*columns, strict=True)]
    return Content(
        columns=tuple(name for name in names if name is not None),
        rows=rows,
        row_numbers=list(range(1, len(rows) + 1)),
        notices=tuple(notices),
    )
