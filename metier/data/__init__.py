"""Text in, clean splits of records out. Takes files; gives `PreparedData`; never loads torch or a tokenizer."""
