"""What a person reads. Takes results that exist; gives a page and a card; never computes a metric or loads torch."""
